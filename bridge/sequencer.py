"""Between sessions and publisher: what may stand in a stream, and in which order.

One `Topic` per stream. It drops what an exchange repeats after a reconnect, lets a delta through only where it
continues the snapshot before it, and writes the control entries. Every event it receives is published, or is a repeat,
or is counted in a `lost` entry.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from bridge.model import (
    BookDelta,
    BookSnapshot,
    Channel,
    Control,
    ControlEvent,
    Event,
    Fill,
    Order,
    Trade,
)
from bridge.publish.stream import Stream

__all__ = ["BookTopic", "IdTopic", "Sink", "StateTopic", "Topic", "topic_type"]

_REMEMBERED = 5_000
"""Ids that a topic remembers, in each of two generations."""

_OPEN = frozenset({"open", "partially_filled"})


class Sink(Protocol):
    """Where entries go: the publisher."""

    def put(self, stream: Stream, event: Event) -> None:
        """Publish an event."""

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """Publish a `lost` entry."""


class Topic:
    """One stream: its state in band, and counts of what came through."""

    def __init__(self, stream: Stream, sink: Sink, resync: Callable[[str, str], None]) -> None:
        self.stream = stream
        self._sink = sink
        self._resync = resync
        self.live = False
        self.said = ""
        """The control event that was written last."""
        self.received = 0
        """Distinct source events; repeats are not among them."""
        self.repeated = 0
        self.gaps = 0
        self.last = 0
        """When the last event came (ns since the epoch)."""

    @property
    def channel(self) -> Channel:
        return self.stream.channel

    @property
    def subject(self) -> str:
        return self.stream.subject

    def seed(self, tail: Sequence[Event], recv: int) -> None:
        """Take up what the stream holds already (its newest entries, oldest first), after a restart.

        If the stream doesn't end in ``stop`` or ``down``, the last connector was cut off: the stream says so.
        """
        if not tail:
            return
        last = tail[-1]
        if isinstance(last, Control) and last.event in (ControlEvent.STOP, ControlEvent.DOWN):
            self.said = last.event
        else:
            self.down(recv, "the connector was cut off and has started again")

    def reopened(self, since: int) -> None:
        """A connection has been opened for this topic; what was received from ``since`` on may come again."""

    def accept(self, event: Any) -> None:
        """Take a data event."""
        if not self.live:
            self.go_live(event.recv)
        self.received += 1
        self.last = event.recv
        self._sink.put(self.stream, event)

    def control(self, event: Control) -> None:
        """Take a control event that a session returned."""
        if event.event is ControlEvent.LIVE:
            self.go_live(event.recv)
        elif event.event is ControlEvent.GAP:
            self.gap(event.recv, event.reason, event.count)
        else:
            self._say(event.recv, event.event, event.reason, event.count)

    def go_live(self, recv: int) -> None:
        """Subscribed and receiving."""
        if not self.live:
            self.live = True
            self._say(recv, ControlEvent.LIVE)

    def down(self, recv: int, reason: str) -> None:
        """The connection is gone; said once."""
        self.live = False
        if self.said not in (ControlEvent.DOWN, ControlEvent.STOP):
            self._say(recv, ControlEvent.DOWN, reason)

    def stale(self, recv: int, reason: str) -> None:
        """Connected, but silent beyond the limit; said once."""
        if self.live:
            self.live = False
            self._say(recv, ControlEvent.STALE, reason)

    def stop(self, recv: int) -> None:
        """The connector ends on purpose."""
        self.live = False
        self._say(recv, ControlEvent.STOP, "the connector ends")

    def gap(self, recv: int, reason: str, count: int | None = None) -> None:
        """Events were lost at the source."""
        self.gaps += 1
        self._say(recv, ControlEvent.GAP, reason, count)

    def broken(self) -> None:
        """The publisher dropped events of this stream."""

    def _say(self, recv: int, event: ControlEvent, reason: str = "", count: int | None = None) -> None:
        self.said = event
        self._sink.put(self.stream, Control(self.subject, None, recv, self.channel, event, reason, count))


class IdTopic(Topic):
    """Trades and fills: each stands once, told apart by its id, or without ids by its content.

    Without ids, a connection's repeats are matched one to one against what came before: two like trades are two.
    """

    def __init__(self, stream: Stream, sink: Sink, resync: Callable[[str, str], None]) -> None:
        super().__init__(stream, sink, resync)
        self._new: set[str] = set()
        self._old: set[str] = set()
        self._recent: deque[tuple[int, tuple[Any, ...]]] = deque(maxlen=_REMEMBERED)
        self._expected: Counter[tuple[Any, ...]] = Counter()

    def seed(self, tail: Sequence[Event], recv: int) -> None:
        for event in tail:
            if isinstance(event, Trade | Fill):
                self._remember(event)
        super().seed(tail, recv)

    def reopened(self, since: int) -> None:
        self._expected = Counter(content for recv, content in self._recent if recv >= since)

    def accept(self, event: Trade | Fill) -> None:
        ident = event.id if event.__class__ is Trade else event.fill_id  # type: ignore[union-attr]
        if ident:
            if ident in self._new or ident in self._old:
                self.repeated += 1
                return
            self._new.add(ident)
            if len(self._new) >= _REMEMBERED:
                self._old, self._new = self._new, set()
        else:
            content = (event.ts, event.side, event.price, event.size)
            if self._expected and self._expected[content] > 0:
                self._expected[content] -= 1
                self.repeated += 1
                return
            self._recent.append((event.recv, content))
        if not self.live:
            self.go_live(event.recv)
        self.received += 1
        self.last = event.recv
        self._sink.put(self.stream, event)

    def _remember(self, event: Trade | Fill) -> None:
        ident = event.id if isinstance(event, Trade) else event.fill_id
        if ident:
            self._new.add(ident)
        else:
            self._recent.append((event.recv, (event.ts, event.side, event.price, event.size)))


class BookTopic(Topic):
    """A book: a delta passes only where it continues the snapshot before it."""

    def __init__(self, stream: Stream, sink: Sink, resync: Callable[[str, str], None]) -> None:
        super().__init__(stream, sink, resync)
        self.awaiting = True
        """Whether deltas are of no use until the next snapshot."""
        self._xseq = ""
        self._unused = 0
        self._since_snapshot = 0
        self._snapshot_at = 0

    def accept(self, event: BookSnapshot | BookDelta) -> None:
        if not self.live:
            self.go_live(event.recv)
        self.received += 1
        self.last = event.recv
        if event.__class__ is BookSnapshot:
            self._declare_unused(event.recv)
            self.awaiting = False
            self._since_snapshot = 0
            self._snapshot_at = event.recv
        elif self.awaiting:
            self._unused += 1
            return
        elif event.prev and event.prev != self._xseq:  # type: ignore[union-attr]
            self._unused += 1
            reason = f"xseq {self._xseq} was last, {event.xseq} continues {event.prev}"  # type: ignore[union-attr]
            self.gap(event.recv, reason)
            self._resync(self.subject, reason)
            return
        else:
            self._since_snapshot += 1
            if self._since_snapshot % 1024 == 0:
                self._refresh(event.recv)
        self._xseq = event.xseq
        self._sink.put(self.stream, event)

    def go_live(self, recv: int) -> None:
        if not self.live:
            self.awaiting = True
        super().go_live(recv)

    def down(self, recv: int, reason: str) -> None:
        self._declare_unused(recv)
        self.awaiting = True
        super().down(recv, reason)

    def stale(self, recv: int, reason: str) -> None:
        self.awaiting = True
        super().stale(recv, reason)

    def stop(self, recv: int) -> None:
        self._declare_unused(recv)
        super().stop(recv)

    def gap(self, recv: int, reason: str, count: int | None = None) -> None:
        self.awaiting = True
        super().gap(recv, reason, count)

    def broken(self) -> None:
        self.awaiting = True

    def _declare_unused(self, recv: int) -> None:
        if self._unused:
            count, self._unused = self._unused, 0
            self._sink.declare_lost(self.stream, recv, count, "deltas without a snapshot to continue")

    def _refresh(self, now: int) -> None:
        """Ask for a snapshot before the last one is so old that retention would have to wait for it."""
        retention = self.stream.retention
        age = (now - self._snapshot_at) / 1e9
        if self._since_snapshot > retention.max_entries // 2 or age > retention.max_age / 2:
            self._since_snapshot = 0
            self._resync(self.subject, "the last snapshot is old")


class StateTopic(Topic):
    """Quotes, tickers, orders, balances, positions: after a reconnect, a state that stands already isn't repeated."""

    def __init__(self, stream: Stream, sink: Sink, resync: Callable[[str, str], None]) -> None:
        super().__init__(stream, sink, resync)
        self._key = _KEYS.get(stream.channel)
        self._states: dict[str, Event] = {}
        self._restated: set[str] = set()

    def seed(self, tail: Sequence[Event], recv: int) -> None:
        for event in tail:
            if not isinstance(event, Control):
                self._note(event)
        self._restated = set(self._states)
        super().seed(tail, recv)

    def reopened(self, since: int) -> None:
        del since
        self._restated = set(self._states)

    def accept(self, event: Event) -> None:
        if self._restated:
            key = getattr(event, self._key) if self._key else ""
            if key in self._restated:
                self._restated.discard(key)
                if _same(event, self._states[key], gaps=False):
                    self.repeated += 1
                    if not self.live:
                        self.go_live(event.recv)
                    self.last = event.recv
                    return
        self._note(event)
        super().accept(event)

    def restate(self, events: Iterable[Event], now: int) -> None:
        """Take the whole present state: publish what differs, and open orders that are gone, with unknown status."""
        present = set()
        for event in events:
            key = getattr(event, self._key) if self._key else ""
            present.add(key)
            known = self._states.get(key)
            if known is None or not _same(event, known, gaps=True):
                self._note(event)
                super().accept(event)
        for key, known in list(self._states.items()):
            if key not in present and isinstance(known, Order):
                gone = Order(
                    known.subject, None, now, known.order_id, known.client_id, known.pair, known.kind, known.side,
                    known.price, known.size, known.filled, "",
                )  # fmt: skip
                self._note(gone)
                super().accept(gone)

    def _note(self, event: Event) -> None:
        key = getattr(event, self._key) if self._key else ""
        if isinstance(event, Order) and event.status not in _OPEN:
            self._states.pop(key, None)
        else:
            self._states[key] = event


_KEYS = {Channel.ORDERS: "order_id", Channel.BALANCES: "currency", Channel.POSITIONS: "pair"}

_TOPICS: dict[Channel, type[Topic]] = {
    Channel.TRADES: IdTopic,
    Channel.FILLS: IdTopic,
    Channel.BOOK: BookTopic,
}


def topic_type(channel: Channel) -> type[Topic]:
    """The kind of topic that a channel's streams have."""
    return _TOPICS.get(channel, StateTopic)


def _same(one: Event, other: Event, *, gaps: bool) -> bool:
    """Whether two states say the same, their times aside; with ``gaps``, a field that one leaves empty agrees."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in one.WIRE]  # type: ignore[attr-defined]
    return all(mine == theirs or (gaps and (not mine or not theirs)) for mine, theirs in pairs)
