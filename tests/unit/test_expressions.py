"""Regular expressions have nothing that one of the supported Pythons gets wrong.

Up to Python 3.11.4, Debian 12's own among them, a possessive quantifier or an atomic group around something that can
backtrack matches too little: ``[0-9]+(?:e[0-9]+)?+`` accepts ``1e``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLS = {"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
FORBIDDEN = {"POSSESSIVE_REPEAT", "ATOMIC_GROUP"}


def sources() -> list[Path]:
    rooms = ("bridge", "consumers", "benchmarks", "tests")
    return [ROOT / "dev.py", *(path for room in rooms for path in sorted((ROOT / room).rglob("*.py")))]


def expressions(path: Path) -> Iterator[tuple[int, str | bytes]]:
    """The patterns that are written in a file, with their lines; of one that is put together, its parts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        named = node.func.value
        if isinstance(named, ast.Name) and named.id == "re" and node.func.attr in CALLS:
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.Constant) and isinstance(part.value, str | bytes):
                    yield part.lineno, part.value


def operations(pattern: object) -> Iterator[str]:
    """The names of all that a parsed pattern does."""
    if isinstance(pattern, re._constants._NamedIntConstant):  # type: ignore[attr-defined]
        yield pattern.name
    elif isinstance(pattern, tuple | list | re._parser.SubPattern):  # type: ignore[attr-defined]
        for part in pattern:
            yield from operations(part)


def has_forbidden(pattern: str | bytes) -> bool:
    try:
        parsed = re._parser.parse(pattern)  # type: ignore[attr-defined]
    except re.error:  # a part of a longer one
        text = pattern.decode("latin-1") if isinstance(pattern, bytes) else pattern
        return re.search(r"\(\?>|[*+?}]\+", text) is not None
    return not FORBIDDEN.isdisjoint(operations(parsed))


@pytest.mark.parametrize("pattern", [r"[0-9]++", rb"a?+", "(?:[0-9]+(?:e[0-9]+)?+)*", "(?>a|b)", r"x{2,3}+", "(a*+"])
def test_what_is_looked_for_is_found(pattern):
    assert has_forbidden(pattern)


@pytest.mark.parametrize("pattern", [r"[0-9]+\+", r"[*+]+", "a+?", r"(?:a+)+", "(a"])
def test_what_only_looks_like_it_is_not(pattern):
    assert not has_forbidden(pattern)


def test_no_expression_has_any():
    found = [(path, line, pattern) for path in sources() for line, pattern in expressions(path)]
    assert len(found) > 100, "else nothing was looked at"
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {pattern!r}"
        for path, line, pattern in found
        if path != Path(__file__) and has_forbidden(pattern)
    ]
    assert wrong == []
