"""Clients with the same subscriptions that have everything: what comes next is put together once for all of them.

A client is in a cohort only between two arrays: it has been sent every record of its streams, and it takes more. The
cohort then sends it what is new, without a task of its own being woken. A client that does not take an array leaves,
goes on by itself from where it is, and comes back when it has everything again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from consumers.web.feed import Feed, passes

__all__ = ["Cohort", "Cohorts", "Member", "Spec", "text_frame"]

_LARGEST = 64 * 1024
"""Bytes of an array. A larger one is sent to each client by itself, in parts."""

Spec = frozenset[tuple[str, frozenset[str] | None]]
"""Streams and the types of entries that are wanted of each (``None``: all)."""


class Member(Protocol):
    """A client in a cohort."""

    def push(self, frame: bytes) -> bool:
        """Send a frame at once; ``False`` if the client has not taken what it was sent before."""

    def leave(self) -> None:
        """Go on alone, from the end of what the feeds have sent."""

    def wake(self) -> None:
        """There may be something to send."""


class Cohort:
    """The members that watch ``feeds``, each with the types that are wanted of it."""

    def __init__(self, feeds: list[tuple[Feed, frozenset[str] | None]]) -> None:
        self.members: dict[Member, None] = {}
        self._feeds = feeds

    def wake(self) -> None:
        """Send what the feeds have not sent yet to all members."""
        news = [(feed, types) for feed, types in self._feeds if feed.end > feed.sent]
        frame = self._frame(news)
        if frame is None:
            for member in list(self.members):
                member.leave()
                member.wake()
        elif frame:
            for member in [member for member in self.members if not member.push(frame)]:
                member.leave()
                member.wake()

    def _frame(self, news: list[tuple[Feed, frozenset[str] | None]]) -> bytes | None:
        """The array of all that is new as a frame; empty if nobody wants it, ``None`` if it cannot be one array."""
        parts: list[bytes] = []
        size = 0
        for feed, types in news:
            if feed.sent < feed.first:
                return None  # not in memory any more
            size += feed.size_from(feed.sent)
            if size > _LARGEST:
                return None
            if types is None:
                parts.append(feed.text_from(feed.sent))
            else:
                records = feed.records[feed.sent - feed.first :]
                parts += [record.data for record in records if passes(record, types)]
        return text_frame(b"[" + b",".join(parts) + b"]") if parts else b""


class Cohorts:
    """All cohorts. ``watch`` and ``unwatch`` have a cohort woken, or not any more, by the news of these feeds."""

    def __init__(
        self, watch: Callable[[list[Feed], Cohort], None], unwatch: Callable[[list[Feed], Cohort], None]
    ) -> None:
        self._cohorts: dict[Spec, Cohort] = {}
        self._watch = watch
        self._unwatch = unwatch

    def join(self, member: Member, spec: Spec, feeds: list[Feed]) -> None:
        """Let a member in that has everything that ``feeds``, the streams of ``spec``, have sent."""
        cohort = self._cohorts.get(spec)
        if cohort is None:
            types = dict(spec)
            cohort = self._cohorts[spec] = Cohort([(feed, types[feed.key]) for feed in feeds])
            self._watch(feeds, cohort)
        cohort.members[member] = None

    def leave(self, member: Member, spec: Spec, feeds: list[Feed]) -> None:
        """Take a member out."""
        cohort = self._cohorts[spec]
        del cohort.members[member]
        if not cohort.members:
            del self._cohorts[spec]
            self._unwatch(feeds, cohort)


def text_frame(payload: bytes) -> bytes:
    """A WebSocket message of a server: one text frame, not compressed (RFC 6455, 5.2)."""
    length = len(payload)
    if length < 126:
        return b"\x81" + length.to_bytes(1, "big") + payload
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2, "big") + payload
    return b"\x81\x7f" + length.to_bytes(8, "big") + payload
