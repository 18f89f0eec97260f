"""An OKX account: orders and their fills, positions and balances of all markets, over one connection and by REST.

Orders come without a snapshot: the present state is fetched after each connect.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from bridge.exchange_errors import ErrorKind, ReportedError, RestError
from bridge.exchanges.api import (
    ClockReading,
    Credentials,
    Flow,
    HttpResponse,
    Output,
    Reconnect,
    Said,
    Subscription,
)
from bridge.exchanges.okx.public import NAME, Envelope, OkxSession
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.logged_in_session import LoggedInSession
from bridge.exchanges.toolkit.accounts.login import LogIn, refused_by_rest
from bridge.exchanges.toolkit.accounts.margin_modes import MarginModes
from bridge.exchanges.toolkit.accounts.open_orders import settle_orders
from bridge.exchanges.toolkit.accounts.private import PrivateState, Step
from bridge.exchanges.toolkit.pairs.names import Names
from bridge.exchanges.toolkit.rest.rest import TimedRest
from bridge.exchanges.toolkit.sessions.arg_session import Arg
from bridge.exchanges.toolkit.sessions.maintenance import Maintenance
from bridge.exchanges.toolkit.timing.clocks import millis_reading
from bridge.exchanges.toolkit.timing.times import milliseconds
from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait
from bridge.exchanges.toolkit.values.checked import checked
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.exchanges.toolkit.values.fields import Row, decode_rows, first, nested_rows, opposite
from bridge.exchanges.toolkit.values.numbers import (
    SECOND,
    check_ids,
    check_values,
    check_words,
    shortened,
)
from bridge.exchanges.toolkit.values.order_states import OrderStates
from bridge.exchanges.toolkit.values.row_lists import named
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, readable
from bridge.model import Balance, Channel, Event, Fill, Order, Position

__all__ = ["PRIVATE", "AccountSession", "OkxRest", "clock", "sign", "symbol_of"]

PRIVATE = {
    "orders": (Channel.ORDERS, Channel.FILLS),
    "positions": (Channel.POSITIONS,),
    "account": (Channel.BALANCES,),
}
"""Topic → channels: a fill is part of its order's message. (``fills`` is for large traders, and tells no fees.)"""
_EVENTS_ONLY = '{"updateInterval":"0"}'
"""A text that holds JSON; without it, all is said again every five seconds."""
_ARGS: dict[str, Arg] = {
    "orders": {"channel": "orders", "instType": "ANY"},
    "positions": {"channel": "positions", "instType": "ANY", "extraParams": _EVENTS_ONLY},
    "account": {"channel": "account", "extraParams": _EVENTS_ONLY},
}
_LIMIT = 100
"""Rows of a page."""
_DAY = 24 * 3600 * 1000
_RECENT = 3 * _DAY - 3600 * 1000
"""Milliseconds that the quick list of fills reaches back; an hour less than it says."""
_ALL_HISTORY = 90 * _DAY
_TYPES = ("SPOT", "MARGIN", "SWAP", "FUTURES", "OPTION")
_NO_SUCH_ORDER, _NO_SUCH_INSTRUMENT = 51603, 51001
_LATE, _RATES = 50102, (50011, 50061)
_OF_THE_KEY = (50030, 50101, *range(50103, 50121))
"""Codes by which REST refuses a key: it is wrong, of another region or of the demo, or may not do this (50030, 50120)."""
_THEIR_TROUBLE = (63999, 64007)
_PAUSE = 2.0
"""Seconds to wait at least where the exchange is asked too often, or is in trouble."""
_STATUS = {"live": "open", "partially_filled": "partially_filled", "filled": "filled"}
_STATUS |= dict.fromkeys(("canceled", "mmp_canceled"), "cancelled")
_SIDES = {"buy": "buy", "sell": "sell"}
_LEGS = {"net": "", "": "", "long": "long", "short": "short"}


def sign(secret: str, text: str) -> str:
    """Base64 of HMAC-SHA256: of ``<seconds>GET/users/self/verify`` to log in, of ``<time>GET<path and query>`` for a call."""
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()).decode()


def symbol_of(pair: str) -> str:
    """The exchange's name of a pair by its convention: ``BTC-USDT-SWAP`` of ``BTC-USDT-PERP``."""
    return f"{pair.removesuffix('-PERP')}-SWAP" if pair.endswith("-PERP") else pair


class _Answer(Struct):
    code: str | int
    msg: str = ""
    data: Raw = Raw(b"[]")

    @property
    def number(self) -> int:
        return int(self.code) if str(self.code).isdecimal() else -1


_decode_answer: Callable[[bytes], _Answer] = msgspec.json.Decoder(_Answer).decode


def clock() -> Flow[ClockReading]:
    """The exchange's time: ``{"code":"0","data":[{"ts":"1597026383085"}],"msg":""}``; errors as `millis_reading`'s."""
    return millis_reading(NAME, "/api/v5/public/time", "data", 0, "ts")


class OkxRest(TimedRest[_Answer]):
    """The REST calls, public and signed: ``{"code":"0","msg":"","data":[…]}``; the code may be a number."""

    def __init__(self, *, demo: bool = False) -> None:
        super().__init__(late=(_LATE,))
        self.headers = {"x-simulated-trading": "1"} if demo else {}

    def _sign(self, account: Credentials, at: str, path: str, query: str) -> dict[str, str]:
        seconds, thousandths = divmod(int(at), 1000)
        stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{thousandths:03d}Z"
        called = f"{path}?{query}" if query else path
        return {
            "OK-ACCESS-KEY": account.api_key,
            "OK-ACCESS-SIGN": sign(account.api_secret, f"{stamp}GET{called}"),
            "OK-ACCESS-TIMESTAMP": stamp,
            "OK-ACCESS-PASSPHRASE": account.passphrase,
        }

    def _read(self, path: str, response: HttpResponse) -> _Answer:
        with suppress(TypeError, ValueError, OverflowError):
            self.told = int(parsedate_to_datetime(response.headers.get("date", "")).timestamp()) * 1000
        try:
            answer = _decode_answer(readable(response.body))
        except UNREADABLE:
            raise _failure(path, response, _Answer("", "not an answer of this API")) from None
        if response.status >= 400 or answer.number:
            raise _failure(path, response, answer)
        return answer

    def _page(self, answer: _Answer) -> tuple[list[Row], str]:
        rows = decode_rows(answer.data)
        last = first(rows[-1], "billId", "ordId") if len(rows) >= _LIMIT else ""
        return rows, f"&after={quote(last)}" if last else ""


def _failure(path: str, response: HttpResponse, answer: _Answer) -> RestError:
    """What is wrong, and how many seconds the exchange wants to be left alone."""
    status, code = response.status, answer.number
    wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
    words = f"{answer.code} {answer.msg}".strip()
    kind = None
    if code in _RATES or status == 429:
        kind, wait = ErrorKind.REST_RATE_LIMITED, max(wait or 0.0, _PAUSE)
    elif code in _OF_THE_KEY:
        kind = ErrorKind.REST_LOGIN_REFUSED
    return RestError(NAME, path, status, words, wait, code=code if code > 0 else None, kind=kind)


class AccountSession(LoggedInSession, OkxSession):
    """Log-in, the three private topics, and what REST says of the time before."""

    def __init__(
        self,
        url: str,
        account: Credentials,
        *,
        rest: OkxRest,
        names: Names,
        contracts: Contracts,
        memory: AccountMemory,
        maintenance: Maintenance,
    ) -> None:
        streams = {topic: [Subscription(channel, account.name) for channel in PRIVATE[topic]] for topic in PRIVATE}
        super().__init__(url, _ARGS, streams, maintenance)
        self._account = account
        self._rest: OkxRest = rest
        self._names = names
        self._contracts = contracts
        self._memory = memory
        self._login = LogIn(NAME, memory, self._log_in)
        self._state = PrivateState(
            self, NAME, account.name, memory, steps=self._steps, failed=self._rest_failed, orders=OrderStates()
        )
        self._fetched: bool | None = None
        """Whether REST has answered; ``None`` before it is asked."""
        self._modes = MarginModes(lambda pair, size: contracts.exact(pair, size)[0])

    def _log_in(self, _: str, now: int) -> str:
        """The message: ``{"op":"login","args":[{"apiKey":"…","passphrase":"…","timestamp":"1704876947","sign":"…"}]}``."""
        at = str((now + self._rest.clock_offset) // SECOND)
        signature = sign(self._account.api_secret, f"{at}GET/users/self/verify")
        arg = {"apiKey": self._account.api_key, "passphrase": self._account.passphrase, "timestamp": at}
        return msgspec.json.encode({"op": "login", "args": [{**arg, "sign": signature}]}).decode()

    def tick(self, now: int) -> Sequence[Output]:
        return [*super().tick(now), *self._catch_up(now)]

    def _answer(self, message: Envelope, recv: int) -> list[Output]:
        """``{"event":"login","code":"0","msg":"","connId":"a4d3ae55"}``, or an ``error`` in its place."""
        if message.event == "login" and not message.number:
            self._login.accepted()
            return self._begin(recv)
        if message.event in ("login", "error") and self._login.awaited:
            if message.number in _THEIR_TROUBLE:
                said = Said(ReportedError(NAME, message.msg, code=message.code))
                return [said, Reconnect(message.words, _PAUSE)]
            return self._login.refused(message.msg, recv, message.code)
        if message.event == "subscribe" and self._fetched is not None:
            self._state.want(recv)  # it was not served for a while
        return [*super()._answer(message, recv), *self._catch_up(recv)]

    def _catch_up(self, now: int) -> list[Output]:
        """Once all topics are answered, and not before: what happens from then on comes over the connection."""
        if self._fetched is not None or self._login.awaited or not self._topics.answered or not self._topics.settled:
            return []
        self._fetched = False
        return self._state.begin(now)

    def _settle(self, *args: Any, **more: Any) -> list[Output]:
        """It may not take over before REST has shown whether the key is good for that, too."""
        out = super()._settle(*args, **more)
        self.ready = self.ready and bool(self._fetched)
        return out

    def _has_answered(self) -> None:
        self._fetched = True
        self.ready = self._topics.settled

    def _time(self) -> Flow[int]:
        return (yield from clock()).at

    def _rows(self, message: Envelope) -> list[Row]:
        return nested_rows(message.data, "details")

    def _read(self, topic: str, row: Row, recv: int) -> list[Event]:
        """What a row of a topic, or of a list by REST (``order``, ``fills``), says.

        Raises:
            one of `WRONG`: it can't be understood.
        """
        if topic == "account":
            return [self._balance(row, recv)]
        pair = self._pair(row)
        if topic == "positions":
            return [] if row["instType"] == "MARGIN" else [self._position(row, pair, recv)]
        if topic == "fills":
            return [self._fill(row, pair, recv)]
        # An order may end as filled without a fill.
        is_fill = topic == "orders" and row.get("tradeId") and Decimal(row["fillSz"] or "0")
        return [*([self._fill(row, pair, recv)] if is_fill else []), self._order(row, pair, recv)]

    def _pair(self, row: Row) -> str:
        """The pair of a row; one that wasn't listed at the start has its name by convention."""
        symbol = row["instId"]
        check_ids(symbol)
        pair = self._names.pair("", symbol)
        return f"{pair.removesuffix('-SWAP')}-PERP" if pair.endswith("-SWAP") else pair

    def _order(self, row: Row, pair: str, recv: int) -> Order:
        """An order's newest state. The size of one for money isn't known; on margin, each market order to buy is one.

        ``{"instType":"SPOT","instId":"BTC-USDT","ordId":"3122","clOrdId":"b1","px":"999","sz":"3","tgtCcy":"","side":"buy",
        "ordType":"limit","state":"live","accFillSz":"0","tradeId":"","fillSz":"0","uTime":"1597026383085"}``
        """
        order_id, client_id, kind, side = row["ordId"], row.get("clOrdId", ""), row["ordType"], _SIDES[row["side"]]
        price = "" if kind == "market" else row["px"]
        on_margin = row.get("instType") == "MARGIN" and (kind, side) == ("market", "buy")
        in_money = row.get("tgtCcy") == "quote_ccy" or (on_margin and row.get("tgtCcy") != "base_ccy")
        size, contracts = ("", "") if in_money else self._contracts.exact(pair, row["sz"])
        filled, _ = self._contracts.exact(pair, row["accFillSz"] or "0")
        ts, status = milliseconds(row["uTime"]), _STATUS.get(row["state"], "")
        if not status:
            status = "open" if Decimal(row["accFillSz"] or "0") < Decimal(row["sz"]) else "filled"
            self._state.remark(f"an order is {shortened(row['state'])}, which is not known; it is taken to be {status}")
        name = self._account.name
        ids = (order_id, client_id, pair, kind, side)
        return checked(Order(name, ts, recv, *ids, price, size, filled, status, contracts))

    def _fill(self, row: Row, pair: str, recv: int) -> Fill:
        """A fill: part of its order's message, or a row by REST; charged fees are below zero, ``fee`` in an order is of all.

        ``{"instId":"BTC-USDT","tradeId":"1","ordId":"3122","fillPx":"999","fillSz":"1","side":"buy","fillFee":"-0.01",
        "fillFeeCcy":"USDT","fillTime":"1597026383085"}``
        """
        fill_id, order_id, price, side = row["tradeId"], row["ordId"], row["fillPx"], _SIDES[row["side"]]
        kind = "fillFee" if "fillFee" in row else "fee"
        fee, currency = row.get(kind, ""), row.get(f"{kind}Ccy", "")
        size, contracts = self._contracts.exact(pair, row["fillSz"])
        ts, name = milliseconds(row["fillTime"]), self._account.name
        ids = (fill_id, order_id, pair, side)
        return checked(Fill(name, ts, recv, *ids, price, size, opposite(fee), currency, contracts))

    def _position(self, row: Row, pair: str, recv: int) -> Position:
        """A position, or one leg of it; ``pos`` is signed in net mode. Cross and isolated ones are apart, and are summed.

        ``{"instType":"SWAP","instId":"BTC-USDT-SWAP","posSide":"long","pos":"1","avgPx":"3320","markPx":"3353.8","upl":"0.3",
        "mgnMode":"isolated","uTime":"1619507761462"}``
        """
        leg, contracts, mode = _LEGS[row["posSide"]], row["pos"] or "0", row["mgnMode"]
        check_values(contracts)
        check_words(mode)
        ts = milliseconds(row["uTime"]) if row.get("uTime") else None
        side = leg or ("short" if contracts.startswith("-") else "long")
        size, contracts = self._contracts.exact(pair, contracts.removeprefix("-"))
        entry, mark, profit, name = row.get("avgPx", ""), row.get("markPx", ""), row.get("upl", ""), self._account.name
        flat = Position(name, ts, recv, pair, "", "0", "", "", "", "0", leg)
        held = checked(Position(name, ts, recv, pair, side, size, entry, mark, profit, contracts, leg))
        whole, summed = self._modes.whole(held if Decimal(contracts or "0") else flat, mode)
        if summed:
            self._state.remark(f"{pair} has a cross and an isolated position: they are summed")
        return whole

    def _balance(self, row: Row, recv: int) -> Balance:
        """A currency: ``{"ccy":"BTC","cashBal":"1","availBal":"0.9","frozenBal":"0.1","uTime":"1705564223311"}``."""
        ts = milliseconds(row["uTime"]) if row.get("uTime") else None
        return checked(Balance(self._account.name, ts, recv, row["ccy"], row["availBal"], row.get("frozenBal", "")))

    # REST

    def _steps(self) -> Sequence[Step]:
        return (self._sync_orders, self._sync_positions, self._sync_fills, self._sync_balances)

    def _rest_failed(self, error: RestError) -> list[Output]:
        if error.kind is not ErrorKind.REST_LOGIN_REFUSED:
            self._has_answered()  # the connection's own data goes on
        return refused_by_rest(error)

    def _sync_orders(self, now: int) -> Flow[list[Output]]:
        """Open orders, and what has become of those that were; one that was cancelled unfilled is forgotten after hours."""
        rows = yield from self._whole_list("/api/v5/trade/orders-pending", f"limit={_LIMIT}", now)
        self._has_answered()
        pairs = {order_id: pair for pair, order_id in self._memory.open_orders}

        def look_up(order_id: str) -> Flow[list[Row]]:
            symbol = self._names.symbol(pairs[order_id])[1] or symbol_of(pairs[order_id])
            query = f"instId={quote(symbol)}&ordId={quote(order_id)}"
            try:
                return decode_rows((yield from self._rest.get("/api/v5/trade/order", query, now, self._account)).data)
            except RestError as error:
                if error.code == _NO_SUCH_INSTRUMENT:
                    self._state.remark(f"{symbol} is not listed any more: how its orders have ended is not known")
                elif error.code != _NO_SUCH_ORDER:
                    raise
                return []

        def read(row: Row) -> Order:
            return self._order(row, self._pair(row), now)

        state, memory = self._state, self._memory
        return (yield from settle_orders(state, memory, rows, now, read=read, name=named("ordId"), look_up=look_up))

    def _sync_positions(self, now: int) -> Flow[list[Output]]:
        rows = yield from self._whole_list("/api/v5/account/positions", "", now)
        self._modes.begin(now)

        def pair(row: Row) -> str:
            return self._pair(row) if named("instId")(row) else ""

        read = partial(self._read, "positions", recv=now)
        return self._state.restate(Channel.POSITIONS, rows, read, now, name=pair)

    def _sync_fills(self, now: int) -> Flow[list[Output]]:
        """The fills since the newest that is known, or of the last day; those that the stream has are repeats."""
        end = max((now + self._rest.clock_offset) // 10**6, self._rest.told)
        start = max(self._memory.history_since(now) // 10**6, end - _ALL_HISTORY)
        calls = [("/api/v5/trade/fills", f"begin={start}&limit={_LIMIT}")]
        if start < end - _RECENT:
            calls = [
                ("/api/v5/trade/fills-history", f"instType={kind}&begin={start}&limit={_LIMIT}") for kind in _TYPES
            ]
        rows: list[Row] = []
        all_there = True
        for path, query in calls:
            found, whole = yield from self._rest.pages(path, query, now, self._account)
            rows += reversed(found)  # the newest come first
            all_there = all_there and whole
        read = partial(self._read, "fills", recv=now)
        return self._state.restate_fills(rows, read, now, time="fillTime", whole=all_there)

    def _sync_balances(self, now: int) -> Flow[list[Output]]:
        answer = yield from self._rest.get("/api/v5/account/balance", "", now, self._account)
        rows, read = nested_rows(answer.data, "details"), partial(self._read, "account", recv=now)
        return self._state.restate(Channel.BALANCES, rows, read, now, name=named("ccy"))
