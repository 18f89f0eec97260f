"""Limitlex's REST methods: ``/api/public/<method>`` (GET or POST) and ``/api/private/<method>`` (POST, signed).

Answers are ``{"result": …}`` in snake_case, errors ``{"error":{"message":…}}``. What public sources show of the shapes
is kept; where none shows one (``ohlc``, ``recent_trades``, ``trades``, sub-accounts by ``subaccount_id`` or
``subaccounts=true``), the shape here follows the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from bridge.simulator.accounts import Account
from bridge.simulator.dialect import Core
from bridge.simulator.events import Filled, TradeDone
from bridge.simulator.limitlex import frames
from bridge.simulator.limitlex.auth import AuthError, Keyring, Tokens
from bridge.simulator.market import OrderRefusedError, PairState
from bridge.simulator.orderbook import RestingOrder
from bridge.simulator.session import refused

__all__ = ["Rest"]

Params = dict[str, str]

_ROWS = 100
_MOST_ROWS = 1000


class Rest:
    """The REST side of a simulated Limitlex."""

    def __init__(self, core: Core, keyring: Keyring, tokens: Tokens) -> None:
        self._core = core
        self._market = core.market
        self._keyring = keyring
        self._tokens = tokens
        self._pairs = {frames.pair_id(state.spec): name for name, state in self._market.pairs.items()}
        self._uuids = {account.uuid: account.name for account in self._market.accounts.values()}
        self._public: dict[str, Callable[[Params], Any]] = {
            "currencies": self._currencies,
            "pairs": self._list_pairs,
            "ticker": self._ticker,
            "ohlc": self._ohlc,
            "order_book": self._order_book,
            "recent_trades": self._recent_trades,
        }
        self._private: dict[str, Callable[[Account, Params], Any]] = {
            "websocket_token": self._websocket_token,
            "open_orders": self._open_orders,
            "balance": self._balance,
            "trades": self._trades,
            "add_order": self._add_order,
            "cancel_order": self._cancel_order,
            "cancel_all_orders": self._cancel_all_orders,
        }

    def add_routes(self, app: web.Application) -> None:
        """Both families of methods."""
        app.router.add_route("*", "/api/public/{method}", self._answer_public)
        app.router.add_route("*", "/api/private/{method}", self._answer_private)

    # Calls

    async def _answer_public(self, request: web.Request) -> web.Response:
        async def call() -> Any:
            if request.method not in ("GET", "POST"):
                raise AuthError(405, "GET or POST only")
            body = await _body(request)
            params = dict(request.query) | _params(body)
            return _method(self._public, request)(params)

        return await self._answer(request, call)

    async def _answer_private(self, request: web.Request) -> web.Response:
        async def call() -> Any:
            if request.method != "POST":
                raise AuthError(405, "POST only")
            body = await _body(request)
            params = _params(body)
            method = _method(self._private, request)
            account = self._keyring.authenticate(
                request.headers.get("API-Key", ""),
                request.headers.get("API-Sign", ""),
                request.path.removeprefix("/api"),
                body,
                params.get("nonce", ""),
            )
            result = method(self._market.accounts[account], params)
            self._core.hub.flush()
            return result

        return await self._answer(request, call)

    async def _answer(self, request: web.Request, call: Callable[[], Any]) -> web.Response:
        refusal = self._core.gate.rest(request.path)
        if refusal is not None:
            text = "rate limit exceeded" if refusal.status == 429 else "internal error"
            return refused(refusal, json.dumps({"error": {"message": text}}))
        try:
            return web.json_response({"result": await call()})
        except AuthError as error:
            return web.json_response({"error": {"message": error.message}}, status=error.status)
        except OrderRefusedError as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)

    # Public methods

    def _currencies(self, _: Params) -> Any:
        codes = sorted({code for state in self._market.pairs.values() for code in (state.spec.base, state.spec.quote)})
        return {"data": [{"id": frames.currency_id(code), "code": code} for code in codes]}

    def _list_pairs(self, _: Params) -> Any:
        rows: list[dict[str, Any]] = []
        for pair_id, name in self._pairs.items():
            first, second = pair_id.split(":")
            decimals = _decimals(self._market.pairs[name].spec.step)
            rows.append({"id": pair_id, "currency_id_1": first, "currency_id_2": second, "decimals": decimals})
        return {"data": rows}

    def _ticker(self, params: Params) -> Any:
        rows = []
        for pair_id, name in self._asked(params):
            best, day = self._market.best(name), self._market.ohlc(name)
            if day is None:
                continue
            rows.append(
                {
                    "pair_id": pair_id,
                    "last_price": frames.plain(day.close),
                    "bid": _text(best.bid),
                    "ask": _text(best.ask),
                    "volume_1": frames.plain(day.volume),
                    "volume_2": frames.amount(self._market.pairs[name].spec.quote, day.volume * day.close),
                }
            )
        return rows

    def _ohlc(self, params: Params) -> Any:
        rows = []
        for pair_id, name in self._asked(params):
            day = self._market.ohlc(name)
            if day is not None:
                names = ("open", "high", "low", "close")
                prices = {f"price_{which}": frames.plain(getattr(day, which)) for which in names}
                row = {"pair_id": pair_id, "duration_in_days": 1, **prices, "volume": frames.plain(day.volume)}
                rows.append(row)
        return rows

    def _order_book(self, params: Params) -> Any:
        sides = self._market.depth(self._state(params).spec.name)
        bids, asks = (
            [{"price": frames.plain(price), "amount_1": frames.plain(size)} for price, size in side] for side in sides
        )
        return {"bids": bids, "asks": asks}

    def _recent_trades(self, params: Params) -> Any:
        trades = list(self._state(params).trades)[-_limit(params) :]
        return {"data": [_public_trade(trade) for trade in reversed(trades)]}

    # Private methods

    def _websocket_token(self, account: Account, _: Params) -> Any:
        return {"token": self._tokens.issue(account.name)}

    def _open_orders(self, account: Account, params: Params) -> Any:
        pair = self._state(params).spec.name if "pair_id" in params else None
        return {
            "data": [
                self._order_row(member, order)
                for member in self._members(account, params)
                for order in member.orders.values()
                if pair in (None, order.pair)
            ]
        }

    def _balance(self, account: Account, params: Params) -> Any:
        rows = []
        for member in self._members(account, params):
            for code, (available, reserved) in member.balances().items():
                row = {"currency_id": frames.currency_id(code), "amount_available": frames.amount(code, available)}
                rows.append(_sub(member) | row | {"amount_reserved": frames.amount(code, reserved)})
        return {"data": rows}

    def _trades(self, account: Account, params: Params) -> Any:
        pair = self._state(params).spec.name if "pair_id" in params else None
        fills = [
            (fill.time, member, fill)
            for member in self._members(account, params)
            for fill in member.fills
            if pair in (None, fill.pair)
        ]
        fills.sort(key=lambda row: row[0])
        return {"data": [self._fill_row(member, fill) for _, member, fill in reversed(fills[-_limit(params) :])]}

    def _add_order(self, account: Account, params: Params) -> Any:
        (member,) = self._one(account, params)
        kind = params.get("order_type", "limit")
        if kind not in ("limit", "market"):
            raise AuthError(400, "order_type must be limit or market")
        price = _number(params, "price") if kind == "limit" else None
        direction = params.get("order_direction", "")
        pair = self._state(params).spec.name
        order = self._market.place(member.name, pair, direction, _number(params, "amount_1"), price)
        return {"order_id": order.id}

    def _cancel_order(self, account: Account, params: Params) -> Any:
        order_id = params.get("order_id", "")
        owners = [member for member in (account, *self._market.subaccounts(account.name)) if order_id in member.orders]
        self._market.cancel(owners[0].name if owners else account.name, order_id)
        return {"order_id": order_id}

    def _cancel_all_orders(self, account: Account, params: Params) -> Any:
        pair = self._state(params).spec.name if "pair_id" in params else None
        members = self._members(account, params)
        return {"count": sum(self._market.cancel_all(member.name, pair) for member in members)}

    # Parameters and rows

    def _asked(self, params: Params) -> list[tuple[str, str]]:
        if "pair_id" in params:
            return [(params["pair_id"], self._state(params).spec.name)]
        return list(self._pairs.items())

    def _state(self, params: Params) -> PairState:
        name = self._pairs.get(params.get("pair_id", ""))
        if name is None:
            raise AuthError(400, "Unknown pair_id" if "pair_id" in params else "pair_id is missing")
        return self._market.pairs[name]

    def _one(self, account: Account, params: Params) -> list[Account]:
        """The account, or the sub-account that the call names."""
        if "subaccount_id" not in params:
            return [account]
        name = self._uuids.get(params["subaccount_id"], "")
        if not name or self._market.accounts[name].parent != account.name:
            raise AuthError(400, "Unknown subaccount_id")
        return [self._market.accounts[name]]

    def _members(self, account: Account, params: Params) -> list[Account]:
        """As ``_one``; with ``subaccounts=true`` the account and all its sub-accounts."""
        if params.get("subaccounts") == "true":
            return [account, *self._market.subaccounts(account.name)]
        return self._one(account, params)

    def _order_row(self, member: Account, order: RestingOrder) -> dict[str, Any]:
        spec = self._market.pairs[order.pair].spec
        event = self._market.order_event(order)
        return _sub(member) | {
            "order_id": order.id,
            "pair_id": frames.pair_id(spec),
            "order_type": event.kind,
            "order_direction": event.side,
            "price": _text(event.price),
            "amount_initial": frames.plain(event.size),
            "amount_completed": frames.plain(event.filled),
            "created_at": int(event.created),
        }

    def _fill_row(self, member: Account, fill: Filled) -> dict[str, Any]:
        spec = self._market.pairs[fill.pair].spec
        return _sub(member) | {
            "trade_id": f"{fill.pair}-{fill.trade_id}",
            "order_id": fill.order_id,
            "pair_id": frames.pair_id(spec),
            "order_direction": fill.side,
            "price": frames.plain(fill.price),
            "amount_1": frames.plain(fill.size),
            "created_at": int(fill.time),
        }


async def _body(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise AuthError(413, "Request too large") from None


def _params(body: bytes) -> Params:
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
    except (UnicodeDecodeError, ValueError):
        raise AuthError(400, "Body is not application/x-www-form-urlencoded") from None


def _method(methods: dict[str, Callable[..., Any]], request: web.Request) -> Callable[..., Any]:
    method = methods.get(request.match_info["method"])
    if method is None:
        raise AuthError(404, f"Unknown method; known: {', '.join(methods)}")
    return method


def _number(params: Params, name: str) -> Decimal:
    try:
        return Decimal(params.get(name, ""))
    except InvalidOperation:
        raise AuthError(400, f"{name} is {'no number' if name in params else 'missing'}") from None


def _limit(params: Params) -> int:
    text = params.get("limit", str(_ROWS))
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= _MOST_ROWS:
        raise AuthError(400, f"limit must be 1 to {_MOST_ROWS}")
    return int(text)


def _text(price: Decimal | None) -> str | None:
    return None if price is None else frames.plain(price)


def _sub(member: Account) -> dict[str, Any]:
    return {"subaccount_id": member.uuid} if member.parent is not None else {}


def _decimals(step: Decimal) -> int:
    """The decimals that a size may have; it is printed with more."""
    exponent = step.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _public_trade(trade: TradeDone) -> dict[str, Any]:
    return {
        "order_direction": trade.side,
        "price": frames.plain(trade.price),
        "amount_1": frames.plain(trade.size),
        "created_at": int(trade.time),
    }
