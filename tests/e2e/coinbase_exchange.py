"""A Coinbase over real sockets, WebSocket and REST, in a thread of its own: it serves some products and refuses others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from aiohttp import WSMsgType, web

from tests.e2e.threaded_exchange import ThreadedExchange

PRODUCTS = "/api/v3/brokerage/market/products"
NOW = "2026-08-09T21:05:48.506659391Z"


class CoinbaseExchange(ThreadedExchange):
    """``served``: the products that it takes; ``listed``: the rows of its product list (``None``: REST is away)."""

    def __init__(self, served: set[str], listed: list[dict[str, Any]] | None) -> None:
        super().__init__()
        self.served = served
        self.listed = listed
        self.asked: list[dict[str, Any]] = []
        self.opened = 0
        self._sockets: dict[web.WebSocketResponse, int] = {}
        """Each connection, and the number of its next message."""

    def say(self, channel: str, *events: dict[str, Any]) -> None:
        """Send a message to every connection."""

        async def go() -> None:
            for socket in list(self._sockets):
                await self._send(socket, channel, *events)

        self.in_thread(go())

    def connected(self) -> Iterable[web.WebSocketResponse]:
        return self._sockets

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == PRODUCTS and self.listed is not None:
            return web.json_response({"products": self.listed, "num_products": len(self.listed)})
        return web.Response(status=503)

    async def serve_socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened += 1
        self._sockets[socket] = 0
        subscribed: dict[str, list[str]] = {}
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._request(socket, json.loads(message.data), subscribed)
        del self._sockets[socket]
        return socket

    async def _request(
        self, socket: web.WebSocketResponse, asked: dict[str, Any], subscribed: dict[str, list[str]]
    ) -> None:
        self.asked.append(asked)
        channel, products = asked["channel"], asked.get("product_ids", [])
        wrong = next((product for product in products if product not in self.served), None)
        if wrong is not None:
            await socket.send_str(json.dumps({"type": "error", "message": f"{wrong} is not a valid product"}))
            return
        there = subscribed.setdefault(channel, [])
        if asked["type"] == "unsubscribe":
            subscribed[channel] = [product for product in there if product not in products]
        else:
            there += [product for product in products if product not in there]
            for product in products if channel == "level2" else ():
                await self._send(socket, "l2_data", book(product, "snapshot", ("bid", "100"), ("offer", "101")))
        await self._send(socket, "subscriptions", {"subscriptions": subscribed})

    async def _send(self, socket: web.WebSocketResponse, channel: str, *events: dict[str, Any]) -> None:
        number = self._sockets[socket]
        self._sockets[socket] = number + 1
        message = {"channel": channel, "timestamp": NOW, "sequence_num": number, "events": list(events)}
        await socket.send_str(json.dumps(message))


def book(product: str, kind: str, *levels: tuple[str, str]) -> dict[str, Any]:
    """An event of ``level2``: levels as (side, price)."""
    updates = [{"side": s, "event_time": NOW, "price_level": price, "new_quantity": "1"} for s, price in levels]
    return {"type": kind, "product_id": product, "updates": updates}


def trade(product: str, ident: str, side: str = "BUY") -> dict[str, Any]:
    """An event of ``market_trades``."""
    row = {"product_id": product, "trade_id": ident, "price": "100.5", "size": "0.1", "time": NOW, "side": side}
    return {"type": "update", "trades": [row]}
