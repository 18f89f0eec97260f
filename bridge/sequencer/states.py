"""Topics whose events are states: the newest one is what counts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Any

from msgspec import structs

from bridge.model import Channel, Control, Event, Order, Position
from bridge.publish.stream import Stream
from bridge.sequencer.topic import Sink, Topic

__all__ = ["StateTopic"]

_RECENT_STATES = 1_000
_BESIDE = 1_000_000_000
"""Nanoseconds that one connection may be behind another."""
_OPEN = frozenset({"open", "partially_filled"})
_KEYS = {Channel.ORDERS: ("pair", "order_id"), Channel.BALANCES: ("currency",), Channel.POSITIONS: ("pair", "leg")}

Key = tuple[str | None, ...]
"""Which of a stream's states one is: one of an account's orders, say."""


class StateTopic(Topic):
    """Quotes, tickers, orders, balances, positions and the like: after a reconnect, a state that stands already isn't repeated."""

    each_counts = False

    def __init__(self, stream: Stream, sink: Sink, resync: Callable[[str, str], None]) -> None:
        super().__init__(stream, sink, resync)
        self._key_of = _key_of(*_KEYS.get(stream.channel, ()))
        self._states: dict[Key, Event] = {}
        self._restated: set[Key] = set()
        self._recent: deque[Event] = deque(maxlen=_RECENT_STATES)
        """The newest states."""
        self._before: dict[Key, tuple[str, ...]] = {}
        self._beside: deque[tuple[Key, tuple[str, ...]]] = deque()
        """What the connection before brought while this one warmed up, until ``_beside_until``."""
        self._beside_until: int

    def seed(self, tail: Sequence[Event], recv: int) -> None:
        for event in tail:
            if not isinstance(event, Control):
                self._note(event)
        self._restated = set(self._states)
        super().seed(tail, recv)

    def identity(self, event: Any) -> tuple[Hashable, Hashable]:
        return self._key_of(event), _content(event)

    def take_up(self, written: Sequence[Event], ahead: Sequence[Event], now: int) -> None:
        newer = [*ahead, *(event for event in written if self._key_of(event) not in self._states)]
        for event in sorted(newer, key=attrgetter("recv")):
            self._note(event)
        self._beside = deque((self._key_of(event), _content(event)) for event in ahead)
        self._beside_until = now + _BESIDE

    def reopened(self, since: int) -> None:
        self._restated = set(self._states)
        self._beside.clear()
        self._before.clear()
        if since and self.last >= since:
            self._beside_until = self.last + _BESIDE
            for event in self._recent:
                key, content = self._key_of(event), _content(event)
                if event.recv >= since:
                    self._beside.append((key, content))
                else:
                    self._before[key] = content

    def accept(self, event: Event) -> None:
        if (self._restated or self._beside) and self._stands(event):
            self.repeated += 1
            if not self.live:
                self.go_live(event.recv)
            self.last = event.recv
            return
        self._note(event)
        super().accept(event)

    def restate(
        self, events: Iterable[Event], asked: int, now: int, covers: Callable[[Event], bool] | None = None
    ) -> None:
        """Take the whole present state: publish what differs; open orders that are gone have an unknown status, positions are flat.

        It is as of some time after ``asked``: what the connection has told since is newer, or as new.
        """
        with self.told_by_rest():
            self._restate(events, asked, now, covers)

    def _restate(self, events: Iterable[Event], asked: int, now: int, covers: Callable[[Event], bool] | None) -> None:
        present = set()
        told = {self._key_of(event) for event in self._recent if event.recv >= asked}
        for event in events:
            key = self._key_of(event)
            present.add(key)
            known = self._states.get(key)
            if key in told:
                continue  # it may even be finished by now, and so no longer among the states
            if known is None or (known.recv < asked and not _agree(event, known)):
                self._publish(structs.replace(event, recv=now))
        for key, known in list(self._states.items()):
            if key in present or known.recv >= asked or (covers is not None and not covers(known)):
                continue
            if isinstance(known, Order):
                self._publish(structs.replace(known, ts=None, recv=now, status=""))
            elif isinstance(known, Position) and known.side:
                contracts = known.contracts and "0"
                self._publish(Position(known.subject, None, now, known.pair, "", "0", "", "", "", contracts, known.leg))

    def _publish(self, event: Event) -> None:
        self._note(event)
        super().accept(event)

    def _stands(self, event: Event) -> bool:
        """Whether this is a state that the stream has: the exchange said it again, or said it on two connections."""
        key = self._key_of(event)
        content = _content(event)
        if self._beside:
            if event.recv > self._beside_until:
                self._beside.clear()
                self._before.clear()
            elif (key, content) in self._beside:
                while self._beside.popleft() != (key, content):
                    pass
                self._restated.discard(key)
                return True
        if key not in self._restated:
            return False
        self._restated.discard(key)
        known = self._states.get(key)
        return (known is not None and _content(known) == content) or self._before.get(key) == content

    def _note(self, event: Event) -> None:
        # The streams of quotes and tickers are among the busiest: what a state says is only compared after a reconnect.
        self._recent.append(event)
        if event.__class__ is Order and event.status not in _OPEN:
            self._states.pop(self._key_of(event), None)
        else:
            self._states[self._key_of(event)] = event


def _key_of(*names: str) -> Callable[[Event], Key]:
    """What finds the key of an event: the values of these attributes."""
    if not names:
        return lambda _: ()
    get: Callable[[Event], Any] = attrgetter(*names)
    return get if len(names) > 1 else lambda event: (get(event),)


def _content(event: Event) -> tuple[str, ...]:
    """What a state says, its times aside."""
    return tuple([getattr(event, name) for name in event.WIRE])  # type: ignore[attr-defined]


def _agree(one: Event, other: Event) -> bool:
    """Whether two states say the same, their times aside; a field that one leaves empty agrees."""
    pairs = zip(_content(one), _content(other), strict=True)
    return all(mine == theirs or not mine or not theirs or _same_number(mine, theirs) for mine, theirs in pairs)


def _same_number(one: str, other: str) -> bool:
    """Whether these are a decimal number in two spellings: REST and the connection needn't write the same zeros."""
    if "." not in one + other or not all(text.replace(".", "", 1).isdecimal() for text in (one, other)):
        return False
    return Decimal(one) == Decimal(other)
