"""An account's present state by REST: when it is fetched, what becomes of a failure, and what its rows say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import Fetch, Flow, Output, Reject, Restated, Said, Session, Subscription, Warn
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.timing.refresh import Refresh
from bridge.exchanges.toolkit.values.fields import Row
from bridge.exchanges.toolkit.values.order_states import OrderStates
from bridge.exchanges.toolkit.values.row_lists import BAD_ROW, Read, read_rows
from bridge.model import Balance, Channel, Event, Fill, Order, Position

__all__ = ["NOT_ALL_FILLS", "PrivateState", "StateFetch", "Step"]

Step = Callable[[int], Flow[list[Output]]]
"""A conversation that is begun at this time (ns)."""

_MOST_REMARKS = 100
_OF_ONE_CALL = (200, 400, 404, 422)
"""HTTP statuses of an error that may be this call's alone."""
_IN_VAIN = 3
"""Failed fetches in a row after which the streams say so."""
NOT_ALL_FILLS = "the exchange does not list all fills since the last one known"


class StateFetch:
    """The fetches of one account's state by its session.

    Args:
        session: whose account it is.
        account: the subject of the account's streams.
        what: what is fetched, in words.
        steps: conversations, one after the other; what each has found is taken before the next begins.
        failed: what else a failure means; it is said, and the fetch tried again later.
        refresh: when it is fetched again.
    """

    def __init__(
        self,
        session: Session,
        account: str,
        what: str,
        *,
        steps: Callable[[], Sequence[Step]],
        failed: Callable[[RestError], list[Output]] = lambda _: [],
        refresh: Refresh | None = None,
    ) -> None:
        self._session = session
        self._account = account
        self._what = what
        self._steps = steps
        self._failed = failed
        self._refresh = refresh or Refresh()
        self._fetching = False
        self._failures = 0
        """Fetches in a row that have failed."""
        self.tried = False
        """Whether it has been fetched once, or the exchange did not let us."""

    @property
    def idle(self) -> bool:
        """Whether no fetch runs, and none is going to by itself."""
        return not (self._fetching or self._refresh.wanted)

    def want(self, now: int) -> None:
        """Something was missed: it is in the next fetch."""
        self._refresh.want(now)

    def tick(self, now: int) -> list[Output]:
        """Begin a fetch that is due."""
        return self.begin(now) if self._refresh.due(now) else []

    def begin(self, now: int) -> list[Output]:
        """Fetch the state, now; while one fetch runs, another is tried after it."""
        return [Fetch(self._fetch(now), self._what)]

    def gap(self, channel: Channel, now: int, reason: str) -> list[Output]:
        """A fetch has shown that the stream misses something."""
        return self._session.gaps([Subscription(channel, self._account)], now, reason)

    def _fetch(self, now: int) -> Flow[list[Output]]:
        if self._fetching:
            self._refresh.want(now)  # what the running one has asked for may be from before
            return []
        self._refresh.begun(now)
        self._fetching = True
        return (yield from self._go_on(self._steps(), now))

    def _go_on(self, steps: Sequence[Step], now: int, failure: RestError | None = None) -> Flow[list[Output]]:
        """Take one step, and hand out the next; ``failure`` is what an earlier one has ended with."""
        try:
            found = (yield from steps[0](now)) if steps else []
        except RestError as error:
            found = [Said(error, f"{self._what} are not refreshed")]
            if error.status in _OF_ONE_CALL and error.kind is ErrorKind.REST_FAILED:
                failure = failure or error
            else:
                failure, steps = error, steps[:1]  # the next would fail, too
        except BaseException:
            self._fetching = False
            self._refresh.failed(now, None)  # a mistake of ours, which the connection logs: it is wanted as before
            raise
        if len(steps) > 1:
            return [*found, Fetch(self._go_on(steps[1:], now, failure), self._what)]
        self._fetching = False
        self.tried = True
        if failure is None:
            self._failures = 0
            self._refresh.done(now)
            return found
        self._failures += 1
        self._refresh.failed(now, failure.retry_after)
        return [*found, *self._failed(failure), *(self._doubt(now) if self._failures == _IN_VAIN else ())]

    def _doubt(self, now: int) -> list[Output]:
        """It can't be fetched: the streams say that they may miss something."""
        return self._session.gaps(self._session.served(self._account), now, f"{self._what} cannot be fetched")


class PrivateState(StateFetch):
    """What one account's session knows of the account's state, out of its messages and by REST.

    While a fetch runs, what the connection tells is newer than the answers. ``orders``: where the exchange may tell of an
    order's state again, or of an older one.
    """

    def __init__(
        self,
        session: Session,
        exchange: str,
        account: str,
        memory: AccountMemory,
        *,
        steps: Callable[[], Sequence[Step]],
        failed: Callable[[RestError], list[Output]] = lambda _: [],
        what: str = "orders, positions, fills and balances",
        orders: OrderStates | None = None,
    ) -> None:
        super().__init__(session, account, what, steps=steps, failed=failed)
        self._orders = orders
        self._remarks: dict[str, bool] = {}
        """What an operator should know, and whether it was said."""
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

    def remark(self, words: str) -> None:
        """Something of a row that an operator should know; it is said once, with the row's events."""
        if len(self._remarks) < _MOST_REMARKS:
            self._remarks.setdefault(words, False)

    def _fetch(self, now: int) -> Flow[list[Output]]:
        if not self._fetching:
            self._told.clear()
        return (yield from super()._fetch(now))

    def news(self, events: Sequence[Event]) -> list[Output]:
        """Take note of what the connection tells; a position that is as it was is no news."""
        found: list[Event] = []
        for event in events:
            if self._orders and not self._orders.is_news(event):
                continue
            key = _key(event)
            known = self._positions.get(key) if isinstance(event, Position) else None
            if known is None or structs.replace(known, ts=event.ts, recv=event.recv) != event:
                found.append(event)
            if self._fetching:
                self._told.add(key)
        self._learn(found)
        if self._complete:
            self._memory.note([event for event in events if isinstance(event, Fill)])
        return [*self._remarked(), *found]

    def legs(self, pair: str) -> list[str]:
        """The legs of a pair that are open, in hedge mode."""
        held = (known for known in self._positions.values() if known.pair == pair and known.side)
        return [known.leg for known in held if known.leg]

    def flat_but(self, listed: Sequence[Event], now: int) -> list[Output]:
        """The connection has listed all positions: the others that were open are flat."""
        present = {_key(event) for event in listed}
        return self.news(self._flat(present, now))

    def restate(
        self,
        channel: Channel,
        rows: Sequence[Row],
        read: Read,
        now: int,
        covers: Callable[[Event], bool] | None = None,
        *,
        name: Callable[[Row], str] = lambda _: "",
    ) -> list[Output]:
        """Hand on what REST says.

        Of several rows of one order, pair or currency, the last is its state. What is missing may be in a row that can't be
        understood. ``name`` reads which order, pair or currency such a row is of, and only this is spared; where it reads
        nothing, all is spared. ``covers`` as in `Restated`.
        """
        events, errors, bad = read_rows(self._exchange, rows, read)
        events = [known for event in events if (known := self._newest(event))]
        events = list({_key(event) or place: event for place, event in enumerate(events)}.values())
        unread = {name(row) for row in bad}

        def speaks_of(event: Event) -> bool:
            return "" not in unread and _named(event) not in unread and (covers is None or covers(event))

        events += [gone for gone in self._gone(channel, events, now) if speaks_of(gone)]
        self._learn([event for event in events if _key(event) not in self._told])
        if channel is Channel.FILLS:
            self._complete = True
            self._memory.note([event for event in events if isinstance(event, Fill)])
        state = Restated(channel, self._account, events, now, speaks_of if errors else covers)
        return [*self._remarked(), *map(Reject, errors), *(self.gap(channel, now, BAD_ROW) if errors else []), state]

    def restate_fills(self, rows: Sequence[Row], read: Read, now: int, *, time: str, whole: bool) -> list[Output]:
        """Hand on fills, in the order of the field ``time``; a ``gap`` first, where they are not all that there were.

        Times are in milliseconds since the epoch, of as many digits each: others are refused.
        """
        in_order = sorted(rows, key=lambda row: row.get(time, ""))
        missed = [] if whole else self.gap(Channel.FILLS, now, NOT_ALL_FILLS)
        return [*missed, *self.restate(Channel.FILLS, in_order, read, now)]

    def _newest(self, event: Event) -> Event | None:
        """What REST says of an order, or what is known of it: its lists lag; ``None``, if the order is known to have ended."""
        if isinstance(event, Order) and self._memory.is_late(event):
            return self._memory.open_orders.get((event.pair, event.order_id))
        return event

    def _remarked(self) -> list[Output]:
        fresh = [words for words, said in self._remarks.items() if not said]
        self._remarks.update(dict.fromkeys(fresh, True))
        return [Warn(words) for words in fresh]

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
            return self._flat(present, now)
        return []

    def _flat(self, present: set[tuple[str, ...]], now: int) -> list[Event]:
        gone = [known for key, known in self._positions.items() if known.side and key not in present]
        return [
            Position(self._account, None, now, p.pair, "", "0", "", "", "", p.contracts and "0", p.leg) for p in gone
        ]


def _key(event: Event) -> tuple[str, ...]:
    """Which order, position or balance an event is about."""
    if isinstance(event, Order):
        return "order", event.pair, event.order_id
    if isinstance(event, Position):
        return "position", event.pair, event.leg or ""
    return ("balance", event.currency) if isinstance(event, Balance) else ()


def _named(event: Event) -> str:
    """Which order, pair or currency an event is about."""
    if isinstance(event, Order):
        return event.order_id
    if isinstance(event, Position):
        return event.pair
    return event.currency if isinstance(event, Balance) else ""
