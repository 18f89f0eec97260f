"""Converts the flat fields of entries to events, using the definitions of the structs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from itertools import accumulate, repeat
from typing import Any, get_type_hints

from msgspec import Struct
from msgspec.json import Decoder
from msgspec.structs import fields as struct_fields

from bridge.keys import StreamKey
from bridge.model import BOOKS, DATA_EVENTS, Channel, Control, ControlEvent, Event, Levels

__all__ = ["UnknownKindError", "decode", "decode_columns", "format_levels", "ints", "parse_levels", "texts", "textual"]

_HEAD = ["type", "ts", "recv"]


class UnknownKindError(ValueError):
    """An entry type or control event that this version does not know, from a newer connector."""


def parse_levels(text: str) -> Levels:
    """Parse levels such as ``7994.50:1.134 7994.20:0.5``.

    Raises:
        ValueError: a level is not ``price:size``.
    """
    levels = []
    for level in text.split():
        price, size = level.split(":")
        levels.append((price, size))
    return levels


def format_levels(levels: Levels) -> str:
    """Levels as the text of an entry."""
    return " ".join([f"{price}:{size}" for price, size in levels])


def textual(value: Any) -> Any:
    """Plain data for JSON with all numbers as decimal text, like in entries: JavaScript's numbers have 53 bits.

    Booleans and ``None`` are unchanged; keys of mappings become text, sequences become lists.
    """
    if isinstance(value, dict):
        return {str(key): textual(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [textual(item) for item in value]
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")  # never 1e-06
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _number(text: str) -> int | None:
    return int(text) if text else None


def _control_event(text: str) -> ControlEvent:
    try:
        return ControlEvent(text)
    except ValueError:
        raise UnknownKindError(f"unknown control event {text!r}") from None


class _Shape(Struct, frozen=True):
    """Converts one type of entry to a struct.

    ``converters`` are ``(position, function)`` for the fields in `WIRE` that are not plain text.
    """

    kind: Callable[..., Event]
    channel: Channel | None
    names: list[str]
    more: tuple[str, ...]
    converters: tuple[tuple[int, Callable[[str], Any]], ...]


def _shape(kind: type[Any]) -> _Shape:
    known: dict[Any, Callable[[str], Any]] = {
        Levels: parse_levels,
        int: int,
        int | None: _number,
        ControlEvent: _control_event,
    }
    hints = get_type_hints(kind)
    order = [field.name for field in struct_fields(kind) if field.name in kind.WIRE]
    if order != list(kind.WIRE):
        msg = f"{kind.__name__}: the attributes are not in the order of WIRE"
        raise TypeError(msg)
    converters = [
        (place, known[hints[name]]) for place, name in enumerate(kind.WIRE, len(_HEAD)) if hints[name] is not str
    ]
    channel = None if kind is Control else kind.channel
    return _Shape(kind, channel, [*_HEAD, *kind.WIRE], getattr(kind, "MORE", ()), tuple(converters))


_KINDS: tuple[type[Any], ...] = (*DATA_EVENTS, Control)
_SHAPES = {str(kind.__struct_config__.tag): _shape(kind) for kind in _KINDS}


def decode(stream: StreamKey, flat: list[str]) -> Event:
    """The event of an entry of ``stream``, whose fields and values alternate in ``flat``.

    Unknown fields after (or among) the known ones are ignored.

    Raises:
        UnknownKindError: an unknown type, or a control entry with an unknown event; a subclass of ``ValueError``.
        ValueError: a missing field, a malformed value, or a type that does not belong to the stream's channel.
    """
    shape = _SHAPES.get(flat[1]) if len(flat) > 1 else None
    values: list[Any] = flat[1::2]
    more: dict[str, str] = {}
    if shape is None or flat[::2] != shape.names:
        shape, values, more = _by_name(flat)
    channel = shape.channel
    if channel is not stream.channel and channel is not None and not {channel, stream.channel} <= BOOKS:
        msg = f"a {values[0]} does not belong in a stream of {stream.channel}"
        raise ValueError(msg)
    ts = values[1]
    values[0] = stream.subject
    values[1] = int(ts) if ts else None
    values[2] = int(values[2])
    for place, convert in shape.converters:
        values[place] = convert(values[place])
    if channel is None:
        values.insert(len(_HEAD), stream.channel)
    return shape.kind(*values, **more) if more else shape.kind(*values)


def texts(values: Sequence[bytes]) -> list[str]:
    r"""Values as text, whatever they are: bytes that are not UTF-8 become text such as ``\\xff``."""
    joined = b"\n".join(values)
    if values and joined.isascii():
        found = joined.decode("ascii").split("\n")  # a call for all values instead of one for each
        if len(found) == len(values):
            return found
    return [value.decode("utf-8", "backslashreplace") for value in values]


def decode_columns(stream: StreamKey, names: Sequence[bytes], columns: Sequence[Sequence[bytes]]) -> list[Event] | None:
    """The events of many entries of ``stream`` with the same fields and ``type``: what `decode` returns for each.

    ``names`` are the fields, and ``columns`` has the values of all entries for each. A few calls convert a whole column.
    ``None``: the entries have to be decoded one by one, because that fails for one of them, or they are unusual.
    """
    types = set(columns[0]) if len(names) == len(columns) > 0 else ()
    shape = _SHAPES.get(columns[0][0].decode("utf-8", "replace")) if len(types) == 1 else None
    if shape is None:
        return None
    known, found = len(shape.names), texts(names)
    if found[:known] != shape.names or not set(found[known:]) <= set(shape.more):
        return None
    channel = shape.channel
    if channel is not stream.channel and channel is not None and not {channel, stream.channel} <= BOOKS:
        return None
    convert: dict[int, Callable[[str], Any]] = {1: _number, 2: int, **dict(shape.converters)}
    try:
        values = [_convert(convert.get(place), columns[place]) for place in range(1, known)]
    except ValueError:
        return None
    values.insert(0, repeat(stream.subject, len(columns[0])))
    if channel is None:
        values.insert(len(_HEAD), repeat(stream.channel, len(columns[0])))
    if known == len(found):
        return list(map(shape.kind, *values))
    more = zip(*map(texts, columns[known:]), strict=True)
    rows = zip(zip(*values, strict=True), more, strict=True)
    return [shape.kind(*row, **dict(zip(found[known:], further, strict=True))) for row, further in rows]


def _convert(convert: Callable[[str], Any] | None, column: Sequence[bytes]) -> Iterable[Any]:
    if convert is None:
        return texts(column)
    whole = _WHOLE_COLUMNS.get(convert)
    return whole(column) if whole else list(map(convert, texts(column)))


def ints(joined: bytes) -> list[int]:
    """Integers with commas between them, as JSON writes them: its decoder is several times as fast as `int`.

    Raises:
        ValueError: they are written in another way; `int` may take them.
    """
    return _INTS.decode(b"[%b]" % joined)


def _ints(column: Sequence[bytes]) -> list[int]:
    numbers = ints(b",".join(column))
    if len(numbers) != len(column):
        msg = "more numbers than values"
        raise ValueError(msg)
    return numbers


def _numbers(column: Sequence[bytes]) -> Iterable[int | None]:
    if not any(column):
        return repeat(None, len(column))
    return list(map(_number, texts(column))) if b"" in column else _ints(column)


def _level_lists(column: Sequence[bytes]) -> list[Levels]:
    joined = b" ".join(filter(None, column))
    counts = [text.count(b":") for text in column]
    total = sum(counts)
    parts = joined.replace(b":", b" ").decode("utf-8", "replace").split(" ")
    if joined.translate(None, b"0123456789.") != (b": " * total)[:-1] or "" in parts:
        return list(map(parse_levels, texts(column)))  # other characters, or no levels
    levels = list(zip(parts[::2], parts[1::2], strict=True))
    return [levels[end - count : end] for count, end in zip(counts, accumulate(counts), strict=True)]


_INTS = Decoder(list[int])
_WHOLE_COLUMNS: dict[Any, Callable[[Sequence[bytes]], Iterable[Any]]] = {
    parse_levels: _level_lists,
    _number: _numbers,
    int: _ints,
}
"""Converters of single values, and those that do the same for many at once."""


def _by_name(flat: list[str]) -> tuple[_Shape, list[Any], dict[str, str]]:
    """The slow path, for entries with additional fields or another order."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    if "type" not in fields:
        msg = "no field 'type'"
        raise ValueError(msg)
    shape = _SHAPES.get(fields["type"])
    if shape is None:
        raise UnknownKindError(f"unknown type {fields['type']!r}")
    missing = [name for name in shape.names if name not in fields]
    if missing:
        msg = f"{fields['type']}: no field {', '.join(map(repr, missing))}"
        raise ValueError(msg)
    more = {name: fields[name] for name in shape.more if name in fields}
    return shape, [fields[name] for name in shape.names], more
