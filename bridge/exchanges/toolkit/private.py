"""An account's present state by REST: when it is fetched, what becomes of a failure, and what its rows say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import structs

from bridge.exchange_errors import FrameError, RestError
from bridge.exchanges.api import Flow, Reject, Restated, Said, Session, Subscription, Synchronise
from bridge.exchanges.toolkit.fields import Row
from bridge.exchanges.toolkit.history import AccountMemory
from bridge.exchanges.toolkit.refresh import Refresh
from bridge.exchanges.toolkit.session import WRONG
from bridge.model import Balance, Channel, Event, Fill, Order, Position

__all__ = ["PrivateState", "Read", "StateFetch"]

Read = Callable[[Row], list[Event]]
"""What a row says; raises one of `WRONG` where it can't be understood."""

_BAD_ROW = "a row of a REST answer could not be understood"


class StateFetch:
    """The fetches of one account's state by its session; ``what`` they are for, in words."""

    def __init__(self, session: Session, account: str, what: str) -> None:
        self._session = session
        self._account = account
        self._what = what
        self._refresh = Refresh()
        self._fetching = False
        self._owed: list[Event] = []
        """What a fetch has found out about the streams."""

    def want(self, now: int) -> None:
        """Something was missed: it is in the next fetch."""
        self._refresh.want(now)

    def call(self, now: int) -> None:
        """Call for a fetch that is due."""
        if self._refresh.due(now):
            self._session.actions.append(Synchronise())

    def tick(self, now: int) -> list[Event]:
        """Call for a fetch that is due; returns what the last one has found out about the streams."""
        self.call(now)
        owed, self._owed = self._owed, []
        return owed

    def missed(self, channel: Channel, now: int, reason: str) -> None:
        """A fetch has shown that the stream misses something."""
        self._owed += self._session.gaps([Subscription(channel, self._account)], now, reason)

    def fetch(self, now: int, steps: Sequence[Callable[[int], Flow[None]]]) -> Flow[RestError | None]:
        """Go through the steps of a fetch, one at a time; what fails is said, tried again later, and returned."""
        if self._fetching:
            self._refresh.want(now)  # what the running one has asked for may be from before
            return None
        self._refresh.begun(now)
        self._fetching = True
        try:
            for step in steps:
                yield from step(now)
        except RestError as error:
            self._session.actions.append(Said(error, f"{self._what} are not refreshed"))
            self._refresh.failed(now, error.retry_after)
            return error
        else:
            self._refresh.done(now)
            return None
        finally:
            self._fetching = False


class PrivateState(StateFetch):
    """What one account's session knows of the account's state, out of its messages and by REST.

    While a fetch runs, what the connection tells is newer than the answers.
    """

    def __init__(self, session: Session, exchange: str, account: str, memory: AccountMemory) -> None:
        super().__init__(session, account, "orders, positions, fills and balances")
        self._exchange = exchange
        self._memory = memory
        self._told: set[tuple[str, ...]] = set()
        """Orders, positions and balances that the connection has told of since the running fetch began."""
        self._positions: dict[tuple[str, ...], Position] = {}
        self._complete = False
        """Whether the fills from before are known: until then, new ones don't say where the history goes on."""

    def want(self, now: int) -> None:
        self._complete = False
        super().want(now)

    def fetch(self, now: int, steps: Sequence[Callable[[int], Flow[None]]]) -> Flow[RestError | None]:
        if not self._fetching:
            self._told.clear()
        return (yield from super().fetch(now, steps))

    def news(self, events: Sequence[Event]) -> list[Event]:
        """Take note of what the connection tells; a position that is as it was is no news."""
        found = []
        for event in events:
            key = _key(event)
            known = self._positions.get(key) if isinstance(event, Position) else None
            if known is None or structs.replace(known, ts=event.ts, recv=event.recv) != event:
                found.append(event)
            if self._fetching:
                self._told.add(key)
        self._learn(found)
        if self._complete:
            self._memory.note([event for event in events if isinstance(event, Fill)])
        return found

    def restate(self, channel: Channel, rows: Sequence[Row], read: Read, now: int) -> None:
        """Hand on what REST says. Where a row can't be understood, what is missing may be in it: nothing is gone then."""
        events: list[Event] = []
        bad = 0
        for row in rows:
            try:
                events += read(row)
            except WRONG as error:
                bad += 1
                what = f"{_BAD_ROW}: {type(error).__name__}: {error}"
                self._session.actions.append(Reject(FrameError(self._exchange, msgspec.json.encode(row), what)))
        if bad:
            self.missed(channel, now, _BAD_ROW)
        else:
            events += self._gone(channel, events, now)
        self._learn([event for event in events if _key(event) not in self._told])
        if channel is Channel.FILLS:
            self._complete = True
            self._memory.note([event for event in events if isinstance(event, Fill)])
        covers = (lambda _: False) if bad else None
        self._session.actions.append(Restated(channel, self._account, events, now, covers))

    def _learn(self, events: Sequence[Event]) -> None:
        self._memory.learn(events)
        self._positions.update((_key(event), event) for event in events if isinstance(event, Position))

    def _gone(self, channel: Channel, events: Sequence[Event], now: int) -> list[Event]:
        """Known positions and balances of which REST no longer speaks: they are zero."""
        present = {_key(event) for event in events} | self._told
        if channel is Channel.BALANCES:
            zero = [Balance(self._account, None, now, name, "0", "0") for name in self._memory.currencies]
            return [balance for balance in zero if _key(balance) not in present]
        if channel is Channel.POSITIONS:
            held = [known for key, known in self._positions.items() if known.side and key not in present]
            return [Position(self._account, None, now, p.pair, "", "0", "", "", "", None, p.leg) for p in held]
        return []


def _key(event: Event) -> tuple[str, ...]:
    """Which order, position or balance an event is about."""
    if isinstance(event, Order):
        return "order", event.pair, event.order_id
    if isinstance(event, Position):
        return "position", event.pair, event.leg or ""
    return ("balance", event.currency) if isinstance(event, Balance) else ()
