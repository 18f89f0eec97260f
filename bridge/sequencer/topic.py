"""What all topics share: one stream's state in band, its control entries, and its counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from bridge.latency import NEVER
from bridge.model import Channel, Control, ControlEvent, Event
from bridge.printable import LONGEST_ERROR
from bridge.publish.stream import Stream
from bridge.redaction import presentable

__all__ = ["Sink", "Topic"]


class Sink(Protocol):
    """Where entries go: the publisher."""

    def put(self, stream: Stream, event: Event) -> None:
        """Publish an event."""

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """Publish a `lost` entry."""


class Topic:
    """One stream: its state in band, and counts of what came through."""

    each_counts = True
    """Whether each event says something that no later one does."""

    def __init__(self, stream: Stream, sink: Sink, resync: Callable[[str, str], None]) -> None:
        self.stream = stream
        self.sink = sink
        self._resync = resync
        self.live = False
        self.may_live: Callable[[], bool] | None = None
        """Whether all connections that feed the stream stand, where there are several."""
        self.said = ""
        """The control event that was written last."""
        self.reason = ""
        """The reason that was written with it."""
        self._reason_given = self._reason_said = ""
        """The reason that was given last, as it came and as it was written."""
        self._not_served = False
        """Whether the exchange has refused the stream since it was last live, and the stream says so."""
        self._by_rest = False
        """Whether what comes at present is no sign that the exchange serves the stream."""
        self.received = 0
        """Distinct source events; repeats are not among them."""
        self.withheld = 0
        """Those of them that another connector has written, for which this one stood by."""
        self.repeated = 0
        self.gaps = 0
        self._gap_at: int
        """How many events had come at the last ``gap``."""
        self.last = 0
        """When the last event came (ns since the epoch)."""
        self.lags: deque[int] = deque(maxlen=0)
        """Takes receipt less the exchange's time (ns) of each event whose time is ``lags_from`` or later."""
        self.lags_from = NEVER

    @property
    def channel(self) -> Channel:
        return self.stream.channel

    @property
    def subject(self) -> str:
        return self.stream.subject

    @property
    def state(self) -> str:
        """How the stream stands: ``live``, or ``down``, ``stale``, ``stop`` and so on, as it last said."""
        return ControlEvent.LIVE if self.live else self.said or ControlEvent.DOWN

    @property
    def undeclared(self) -> int:
        """Events that were received and will not be published, and are not declared lost yet."""
        return 0

    def seed(self, tail: Sequence[Event], recv: int) -> None:
        """Take up what the stream holds already (its newest entries, oldest first), after a restart.

        If the stream doesn't end in ``stop`` or ``down``, the last connector was cut off: the stream says so.
        """
        if not tail:
            return
        last = tail[-1]
        if isinstance(last, Control) and last.event in (ControlEvent.STOP, ControlEvent.DOWN):
            self.said, self.reason = last.event, last.reason
        else:
            self.down(recv, "the connector was cut off and has started again")

    def identity(self, event: Any) -> tuple[Hashable, Hashable]:
        """The group of an event, and what tells it from others of the group, when two records are laid over each other."""
        return (), (event.ts, *(getattr(event, name) for name in event.WIRE))

    def take_up(self, written: Sequence[Event], ahead: Sequence[Event], now: int) -> None:
        """Go on after another connector: what it has written lately, and what of that is still to come here."""

    def reopened(self, since: int) -> None:
        """A connection has been opened for this topic; what was received from ``since`` on may come again."""

    def restate(
        self, events: Iterable[Event], asked: int, now: int, covers: Callable[[Event], bool] | None = None
    ) -> None:
        """Take what REST says of the stream after a (re)connect: events that are known already are repeats."""
        del asked, now, covers
        with self.told_by_rest():
            for event in events:
                self.accept(event)

    def accept(self, event: Any) -> None:
        """Take a data event."""
        if not self.live:
            self.go_live(event.recv)
        self.received += 1
        self.last = event.recv
        ts = event.ts
        if ts is not None and ts >= self.lags_from:
            self.lags.append(event.recv - ts)
        self.sink.put(self.stream, event)

    @contextmanager
    def not_timed(self) -> Iterator[None]:
        """For events that aren't told as they happen: how late they are says nothing."""
        since, self.lags_from = self.lags_from, NEVER
        try:
            yield
        finally:
            self.lags_from = since

    @contextmanager
    def told_by_rest(self) -> Iterator[None]:
        """For events that no connection has brought: nor do they show that the exchange serves the stream."""
        self._by_rest = True
        try:
            with self.not_timed():
                yield
        finally:
            self._by_rest = False

    def control(self, event: Control) -> None:
        """Take a control event that a session returned."""
        if event.event is ControlEvent.LIVE:
            self.go_live(event.recv)
        elif event.event is ControlEvent.GAP:
            self.gap(event.recv, event.reason, event.count)
        elif event.event is ControlEvent.DOWN:
            self.not_served(event.recv, event.reason)
        else:
            self._say(event.recv, event.event, event.reason, event.count)

    def go_live(self, recv: int) -> None:
        """Subscribed and receiving."""
        if self._by_rest and self._not_served:
            return
        if not self.live and (self.may_live is None or self.may_live()):
            self.live = True
            self._not_served = False
            self._say(recv, ControlEvent.LIVE)

    def down(self, recv: int, reason: str) -> None:
        """The connection is gone; said once."""
        self.live = False
        if self.said not in (ControlEvent.DOWN, ControlEvent.STOP):
            self._say(recv, ControlEvent.DOWN, reason)

    def not_served(self, recv: int, reason: str) -> None:
        """The exchange doesn't serve this stream: the reason is said once, also where it is down or stopped already."""
        reason = presentable(reason, LONGEST_ERROR)
        standing = self.said in (ControlEvent.DOWN, ControlEvent.STOP)
        news = standing and not self._not_served and reason != self.reason
        self.down(recv, reason)
        if news:
            self._say(recv, ControlEvent.DOWN, reason)
        self._not_served = True

    def stale(self, recv: int, reason: str) -> None:
        """Connected, but silent beyond the limit; said once."""
        if self.live:
            self.live = False
            self._say(recv, ControlEvent.STALE, reason)

    def stop(self, recv: int, reason: str = "the connector ends") -> None:
        """The connector ends on purpose, or reads this pair no more."""
        self.live = False
        if self.said != ControlEvent.STOP:
            self._say(recv, ControlEvent.STOP, reason)

    def gap(self, recv: int, reason: str, count: int | None = None) -> None:
        """Events were lost at the source."""
        self.gaps += 1
        if self.said == ControlEvent.GAP and count is None and self._gap_at == self.received:
            return  # nothing has come since the stream said so
        self._gap_at = self.received
        self._say(recv, ControlEvent.GAP, reason, count)

    def disturbed(self, recv: int, reason: str, count: int | None) -> None:
        """Somebody else has changed the stream in Redis; ``count`` of its entries are gone by that, if any."""
        if self.live:
            self.gap(recv, reason, count)
        elif self.said in (ControlEvent.DOWN, ControlEvent.STALE):
            # What it says may be among what is gone.
            self._say(recv, ControlEvent(self.said), reason)

    def broken(self) -> None:
        """The publisher dropped events of this stream."""

    def _say(self, recv: int, event: ControlEvent, reason: str = "", count: int | None = None) -> None:
        if reason != self._reason_given:  # the same one often comes again, in a storm of bad frames thousands of times
            self._reason_given, self._reason_said = (
                reason,
                presentable(reason, LONGEST_ERROR),
            )  # it may quote the exchange
        reason = self._reason_said
        self.said, self.reason = event, reason
        self.sink.put(self.stream, Control(self.subject, None, recv, self.channel, event, reason, count))
