"""The private messages of one LMEX account in one market, over a connection that logs in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.api import Credentials, Flow, Output, Poll, Reconnect, Replace, Said, Subscription, Unknown
from bridge.exchanges.lmex.messages import NAME, Envelope, Market, market_of
from bridge.exchanges.lmex.public import LmexSession
from bridge.exchanges.lmex.rest import LmexRest, sign
from bridge.exchanges.lmex.rows import Rows, is_open, order_id, pair_or_empty
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.login import LogIn
from bridge.exchanges.toolkit.accounts.private import NOT_ALL_FILLS, PrivateState, Step
from bridge.exchanges.toolkit.sessions.named_topics import NamedTopics
from bridge.exchanges.toolkit.values.fields import Row, decode_rows
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.exchanges.toolkit.values.salvage import WRONG, Damage
from bridge.model import Channel, ControlEvent, Event, Order

__all__ = ["TOPICS", "WAYS", "AccountSession"]

TOPICS: dict[Market, dict[Channel, tuple[str, ...]]] = {
    Market.SPOT: {
        Channel.ORDERS: ("notificationApiV3", "notificationApiV2"),
        Channel.FILLS: ("fillsV2", "fills"),
    },
    Market.FUTURES: {
        Channel.ORDERS: ("notificationApiV4", "notificationApiV3", "notificationApiV2"),
        Channel.FILLS: ("fillsV2", "fills"),
        Channel.POSITIONS: (
            *("positionsV3", "positionsV2", "positions"),
            *("allPositionV4", "allPositionV3", "allPositionV2", "allPosition"),
        ),
    },
}
"""Topics of each channel, newest first: an older one is taken where the answer leaves the newer out."""
WAYS = ("authKeyExpires", "login")
"""Log-in messages: which of them the exchange takes isn't known."""
_ANSWER_LIMIT = 5.0
"""Seconds for an answer to the log-in, and to the subscription."""
_SETTLED = 60 * SECOND
"""Age of a log-in before REST can put it in doubt: should REST say so for ever, there is one log-in a minute."""
_LEFT_OUT = "the exchange accepts none of the channel's topics"


class AccountSession(LmexSession):
    """Log-in, then orders, fills and, for futures, positions; what nothing repeats comes from REST.

    Balances have no topic: ``balances`` is wanted after each fill. ``pairs`` are those that the connector reads in this
    market, whenever it is asked; ``lifetime`` is how long a log-in lasts (seconds).
    """

    def __init__(
        self,
        url: str,
        market: Market,
        account: Credentials,
        rest: LmexRest,
        *,
        memory: AccountMemory,
        pairs: Callable[[], Sequence[str]],
        balances: Poll,
        ways: Sequence[str] = WAYS,
        lifetime: float = 24 * 3600.0,
    ) -> None:
        forms = {topics[0]: topics for topics in TOPICS[market].values()}
        self._channels = {topics[0]: channel for channel, topics in TOPICS[market].items()}
        self._topic_of = {topic: name for name, topics in forms.items() for topic in topics}
        streams = {name: [Subscription(channel, account.name)] for name, channel in self._channels.items()}
        topics = NamedTopics(forms, len(forms), limit=_ANSWER_LIMIT, left_out=_LEFT_OUT)
        super().__init__(f"{url}/ws/{market}", streams, topics, tuple(self._topic_of))
        self._market = market
        self._account = account
        self._rest = rest
        self._read = Rows(account.name, rest.contracts)
        self._memory = memory
        self._pairs = pairs
        self._balances = balances
        self._lifetime = int(lifetime * SECOND)
        self._login = LogIn(NAME, memory, self._log_in, ways, _ANSWER_LIMIT)
        self._logged_on = False
        self._doubted_at = 0
        """Since when REST's word that the session has expired is about this log-in (ns)."""
        what = "orders, positions and fills"
        self._state = PrivateState(self, NAME, account.name, memory, steps=self._steps, what=what)

    def connected(self, now: int) -> Sequence[Output]:
        """Log in; nothing may be sent before that."""
        return self._login.begin(now)

    def tick(self, now: int) -> Sequence[Output]:
        if not self._logged_on:
            return self._login.tick(now)
        out = [*super().tick(now), *self._state.tick(now)]
        if self._rest.expired_at > self._doubted_at:
            self._doubted_at = now
            out.append(Replace("REST says that the session has expired"))
        return out

    def rejected(self, recv: int) -> Sequence[Output]:
        """What was in the frame is fetched by REST."""
        self._state.want(recv)
        return super().rejected(recv)

    # Log-in and subscription

    def _log_in(self, way: str, now: int) -> str:
        """The first message: ``{"op":"authKeyExpires","args":["<key>","<nonce in ms>","<signature>"]}``."""
        nonce = str((now + self._rest.clock_offset) // 1_000_000)
        signature = sign(self._account.api_secret, f"/ws/{self._market}", nonce)
        return msgspec.json.encode({"op": way, "args": [self._account.api_key, nonce, signature]}).decode()

    def _logged_in(self, message: Envelope, recv: int) -> list[Output]:
        """The answer: ``{"event":"login","success":true}``; what a refusal looks like isn't known."""
        if message.is_fault:
            return self._expired(message.fault()) if self._logged_on else self._failed(message.fault(), recv)
        if self._logged_on or not self._login.awaited:
            return []
        self._login.accepted()
        self._logged_on = True
        self._doubted_at = recv + _SETTLED
        self.expires = recv + self._lifetime
        self._pings.begin(recv)
        return self._begin(recv)

    def _failed(self, error: ReportedError, recv: int) -> list[Output]:
        """Whatever the exchange says before the log-in is done refuses it."""
        if self._login.awaited:
            words = error.message or ("success is false" if error.code is None else "")
            return self._login.refused(words, recv, error.code)
        if self._logged_on and error.kind is ErrorKind.LOGIN_REFUSED:
            return self._expired(error)
        return super()._failed(error, recv)

    def _expired(self, error: ReportedError) -> list[Output]:
        """A refusal after the log-in was accepted: it counts no more."""
        said = Said(ReportedError(NAME, error.message, ErrorKind.SESSION_EXPIRED, code=error.code))
        return [said, Reconnect(f"the log-in counts no more: {error.words}")]

    def _topic_refused(self, name: str, error: ReportedError, recv: int) -> list[Output]:
        if name in self._topics.served:
            return [Reconnect(f"a subscription has ended: {error}")]
        return super()._topic_refused(name, error, recv)

    def _settle(self, served: Iterable[str], refused: Iterable[str], now: int, *, told: bool = False) -> list[Output]:
        """Nothing is replayed: what happened before the subscriptions stood comes from REST.

        Another connection may feed the same streams, which are live once all their connections are ready: when this one
        is, all its streams are ``live``, also those that were before.
        """
        before, fresh = self.ready, list(served)
        out = super()._settle(fresh, refused, now, told=told)
        if not self.ready or (before and not fresh):
            return out
        known = [topic for topic in self._streams if topic in self._topics.served and topic not in fresh and not before]
        live = [self.control(stream, ControlEvent.LIVE, now) for topic in known for stream in self._streams[topic]]
        return [*live, *out, *self._state.begin(now)]

    # Data

    def _name(self, topic: str) -> str | None:
        return self._topic_of.get(topic)

    def _rows(self, message: Envelope, frame: bytes, recv: int) -> list[Output]:
        """Rows of orders, fills or positions: an object, or a list of them."""
        name = self._name(message.topic)
        if name is None:
            return [Unknown(message.topic)]
        channel, listed = self._channels[name], message.topic.startswith("all")
        damage = Damage(NAME, frame, counted=channel is Channel.FILLS)
        events: list[Event] = []
        out: list[Output] = []
        for row in decode_rows(message.data):
            try:
                found = self._events(channel, row, recv, listed=listed)
            except WRONG as error:
                damage.row(error, self._streams[name], len(out))
            else:
                events += found
                out += self._state.news(found)
        if damage:
            self._state.want(recv)
            out = damage.settle(self, out, recv)
        elif listed:
            out += self._state.flat_but(events, recv)
        self._balances.wanted |= channel is Channel.FILLS
        return [*self._came(name, recv), *out]

    def _bad(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Output]:
        self._state.want(recv)
        return super()._bad(topic, frame, error, recv)

    def _events(self, channel: Channel, row: Row, recv: int, *, listed: bool) -> list[Event]:
        """What a row says; raises one of `WRONG` where it can't be understood.

        One that says that a position is flat and names no leg is of both, unless each is ``listed``.
        """
        if channel is Channel.ORDERS:
            return [self._read.order(row, recv, self._memory.open_orders)]
        if channel is Channel.FILLS:
            return [self._read.fill(row, recv)]
        found = self._read.position(row, recv)
        legs = self._state.legs(found.pair) if not (found.side or found.leg or listed) else []
        return [self._read.flat(found.pair, recv, leg) for leg in legs] or [found]

    # REST

    def _steps(self) -> Sequence[Step]:
        positions = [self._sync_positions] if self._market is Market.FUTURES else []
        return [self._sync_orders, *positions, self._sync_fills]

    def _sync_orders(self, now: int) -> Flow[list[Output]]:
        """Open orders. The other market's stand in the same stream, and are none of this session's."""
        rows = yield from self._rest.open_orders(self._account, self._market, now, pairs=self._pairs())

        def read(row: Row) -> list[Event]:
            order = self._read.order(row, now, self._memory.open_orders)
            return [order] if is_open(order) else []

        def covers(event: Event) -> bool:
            return isinstance(event, Order) and market_of(event.pair) is self._market

        out = self._state.restate(Channel.ORDERS, rows, read, now, covers, name=order_id)
        self._memory.forget_orders({order_id(row) for row in rows}, now)
        return out

    def _sync_positions(self, now: int) -> Flow[list[Output]]:
        rows = yield from self._rest.private(self._account, self._market, "/user/positions", now)
        read = self._read.position
        return self._state.restate(Channel.POSITIONS, rows, lambda row: [read(row, now)], now, name=pair_or_empty)

    def _sync_fills(self, now: int) -> Flow[list[Output]]:
        """The fills since the newest that is known, or of the last day; those that the stream has are repeats."""
        since = self._memory.history_since(now)
        rows, whole = yield from self._rest.fills(self._account, self._market, now, since, pairs=self._pairs())
        self._balances.wanted = True
        missed = [] if whole else self._state.gap(Channel.FILLS, now, NOT_ALL_FILLS)
        return [*missed, *self._state.restate(Channel.FILLS, rows, lambda row: [self._read.fill(row, now)], now)]
