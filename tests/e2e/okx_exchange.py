"""An OKX over real sockets, WebSocket and REST, in a thread of its own: books that move, refusals, an account that trades."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from email.utils import formatdate
from typing import Any

from aiohttp import WSMsgType, web

from bridge.exchanges.okx.private import sign
from tests.e2e.path_exchange import PathExchange
from tests.unit import okx_frames as frames

KEY, PASSPHRASE = "okx-key-of-the-test", "okx-passphrase-of-the-test"
PUBLIC, BUSINESS, PRIVATE = (f"/ws/v5/{name}" for name in ("public", "business", "private"))
_OF_DERIVATIVES = ("funding-rate", "mark-price", "index-tickers", "open-interest", "liquidation-orders")
PLACES = {
    PUBLIC: ("books", "bbo-tbt", "trades", "tickers", "status", *_OF_DERIVATIVES),
    BUSINESS: ("trades-all",),
    PRIVATE: ("orders", "positions", "account"),
}
"""Which channels are where; elsewhere they are refused."""
Rows = list[dict[str, Any]] | Callable[[dict[str, str]], Any]


class Book:
    """One instrument's book: levels in the exchange's units, numbers that rise by any step."""

    def __init__(self, price: int) -> None:
        self.number = 1_000
        self.bids = {str(price - number): "10" for number in range(1, 4)}
        self.asks = {str(price + number): "10" for number in range(1, 4)}

    def change(self, size: str, number: int | None = None) -> dict[str, Any]:
        """The best bid has another size; the row of an update."""
        before, self.number = self.number, self.number + 7 if number is None else number
        best = max(self.bids, key=int)
        self.bids[best] = size
        return self.row({best: size}, {}, before)

    def row(self, bids: dict[str, str], asks: dict[str, str], before: int) -> dict[str, Any]:
        bid_levels, ask_levels = ([[price, size, "0", "1"] for price, size in side.items()] for side in (bids, asks))
        at = str(int(time.time() * 1000))
        return {
            "bids": bid_levels,
            "asks": ask_levels,
            "ts": at,
            "checksum": 0,
            "prevSeqId": before,
            "seqId": self.number,
        }


class OkxExchange(PathExchange):
    """``refused``: topics (channel and instrument) that it doesn't serve."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.unnamed = False
        """Whether refusals name only their request."""
        self.login_refusals: list[tuple[str, str]] = []
        """Codes and words of the next refusals."""
        self.rest_refusal: tuple[str, str] | None = None
        """Code and words of what REST answers to all signed calls."""
        self.clock = 0
        """How far its clock is ahead (ms)."""
        self.crowded: set[str] = set()
        """Channels that too many connections are subscribed to."""
        self.lists: dict[str, Rows] = {}
        """REST path → rows, or what makes an answer."""
        self.instruments: dict[str, list[dict[str, Any]]] = {kind: list(rows) for kind, rows in frames.LISTED.items()}
        self.first_trade = ""
        """The id of a trade of before that a subscription begins with."""
        self.books = {"BTC-USDT": Book(100), "ETH-USDT": Book(50), "SOL-USDC": Book(20), "BTC-USDT-SWAP": Book(200)}
        self.books["BTC-USDT-261225"] = Book(300)
        self.headers: list[dict[str, str]] = []

    # What happens

    def say(self, path: str, *many: bytes) -> None:
        """Send frames to who is subscribed to their topics."""

        async def go() -> None:
            for frame in many:
                await self.publish(path, _topic(json.loads(frame)["arg"]), frame)

        self.in_thread(go())

    def change(self, symbol: str, size: str, *, lose: bool = False, number: int | None = None) -> None:
        """A book changes; with ``lose`` nobody is told; with ``number`` its numbers begin again there."""
        row = self.books[symbol].change(size, number)
        if not lose:
            self.say(PUBLIC, _book(symbol, "update", row))

    def still(self, symbol: str) -> None:
        """What is said of a book that nothing happens to."""
        book = self.books[symbol]
        self.say(PUBLIC, _book(symbol, "update", book.row({}, {}, book.number)))

    def upgrade(self, path: str) -> list[web.WebSocketResponse]:
        """Announce that the connections of a path will be closed; returns them."""
        sockets = list(self._sockets.get(path, {}))
        self.tell(path, frames.UPGRADE)
        return sockets

    def _now(self) -> int:
        return int(time.time() * 1000) + self.clock

    # Sockets

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.handshakes.append(path)
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        self._sockets.setdefault(path, {})[socket] = set()
        logged_in = path != PRIVATE
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                self.wrong.append(f"a message of type {message.type}")
                continue
            if message.data == "ping":
                self.pings.append(path)
                await socket.send_str("pong")
                continue
            asked = json.loads(message.data)
            if asked["op"] == "login":
                logged_in = await self._log_in(socket, asked["args"][0])
            elif logged_in:
                await self._subscribe(socket, path, asked)
            else:
                self.wrong.append("a request before the log-in")
                await self._refuse(socket, asked["id"], "60011", "Please log in")
        self._sockets[path].pop(socket, None)
        return socket

    async def _log_in(self, socket: web.WebSocketResponse, arg: dict[str, str]) -> bool:
        at = int(arg["timestamp"])
        refusal = self.login_refusals.pop(0) if self.login_refusals else None
        if refusal is None and arg["apiKey"] != KEY:
            refusal = ("60005", "Invalid apiKey")
        elif refusal is None and arg["passphrase"] != PASSPHRASE:
            refusal = ("60024", "Wrong passphrase")
        elif refusal is None and not abs(at - self._now() // 1000) <= 30:
            refusal = ("60006", "Timestamp request expired")
        elif refusal is None and arg["sign"] != sign(frames.SECRET, f"{at}GET/users/self/verify"):
            self.wrong.append("login")
            refusal = ("60007", "Invalid sign")
        if refusal:
            await socket.send_str(
                json.dumps({"event": "error", "code": refusal[0], "msg": refusal[1], "connId": "c-1"})
            )
            return False
        await socket.send_str(frames.LOGGED_IN.decode())
        return True

    async def _subscribe(self, socket: web.WebSocketResponse, path: str, asked: dict[str, Any]) -> None:
        op, ident, there = asked["op"], asked["id"], self._sockets[path][socket]
        topics = {_topic(arg): arg for arg in asked["args"]}
        self.requests.append((path, op, tuple(topics)))
        if not (ident.isalnum() and len(ident) <= 32):
            await self._refuse(socket, ident, "60033", f"Invalid id {ident}")
            return
        for topic, arg in reversed(topics.items()):
            if op == "unsubscribe":
                there.discard(topic)
                await socket.send_str(json.dumps({"event": "unsubscribe", "arg": arg, "connId": "c-1"}))
            elif arg["channel"] not in PLACES[path] or topic in self.refused:
                about = "instId" if "instId" in arg else "instType"
                named = f"channel:{arg['channel']},{about}:{arg.get(about)}"
                words = f"Subscribe failed, wrong URL or {named} doesn't exist."
                await self._refuse(socket, ident, "60018", "Subscribe failed." if self.unnamed else words)
            else:
                there.add(topic)
                await socket.send_str(json.dumps({"id": ident, "event": "subscribe", "arg": arg, "connId": "c-1"}))
                await self._begin(socket, path, arg)

    async def _begin(self, socket: web.WebSocketResponse, path: str, arg: dict[str, str]) -> None:
        """What follows an acknowledgement."""
        channel, symbol = arg["channel"], arg.get("instId", "")
        if channel == "books" and symbol in self.books:
            book = self.books[symbol]
            await socket.send_str(_book(symbol, "snapshot", book.row(book.bids, book.asks, -1)).decode())
        if channel == "trades" and self.first_trade:
            await socket.send_str(trade(symbol, self.first_trade).decode())
        if path == PRIVATE and channel in self.crowded:
            self._sockets[path][socket].discard(_topic(arg))
            await socket.send_str(frames.CROWDED.replace(b'"orders"', f'"{channel}"'.encode()).decode())
        elif path == PRIVATE:
            await socket.send_str(frames.COUNT.replace(b'"orders"', f'"{channel}"'.encode()).decode())

    async def _refuse(self, socket: web.WebSocketResponse, ident: str, code: str, words: str) -> None:
        await socket.send_str(json.dumps({"id": ident, "event": "error", "code": code, "msg": words, "connId": "c-1"}))

    # REST

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.called.append(request.raw_path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        if path == "/api/v5/public/time":
            return self._answer(frames.answer([{"ts": str(self._now())}]))
        if path == "/api/v5/public/instruments":
            return self._answer(frames.answer(self.instruments[request.query["instType"]]))
        if refusal := self._refusal(request):
            code, words = refusal
            return self._answer(json.dumps({"code": code, "msg": words}).encode(), 401 if code != "50120" else 200)
        rows = self.lists.get(path, [])
        found = rows(dict(request.query)) if callable(rows) else rows
        return found if isinstance(found, web.Response) else self._answer(frames.answer(found))

    def _refusal(self, request: web.Request) -> tuple[str, str] | None:
        """What is wrong with a private call."""
        headers = request.headers
        at = headers.get("OK-ACCESS-TIMESTAMP", "")
        if self.rest_refusal:
            return self.rest_refusal
        if headers.get("OK-ACCESS-PASSPHRASE") != PASSPHRASE:
            return "50105", "Request header OK-ACCESS-PASSPHRASE incorrect."
        if headers.get("OK-ACCESS-SIGN") != sign(frames.SECRET, f"{at}GET{request.raw_path}"):
            self.wrong.append(request.raw_path)
            return "50113", "Invalid Sign"
        if abs(datetime.fromisoformat(at).timestamp() * 1000 - self._now()) > 30_000:
            return "50102", "Timestamp request expired"
        return None

    def _answer(self, body: bytes, status: int = 200) -> web.Response:
        headers = {"Date": formatdate(self._now() / 1000, usegmt=True)}
        return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def trade(symbol: str, ident: str, count: int = 1, size: str = "1") -> bytes:
    """A trade, or ``count`` as one."""
    row = {
        "instId": symbol,
        "tradeId": ident,
        "px": "100.1",
        "sz": size,
        "side": "buy",
        "ts": str(int(time.time() * 1000)),
    }
    return _frame({"channel": "trades", "instId": symbol}, row | {"count": str(count), "source": "0", "seqId": 1})


def _book(symbol: str, action: str, row: dict[str, Any]) -> bytes:
    return json.dumps({"arg": {"channel": "books", "instId": symbol}, "action": action, "data": [row]}).encode()


def _frame(arg: dict[str, str], *rows: dict[str, Any]) -> bytes:
    return json.dumps({"arg": arg, "data": list(rows)}).encode()


def _topic(arg: dict[str, str]) -> str:
    """Of an account's the channel alone counts: pushes may name the type more closely."""
    if arg["channel"] in PLACES[PRIVATE] or arg["channel"] == "status":
        return arg["channel"]
    return f"{arg['channel']}.{arg.get('instId') or arg.get('instType', '')}"
