"""LMEX over REST: markets, tickers, the clock, and an account's present state.

Signature: HMAC-SHA384 over the path (without ``/spot`` or ``/futures``, without query), the nonce and the body. Answers
to private calls whose shape isn't documented for LMEX are read by the names that its own messages use.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import ClockReading, Credentials, Flow, HttpRequest, HttpResponse, ListedPair
from bridge.exchanges.lmex.faults import AUTH_FAILED, SESSION_EXPIRED
from bridge.exchanges.lmex.messages import NAME
from bridge.exchanges.lmex.names import Contracts, Market, is_pair, market_of
from bridge.exchanges.toolkit.clocks import iso_reading
from bridge.exchanges.toolkit.fields import Row, decode_rows
from bridge.exchanges.toolkit.listing import check_listed
from bridge.exchanges.toolkit.nonces import Nonces
from bridge.exchanges.toolkit.numbers import SECOND, check_amounts, check_values, epoch_ns
from bridge.exchanges.toolkit.salvage import UNREADABLE, readable
from bridge.exchanges.toolkit.waiting import seconds_to_wait
from bridge.model import Channel, Control, ControlEvent, Event, Ticker

__all__ = ["LmexRest", "sign", "wants_symbol"]

_VERSION = {Market.SPOT: "/api/v3.2", Market.FUTURES: "/api/v2.3"}
_TIME = "/spot/api/v3.2/time"
_MILLISECOND = 1_000_000
_TOO_MANY = 5.0
"""Seconds to wait after a 429 that doesn't tell: a repeat at once would make the exchange's block five minutes of one second."""


def sign(secret: str, path: str, nonce: str, body: str = "") -> str:
    """Hex HMAC-SHA384 with the API secret; for the WebSocket's log-in the path is ``/ws/spot`` or ``/ws/futures``."""
    return hmac.new(secret.encode(), f"{path}{nonce}{body}".encode(), hashlib.sha384).hexdigest()


def wants_symbol(error: RestError) -> bool:
    """Whether a call was refused because it names no symbol: the documents differ in which ones need it."""
    return error.status == 400 and "symbol" in error.message.lower()


class LmexRest:
    """The REST calls that the feed needs."""

    def __init__(self, contracts: Contracts) -> None:
        self._contracts = contracts
        self._nonces = Nonces(_MILLISECOND)
        self.clock_offset = 0
        """The exchange's clock less ours (ns), for signing; 0 while it is unknown."""
        self.expired_at = 0
        """When an answer last said that the session has expired (ns)."""

    def discover(self, pairs: Sequence[str]) -> Flow[None]:
        """Look the pairs up, and learn their contract sizes.

        Raises:
            RestError: REST is away, or doesn't tell a contract size, and the config doesn't have it either.
            UnknownPairError: the exchange doesn't list a pair.
        """
        for market in Market:
            wanted = [pair for pair in pairs if market_of(pair) is market]
            if not wanted:
                continue
            path = _path(market, "/market_summary")
            try:
                rows = yield from self._get(path)
            except RestError:
                if market is Market.FUTURES and any(pair not in self._contracts for pair in wanted):
                    raise
                continue
            listed = {symbol: row for row in rows if is_pair(symbol := row.get("symbol", ""))}
            odd = any(not is_pair(row.get("symbol", "")) for row in rows)
            if listed and odd and any(pair not in listed for pair in wanted):
                raise RestError(NAME, path, 200, "a market's row could not be understood, and a pair is missing")
            check_listed(NAME, path, wanted, listed)
            for pair in wanted:
                if market is Market.FUTURES:
                    self._contracts.learn(pair, listed[pair].get("contractSize", ""))
                    if pair not in self._contracts:
                        raise RestError(NAME, path, 200, f"the contract size of {pair} is not told")

    def list_pairs(self) -> Flow[list[ListedPair]]:
        """The pairs of both markets, by their names there; a quote that a future's name doesn't have comes from its row.

        Raises:
            RestError: REST is away.
        """
        found: list[ListedPair] = []
        for market in Market:
            for row in (yield from self._get(_path(market, "/market_summary"))):
                symbol = row.get("symbol", "")
                if not symbol:
                    continue
                dated = "future" if not symbol.endswith("-PERP") else "perpetual"
                status = "online" if row.get("active", "true") == "true" else "inactive"
                base, quote = row.get("base", ""), row.get("quote", "")
                kind = "spot" if market is Market.SPOT else dated
                found.append(ListedPair(symbol, base, quote, kind, status))
        return found

    def tickers(self, market: Market, pairs: Sequence[str], now: int) -> Flow[list[Event]]:
        """The pairs' statistics of the last 24 hours, out of ``market_summary``; ``down`` for a pair that has none there.

        Raises:
            RestError: REST is away, or an answer can't be understood.
        """
        path = _path(market, "/market_summary")
        found = {row.get("symbol", ""): row for row in (yield from self._get(path))}
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
        """The exchange's time: ``iso`` has milliseconds, ``epoch`` only seconds.

        ``{"iso":"2021-06-29T18:14:30.886Z","epoch":1624990470}``

        Raises:
            RestError: REST is away, or the answer isn't a time.
        """
        rows = yield from self._get(_TIME)
        try:
            [row] = rows
            if row.get("iso"):
                return iso_reading(row["iso"])
            return ClockReading(epoch_ns(int(row["epoch"]), SECOND), SECOND)
        except (ValueError, KeyError) as error:
            raise RestError(NAME, _TIME, 200, f"not a time: {type(error).__name__}: {error}") from None

    def private(
        self, credentials: Credentials, market: Market, path: str, now: int, query: str = ""
    ) -> Flow[list[Row]]:
        """A signed GET; the rows of its answer. ``query`` is without its question mark, and isn't signed.

        Raises:
            RestError: REST is away, refuses, or answers with what can't be understood.
        """
        nonce = self._nonces.next(now + self.clock_offset)
        headers = {
            "request-api": credentials.api_key,
            "request-nonce": nonce,
            "request-sign": sign(credentials.api_secret, _VERSION[market] + path, nonce),
        }
        try:
            return (yield from self._get(_path(market, path) + (f"?{query}" if query else ""), headers))
        except RestError as error:
            if error.code == str(SESSION_EXPIRED):
                self.expired_at = now
            raise

    def per_symbol(
        self, credentials: Credentials, market: Market, path: str, now: int, *, pairs: Sequence[str], query: str = ""
    ) -> Flow[list[Row]]:
        """`private` for all symbols at once; where the exchange wants one named, for each pair.

        Raises:
            RestError: as `private`.
        """
        try:
            return (yield from self.private(credentials, market, path, now, query))
        except RestError as error:
            if not wants_symbol(error):
                raise
        rows: list[Row] = []
        for pair in pairs:
            rows += yield from self.private(credentials, market, path, now, f"symbol={pair}&{query}".rstrip("&"))
        return rows

    def _get(self, path: str, headers: dict[str, str] | None = None) -> Flow[list[Row]]:
        response = yield HttpRequest("GET", path, headers=headers or {})
        return _rows(path, response)

    def _ticker(self, pair: str, row: Row, now: int) -> Ticker:
        """``size`` is the volume, in contracts for futures; ``volume`` is its value in the quote currency."""
        size = row.get("size", "")
        high, low, last = row.get("high24Hr", ""), row.get("low24Hr", ""), row.get("last", "")
        percent, opened = row.get("percentageChange", ""), row.get("open", "")
        check_amounts(opened, high, low, last)
        check_values(percent)
        volume = self._contracts.coins(pair, size) if size else ""
        return Ticker(pair, None, now, "86400", opened, high, low, last, "", percent, volume)


def _path(market: Market, path: str) -> str:
    return f"/{market}{_VERSION[market]}{path}"


def _rows(path: str, response: HttpResponse) -> list[Row]:
    """The rows of an answer; an error is ``{"status":400,"errorCode":10002,"message":"User session is expired…"}``."""
    wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
    if response.status == 429 and wait is None:
        wait = _TOO_MANY
    bare = path.partition("?")[0]
    try:
        rows = _listed(readable(response.body))
    except (*UNREADABLE, ValueError):
        shown = response.body[:200].decode(errors="replace")
        raise RestError(NAME, bare, response.status, f"not an answer of this API: {shown!r}", wait) from None
    row = rows[0] if len(rows) == 1 else {}
    failed = row.get("errorCode", "0") not in ("", "0") or row.get("success") == "false"
    if response.status >= 400 or failed:
        message = f"{row.get('errorCode', '')} {row.get('message', '')}".strip() or "no reason given"
        status = response.status
        if status < 400 and row.get("status", "").isdecimal():
            status = int(row["status"][:3])
        code = row.get("errorCode") or None
        kind = ErrorKind.REST_LOGIN_REFUSED if code in (str(AUTH_FAILED), str(SESSION_EXPIRED)) else None
        raise RestError(NAME, bare, status, message, wait, code=code, kind=kind)
    return rows


def _listed(body: bytes) -> list[Row]:
    if body.lstrip()[:1] not in (b"{", b"["):
        raise ValueError("neither an object nor a list")
    return decode_rows(body)
