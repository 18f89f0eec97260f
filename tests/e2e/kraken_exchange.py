"""A Kraken over real sockets, WebSocket and REST, in a thread of its own: books that are cut, tokens, an account that trades."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

from aiohttp import WSMsgType, web

from tests.e2e.threaded_exchange import ThreadedExchange
from tests.unit import kraken_frames as frames

KEY = "kraken-key-of-the-test"
PRECISIONS = {"BTC/USD": (1, 8), "MATIC/USD": (4, 8), "ALGO/USD": (5, 8)}
PRIVATE = ("executions", "balances")
Side = dict[Decimal, Decimal]


class Book:
    """One symbol's book, deeper than what anybody sees of it."""

    def __init__(self, price: int, levels: int, precision: tuple[int, int]) -> None:
        self.precision = precision
        step = Decimal(1).scaleb(-precision[0])
        self.bids: Side = {price - step * number: Decimal("0.5") * number for number in range(1, levels + 1)}
        self.asks: Side = {price + step * number: Decimal("0.25") * number for number in range(1, levels + 1)}

    def seen(self, depth: int) -> tuple[Side, Side]:
        bids, asks = sorted(self.bids, reverse=True)[:depth], sorted(self.asks)[:depth]
        return {price: self.bids[price] for price in bids}, {price: self.asks[price] for price in asks}

    def checksum(self) -> int:
        """By the documents' rule, of numbers that are written to the pair's own precision."""
        bids, asks = self.seen(10)
        text = ""
        for side in (asks, bids):
            for level in side.items():
                for number, decimals in zip(level, self.precision, strict=True):
                    text += f"{number:.{decimals}f}".replace(".", "").lstrip("0")
        return zlib.crc32(text.encode())


class KrakenExchange(ThreadedExchange):
    """``refused`` are channels with symbols (``book:BTC/USD``) that it doesn't serve."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.bare = False
        """Whether a refusal names nothing but its request, with the pair at the end of its words."""
        self.zeros = False
        """Whether numbers are written to their full precision."""
        self.system = "online"
        self.handshake_status = 0
        self.instruments_wait: list[float] = []
        self.books = {
            symbol: Book(price, 1200 if symbol == "BTC/USD" else 6, PRECISIONS[symbol])
            for symbol, price in (("BTC/USD", 45_000), ("MATIC/USD", 1), ("ALGO/USD", 2))
        }
        self.trades: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in self.books}
        self.requests: list[dict[str, Any]] = []
        self.handshakes = 0
        self.pings = 0
        self._sockets: dict[web.WebSocketResponse, dict[str, dict[str, Any]]] = {}
        """Socket → what it is subscribed to, with the parameters of the request."""
        # The account
        self.token_errors: list[str] = []
        """Words of the next refusals of a token over a connection."""
        self.errors: dict[str, list[str]] = {}
        """REST method → the words of its next refusals; the last one stays."""
        self.open_orders: list[dict[str, Any]] = []
        """Rows of the snapshot of executions: all that is open."""
        self.fills: list[dict[str, Any]] = []
        """Rows of trades, oldest first; a snapshot has the last 50."""
        self.results: dict[str, Any] = {
            "OpenOrders": {"open": {}},
            "QueryOrders": {},
            "BalanceEx": {"ZUSD": frames.BALANCE_ROW},
        }
        self.called: list[str] = []
        self.forms: list[tuple[str, dict[str, str]]] = []
        self._tokens: set[str] = set()
        self._nonce = 0
        self._sequences: dict[tuple[int, str], int] = {}

    def connected(self) -> Iterable[web.WebSocketResponse]:
        return list(self._sockets)

    # Market data

    def change(self, symbol: str, bids: Side = {}, asks: Side = {}, *, lose: bool = False, wrong: bool = False) -> None:  # noqa: B006 - they are only read
        """Levels change; those that fall out of what somebody sees do so without a word. ``lose``: nobody is told."""

        async def go() -> None:
            book = self.books[symbol]
            seen = {depth: book.seen(depth) for depth in (10, 25, 100, 500, 1000)}
            for side, levels in ((book.bids, bids), (book.asks, asks)):
                side.update(levels)
                for price in [price for price, size in side.items() if not size]:
                    del side[price]
            if lose:
                return
            for socket, params in self._subscribed(f"book:{symbol}"):
                depth = params["depth"]
                sides = [
                    [(price, size) for price, size in after.items() if before.get(price) != size]
                    + [(price, Decimal(0)) for price in before if price not in after and price not in whole]
                    for before, after, whole in zip(seen[depth], book.seen(depth), (book.bids, book.asks), strict=True)
                ]
                await self._send(socket, self._book(symbol, "update", sides, wrong=wrong))

        self.in_thread(go())

    def say(self, *many: bytes) -> None:
        """Send frames of market data to those that are subscribed to them."""

        async def go() -> None:
            for frame in many:
                message = json.loads(frame)
                for socket, _ in self._subscribed(f"{message['channel']}:{message['data'][0]['symbol']}"):
                    await socket.send_str(frame.decode())

        self.in_thread(go())

    def trade(self, symbol: str, *numbers: int, heard: bool = True) -> None:
        """Trades happen; ``heard``: they are told."""
        for number in numbers:
            row = json.loads(frames.TRADE)["data"][0] | {"symbol": symbol, "trade_id": number, "timestamp": stamp()}
            self.trades[symbol].append(row)
            if heard:
                self.say(json.dumps({"channel": "trade", "type": "update", "data": [row]}).encode())

    def set_system(self, state: str) -> None:
        self.system = state

        async def go() -> None:
            for socket in self.connected():
                await self._send(socket, self._status())

        self.in_thread(go())

    def set_pair(self, symbol: str, state: str) -> None:
        """The list of instruments has the pair in another state."""
        pairs = [{"symbol": symbol, "status": state}]

        async def go() -> None:
            for socket, _ in self._subscribed("instrument"):
                await self._send(socket, frame("instrument", "update", {"assets": [], "pairs": pairs}))

        self.in_thread(go())

    def cut(self, channel: str, code: int = 1000) -> None:
        """End the connections that are subscribed to a channel."""

        async def go() -> None:
            for socket in [s for s, topics in self._sockets.items() if any(t.startswith(channel) for t in topics)]:
                await socket.close(code=code)

        self.in_thread(go())

    def asked(self, method: str, channel: str, symbol: str = "") -> list[dict[str, Any]]:
        """The parameters of requests."""
        found = [r["params"] for r in self.requests if r["method"] == method and r["params"]["channel"] == channel]
        return [params for params in found if not symbol or symbol in params["symbol"]]

    # The account

    def execute(self, *rows: dict[str, Any], lose: bool = False) -> None:
        """Events of orders, as one message; ``lose``: its number is used up, and nobody is told."""

        async def go() -> None:
            for socket, _ in self._subscribed("executions"):
                message = self._numbered(socket, "executions", "update", list(rows))
                if not lose:
                    await self._send(socket, message)

        self.fills += [row for row in rows if row.get("exec_type") == "trade"]
        self.in_thread(go())

    def balance(self) -> None:
        """The total of a currency changes."""

        async def go() -> None:
            for socket, _ in self._subscribed("balances"):
                await self._send(
                    socket, self._numbered(socket, "balances", "update", json.loads(frames.BALANCE)["data"])
                )

        self.in_thread(go())

    def expire_tokens(self) -> None:
        """What is asked for with a token of before is refused, and the connection stays open."""
        self._tokens.clear()

    # Sockets

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        self.handshakes += 1
        if self.handshake_status:
            return web.Response(status=self.handshake_status, text="too many attempts")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[socket] = {}
        beats = asyncio.create_task(self._beat(socket))
        await self._send(socket, self._status())
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            asked = json.loads(message.data)
            if asked["method"] == "ping":
                self.pings += 1
                await socket.send_str(frames.PONG.decode())
                continue
            self.requests.append(asked)
            channel, symbols = asked["params"]["channel"], asked["params"].get("symbol", [""])
            for symbol in symbols:
                await self._answer_to(socket, asked, channel, symbol)
        beats.cancel()
        self._sockets.pop(socket, None)
        return socket

    async def _beat(self, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(1)
            await socket.send_str(frames.HEARTBEAT.decode())

    async def _answer_to(self, socket: web.WebSocketResponse, asked: dict[str, Any], channel: str, symbol: str) -> None:
        params, topic = asked["params"], f"{channel}:{symbol}".rstrip(":")
        words = self._objection(socket, asked, topic)
        about: dict[str, Any] = {"channel": channel, "snapshot": True, **({"symbol": symbol} if symbol else {})}
        about |= {"depth": params["depth"]} if "depth" in params else {}
        answer: dict[str, Any] = {"method": asked["method"], "req_id": asked["req_id"], "success": not words}
        if not words:
            answer["result"] = about
        else:
            answer |= {"error": words} | ({} if self.bare or not symbol else {"symbol": symbol})
        await self._send(socket, json.dumps(answer))
        if words:
            return
        if asked["method"] == "unsubscribe":
            self._sockets[socket].pop(topic)
            return
        self._sockets[socket][topic] = params
        for first in await self._first(socket, channel, symbol, params):
            await self._send(socket, first)

    def _objection(self, socket: web.WebSocketResponse, asked: dict[str, Any], topic: str) -> str:
        there = self._sockets[socket].get(topic)
        if topic in self.refused:
            return f"Currency pair not supported {topic.partition(':')[2]}"
        if topic in PRIVATE and self.token_errors:
            return self.token_errors.pop(0)
        if topic in PRIVATE and asked["params"].get("token") not in self._tokens:
            self.wrong.append("token")
            return "ESession:Invalid session"
        if asked["method"] == "unsubscribe":
            same = there is not None and there.get("depth") == asked["params"].get("depth")
            return "" if same else "Subscription Not Found"
        return "Already subscribed" if there is not None else ""

    async def _first(
        self, socket: web.WebSocketResponse, channel: str, symbol: str, params: dict[str, Any]
    ) -> list[str]:
        """What a subscription begins with."""
        if channel == "instrument":
            await asyncio.sleep(self.instruments_wait.pop(0) if self.instruments_wait else 0)
            return [frames.INSTRUMENTS.decode()]
        if channel == "book":
            sides = [list(side.items()) for side in self.books[symbol].seen(params["depth"])]
            return [self._book(symbol, "snapshot", sides)]
        if channel == "trade" and params["snapshot"] and self.trades[symbol]:
            return [frame("trade", "snapshot", self.trades[symbol][-50:])]
        if channel == "executions":
            self._sequences.pop((id(socket), channel), None)
            rows = [*self.fills[-50:], *self.open_orders] if params["snap_trades"] and params["snap_orders"] else []
            return [self._numbered(socket, channel, "snapshot", rows)]
        if channel == "balances":
            self._sequences.pop((id(socket), channel), None)
            return [self._numbered(socket, channel, "snapshot", json.loads(frames.BALANCES)["data"])]
        return []

    def _subscribed(self, topic: str) -> list[tuple[web.WebSocketResponse, dict[str, Any]]]:
        return [(socket, topics[topic]) for socket, topics in list(self._sockets.items()) if topic in topics]

    def _numbered(self, socket: web.WebSocketResponse, channel: str, kind: str, rows: list[Any]) -> str:
        key = (id(socket), channel)
        self._sequences[key] = self._sequences.get(key, 0) + 1
        return json.dumps({"channel": channel, "type": kind, "data": rows, "sequence": self._sequences[key]})

    def _book(self, symbol: str, kind: str, sides: list[list[tuple[Decimal, Decimal]]], *, wrong: bool = False) -> str:
        book = self.books[symbol]
        bids, asks = (
            [{"price": self._written(price, book, 0), "qty": self._written(size, book, 1)} for price, size in side]
            for side in sides
        )
        row = {"symbol": symbol, "bids": bids, "asks": asks, "checksum": book.checksum() ^ wrong, "timestamp": stamp()}
        return frames.dumps({"channel": "book", "type": kind, "data": [row]}).decode()

    def _written(self, value: Decimal, book: Book, place: int) -> float:
        text = f"{value:.{book.precision[place]}f}"
        return frames.number(text if self.zeros else text.rstrip("0").rstrip("."))

    def _status(self) -> str:
        return frames.STATUS.decode().replace("online", self.system)

    async def _send(self, socket: web.WebSocketResponse, text: str) -> None:
        if not socket.closed:
            await socket.send_str(text)

    # REST

    async def answer(self, request: web.Request) -> web.StreamResponse:
        kind, _, method = request.path.removeprefix("/0/").partition("/")
        self.called.append(method)
        if kind == "public":
            result: Any = (
                frames.ASSET_PAIRS if method == "AssetPairs" else {"unixtime": int(datetime.now(UTC).timestamp())}
            )
            return self._result(result)
        form = {name: values[0] for name, values in parse_qs((await request.read()).decode()).items()}
        self.forms.append((method, form))
        if error := self._refusal(request, method, await request.read(), form):
            return web.json_response({"error": [error]})
        if method == "GetWebSocketsToken":
            token = f"token-{len(self._tokens)}-{form['nonce']}"
            self._tokens.add(token)
            return self._result({"token": token, "expires": 900})
        if method == "TradesHistory":
            return self._result(self._history(form))
        found = self.results[method]
        return self._result(found(form) if callable(found) else found)

    def _refusal(self, request: web.Request, method: str, body: bytes, form: dict[str, str]) -> str:
        text = request.path.encode() + hashlib.sha256(form["nonce"].encode() + body).digest()
        made = hmac.new(base64.b64decode(frames.SECRET), text, hashlib.sha512).digest()
        if request.headers.get("API-Key") != KEY:
            return "EAPI:Invalid key"
        if request.headers.get("API-Sign") != base64.b64encode(made).decode():
            self.wrong.append(method)
            return "EAPI:Invalid signature"
        if int(form["nonce"]) <= self._nonce:
            return "EAPI:Invalid nonce"
        self._nonce = int(form["nonce"])
        left = self.errors.get(method, [])
        return left.pop(0) if len(left) > 1 else left[0] if left else ""

    def _history(self, form: dict[str, str]) -> dict[str, Any]:
        """The newest first, 50 a page, of after ``start``."""
        if form["consolidate_taker"] != "false":
            self.wrong.append("consolidated fills")
        rows = [row for row in reversed(self.fills) if seconds(row["timestamp"]) > float(form["start"])]
        page = rows[int(form["ofs"]) : int(form["ofs"]) + 50]
        trades = {
            row["exec_id"]: frames.TRADE_ROW
            | {"ordertxid": row["order_id"], "time": seconds(row["timestamp"]), "type": row["side"]}
            for row in page
        }
        return {"trades": trades, "count": len(rows)}

    def _result(self, result: Any) -> web.Response:
        return web.json_response({"error": [], "result": result})


def stamp() -> str:
    """Now, as the exchange writes times."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def frame(channel: str, kind: str, data: Any) -> str:
    return json.dumps({"channel": channel, "type": kind, "data": data})
