"""One stream as its publisher sees it: how far its numbering is, and what may be trimmed from it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

from msgspec import Struct

from bridge.model import BOOKS, PUBLIC_CHANNELS, Channel
from bridge.publish.pending import Lost, Pending, lost_entry
from bridge.publish.wire import command, head

__all__ = ["Retention", "Stream", "StreamId"]

_LEAST_STEP = 100
"""Exact trimming touches at most one node of about this many entries more than it drops: so often is cheap."""
_MOST_STEP = 10_000
_SNAPSHOTS = 4096
"""How many snapshot positions a book stream remembers as places to trim to."""


class StreamId(Struct, frozen=True, order=True):
    """An entry's ID, ``<ms>-<seq>``."""

    ms: int = 0
    seq: int = 0

    def __str__(self) -> str:
        return f"{self.ms}-{self.seq}"

    @classmethod
    def parse(cls, text: str | bytes) -> StreamId:
        """Take ``1786309548031-17`` apart.

        Raises:
            ValueError: it is no such ID.
        """
        ms, _, seq = (text.decode() if isinstance(text, bytes) else text).partition("-")
        return cls(int(ms), int(seq))


class Retention(Struct, frozen=True):
    """How much of a stream is kept: both limits apply; ``max_age`` in seconds."""

    max_entries: int
    max_age: float


class Stream:
    """The state that the publisher keeps for one stream."""

    __slots__ = (
        "blocked",
        "bytes",
        "channel",
        "conflicts",
        "control_head",
        "controls",
        "cut",
        "data_head",
        "declared",
        "flying",
        "gone",
        "is_book",
        "key",
        "lost",
        "ms",
        "next_trim",
        "oldest",
        "public",
        "published",
        "ready",
        "retention",
        "seq",
        "snapshots",
        "step",
        "subject",
        "tag",
        "waiting",
        "wide_head",
        "wider_head",
        "written_off",
    )

    def __init__(self, key: str, channel: Channel, subject: str, retention: Retention) -> None:
        self.key = key
        self.tag = key.partition("{")[2].partition("}")[0]
        """What a Cluster finds the slot by: streams that have it in common are in one."""
        self.channel = channel
        self.subject = subject
        self.public = channel in PUBLIC_CHANNELS
        self.is_book = channel in BOOKS
        self.retention = retention
        self.data_head = head(key, channel)
        self.control_head = head(key, None)
        self.wide_head = head(key, channel, more=1)
        """For entries with a further field (`contracts`)."""
        self.wider_head = head(key, channel, more=2)
        """For entries with two of them (`contracts` and `leg`, or `fees`)."""
        self.ms = 0
        self.seq = 0
        """The last ID given out."""
        self.oldest = StreamId()
        """The first entry that may still be there."""
        self.cut = StreamId()
        """Entries below were trimmed by us: an older time, or a smaller ``seq``."""
        self.snapshots: deque[StreamId] = deque(maxlen=_SNAPSHOTS)
        self.step = max(min(retention.max_entries, _LEAST_STEP), min(_MOST_STEP, retention.max_entries // 20))
        self.next_trim = self.step
        self.blocked = ""
        """Why Redis refuses this very stream, while it does."""
        self.waiting: deque[Pending] = deque()
        """Entries that wait to be sent."""
        self.ready = False
        """Whether its queue knows that something waits."""
        self.bytes = 0
        """What the waiting entries count for in the budget."""
        self.flying = 0
        """How many entries are in the batch on its way."""
        self.controls = 0
        """How many of the entries that wait or fly are control entries, `lost` ones included."""
        self.declared = 0
        """How many events those `lost` entries declare."""
        self.written_off = 0
        """Up to this number, whatever Redis has lost is declared lost."""
        self.conflicts = 0
        self.gone: int | None = None
        """How many of the numbers given out are not in the stream: trimmed. ``None`` while unknown; less by foreign entries."""
        self.published = 0
        """Data entries that Redis has acknowledged."""
        self.lost: Counter[str] = Counter()
        """Dropped events that a `lost` entry in Redis declares, by `LOSSES`."""

    def __repr__(self) -> str:
        return f"Stream({self.key!r}, {self.ms}-{self.seq})"

    @property
    def backlog(self) -> int:
        """Events that are neither published nor declared lost yet: those with an entry, and those that `lost` entries declare."""
        return len(self.waiting) + self.flying - self.controls + self.declared

    def lost_entry(self, recv: int, count: int, reason: str) -> Lost:
        """A `lost` entry of this stream, counted as one that waits; it still has to be put somewhere."""
        entry = lost_entry(self.subject, self.channel, recv, count, reason)
        self.controls += 1
        self.declared += count
        self.bytes += entry.weight
        return entry

    def put_first(self, entries: Sequence[Pending]) -> None:
        """Put entries that were taken in front again, in their order; ``bytes`` is the caller's."""
        self.waiting.extendleft(reversed(entries))

    def put_behind_numbered(self, entry: Pending) -> None:
        """Put an entry in front of all that waits, but for what has its number already; ``bytes`` is the caller's."""
        numbered = []
        while self.waiting and self.waiting[0].seq:
            numbered.append(self.waiting.popleft())
        self.waiting.appendleft(entry)
        self.put_first(numbered)

    def resume(self, last: StreamId, oldest: StreamId) -> None:
        """Go on after what stands in Redis: ``oldest`` is its first entry, or (at time 0) the first that can still come."""
        self.ms = last.ms
        self.seq = last.seq
        self.oldest = oldest
        self.next_trim = last.seq + self.step

    def set_back(self, last: StreamId) -> None:
        """What was numbered above ``last`` is not in the stream: the numbers are given out again.

        The same entries get the same IDs. That matters if a connection that was given up still has them on their way:
        whichever comes first, the other is refused.
        """
        self.ms, self.seq = last.ms, last.seq
        while self.snapshots and self.snapshots[-1].seq > last.seq:
            self.snapshots.pop()

    def write_off(self, first: int, end: int) -> int:
        """Redis has lost the entries from number ``first`` to before ``end``; returns how many of them aren't declared lost yet."""
        begin = max(first, self.written_off + 1)
        self.written_off = max(self.written_off, end - 1)
        return max(end - begin, 0)

    def was_trimmed(self, ms: int, seq: int) -> bool:
        """Whether an entry with this ID would have been trimmed by now."""
        return seq < self.cut.seq or ms < self.cut.ms

    def trim(self, now_ms: int | None) -> list[str]:
        """The commands that bring the stream within its retention; none where it is.

        ``now_ms`` is Redis' time; while it is ``None``, unknown, nothing is too old.
        """
        self.next_trim = self.seq + self.step
        if not self.oldest.ms:
            if self.seq < self.oldest.seq:
                return []
            self.oldest = StreamId(self.ms, self.oldest.seq)  # what came first came of late
        first_kept = self.seq - self.retention.max_entries + 1
        oldest_ms = 0 if now_ms is None else max(now_ms - int(self.retention.max_age * 1000), 0)
        too_many = self.oldest.seq < first_kept
        # Not at every millisecond that passes: a hundredth of the age is slack, so quiet streams cost little.
        too_old = self.oldest.ms < oldest_ms - int(self.retention.max_age * 10)
        if not too_many and not too_old:
            return []
        if self.is_book:
            return self._trim_book(first_kept, oldest_ms)
        kept_ms = oldest_ms if too_old else self.oldest.ms  # what isn't cut by age is still as old as it was
        self.oldest = StreamId(kept_ms, max(self.oldest.seq, first_kept))
        commands = []
        if too_many:
            self.cut = StreamId(self.cut.ms, first_kept)
            commands.append(command("XTRIM", self.key, "MAXLEN", "=", self.retention.max_entries))
        if too_old:
            self.cut = StreamId(oldest_ms, self.cut.seq)
            commands.append(command("XTRIM", self.key, "MINID", "=", f"{oldest_ms}-0"))
        return commands

    def _trim_book(self, first_kept: int, oldest_ms: int) -> list[str]:
        """Cut only right before a snapshot: the deltas that stay need it.

        The cut is the first snapshot within the limits; if there is none, the newest one there is.
        """
        while len(self.snapshots) > 1 and not (
            self.snapshots[0].seq >= first_kept and self.snapshots[0].ms >= oldest_ms
        ):
            self.snapshots.popleft()
        if not self.snapshots or self.snapshots[0] <= self.oldest:
            return []
        self.oldest = self.snapshots[0]
        self.cut = StreamId(seq=self.oldest.seq)
        return [command("XTRIM", self.key, "MINID", "=", str(self.oldest))]
