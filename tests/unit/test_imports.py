"""Who may import whom: rooms downwards, no circle among files, and exchanges named in their own packages only.

Imports count wherever they stand: in functions and under ``TYPE_CHECKING`` too. Modules that are named in text and
imported by ``import_module`` (commands, exchanges) are found by whoever asks for them, and don't count.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from bridge.exchanges import families, names
from bridge.simulator import EXCHANGES
from tests.unit.doc_pages import ROOT, SOURCES, text

GROUND = {
    *("values", "model", "keys", "entries", "book", "errors", "exchange_errors", "clock", "files", "latency", "urls"),
    "proxies",
    *(
        "pem",
        "printable",
        "redaction",
        "redis.sentinels",
        "redis.topology",
        "redis.url",
        "redis.tokens",
        "redis.errors",
        "redis.retries",
    ),
}
SHARED = {"exchanges.api", "exchanges.toolkit.timing.waiting", "exchanges.toolkit.values.numbers"}
TOOLKIT = ("values", "timing", "pairs", "sessions", "rest", "accounts")
"""Its rooms: each may import itself and those before it."""
PROCESS = {
    f"process.{name}" for name in ("serving", "exposition", "requests", "output", "lifecycle", "repeats", "starting")
}
MARKET = {
    f"simulator.{name}"
    for name in (
        *("accounts", "events", "margin", "market", "matching", "ohlc", "orderbook", "pairs", "participants", "specs"),
    )
}
PROTOCOLS = MARKET | {
    f"simulator.{name}"
    for name in ("dialect", "exchange", "faults", "gate", "journal", "scenario", "session", "sockets")
}
ALLOWED: Mapping[str, set[str]] = {
    **{f"bridge/{name.replace('.', '/')}.py": GROUND for name in GROUND},
    "bridge/process/output.py": set(),
    "bridge/process/repeats.py": set(),
    "bridge/process/lifecycle.py": {"process.output"},
    "bridge/process/exposition.py": set(),
    "bridge/process/requests.py": set(),
    "bridge/process/serving.py": {"process.exposition", "process.output", "process.requests"},
    "bridge/process": GROUND | {"process"},
    "bridge/contract": GROUND | {"contract"},
    "bridge/exchanges": GROUND | {"config.units", "exchanges"},
    **{
        f"bridge/exchanges/toolkit/{room}": GROUND
        | {"exchanges.api"}
        | {f"exchanges.toolkit.{below}" for below in TOOLKIT[: TOOLKIT.index(room) + 1]}
        for room in TOOLKIT
    },
    "bridge/feed": GROUND | SHARED | {"feed"},
    "bridge/publish": GROUND | {"publish"},
    "bridge/sequencer": GROUND | {"exchanges.rules", "publish.stream", "sequencer"},
    "bridge/view": GROUND | {"process.output", "process.starting", "view"},
    "bridge/overview": GROUND | {"overview", "suggestions", "tail.selection", "view"},
    "bridge/simulator": {"errors", "files", "simulator"},
    **{f"bridge/{name.replace('.', '/')}.py": {"errors"} | MARKET for name in MARKET},
    "bridge/simulator/sockets.py": {"simulator.faults", "simulator.journal"},
    **{f"bridge/simulator/{name}": {"errors", f"simulator.{name}"} | PROTOCOLS for name in EXCHANGES},
    "consumers": GROUND - {"clock", "exchange_errors", "proxies"} | PROCESS,
}
"""File or room → what of ``bridge`` it may import, as architecture.md says."""

NAMED_ON_PURPOSE = {
    "bridge/exchanges/__init__.py": "the registry",
    "bridge/simulator/registry.py": "the registry",
    "bridge/cli/init.py": "a first config is for some exchange",
    "bridge/config/mistakes.py": "examples for users are of some exchange",
    "bridge/contract/asyncapi.py": "the same for readers",
    "consumers/books.py": "the same",
    "consumers/wallets.py": "the same",
}


@cache
def modules() -> dict[str, Path]:
    """Every module by its name; that of a package is its ``__init__``."""
    found = {}
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(path: Path) -> frozenset[str]:
    """The modules of ours that a file imports, and nothing but modules: ``from a import b`` is ``a.b`` or ``a``."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(text(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else str(node.module))
    return frozenset(found & known.keys())


@pytest.mark.parametrize("where", sorted(ALLOWED))  # pytest-xdist wants the same order in each process
def test_imports_run_downwards(where: str) -> None:
    place = ROOT / where
    paths = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert paths, "the rule is about nothing"
    # A package stands for what its __init__ offers; whether that may be used is said by the package's name alone.
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in sorted(imports(path))
        if (inner := name.partition(".")[2]) and name.startswith("bridge.")
        if not any(inner == one or inner.startswith(f"{one}.") for one in ALLOWED[where])
    ]
    assert wrong == []


def test_no_circle_among_files() -> None:
    graph = {name: imports(path) - {name} for name, path in modules().items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' ← '.join(error.args[1])}")


def test_a_circle_would_be_found() -> None:
    """Those in functions and for types alone included."""
    here = {name: imports(path) for name, path in modules().items()}
    assert "bridge.simulator.options" in here["bridge.cli.simulate"], "under TYPE_CHECKING, and in a function"
    assert "bridge.feed.fast" in here["bridge.feed.transport"], "in a function"
    assert "bridge.simulator.truth" in here["bridge.simulator.simulation"], "a module out of a package"
    assert "bridge.simulator" in here["bridge.demo.setup"], "what a package itself offers"


def test_only_its_own_package_names_an_exchange() -> None:
    known = {*names(), *EXCHANGES}
    wrong = []
    for path in SOURCES:
        if str(path.relative_to(ROOT)) not in NAMED_ON_PURPOSE and not _is_of_an_exchange(path, known):
            words = "\n".join(_words(path)).casefold()
            wrong += [f"{path.relative_to(ROOT)} names {name}" for name in sorted(known) if name in words]
    assert wrong == []


def _words(path: Path) -> Iterator[str]:
    """What of a file counts: its code; where people choose among simulated exchanges, the prose too."""
    inside = path.relative_to(ROOT)
    if inside.parts[:2] in {("bridge", "simulator"), ("bridge", "demo")} or inside.stem in {"simulate", "demo"}:
        yield text(path)
    else:
        yield from _code(ast.parse(text(path)))


def _is_of_an_exchange(path: Path, known: set[str]) -> bool:
    """Whether a file is in the package of an exchange; ``binance`` may be the package of ``binance-usdm``."""
    inside, rooms = path.relative_to(ROOT), {("bridge", "exchanges"), ("bridge", "simulator")}
    packages = {name.partition("-")[0] for name in known} | {prefix.rstrip(".") for prefix in families()}
    return inside.parts[:2] in rooms and inside.parts[2].removesuffix(".py") in packages


def _code(tree: ast.AST) -> Iterator[str]:
    """The names and texts of a module, without its documentation."""
    prose = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value
        elif isinstance(node, ast.Name | ast.Attribute | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else node.name
