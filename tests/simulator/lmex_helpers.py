"""A client's side of the LMEX protocol, and the sheet's sample frames."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bridge.book import Book
from bridge.simulator import Simulator, SimulatorConfig
from bridge.simulator.lmex.markets import market_config
from bridge.simulator.lmex.options import LmexConfig
from bridge.simulator.sockets import Socket
from tests.patience import PATIENCE
from tests.simulator.helpers import NOW, Clock, Rig

PAIRS = ("BTC-USD", "ETH-USD", "BTC-PERP", "ETH-PERP")
SPOT, FUTURES = "/ws/spot", "/ws/futures"
MS = int(NOW * 1000)
OK = {"event": "login", "success": True}


class LmexRig(Rig):
    """A running simulated LMEX; ``monotonic`` stands still until it is moved."""

    monotonic: Clock

    @asynccontextmanager
    async def wire(self, path: str) -> AsyncIterator[Wire]:
        """A real WebSocket, without pings of its own."""
        async with connect(self.urls.ws + path, ping_interval=None, close_timeout=0.2, max_queue=None) as ws:
            await (await ws.ping())
            yield Wire(ws, self.simulator.hub.sockets[-1], self)

    @asynccontextmanager
    async def logged_in(self, path: str, *topics: str, op: str = "authKeyExpires") -> AsyncIterator[Wire]:
        async with self.wire(path) as wire:
            assert await wire.login(op=op) == {"event": "login", "success": True}
            await wire.send("subscribe", *topics)
            ack = await wire.recv()
            assert (ack["event"], sorted(ack["channel"])) == ("subscribe", sorted(topics))
            yield wire

    async def get(self, path: str, **params: str) -> tuple[int, Any]:
        async with self.http.get(self.urls.rest + path, params=params) as response:
            return response.status, json.loads(await response.text(), parse_float=Decimal)

    async def signed_get(self, path: str, *, nonce: str | None = None, **params: str) -> tuple[int, Any]:
        nonce = str(int(self.clock.now * 1000)) if nonce is None else nonce
        headers = {
            "request-api": self.access.api_key,
            "request-nonce": nonce,
            "request-sign": hmac384(self.access.secret, path.removeprefix("/spot").removeprefix("/futures") + nonce),
        }
        async with self.http.get(self.urls.rest + path, params=params, headers=headers) as response:
            return response.status, json.loads(await response.text(), parse_float=Decimal)

    def passes(self, seconds: float) -> None:
        """Let time pass, and the exchange notice."""
        self.clock.now += seconds
        self.monotonic.now += seconds
        self.simulator.dialect.tick()

    async def wait(self, wire: Wire, seconds: float) -> None:
        """Let time pass, with a ping every half minute, as a client does."""
        while seconds > 0:
            self.passes(min(30.0, seconds))
            assert await wire.drain() == []
            seconds -= 30


@asynccontextmanager
async def running_lmex(
    pairs: tuple[str, ...] = PAIRS,
    *,
    seed: int = 7,
    activity: float = 0.0,
    lmex: LmexConfig | None = None,
    market: dict[str, Any] | None = None,
    **settings: Any,
) -> AsyncIterator[LmexRig]:
    """A simulated LMEX on a free port, its market held still unless the test says otherwise."""
    clock, monotonic = Clock(), Clock(1000.0)
    config = SimulatorConfig(
        exchange="lmex",
        market=market_config(pairs, seed=seed, activity=activity, **(market or {})),
        options=lmex,
        **{"paused": True} | settings,
    )
    simulator = Simulator(config, clock, monotonic)
    async with simulator.serve() as urls, aiohttp.ClientSession() as http:
        rig = LmexRig(simulator, urls, http, clock)
        rig.monotonic = monotonic
        yield rig


def trade(rig: LmexRig, pair: str, side: str, size: str) -> Any:
    """A market order of the account's."""
    return rig.simulator.place("main", pair, side, size)


def hmac384(secret: bytes, message: str) -> str:
    return hmac.new(secret, message.encode(), hashlib.sha384).hexdigest()


class Wire:
    """One open WebSocket, seen from both ends."""

    def __init__(self, ws: ClientConnection, socket: Socket, rig: LmexRig) -> None:
        self.ws = ws
        self.socket = socket
        self.path = ws.request.path
        self._rig = rig

    async def text(self) -> str:
        async with asyncio.timeout(PATIENCE):
            frame = await self.ws.recv()
        assert isinstance(frame, str)
        return frame

    async def recv(self) -> Any:
        """The next message."""
        return json.loads(await self.text(), parse_float=Decimal)

    async def send(self, op: str, *args: str) -> None:
        await self.ws.send(json.dumps({"op": op, "args": list(args)}))

    async def drain(self) -> list[Any]:
        """All messages that the simulator sent before it answered a ping just now."""
        await self.ws.send("ping")
        got = []
        while (text := await self.text()) != "pong":
            got.append(json.loads(text, parse_float=Decimal))
        return got

    async def ask(self, op: str, *args: str) -> list[Any]:
        """All that comes of a request."""
        await self.send(op, *args)
        return await self.drain()

    async def login(self, *, op: str = "authKeyExpires", nonce: str = "", path: str = "", secret: bytes = b"") -> Any:
        nonce = nonce or str(int(self._rig.clock.now * 1000))
        signed = hmac384(secret or self._rig.access.secret, (path or self.path) + nonce)
        await self.send(op, self._rig.access.api_key, nonce, signed)
        return await self.recv()

    async def ended(self) -> ConnectionClosed:
        """Read on until the connection ends; how it ended."""
        with pytest.raises(ConnectionClosed) as caught:
            async with asyncio.timeout(PATIENCE):
                while True:
                    await self.ws.recv()
        return caught.value


class Follower:
    """A book built by the sheet's rules."""

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.book = Book()
        self.last: int | None = None
        self.gaps = 0
        self.deltas = 0

    def take(self, messages: Iterable[Any]) -> Follower:
        for message in messages:
            data = message.get("data")
            if isinstance(data, dict) and data.get("symbol") == self.symbol and data["type"] in ("snapshot", "delta"):
                self._take(data)
        return self

    def _take(self, data: dict[str, Any]) -> None:
        assert data["seqNum"] == data["prevSeqNum"] + 1
        sides = [[(price, size) for price, size in data[side]] for side in ("bids", "asks")]
        if data["type"] == "snapshot":
            self.book.replace(*sides)
        else:
            assert self.last is not None, "delta before its snapshot"
            self.gaps += data["prevSeqNum"] != self.last
            self.deltas += 1
            for side, levels in zip((self.book.bids, self.book.asks), sides, strict=True):
                for price, size in levels:
                    side.set(price, size)
        self.last = data["seqNum"]

    def levels(self) -> dict[str, list[list[Decimal]]]:
        sides = {"bids": self.book.bids, "asks": self.book.asks}
        return {name: [[Decimal(price), Decimal(size)] for price, size in side.top()] for name, side in sides.items()}


def shape(value: Any) -> Any:
    """Names in their order and kinds of values; numbers are one kind, a list is as its first element."""
    if isinstance(value, dict):
        return [(name, shape(field)) for name, field in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return type(value).__name__
    return "number"


def shape_of(sample: str) -> Any:
    return shape(json.loads(sample))
