"""Formats entries as lines: JSON for programs, aligned and coloured for people, with control characters escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import msgspec

from bridge.keys import Keys
from bridge.printable import printable, printable_json
from bridge.tail.selection import text_of
from bridge.tail.streams import Found

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["JsonLines", "Lines", "Show"]


class Show(Protocol):
    """Formats entries as lines."""

    def __call__(self, entries: Sequence[Found]) -> str:
        """The entries as text, one line each."""


class JsonLines:
    """One JSON object per line: ``key``, ``entry_id``, then the fields under their own names, all as text.

    If an entry has a field with one of these two names, it is called ``field:key`` or ``field:entry_id``.
    """

    _OURS = ("key", "entry_id")

    def __call__(self, entries: Sequence[Found]) -> str:
        return "".join(map(self._line, entries))

    def _line(self, entry: Found) -> str:
        row = {"key": text_of(entry.key), "entry_id": text_of(entry.id)}
        for raw, value in entry.fields.items():
            name = text_of(raw)
            row[f"field:{name}" if name in self._OURS else name] = text_of(value)
        # JSON does not escape DEL, C1 and directional marks, some of which affect a terminal.
        return printable_json(msgspec.json.encode(row)) + "\n"


class Lines:
    """Aligned, coloured lines: time, stream, ``seq``, type, and the fields that are not empty."""

    _TYPES: Mapping[str, str] = {
        "trade": "bright_white",
        "snapshot": "magenta",
        "delta": "blue",
        "quote": "cyan",
        "ticker": "cyan",
        "funding": "cyan",
        "mark": "cyan",
        "interest": "cyan",
        "liquidation": "bright_yellow",
        "candle": "cyan",
        "control": "bold yellow",
    }
    _VALUES: Mapping[str, str] = {
        "buy": "green",
        "long": "green",
        "live": "green",
        "sell": "red",
        "short": "red",
        "down": "red",
        "gap": "red",
        "lost": "bold red",
        "stale": "red",
    }
    _FIELDS: Mapping[str, str] = {"bids": "green", "bid": "green", "asks": "red", "ask": "red", "error": "red"}
    _FIRST, _LAST = (b"side", b"price", b"size", b"last", b"bid", b"ask"), (b"id", b"xseq", b"window")
    """Fields that come first and last, since a narrow terminal shows only the beginning of a line."""
    _FIRST_OF: Mapping[bytes, tuple[bytes, ...]] = {
        b"candle": (b"state", b"reason", b"open", b"high", b"low", b"close", b"volume", b"count")
    }
    """The same for types whose fields of these names mean something else."""
    _NAMELESS = frozenset({(b"control", b"event"), (b"control", b"reason")})
    """Fields (with the type of their entry) that need no name."""
    _LONG = ("raw", "error")
    """Fields that get more room than others."""
    _VALUE, _LONG_VALUE, _NAME, _STREAM, _NARROW, _FIELDS_SHOWN = 60, 600, 40, 66, 28, 40
    """Limits: characters of values, names and stream names (on a wide and a narrow terminal), and fields per line."""

    def __init__(self, keys: Keys) -> None:
        from rich.console import Console  # noqa: PLC0415 - not needed for JSON

        self._keys = keys
        self._console = Console(soft_wrap=False, highlight=False)
        self._width = 24

    def __call__(self, entries: Sequence[Found]) -> str:
        with self._console.capture() as capture:
            for entry in entries:
                self._console.print(self._line(entry), no_wrap=True, overflow="ellipsis", crop=True)
        return capture.get()

    def _line(self, entry: Found) -> Text:
        from rich.text import Text  # noqa: PLC0415 - as above

        ms, _, seq = text_of(entry.id).partition("-")
        stream = self._keys.parse(text_of(entry.key))
        channel = f" {stream.channel}" if stream else ""
        # The name of a sub-account may be long, and would leave no room for the fields on a narrow terminal.
        room = min(self._STREAM, max(self._NARROW, self._console.width // 3)) - len(channel)
        name = _short(f"{stream.exchange}:{stream.subject}" if stream else text_of(entry.key), room) + channel
        self._width = max(self._width, len(name))
        fields = list(entry.fields.items())
        kind = _short(_type(entry.fields), self._NAME)
        line = Text(f"{_time(ms)} ", style="dim")
        line.append(f"{name:{self._width}} ", style="default")
        line.append(f"{seq:>8} ", style="dim")
        line.append(f"{kind:9}", style=self._TYPES.get(kind, "white"))
        shown = [(raw, value) for raw, value in fields if raw not in (b"type", b"ts", b"recv") and value]
        first = self._FIRST_OF.get(entry.fields.get(b"type", b""), self._FIRST)
        shown.sort(key=lambda field: self._rank(field[0], first))
        for raw, value in shown[: self._FIELDS_SHOWN]:
            field = _short(text_of(raw[: 4 * self._NAME]), self._NAME)
            limit = self._LONG_VALUE if field in self._LONG else self._VALUE
            text = _short(text_of(value[: 4 * limit + 4]), limit)
            nameless = (entry.fields.get(b"type"), raw) in self._NAMELESS
            line.append(" " if nameless else f" {field} ", style="dim")
            line.append(text, style=self._FIELDS.get(field) or self._VALUES.get(text, "default"))
        if len(shown) > self._FIELDS_SHOWN:
            line.append(f" … and {len(shown) - self._FIELDS_SHOWN} more fields", style="dim")
        return line

    def _rank(self, field: bytes, first: tuple[bytes, ...]) -> int:
        return first.index(field) if field in first else len(first) + (field in self._LAST)


def _type(fields: Mapping[bytes, bytes]) -> str:
    return text_of(fields.get(b"type", b"")[:200])


def _short(text: str, limit: int) -> str:
    """The text with control characters escaped, and cut to ``limit`` characters."""
    cut = text if len(text) <= limit else text[:limit] + "…"
    return printable(cut)


def _time(ms: str) -> str:
    """When the bridge received the entry, in the local time zone; with the date unless it is today."""
    try:
        at = datetime.fromtimestamp(int(ms) / 1000, UTC).astimezone()
    except (ValueError, OverflowError, OSError):  # the ID is not a time
        return f"{ms:>12}"
    today = at.date() == datetime.now(UTC).astimezone().date()
    return f"{at:%H:%M:%S}.{int(ms) % 1000:03}" if today else f"{at:%Y-%m-%d %H:%M:%S}.{int(ms) % 1000:03}"
