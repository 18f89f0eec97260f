"""A Bybit account: orders, executions, positions and balances of spot and linear, over one connection and by REST.

Nothing is sent on subscribing and nothing comes again after a cut, so the present state is fetched after each connect.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from urllib.parse import quote

import msgspec
from msgspec import Struct, field

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import Credentials, Flow, HttpResponse, Output, Subscription
from bridge.exchanges.bybit.public import NAME, BybitSession, Envelope, milliseconds
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.logged_in_session import LoggedInSession
from bridge.exchanges.toolkit.accounts.login import LogIn, refused_by_rest
from bridge.exchanges.toolkit.accounts.open_orders import settle_orders
from bridge.exchanges.toolkit.accounts.private import PrivateState, Step
from bridge.exchanges.toolkit.pairs.names import Names
from bridge.exchanges.toolkit.rest.rest import TimedRest
from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait
from bridge.exchanges.toolkit.values.checked import checked
from bridge.exchanges.toolkit.values.fields import EXACT, Row, decode_rows, nested_rows
from bridge.exchanges.toolkit.values.numbers import (
    MILLISECOND,
    check_ids,
    check_numbers,
    check_values,
    shortened,
)
from bridge.exchanges.toolkit.values.row_lists import named
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, readable
from bridge.model import Balance, Channel, Event, Fill, Order, Position

__all__ = ["PRIVATE", "AccountSession", "BybitRest", "sign"]

_LOGIN_LASTS = 10_000
"""Milliseconds until a log-in message expires; a second, as in the documents' sample, is too short for slow links."""
_BLOCKED = 600.0
"""Seconds to stay away after HTTP 403."""
_TIME = "/v5/market/time"
_WINDOW = "5000"
_WEEK = 7 * 24 * 3600 * 1000 - 1
"""Milliseconds that one question about executions may span."""
_ALL_HISTORY = 104 * _WEEK
_SETTLED_IN = ("USDT", "USDC")
_CATEGORIES = ("spot", "linear")
_SCOPES = (("spot", ""), *(("linear", f"&settleCoin={coin}") for coin in _SETTLED_IN))
_OF_THE_KEY = (10003, 10004, 10005, 10010, 10028, 33004, 100028)
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
_FILLS = ("Trade", "AdlTrade", "BustTrade", "BlockTrade")
"""What of the executions is a fill."""
_NO_FILLS = ("Funding", "Settle", "SessionSettlePnL", "Delivery", "MovePosition", "FutureSpread", "CorporateAction")
_NOT_SERVED = ("inverse", "option", "spread")
_SIDES = {"Buy": "buy", "Sell": "sell"}
_HELD = {"Buy": "long", "Sell": "short"}
_LEGS = {"0": "", "": "", "1": "long", "2": "short"}


def sign(secret: str, text: str) -> str:
    """Hex HMAC-SHA256: of ``GET/realtime<expires>`` to log in, of ``<time><key><window><query>`` for a call."""
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


class _Answer(Struct):
    retCode: int  # noqa: N815 - the exchange's names
    retMsg: str = ""  # noqa: N815
    result: dict[str, msgspec.Raw] = field(default_factory=dict)
    time: int = 0


_decode_answer: Callable[[bytes], _Answer] = msgspec.json.Decoder(_Answer).decode


class BybitRest(TimedRest[_Answer]):
    """The REST calls, public and signed.

    ``{"retCode":0,"retMsg":"OK","result":{"category":"linear","nextPageCursor":"","list":[]},"time":1672364262474}``
    """

    def __init__(self) -> None:
        super().__init__(late=(10002,))

    def time(self) -> Flow[int]:
        """The exchange's time (ns): ``{"retCode":0,"result":{"timeSecond":"1688639403"},"time":1688639403423}``.

        Raises:
            RestError: REST is away, or the answer holds no time.
        """
        answer = yield from self.get(_TIME)
        try:
            return milliseconds(answer.time)
        except ValueError as error:
            raise RestError(NAME, _TIME, 200, str(error)) from None

    def _sign(self, account: Credentials, at: str, path: str, query: str) -> dict[str, str]:
        del path
        return {
            "X-BAPI-API-KEY": account.api_key,
            "X-BAPI-TIMESTAMP": at,
            "X-BAPI-RECV-WINDOW": _WINDOW,
            "X-BAPI-SIGN": sign(account.api_secret, f"{at}{account.api_key}{_WINDOW}{query}"),
        }

    def _read(self, path: str, response: HttpResponse) -> _Answer:
        try:
            answer = _decode_answer(readable(response.body))
        except UNREADABLE:
            raise _failure(path, response, _Answer(0, "not an answer of this API")) from None
        self.told = answer.time
        if response.status >= 400 or answer.retCode:
            raise _failure(path, response, answer)
        return answer

    def _page(self, answer: _Answer) -> tuple[list[Row], str]:
        try:
            cursor = msgspec.json.decode(answer.result.get("nextPageCursor") or b'""', type=str)
        except UNREADABLE:
            cursor = ""
        more = f"&cursor={quote(cursor, safe='%:,=+/')}" if cursor else ""  # it comes quoted, and is signed as it comes
        return decode_rows(answer.result.get("list", msgspec.Raw(b"[]"))), more


def _failure(path: str, response: HttpResponse, answer: _Answer) -> RestError:
    """What is wrong, and how many seconds the exchange wants to be left alone.

    403 is for too many calls from an address, for one in a country that is refused, and for one that the key is not for.
    """
    status, code = response.status, answer.retCode
    reset = response.headers.get("x-bapi-limit-reset-timestamp", "")
    wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
    if status == 403:
        wait = _BLOCKED
    elif code == 10006 and answer.time and reset.isdecimal():
        wait = min(max(int(reset[:15]) - answer.time, 0) / 1000, _BLOCKED)
    words = f"{code or ''} {answer.retMsg}".strip()
    if code not in _OF_THE_KEY and (status == 403 or code == 10006):
        return RestError(NAME, path, status, words, wait, code=code, kind=ErrorKind.REST_RATE_LIMITED)
    kind = ErrorKind.REST_LOGIN_REFUSED if code in _OF_THE_KEY else None
    return RestError(NAME, path, status, words, wait, code=code, kind=kind)


class AccountSession(LoggedInSession, BybitSession):
    """Log-in, the four private topics, and what REST says of the time before."""

    def __init__(self, url: str, account: Credentials, rest: BybitRest, names: Names, memory: AccountMemory) -> None:
        streams = {topic: [Subscription(channel, account.name)] for topic, channel in PRIVATE.items()}
        super().__init__(url, streams, len(streams))
        self._account = account
        self._rest: BybitRest = rest
        self._names = names
        self._memory = memory
        self._login = LogIn(NAME, memory, self._log_in)
        self._state = PrivateState(self, NAME, account.name, memory, steps=self._steps, failed=refused_by_rest)

    def _log_in(self, _: str, now: int) -> str:
        """The message: ``{"req_id":"10001","op":"auth","args":["API_KEY",1662350400000,"hex"]}``."""
        expires = (now + self._rest.clock_offset) // MILLISECOND + _LOGIN_LASTS
        signature = sign(self._account.api_secret, f"GET/realtime{expires}")
        message = {"op": "auth", "args": [self._account.api_key, expires, signature]}
        return msgspec.json.encode(message).decode()

    def _answer(self, message: Envelope, recv: int) -> list[Output]:
        """``{"success":false,"ret_msg":"Params Error","op":"auth","conn_id":"…"}``: the clock, or the form."""
        if message.op != "auth":
            stands = message.op == "subscribe" and not message.failed
            return [*super()._answer(message, recv), *(self._state.begin(recv) if stands else [])]
        if message.failed:
            return self._login.refused(message.words, recv)
        self._login.accepted()
        return self._begin(recv)

    def _time(self) -> Flow[int]:
        return self._rest.time()

    # Data

    def _rows(self, message: Envelope) -> list[Row]:
        return nested_rows(message.data, "coin")

    def _read(self, topic: str, row: Row, recv: int) -> list[Event]:
        """What a row of a topic, or of a list by REST, says.

        Raises:
            one of `WRONG`: it can't be understood.
        """
        if topic == "wallet":
            return [self._balance(row, recv)]
        category = row["category"]
        if category in _NOT_SERVED or (topic == "execution" and row["execType"] in _NO_FILLS):
            return []
        if category not in _CATEGORIES:
            raise ValueError(f"category {shortened(category)}")
        if topic == "order":
            return [self._order(row, recv)]
        pair = self._pair(row)
        return [self._fill(row, pair, recv) if topic == "execution" else self._position(row, pair, recv)]

    def _pair(self, row: Row) -> str:
        check_ids(row["symbol"])
        return self._names.pair(row["category"], row["symbol"])

    def _order(self, row: Row, recv: int) -> Order:
        """An order's newest state; a market order shows a price of the exchange's own, and may count in the quote coin."""
        order_id, client_id = row["orderId"], row.get("orderLinkId", "")
        kind, side = row["orderType"].lower(), row["side"]
        market, unit = kind == "market", row.get("marketUnit", "")
        in_quote = unit == "quoteCoin" or (
            row["category"] == "spot" and market and side == "Buy" and unit != "baseCoin"
        )
        price, size, filled = "" if market else row["price"], "" if in_quote else row["qty"], row["cumExecQty"] or "0"
        ts, name, status = milliseconds(int(row["updatedTime"])), self._account.name, _STATUS[row["orderStatus"]]
        ids = (order_id, client_id, self._pair(row), kind, _SIDES[side])
        return checked(Order(name, ts, recv, *ids, price, size, filled, status))

    def _fill(self, row: Row, pair: str, recv: int) -> Fill:
        """An execution; ``execFee`` below zero is a rebate."""
        fill_id, order_id, price, size = row["execId"], row["orderId"], row["execPrice"], row["execQty"]
        fee, currency = row.get("execFee", ""), row.get("feeCurrency", "")
        if row["execType"] not in _FILLS:
            raise ValueError(f"type {shortened(row['execType'])}")
        ts, side = milliseconds(int(row["execTime"])), _SIDES[row["side"]]
        ids = (fill_id, order_id, pair, side)
        return checked(Fill(self._account.name, ts, recv, *ids, price, size, fee, currency))

    def _position(self, row: Row, pair: str, recv: int) -> Position:
        """A position, or one leg of it in hedge mode."""
        size, leg = row["size"] or "0", _LEGS[row.get("positionIdx", "")]
        check_numbers(size)
        ts = milliseconds(int(row["updatedTime"])) if row.get("updatedTime") else None
        if not Decimal(size):
            return Position(self._account.name, ts, recv, pair, "", "0", "", "", "", None, leg)
        entry, mark = row.get("entryPrice") or row.get("avgPrice", ""), row.get("markPrice", "")
        profit = row.get("unrealisedPnl", "")
        values = (_HELD[row["side"]], size, entry, mark, profit)
        return checked(Position(self._account.name, ts, recv, pair, *values, None, leg))

    def _balance(self, row: Row, recv: int) -> Balance:
        """A coin of the unified account; what is free is not told for one that margin or a loan is held in."""
        total, locked, name = row["walletBalance"] or "0", row.get("locked") or "0", row["coin"]
        bound = [row.get(what, "") for what in ("totalOrderIM", "totalPositionIM", "spotBorrow")]
        check_values(total, locked, *bound)
        free = f"{EXACT.subtract(Decimal(total), Decimal(locked)):f}"
        if any(Decimal(held or "0") for held in bound):
            free = ""
        return checked(Balance(self._account.name, None, recv, name, free, locked))

    # REST

    def _steps(self) -> Sequence[Step]:
        return (self._sync_orders, self._sync_positions, self._sync_fills, self._sync_balances)

    def _sync_orders(self, now: int) -> Flow[list[Output]]:
        """Open orders, and what has become of those that were."""
        missing = {order_id for _, order_id in self._memory.open_orders}
        rows: list[Row] = []
        name, state, memory = named("orderId"), self._state, self._memory
        for scope in ("openOnly=0", "openOnly=1"):
            for category, coin in _SCOPES if scope == "openOnly=0" or missing else ():
                found = yield from self._list("/v5/order/realtime", category, f"{coin}&{scope}&limit=50", now)
                rows += [row for row in found if scope == "openOnly=0" or name(row) in missing]
            missing.difference_update(map(name, rows))
        pairs = {order_id: pair for pair, order_id in memory.open_orders}

        def look_up(order_id: str) -> Flow[list[Row]]:
            category = self._names.symbol(pairs[order_id])[0]
            found: list[Row] = []
            for either in [category] if category else _CATEGORIES:
                found += yield from self._list("/v5/order/history", either, f"&orderId={quote(order_id)}", now)
            return found

        def read(row: Row) -> Order:
            return self._order(row, now)

        return (yield from settle_orders(state, memory, rows, now, read=read, name=name, look_up=look_up))

    def _sync_positions(self, now: int) -> Flow[list[Output]]:
        rows: list[Row] = []
        for coin in _SETTLED_IN:
            rows += yield from self._list("/v5/position/list", "linear", f"&settleCoin={coin}&limit=200", now)

        def pair(row: Row) -> str:
            return self._pair(row) if named("symbol")(row) else ""

        read = partial(self._read, "position", recv=now)
        return self._state.restate(Channel.POSITIONS, rows, read, now, name=pair)

    def _sync_fills(self, now: int) -> Flow[list[Output]]:
        """The fills since the newest that is known, or of the last day; those that the stream has are repeats."""
        end = max((now + self._rest.clock_offset) // MILLISECOND, self._rest.told) + 1000
        start = max(self._memory.history_since(now) // MILLISECOND, end - _ALL_HISTORY)
        rows: list[Row] = []
        all_there = True
        for category in _CATEGORIES:
            for begin in range(start, end, _WEEK):
                query = f"category={category}&startTime={begin}&endTime={min(begin + _WEEK, end)}&limit=100"
                found, whole = yield from self._rest.pages("/v5/execution/list", query, now, self._account)
                rows += [row | {"category": category} for row in reversed(found)]  # the newest come first
                all_there = all_there and whole
        read = partial(self._read, "execution", recv=now)
        return self._state.restate_fills(rows, read, now, time="execTime", whole=all_there)

    def _sync_balances(self, now: int) -> Flow[list[Output]]:
        answer = yield from self._rest.get("/v5/account/wallet-balance", "accountType=UNIFIED", now, self._account)
        rows = nested_rows(answer.result.get("list", msgspec.Raw(b"[]")), "coin")

        def coin(row: Row) -> str:
            return named("coin")(row) if "walletBalance" in row else ""

        read = partial(self._read, "wallet", recv=now)
        return self._state.restate(Channel.BALANCES, rows, read, now, name=coin)

    def _list(self, path: str, category: str, query: str, now: int) -> Flow[list[Row]]:
        """All rows of one category, which they don't name themselves."""
        rows = yield from self._whole_list(path, f"category={category}{query}", now)
        return [row | {"category": category} for row in rows]
