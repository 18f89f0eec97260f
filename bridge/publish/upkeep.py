"""What a pipeline does beside publishing: it trims quiet streams, and sees whether somebody else changes any."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.publish.batch import Batch
from bridge.publish.clock import RedisClock
from bridge.publish.connection import RedisConnection, Reply
from bridge.publish.events import PublisherEvents
from bridge.publish.queue import Queue
from bridge.publish.stream import Stream
from bridge.publish.transfer import refused
from bridge.publish.watch import Disturbance, Watch, count_trimmed, examine
from bridge.publish.wire import command

__all__ = ["Upkeep"]

_MOST_CONFLICTS = 10
_NO_TRIMMING_FOR = 60.0
"""Seconds for which nothing is trimmed after Redis has refused to."""


class Upkeep:
    """The chores of one pipeline; times are the loop's, in seconds."""

    def __init__(self, queue: Queue, events: PublisherEvents, log: FilteringBoundLogger) -> None:
        self._queue = queue
        self._events = events
        self._log = log
        self.watch = Watch()
        self.trims: list[tuple[Stream, str]] = []
        """Trimming that goes with the next batch."""
        self.looks: list[Stream] = []
        """Streams to look at with the next batch."""
        self.clock = RedisClock()
        """The server's, by which entries grow old."""
        self._ask_time = False
        self._no_trimming_until = float("-inf")

    @property
    def due(self) -> bool:
        """Whether there is anything to send."""
        return bool(self.trims or self.looks or self._ask_time)

    def start_round(self, now: int) -> None:
        """Find out what is due at ``now`` (ns, by the steady clock); called once a second while Redis takes entries."""
        self._ask_time = True
        if not self.trims:
            now_ms = self.clock.milliseconds(now)
            self.trims = [(stream, text) for stream in self._queue.streams for text in stream.trim(now_ms)]
        self.looks = self.watch.next(self._queue.streams)

    def forget(self, stream: Stream) -> None:
        """Do nothing more about a stream that is written no more."""
        self.trims = [trim for trim in self.trims if trim[0] is not stream]
        self.looks = [look for look in self.looks if look is not stream]

    def add_to(self, batch: Batch, now: float, asked: int) -> None:
        """Put what is due behind a batch's entries; ``asked`` is the time by the steady clock (ns)."""
        for stream, text in self.trims:
            batch.add_trimming(stream, [text])
        if now < self._no_trimming_until:
            batch.drop_trimming()
        for stream in self.looks:
            batch.add_look(stream)
        batch.asked_time = asked if self._ask_time else 0
        self.trims, self.looks, self._ask_time = [], [], False

    def trimmed(self, trims: Sequence[tuple[Stream, str]], replies: Sequence[Reply], now: float) -> None:
        """Count what was trimmed; what wasn't applied is due again, and what Redis refuses isn't tried for a while."""
        answered = list(zip(trims, replies, strict=True))
        count_trimmed((stream, reply) for (stream, _), reply in answered if reply is not None)
        self.trims += [trim for trim, reply in answered if reply is None]
        if errors := sorted({f"{stream.key}: {refused(reply)}" for (stream, _), reply in answered if refused(reply)}):
            self._no_trimming_until = now + _NO_TRIMMING_FOR
            self.trims.clear()
            self._log.error("redis_refused", errors=errors[:10], waiting=self._queue.waiting)

    async def ask_time(self, connection: RedisConnection) -> None:
        """Read the server's clock.

        Raises:
            ConnectionError: the connection broke.
        """
        asked = CLOCK.now()
        [told] = await connection.request([command("TIME")])
        self.clock.told(told, asked, CLOCK.now())

    async def examine(self, connection: RedisConnection, streams: Sequence[Stream]) -> None:
        """See what somebody else has done to these streams, and say so.

        Raises:
            ConnectionError: the connection broke.
        """
        for one in await examine(connection, [stream for stream in streams if not stream.blocked]):
            one.stream.conflicts += one.added > 0
            self._disturbed(one)
        self.look_for_conflicts(streams)

    def written_by_others(self, streams: Iterable[Stream]) -> None:
        """An entry of ours was refused because somebody else had written to its stream."""
        for stream in streams:
            self._disturbed(Disturbance(stream, "somebody else wrote to this stream", added=1))
        self.look_for_conflicts(streams)

    def look_for_conflicts(self, streams: Iterable[Stream]) -> None:
        """Once is an accident; who writes again and again is a second connector."""
        for stream in streams:
            if stream.conflicts > _MOST_CONFLICTS:
                self._events.conflict(stream)

    def _disturbed(self, one: Disturbance) -> None:
        what = one.reason or "somebody else trimmed this stream"
        self._log.warning("stream_changed", key=one.stream.key, reason=what, added=one.added, deleted=one.deleted)
        if one.reason:
            self._events.disturbed(one.stream, one.reason, one.deleted or None)
