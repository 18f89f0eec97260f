"""The private messages of one LMEX account in one market, over a connection that logs in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.api import (
    Credentials,
    Flow,
    Poll,
    Reconnect,
    Reject,
    Replace,
    Restated,
    Said,
    Send,
    Subscription,
    Synchronise,
)
from bridge.exchanges.lmex.faults import of_message
from bridge.exchanges.lmex.history import Memory, fills_since
from bridge.exchanges.lmex.messages import NAME, Envelope
from bridge.exchanges.lmex.names import Contracts, Market, market_of
from bridge.exchanges.lmex.options import LmexOptions
from bridge.exchanges.lmex.positions import Bad, Positions
from bridge.exchanges.lmex.rest import LmexRest, sign
from bridge.exchanges.lmex.rows import NOT_A_ROW, fill_event, first, is_open, order_event, pair_or_empty, understood
from bridge.exchanges.lmex.session import LmexSession
from bridge.exchanges.lmex.topics import TOPICS
from bridge.exchanges.toolkit.fields import Row, decode_rows
from bridge.exchanges.toolkit.numbers import SECOND, id_or_empty
from bridge.exchanges.toolkit.private import StateFetch
from bridge.exchanges.toolkit.salvage import Damage
from bridge.model import Channel, ControlEvent, Event, Fill, Order, Position

__all__ = ["AccountSession", "Memory"]

_E = TypeVar("_E", bound=Event)
_MILLISECOND = 1_000_000
_ANSWER_LIMIT = 5 * SECOND
_SETTLED = 60 * SECOND
"""Age of a log-in before REST can put it in doubt: should REST say so for ever, there is one log-in a minute."""

_RETRY = 60 * SECOND
"""Between attempts at channels that the exchange refuses."""
_NO_ANSWER = "no answer to the subscription of private topics"
_TOO_MANY = "the exchange does not list all fills since the last one known"
_BAD_ROW = "a row of a REST answer could not be understood"


class AccountSession(LmexSession):
    """Log-in, then orders, fills and, for futures, positions."""

    def __init__(
        self,
        url: str,
        market: Market,
        credentials: Credentials,
        rest: LmexRest,
        *,
        pairs: Sequence[str],
        contracts: Contracts,
        options: LmexOptions,
        balances: Poll,
        memory: Memory,
    ) -> None:
        super().__init__(f"{url}/ws/{market}")
        self._market = market
        self._credentials = credentials
        self._name = credentials.name
        self._rest = rest
        self._pairs = pairs
        self._contracts = contracts
        self._lifetime = int(options.session_lifetime * SECOND)
        self._balances = balances
        self._memory = memory
        known = ["authKeyExpires", "login"] if options.login == "auto" else [options.login]
        self._logins = sorted(known, key=lambda login: login != memory.login)
        self._topics = {channel: list(topics) for channel, topics in TOPICS[market].items()}
        self._waiting_since: int | None = None
        self._retry_at: int | None = None
        """When to ask again for the channels that the exchange has refused."""
        self._logged_on = False
        self._doubted_at = 0
        """Since when REST's word that the session has expired is about this log-in (ns)."""
        self._asked: list[str] = []
        self._positions = Positions(self._name, contracts)
        self._state = StateFetch(self, self._name, "orders, positions and fills")
        self._complete = False
        """Whether the fills from before are known: until then, new ones don't say where the history goes on."""
        self.ready = False

    def connected(self, now: int) -> None:
        """Log in; nothing may be sent before that."""
        super().connected(now)
        self._log_in(now)

    def tick(self, now: int) -> Sequence[Event]:
        events: list[Event] = []
        if self._waiting_since is not None and now - self._waiting_since > _ANSWER_LIMIT:
            self._waiting_since = None
            if self.ready:  # it was about a channel that had been refused: the others go on
                events = self._left_out(set(self._asked), _NO_ANSWER, now)
            elif self._logged_on:
                self.actions.append(Reconnect(_NO_ANSWER))
            else:
                self._next_login(now, "no answer to the log-in")
        elif self._logged_on:
            super().tick(now)
            if self._rest.expired_at > self._doubted_at:
                self._doubted_at = now
                self.actions.append(Replace("REST says that the session has expired"))
            if self._retry_at is not None and now >= self._retry_at and not self._asked:
                self._retry_at = None
                self._topics = {channel: list(topics) for channel, topics in TOPICS[self._market].items()}
                self._ask(now)
        return [*events, *self._state.tick(now)]

    def _clock_back(self, now: int) -> None:
        if self._waiting_since is not None:
            self._waiting_since = min(self._waiting_since, now)
        if self._retry_at is not None:
            self._retry_at = min(self._retry_at, now + _RETRY)

    def sync(self, now: int) -> Flow[None]:
        """Nothing is replayed: what happened before the subscription stood comes from REST; tried until it does."""
        if not self.ready:
            return
        positions = [self._sync_positions] if self._market is Market.FUTURES else []
        yield from self._state.fetch(now, [self._sync_orders, *positions, self._sync_fills])
        self._balances.wanted = True

    def rejected(self, recv: int) -> Sequence[Event]:
        """What was in the frame is fetched by REST."""
        self._want(recv)
        streams = [Subscription(channel, self._name) for channel in self._topics]
        return self.gaps(streams, recv)

    def resync(self, subject: str, now: int, reason: str) -> None:
        """There are no books here."""

    # REST

    def _private(self, path: str, now: int, query: str = "") -> Flow[list[Row]]:
        return self._rest.private(self._credentials, self._market, path, now, query)

    def _sync_orders(self, now: int) -> Flow[None]:
        rows = yield from self._rest.per_symbol(
            self._credentials, self._market, "/user/open_orders", now, pairs=self._pairs
        )
        listed, bad = self._rows(rows, lambda row: order_event(row, self._name, now, self._contracts, ""))
        unread = {id_or_empty(first(row, "orderID", "orderId")) for row in bad}
        orders = [order for order in listed if is_open(order)]
        for order in orders:
            self._memory.learn(order)

        def covers(event: Event) -> bool:
            """Not the other market's orders, which stand in the same stream, nor those whose rows are bad."""
            order_id, pair = (event.order_id, event.pair) if isinstance(event, Order) else ("", "")
            return market_of(pair) is self._market and "" not in unread and order_id not in unread

        self._restated(Channel.ORDERS, orders, now, bad, covers)

    def _sync_positions(self, now: int) -> Flow[None]:
        rows = yield from self._private("/user/positions", now)
        listed, bad = self._rows(rows, partial(self._positions.one, recv=now))
        self._positions.learn(listed, now)
        unread = {pair_or_empty(row) for row in bad}

        def covers(event: Event) -> bool:
            return "" not in unread and not (isinstance(event, Position) and event.pair in unread)

        self._restated(Channel.POSITIONS, listed, now, bad, covers if bad else None)

    def _sync_fills(self, now: int) -> Flow[None]:
        """The fills since the newest that is known, or of the last day; those that the stream has are repeats."""
        since = self._memory.history_since(now)
        history = fills_since(self._rest, self._credentials, self._market, since, now, pairs=self._pairs)
        rows, whole = yield from history
        fills, bad = self._rows(rows, lambda row: fill_event(row, self._name, now, self._contracts))
        fills.sort(key=lambda fill: fill.ts or 0)
        self._memory.note(fills)
        self._complete = True
        if not whole:
            self._state.missed(Channel.FILLS, now, _TOO_MANY)
        self._restated(Channel.FILLS, fills, now, bad)

    def _restated(
        self,
        channel: Channel,
        events: Sequence[Event],
        now: int,
        bad: list[Row],
        covers: Callable[[Event], bool] | None = None,
    ) -> None:
        if bad:
            self._state.missed(channel, now, _BAD_ROW)
        self.actions.append(Restated(channel, self._name, events, now, covers))

    def _rows(self, rows: list[Row], take: Callable[[Row], _E]) -> tuple[list[_E], list[Row]]:
        """The rows that can be understood, as events, and the others; REST answers aren't all documented."""
        events, bad, errors = understood(rows, take)
        self.actions += map(Reject, errors)
        return events, bad

    # Log-in and subscription

    def _log_in(self, now: int) -> None:
        """The first message: ``{"op":"authKeyExpires","args":["<key>","<nonce in ms>","<signature>"]}``."""
        nonce = str((now + self._rest.clock_offset) // _MILLISECOND)
        signature = sign(self._credentials.api_secret, f"/ws/{self._market}", nonce)
        message = {"op": self._logins[0], "args": [self._credentials.api_key, nonce, signature]}
        self.actions.append(Send(msgspec.json.encode(message).decode(), secret=True))
        self._waiting_since = now

    def _next_login(self, now: int, reason: str) -> None:
        self._logins = self._logins[1:]
        if self._logins:
            self._log_in(now)
        else:
            self._waiting_since = None
            self.actions.append(Reconnect(f"the log-in is refused: {reason}"))

    def _logged_in(self, message: Envelope, recv: int) -> list[Event]:
        """The answer: ``{"event":"login","success":true}``; what a refusal looks like isn't known."""
        if self._logged_on and message.is_fault:
            self._expired(of_message(message))
        if self._logged_on or not self._logins:
            return []
        if message.is_fault:
            self._login_failed(of_message(message), recv)
            return []
        self._logged_on = True
        self._memory.login = self._logins[0]
        self._doubted_at = recv + _SETTLED
        self.expires = recv + self._lifetime
        self._ask(recv)
        return []

    def _failed(self, error: ReportedError, recv: int) -> None:
        if self._logged_on and error.kind is ErrorKind.LOGIN_REFUSED:
            self._expired(error)
        elif self._logged_on or not self._logins:
            super()._failed(error, recv)
        else:
            self._login_failed(error, recv)

    def _expired(self, error: ReportedError) -> None:
        """A refusal after the log-in was accepted: it counts no more."""
        self.actions.append(Said(ReportedError(NAME, error.message, ErrorKind.SESSION_EXPIRED, code=error.code)))
        self.actions.append(Reconnect(f"the log-in counts no more: {error.words}"))

    def _login_failed(self, error: ReportedError, recv: int) -> None:
        """Whatever the exchange says before the log-in is done refuses it."""
        words = error.message or ("success is false" if error.code is None else "")
        refused = ReportedError(NAME, words, ErrorKind.LOGIN_REFUSED, code=error.code, topic=self._logins[0])
        self.actions.append(Said(refused))
        self._next_login(recv, refused.words)

    def _ask(self, now: int) -> None:
        """Subscribe the newest topic of each channel that isn't live yet."""
        live = {stream.channel for stream in self._live}
        self._asked = [topics[0] for channel, topics in self._topics.items() if channel not in live and topics]
        self._waiting_since = now if self._asked else None
        self.subscribe(self._asked)
        if not self._asked and not self.ready:
            self.ready = True
            self.actions.append(Synchronise())

    def _acknowledged(self, message: Envelope, recv: int) -> list[Event]:
        """The streams are ``live`` once all channels have their topics: another connection may feed them, too.

        A channel that was refused before is ``live`` by itself; REST tells what it has missed.
        """
        was_ready = self.ready
        fresh = super()._acknowledged(message, recv)
        events = self._left_out(set(self._asked) - set(message.channel or ()), "", recv)
        if not was_ready or not fresh:
            return events
        self.actions.append(Synchronise())
        return [*fresh, *events]

    def _refused(self, error: ReportedError, recv: int) -> list[Event]:
        if error.topic not in self._asked and self._live.intersection(self._streams_of(error.topic)):
            self.actions.append(Reconnect(f"a subscription has ended: {error}"))
        return self._left_out({error.topic} & set(self._asked), error.words, recv)

    def _left_out(self, refused: set[str], reason: str, recv: int) -> list[Event]:
        """Fall back on the next older topics; a channel without any is down."""
        events: list[Event] = []
        live = {stream.channel for stream in self._live}
        for channel, topics in self._topics.items():
            if channel not in live and topics and topics[0] in refused:
                oldest = topics.pop(0)
                if not topics:
                    self._retry_at = self._retry_at or recv + _RETRY
                    why = reason or "the exchange accepts none of the channel's topics"
                    events += self.dead([Subscription(channel, self._name)], recv, why)
                    if not reason:
                        self.actions.append(
                            Said(ReportedError(NAME, why, ErrorKind.TOPIC_LEFT_OUT, topic=oldest), f"no {channel}")
                        )
        was_ready = self.ready
        self._ask(recv)
        if self.ready and not was_ready:
            standing = [Subscription(channel, self._name) for channel in self._topics]
            events += [self.control(stream, ControlEvent.LIVE, recv) for stream in standing if stream in self._live]
        return events

    def _streams_of(self, topic: str) -> list[Subscription]:
        found = [channel for channel, topics in TOPICS[self._market].items() if topic in topics]
        return [Subscription(channel, self._name) for channel in found]

    # Data

    def _data(self, message: Envelope, frame: bytes, recv: int) -> list[Event]:
        """Rows of orders, fills or positions: an object, or a list of them."""
        topic = message.topic
        if not self._streams_of(topic):
            return self._unknown(topic)
        damage = Damage(NAME, frame, counted=topic.startswith("fills"))
        streams = self._streams_of(topic)

        def bad(error: Exception, place: int) -> None:
            damage.row(error, streams, place)

        take: Callable[[list[Row], int, Bad], list[Event]]
        if topic.startswith("notificationApi"):
            take = self._orders
        elif topic.startswith("fills"):
            take = self._fills
        else:
            take = self._positions.all if topic.startswith("all") else self._positions.some
        events = take(decode_rows(message.data), recv, bad)
        if damage:
            self._want(recv)
        return [*self.lively(streams, recv), *damage.settle(self, events, recv)]

    def _damaged(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Event] | None:
        streams = self._streams_of(topic)
        if not streams:
            return None
        damage = Damage(NAME, frame)
        damage.row(error, streams)
        self._want(recv)
        return damage.settle(self, [], recv)

    def _want(self, now: int) -> None:
        """What is missing is fetched by REST."""
        self._complete = False
        self._state.want(now)
        self._state.call(now)

    def _orders(self, rows: list[Row], recv: int, bad: Bad) -> list[Event]:
        events: list[Event] = []
        for row in rows:
            known = self._memory.prices.get(first(row, "orderID", "orderId"), "")
            try:
                event = order_event(row, self._name, recv, self._contracts, known)
            except NOT_A_ROW as error:
                bad(error, len(events))
                continue
            self._memory.learn(event)
            events.append(event)
        return events

    def _fills(self, rows: list[Row], recv: int, bad: Bad) -> list[Event]:
        fills: list[Fill] = []
        for row in rows:
            try:
                fills.append(fill_event(row, self._name, recv, self._contracts))
            except NOT_A_ROW as error:
                self._complete = False
                bad(error, len(fills))
        if self._complete:
            self._memory.note(fills)
        self._balances.wanted = True
        return list(fills)
