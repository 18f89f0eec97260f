"""A batch: entries with their numbers, and what is asked of Redis beside them; and the batches that Redis took of late."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct, field

from bridge.publish.pending import CONTROL, LOST, SNAPSHOT, WIDE, WIDER, Pending
from bridge.publish.stream import Stream, StreamId
from bridge.publish.wire import command

__all__ = ["Batch", "History", "Run", "command_of", "flat", "grouped", "pack", "settle"]

Run = tuple[Stream, list[Pending], int]
"""Entries of a stream, in order, and what they count for in the budget."""
_HISTORY_BYTES = 4 * 1024 * 1024
_MS = 1_000_000
"""Nanoseconds."""


class Batch(Struct):
    """What goes to Redis in one go, and is answered before the next one goes."""

    runs: list[Run]
    commands: list[str]
    """One for each entry, in order, and then the trimming; emptied once they are sent."""
    entries: int
    trims: list[tuple[Stream, str]] = field(default_factory=list)
    looks: list[tuple[Stream, int]] = field(default_factory=list)
    """Streams whose length is asked for, and the number that each is at by then."""
    asked_time: int = 0
    """When Redis' time is asked for with it (ns, by the steady clock); 0: it isn't."""

    @property
    def bytes(self) -> int:
        """What the entries count for in the budget."""
        return sum([size for _, _, size in self.runs])

    def add_trimming(self, stream: Stream, commands: Iterable[str]) -> None:
        """Behind the entries."""
        for text in commands:
            self.trims.append((stream, text))
            self.commands.append(text)

    def drop_trimming(self) -> None:
        """Trim nothing with this batch."""
        del self.commands[self.entries :]
        self.trims.clear()

    def add_look(self, stream: Stream) -> None:
        """Behind all else; of a stream at the number that it is at now."""
        self.looks.append((stream, stream.seq))

    @property
    def questions(self) -> list[str]:
        """What is asked behind all else: the streams' lengths, and then the time."""
        return [
            *(command("XLEN", stream.key) for stream, _ in self.looks),
            *([command("TIME")] if self.asked_time else ()),
        ]

    @property
    def asked(self) -> int:
        """How many `questions` there are."""
        return len(self.looks) + bool(self.asked_time)


def pack(runs: list[Run], now_ms: int | None, lead: int = 0) -> Batch:
    """Number the entries: an ``XADD`` for each, and behind them the trimming that is due at ``now_ms``.

    ``now_ms`` is Redis' time (``None``: unknown); ``lead`` (ns) is what IDs have to be ahead of the times of receipt, which
    are by the steady clock.
    """
    commands: list[str] = []
    append = commands.append
    due: list[Stream] = []
    for stream, entries, _ in runs:
        ms, seq = stream.ms, stream.seq
        later = _MS * (ms + 1) - lead
        kind = turn = -1
        for entry in entries:
            seq += 1
            recv = entry.recv
            if recv >= later or entry.kind != kind or seq >= turn:  # else all but the last digits is as before
                if recv >= later:
                    ms = (recv + lead) // _MS
                    later = _MS * (ms + 1) - lead
                kind = entry.kind
                beginning, turn = _beginning(stream, kind, ms, seq)
            entry.ms, entry.seq = ms, seq
            append(f"{beginning}{seq}\r\n{entry.body}")
            if kind == SNAPSHOT:
                stream.snapshots.append(StreamId(ms, seq))
        stream.ms, stream.seq = ms, seq
        if seq >= stream.next_trim:
            due.append(stream)
    batch = Batch(runs, commands, len(commands))
    for stream in dict.fromkeys(due):
        batch.add_trimming(stream, stream.trim(now_ms))
    return batch


def command_of(stream: Stream, entry: Pending) -> str:
    """The ``XADD`` of an entry that has its number."""
    beginning, _ = _beginning(stream, entry.kind, entry.ms, entry.seq)
    return f"{beginning}{entry.seq}\r\n{entry.body}"


def _beginning(stream: Stream, kind: int, ms: int, seq: int) -> tuple[str, int]:
    """What an ``XADD`` begins with, up to the dash of its ID; and the number from which on IDs are longer."""
    if kind >= CONTROL:
        head = stream.control_head
    elif kind == WIDE:
        head = stream.wide_head
    else:
        head = stream.wider_head if kind == WIDER else stream.data_head
    time, number = str(ms), str(seq)
    return f"{head}${len(time) + 1 + len(number)}\r\n{time}-", 10 ** len(number)


def flat(runs: Iterable[Run]) -> Iterator[tuple[Stream, Pending]]:
    """The entries of runs, one by one, each with its stream."""
    for stream, entries, _ in runs:
        for entry in entries:
            yield stream, entry


def grouped(pairs: Iterable[tuple[Stream, Pending]]) -> list[Run]:
    """Entries as runs, one for each stream, in the order of its first entry."""
    found: dict[Stream, list[Pending]] = {}
    for stream, entry in pairs:
        found.setdefault(stream, []).append(entry)
    return [(stream, entries, sum([entry.weight for entry in entries])) for stream, entries in found.items()]


class History:
    """The entries that Redis took last, for a server that forgets; bounded by bytes, whatever a batch's size is."""

    def __init__(self, most: int = _HISTORY_BYTES) -> None:
        self._runs: deque[Run] = deque()
        self._most = most
        self.bytes = 0

    def add(self, runs: Iterable[Run]) -> None:
        """Remember acknowledged entries; the oldest make room, and of more than fits, the newest stay.

        What is remembered of a stream is always its last entries, without a hole.
        """
        for run in runs:
            kept = run
            if run[2] > self._most:
                self._runs.clear()
                self.bytes = 0
                kept = _newest(run, self._most)
            self._runs.append(kept)
            self.bytes += kept[2]
        while self.bytes > self._most:
            self.bytes -= self._runs.popleft()[2]

    def after(self, last: Mapping[Stream, int]) -> list[Run]:
        """The remembered entries of these streams with a ``seq`` above the given one, in order."""
        pairs = flat(run for run in self._runs if run[0] in last)
        return grouped((stream, entry) for stream, entry in pairs if entry.seq > last[stream])

    def without(self, stream: Stream) -> list[Run]:
        """Give away what is remembered of a stream."""
        found = self.after({stream: 0})
        self._runs = deque(run for run in self._runs if run[0] is not stream)
        self.bytes = sum([run[2] for run in self._runs])
        return found


def _newest(run: Run, most: int) -> Run:
    """The last entries of a run that have so many bytes together at the most."""
    stream, entries, size = run
    first = 0
    while size > most:
        size -= entries[first].weight
        first += 1
    return stream, entries[first:], size


def settle(runs: Iterable[Run]) -> tuple[list[int], int]:
    """Count acknowledged entries for their streams; returns when the data among them came (ns), and the events declared lost."""
    received: list[int] = []
    lost = 0
    for stream, entries, _ in runs:
        stream.flying -= len(entries)
        if not stream.controls:
            received += [entry.recv for entry in entries]
            stream.published += len(entries)
            continue
        for entry in entries:
            if entry.kind < CONTROL:
                received.append(entry.recv)
                stream.published += 1
                continue
            stream.controls -= 1
            if entry.kind == LOST:
                lost += entry.count  # type: ignore[attr-defined]
                stream.declared -= entry.count  # type: ignore[attr-defined]
                stream.lost[entry.loss] += entry.count  # type: ignore[attr-defined]
    return received, lost
