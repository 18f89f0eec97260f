"""Rows of JSON whose fields are taken as text, one by one, so that no digit is lost and a bad row harms no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import msgspec

from bridge.book import EXACT
from bridge.exchanges.toolkit.values.numbers import check_values, shortened
from bridge.exchanges.toolkit.values.salvage import rows_of

__all__ = [
    "EXACT",
    "NESTED",
    "UNREADABLE_ROW",
    "Row",
    "decode_rows",
    "decoder",
    "difference",
    "digits",
    "fields_of",
    "first",
    "inner_rows",
    "keyed_rows",
    "nested",
    "nested_rows",
    "opposite",
    "plain",
    "text",
    "total",
]

T = TypeVar("T")
Row = dict[str, str]
"""Every value as the text that stands there."""

NESTED = "\0"
"""Before the text of an object or a list: it is no number, no id and no word, and no check takes it for one."""
UNREADABLE_ROW = "unreadable row"
"""The only field of a row that is not an object, or has a text that can't be decoded: the beginning of what it is."""

_WITH_EXPONENT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,2}").fullmatch
_MOST_SHOWN = 200
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_string = msgspec.json.Decoder(str).decode


def decode_rows(data: msgspec.Raw | bytes) -> list[Row]:
    """An object or a list of them as rows of text; a row that isn't an object is an `UNREADABLE_ROW`.

    Raises:
        MsgspecError, UnicodeDecodeError: it isn't JSON.
    """
    return [_row(raw) for raw in rows_of(data)]


def keyed_rows(data: msgspec.Raw | bytes, key: str) -> list[Row]:
    """The objects in an object as rows, each with its name as the field ``key``.

    Raises:
        MsgspecError, UnicodeDecodeError: it isn't one.
    """
    return [{**_row(raw), key: name} for name, raw in _fields(data).items()]


def inner_rows(row: Row, name: str) -> list[Row]:
    """The rows that a field of a row holds; none, where it is absent or holds no object and no list.

    Raises:
        MsgspecError, UnicodeDecodeError: it isn't JSON.
    """
    value = row.get(name, "")
    return decode_rows(value[len(NESTED) :].encode()) if value.startswith(NESTED) else []


def nested_rows(data: msgspec.Raw | bytes, name: str, *keep: str) -> list[Row]:
    """Rows, those of a list in this field in place of the row that has it; they get the fields to ``keep`` of it.

    Raises:
        MsgspecError, UnicodeDecodeError: it isn't JSON.
    """
    found: list[Row] = []
    for row in decode_rows(data):
        inner = row.get(name, "")
        if inner.startswith(f"{NESTED}["):
            kept = {field: row[field] for field in keep if field in row}
            found += [one | kept for one in decode_rows(inner[len(NESTED) :].encode())]
        else:
            found.append(row)
    return found


def fields_of(data: msgspec.Raw | bytes) -> dict[str, msgspec.Raw]:
    """The fields of a JSON object.

    Raises:
        MsgspecError, UnicodeDecodeError: it isn't one.
    """
    return _fields(data)


def text(raw: msgspec.Raw) -> str:
    """A JSON value as text: numbers with the digits that stand there (exponents written out), strings bare.

    ``null`` is empty; an object or a list has `NESTED` before it.

    Raises:
        MsgspecError, UnicodeDecodeError: it is a string that can't be decoded.
    """
    body = bytes(raw)
    if body[:1] == b'"':
        return _string(body)
    if body == b"null":
        return ""
    if body[:1] in (b"{", b"["):
        return NESTED + body.decode()
    word = body.decode()
    return plain(Decimal(word)) if _WITH_EXPONENT(word) else word


def decoder(kind: type[T]) -> Callable[[Any], T]:
    """What decodes JSON into this type, with numbers of fields of type ``Any`` for `digits`."""
    return msgspec.json.Decoder(kind, float_hook=str).decode


def digits(value: object) -> str:
    """A number that was decoded with ``float_hook=str``, with the digits that stand there; exponents are written out.

    Anything else becomes a text that no check takes for a number.
    """
    if not isinstance(value, str):
        return str(value) if value.__class__ is int else NESTED + repr(value)
    return f"{Decimal(value):f}" if ("e" in value or "E" in value) and _WITH_EXPONENT(value) else value


def plain(number: Decimal) -> str:
    """A number without exponent and without zeros that say nothing."""
    written = f"{number:f}"
    return (written.rstrip("0").rstrip(".") or "0") if "." in written else written


def first(row: Row, *names: str) -> str:
    """The first of these fields that is there and not empty; an empty text without one."""
    return next((row[name] for name in names if row.get(name)), "")


def nested(row: Row, name: str) -> Row:
    """The fields of an object that stands in a row; none where there is no object."""
    found = row.get(name, "")
    return _row(msgspec.Raw(found.removeprefix(NESTED).encode())) if found.startswith(f"{NESTED}{{") else {}


def difference(whole: str, part: str) -> str:
    """``whole`` less ``part``, exactly.

    Raises:
        ValueError: one is no number, or they have too many digits.
    """
    check_values(whole, part)
    try:
        return plain(EXACT.subtract(Decimal(whole), Decimal(part)))
    except ArithmeticError:
        msg = f"{shortened(whole)} less {shortened(part)} can't be told"
        raise ValueError(msg) from None


def opposite(number: str) -> str:
    """A number with the other sign, zero without one; empty, if it is.

    Raises:
        ValueError: it is no number.
    """
    check_values(number)
    if not number or not Decimal(number):
        return number.removeprefix("-")
    return number[1:] if number.startswith("-") else f"-{number}"


def total(amounts: Sequence[str]) -> str:
    """The sum of amounts of any sign, exactly; a single one as it is written.

    Raises:
        ValueError, ArithmeticError: one is no number, or they have too many digits.
    """
    check_values(*amounts)
    found = Decimal(amounts[0])
    for amount in amounts[1:]:
        found = EXACT.add(found, Decimal(amount))
    return amounts[0] if len(amounts) == 1 else plain(found)


def _row(raw: msgspec.Raw) -> Row:
    try:
        return {key: text(value) for key, value in _fields(raw).items()}
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {UNREADABLE_ROW: bytes(raw)[:_MOST_SHOWN].decode(errors="replace")}
