"""LMEX's REST calls: ``/spot/api/v3.2/…`` and ``/futures/api/v2.3/…`` (v3.3, v2.2 and v2.1 answer the same way).

======================== ===================================================================
``market_summary``       all markets, or ``?symbol=``
``time``                 ``{"iso":"2021-06-29T18:14:30.886Z","epoch":1624990470}``, in seconds
``orderbook/L2``         ``?symbol=&depth=``
``user/wallet``          signed, as all of ``user/``
``user/open_orders``     ``?symbol=``
``user/trade_history``   ``?symbol=&startTime=&endTime=&beforeSerialId=&afterSerialId=&orderID=&count=``; newest first,
                         10 rows unless told, 500 at most; times are milliseconds, both ends included
``user/positions``       futures only; ``?symbol=``
======================== ===================================================================

The sheet gives the shapes of ``time``, ``orderbook/L2`` and errors, and field names of ``market_summary``; the rest is
written as its sister exchange documents it (see ``rest_rows``). v2.1 names futures ``BTCPFC``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from msgspec import Struct

from bridge.simulator.accounts import Account
from bridge.simulator.dialect import Core
from bridge.simulator.events import Filled
from bridge.simulator.lmex import frames, private, rest_rows
from bridge.simulator.lmex.auth import Keyring
from bridge.simulator.lmex.books import LEVELS
from bridge.simulator.lmex.markets import old_name
from bridge.simulator.lmex.options import LmexConfig

__all__ = ["Rest"]

_ROWS = 10
_MOST_ROWS = 500
_DIGITS = 18
_SPOT_VERSIONS = r"v3\.[23]"
_FUTURES_VERSIONS = r"v2\.[123]"
_ERRORS = {429: (-8, "Too many requests"), 503: (-1, "Service unavailable"), 500: (-1, "Internal server error")}
"""Status → code and text; the codes are made up."""


class _CallError(Exception):
    """A call that isn't answered."""

    def __init__(self, status: int, code: int, text: str) -> None:
        self.status = status
        self.code = code
        self.text = text
        super().__init__(text)


class _Call(Struct, frozen=True):
    """One call: the market (``spot`` or ``futures``), whether it uses the old names, and its query."""

    market: str
    old: bool
    query: Mapping[str, str]

    @property
    def futures(self) -> bool:
        return self.market == "futures"


class Rest:
    """The REST side of a simulated LMEX."""

    def __init__(self, core: Core, keyring: Keyring, config: LmexConfig) -> None:
        self._core = core
        self._market = core.market
        self._keyring = keyring
        self._config = config
        self._public: dict[str, Callable[[_Call], Any]] = {
            "market_summary": self._summary,
            "time": self._time,
            "orderbook/L2": self._book,
        }
        self._private: dict[str, Callable[[_Call, Account], Any]] = {
            "user/wallet": self._wallet,
            "user/open_orders": self._open_orders,
            "user/trade_history": self._trade_history,
            "user/positions": self._positions,
        }

    def add_routes(self, app: web.Application) -> None:
        """Both markets' paths, in all their versions."""
        for market, versions in (("spot", _SPOT_VERSIONS), ("futures", _FUTURES_VERSIONS)):
            app.router.add_get(f"/{market}/api/{{version:{versions}}}/{{name:.+}}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        refusal = self._core.gate.rest(request.path)
        if refusal is not None:
            return self._refused(refusal.status, refusal.retry_after)
        body = await request.text()
        try:
            answer = self._called(request, body)
        except _CallError as error:
            return _error(error.status, error.code, error.text)
        return web.Response(text=private.encoded(answer), content_type="application/json")

    def _called(self, request: web.Request, body: str) -> Any:
        market = request.path.split("/")[1]
        name = request.match_info["name"]
        call = _Call(market, request.match_info["version"] == "v2.1", request.query)
        if name in self._public:
            return self._public[name](call)
        if name not in self._private or (name == "user/positions" and not call.futures):
            raise _CallError(404, -404, f"No such path: {request.path}")
        headers = request.headers
        account = self._keyring.authenticate(
            headers.get("request-api", ""),
            headers.get("request-nonce", ""),
            headers.get("request-sign", ""),
            request.path.removeprefix(f"/{market}"),
            body,
        )
        if account is None:
            raise _CallError(400, -7, "Authenticate failed")
        return self._private[name](call, self._market.accounts[account])

    def _refused(self, status: int, retry_after: float) -> web.Response:
        code, text = _ERRORS.get(status, (-1, "Error"))
        value = f"{retry_after:g}"
        if self._config.retry_after == "timestamp":
            value = str(frames.millis(self._core.clock() + retry_after))
        return _error(status, code, text, {"Retry-After": value} if retry_after else None)

    # Public calls

    def _time(self, _: _Call) -> Any:
        now = self._core.clock()
        iso = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"iso": iso, "epoch": int(now)}

    def _summary(self, call: _Call) -> Any:
        market = self._market
        return [
            rest_rows.summary(market.pairs[name], market.accounts.values(), old=call.old) for name in self._pairs(call)
        ]

    def _book(self, call: _Call) -> Any:
        names = self._pairs(call)
        if "symbol" not in call.query:
            raise _CallError(400, -2, "symbol is missing")
        depth = min(_whole(call, "depth", LEVELS), LEVELS)
        state = self._market.pairs[names[0]]
        return rest_rows.book(state, call.query["symbol"], depth, frames.millis(self._core.clock()))

    # Private calls

    def _wallet(self, call: _Call, account: Account) -> Any:
        if not call.futures:
            return [rest_rows.spot_wallet(code, *amounts) for code, amounts in account.balances().items()]
        return rest_rows.margin_wallets(account, self._market.mark)

    def _open_orders(self, call: _Call, account: Account) -> Any:
        names = self._pairs(call)
        return [
            rest_rows.open_order(self._market.pairs[order.pair].spec, self._market.order_event(order), old=call.old)
            for order in account.orders.values()
            if order.pair in names
        ]

    def _positions(self, call: _Call, account: Account) -> Any:
        names = self._pairs(call)
        return [
            rest_rows.position(held, self._market.mark(held.spec.name), account.margin, old=call.old)
            for held in account.margin.open_positions()
            if held.spec.name in names
        ]

    def _trade_history(self, call: _Call, account: Account) -> Any:
        names = set(self._pairs(call))
        begin, end = _whole(call, "startTime", 0), _whole(call, "endTime", 0)
        after, before = _whole(call, "afterSerialId", 0), _whole(call, "beforeSerialId", 0)
        order = call.query.get("orderID", "")

        def asked(fill: Filled) -> bool:
            time = frames.millis(fill.time)
            return (
                fill.pair in names
                and begin <= time <= (end or time)
                and after < fill.serial < (before or fill.serial + 1)
                and order in ("", fill.order_id)
            )

        rows = [fill for fill in account.fills if asked(fill)]
        count = min(_whole(call, "count", _ROWS), _MOST_ROWS)
        newest = rows[::-1][:count]
        return [rest_rows.fill(self._market.pairs[fill.pair].spec, fill, account.name, old=call.old) for fill in newest]

    def _pairs(self, call: _Call) -> list[str]:
        """The market's pairs, or the one asked for."""
        names = [name for name, state in self._market.pairs.items() if state.spec.futures == call.futures]
        if "symbol" not in call.query:
            return names
        symbol = call.query["symbol"]
        found = [name for name in names if symbol in (name, old_name(name))]
        if not found:
            raise _CallError(400, -2, f"Market {symbol} is not supported")
        return found


def _whole(call: _Call, name: str, usual: int) -> int:
    text = call.query.get(name, str(usual))
    if not (text.isascii() and text.isdigit()) or len(text) > _DIGITS:
        raise _CallError(400, -2, f"{name} is not a number")
    return int(text)


def _error(status: int, code: int, text: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = frames.api_error(status, code, text)
    return web.Response(status=status, text=body, headers=headers, content_type="application/json")
