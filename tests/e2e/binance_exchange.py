"""A Binance over real sockets, spot and USD-M futures, WebSocket and REST, in a thread of its own.

It keeps the exchange's limits (messages of a connection, bytes of a message, weight of REST calls), acknowledges what it
doesn't serve, and tells only those who are on the right path.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import WSMsgType, web

from bridge.exchanges.api import Credentials
from bridge.exchanges.toolkit.rest.signatures import Signer
from tests.e2e.binance_markets import LISTED, WEIGHTS, Book
from tests.e2e.path_exchange import PathExchange
from tests.unit import binance_frames as frames

SPOT, PUBLIC, MARKET = "/stream", "/public/stream", "/market/stream"
KINDS = {
    SPOT: {"trade", "aggTrade", "depth", "bookTicker", "ticker"},
    PUBLIC: {"trade", "depth", "bookTicker"},
    MARKET: {"aggTrade", "ticker", "markPrice", "forceOrder"},
}
"""What of the streams a path has."""
WS_API, PRIVATE = "/ws-api/v3", "/private/ws/"
MOST_IN_A_SECOND = 5
MOST_BYTES = 4_096


class BinanceExchange(PathExchange):
    """``refused``: streams that make a request fail; ``swallowed``: streams that are acknowledged and not subscribed."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.swallowed: set[str] = set()
        self.mute: set[str] = set()
        """Paths on which nothing is said, as if they were wrong."""
        self.stale_books = 0
        """How many snapshots are ten changes old."""
        self.book_delay = 0.0
        """Seconds that a snapshot takes."""
        self.weight_left: int | None = None
        """Weight until HTTP 429; ``None``: there is no end of it."""
        self.banned_until = 0.0
        self.books = {
            **{("spot", f"{base}USDT"): Book(price, chained=False) for base, price in (("BTC", 100), ("ETH", 50))},
            ("spot", "NKNUSDT"): Book(10, chained=False),
            **{("usdm", f"{base}USDT"): Book(price, chained=True) for base, price in (("BTC", 200), ("ETH", 80))},
            ("usdm", "BTCUSDC"): Book(300, chained=True),
            ("usdm", "BTCUSDT_261225"): Book(400, chained=True),
        }
        self.listed: dict[str, Any] = dict(LISTED)
        self.fetched: list[tuple[float, str]] = []
        """When which book was asked for."""
        self.weight = 0
        self.secret = frames.SECRET
        """Of the account: signatures are checked by it."""
        self.clock = 0
        """How far the exchange's clock is ahead (ms)."""
        self.refusals: list[dict[str, Any]] = []
        """Answers to the next subscriptions of an account."""
        self.rest_refusals: dict[str, dict[str, Any]] = {}
        """End of a path → the error of the calls to it."""
        self.lists: dict[str, Any] = {"balance": [frames.USDM_BALANCE]}
        """End of a path, with the symbol or the order where that matters → rows."""
        self.listen_key = "listenkey0001"
        self.known_keys: set[str] = set()
        self.kept: list[str] = []
        """Calls about listen keys."""

    def list(self, market: str, bases: list[str]) -> None:
        """List these coins against USDT, and nothing else."""
        rows = [
            {"symbol": f"{base}USDT", "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT"} for base in bases
        ]
        self.listed = {**self.listed, market: rows}

    # Market data

    def say(self, path: str, *frames: bytes) -> None:
        """Send wrapped frames to those who are subscribed to their streams, if the path has them."""

        async def go() -> None:
            for frame in frames:
                await self._publish(path, json.loads(frame)["stream"], frame)

        self.in_thread(go())

    async def _publish(self, path: str, stream: str, frame: bytes) -> None:
        kind = stream.partition("@")[2].partition("@")[0].rstrip("0123456789")
        if path in self.mute or kind not in KINDS[path]:
            return
        await self.publish(path, stream, frame)

    def change(self, market: str, symbol: str, size: str, *, lose: bool = False) -> None:
        """A book changes; with ``lose`` nobody is told."""
        data = self.books[market, symbol].change(size)
        if lose:
            return
        at = int(time.time() * 1000)
        times = {"E": at * 1000} if market == "spot" else {"E": at, "T": at - 1}
        stream = f"{symbol.lower()}@depth@100ms"
        message = {"stream": stream, "data": {"e": "depthUpdate", "s": symbol, **times, **data}}
        self.say(SPOT if market == "spot" else PUBLIC, json.dumps(message).encode())

    def shut_down(self, path: str) -> None:
        """Say that the server ends."""

        self.tell(path, b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}')

    def sockets(self, path: str) -> int:
        return len(self._sockets.get(path, {}))

    # Sockets

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.handshakes.append(request.raw_path)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if path == WS_API:
            return await self._serve_account(socket)
        if path.startswith(PRIVATE):
            return await self._hold(socket, PRIVATE)
        return await self._serve_streams(socket, path)

    async def _hold(self, socket: web.WebSocketResponse, path: str) -> web.WebSocketResponse:
        """A connection over which nothing is asked."""
        self._sockets.setdefault(path, {})[socket] = set()
        async for _ in socket:
            self.wrong.append("a message to a private connection")
        self._sockets[path].pop(socket, None)
        return socket

    async def _serve_account(self, socket: web.WebSocketResponse) -> web.WebSocketResponse:
        """Events come once there is a subscription with a good signature."""
        there = self._sockets.setdefault(WS_API, {})
        async for message in socket:
            asked = json.loads(message.data)
            params = asked["params"]
            text = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
            answer: dict[str, Any] = {"id": asked["id"], "status": 200, "result": {"subscriptionId": 0}}
            if self.refusals:
                answer = {"id": asked["id"], **self.refusals.pop(0)}
            elif error := self._unsigned(text, params["signature"], params["timestamp"], params["apiKey"]):
                answer = {"id": asked["id"], "status": 400, "error": error}
            else:
                there[socket] = {"account"}
            await socket.send_str(json.dumps(answer))
        there.pop(socket, None)
        return socket

    def _unsigned(self, text: str, signature: str, at: Any, key: str) -> dict[str, Any] | None:
        """What is wrong with a signature."""
        if key != frames.KEY:
            return {"code": -2014, "msg": "API-key format invalid."}
        if not self._now() - 10_000 <= int(at) < self._now() + 1_000:
            return {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}
        if Signer(Credentials("main", key, self.secret)).sign(text) != signature:
            return {"code": -1022, "msg": "Signature for this request is not valid."}
        return None

    def _now(self) -> int:
        return int(time.time() * 1000) + self.clock

    async def _serve_streams(self, socket: web.WebSocketResponse, path: str) -> web.WebSocketResponse:
        self._sockets.setdefault(path, {})[socket] = set()
        speaking = asyncio.create_task(self._speak(socket, path))
        times: deque[float] = deque(maxlen=MOST_IN_A_SECOND + 1)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            times.append(time.monotonic())
            if len(times) > MOST_IN_A_SECOND and times[-1] - times[0] < 1.0:
                self.wrong.append("too many messages")
                await socket.close(code=1008, message=b"Too many requests")
                break
            if len(message.data) > MOST_BYTES:
                self.wrong.append("a message that is too long")
                continue
            await self._answer_to(socket, path, json.loads(message.data))
        speaking.cancel()
        self._sockets[path].pop(socket, None)
        return socket

    async def _speak(self, socket: web.WebSocketResponse, path: str) -> None:
        """Say what is always said: the mark price of futures, and the first levels of a lively book."""
        always = {
            "btcusdt@markPrice@1s": {"e": "markPriceUpdate", "s": "BTCUSDT", "p": "200.1", "i": "200.2", "r": "0.0001"},
            "btcusdt@depth5@500ms": {"e": "depthUpdate", "s": "BTCUSDT", "b": [], "a": []},
        }
        while not socket.closed:
            for stream, data in always.items():
                if stream in self._sockets[path].get(socket, ()):
                    at = int(time.time() * 1000)
                    message = {"stream": stream, "data": {**data, "E": at, "T": at + 60_000}}
                    await self._publish(path, stream, json.dumps(message).encode())
            await asyncio.sleep(0.2)

    async def _answer_to(self, socket: web.WebSocketResponse, path: str, asked: dict[str, Any]) -> None:
        method, streams, there = asked["method"], asked.get("params", []), self._sockets[path][socket]
        self.requests.append((path, method, tuple(streams)))
        if not isinstance(asked["id"], int):
            self.wrong.append("an id that is no number")
        if method == "LIST_SUBSCRIPTIONS":
            await socket.send_str(json.dumps({"result": sorted(there), "id": asked["id"]}))
            return
        if self.refused.intersection(streams):
            await socket.send_str(json.dumps({"code": 2, "msg": "Invalid request: no such stream", "id": asked["id"]}))
            return
        if method == "SUBSCRIBE":
            there.update(set(streams) - self.swallowed)
        else:
            there.difference_update(streams)
        await socket.send_str(json.dumps({"result": None, "id": asked["id"]}))

    # REST

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.called.append(request.raw_path)
        if banned := self._banned():
            return banned
        market = "spot" if request.path.startswith("/api/") else "usdm"
        call = request.path.rpartition("/")[2]
        answers: dict[str, Callable[[web.Request, str], Any]] = {
            "time": lambda *_: {"serverTime": self._now()},
            "openInterest": lambda asked, _: {
                "openInterest": "10659.509",
                "symbol": asked.query["symbol"],
                "time": self._now(),
            },
            "exchangeInfo": lambda *_: {"timezone": "UTC", "rateLimits": [], "symbols": self.listed[market]},
        }
        if call == "depth":
            return await self._depth(request, market)
        if call in answers:
            return web.json_response(answers[call](request, market))
        if call == "userDataStream":
            return web.json_response({"code": -1, "msg": "This endpoint is gone."}, status=410)
        if call == "listenKey":
            return self._listen_key(request)
        return self._private(request, call)

    def _listen_key(self, request: web.Request) -> web.Response:
        """No signature is wanted; a POST while a key is valid returns the same one."""
        self.kept.append(request.method)
        if request.headers.get("X-MBX-APIKEY") != frames.KEY:
            return web.json_response({"code": -2014, "msg": "API-key format invalid."}, status=401)
        if request.method == "POST":
            self.known_keys.add(self.listen_key)
        elif self.listen_key not in self.known_keys:
            return web.json_response({"code": -1125, "msg": "This listenKey does not exist."}, status=400)
        return web.json_response({"listenKey": self.listen_key})

    def expire(self, *, silently: bool = False) -> None:
        """The listen key is of no more use; the time of the event is text, and its socket stays open."""
        self.known_keys.discard(self.listen_key)
        old, self.listen_key = self.listen_key, f"listenkey{int(self.listen_key[-4:]) + 1:04}"
        if not silently:
            event = {"e": "listenKeyExpired", "E": str(self._now()), "listenKey": old}
            self.tell(PRIVATE, json.dumps(event).encode())

    def _private(self, request: web.Request, call: str) -> web.Response:
        """A signed call: its query is signed as it was sent."""
        query, _, signature = request.raw_path.partition("?")[2].rpartition("&signature=")
        [(_, signed)] = parse_qsl(f"signature={signature}")
        key = request.headers.get("X-MBX-APIKEY", "")
        if error := self.rest_refusals.get(call):
            return web.json_response(error, status=400)
        if error := self._unsigned(query, signed, request.query.get("timestamp", "0"), key):
            self.wrong.append(str(error["code"]))
            return web.json_response(error, status=400)
        exact = f"{call}?{request.query.get('symbol', '')}"
        if call == "order":
            exact = f"order?{request.query['orderId']}"
            if exact not in self.lists:
                return web.json_response({"code": -2013, "msg": "Order does not exist."}, status=400)
        found = self.lists.get(exact, self.lists.get(call, []))
        if "startTime" in request.query:
            start, end = int(request.query["startTime"]), int(request.query["endTime"])
            found = [row for row in found if start <= row["time"] <= end][: int(request.query["limit"])]
        return web.json_response({"balances": found} if call == "account" else found)

    async def _depth(self, request: web.Request, market: str) -> web.Response:
        symbol, limit = request.query["symbol"], int(request.query["limit"])
        self.fetched.append((time.monotonic(), symbol))
        weight = next(weight for most, weight in WEIGHTS[market] if limit <= most)
        self.weight += weight
        if self.weight_left is not None:
            self.weight_left -= weight
            if self.weight_left < 0:
                self.banned_until = time.time() + 2.0
                words = {"code": -1003, "msg": "Too much request weight used."}
                return web.json_response(words, status=429, headers={"Retry-After": "2"})
        book = self.books[market, symbol]
        answer = book.whole()
        if self.stale_books and len(book.earlier) >= 10:
            self.stale_books -= 1
            answer = book.earlier[-10]
        await asyncio.sleep(self.book_delay)
        return web.json_response(answer)

    def _banned(self) -> web.Response | None:
        """Who goes on after 429 is banned for longer, and told until when in words only."""
        if time.time() >= self.banned_until:
            if self.banned_until:
                self.banned_until, self.weight_left = 0.0, None
            return None
        self.wrong.append("a call during the ban")
        until = int((self.banned_until + 5) * 1000)
        words = f"Way too much request weight used; IP banned until {until}. Please use the websocket for live updates."
        return web.json_response({"code": -1003, "msg": words}, status=418)
