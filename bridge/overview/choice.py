"""Chooses streams by exchange, pair, channel and pattern, and says which names are not known."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec import Struct

from bridge.overview.rows import StreamRow
from bridge.suggestions import did_you_mean
from bridge.tail.selection import glob_of

__all__ = ["Choice", "matches"]

_GLOB = frozenset("*?[")


class Choice(Struct, frozen=True):
    """Which streams are wanted; an empty part means all. Names may be patterns; case does not matter.

    ``subjects`` are pairs or accounts; ``patterns`` are parts of a key, or patterns that match all of it.
    """

    exchanges: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def of(self, rows: Iterable[StreamRow]) -> list[StreamRow]:
        """Those of the rows that are wanted, in their order."""
        return [row for row in rows if self.admits(row)]

    def admits(self, row: StreamRow) -> bool:
        """Whether this stream is wanted."""
        stream = row.stream
        return (
            _is_one_of(stream.exchange, self.exchanges)
            and _is_one_of(stream.subject, self.subjects)
            and (_is_one_of(str(stream.channel), self.channels) or _is_one_of(stream.suffix, self.channels))
            and (not self.patterns or any(matches(row.key, pattern) for pattern in self.patterns))
        )

    def hint(self, rows: Collection[StreamRow]) -> str:
        """What may be meant by the names that no stream has; empty if there is nothing to say."""
        known = {
            "--exchange": (self.exchanges, {row.stream.exchange for row in rows}),
            "--pair": (self.subjects, {row.stream.subject for row in rows}),
            "--channel": (
                self.channels,
                {name for row in rows for name in (str(row.stream.channel), row.stream.suffix)},
            ),
        }
        hints = [
            f"{option} {name}: {hint}"
            for option, (asked, names) in known.items()
            for name in asked
            if not any(_is_one_of(each, (name,)) for each in names) and (hint := did_you_mean(name, sorted(names)))
        ]
        return "; ".join(hints)


def matches(text: str, pattern: str) -> bool:
    """Whether the text contains this pattern, or, if that has ``*``, ``?`` or ``[``, matches it as a whole."""
    if _GLOB & set(pattern):
        return glob_of(pattern.casefold()).fullmatch(text.casefold()) is not None
    return pattern.casefold() in text.casefold()


def _is_one_of(name: str, wanted: Collection[str]) -> bool:
    """Whether the name is one of these, or matches one that is a pattern; of none, every name is."""
    return not wanted or any(
        matches(name, each) if _GLOB & set(each) else name.casefold() == each.casefold() for each in wanted
    )
