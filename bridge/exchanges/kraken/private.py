"""A Kraken account over REST and WebSocket: orders and fills as they happen, balances by REST.

The channel ``balances`` tells totals only, and nothing when an order reserves something: it says when to ask.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from bridge.exchange_errors import ErrorKind, ReportedError, RestError
from bridge.exchanges.api import (
    Credentials,
    Flow,
    HttpResponse,
    Output,
    Reconnect,
    Restated,
    Said,
    Subscription,
    Target,
)
from bridge.exchanges.kraken.public import NAME, WORDING, Envelope, KrakenSession
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.private import PrivateState, StateFetch
from bridge.exchanges.toolkit.pairs.told_names import ToldNames
from bridge.exchanges.toolkit.rest.rest import NoncedRest
from bridge.exchanges.toolkit.timing.refresh import APART, Refresh
from bridge.exchanges.toolkit.timing.times import UtcTimes, unix_ns
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT
from bridge.exchanges.toolkit.values.fields import (
    Row,
    decode_rows,
    difference,
    fields_of,
    inner_rows,
    keyed_rows,
    total,
)
from bridge.exchanges.toolkit.values.numbers import (
    MILLISECOND,
    SECOND,
    check_amounts,
    check_ids,
    check_numbers,
    check_values,
    check_words,
)
from bridge.exchanges.toolkit.values.orders import SparseOrders
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, readable
from bridge.model import Balance, Channel, Event, Fill, Order

__all__ = ["CODES", "PRIVATE", "AccountSession", "KrakenRest", "currency", "sign"]

PRIVATE = frozenset({Channel.ORDERS, Channel.FILLS, Channel.BALANCES})
_STREAMS = {"executions": (Channel.ORDERS, Channel.FILLS), "balances": (Channel.BALANCES,)}
_PRIVATE_PATH = "/0/private/"
_SIDES = {"buy": "buy", "sell": "sell", "": ""}
_OF_HISTORY = 4
"""What a page of the history counts for; other calls count for one."""
_PAGE, _MOST_PAGES, _MOST_LOOKED_UP = 50, 20, 50
"""Fills of a page, pages, orders of one question."""
_JUST_PLACED = 10 * SECOND
"""For so long REST may not know of an order."""
_TOO_MANY = "the exchange lists more fills since the last one known than are asked for"
_STATUS = {
    **dict.fromkeys(("pending_new", "new", "pending", "open"), "open"),
    "partially_filled": "partially_filled",
    **dict.fromkeys(("filled", "closed"), "filled"),
    **dict.fromkeys(("canceled", "expired"), "cancelled"),
}
"""Status of the channel ``executions`` and of REST → ours. An order that is refused has no event."""
_LIMIT_IN = {
    **dict.fromkeys(("limit", "iceberg"), "price"),
    **dict.fromkeys(("stop-loss-limit", "take-profit-limit", "trailing-stop-limit"), "price2"),
}
"""Kind → which of REST's prices is its limit. Others have none: their price is what triggers them."""
_RELATIVE = re.compile(r"[+#-].*|.*%").fullmatch
"""A limit that is told as its distance from another price: ``+1.5%``, ``-300.0``."""
CODES = {f"X{code}": code for code in ("ETC", "ETH", "LTC", "MLN", "REP", "XLM", "XMR", "XRP", "ZEC")}
CODES |= {f"Z{code}": code for code in ("AUD", "CAD", "EUR", "GBP", "JPY", "USD")}
CODES |= dict.fromkeys(("XXBT", "XBT"), "BTC") | dict.fromkeys(("XXDG", "XDG"), "DOGE")
"""REST's codes of currencies. Others begin with an X or a Z by nature."""
_OURS = "User requested"
"""The reason of an order's end that nobody has to be told."""
_THROTTLED_UNTIL = re.compile(r"Throttled: ([0-9]{1,12})").search


def currency(code: str) -> str:
    """A currency as the WebSocket has it: ``XXBT`` is ``BTC``; of ``XBT.F``, a form of holding it, ``BTC.F``."""
    name, dot, form = code.partition(".")
    return f"{CODES.get(name, name)}{dot}{form}"


def sign(secret: str, path: str, nonce: str, body: str) -> str:
    """Base64 of the HMAC-SHA512, by the decoded secret, of the path and the SHA-256 of nonce and body."""
    text = path.encode() + hashlib.sha256(f"{nonce}{body}".encode()).digest()
    return base64.b64encode(hmac.new(base64.b64decode(secret), text, hashlib.sha512).digest()).decode()


class KrakenRest(NoncedRest[msgspec.Raw]):
    """The REST calls, public and signed: ``{"error":[],"result":{…}}``."""

    def __init__(self) -> None:
        super().__init__(MILLISECOND, "EAPI:Invalid nonce")

    def rows(self, path: str, result: msgspec.Raw, key: str = "", name: str = "") -> list[Row]:
        """The rows of a result, or of an object in it (``name``); ``key`` is where the names of objects go.

        Raises:
            RestError: it is something else.
        """
        try:
            inner = fields_of(result)[name] if name else result
            return keyed_rows(inner, key) if key else decode_rows(inner)
        except (*UNREADABLE, LookupError):
            raise RestError(NAME, path, 200, "not the answer to this call") from None

    def _sign(self, account: Credentials, path: str, nonce: str, body: str) -> dict[str, str]:
        return {"API-Key": account.api_key, "API-Sign": sign(account.api_secret, path, nonce, body)}

    def _read(self, path: str, response: HttpResponse) -> msgspec.Raw:
        """What comes as ``result``; an ``error`` that begins with W is a warning."""
        try:
            fields = fields_of(readable(response.body))
            said = msgspec.json.decode(fields.get("error", b"[]"), type=list[str])
        except UNREADABLE:
            raise RestError(NAME, path, response.status, "not an answer of this API") from None
        errors = ", ".join(text for text in said if not text.startswith("W"))
        if errors or response.status >= 400 or "result" not in fields:
            until = _THROTTLED_UNTIL(errors)
            raise WORDING.by_rest(path, response, errors, until[1] if until else "")
        return fields["result"]


class AccountSession(KrakenSession):
    """The private channels, subscribed with a token by REST, and what only REST has."""

    _secret_requests = True

    def __init__(
        self, url: str, account: Credentials, rest: KrakenRest, names: ToldNames, memory: AccountMemory
    ) -> None:
        super().__init__(url, {topic: [Subscription(c, account.name) for c in fed] for topic, fed in _STREAMS.items()})
        self._account = account
        self._rest = rest
        self._names = names
        self._memory = memory
        self._wanted["executions"] = {"snap_orders": True, "snap_trades": True, "order_status": True}
        self._orders = SparseOrders(memory.open_orders.values())
        self._times = UtcTimes()
        steps = (self._sync_orders, self._sync_fills, self._sync_balances)
        self._state = PrivateState(self, NAME, account.name, memory, steps=lambda: steps, failed=self._rest_failed)
        self._wallet = StateFetch(self, account.name, "balances", steps=lambda: steps[-1:], refresh=Refresh(APART))

    def open(self, now: int) -> Flow[Target]:
        """A token is to be used within 15 minutes, and holds as long as the connection: each has its own.

        ``{"error":[],"result":{"token":"…","expires":900}}``
        """
        path = f"{_PRIVATE_PATH}GetWebSocketsToken"
        result = yield from self._rest.post(self._account, path, now)
        token = "".join(row.get("token", "") for row in self._rest.rows(path, result))
        if not token:
            raise RestError(NAME, path, 200, "the answer holds no token")
        self._known_by.update({topic: {"token": token} for topic in _STREAMS})
        return Target(self._url, self._url)

    def tick(self, now: int) -> Sequence[Output]:
        return [*super().tick(now), *self._state.tick(now), *self._wallet.tick(now)]

    def rejected(self, recv: int) -> Sequence[Output]:
        """What was in the frame is fetched by REST."""
        self._state.want(recv)
        return super().rejected(recv)

    def _settle(self, served: Any, refused: Any, now: int, *, told: bool = False) -> list[Output]:
        """It is ready once REST has been asked, too: that shows what the key may not do."""
        fresh = list(served)
        out = super()._settle(fresh, refused, now, told=told)
        self.ready = self._state.tried and self._topics.settled
        return [*out, *(self._state.begin(now) if "executions" in fresh else ())]

    def _denied(self, topics: Sequence[str], words: str, ident: str, recv: int) -> list[Output]:
        """The key, or the token, is refused: the exchange leaves the connection open, which is of no more use."""
        kind = WORDING.kind(words)
        if kind is ErrorKind.LOGIN_REFUSED:
            return self._locked_out(words)
        if kind is not ErrorKind.SESSION_EXPIRED:
            return super()._denied(topics, words, ident, recv)
        return [Said(WORDING.reported(words)), Reconnect(f"the token is refused: {words}")]

    def _locked_out(self, words: str) -> list[Output]:
        error = ReportedError(NAME, words, ErrorKind.LOGIN_REFUSED)
        return [Said(error), Reconnect(f"the log-in is refused: {error.words}", LONG_WAIT)]

    def _rest_failed(self, error: RestError) -> list[Output]:
        return self._locked_out(error.message) if error.kind is ErrorKind.REST_LOGIN_REFUSED else []

    def _data(self, topic: str, message: Envelope, recv: int) -> list[Output]:
        replay, number = message.type == "snapshot", message.sequence
        if number is not None and not replay and self._repeated(topic, number):
            return []
        self._wallet.want(recv)
        missed = [] if number is None else self._followed(topic, number, recv, begins=replay)
        if missed:
            self._state.want(recv)
        if topic == "balances":
            return missed
        return [*missed, *self._take(decode_rows(message.data), recv, replay=replay)]

    def _take(self, rows: Sequence[Row], recv: int, *, replay: bool) -> list[Output]:
        """What rows say; of trades that happened before only those that the stream may not have, as they are history."""
        old = [row for row in rows if replay and row.get("exec_type") == "trade"]
        fills = [self._fill(row, recv) for row in old]
        read = [event for row in rows if row not in old for event in self._read(row, recv)]
        # All rows can be read: only now it is learnt what they say.
        told = [self._orders.told(event) if isinstance(event, Order) else event for event in read]
        if self._orders.unknown:
            self._state.want(recv)
        since = self._memory.history_since(recv)
        known = [fill for fill in fills if (fill.ts or 0) >= since]
        news = self._state.news([event for event in told if event])
        why = [row for row in rows if not replay and row.get("reason", "") not in ("", _OURS)]
        said = [Said(WORDING.reported(row["reason"], f"order {row['order_id']}")) for row in why]
        return [*([Restated(Channel.FILLS, self._account.name, known, recv)] if known else ()), *said, *news]

    def _salvage(self, topic: str, message: Any, frame: bytes, *, recv: int, error: Exception) -> list[Output]:
        """Row by row; what is missing is fetched by REST."""
        self._state.want(recv)
        if message is None or topic == "balances":
            return super()._salvage(topic, message, frame, recv=recv, error=error)

        def take(row: Row) -> list[Output]:
            return self._take([row], recv, replay=message.type == "snapshot")

        return self._each(topic, decode_rows(message.data), take, frame, recv)

    def _read(self, row: Row, recv: int) -> list[Event]:
        """An event of an order, and maybe its fill.

        ``{"order_id":"OK4GJX-KSTLS-7DZZO5","exec_id":"TGBB7L-HT5LX-J3BZ4A","exec_type":"trade","symbol":"BTC/USD","side":
        "sell","last_qty":0.005,"last_price":26599.9,"order_status":"partially_filled","cum_qty":0.005,"fees":[{"asset":
        "USD","qty":0.3458}],…}``; others have no more than ``order_id``, ``order_status`` and ``timestamp``.
        """
        fill = [self._fill(row, recv)] if row.get("exec_type") == "trade" else []
        return [*fill, self._order(row, recv)]

    def _order(self, row: Row, recv: int) -> Order:
        """What an event says of its order; the rest is empty.

        ``partially_filled`` comes with the trade that fills an order, too; ``filled`` follows by itself. A limit is a
        price where ``limit_price_type`` is ``static``; a distance, in the quote currency or in percent, is none.
        """
        status, ts = row.get("order_status") or row["exec_type"], self._times.known(row.get("timestamp"))
        kind, side, price, size, filled = (
            row.get(name, "") for name in ("order_type", "side", "limit_price", "order_qty", "cum_qty")
        )
        price = price if row.get("limit_price_type", "") in ("", "static") else ""
        client_id = row.get("cl_ord_id") or row.get("order_userref", "").lstrip("0")
        filled = filled or ("0" if status == "pending_new" else "")
        pair = self._pair(row.get("symbol", ""))
        return self._checked(ts, recv, row["order_id"], client_id, pair, kind, side, price, size, filled, status)

    def _pair(self, symbol: str) -> str:
        return self._names.pair("", symbol).replace("/", "-")

    def _checked(self, ts: int | None, recv: int, *words: str) -> Order:
        """An order by its fields; ``0`` is no price."""
        order_id, client_id, pair, kind, side, price, size, filled, status = words
        check_ids(order_id, pair or order_id)
        check_words(client_id, kind)
        check_amounts(price, size, filled)
        pair = self._names.kept(pair, order_id)
        order = (order_id, client_id, pair, kind, _SIDES[side], price if price.strip("0.") else "", size, filled)
        return Order(self._account.name, ts, recv, *order, _STATUS[status])

    def _fill(self, row: Row, recv: int) -> Fill:
        fees = [(fee["qty"], fee["asset"]) for fee in inner_rows(row, "fees")]
        pair, ts = self._pair(row["symbol"]), self._times.known(row["timestamp"])
        words = (row["exec_id"], row["order_id"], pair, row["side"], row["last_price"], row["last_qty"])
        return self._filled(ts, recv, fees, *words)

    def _filled(self, ts: int | None, recv: int, fees: Sequence[tuple[str, str]], *words: str) -> Fill:
        fill_id, order_id, pair, side, price, size = words
        check_ids(fill_id, order_id, pair, *(asset for _, asset in fees))
        check_numbers(price, size)
        check_values(*(amount for amount, _ in fees))
        pair = self._names.kept(pair, fill_id, order_id)
        (fee, asset), every = (fees or [("", "")])[0], " ".join(map(":".join, fees))
        ours = (self._account.name, ts, recv, fill_id, order_id, pair, _SIDES[side], price, size, fee, asset)
        return Fill(*ours, fees=every)

    def _list(self, method: str, now: int, key: str, name: str = "", weight: int = 1, **more: Any) -> Flow[list[Row]]:
        path = f"{_PRIVATE_PATH}{method}"
        result = yield from self._rest.post(self._account, path, now, weight, **more)
        return self._rest.rows(path, result, key, name)

    def _sync_orders(self, now: int) -> Flow[list[Output]]:
        """Open orders, and what has become of those that were; one that was just placed may be missing."""
        rows = yield from self._list("OpenOrders", now, "order_id", "open")
        listed = {row["order_id"] for row in rows}
        known = {order_id for _, order_id in self._memory.open_orders} | self._orders.unknown
        missing = sorted(known - listed)
        for start in range(0, len(missing), _MOST_LOOKED_UP):
            asked = ",".join(missing[start : start + _MOST_LOOKED_UP])
            rows += yield from self._list("QueryOrders", now, "order_id", txid=asked)
        self._orders.unknown.difference_update(listed, missing)
        self._memory.forget_orders([row["order_id"] for row in rows], now - _JUST_PLACED)
        return self._state.restate(
            Channel.ORDERS,
            rows,
            lambda row: [self._listed(row, now)],
            now,
            lambda event: event.recv < now - _JUST_PLACED,
            name=lambda row: row.get("order_id", ""),
        )

    def _listed(self, row: Row, now: int) -> Order:
        """An order as REST has it; with ``viqc`` among its ``oflags``, ``vol`` is an amount of the quote currency.

        ``{"status":"open","descr":{"pair":"XBTUSD","type":"sell","ordertype":"limit","price":"26500.0",…},"vol":"0.005",…}``
        """
        [what] = inner_rows(row, "descr")
        kind, pair = what["ordertype"], self._names.by_rest(what["pair"], row["order_id"])
        price = what[_LIMIT_IN[kind]] if kind in _LIMIT_IN else ""
        price = "" if _RELATIVE(price) else price
        client_id = row.get("cl_ord_id") or row.get("userref", "").lstrip("0")
        ts, filled = unix_ns(row["closetm"]) if row.get("closetm") else None, row["vol_exec"]
        size = "" if "viqc" in row.get("oflags", "").split(",") else row["vol"]
        words = (row["order_id"], client_id, pair, kind, what["type"], price, size, filled, row["status"])
        return self._orders.listed(self._checked(ts, now, *words))

    def _sync_fills(self, now: int) -> Flow[list[Output]]:
        """The fills since the newest that is known, or of the last day; those that the stream has are repeats."""
        start = self._memory.history_since(now) // SECOND
        rows: dict[str, Row] = {}
        how: dict[str, Any] = {"type": "all", "trades": "false", "consolidate_taker": "false", "start": start}
        whole = False
        for page in range(_MOST_PAGES):
            how["ofs"] = page * _PAGE
            found = yield from self._list("TradesHistory", now, "fill_id", "trades", _OF_HISTORY, **how)
            rows |= {row["fill_id"]: row for row in found}
            if whole := len(found) < _PAGE:
                break
        ordered = sorted(rows.values(), key=lambda row: row.get("time", ""))
        missed = [] if whole else self._state.gap(Channel.FILLS, now, _TOO_MANY)
        return [*missed, *self._state.restate(Channel.FILLS, ordered, lambda row: [self._traded(row, now)], now)]

    def _traded(self, row: Row, now: int) -> Fill:
        """A fill as REST has it; the fee is in the quote currency.

        ``{"ordertxid":"OQCLML-…","pair":"XXBTZUSD","time":1688667796.8802,"type":"buy","price":"30010.00000","fee":"0.15",…}``
        """
        pair = self._names.by_rest(row["pair"], row["fill_id"], row["ordertxid"])
        fees = [(row["fee"], quote)] if (quote := pair.partition("-")[2]) else []
        words = (row["fill_id"], row["ordertxid"], pair, row["type"], row["price"], row["vol"])
        return self._filled(unix_ns(row["time"]), now, fees, *words)

    def _sync_balances(self, now: int) -> Flow[list[Output]]:
        rows = yield from self._list("BalanceEx", now, "asset")
        return self._state.restate(Channel.BALANCES, rows, lambda row: [self._balance(row, now)], now)

    def _balance(self, row: Row, now: int) -> Balance:
        """``{"balance":"100.50","hold_trade":"20.25","credit":"0","credit_used":"0"}``: orders on margin hold nothing."""
        held = row.get("hold_trade") or "0"
        free = difference(
            total([row["balance"], row.get("credit") or "0"]), total([row.get("credit_used") or "0", held])
        )
        check_words(row["asset"])
        return Balance(self._account.name, None, now, currency(row["asset"]), free, held)
