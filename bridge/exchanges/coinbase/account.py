"""One connection with an account's orders; its fills, balances and positions are asked for by REST.

``user`` says how far orders are, never their fills, and often no price. Only one connection per user may have it, so it
is never replaced by a second one beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec
from msgspec import Raw

from bridge.exchange_errors import ErrorKind, FrameError, ReportedError, RestError
from bridge.exchanges.api import (
    NOT_UNDERSTOOD,
    Flow,
    Output,
    Reconnect,
    Said,
    Send,
    Session,
    Subscription,
    Target,
    Unknown,
    Warn,
)
from bridge.exchanges.coinbase.public import NAME, RATE_LIMITED, remains_of
from bridge.exchanges.coinbase.rest import ADJUSTMENTS, API, STATES, CoinbaseMemory, CoinbaseRest, Rows
from bridge.exchanges.toolkit.accounts.login import LogIn, refused_by_rest
from bridge.exchanges.toolkit.accounts.open_orders import settle_orders
from bridge.exchanges.toolkit.accounts.polled_state import PolledState
from bridge.exchanges.toolkit.accounts.private import NOT_ALL_FILLS
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT
from bridge.exchanges.toolkit.values.fields import Row, decode_rows, first
from bridge.exchanges.toolkit.values.message_numbers import MessageNumbers
from bridge.exchanges.toolkit.values.numbers import SECOND, shortened
from bridge.exchanges.toolkit.values.remains import Remains, fields_in, row_in, rows_in, text_in
from bridge.exchanges.toolkit.values.row_lists import named
from bridge.exchanges.toolkit.values.salvage import WRONG, Damage
from bridge.model import Channel, Event, Fill, Order

__all__ = ["PRIVATE", "AccountSession"]

PRIVATE = frozenset({Channel.ORDERS, Channel.FILLS, Channel.BALANCES, Channel.POSITIONS})
_USER, _SUMMARY, _HEARTBEATS, _LISTED = "user", "futures_balance_summary", "heartbeats", "subscriptions"
_SILENT = 30
"""Seconds; without the heartbeat of every second, the exchange ends channels without a word."""
_MOST_WARNINGS = 50
_OF_POSITIONS = ("cfm_usd_balance", "daily_realized_pnl", "initial_margin", "total_open_orders_hold_amount")
"""Fields of the futures summary that change with positions."""


class AccountSession(Session):
    """Subscribes ``user``, whose answer says whether the key is taken; fetches the rest. ``urls``: the best first."""

    def __init__(
        self,
        urls: Sequence[str],
        account: str,
        rest: CoinbaseRest,
        memory: CoinbaseMemory,
        rows: Rows,
        *,
        balances_every: float,
    ) -> None:
        super().__init__()
        self._urls = urls
        self._name = account
        self._rest = rest
        self._memory = memory
        self._rows = rows
        self._login = LogIn(NAME, memory, lambda _, now: self._subscribe(_USER, now).text)
        self._numbers = MessageNumbers("sequence_num", lambda recv, reason, _: self._state.missed(recv, reason))
        syncs = {
            Channel.ORDERS: (self._sync_orders, 300.0),
            Channel.FILLS: (self._sync_fills, 45.0),
            Channel.BALANCES: (self._sync_balances, balances_every),
            Channel.POSITIONS: (self._sync_positions, 30.0),
        }
        self._state = PolledState(
            self, NAME, account, memory, rest=rest, syncs=syncs, told=Channel.ORDERS, failed=self._rest_failed
        )
        self._held: list[tuple[Row, str]] = []
        """Rows of orders, with their times, that wait for REST to say at which price they are."""
        self._looked_up: set[str] = set()
        """Orders of which REST has told all."""
        self._warned: set[str] = set()
        self._summary: tuple[str, ...] = ()
        self.ready = False

    # The connection

    def open(self, now: int) -> Flow[Target]:
        """Look at the key, so that its refusal has its reason; where a log-in was refused, our clock may be why."""
        if self._memory.refused:
            with suppress(RestError):
                self._rest.clock_offset = (yield from self._rest.time()).at - now
        try:
            yield from self._rest.check_key(now)
        except RestError as error:
            error.retry_after = error.retry_after or LONG_WAIT
            if error.kind is ErrorKind.REST_LOGIN_REFUSED:
                raise
        url = self._urls[self._memory.attempts // 2 % len(self._urls)]
        self._memory.attempts += 1
        return Target(url, url)

    def connected(self, now: int) -> Sequence[Output]:
        """Subscribe, within 5 seconds of connecting (else the exchange hangs up)."""
        self._state.heard = now
        return [self._subscribe(_HEARTBEATS, now), *self._login.begin(now)]

    def tick(self, now: int) -> Sequence[Output]:
        if not self.ready:
            return self._login.tick(now)
        self._state.heard = min(self._state.heard, now)
        if now - self._state.heard > _SILENT * SECOND:
            return [Reconnect(f"no heartbeat for {_SILENT} s")]
        return self._state.tick(now)

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        found = remains_of(frame)
        known = found.channel in (_USER, _SUMMARY, _HEARTBEATS, _LISTED)
        if found.number is None if known else not (found.fields and (found.channel or found.type)):
            raise FrameError(NAME, frame, "neither a numbered message of a channel nor an error")
        self._state.heard = recv
        out: list[Output] = []
        if found.number is not None and not self._numbers.take(found.number, recv, out):
            return out
        if found.type == "error":
            return [*out, *self._said(text_in(found.fields.get("message")), recv)]
        if found.channel == _USER:
            return [*out, *self._accepted(recv), *self._user(found, frame, recv)]
        events = [fields_in(event) for event in rows_in(found.fields.get("events")) or []]
        if found.channel == _LISTED:
            return [*out, *self._subscribed(any(_USER in fields_in(event.get(_LISTED)) for event in events), recv)]
        if found.channel == _SUMMARY:
            self._look_at([row_in(event, "fcm_balance_summary") for event in events], recv)
        return out if known else [*out, Unknown(found.channel or found.type)]

    def rejected(self, recv: int) -> Sequence[Output]:
        """What was in the frame is fetched by REST."""
        self._state.want(recv)
        return self._numbers.unreadable(recv, NOT_UNDERSTOOD)

    def failed(self, recv: int) -> Sequence[Output]:
        """Its number may have been taken: the next one would fit."""
        return self._state.missed(recv, NOT_UNDERSTOOD)

    def _subscribe(self, channel: str, now: int) -> Send:
        """``{"type":"subscribe","channel":"user","jwt":"eyJ…"}``: of all products, since none can be added later."""
        token = self._rest.token((now + self._rest.clock_offset) // 1_000_000)
        message = {"type": "subscribe", "channel": channel, "jwt": token}
        return Send(msgspec.json.encode(message).decode(), secret=True)

    def _subscribed(self, stands: bool, recv: int) -> list[Output]:
        """``{"channel":"subscriptions",…,"events":[{"subscriptions":{"user":["BTC-USD","ETH-USD"]}}]}``: all there are."""
        if self.ready and not stands:
            return [Reconnect(f"the exchange has ended the subscription of {_USER}")]
        return self._accepted(recv) if stands else []

    def _accepted(self, now: int) -> list[Output]:
        if self.ready or not self._login.awaited:
            return []
        self._login.accepted()
        self._memory.attempts, self.ready = 0, True
        live = self.lively([Subscription(Channel.ORDERS, self._name)], now)
        return [*live, self._subscribe(_SUMMARY, now), *self._state.begin(now)]

    def _said(self, words: str, recv: int) -> list[Output]:
        """``{"type":"error","message":"authentication failure"}``: the connection stays open, and silent."""
        if self._login.awaited and not RATE_LIMITED(words):
            return self._login.refused(words, recv)
        kind = ErrorKind.TOO_MANY_REQUESTS if RATE_LIMITED(words) else ErrorKind.REPORTED
        again = [Reconnect(f"{_USER} is refused: {words}", LONG_WAIT)] if self._login.awaited else []
        return [Said(ReportedError(NAME, words, kind)), *again]

    # Messages

    def _user(self, found: Remains, frame: bytes, recv: int) -> list[Output]:
        """Orders as they are now; after a subscribe all that are open, fifty a message.

        ``{"channel":"user","timestamp":"2026-04-07T14:30:06Z","sequence_num":1,"events":[{"type":"snapshot","orders":[
        {"order_id":"a1b2…","client_order_id":"11111-000000-000001","cumulative_quantity":"0","leaves_quantity":"0.001",
        "avg_price":"0","status":"OPEN","product_id":"BTC-USD","order_side":"BUY","order_type":"Limit"}]}]}``
        """
        damage, out, at = Damage(NAME, frame), list[Output](), text_in(found.fields.get("timestamp"))
        for event in rows_in(found.fields.get("events")) or [Raw(b"null")]:
            fields = fields_in(event)
            if any(rows_in(held) for held in fields_in(fields.get("positions")).values()):
                self._state.soon(Channel.POSITIONS, recv)
            for row in decode_rows(fields.get("orders", Raw(b"[]" if "positions" in fields else b""))):
                try:
                    out += self._take(row, at, recv)
                except WRONG as error:
                    damage.row(error, [Subscription(Channel.ORDERS, self._name)], len(out))
        if damage:
            self._state.want(recv)
        return damage.settle(self, out, recv)

    def _take(self, row: Row, at: str, recv: int) -> list[Output]:
        """A row of an order; what it says of fills and balances is asked for."""
        order, state = self._rows.order(row, at, recv), self._state
        if not (order.price or "market" in order.kind or order.order_id in self._looked_up):
            self._held.append((row, at))
            state.soon(Channel.ORDERS, recv)
            return []
        out = self._remarks(row)
        if row["status"] == "EDIT_QUEUED":
            state.soon(Channel.ORDERS, recv)
        if self._memory.is_late(order):
            return out
        known = self._memory.newest(order.pair, order.order_id)
        self._memory.progress(order)
        if order.filled != (known.filled if known else "0"):
            state.soon(Channel.FILLS, recv)
        state.soon(Channel.BALANCES, recv)
        if order.contracts:
            state.soon(Channel.POSITIONS, recv)
        return [*out, *state.news([order])]

    def _look_at(self, summaries: Sequence[Row], recv: int) -> None:
        """A futures account's sums in USD, which spot balances hold, too: used as a sign that positions have changed.

        ``{"channel":"futures_balance_summary",…,"events":[{"type":"snapshot","fcm_balance_summary":{"cfm_usd_balance":
        "400.00","initial_margin":"700.00","daily_realized_pnl":"0","total_open_orders_hold_amount":"500.00"}}]}``
        """
        for row in summaries:
            before, self._summary = self._summary, tuple(row.get(name, "") for name in _OF_POSITIONS)
            if self._summary != before:
                self._state.soon(Channel.POSITIONS, recv)

    def _remarks(self, row: Row) -> list[Output]:
        """What an operator should read of a row: why an order has failed, a state without a known name."""
        status, why = row["status"], first(row, "reject_reason", "reject_Reason", "cancel_reason")
        if status not in STATES:
            return self._warn(f"an order is {shortened(status)}, which is unknown: it is taken to be as it was")
        failed = status in ("FAILED", "EXPIRED") and why
        return self._warn(f"an order of {shortened(row['product_id'])} is {status}: {shortened(why)}") if failed else []

    def _warn(self, words: str) -> list[Output]:
        """Said once."""
        news = words not in self._warned and len(self._warned) < _MOST_WARNINGS
        self._warned.add(words)
        return [Warn(words)] if news else []

    # REST

    def _rest_failed(self, error: RestError) -> list[Output]:
        """Orders are served without what only REST knows of them; a key that is refused is of no use."""
        return refused_by_rest(error) or self._let_go(self._state.at(0))

    def _let_go(self, recv: int) -> list[Output]:
        """The rows that waited for a price."""
        held, self._held = self._held, []
        self._looked_up.update(row["order_id"] for row, _ in held)
        return [output for row, at in held for output in self._take(row, at, recv)]

    def _sync_orders(self, now: int) -> Flow[list[Output]]:
        """Open orders, what has become of those that were, and those without a price.

        ``{"orders":[{"order_id":"0000-000000-000001","product_id":"BTC-USD","order_configuration":{"limit_limit_gtc":{
        "base_size":"0.01","limit_price":"45000.00"}},"side":"BUY","status":"OPEN","filled_size":"0","order_type":"LIMIT",
        "size_in_quote":false,"created_time":"2024-01-15T10:00:00Z","last_fill_time":null}],"has_next":false,"cursor":""}``
        """
        path, at = f"{API}/orders/historical", self._state.at(now)
        rows = yield from self._rest.listed(f"{path}/batch", "order_status=OPEN&limit=250", now)

        def look_up(order_id: str) -> Flow[list[Row]]:
            try:
                return (yield from self._rest.one(f"{path}/{quote(order_id, safe='')}", "order", now))
            except RestError as error:
                if error.status == 404:  # not of this portfolio
                    return []
                raise

        def read(row: Row) -> Order:
            order = self._rows.order(row, first(row, "last_fill_time", "created_time"), at)
            self._looked_up.add(order.order_id)
            self._memory.progress(order)
            return order

        also, memory = [row["order_id"] for row, _ in self._held], self._memory
        out = yield from settle_orders(
            self._state, memory, rows, now, read=read, name=named("order_id"), look_up=look_up, also=also
        )
        self._looked_up.intersection_update(order.order_id for order in memory.open_orders.values())
        return [*out, *self._let_go(self._state.at(now))]

    def _sync_fills(self, now: int) -> Flow[list[Output]]:
        """The fills since the newest that is known, or of the last day; those that the stream has are repeats."""
        state, sums = self._state, self._memory.sums
        since = datetime.fromtimestamp(self._memory.history_since(now) // SECOND, UTC)
        query = f"limit=100&start_sequence_timestamp={since:%Y-%m-%dT%H:%M:%SZ}"
        try:
            rows, whole = yield from self._rest.pages(f"{API}/orders/historical/fills", query, now, self._rest.account)
        except RestError as error:
            if "proof_token_required" not in error.message:
                raise
            return state.refuse(Channel.FILLS, error, now)
        rows.reverse()  # the newest come first
        rows.sort(key=lambda row: row.get("trade_time", "").replace("Z", "."))  # of texts with and without decimals
        fills: list[Fill] = []

        def read(row: Row) -> list[Event]:
            found = self._rows.fill(row, now)
            fills.extend(found)
            return [*found]

        out = state.restate(Channel.FILLS, rows, read, now)
        for kind in ADJUSTMENTS:
            left_out = any(row.get("trade_type") == kind for row in rows)
            out += self._warn(f"a {kind} of a fill is left out") if left_out else []
        sums.fills(fills)
        if wait := sums.wait(state.at(now)):
            state.soon(Channel.FILLS, state.at(now), wait)
        elif wait is not None:
            out.append(
                Warn(f"REST shows too few fills of these orders: {', '.join(map(shortened, sums.lacking()[:5]))}")
            )
            sums.settle()
        return out if whole else [*state.gap(Channel.FILLS, now, NOT_ALL_FILLS), *out]

    def _sync_balances(self, now: int) -> Flow[list[Output]]:
        """What is free and held of each currency, in all active wallets of the key's portfolio.

        ``{"accounts":[{"uuid":"8bfc20d7-f7c6-4422-bf07-8243ca4169fe","name":"BTC Wallet","currency":"BTC",
        "available_balance":{"value":"1.23456789","currency":"BTC"},"active":true,"type":"CRYPTO","hold":{"value":
        "0.00500000","currency":"BTC"},"retail_portfolio_id":"portfolio-001"}],"has_next":false,"cursor":"","size":1}``
        """
        wallets: dict[str, list[Row]] = {}
        for row in (yield from self._rest.listed(f"{API}/accounts", "limit=250", now)):
            mine = row.get("retail_portfolio_id") in (None, "", self._rest.portfolio) or not self._rest.portfolio
            if mine and row.get("active") != "false":
                wallets.setdefault(row.get("currency", ""), []).append(row)
        several = next((currency for currency, held in wallets.items() if len(held) > 1), "")
        out = self._warn(f"several wallets of a currency are added up: {shortened(several)}") if several else []

        def read(row: Row) -> list[Event]:
            return [self._rows.balance(wallets[row["currency"]], now)]

        ones = [held[0] for held in wallets.values()]
        return [*out, *self._state.restate(Channel.BALANCES, ones, read, now, name=named("currency"))]

    def _sync_positions(self, now: int) -> Flow[list[Output]]:
        """Positions of US derivatives; an account without them may be refused."""
        try:
            rows = yield from self._rest.listed(f"{API}/cfm/positions", "", now)
        except RestError as error:
            if not 400 <= error.status < 500 or error.status in (401, 429):
                raise
            return self._state.refuse(Channel.POSITIONS, error, now)

        def read(row: Row) -> list[Event]:
            return [self._rows.position(row, now)]

        return self._state.restate(Channel.POSITIONS, rows, read, now, name=named("product_id"))
