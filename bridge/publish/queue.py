"""What waits for one Redis node: the streams with something to send, taken in turns.

Each stream has a queue of its own (`Stream.waiting`), since only within a stream does order matter. So a stream that Redis
refuses, or that moves to another node of a Cluster, takes its entries with it and holds up nobody.

No event loop, no log, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from bridge.publish.batch import Run
from bridge.publish.pending import OVERHEAD, Pending
from bridge.publish.stream import Stream

__all__ = ["Queue"]

_LEAST_SHARE = 64
"""Entries that a stream may have in a batch at least before another one's turn comes."""


class Queue:
    """The streams of one node, and those of them that are ready: with entries to send, and not blocked."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self._ready: deque[Stream] = deque()

    def __bool__(self) -> bool:
        """Whether anything could be sent."""
        return bool(self._ready)

    @property
    def waiting(self) -> int:
        """Entries that wait, those of blocked streams included."""
        return sum([len(stream.waiting) for stream in self.streams])

    @property
    def pressing_bytes(self) -> int:
        """What the entries that could be sent count for in the budget."""
        return sum([stream.bytes for stream in self.streams if not stream.blocked])

    def add(self, stream: Stream) -> None:
        """Take a stream, with what waits of it."""
        self.streams.append(stream)
        self.wake(stream)

    def remove(self, stream: Stream) -> None:
        """Give a stream away, with what waits of it."""
        self.streams.remove(stream)
        self._rest(stream)

    def wake(self, stream: Stream) -> None:
        """Something waits of this stream, or may go now."""
        if stream.waiting and not stream.ready and not stream.blocked:
            stream.ready = True
            self._ready.append(stream)

    def block(self, stream: Stream, reason: str) -> None:
        """Redis refuses this stream: what waits of it stays, and holds up nobody."""
        stream.blocked = reason
        self._rest(stream)

    def unblock(self, stream: Stream) -> None:
        """Redis may take this stream again."""
        stream.blocked = ""
        self.wake(stream)

    def take(self, most: int, most_bytes: int) -> list[Run]:
        """The next batch: so many entries at the most, of so many bytes of the budget, and one entry at least, if any is ready.

        A long queue of one stream doesn't hold up the others: the streams take turns.
        """
        ready = self._ready
        if not ready:
            return []
        runs: list[Run] = []
        share = max(_LEAST_SHARE, most // len(ready))
        while ready:
            stream = ready.popleft()
            waiting = stream.waiting
            count = min(len(waiting), share, most)
            if stream.bytes > most_bytes:
                count = _fitting(waiting, count, most_bytes) or (not runs and bool(waiting))
            if count == 0 and waiting:
                ready.appendleft(stream)
                break
            if count == len(waiting):
                entries, size = list(waiting), stream.bytes
                waiting.clear()
                stream.ready = False
            else:
                entries = [waiting.popleft() for _ in range(count)]
                size = _weight(entries)
                ready.append(stream)
            stream.bytes -= size
            stream.flying += count
            runs.append((stream, entries, size))
            most -= count
            most_bytes -= size
        return runs

    def take_first(self, stream: Stream, most: int, most_bytes: int) -> list[Run]:
        """The first entries of a blocked stream, to see whether Redis takes them now: one at least, if there is any."""
        waiting = stream.waiting
        count = _fitting(waiting, min(most, len(waiting)), most_bytes) or min(1, len(waiting))
        if not count:
            return []
        entries = [waiting.popleft() for _ in range(count)]
        size = _weight(entries)
        stream.bytes -= size
        stream.flying += count
        return [(stream, entries, size)]

    def put_back(self, runs: Iterable[Run]) -> None:
        """What was taken and not sent, or certainly not written, waits again in its old place."""
        for stream, entries, size in reversed(list(runs)):
            stream.put_first(entries)
            stream.bytes += size
            stream.flying -= len(entries)
            self.wake(stream)

    def _rest(self, stream: Stream) -> None:
        if stream.ready:
            stream.ready = False
            self._ready.remove(stream)


def _weight(entries: Iterable[Pending]) -> int:
    return sum([len(entry.body) + OVERHEAD for entry in entries])


def _fitting(waiting: Iterable[Pending], most: int, most_bytes: int) -> int:
    """How many of the first entries have so many bytes together at the most."""
    size = 0
    for count, entry in enumerate(islice(waiting, most)):
        size += entry.weight
        if size > most_bytes:
            return count
    return most
