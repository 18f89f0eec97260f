"""What the simulator's tests share: a client's side of the Limitlex protocol, and a market with a clock of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.book import Book
from bridge.simulator import Simulator, SimulatorConfig, Urls, market_config
from bridge.simulator.limitlex.options import LimitlexConfig
from bridge.simulator.market import Market
from bridge.simulator.sockets import Socket
from tests.patience import PATIENCE

NOW = 1_700_000_000.0


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def market(pairs: tuple[str, ...] = ("BTC-EUR", "ETH-EUR"), clock: Clock | None = None, **settings: Any) -> Market:
    return Market(market_config(pairs, **settings), clock or Clock())


class Rig:
    """A running simulator and a client's means to talk to it."""

    def __init__(self, simulator: Simulator, urls: Urls, http: aiohttp.ClientSession, clock: Clock) -> None:
        self.simulator = simulator
        self.urls = urls
        self.http = http
        self.clock = clock
        self.ids = simulator.dialect.pair_ids()
        self.ssl: ssl.SSLContext | None = None
        self.access = simulator.dialect.accesses()[0]
        self._nonce = count(int(clock() * 1000))

    def ws_url(self, *pairs: str, token: str = "", subaccounts: bool = False) -> str:
        parts = []
        if pairs:
            parts.append("p=" + ",".join(self.ids[pair] for pair in pairs))
        if token:
            parts.append(f"t={token}")
        if subaccounts:
            parts.append("subaccounts=true")
        return f"{self.urls.ws}?{'&'.join(parts)}"

    @asynccontextmanager
    async def open(self, *pairs: str, **options: Any) -> AsyncIterator[Feed]:
        """A real WebSocket, without pings of its own."""
        url = self.ws_url(*pairs, **options)
        # Without a limit to its queue: a full one would hold back the pong too.
        async with connect(url, ping_interval=None, close_timeout=0.2, max_queue=None, ssl=self.ssl) as ws:
            # The pong comes only when the simulator has taken the socket in.
            await (await ws.ping())
            yield Feed(ws, self.simulator.hub.sockets[-1])

    async def refused(self, *pairs: str, url: str = "", **options: Any) -> InvalidStatus:
        """How a handshake is refused."""
        with pytest.raises(InvalidStatus) as caught:
            async with connect(url or self.ws_url(*pairs, **options)):
                pass
        return caught.value

    async def token(self) -> str:
        status, answer = await self.private("websocket_token")
        assert status == 200, answer
        return str(answer["result"]["token"])

    async def private(self, method: str, *, nonce: str | None = None, **params: str) -> tuple[int, Any]:
        body = urlencode({"nonce": next(self._nonce) if nonce is None else nonce, **params})
        return await self.signed(method, body, sign(self.access.secret, f"/private/{method}{body}"))

    async def signed(self, method: str, body: str, signature: str, key: str | None = None) -> tuple[int, Any]:
        headers = {
            "API-Key": self.access.api_key if key is None else key,
            "API-Sign": signature,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with self.http.post(f"{self.urls.rest}/private/{method}", data=body, headers=headers) as response:
            return response.status, await response.json()

    async def public(self, method: str, **params: str) -> tuple[int, Any]:
        async with self.http.get(f"{self.urls.rest}/public/{method}", params=params) as response:
            return response.status, await response.json()

    async def look(self, what: str, **params: str) -> Any:
        async with self.http.get(f"{self.urls.control}/{what}", params=params) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def tell(self, what: str, **settings: Any) -> tuple[int, Any]:
        async with self.http.post(f"{self.urls.control}/{what}", json=settings) as response:
            return response.status, await response.json()

    async def fault(self, name: str, **settings: Any) -> None:
        status, answer = await self.tell("faults", fault=name, **settings)
        assert status == 200, answer


def sign(pem: bytes, message: str) -> str:
    key = serialization.load_pem_private_key(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return base64.b64encode(key.sign(message.encode(), ec.ECDSA(hashes.SHA512()))).decode()


@asynccontextmanager
async def running(
    pairs: tuple[str, ...] = ("BTC-EUR", "ETH-EUR"),
    *,
    clock: Clock | None = None,
    seed: int = 7,
    activity: float = 0.1,
    limitlex: LimitlexConfig | None = None,
    **settings: Any,
) -> AsyncIterator[Rig]:
    """A simulator on a free port, its market held still unless the test says otherwise."""
    clock = clock or Clock()
    config = SimulatorConfig(
        "limitlex",
        market=market_config(pairs, seed=seed, activity=activity),
        options=limitlex,
        **{"paused": True} | settings,
    )
    simulator = Simulator(config, clock)
    async with simulator.serve() as urls, aiohttp.ClientSession() as http:
        yield Rig(simulator, urls, http, clock)


class Feed:
    """One open WebSocket, seen from both ends."""

    def __init__(self, ws: ClientConnection, socket: Socket) -> None:
        self.ws = ws
        self.socket = socket
        self._got = 0

    async def recv(self) -> Any:
        """The next message, as text where it is no JSON."""
        async with asyncio.timeout(PATIENCE):
            frame = await self.ws.recv()
        self._got += 1
        try:
            return json.loads(frame)
        except ValueError:
            return frame

    async def drain(self) -> list[Any]:
        """All messages that the simulator has sent on this socket so far and that were not yet read."""
        return [await self.recv() for _ in range(self.socket.sent - self._got)]

    async def ended(self) -> ConnectionClosed:
        """Read on until the connection ends; how it ended."""
        with pytest.raises(ConnectionClosed) as caught:
            async with asyncio.timeout(PATIENCE):
                while True:
                    await self.ws.recv()
        return caught.value


class Follower:
    """A book built from one pair's messages, as a client builds it."""

    def __init__(self, *, change: bool = False) -> None:
        self.book = Book()
        self.quote = SimpleNamespace(bid=None, ask=None)
        self.trades: list[tuple[str, str, str]] = []
        self._change = change

    def take(self, messages: list[Any]) -> Follower:
        for message in messages:
            getattr(self, f"_{message['t']}", lambda _: None)(message)
        return self

    def levels(self) -> dict[str, list[list[Decimal]]]:
        sides = {"bids": self.book.bids, "asks": self.book.asks}
        return {name: [[Decimal(price), Decimal(size)] for price, size in side.top()] for name, side in sides.items()}

    def _whole_order_book(self, message: dict[str, Any]) -> None:
        bids, asks = ([(row["price"], row["amount"]) for row in message[side]] for side in ("bids", "asks"))
        self.book.replace(bids, asks)

    def _order_book(self, message: dict[str, Any]) -> None:
        side = self.book.bids if message["orderDirection"] == "Buy" else self.book.asks
        amount = Decimal(message["amount"])
        if self._change:
            amount += side.size(message["price"])
        side.set(message["price"], str(amount))

    def _best_bid_ask(self, message: dict[str, Any]) -> None:
        self.quote.bid, self.quote.ask = message["bid"], message["ask"]

    def _last_trade(self, message: dict[str, Any]) -> None:
        self.trades.append((message["orderDirection"].lower(), message["price"], message["amount"]))


def true_levels(book: dict[str, Any]) -> dict[str, list[list[Decimal]]]:
    return {side: [[Decimal(price), Decimal(size)] for price, size in book[side]] for side in ("bids", "asks")}
