"""What waits to be published, within its budget; what is dropped is declared."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from functools import partial

from msgspec import structs
from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.model import Control, Event
from bridge.publish.buffer import CONTROL, DATA, KINDS, OVERHEAD, WIDE, Budget, Pending, lost_marker, shed
from bridge.publish.counts import backlog
from bridge.publish.events import PublisherEvents
from bridge.publish.pressure import Pressure
from bridge.publish.recovery import Batch
from bridge.publish.stream import Stream
from bridge.publish.wire import RENDERERS, render

__all__ = ["Queue"]


class Queue(ABC):
    """The entries of a publisher's streams, from ``put`` until they are acknowledged."""

    def __init__(self, events: PublisherEvents, budget: Budget, log: FilteringBoundLogger) -> None:
        self._events = events
        self._budget = budget
        self.most_bytes = budget.max_bytes
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._streams: list[Stream] = []
        self._pending: list[Pending] = []
        self._bytes = 0
        self._pressure = Pressure(budget.max_bytes, partial(events.hold, self), partial(events.release, self))
        self._scheduled = False
        self._in_flight: Batch | None = None
        self.connected = False

    @abstractmethod
    def _flush(self) -> None:
        """Send the next batch, if none is in flight."""

    @property
    def waiting(self) -> int:
        """Entries not yet acknowledged."""
        return len(self._pending) + (len(self._in_flight.entries) if self._in_flight else 0)

    @property
    def waiting_bytes(self) -> int:
        """What they count for in the budget."""
        return self._bytes

    def backlog(self) -> Counter[Stream]:
        """Per stream, the events that are neither published nor declared lost yet."""
        flying = self._in_flight.entries if self._in_flight else ()
        return backlog((*flying, *self._pending)) + Counter({stream: stream.unsent for stream in self._streams})

    def add(self, stream: Stream) -> None:
        """Take a stream into care; it must stand where Redis has it (`Stream.resume`)."""
        self._streams.append(stream)

    def put(self, stream: Stream, event: Event) -> None:
        """Take an event of a stream, to be published soon; its entry's ``recv`` is by the host's clock."""
        if stream.blocked:
            stream.unsent += event.__class__ is not Control
            return
        sort = event.__class__
        recv = event.recv
        if CLOCK.shift:
            event = structs.replace(event, recv=recv + CLOCK.shift)
        body = RENDERERS[sort](event)
        if not body.isascii():
            body = render(event)
        kind = KINDS[sort]
        if kind == WIDE and event.contracts is None:  # type: ignore[attr-defined]
            kind = DATA
        self._pending.append(Pending(stream, recv, body, kind))
        self._bytes += len(body) + OVERHEAD
        if self._bytes > self._pressure.limit:
            self._relieve()
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """Put a `lost` entry into a stream."""
        marker = lost_marker(stream, recv, count, reason)
        self._pending.append(marker)
        self._bytes += marker.weight
        self._loop.call_soon(self._flush)

    def _forgo(self, stream: Stream) -> None:
        """Redis refuses this stream: what waits for it must not hold up the others."""
        for entry in self._pending:
            if entry.stream is stream:
                stream.unsent += entry.lost or entry.kind != CONTROL
                self._bytes -= entry.weight
        self._pending = [entry for entry in self._pending if entry.stream is not stream]
        self._events.dropped(stream)

    def _relieve(self) -> None:
        """Much waits: let no more come while Redis takes what there is; drop something where that doesn't help."""
        if self._bytes > self.most_bytes:
            self._shed(f"the buffer of {self.most_bytes} bytes is full")
        else:
            self._pressure.exceeded(self._loop.time())

    def _shed(self, reason: str, older_than: int = 0) -> None:
        need = self._bytes - self._budget.max_bytes * 9 // 10 if self._bytes > self._budget.max_bytes else 0
        self._drop(need, older_than, reason)

    def _drop(self, need: int, older_than: int, reason: str) -> None:
        self._pending, dropped = shed(self._pending, need, older_than, reason)
        in_flight = sum(entry.weight for entry in self._in_flight.entries) if self._in_flight else 0
        self._bytes = in_flight + sum(entry.weight for entry in self._pending)
        for stream in dropped:
            self._events.dropped(stream)
        if dropped:
            self._log.error("events_dropped", count=sum(dropped.values()), reason=reason, waiting=self.waiting)

    def _unblock(self, now: int) -> None:
        for stream in self._streams:
            if stream.blocked and self.connected:
                stream.blocked = ""
                count, stream.unsent = stream.unsent, 0
                if count:
                    self.declare_lost(stream, now, count, "Redis refused this stream")
                    # A snapshot may have been among them: a book starts anew.
                    self._events.dropped(stream)
