"""What can be read of JSON of any form: nothing here raises, so that a session can look for what a bad frame still says."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from bridge.exchanges.toolkit.values.fields import Row, decode_rows, fields_of
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, peek, peek_count, readable, rows_of

__all__ = ["Remains", "count_in", "fields_in", "read_remains", "row_in", "rows_in", "text_in"]

_LONGEST_COUNT = 18
_decode_text = msgspec.json.Decoder(str).decode


class Remains(Struct):
    """What can be read of a frame; without ``fields`` it is no JSON object, and the rest was found in its first bytes."""

    channel: str
    number: int | None
    type: str
    fields: dict[str, Raw]


def read_remains(frame: bytes, *, channel: str, number: str) -> Remains:
    """What can be read of a frame whose channel and number are in fields of these names."""
    fields = fields_in(frame)
    if not fields:
        return Remains(peek(frame, channel), peek_count(frame, number), "", {})
    return Remains(text_in(fields.get(channel)), count_in(fields.get(number)), text_in(fields.get("type")), fields)


def fields_in(data: bytes | Raw | None) -> dict[str, Raw]:
    """The fields of a JSON object; none, where it is nothing of the kind."""
    try:
        return fields_of(readable(bytes(data or b"")))
    except UNREADABLE:
        return {}


def text_in(raw: Raw | None) -> str:
    """The text that a field holds; empty where it holds none."""
    try:
        return _decode_text(raw or b"")
    except UNREADABLE:
        return ""


def count_in(raw: Raw | None) -> int | None:
    """The whole number that a field holds; ``None`` where it holds none of at most 18 digits."""
    digits = bytes(raw or b"")
    return int(digits) if digits.isdigit() and len(digits) <= _LONGEST_COUNT else None


def rows_in(data: Raw | None) -> list[Raw] | None:
    """The rows of a JSON array, or a single value as one row; ``None`` where there is nothing."""
    try:
        return None if data is None else rows_of(data)
    except UNREADABLE:
        return None


def row_in(fields: Mapping[str, Raw], name: str) -> Row:
    """The object that a field holds, with its values as text; empty, where it holds none."""
    try:
        found = decode_rows(fields[name])
    except (*UNREADABLE, LookupError):
        return {}
    return found[0] if len(found) == 1 else {}
