"""Binance accounts: orders, fills and balances of spot, and of USD-M futures positions, too.

Nothing is sent on subscribing and nothing comes again after a cut, so the present state is fetched by REST after each
connect. Ids of orders and fills count for each symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from bridge.exchange_errors import ErrorKind, ReportedError, RestError
from bridge.exchanges.api import (
    Flow,
    Output,
    Poll,
    Reconnect,
    Replace,
    Said,
    Target,
    Unknown,
)
from bridge.exchanges.binance.rest import KEY_REFUSED, LATE, UNSURE, WINDOW, BinanceAccount, time_of
from bridge.exchanges.toolkit.accounts.event_session import EventSession, Part, nested_rows
from bridge.exchanges.toolkit.accounts.login import LogIn
from bridge.exchanges.toolkit.accounts.private import Step
from bridge.exchanges.toolkit.rest.windows import in_windows
from bridge.exchanges.toolkit.sessions.coded_errors import CodedError, in_words
from bridge.exchanges.toolkit.timing.timers import Renewal
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT
from bridge.exchanges.toolkit.values.checked import checked
from bridge.exchanges.toolkit.values.fields import Row
from bridge.exchanges.toolkit.values.numbers import MILLISECOND, check_values, id_or_empty
from bridge.model import Balance, Channel, Event, Fill, Order, Position

__all__ = ["SpotSession", "UsdmSession"]

_DAY = 24 * 3600 * 1000
_NO_LISTEN_KEY, _SUBSCRIBED = -1125, -2035
_UNKNOWN_ORDER, _UNKNOWN_SYMBOL = (-2013, -2026), (-1100, -1121)
_KEEP = 30 * 60.0
"""Seconds between two renewals of a listen key, which lasts an hour."""
_MOST_LOOKED_UP, _PAGE = 50, 1_000
_STATUS = {
    **dict.fromkeys(("NEW", "PENDING_NEW", "PENDING_CANCEL", "NEW_INSURANCE", "NEW_ADL"), "open"),
    **{state: state.lower() for state in ("PARTIALLY_FILLED", "FILLED", "REJECTED")},
    **dict.fromkeys(("CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"), "cancelled"),
}
_DONE = ("NEW", "CANCELED", "REPLACED", "REJECTED", "TRADE", "EXPIRED", "TRADE_PREVENTION", "CALCULATED", "AMENDMENT")
_SIDES = {"BUY": "buy", "SELL": "sell", "true": "buy", "false": "sell"}
_LEGS = {"BOTH": "", "LONG": "long", "SHORT": "short"}
_NO_ENTRY = (
    *("listStatus", "TRADE_LITE", "ACCOUNT_CONFIG_UPDATE", "MARGIN_CALL", "STRATEGY_UPDATE", "GRID_UPDATE"),
    *("ALGO_UPDATE", "CONDITIONAL_ORDER_TRIGGER_REJECT"),
)
"""Known, and of no use here: the orders of a list tell of themselves, conditional ones once they are triggered."""
_CHANGES = ("balanceUpdate", "externalLockUpdate")
_FIELDS = """
    symbol=s side=S isBuyer=S type=o price=p status=X orderId=i clientOrderId=c origQty=q executedQty=z updateTime=T
    id=t qty=l commission=n commissionAsset=N asset=a free=f locked=l
    positionAmt=pa positionSide=ps entryPrice=ep unRealizedProfit=up
"""
"""Fields by REST → the same over a connection."""


class _Session(EventSession):
    """What both markets share: what events and rows say of orders and fills, and what REST is asked of them."""

    fills: ClassVar[str]
    """Path of the fills."""
    days: ClassVar[int]
    """That one question about fills may span."""
    weights: ClassVar[tuple[int, int, int]]
    """Of all open orders, of one order, of fills."""
    names: ClassVar = dict(field.split("=") for field in _FIELDS.split())

    def __init__(self, url: str, account: BinanceAccount, channels: Sequence[Channel]) -> None:
        super().__init__(url, account.market.name, account.name, channels, account.memory)
        self._account = account
        self._rest = account.rest
        self._api = account.market.api

    def _report(self, row: Row, frame: bytes, recv: int) -> list[Output]:
        """What has happened to an order: its whole state, and a fill if it is one; a liquidation has its own word."""
        done, status = row.get("x", ""), row.get("X", "")
        if done not in _DONE or status not in _STATUS:
            self._state.want(recv)
            return [Unknown(f"order {done[:20]} {status[:20]}")]
        parts: list[Part] = [(Channel.ORDERS, partial(self._order, row, recv))]
        if done == "TRADE" or (done == "CALCULATED" and _some(row.get("l", ""))):
            parts.append((Channel.FILLS, partial(self._fill, row, recv)))
        return self._each(frame, recv, parts)

    def _order(self, row: Row, recv: int) -> Order:
        """An order's newest state. On a cancel ``c`` is the cancel's own id, and ``C`` the order's."""
        client_id, kind = row.get("C") or row.get("c", ""), row["o"].lower().replace("limit_maker", "limit")
        ids = (row["i"], client_id, self._account.pair(row), kind, _SIDES[row["S"]])
        amounts = (_some(row["p"]), _some(row["q"]), row["z"])
        return checked(Order(self._name, time_of(row), recv, *ids, *amounts, _STATUS[row["X"]]))

    def _fill(self, row: Row, recv: int) -> Fill:
        """An execution."""
        ids = (row["t"], row["i"], self._account.pair(row), _SIDES[row["S"]])
        amounts = (row["L"], row["l"], row.get("n", ""), row.get("N", ""))
        return checked(Fill(self._name, time_of(row), recv, *ids, *amounts))

    def _sync_orders(self, now: int) -> Flow[list[Output]]:
        """Open orders, and what has become of those that were: of more than are looked up at once, it is asked next time."""
        rows = yield from self._account.rows(f"{self._api}/openOrders", "", now, weight=self.weights[0])
        listed = set(map(self._account.ident, rows))
        missing = [ident for ident in sorted(self._memory.open_orders) if ident not in listed]
        for pair, order_id in missing[:_MOST_LOOKED_UP]:
            query, of_one = f"orderId={order_id}", self.weights[1]
            rows += yield from self._ask("order", pair, query, now, weight=of_one, none=_UNKNOWN_ORDER)
        left = set(missing[_MOST_LOOKED_UP:])
        if left:
            self._state.want(now)

        def covers(event: Event) -> bool:
            return isinstance(event, Order) and (event.pair, event.order_id) not in left

        self._memory.forget_orders(listed | left, now)
        self.ready = True
        return self._restate(Channel.ORDERS, rows, self._order, now, "orderId", covers=covers if left else None)

    def _sync_fills(self, now: int) -> Flow[list[Output]]:
        """The fills of each pair since the newest that is known, or of the last day; those of the stream are repeats."""
        ahead = max(-self._rest.clock_offset, 0)  # what is known may be of our clock, fills have the exchange's time
        start = max(self._memory.history_since(now) - ahead, 0) // MILLISECOND
        end = self._rest.timestamp(now) + 1000
        rows: list[Row] = []
        all_there = True
        for pair in self._account.pairs():
            ask, span = partial(self._ask_fills, pair, now), self.days * _DAY
            found, whole = yield from in_windows(ask, start, end, span=span, most=_PAGE, ident="id", time="time")
            rows, all_there = rows + found, all_there and whole
        rows = [{"T": row.get("time", ""), "L": row.get("price", ""), **row} for row in rows]
        return self._restate_fills(rows, self._fill, now, whole=all_there, time="time")

    def _ask_fills(self, pair: str, now: int, start: int, end: int) -> Flow[list[Row]]:
        query = f"startTime={start}&endTime={end}&limit={_PAGE}"
        return (yield from self._ask(self.fills, pair, query, now, weight=self.weights[2]))

    def _ask(self, call: str, pair: str, query: str, now: int, **more: Any) -> Flow[list[Row]]:
        """The rows of one pair; none where the exchange doesn't list it any more, which an operator should know."""
        symbol = self._account.symbol(pair)
        try:
            if symbol:
                query = f"symbol={quote(symbol)}&{query}"
                return (yield from self._account.rows(f"{self._api}/{call}", query, now, **more))
        except RestError as error:
            if error.code not in _UNKNOWN_SYMBOL:
                raise
        self._state.remark(f"{pair} is not listed any more: its orders and fills are not to be had by REST")
        return []


class SpotSession(_Session):
    """One subscription, signed, over the WebSocket API: it lasts as long as the connection."""

    fills, days, weights = "myTrades", 1, (80, 4, 20)

    def __init__(self, url: str, account: BinanceAccount) -> None:
        super().__init__(url, account, (Channel.ORDERS, Channel.FILLS, Channel.BALANCES))
        self._login = LogIn(self._exchange, account.memory, self._subscription)

    def open(self, now: int) -> Flow[Target]:
        """Where the subscription was refused, our clock may be why."""
        if self._memory.refused:
            with suppress(RestError):
                yield from self._rest.read_clock(now)
        return (yield from super().open(now))

    def connected(self, now: int) -> Sequence[Output]:
        return self._login.begin(now)

    def tick(self, now: int) -> Sequence[Output]:
        return self._login.tick(now) or super().tick(now)

    def _subscription(self, _: str, now: int) -> str:
        """``{"id":1,"method":"userDataStream.subscribe.signature","params":{"apiKey":"…","timestamp":1747385641636,…}}``."""
        key, at = self._rest.account.api_key, self._rest.timestamp(now)
        params: dict[str, Any] = {"apiKey": key, "recvWindow": WINDOW, "timestamp": at}
        params["signature"] = self._rest.signer.sign("&".join(f"{name}={value}" for name, value in params.items()))
        message = {"id": 1, "method": "userDataStream.subscribe.signature", "params": params}
        return msgspec.json.encode(message).decode()

    def _message(self, row: Row, frame: bytes, recv: int) -> Sequence[Output]:
        """An event, or the answer to the subscription; one without id, where the key was revoked meanwhile.

        ``{"subscriptionId":0,"event":{"e":"executionReport",…}}``
        ``{"id":1,"status":200,"result":{"subscriptionId":0}}``
        ``{"id":1,"status":503,"error":{"code":-1008,"msg":"Server is currently overloaded with other requests. …"}}``
        ``{"id":1,"status":418,"error":{"code":-1003,"msg":"…","data":{"serverTime":1659142907531,"retryAfter":1659146400000}}}``
        ``{"id":null,"status":401,"error":{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}}``
        """
        if "event" in row:
            return [out for event in nested_rows(row, "event") for out in self._event(event, frame, recv)]
        errors, status = nested_rows(row, "error"), row.get("status")
        error = CodedError(_whole(errors[0], "code"), errors[0].get("msg", "")) if errors else None
        if self._login.awaited and (status == "200" or (error and error.code == _SUBSCRIBED)):
            self._login.accepted()
            return self._begin(recv)
        if error is None:
            return [Unknown("message without event")]
        words, wait, kind = in_words(error, KEY_REFUSED), LONG_WAIT, ErrorKind.LOGIN_REFUSED
        of_key = status == "401" or error.code == LATE or error.code in KEY_REFUSED
        if status in ("418", "429"):
            kind = ErrorKind.TOO_MANY_REQUESTS
            waits = [_whole(data, "retryAfter") - _whole(data, "serverTime") for data in nested_rows(errors[0], "data")]
            wait = max(waits, default=0) / 1000 or LONG_WAIT
        elif not of_key:  # overloaded, or the like
            kind, wait = ErrorKind.REPORTED, 0.0
        elif self._login.awaited and error.code == UNSURE:
            return self._login.asks_why(self._why(error, recv), recv, error.code)
        elif self._login.awaited:
            return self._login.refused(words, recv, error.code)
        said = ReportedError(self._exchange, words, kind, code=error.code, retry_after=wait or None)
        return [Said(said), Reconnect(said.words, wait)]

    def _why(self, error: CodedError, now: int) -> Flow[str]:
        return in_words(error, {error.code: (yield from self._account.why(now))})

    def _event(self, row: Row, frame: bytes, recv: int) -> list[Output]:
        """Deposits and the like are told as changes: the state is fetched, so that nobody has to add them up.

        ``{"e":"executionReport","E":1499405658658,"s":"ETHBTC","c":"mUvoqJxFIILMdfAW5iGSOW","S":"BUY","o":"LIMIT","q":
        "1.00000000","p":"0.10264410","C":"","x":"NEW","X":"NEW","i":4293153,"l":"0.00000000","z":"0.00000000","L":
        "0.00000000","n":"0","N":null,"T":1499405658657,"t":-1,…}``
        ``{"e":"outboundAccountPosition","E":1564034571105,"u":1564034571073,"B":[{"a":"ETH","f":"10000.0","l":"0.0"}]}``
        ``{"e":"balanceUpdate","E":1573200697110,"a":"BTC","d":"100.00000000","T":1573200697068}``
        """
        kind = row.get("e", "")
        if kind == "executionReport":
            return self._report(row, frame, recv)
        if kind == "outboundAccountPosition":
            rows = [each | {"T": row.get("u", "")} for each in nested_rows(row, "B")]
            return self._each(frame, recv, [(Channel.BALANCES, partial(self._balance, each, recv)) for each in rows])
        if kind == "serverShutdown":
            return [Replace("the exchange shuts this server down")]
        if kind == "eventStreamTerminated":
            gaps = self.gaps(self._streams, recv, "the exchange has ended the subscription")
            return [*gaps, *self._login.begin(recv)]
        if kind not in _NO_ENTRY:
            self._state.want(recv)
        return [] if kind in (*_NO_ENTRY, *_CHANGES) else [Unknown(kind[:40] or "event without type")]

    def _balance(self, row: Row, recv: int) -> Balance:
        return checked(Balance(self._name, time_of(row), recv, row["a"], row["f"], row["l"]))

    def _steps(self) -> Sequence[Step]:
        return (self._sync_orders, self._sync_fills, self._sync_balances)

    def _sync_balances(self, now: int) -> Flow[list[Output]]:
        path = f"{self._api}/account"
        rows = yield from self._account.rows(path, "omitZeroBalances=true", now, weight=20, field="balances")
        return self._restate(Channel.BALANCES, rows, self._balance, now, "asset")


class UsdmSession(_Session):
    """A connection whose address has a listen key; ``wallets`` are wanted when something has changed them."""

    fills, days, weights = "userTrades", 7, (40, 1, 5)
    quiet = True

    def __init__(self, url: str, account: BinanceAccount, wallets: Poll) -> None:
        super().__init__(url, account, (Channel.ORDERS, Channel.FILLS, Channel.POSITIONS))
        self._wallets = wallets
        self._renewal = Renewal(self, "the listen key", self._renew, every=_KEEP, lasts=2 * _KEEP, gone=_is_gone)

    def _renew(self, now: int) -> Flow[None]:
        yield from self._listen_key("PUT", now)

    def _listen_key(self, method: str, now: int) -> Flow[list[Row]]:
        """``{"listenKey":"pqia91ma19a5s61cv6a81va65sdf19v8a65a1"}``: all connections of the account have the same one."""
        return (yield from self._account.rows(f"{self._api}/listenKey", "", now, method=method, signed=False))

    def open(self, now: int) -> Flow[Target]:
        rows = yield from self._listen_key("POST", now)
        key = id_or_empty(rows[0].get("listenKey", "")) if rows else ""
        if not key:
            raise RestError(self._exchange, f"{self._api}/listenKey", 200, "no listen key")
        return Target(f"{self._url}/{key}", f"{self._url}/***")

    def connected(self, now: int) -> Sequence[Output]:
        self._renewal.begin(now)
        return self._begin(now)

    def tick(self, now: int) -> Sequence[Output]:
        return [*super().tick(now), *self._renewal.tick(now)]

    def _message(self, row: Row, frame: bytes, recv: int) -> Sequence[Output]:
        """An event; those of COIN-M come over the same connection.

        ``{"e":"ORDER_TRADE_UPDATE","E":1568879465651,"T":1568879465650,"o":{"s":"BTCUSDT","c":"TEST","S":"SELL","o":"LIMIT",
        "q":"0.001","p":"9910","x":"NEW","X":"NEW","i":8886774,"l":"0","z":"0","L":"0","T":1568879465650,"t":0,…}}``
        ``{"e":"ACCOUNT_UPDATE","E":1564745798939,"T":1564745798938,"a":{"m":"ORDER","B":[…],"P":[{"s":"BTCUSDT","pa":
        "-10","ep":"6563.86000","up":"-1423.15600","ps":"BOTH"}]}}``
        ``{"e":"listenKeyExpired","E":"1736996475556","listenKey":"…"}``
        """
        kind = row.get("e", "")
        if kind in _NO_ENTRY or row.get("st") == "2":
            return []
        if kind == "ORDER_TRADE_UPDATE":
            self._wallets.wanted = True
            orders = [each for each in nested_rows(row, "o") if "USD_" not in each.get("s", "")]
            return [out for order in orders for out in self._report(order, frame, recv)]
        if kind == "ACCOUNT_UPDATE":
            self._wallets.wanted = True
            found = [
                each for part in nested_rows(row, "a") for each in (nested_rows(part, "P") if "B" in part else [{}])
            ]
            rows = [each | {"T": row.get("T", "")} for each in found if "USD_" not in each.get("s", "")]
            return self._each(frame, recv, [(Channel.POSITIONS, partial(self._position, each, recv)) for each in rows])
        if kind == "listenKeyExpired":
            return [Reconnect("the listen key has expired")]
        self._state.want(recv)
        return [Unknown(kind[:40] or "message without event")]

    def _position(self, row: Row, recv: int) -> Position:
        """A position, or one leg of it in hedge mode."""
        amount, leg, ts, pair = row["pa"], _LEGS[row["ps"]], time_of(row), self._account.pair(row)
        check_values(amount)
        if not Decimal(amount):
            return Position(self._name, ts, recv, pair, "", "0", "", "", "", None, leg)
        side, size = ("short", amount[1:]) if amount[0] == "-" else ("long", amount)
        values = (side, size, row["ep"], row.get("markPrice", ""), row.get("up", ""))
        return checked(Position(self._name, ts, recv, pair, *values, None, leg))

    def _steps(self) -> Sequence[Step]:
        return (self._sync_orders, self._sync_positions, self._sync_fills)

    def _sync_positions(self, now: int) -> Flow[list[Output]]:
        rows = yield from self._account.rows("/fapi/v3/positionRisk", "", now, weight=5)
        return self._restate(Channel.POSITIONS, rows, self._position, now)


def _is_gone(error: RestError) -> bool:
    return error.code == _NO_LISTEN_KEY


def _whole(row: Row, name: str) -> int:
    """A whole number; 0 where there is none."""
    text = row.get(name, "")[:20]
    return int(text) if text.removeprefix("-").isdecimal() and text.isascii() else 0


def _some(number: str) -> str:
    """A number, or nothing in place of a zero that stands for it."""
    return number if number.strip("0.") else ""
