"""Mutation tests: small mistakes are made in the code, and the unit tests have to notice.

python3 dev.py mutate                                    40 mutants of each of bridge/publish and bridge/sequencer
python3 dev.py mutate bridge/book.py --sample 20 --seed 7

Only the tests in tests/unit that reach a mutant's line are run, quick ones first, for some seconds at most. What
survives and needs no test is listed in tests/mutation/known.toml, with the reason.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tests.mutation.mutants import ROOT, Mutant, sample
from tests.mutation.trial import Reach, outcome, reach

PACKAGES = ("bridge/publish", "bridge/sequencer")
ENOUGH = 0.9
_BASELINE = 600.0
"""Seconds for the unchanged tests of one file, on a busy machine."""
_UNIT = ROOT / "tests" / "unit"
_SHARED = ("aiohttp", "msgspec", "pydantic", "redis.asyncio", "structlog")
"""What every child imports: done once, before it is forked. Nothing of ours, which may be replaced, and none of pytest's plugins, whose assertions it rewrites."""


def main(arguments: Sequence[str]) -> int:
    """Try the mutants; 1 if too many survive, 2 if the tests can't be run."""
    options = _parser().parse_args(arguments)
    for name in _SHARED:
        importlib.import_module(name)
    missed = False
    for path in options.paths or PACKAGES:
        files = _sources(path)
        if not files:
            print(f"no Python file: {path}", file=sys.stderr)
            return 1
        try:
            reached = [found for test in _test_files(files) for found in reach(test, files, _BASELINE)]
        except RuntimeError as error:
            print(error, "the tests could not be run", sep="\n", file=sys.stderr)
            return 2
        missed |= not _judge(path, sample(files, options.sample, options.seed), reached, options.seconds)
    return int(missed)


def _judge(path: str, mutants: Sequence[Mutant], reached: Sequence[Reach], seconds: float) -> bool:
    """Try them and print what survives; whether that is few enough."""
    known = known_mutants()
    counts: Counter[str] = Counter()
    for mutant in mutants:
        tests = tests_for(mutant, reached, seconds)
        reason = known.get((mutant.file, mutant.within, mutant.before, mutant.after))
        timeout = 30 + 10 * sum(test.seconds for test in tests)
        found = outcome(mutant, [test.test for test in tests], timeout) if tests else "survived"
        if found == "survived" and reason:
            found = "known"
        counts[found] += 1
        print(f"{found:8}  {mutant.file}:{mutant.line}  {mutant.operator}  ({len(tests)} tests)", flush=True)
        if found == "survived":
            print(mutant.diff(), flush=True)
    killed = counts["killed"] + counts["hung"]
    tried = killed + counts["survived"]
    share = killed / tried if tried else 1.0
    hung = f", {counts['hung']} of them by hanging" if counts["hung"] else ""
    print(f"{path}: {killed} of {tried} killed{hung} ({share:.0%}), {counts['known']} known survivors besides")
    return share >= ENOUGH


def tests_for(mutant: Mutant, reached: Iterable[Reach], seconds: float) -> list[Reach]:
    """The tests that reach it, quick ones first; for what only an import runs, those that reach its module."""
    lines = _statement((ROOT / mutant.file).read_text(), mutant.line)
    touching = [found for found in reached if mutant.file in found.lines]
    hitting = [found for found in touching if found.lines[mutant.file] & lines]
    chosen: list[Reach] = []
    for found in sorted(hitting or touching, key=lambda found: found.seconds):
        seconds -= found.seconds
        if seconds < 0 and chosen:
            break
        chosen.append(found)
    return chosen


def known_mutants() -> dict[tuple[str, str, str, str], str]:
    """Why a mutant may survive, by file, function, removed and added lines."""
    rows: list[dict[str, Any]] = _notes().get("known", [])
    return {(row["file"], row["within"], row["before"], row["after"]): row["reason"] for row in rows}


def _statement(source: str, line: int) -> set[int]:
    """The lines of the smallest statement there; of one with a body, its head."""
    spans = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = body[0].lineno - 1 if body else node.end_lineno or node.lineno
            if node.lineno <= line <= max(last, node.lineno):
                spans.append(range(node.lineno, max(last, node.lineno) + 1))
    return set(min(spans, key=len, default=range(line, line + 1)))


def _sources(path: str) -> list[str]:
    """The modules there, below the repository."""
    place = (ROOT / path).resolve()
    found = sorted(place.rglob("*.py")) if place.is_dir() else [place] * place.is_file()
    return [file.relative_to(ROOT).as_posix() for file in found]


def _test_files(sources: Iterable[str]) -> list[str]:
    """The unit tests of each module: those listed for the nearest folder above it, or without a list, those that import it."""
    listed: dict[str, list[str]] = _notes().get("tests", {})
    found: set[Path] = set()
    for source in sources:
        above = next((str(place) for place in PurePosixPath(source).parents if str(place) in listed), None)
        found.update(_importing(source) if above is None else (f for glob in listed[above] for f in _UNIT.glob(glob)))
    return sorted(file.relative_to(ROOT).as_posix() for file in found)


def _importing(source: str) -> Iterator[Path]:
    name = source.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package, _, module = name.rpartition(".")
    line = re.compile(rf"(from|import) {name}\b|from {package} import .*\b{module}\b")
    return (file for file in _UNIT.glob("test_*.py") if line.search(file.read_text()))


def _notes() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "known.toml").read_text())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py mutate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", metavar="PATH", nargs="*", help="modules or packages")
    parser.add_argument("--sample", type=int, default=40, metavar="N", help="mutants of each PATH (40)")
    parser.add_argument("--seed", type=int, default=1, help="which ones are drawn (1)")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long a mutant's tests may take (10)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
