"""LMEX over REST: markets, tickers, the clock, and an account's present state.

Signature: HMAC-SHA384 over the path (without ``/spot`` or ``/futures``, without query), the nonce and the body. Answers
to private calls whose shape isn't documented for LMEX are read by the names that its own messages use.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import ClockReading, Credentials, Flow, HttpResponse, ListedPair
from bridge.exchanges.lmex.messages import AUTH_FAILED, NAME, SESSION_EXPIRED, Market, is_pair, market_of
from bridge.exchanges.toolkit.pairs.listing import check_listed
from bridge.exchanges.toolkit.rest.nonces import Nonces
from bridge.exchanges.toolkit.rest.rest import TimedRest
from bridge.exchanges.toolkit.timing.clocks import iso_reading
from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.exchanges.toolkit.values.fields import Row, decode_rows, first
from bridge.exchanges.toolkit.values.numbers import (
    MILLISECOND,
    SECOND,
    check_amounts,
    check_values,
    epoch_ns,
    number_or_empty,
)
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, readable
from bridge.model import Channel, Control, ControlEvent, Event, Ticker

__all__ = ["LmexRest", "sign"]

T = TypeVar("T")

_VERSION = {Market.SPOT: "/api/v3.2", Market.FUTURES: "/api/v2.3"}
_TIME = "/spot/api/v3.2/time"
_PAGE = 500
"""Fills per answer: the most that the exchange gives."""
_TOO_MANY = 5.0
"""Seconds to wait after a 429 that doesn't tell: a repeat at once would make the exchange's block five minutes of one second."""


def sign(secret: str, path: str, nonce: str, body: str = "") -> str:
    """Hex HMAC-SHA384 with the API secret; for the WebSocket's log-in the path is ``/ws/spot`` or ``/ws/futures``."""
    return hmac.new(secret.encode(), f"{path}{nonce}{body}".encode(), hashlib.sha384).hexdigest()


class LmexRest(TimedRest[list[Row]]):
    """The REST calls that the feed needs; an answer is its rows.

    All methods but `sign` raise `RestError` where REST is away, refuses, or answers with what can't be understood.
    """

    def __init__(self, contracts: Contracts) -> None:
        super().__init__(late=())
        self.contracts = contracts
        self._nonces = Nonces(MILLISECOND)
        self.expired_at = 0
        """When an answer last said that the session has expired (ns)."""

    def discover(self, pairs: Sequence[str]) -> Flow[None]:
        """Look the pairs up, and learn the contract sizes; those that the config has do while REST is away.

        Sizes are learned of all futures: the account may have orders and positions in any of them.

        Raises:
            UnknownPairError: the exchange doesn't list a pair.
        """
        for market in Market:
            wanted = [pair for pair in pairs if market_of(pair) is market]
            future = market is Market.FUTURES
            path = _path(market, "/market_summary")
            try:
                rows = (yield from self.get(path)) if wanted else []
            except RestError:
                if future and any(pair not in self.contracts for pair in wanted):
                    raise
                continue
            listed = {symbol: row for row in rows if is_pair(symbol := row.get("symbol", ""))}
            odd = any(not is_pair(row.get("symbol", "")) for row in rows)
            if listed and odd and any(pair not in listed for pair in wanted):
                raise RestError(NAME, path, 200, "a market's row could not be understood, and a pair is missing")
            check_listed(NAME, path, wanted, listed)
            for pair, row in listed.items() if future else ():
                self.contracts.learn(pair, row.get("contractSize", ""))
            for pair in wanted if future else ():
                if pair not in self.contracts:
                    raise RestError(NAME, path, 200, f"the contract size of {pair} is not told")

    def list_pairs(self) -> Flow[list[ListedPair]]:
        """The pairs of both markets, by their names there; a quote that a future's name doesn't have comes from its row."""
        found: list[ListedPair] = []
        for market in Market:
            for row in (yield from self.get(_path(market, "/market_summary"))):
                if symbol := row.get("symbol", ""):
                    kind = "perpetual" if symbol.endswith("-PERP") else "future"
                    kind = "spot" if market is Market.SPOT else kind
                    status = "online" if row.get("active", "true") == "true" else "inactive"
                    figures = _figures(row, future=market is Market.FUTURES)
                    found.append(ListedPair(symbol, row.get("base", ""), row.get("quote", ""), kind, status, **figures))
        return found

    def tickers(self, market: Market, pairs: Sequence[str], now: int) -> Flow[list[Event]]:
        """The pairs' statistics of the last 24 hours, out of ``market_summary``; ``down`` for a pair that has none there."""
        path = _path(market, "/market_summary")
        found = {row.get("symbol", ""): row for row in (yield from self.get(path))}
        events: list[Event] = []
        reason = ""
        for pair in pairs:
            try:
                events.append(self._ticker(pair, found[pair], now))
            except (ValueError, KeyError) as error:
                reason = f"market_summary has no ticker of it: {type(error).__name__}: {error}"
                events.append(Control(pair, None, now, Channel.TICKER, ControlEvent.DOWN, reason))
        if events and all(isinstance(event, Control) for event in events):
            raise RestError(NAME, path, 200, reason)
        return events

    def clock(self) -> Flow[ClockReading]:
        """The exchange's time, ``{"iso":"2021-06-29T18:14:30.886Z","epoch":1624990470}``: ``epoch`` has only seconds."""
        rows = yield from self.get(_TIME)
        try:
            [row] = rows
            if row.get("iso"):
                return iso_reading(row["iso"])
            return ClockReading(epoch_ns(int(row["epoch"]), SECOND), SECOND)
        except (ValueError, KeyError) as error:
            raise RestError(NAME, _TIME, 200, f"not a time: {type(error).__name__}: {error}") from None

    def private(self, account: Credentials, market: Market, path: str, now: int) -> Flow[list[Row]]:
        """The rows of a signed call."""
        return self.get(_path(market, path), "", now, account)

    def open_orders(self, account: Credentials, market: Market, now: int, *, pairs: Sequence[str]) -> Flow[list[Row]]:
        """The rows of all open orders."""
        path = _path(market, "/user/open_orders")
        parts = yield from _per_symbol(lambda query: self.get(path, query, now, account), "", pairs)
        return [row for rows in parts for row in rows]

    def fills(
        self, account: Credentials, market: Market, now: int, since: int, *, pairs: Sequence[str]
    ) -> Flow[tuple[list[Row], bool]]:
        """The rows of all fills since a time (ns), oldest first, and whether they are all there."""
        path, query = _path(market, "/user/trade_history"), f"startTime={since // MILLISECOND}&count={_PAGE}"
        parts = yield from _per_symbol(lambda query: self.pages(path, query, now, account), query, pairs)
        rows = (row for found, _ in parts for row in found)
        known = {(row.get("symbol", ""), first(row, "tradeId", "serialId") or repr(row)): row for row in rows}
        oldest_first = sorted(known.values(), key=lambda row: row.get("timestamp", "").rjust(20))
        return oldest_first, all(whole for _, whole in parts)

    def _call(self, path: str, query: str, now: int, account: Credentials | None) -> Flow[list[Row]]:
        try:
            return (yield from super()._call(path, query, now, account))
        except RestError as error:
            if error.code == str(SESSION_EXPIRED):
                self.expired_at = now
            raise

    def _sign(self, account: Credentials, at: str, path: str, query: str) -> dict[str, str]:
        del query
        nonce = self._nonces.next(int(at) * MILLISECOND)
        signature = sign(account.api_secret, path[path.index("/api") :], nonce)
        return {"request-api": account.api_key, "request-nonce": nonce, "request-sign": signature}

    def _read(self, path: str, response: HttpResponse) -> list[Row]:
        """The rows; an error is ``{"status":400,"errorCode":10002,"message":"User session is expired…"}``."""
        status, headers, body = response.status, response.headers, readable(response.body)
        wait = seconds_to_wait(headers.get("retry-after", ""), headers.get("date", ""))
        if status == 429 and wait is None:
            wait = _TOO_MANY
        try:
            rows = decode_rows(body) if body.lstrip()[:1] in (b"{", b"[") else None
        except UNREADABLE:
            rows = None
        if rows is None:
            shown = body[:200].decode(errors="replace")
            raise RestError(NAME, path, status, f"not an answer of this API: {shown!r}", wait)
        row = rows[0] if len(rows) == 1 else {}
        code = row.get("errorCode") or None
        if status < 400 and code in (None, "0") and row.get("success") != "false":
            return rows
        if status < 400 and row.get("status", "").isdecimal():
            status = int(row["status"][:3])
        message = f"{code or ''} {row.get('message', '')}".strip() or "no reason given"
        kind = ErrorKind.REST_LOGIN_REFUSED if code in (str(AUTH_FAILED), str(SESSION_EXPIRED)) else None
        raise RestError(NAME, path, status, message, wait, code=code, kind=kind)

    def _page(self, answer: list[Row]) -> tuple[list[Row], str]:
        """A full answer is taken for the newest part: the one before it ends where it begins.

        One without times is asked for again, and seen to be no other: it is not known what is before it.
        """
        times = [int(time[:30]) for row in answer if (time := row.get("timestamp", "")).isascii() and time.isdecimal()]
        before = f"&endTime={min(times) + 1}" if times else "&"
        return answer, before if len(answer) >= _PAGE else ""

    def _ticker(self, pair: str, row: Row, now: int) -> Ticker:
        """``size`` is the volume, in contracts for futures; ``volume`` is its value in the quote currency."""
        size = row.get("size", "")
        high, low, last = row.get("high24Hr", ""), row.get("low24Hr", ""), row.get("last", "")
        percent, opened = row.get("percentageChange", ""), row.get("open", "")
        check_amounts(opened, high, low, last)
        check_values(percent)
        volume = self.contracts.coins(pair, size) if size else ""
        return Ticker(pair, None, now, "86400", opened, high, low, last, "", percent, volume)


def _figures(row: Row, *, future: bool) -> dict[str, str]:
    """Steps of prices and sizes; those of a future's sizes are told in contracts.

    ``{"symbol":"BTC-PERP","minPriceIncrement":0.5,"minSizeIncrement":1,"minOrderSize":1,"contractSize":0.00001,…}``
    """
    size = number_or_empty(row.get("contractSize", "")) if future else ""
    contracts = Contracts({"": size} if size else {}, lambda _: future)

    def coins(name: str) -> str:
        with suppress(ValueError):
            return contracts.coins("", row.get(name, ""))
        return ""

    return {
        "tick_size": number_or_empty(row.get("minPriceIncrement", "")),
        "lot_size": coins("minSizeIncrement"),
        "min_size": coins("minOrderSize"),
        "contract_size": size if "" in contracts else "",
    }


def _path(market: Market, path: str) -> str:
    return f"/{market}{_VERSION[market]}{path}"


def _per_symbol(call: Callable[[str], Flow[T]], query: str, pairs: Sequence[str]) -> Flow[list[T]]:
    """A call for all symbols at once; where the exchange wants one named, one for each pair: the documents differ."""
    try:
        return [(yield from call(query))]
    except RestError as error:
        if error.status != 400 or "symbol" not in error.message.lower():
            raise
    found: list[T] = []
    for pair in pairs:
        found += [(yield from call(f"symbol={pair}&{query}".rstrip("&")))]
    return found
