"""A Bybit over real sockets, WebSocket and REST, in a thread of its own: books that move, refusals, an account that trades."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Literal

from aiohttp import WSMsgType, web

from bridge.exchanges.bybit.private import sign
from tests.e2e.path_exchange import PathExchange
from tests.unit import bybit_frames as frames

KEY = "bybit-key-of-the-test"
SPOT, LINEAR, PRIVATE = "/v5/public/spot", "/v5/public/linear", "/v5/private"
INSTRUMENTS = {
    "spot": [
        {"symbol": f"{base}USDT", "baseCoin": base, "quoteCoin": "USDT", "status": "Trading"} for base in ("BTC", "ETH")
    ],
    "linear": [
        {
            "symbol": symbol,
            "baseCoin": "BTC",
            "quoteCoin": quote,
            "status": "Trading",
            "contractType": "LinearPerpetual",
            "deliveryTime": "0",
        }
        for symbol, quote in (("BTCUSDT", "USDT"), ("BTCPERP", "USDC"))
    ],
}
PONGS = {SPOT: frames.PONGS[0], LINEAR: frames.PONGS[1], PRIVATE: frames.PONGS[3]}
Rows = list[dict[str, Any]] | Callable[[dict[str, str]], Any]


class Book:
    """One symbol's book in one category."""

    def __init__(self, price: int) -> None:
        self.u = 1_000
        self.bids = {str(price - number): "1" for number in range(1, 4)}
        self.asks = {str(price + number): "1" for number in range(1, 4)}

    def change(self, size: str) -> dict[str, Any]:
        """The best bid has another size: a delta's levels."""
        self.u += 1
        best = max(self.bids, key=int)
        self.bids[best] = size
        return {"b": [[best, size]], "a": []}

    def whole(self) -> dict[str, Any]:
        return {"b": [list(level) for level in self.bids.items()], "a": [list(level) for level in self.asks.items()]}


class BybitExchange(PathExchange):
    """``refused``: topics that it doesn't serve; a request with one of them is refused whole, or but for the others."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.reading: Literal["all", "one"] = "all"
        self.late_acknowledgements = False
        """Whether data comes before them."""
        self.age = 0
        """How old the first snapshot of a topic is (ms); the deltas since then follow at once."""
        self.login_refusals: list[str] = []
        """The words of the next refusals."""
        self.clock = 0
        """How far its clock is ahead (ms)."""
        self.lists: dict[str, Rows] = {}
        """REST path and some of the query → rows, or what makes an answer."""
        self.rest_status = 0
        """HTTP status of all REST answers; 0: they are as they should be."""
        self.handshake_status = 0
        self.books = {
            (path, symbol): Book(price)
            for path, symbol, price in (
                (SPOT, "BTCUSDT", 100),
                (SPOT, "ETHUSDT", 50),
                (LINEAR, "BTCUSDT", 200),
                (LINEAR, "BTCPERP", 300),
            )
        }

    # Market data

    def say(self, path: str, *many: bytes) -> None:
        """Send frames to who is subscribed to their topics."""

        async def go() -> None:
            for frame in many:
                await self.publish(path, json.loads(frame)["topic"], frame)

        self.in_thread(go())

    def change(self, path: str, symbol: str, size: str, *, lose: bool = False) -> None:
        """A book changes; with ``lose`` nobody is told."""
        book = self.books[path, symbol]
        levels = book.change(size)
        if not lose:
            self.say(path, self._book(path, symbol, "delta", levels, book.u))

    def resend(self, path: str, symbol: str, *, restart: bool = False, kind: str = "snapshot") -> None:
        """Send a book anew; with ``restart`` it counts from 1."""
        book = self.books[path, symbol]
        book.u = 1 if restart else book.u
        self.say(path, self._book(path, symbol, kind, book.whole(), book.u))

    def quote(self, path: str, symbol: str) -> None:
        book = self.books[path, symbol]
        bid, ask = max(book.bids, key=int), min(book.asks, key=int)
        levels = {"b": [[bid, book.bids[bid]]], "a": [[ask, book.asks[ask]]]}
        self.say(path, self._book(path, symbol, "snapshot", levels, book.u, depth=1))

    def _now(self) -> int:
        return int(time.time() * 1000) + self.clock

    def _book(
        self, path: str, symbol: str, kind: str, levels: dict[str, Any], u: int, *, depth: int = 200, age: int = 0
    ) -> bytes:
        del path
        at = self._now() - age
        data = {"s": symbol, **levels, "u": u, "seq": 7 * u}
        message = {"topic": f"orderbook.{depth}.{symbol}", "type": kind, "ts": at, "data": data, "cts": at}
        return json.dumps(message).encode()

    def _first(self, path: str, topic: str) -> list[bytes]:
        """What a subscription begins with."""
        kind, _, symbol = topic.rpartition(".")
        if kind != "orderbook.200":
            return []
        book = self.books[path, symbol]
        found = [self._book(path, symbol, "snapshot", book.whole(), book.u, age=self.age)]
        for number in range(6 if self.age else 0):
            levels = book.change(f"1.{number}")
            found.append(self._book(path, symbol, "delta", levels, book.u, age=self.age * (5 - number) // 6))
        return found

    # Sockets

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.handshakes.append(path)
        if self.handshake_status:
            return web.Response(status=self.handshake_status, text="access too frequent")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.setdefault(path, {})[socket] = set()
        logged_in = path != PRIVATE
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            asked = json.loads(message.data)
            if asked["op"] == "auth":
                logged_in = await self._log_in(socket, asked)
            elif asked["op"] == "ping":
                self.pings.append(path)
                await socket.send_str(PONGS[path].decode())
            else:
                await self._subscribe(socket, path, asked, logged_in=logged_in)
        self._sockets[path].pop(socket, None)
        return socket

    async def _log_in(self, socket: web.WebSocketResponse, asked: dict[str, Any]) -> bool:
        key, expires, signature = asked["args"]
        right = key == KEY and signature == sign(frames.SECRET, f"GET/realtime{expires}")
        words = "" if right else "API key is invalid"
        if self.login_refusals:
            words = self.login_refusals.pop(0)
        elif not self._now() < expires < self._now() + 60_000:
            words = "Params Error"
        self.wrong += [] if right else ["auth"]
        await self._answer_to(socket, asked, words)
        return not words

    async def _subscribe(
        self, socket: web.WebSocketResponse, path: str, asked: dict[str, Any], *, logged_in: bool
    ) -> None:
        op, topics, there = asked["op"], asked["args"], self._sockets[path][socket]
        self.requests.append((path, op, tuple(topics)))
        if op == "unsubscribe":
            there.difference_update(topics)
            await self._answer_to(socket, asked, "")
            return
        words = self._objection(path, topics, there, logged_in=logged_in)
        good = [topic for topic in topics if topic not in self.refused and topic not in there]
        good = good if not words or (self.reading == "one" and len(topics) > 1) else []
        there.update(good)
        first = [frame for topic in good for frame in self._first(path, topic)]
        if not self.late_acknowledgements:
            await self._answer_to(socket, asked, words)
        for frame in first:
            await socket.send_str(frame.decode())
        if self.late_acknowledgements:
            await self._answer_to(socket, asked, words)

    def _objection(self, path: str, topics: list[str], there: set[str], *, logged_in: bool) -> str:
        if not logged_in:
            self.wrong.append("subscribe")
            return f"error:topic:{topics[0]} needs auth first"
        if path == SPOT and len(topics) > 10:
            return "args size >10"
        known = next((topic for topic in topics if topic in there), "")
        bad = next((topic for topic in topics if topic in self.refused), "")
        if bad:
            return f"error:handler not found,topic:{bad}"
        return f"error:already subscribed,topic:{known}" if known else ""

    async def _answer_to(self, socket: web.WebSocketResponse, asked: dict[str, Any], words: str) -> None:
        answer = {"success": not words, "ret_msg": words, "conn_id": "c-1", "op": asked["op"]}
        if "req_id" in asked:
            answer["req_id"] = asked["req_id"]
        await socket.send_str(json.dumps(answer))

    # REST

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        self.called.append(request.raw_path)
        if self.rest_status:
            return web.Response(status=self.rest_status, text="access too frequent")
        if await request.read():
            return web.Response(status=403, text="a GET with a body")
        if path == "/v5/market/time":
            return self._answer(b'{"retCode":0,"retMsg":"OK","result":{}}')
        if path == "/v5/market/instruments-info":
            return self._answer(frames.answer(INSTRUMENTS[request.query["category"]]))
        wrong = self._wrong(request, query)
        if wrong:
            return self._answer(json.dumps({"retCode": wrong, "retMsg": "no", "result": {}}).encode())
        return self._listed(path, dict(request.query))

    def _wrong(self, request: web.Request, query: str) -> int:
        """The code of what is wrong with a private call; 0: nothing is."""
        headers = request.headers
        at = headers.get("X-BAPI-TIMESTAMP", "0")
        signed = sign(frames.SECRET, f"{at}{KEY}{headers.get('X-BAPI-RECV-WINDOW')}{query}")
        if signed != headers.get("X-BAPI-SIGN"):
            self.wrong.append(request.raw_path)
            return 10004
        if not self._now() - 5_000 <= int(at) < self._now() + 1_000:
            return 10002
        linear = request.path in ("/v5/order/realtime", "/v5/position/list") and request.query["category"] == "linear"
        return 10001 if linear and "settleCoin" not in request.query else 0

    def _listed(self, path: str, query: dict[str, str]) -> web.Response:
        for key, rows in self.lists.items():
            known, _, wanted = key.partition("?")
            if known == path and all(
                query.get(part.split("=")[0]) == part.split("=")[1] for part in wanted.split("&") if part
            ):
                found = rows(query) if callable(rows) else rows
                return (
                    found
                    if isinstance(found, web.Response)
                    else self._answer(found if isinstance(found, bytes) else frames.answer(found))
                )
        return self._answer(frames.answer([]))

    def _answer(self, body: bytes, headers: dict[str, str] | None = None) -> web.Response:
        body = json.dumps(json.loads(body) | {"time": self._now()}).encode()
        return web.Response(body=body, headers=headers, content_type="application/json")
