"""Durations and sizes as people write them, and the form in which a setting's values are written at all."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

__all__ = [
    "ByteSize",
    "Duration",
    "Form",
    "Limit",
    "duration_text",
    "parse_duration",
    "parse_limit",
    "parse_size",
    "size_text",
]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")

_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)")
_DURATION_WORDS = {
    "ms": r"ms|msecs?|millis(econds?)?",
    "s": r"s|secs?|seconds?",
    "m": r"m|mins?|minutes?",
    "h": r"h|hrs?|hours?",
    "d": r"d|days?",
}
_SIZE_WORDS = {"KiB": r"k|kilo(byte)?s?", "MiB": r"m|megs?|mega(byte)?s?", "GiB": r"g|gigs?|giga(byte)?s?"}

_DURATION_HELP = "should be a duration: a number with ms, s, m, h or d (90s, 1.5m, 24h), or seconds"
_SIZE_HELP = "should be a size: a number with B, kB, MB, GB, KiB, MiB or GiB (64MiB), or bytes"


@dataclass(frozen=True, eq=False)  # hashed by identity: annotations must be hashable, and a mapping is not
class Form:
    """``schema`` is the JSON Schema of what the file may hold; ``text`` writes a value as the file would."""

    schema: Mapping[str, Any]
    text: Callable[[Any], str] | None = None


def parse_duration(value: object) -> float:
    """Seconds of ``"24h"``, ``"90s"``, ``"1.5m"``, ``"250ms"``, ``"1h30m"`` or a bare number.

    Raises:
        ValueError: it is none of these, or negative, or not finite.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value) and value >= 0:
            return float(value)
    elif isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text):
            return _finite(float(text))
        parts = _DURATION_PART.findall(text)
        if parts and "".join(number + unit for number, unit in parts) == text:
            return _finite(math.fsum(float(number) * _SECONDS[unit] for number, unit in parts))
        raise ValueError(_DURATION_HELP + _meant(text, _DURATION_WORDS))
    raise ValueError(_DURATION_HELP)


def parse_limit(value: object) -> float | None:
    """Seconds, as `parse_duration`; ``None`` for ``"off"``.

    Raises:
        ValueError: it is no duration, or zero.
    """
    if value in ("off", None) or value is False:
        return None
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        msg = f"{error}, or off"
        raise ValueError(msg) from None
    if not seconds:
        msg = "should be greater than 0; no limit at all is 'off'"
        raise ValueError(msg)
    return seconds


def parse_size(value: object) -> int:
    """Bytes of ``"64MiB"``, ``"10MB"``, ``"1.5 GiB"`` or a bare number; case of the unit doesn't matter.

    Raises:
        ValueError: it is none of these, or negative.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())):
        number, unit = match.groups()
        factor = _BYTES.get(unit.lower())
        if factor is not None:
            return int(number) * factor if number.isdigit() else int(_finite(float(number) * factor))
    raise ValueError(_SIZE_HELP + (_meant(value, _SIZE_WORDS) if isinstance(value, str) else ""))


def duration_text(seconds: float | None) -> str:
    """``24h``, ``90s``, ``250ms``; days only above one, since a day is said as ``24h``; ``None`` is ``off``."""
    if seconds is None:
        return "off"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        least = 2 * size if unit == "d" else size
        if seconds >= least and not seconds % size:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds * 1000:g}ms" if seconds < 1 else f"{seconds:g}s"


def size_text(count: int) -> str:
    """``64MiB``, ``10MB`` or the bytes."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 10**9), ("MB", 10**6)):
        if count and not count % size:
            return f"{count // size}{unit}"
    return str(count)


def _meant(text: str, units: dict[str, str]) -> str:
    """A suggestion for a unit that is written in another way."""
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        return ""
    number, word = match.groups()
    unit = next((unit for unit, pattern in units.items() if re.fullmatch(pattern, word.lower())), None)
    return f"; did you mean {number}{unit}?" if unit else ""


def _finite(value: float) -> float:
    """A number with hundreds of digits overflows to infinity; that is a slip, not a setting."""
    if not math.isfinite(value):
        raise ValueError("is too large")
    return value


_DURATION_TEXT = r"^\s*([0-9]+(\.[0-9]+)?|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)\s*$"
_SIZE_TEXT = r"^\s*[0-9]+(\.[0-9]+)? ?([bB]|[kKmMgG]([iI])?[bB])?\s*$"
_DURATION_FORM = Form(
    {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _DURATION_TEXT}]}, duration_text
)
_LIMIT_FORM = Form(
    {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "string", "pattern": _DURATION_TEXT},
            {"enum": ["off", False]},
        ]
    },
    duration_text,
)
_SIZE_FORM = Form({"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": _SIZE_TEXT}]}, size_text)

Duration = Annotated[float, BeforeValidator(parse_duration), _DURATION_FORM]
"""Seconds; in the file also ``24h``, ``90s``, ``250ms``."""

Limit = Annotated[float | None, BeforeValidator(parse_limit), _LIMIT_FORM]
"""Seconds as `Duration`, or ``None``: ``off`` in the file."""

ByteSize = Annotated[int, BeforeValidator(parse_size), _SIZE_FORM]
"""Bytes; in the file also ``64MiB``, ``10MB``."""
