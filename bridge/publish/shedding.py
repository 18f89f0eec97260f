"""What has to go when Redis takes nothing and too much waits.

First goes what can be summed up: of quotes and tickers all but the newest, of a book all of it, since one fresh snapshot says
the same. Then trades, the oldest first; private events last of all. What goes is declared by a `lost` entry in its place.
Control entries stay, and so do entries that may be on their way (`Pending.seq`).
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice, takewhile
from math import inf

from bridge.model import BOOKS, NEWEST_ONLY
from bridge.publish.pending import CONTROL, LOST, SNAPSHOT, Pending
from bridge.publish.stream import Stream

__all__ = ["collapse", "drop_first", "drop_oldest", "shed"]

_AT_ONCE = 512
"""Entries that go from a stream before another one's turn comes."""


def shed(streams: Sequence[Stream], need: int, reason: str) -> Counter[Stream]:
    """Drop entries until so many bytes of the budget are free, or nothing is left to drop.

    Returns:
        Per stream how many events were dropped now.
    """
    dropped: Counter[Stream] = Counter()
    for channels in (NEWEST_ONLY, BOOKS):
        chosen = [stream for stream in streams if stream.channel in channels]
        for stream in sorted(chosen, key=lambda stream: stream.bytes, reverse=True):
            if need <= 0:
                return dropped
            before = stream.bytes
            dropped += collapse(stream, reason)
            need -= before - stream.bytes
    for public in (True, False):
        chosen = [stream for stream in streams if stream.public is public and stream.channel not in NEWEST_ONLY]
        before = sum(stream.bytes for stream in chosen)
        dropped += drop_oldest(chosen, need, reason)
        need -= before - sum(stream.bytes for stream in chosen)
    return dropped


def collapse(stream: Stream, reason: str) -> Counter[Stream]:
    """Drop all but the newest quote or ticker; of a book, everything."""
    data = sum([entry.kind < CONTROL for entry in stream.waiting])
    return _drop(stream, data - (stream.channel in NEWEST_ONLY), reason)


def drop_oldest(streams: Iterable[Stream], need: int, reason: str) -> Counter[Stream]:
    """Drop the entries that came first, over all these streams, until so many bytes are free."""
    dropped: Counter[Stream] = Counter()
    heads = [(_first_data(stream), index, stream) for index, stream in enumerate(streams)]
    heap = [head for head in heads if head[0]]
    heapq.heapify(heap)
    while heap and need > 0:
        _, index, stream = heapq.heappop(heap)
        before = stream.bytes
        dropped += _drop(stream, _AT_ONCE, reason, need)
        need -= before - stream.bytes
        first = _first_data(stream)
        if first and stream.bytes < before:
            heapq.heappush(heap, (first, index, stream))
    return dropped


def drop_first(stream: Stream, reason: str) -> Counter[Stream]:
    """Drop the first entry, though it has been sent: Redis never takes it. With a book's goes what continues it.

    A control entry is not dropped.
    """
    if not stream.waiting or stream.waiting[0].kind >= CONTROL:
        return Counter()
    stream.waiting[0].seq = 0
    most = 1
    if stream.is_book:
        rest = takewhile(lambda entry: entry.kind != SNAPSHOT, islice(stream.waiting, 1, None))
        most += sum([entry.kind < CONTROL for entry in rest])
    return _drop(stream, most, reason)


def _first_data(stream: Stream) -> int:
    """When the first entry came that can be dropped; 0 if there is none."""
    return next((entry.recv for entry in stream.waiting if entry.kind < CONTROL and not entry.seq), 0)


def _drop(stream: Stream, most: int, reason: str, need: float = inf) -> Counter[Stream]:
    """Drop data among the first entries until ``most`` are dropped or ``need`` bytes are free; neighbouring losses become one entry."""
    waiting = stream.waiting
    kept: list[Pending] = []
    gap: list[Pending] = []
    dropped = freed = 0
    while waiting and dropped < most and freed < need:
        entry = waiting.popleft()
        if entry.kind == LOST and not entry.seq:
            gap.append(entry)
        elif entry.kind >= CONTROL or entry.seq:
            _close(stream, kept, gap, reason)
            kept.append(entry)
        else:
            gap.append(entry)
            dropped += 1
            freed += entry.weight
    if gap and waiting and waiting[0].kind == LOST and not waiting[0].seq:
        gap.append(waiting.popleft())
    _close(stream, kept, gap, reason)
    stream.put_first(kept)
    return Counter({stream: dropped}) if dropped else Counter()


def _close(stream: Stream, kept: list[Pending], gap: list[Pending], reason: str) -> None:
    """Put one `lost` entry in place of entries that go."""
    if any(entry.kind != LOST for entry in gap):
        count = 0
        for entry in gap:
            stream.bytes -= entry.weight
            if entry.kind == LOST:
                count += entry.count  # type: ignore[attr-defined]
                stream.controls -= 1
                stream.declared -= entry.count  # type: ignore[attr-defined]
            else:
                count += 1
        kept.append(stream.lost_entry(gap[0].recv, count, reason))
    else:
        kept += gap
    gap.clear()
