"""A Coinbase with an account over real sockets, WebSocket and REST, in a thread of its own: it checks every token."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.e2e.coinbase_exchange import book
from tests.e2e.threaded_exchange import ThreadedExchange
from tests.unit import coinbase_account_frames as frames

_HALF = 32
_BATCH = 50
ORDER_PATH = f"{frames.API}/orders/historical/"


def _part(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify(signed: bytes, algorithm: str, signature: bytes) -> None:
    """Raises an error if the signature is not of the test keys' public halves."""
    if algorithm == "EdDSA":
        ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(frames.PUBLIC)).verify(signature, signed)
        return
    key = serialization.load_pem_private_key(frames.PEM.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert len(signature) == 2 * _HALF
    numbers = (int.from_bytes(half, "big") for half in (signature[:_HALF], signature[_HALF:]))
    key.public_key().verify(encode_dss_signature(*numbers), signed, ec.ECDSA(hashes.SHA256()))


class CoinbaseAccounts(ThreadedExchange):
    """One user's portfolio. What a test does to it, it does to these attributes, from its own thread."""

    def __init__(self) -> None:
        super().__init__()
        self.algorithm = "EdDSA"
        self.clock = 0
        """Seconds by which its clock is ahead."""
        self.orders: dict[str, dict[str, Any]] = {}
        """Id → the row of a list."""
        self.fills: list[tuple[float, dict[str, Any]]] = []
        """Rows, newest last, and since when REST shows them."""
        self.wallets: dict[str, tuple[str, str]] = {}
        """Currency → what is free, and held."""
        self.positions: list[dict[str, Any]] = []
        self.permissions: dict[str, Any] = {
            "can_view": True,
            "can_trade": False,
            "can_transfer": False,
            "portfolio_uuid": "portfolio-001",
            "portfolio_type": "DEFAULT",
        }
        self.page = 100
        """Rows of a page."""
        self.priced = True
        """Whether the channel says prices."""
        self.answers: dict[str, Callable[[], web.Response | None]] = {}
        """Path → an answer in place of the right one, if it makes one."""
        self.refuse: list[str] = []
        """Words in which the next subscriptions of ``user`` are refused."""
        self.second = ""
        """What becomes of a second connection with ``user``: ``refuse``, or ``kick``: the first is ended. Either is wrong."""
        self.called: list[str] = []
        self.asked: list[str] = []
        """Channels that were subscribed."""
        self._nonces: set[str] = set()
        self._sockets: dict[web.WebSocketResponse, int] = {}
        """Each connection, and the number of its next message."""
        self._users: set[web.WebSocketResponse] = set()

    def connected(self) -> Iterable[web.WebSocketResponse]:
        return self._sockets

    # What happens in the account

    def now(self) -> str:
        return datetime.fromtimestamp(time.time() + self.clock, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def place(self, ident: str, size: str, price: str, **changes: Any) -> dict[str, Any]:
        """A limit order to buy; returns its row for the channel."""
        terms = {"limit_limit_gtc": {"base_size": size, "limit_price": price, "post_only": False}}
        row = {**frames.LISTED, "order_id": ident, "order_configuration": terms, "created_time": self.now()}
        self.orders[ident] = {**row, **changes}
        return self.told(ident)

    def fill(self, ident: str, entry: str, size: str, *, late: float = 0.0) -> dict[str, Any]:
        """Part of an order is filled; REST shows that later, if it is ``late``. Returns the order's row for the channel."""
        row = self.orders[ident]
        filled = f"{float(row['filled_size']) + float(size):g}"
        whole = next(iter(row["order_configuration"].values()))["base_size"]
        status = "FILLED" if float(filled) >= float(whole) else "OPEN"
        row.update(filled_size=filled, status=status, last_fill_time=self.now())
        row["number_of_fills"] = str(int(row["number_of_fills"]) + 1)
        fill = {**frames.FILL, "entry_id": entry, "order_id": ident, "size": size, "trade_time": self.now()}
        self.fills.append((time.monotonic() + late, {**fill, "sequence_timestamp": self.now()}))
        return self.told(ident)

    def end(self, ident: str, status: str) -> dict[str, Any]:
        self.orders[ident]["status"] = status
        return self.told(ident)

    def told(self, ident: str) -> dict[str, Any]:
        """An order as the channel tells it: nothing is left of one that has ended."""
        row = self.orders[ident]
        terms = next(iter(row["order_configuration"].values()))
        left = f"{float(terms['base_size']) - float(row['filled_size']):g}" if row["status"] == "OPEN" else "0"
        found = {
            **frames.BARE,
            "order_id": ident,
            "client_order_id": row["client_order_id"],
            "cumulative_quantity": row["filled_size"],
            "leaves_quantity": left,
            "number_of_fills": row["number_of_fills"],
            "status": row["status"],
            "product_id": row["product_id"],
            "order_side": row["side"],
        }
        return {**found, "limit_price": terms["limit_price"]} if self.priced else found

    # What the connections hear

    def say(self, channel: str, *events: dict[str, Any], skip: int = 0) -> None:
        """Send a message to those that are subscribed to ``user``; so many before it are lost."""

        async def go() -> None:
            for socket in list(self._users):
                self._sockets[socket] += skip
                await self._send(socket, channel, *events)

        self.in_thread(go())

    def tell(self, *rows: dict[str, Any]) -> None:
        """Send orders."""
        self.say("user", {"type": "update", "orders": list(rows), "positions": frames.NO_POSITIONS})

    def again(self, number: int, *rows: dict[str, Any]) -> None:
        """Send orders in a message with an old number."""
        frame = frames.user(number, *rows)

        async def go() -> None:
            for socket in list(self._users):
                await socket.send_str(frame.decode())

        self.in_thread(go())

    def cut(self) -> None:
        """End every connection of the account."""

        async def go() -> None:
            for socket in list(self._users):
                await socket.close()

        self.in_thread(go())

    @property
    def users(self) -> int:
        """Connections that are subscribed to ``user``."""
        return len(self._users)

    # Tokens

    def _token(self, token: str, uri: str | None) -> str:
        """What is wrong with a token; it must name this call, or none for a message."""
        try:
            header, claims = (json.loads(_part(part)) for part in token.split(".")[:2])
            verify(token.rpartition(".")[0].encode(), header["alg"], _part(token.rpartition(".")[2]))
        except (ValueError, KeyError, InvalidSignature, AssertionError) as error:
            return f"{type(error).__name__}: {error}"
        now = time.time() + self.clock
        nonce, fresh = header["nonce"], header["nonce"] not in self._nonces
        self._nonces.add(nonce)
        rules = {
            "algorithm": header["alg"] == self.algorithm,
            "names": header["kid"] == claims["sub"] == frames.KEY,
            "issuer": claims["iss"] == "cdp",
            "time": claims["nbf"] <= now < claims["exp"] <= claims["nbf"] + 120,
            "uri": claims.get("uri") == uri,
            "used twice": fresh,
        }
        return ", ".join(name for name, holds in rules.items() if not holds)

    # Sockets

    async def serve_socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = 0
        channels: dict[str, list[str]] = {}
        beating = asyncio.create_task(self._beat(socket, channels))
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self._subscribe(socket, json.loads(message.data), channels)
        beating.cancel()
        self._users.discard(socket)
        del self._sockets[socket]
        return socket

    async def _subscribe(
        self, socket: web.WebSocketResponse, asked: dict[str, Any], channels: dict[str, list[str]]
    ) -> None:
        channel = asked["channel"]
        self.asked.append(channel)
        if "jwt" in asked or channel in ("user", "futures_balance_summary"):
            wrong = self._token(asked.get("jwt", ""), None)
            if wrong or (channel == "user" and self.refuse):
                words = "authentication failure" if wrong else self.refuse.pop(0)
                self.wrong += [f"{channel}: {wrong}"] if wrong and not self.clock else []
                await socket.send_str(json.dumps({"type": "error", "message": words}))
                return
        if channel == "user" and not await self._make_room(socket):
            return
        channels[channel] = asked.get("product_ids", ["an-id"])
        await self._send(socket, "subscriptions", {"subscriptions": channels})
        if channel == "level2":
            for product in asked["product_ids"]:
                await self._send(socket, "l2_data", book(product, "snapshot", ("bid", "100"), ("offer", "101")))
        elif channel == "futures_balance_summary":
            await self._send(socket, channel, frames.SUMMARY)
        elif channel == "user":
            self._users.add(socket)
            await self._snapshot(socket)

    async def _beat(self, socket: web.WebSocketResponse, channels: dict[str, list[str]]) -> None:
        with suppress(ConnectionError):
            while not socket.closed:
                await asyncio.sleep(1.0)  # as often as the exchange
                if "heartbeats" in channels:
                    await self._send(socket, "heartbeats", {"heartbeat_counter": str(self._sockets[socket])})

    async def _make_room(self, socket: web.WebSocketResponse) -> bool:
        """Whether this connection may have ``user``, which one may have at a time."""
        if not self._users:
            return True
        self.wrong.append("a second connection")
        if self.second == "refuse":
            await socket.send_str(json.dumps({"type": "error", "message": "too many connections of this user"}))
        elif self.second == "kick":
            for user in list(self._users):
                await user.close()
        return self.second != "refuse"

    async def _snapshot(self, socket: web.WebSocketResponse) -> None:
        """All open orders, fifty a message; a message of fewer is the last."""
        there = [self.told(ident) for ident, row in self.orders.items() if row["status"] == "OPEN"]
        for start in range(0, len(there) + 1, _BATCH):
            kind = "update" if start else "snapshot"
            event = {"type": kind, "orders": there[start : start + _BATCH], "positions": frames.NO_POSITIONS}
            if event["orders"] or not start:
                await self._send(socket, "user", event)

    async def _send(self, socket: web.WebSocketResponse, channel: str, *events: dict[str, Any]) -> None:
        number = self._sockets[socket]
        self._sockets[socket] = number + 1
        await socket.send_str(frames.message(channel, number, *events, timestamp=self.now()).decode())

    # REST

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path, query = request.path, request.query
        self.called.append(request.raw_path)
        date = {"Date": datetime.fromtimestamp(time.time() + self.clock, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")}
        if path == f"{frames.API}/time":
            return web.json_response({"epochMillis": str(int((time.time() + self.clock) * 1000))}, headers=date)
        if path == f"{frames.API}/market/products":
            return web.json_response({"products": [{"product_id": "BTC-USD", "quote_currency_id": "USD"}]})
        wrong = self._token(
            request.headers.get("Authorization", "").removeprefix("Bearer "), f"GET api.coinbase.com{path}"
        )
        if wrong:
            self.wrong += [f"{path}: {wrong}"] if not self.clock else []
            return web.Response(status=401, text="Unauthorized\n", headers=date)
        return (self.answers[path]() if path in self.answers else None) or self._right(path, dict(query))

    def _right(self, path: str, query: dict[str, str]) -> web.Response:
        if path == frames.PERMISSIONS:
            return web.json_response(self.permissions)
        if path.startswith(ORDER_PATH) and path not in (frames.ORDERS, frames.FILLS):
            found = self.orders.get(path.removeprefix(ORDER_PATH))
            return web.json_response(
                {"order": found} if found else {"error": "NOT_FOUND"}, status=200 if found else 404
            )
        name, rows = self._rows(path, query)
        start = int(query.get("cursor", "0=").rstrip("="))
        more = f"{start + self.page}=" if start + self.page < len(rows) else ""
        page = {name: rows[start : start + self.page], "cursor": more}
        return web.json_response(page if name == "fills" else {**page, "has_next": bool(more)})

    def _rows(self, path: str, query: dict[str, str]) -> tuple[str, list[dict[str, Any]]]:
        if path == frames.ORDERS:
            return "orders", [row for row in self.orders.values() if row["status"] == query["order_status"]]
        if path == frames.FILLS:
            since, now = query["start_sequence_timestamp"], time.monotonic()
            there = [row for shown, row in self.fills if shown <= now and row["sequence_timestamp"] >= since]
            return "fills", there[::-1]
        if path == frames.WALLETS:
            return "accounts", [frames.wallet(currency, *amounts) for currency, amounts in self.wallets.items()]
        return "positions", self.positions
