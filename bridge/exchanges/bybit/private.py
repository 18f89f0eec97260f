"""A Bybit account: orders, executions, positions and balances of all categories, over one connection and by REST.

Nothing is sent on subscribing and nothing comes again after a cut, so the present state is fetched after each connect.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct, field, structs

from bridge.exchange_errors import FrameError, LoginRefusedError, RestError
from bridge.exchanges.actions import Reconnect, Reject, Restated, Said, Send, Synchronise, Unknown
from bridge.exchanges.bybit.public import NAME, Envelope, Spoken, milliseconds
from bridge.exchanges.fields import EXACT, NESTED, Row, decode_rows
from bridge.exchanges.http import Flow, HttpRequest, HttpResponse
from bridge.exchanges.numbers import SECOND, check_amounts, check_ids, check_numbers, check_values, check_words
from bridge.exchanges.plans import Credentials
from bridge.exchanges.refresh import Refresh
from bridge.exchanges.salvage import UNREADABLE, Damage
from bridge.exchanges.session import Subscription
from bridge.exchanges.toolkit.history import FillHistory
from bridge.exchanges.toolkit.session import WRONG
from bridge.exchanges.waiting import seconds_to_wait
from bridge.model import Balance, Channel, Event, Fill, Order, Position

__all__ = ["PRIVATE", "AccountSession", "BybitRest", "Memory", "sign"]

_MILLISECOND = 1_000_000
_LOGIN_LASTS = 10_000
"""Milliseconds until a log-in message expires; a second, as in the documents' sample, is too short for slow links."""
_ANSWER_LIMIT = 10 * SECOND
_WINDOW = 5_000
_BLOCKED = 600.0
"""Seconds to stay away after HTTP 403: too many requests from here, or a country that is refused."""
_WEEK = 7 * 24 * 3600 * 1000 - 1
"""Milliseconds that one question about executions may span."""
_MOST_PAGES = 50
_SETTLED_IN = ("USDT", "USDC")
_SCOPES = ("category=spot", *(f"category=linear&settleCoin={coin}" for coin in _SETTLED_IN))
_OF_THE_KEY = (10003, 10004, 10005, 10028, 33004, 100028)
_CATEGORIES = ("spot", "linear")
PRIVATE = {
    "order": Channel.ORDERS,
    "execution": Channel.FILLS,
    "position": Channel.POSITIONS,
    "wallet": Channel.BALANCES,
}
"""Topic → channel. Never ``dcp``, which would have the exchange cancel orders when a connection ends."""
_STATUS = {
    **dict.fromkeys(("New", "Untriggered", "Triggered"), "open"),
    "PartiallyFilled": "partially_filled",
    "Filled": "filled",
    **dict.fromkeys(("Cancelled", "PartiallyFilledCanceled", "Deactivated"), "cancelled"),
    "Rejected": "rejected",
}
_EXECUTIONS = ("Trade", "AdlTrade", "BustTrade", "BlockTrade")
"""What of the executions is one: funding, settlement and transfers of positions are told there, too."""
_SIDES = {"Buy": "buy", "Sell": "sell"}
_HELD = {"Buy": "long", "Sell": "short", "": "", "None": ""}
_LEGS = {"0": None, "": None, "1": "long", "2": "short"}

Pairs = Mapping[tuple[str, str], str]
"""Category and symbol → pair."""


def sign(secret: str, text: str) -> str:
    """Hex HMAC-SHA256: of ``GET/realtime<expires>`` to log in, of ``<time><key><window><query>`` for a call."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class BybitRest:
    """The REST calls, public and signed."""

    def __init__(self) -> None:
        self.clock_offset = 0
        """The exchange's clock less ours (ns), for signing; 0 while it is unknown."""

    def get(self, path: str, query: str, now: int, account: Credentials | None = None) -> Flow[dict[str, Any]]:
        """The ``result`` of a call; where our clock is what is wrong with it, it is signed once more.

        ``{"retCode":0,"retMsg":"OK","result":{"category":"linear","nextPageCursor":"","list":[]},"time":1672364262474}``

        Raises:
            RestError: REST is away, refuses, or answers with what can't be understood.
        """
        try:
            return (yield from self._call(path, query, now, account))
        except RestError as error:
            if error.code != 10002:
                raise
        return (yield from self._call(path, query, now, account))

    def pages(self, path: str, query: str, now: int, account: Credentials | None = None) -> Flow[list[Row]]:
        """All rows of a list, page by page.

        Raises:
            RestError: as `get`; or there is no end to them.
        """
        rows: list[Row] = []
        cursor = ""
        for _ in range(_MOST_PAGES):
            result = yield from self.get(path, f"{query}&cursor={cursor}" if cursor else query, now, account)
            rows += decode_rows(result.get("list", msgspec.Raw(b"[]")))
            try:
                cursor = msgspec.json.decode(result.get("nextPageCursor") or b'""', type=str)
            except UNREADABLE:
                cursor = ""
            if not cursor:
                return rows
        raise RestError(NAME, path, 200, f"more than {_MOST_PAGES} pages")

    def _call(self, path: str, query: str, now: int, account: Credentials | None) -> Flow[dict[str, Any]]:
        headers: dict[str, str] = {}
        if account is not None:
            at = str((now + self.clock_offset) // _MILLISECOND)
            signature = sign(account.api_secret, f"{at}{account.api_key}{_WINDOW}{query}")
            headers = {
                "X-BAPI-API-KEY": account.api_key,
                "X-BAPI-TIMESTAMP": at,
                "X-BAPI-RECV-WINDOW": str(_WINDOW),
                "X-BAPI-SIGN": signature,
            }
        response = yield HttpRequest("GET", f"{path}?{query}" if query else path, headers=headers)
        try:
            answer = _decode_answer(response.body)
        except UNREADABLE:
            raise RestError.of(
                NAME, path, response.status, "not an answer of this API", _wait(response, 0, 0)
            ) from None
        if response.status >= 400 or answer.retCode:
            if answer.retCode == 10002 and answer.time:
                self.clock_offset = answer.time * _MILLISECOND - now
            status = 429 if answer.retCode == 10006 else response.status
            login = answer.retCode in _OF_THE_KEY
            wait = _wait(response, answer.retCode, answer.time)
            words = f"{answer.retCode} {answer.retMsg}".strip()
            raise RestError.of(NAME, path, status, words, wait, code=answer.retCode, login=login)
        return answer.result


class _Answer(Struct):
    retCode: int  # noqa: N815 - the exchange's names
    retMsg: str = ""  # noqa: N815
    result: dict[str, msgspec.Raw] = field(default_factory=dict)
    time: int = 0


_decode_answer: Callable[[bytes], _Answer] = msgspec.json.Decoder(_Answer).decode


def _wait(response: HttpResponse, code: int, at: int) -> float | None:
    """Seconds that the exchange wants to be left alone."""
    if response.status == 403:
        return _BLOCKED
    reset = response.headers.get("x-bapi-limit-reset-timestamp", "")
    if code == 10006 and at and reset.isdecimal():
        return min(max(int(reset[:15]) - at, 0) / 1000, _BLOCKED)
    return seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))


class Memory(FillHistory):
    """What the successive sessions of an account know."""

    open_orders: dict[tuple[str, str], Order] = field(default_factory=dict)
    """Pair and id → the newest state of what is open."""
    refused: int = 0
    """Log-ins in a row that were refused."""

    def learn(self, order: Order) -> None:
        """Note an order that is open, forget one that is not."""
        key = (order.pair, order.order_id)
        if order.status in ("open", "partially_filled"):
            self.open_orders[key] = order
        else:
            self.open_orders.pop(key, None)


class AccountSession(Spoken):
    """Log-in, the four private topics, and what REST says of the time before.

    ``pairs`` are those of the exchange's list, which grows; a symbol that it doesn't have is its own name.
    """

    def __init__(self, url: str, account: Credentials, rest: BybitRest, pairs: Pairs, memory: Memory) -> None:
        streams = {topic: [Subscription(channel, account.name)] for topic, channel in PRIVATE.items()}
        super().__init__(url, streams, len(streams))
        self._account = account
        self._rest = rest
        self._pairs = pairs
        self._memory = memory
        self._logging_in: int | None = None
        """Since when a log-in is not answered (ns)."""
        self._refresh = Refresh()
        self._whole = False
        """Whether the fills from before are known: until then, new ones don't say where the history goes on."""
        self._positions: dict[tuple[str, str | None], Position] = {}
        self._currencies: dict[str, None] = {}
        self._owed: list[Event] = []
        """What a fetch has found out about the streams."""

    def connected(self, now: int) -> None:
        """Log in; nothing else may be sent before that.

        ``{"req_id":"10001","op":"auth","args":["API_KEY",1662350400000,"hex"]}``
        """
        self._pinged = self._logging_in = now
        expires = (now + self._rest.clock_offset) // _MILLISECOND + _LOGIN_LASTS
        signature = sign(self._account.api_secret, f"GET/realtime{expires}")
        message = {"op": "auth", "args": [self._account.api_key, expires, signature]}
        self.actions.append(Send(msgspec.json.encode(message).decode(), secret=True))

    def tick(self, now: int) -> Sequence[Event]:
        if self._logging_in is not None and now - self._logging_in > _ANSWER_LIMIT:
            self._logging_in = None
            self.actions.append(Reconnect("no answer to the log-in"))
        if self._refresh.due(now):
            self.actions.append(Synchronise())
        owed, self._owed = self._owed, []
        return [*super().tick(now), *owed]

    def rejected(self, recv: int) -> Sequence[Event]:
        """What was in the frame is fetched by REST."""
        self._want(recv)
        return super().rejected(recv)

    def resync(self, subject: str, now: int, reason: str) -> None:
        """There are no books here."""

    def sync(self, now: int) -> Flow[None]:
        if not self._topics.served:
            return
        self._refresh.begun(now)
        try:
            yield from self._sync_orders(now)
            yield from self._sync_positions(now)
            yield from self._sync_fills(now)
            yield from self._sync_balances(now)
        except RestError as error:
            self.actions.append(Said(error, "orders, positions, fills and balances are not refreshed"))
            self._refresh.failed(now, error.retry_after)
        else:
            self._refresh.done(now)

    def _answer(self, message: Envelope, recv: int) -> list[Event]:
        """``{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"…"}``: the clock, or the form."""
        if message.op == "auth":
            self._logging_in = None
            if not message.failed:
                self._memory.refused = 0
                self._begin(recv)
                return []
            self._memory.refused += 1
            self.actions.append(Said(LoginRefusedError(NAME, message.words)))
            wait = 0.0 if self._memory.refused == 1 else 60.0
            self.actions.append(Reconnect(f"the log-in is refused: {message.words}", wait))
            return []
        events = super()._answer(message, recv)
        if events:
            self.actions.append(Synchronise())
        return events

    # Data

    def _data(self, topic: str, message: Envelope, recv: int) -> list[Event]:
        return self._news([event for row in decode_rows(message.data) for event in self._read(topic, row, recv)])

    def _salvage(self, topic: str, message: Any, frame: bytes, *, recv: int, error: Exception) -> list[Event]:
        """Row by row; what is missing is fetched by REST."""
        self._want(recv)
        if message is None:
            return super()._salvage(topic, message, frame, recv=recv, error=error)
        damage, found = Damage(NAME, frame), []
        for row in decode_rows(message.data):
            try:
                found += self._read(topic, row, recv)
            except WRONG as wrong:
                damage.row(wrong, self._streams[topic], len(found))
        return damage.settle(self, self._news(found), recv)

    def _read(self, topic: str, row: Row, recv: int) -> list[Event]:
        """What a row of a topic says.

        Raises:
            one of `WRONG`: it can't be understood.
        """
        if topic == "wallet":
            return list(balances_of(row, self._account.name, recv))
        if row["category"] not in _CATEGORIES:
            self.actions.append(Unknown(f"{topic} of {row['category'][:20]}"))
            return []
        read = {"order": self._order, "execution": self._fill, "position": self._position}[topic]
        event = read(row, row["category"], recv)
        return [] if event is None else [event]

    def _news(self, events: list[Event]) -> list[Event]:
        """Take note of events; positions come with every order, changed or not: only those that differ are news."""
        found: list[Event] = []
        for event in events:
            if isinstance(event, Position):
                known = self._positions.get((event.pair, event.leg))
                self._positions[event.pair, event.leg] = event
                if known is not None and structs.replace(known, ts=event.ts, recv=event.recv) == event:
                    continue
            elif isinstance(event, Order):
                self._memory.learn(event)
            elif isinstance(event, Fill) and self._whole:
                self._memory.note([event])
            elif isinstance(event, Balance):
                self._currencies[event.currency] = None
            found.append(event)
        return found

    def _pair(self, category: str, row: Row) -> str:
        symbol = row["symbol"]
        check_ids(symbol)
        return self._pairs.get((category, symbol), symbol)

    def _order(self, row: Row, category: str, recv: int) -> Order | None:
        """An order's newest state; a market order shows a price of the exchange's own, and may count in the quote coin."""
        pair = self._pair(category, row)
        status = _STATUS.get(row["orderStatus"])
        if status is None:
            self.actions.append(Unknown(f"order status {row['orderStatus'][:20]}"))
            self._want(recv)
            return None
        order_id, client_id, kind = row["orderId"], row.get("orderLinkId", ""), row["orderType"].lower()
        market = kind == "market"
        in_quote = category == "spot" and market and row.get("marketUnit", "") != "baseCoin" and row["side"] == "Buy"
        in_quote = in_quote or row.get("marketUnit", "") == "quoteCoin"
        price, size, filled = "" if market else row["price"], "" if in_quote else row["qty"], row["cumExecQty"] or "0"
        check_ids(order_id)
        check_words(client_id, kind)
        check_amounts(price, size, filled)
        ts = milliseconds(int(row["updatedTime"]))
        side = _SIDES[row["side"]]
        return Order(self._account.name, ts, recv, order_id, client_id, pair, kind, side, price, size, filled, status)

    def _fill(self, row: Row, category: str, recv: int) -> Fill | None:
        """An execution; ``execFee`` below zero is a rebate."""
        if row["execType"] not in _EXECUTIONS:
            return None
        fee, currency = row.get("execFee", ""), row.get("feeCurrency", "")
        check_ids(row["execId"], row["orderId"])
        check_numbers(row["execPrice"], row["execQty"])
        check_values(fee)
        check_words(currency)
        return Fill(
            self._account.name,
            milliseconds(int(row["execTime"])),
            recv,
            row["execId"],
            row["orderId"],
            self._pair(category, row),
            _SIDES[row["side"]],
            row["execPrice"],
            row["execQty"],
            fee,
            currency,
        )

    def _position(self, row: Row, category: str, recv: int) -> Position:
        """A position, or one leg of it in hedge mode."""
        size = row["size"] or "0"
        check_numbers(size)
        pair, leg = self._pair(category, row), _LEGS[row.get("positionIdx", "")]
        ts = milliseconds(int(row["updatedTime"])) if row.get("updatedTime") else None
        side = _HELD[row["side"]] if Decimal(size) else ""
        if not side:
            return Position(self._account.name, ts, recv, pair, "", "0", "", "", "", None, leg)
        entry, mark = row.get("entryPrice") or row.get("avgPrice", ""), row.get("markPrice", "")
        profit = row.get("unrealisedPnl", "")
        check_amounts(entry, mark)
        check_values(profit)
        return Position(self._account.name, ts, recv, pair, side, size, entry, mark, profit, None, leg)

    # REST

    def _want(self, now: int) -> None:
        """What is missing is fetched by REST."""
        self._whole = False
        self._refresh.want(now)

    def _sync_orders(self, now: int) -> Flow[None]:
        """Open orders, and what has become of those that were; orders that ended unseen long ago have an unknown status."""
        known = set(self._memory.open_orders)
        rows: list[tuple[str, Row]] = []
        for scope in _SCOPES:
            category = scope.partition("=")[2].partition("&")[0]
            listed = yield from self._list("/v5/order/realtime", f"{scope}&openOnly=0&limit=50", now)
            rows += [(category, row) for row in listed]
        listed_now = {
            (self._pairs.get((category, row.get("symbol", "")), ""), row.get("orderId")) for category, row in rows
        }
        if known - listed_now:
            for scope in _SCOPES:
                category = scope.partition("=")[2].partition("&")[0]
                ended = yield from self._list("/v5/order/realtime", f"{scope}&openOnly=1&limit=50", now)
                rows += [(category, row) for row in ended if self._was_open(category, row, known - listed_now)]
        self._restate(Channel.ORDERS, [row | {"category": category} for category, row in rows], "order", now)

    def _was_open(self, category: str, row: Row, known: set[tuple[str, str]]) -> bool:
        symbol = row.get("symbol", "")
        return (self._pairs.get((category, symbol), symbol), row.get("orderId", "")) in known

    def _sync_positions(self, now: int) -> Flow[None]:
        rows: list[Row] = []
        for coin in _SETTLED_IN:
            query = f"category=linear&settleCoin={coin}&limit=200"
            rows += yield from self._list("/v5/position/list", query, now)
        self._restate(Channel.POSITIONS, [row | {"category": "linear"} for row in rows], "position", now)

    def _sync_fills(self, now: int) -> Flow[None]:
        """The fills since the newest that is known, or of the last day; those that the stream has are repeats."""
        end = (now + self._rest.clock_offset) // _MILLISECOND
        start = min(self._memory.history_since(now) // _MILLISECOND, end)
        rows: list[Row] = []
        for category in _CATEGORIES:
            for begin in range(start, end + 1, _WEEK):
                query = f"category={category}&startTime={begin}&endTime={min(begin + _WEEK, end + 1000)}&limit=100"
                listed = yield from self._list("/v5/execution/list", query, now)
                rows += [row | {"category": category} for row in listed]
        rows.sort(key=lambda row: row.get("execTime", "").rjust(20))
        self._whole = True
        self._restate(Channel.FILLS, rows, "execution", now)

    def _sync_balances(self, now: int) -> Flow[None]:
        rows = yield from self._list("/v5/account/wallet-balance", "accountType=UNIFIED", now)
        self._restate(Channel.BALANCES, rows, "wallet", now)

    def _list(self, path: str, query: str, now: int) -> Flow[list[Row]]:
        return self._rest.pages(path, query, now, self._account)

    def _restate(self, channel: Channel, rows: Sequence[Row], topic: str, now: int) -> None:
        """Hand on what REST says; where a row can't be understood, what is missing may be in it."""
        events: list[Event] = []
        bad = 0
        for row in rows:
            try:
                events += self._read(topic, row, now)
            except WRONG as error:
                bad += 1
                what = f"a row of a REST answer: {type(error).__name__}: {error}"
                self.actions.append(Reject(FrameError(NAME, msgspec.json.encode(row), what)))
        if bad:
            self._owed += self.gaps(self._streams[topic], now, "a row of a REST answer could not be understood")
        gone = [] if bad else self._gone(channel, events, now)
        self._news(events)
        self.actions.append(Restated(channel, self._account.name, [*events, *gone], now, (lambda _: not bad)))

    def _gone(self, channel: Channel, events: Sequence[Event], now: int) -> list[Event]:
        """Balances of which REST no longer speaks are zero; orders and positions are seen to elsewhere."""
        if channel is not Channel.BALANCES:
            return []
        present = {event.currency for event in events if isinstance(event, Balance)}
        return [
            Balance(self._account.name, None, now, name, "0", "0") for name in self._currencies if name not in present
        ]


def balances_of(row: Row, subject: str, recv: int) -> list[Balance]:
    """The currencies of a unified account; what is free is not told for one that margin or a loan is held in.

    Raises:
        one of `WRONG`: a currency can't be understood.
    """
    found = []
    for coin in decode_rows(row["coin"].removeprefix(NESTED).encode()):
        total, locked, name = coin["walletBalance"] or "0", coin.get("locked") or "0", coin["coin"]
        check_words(name)
        check_values(total, locked)
        bound = [coin.get(what, "") for what in ("totalOrderIM", "totalPositionIM", "spotBorrow")]
        check_values(*bound)
        free = (
            ""
            if any(Decimal(held or "0") for held in bound)
            else f"{EXACT.subtract(Decimal(total), Decimal(locked)):f}"
        )
        found.append(Balance(subject, None, recv, name, free, locked))
    return found
