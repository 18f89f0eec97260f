"""Compares what a subject answered with what a case expects; the differences are lines for people."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import UNSET

from conformance.cases import Expected

__all__ = ["OPTIONAL", "Comparison", "compare"]

OPTIONAL = ("book", "wallet")
"""Parts of an answer that a subject may leave out; the others it has to have."""
_MARKERS = ("entry", "hole", "trimmed", "reset", "undecodable", "unknown")
"""An item has exactly one of these."""
_NAMED = ("balances", "orders", "positions")
"""Parts of a wallet that map names to fields: the names are compared as a set."""


class Comparison(NamedTuple):
    """``differences`` are empty if everything is as expected; ``skipped`` are parts that the subject does not have."""

    differences: list[str]
    skipped: list[str]
    compared: int


def compare(expected: Expected, answer: Any) -> Comparison:
    """Compare one stream of an answer to ``sync``. Only what ``expected`` names is compared."""
    if not isinstance(answer, dict):
        return Comparison([f"expected an object, got {_json(answer)}"], [], 1)
    parts: dict[str, tuple[Any, Callable[[Any, Any], Iterator[str]]]] = {
        "items": (expected.items, _items),
        "state": (expected.state, _state),
        "book": (expected.book, _book),
        "wallet": (expected.wallet, _wallet),
    }
    differences: list[str] = []
    skipped: list[str] = []
    compared = 0
    for name, (wanted, differ) in parts.items():
        if wanted is UNSET:
            continue
        if name in OPTIONAL and answer.get(name) is None:
            skipped.append(name)
            continue
        compared += 1
        if name not in answer:
            differences.append(f"{name}: missing in the answer")
            continue
        differences += [f"{name}: {line}" for line in differ(wanted, answer[name])]
    return Comparison(differences, skipped, compared)


def _state(wanted: str, got: Any) -> Iterator[str]:
    if got != wanted:
        yield f"expected {_json(wanted)}, got {_json(got)}"


def _items(wanted: Sequence[Mapping[str, Any]], got: Any) -> Iterator[str]:
    if not isinstance(got, list) or not all(isinstance(item, dict) for item in got):
        yield f"expected a list of objects, got {_json(got)}"
        return
    heads, found = [_head(item) for item in wanted], [_head(item) for item in got]
    for kind, a, b, c, d in difflib.SequenceMatcher(None, heads, found, autojunk=False).get_opcodes():
        if kind == "equal":
            for one, other in zip(wanted[a:b], got[c:d], strict=True):
                yield from _fields(one, other, f"{' '.join(_head(one))}: ")
        else:
            yield from (f"expected {_json(item)}" for item in wanted[a:b])
            yield from (f"got      {_json(item)}" for item in got[c:d])


def _head(item: Mapping[str, Any]) -> tuple[str, str]:
    """What an item is, and which entry it is about, to see which items belong together."""
    markers = [name for name in _MARKERS if name in item]
    if len(markers) != 1:
        return "not an item", _json(item)
    [marker] = markers
    return marker, str(item.get("before", item[marker]))


def _fields(wanted: Mapping[str, Any], got: Any, where: str = "") -> Iterator[str]:
    """The named fields that differ."""
    if not isinstance(got, dict):
        yield f"{where}expected an object, got {_json(got)}"
        return
    for name, value in wanted.items():
        if name not in got:
            yield f"{where}{name}: expected {_json(value)}, but it is missing"
        elif got[name] != value or isinstance(got[name], bool) != isinstance(value, bool):
            yield f"{where}{name}: expected {_json(value)}, got {_json(got[name])}"


def _book(wanted: Mapping[str, Any], got: Any) -> Iterator[str]:
    if not isinstance(got, dict):
        yield f"expected an object, got {_json(got)}"
        return
    if got.get("valid") is not wanted.get("valid"):
        why = f" ({got['why']})" if "why" in got else ""
        yield f"valid: expected {_json(wanted.get('valid'))}, got {_json(got.get('valid'))}{why}"
        return
    yield from _fields({name: value for name, value in wanted.items() if name not in ("bids", "asks")}, got)
    for side in ("bids", "asks"):
        if side in wanted:
            yield from _levels(side, wanted[side], got.get(side))


def _levels(side: str, wanted: list[Any], got: Any) -> Iterator[str]:
    if got == wanted:
        return
    if not isinstance(got, list):
        yield f"{side}: expected {_json(wanted)}, got {_json(got)}"
        return
    marks = {"- ": "expected", "+ ": "got     "}
    for line in difflib.ndiff([_json(level) for level in wanted], [_json(level) for level in got]):
        if line[:2] in marks:
            yield f"{side}: {marks[line[:2]]} {line[2:]}"


def _wallet(wanted: Mapping[str, Any], got: Any) -> Iterator[str]:
    if not isinstance(got, dict):
        yield f"expected an object, got {_json(got)}"
        return
    for part, value in wanted.items():
        if part not in _NAMED:
            yield from _fields({part: value}, got)
            continue
        found = got.get(part)
        if not isinstance(found, dict):
            yield f"{part}: expected an object, got {_json(found)}"
            continue
        for name in sorted(found.keys() - value.keys()):
            yield f"{part}: {name}: should not be there: {_json(found[name])}"
        for name, fields in value.items():
            if name in found:
                yield from _fields(fields, found[name], f"{part}: {name}: ")
            else:
                yield f"{part}: {name}: missing"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
