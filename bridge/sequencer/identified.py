"""Trades, liquidations and fills: events of which each is one thing that happened once."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

from bridge.model import Channel, Control, ControlEvent, Event, Fill, Liquidation, Trade
from bridge.publish.stream import Stream
from bridge.sequencer.topic import Sink, Topic

__all__ = ["IdTopic", "is_history", "oldest_kept"]

Identified: TypeAlias = Trade | Liquidation | Fill
Ident: TypeAlias = str | tuple[str, str]
"""A trade's or a liquidation's id; a fill's is unique within its pair."""

_REMEMBERED = 5_000
"""Ids that a topic remembers at least, in each of two generations."""
_MOST_REMEMBERED = 100_000
_FILLS_REMEMBERED = 600 * 1_000_000_000
"""Nanoseconds for which all ids of fills are remembered, up to that many: after a reconnect or a restart an exchange is
asked for the fills of the last minutes again, however many there were."""

_CLEAN_ENOUGH = 2
"""Connections without a replayed history after which an exchange is taken for one that replays none."""
_BESIDE = 1_000_000_000
"""Nanoseconds that one connection may be behind another at least."""
_AT_ONCE = 20_000_000
"""Nanoseconds within which two connections usually bring the same message."""


class IdTopic(Topic):
    """Trades, liquidations and fills: each stands once, told apart by its id, or without ids by its content.

    Without ids, a connection's repeats are matched one to one against what came before: two like trades are two.
    """

    def __init__(self, stream: Stream, sink: Sink, resync: Callable[[str, str], None]) -> None:
        super().__init__(stream, sink, resync)
        self._new: set[Ident] = set()
        self._old: set[Ident] = set()
        self._new_since = 0
        """When the newer generation of ids began (ns)."""
        self._oldest_read: Trade | None = None
        """The oldest trade with an id that the stream is known to have had when this process began, if any."""
        self._keep = _FILLS_REMEMBERED if stream.channel is Channel.FILLS else 0
        self._recent: deque[Identified] = deque(maxlen=_REMEMBERED)
        self._history: Counter[tuple[Any, ...]] = Counter()
        """What a new connection may begin with: the trades before it. Emptied by the first that is not among them."""
        self._newest = 0
        """The time of the newest of them (ns)."""
        self._replayed = False
        """Whether this connection began with a history."""
        self._clean = 0
        """Connections so far that began with none; reset by one that did."""
        self._beside: deque[tuple[int, tuple[Any, ...]]] = deque()
        """What the connection before brought while this one warmed up, until ``_beside_until``, and until this one brings
        something that happened after it: a busy process or a slow network may be seconds behind."""
        self._beside_until = 0

    def seed(self, tail: Sequence[Event], recv: int) -> None:
        for event in tail:
            if isinstance(event, Identified):
                self._remember(event)
        self._oldest_read = oldest_kept(tail)
        self._new_since = recv
        super().seed(tail, recv)

    def identity(self, event: Any) -> tuple[Hashable, Hashable]:
        ident = _ident(event)
        return (ident, ident) if ident else ((), _content(event))

    def take_up(self, written: Sequence[Event], ahead: Sequence[Event], now: int) -> None:
        for event in written:
            if isinstance(event, Identified) and _ident(event):
                self._remember(event)
        without_id = [event for event in ahead if isinstance(event, Identified) and not _ident(event)]
        self._recent.extend(without_id)
        self._beside = deque((now, _content(event)) for event in without_id)
        self._beside_until = now + _BESIDE

    def reopened(self, since: int) -> None:
        """Expect again what came from ``since`` on, and before that a history, should the exchange replay one.

        A replayed history comes before anything new: the first trade that is not of it ends it.
        """
        before = [event for event in self._recent if not since or event.recv < since]
        self._history = Counter(map(_content, before))
        self._newest = max((event.ts or 0 for event in before), default=0)
        self._replayed = False
        self._beside.clear()
        if since:
            self._beside.extend((event.recv, _content(event)) for event in self._recent if event.recv >= since)
            self._beside_until = self.last + _BESIDE

    def accept(self, event: Identified) -> None:
        ident: Ident = event.id if event.__class__ is Trade else _ident(event)
        if ident:
            if ident in self._new or ident in self._old:
                self.repeated += 1
                return
            self._new.add(ident)
            if event.__class__ is Trade and event.replay and is_history(event, self._oldest_read):
                self.repeated += 1
                return
            if len(self._new) >= _REMEMBERED:
                self._turn(event.recv)
        else:
            if (self._beside or self._history) and self._stands(event.recv, _content(event)):
                self.repeated += 1
                return
            self._recent.append(event)
        if not self.live:
            self.go_live(event.recv)
        self.received += 1
        self.last = event.recv
        ts = event.ts
        if ts is not None and ts >= self.lags_from and not (event.__class__ is Trade and event.replay):
            self.lags.append(event.recv - ts)
        self.sink.put(self.stream, event)

    def _turn(self, recv: int) -> None:
        """Begin a new generation of ids, and forget the last but one."""
        if 0 <= recv - self._new_since < self._keep and len(self._new) < _MOST_REMEMBERED:
            return
        self._old, self._new, self._new_since = self._new, set(), recv

    def _stands(self, recv: int, content: tuple[Any, ...]) -> bool:
        """Whether this is the second copy of a trade that came over the connection before, or a replayed one."""
        if recv > self._beside_until and self._beside and not _before(content, self._beside[-1][1]):
            self._beside.clear()
        places = [place for place, (_, known) in enumerate(self._beside) if known == content]
        if places:
            # The first at about the same time, else the nearest: like ones before it had come before this connection
            # was subscribed, and would stand for a new one later.
            apart = {place: abs(self._beside[place][0] - recv) for place in places}
            near = [place for place in places if apart[place] <= _AT_ONCE]
            for _ in range((near[0] if near else min(places, key=apart.__getitem__)) + 1):
                self._beside.popleft()
            return True
        older = content[0] is not None and content[0] < self._newest
        if self._history[content] > 0:
            if older:
                self._clean = 0
            # Within the second of the newest, a like trade may be a new one: then what was learned of the exchange
            # decides, and before anything was, the promise that nothing stands twice.
            if older or self._clean < _CLEAN_ENOUGH:
                self._replayed = True
                self._history[content] -= 1
                return True
        if not older and self._history:
            self._history.clear()
            self._clean += not self._replayed
        return False

    def _remember(self, event: Identified) -> None:
        if ident := _ident(event):
            self._new.add(ident)
        else:
            self._recent.append(event)


def oldest_kept(events: Sequence[Event]) -> Trade | None:
    """Of a stream's events, in order, the first trade with an id since the last ``lost``: from it on, the stream has all."""
    oldest = None
    for event in reversed(events):
        if isinstance(event, Control):
            if oldest is not None and event.event is ControlEvent.LOST:
                break
        elif isinstance(event, Trade) and event.id:
            oldest = event
    return oldest


def is_history(event: Event, oldest: Trade | None) -> bool:
    """Whether an exchange told a trade again after a (re)connect, that is older than what another process's stream has.

    That process has written it, and Redis has lost it since, which the stream says; or retention has removed it. Written
    again, it would be out of order, and for most readers there twice.
    """
    if not (oldest and isinstance(event, Trade) and event.replay) or event.ts is None or oldest.ts is None:
        return False
    if event.id.isdecimal() and oldest.id.isdecimal():
        return int(event.id) < int(oldest.id) and event.ts <= oldest.ts
    return event.ts < oldest.ts


def _before(content: tuple[Any, ...], newest: tuple[Any, ...]) -> bool:
    """Whether an event happened at the time of another one at the latest, by the exchange's clock."""
    return content[0] is not None and newest[0] is not None and content[0] <= newest[0]


def _ident(event: Identified) -> Ident:
    """What tells an event from all others of its stream; empty where the exchange gives it no id."""
    if isinstance(event, Fill):
        return (event.pair, event.fill_id) if event.fill_id else ""
    return event.id


def _content(event: Identified) -> tuple[Any, ...]:
    return (event.ts, event.side, event.price, event.size, event.contracts)
