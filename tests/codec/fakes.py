"""Exchanges as CCXT sees them, over real sockets: REST and WebSockets on one port, each host the first part of the path."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from aiohttp import WSMsgType, web

from tests.e2e.threaded_exchange import ThreadedExchange

__all__ = ["Coinbase", "Fake", "Htx", "Kraken", "Kucoin", "Okx"]

Answer = Any


class Fake(ThreadedExchange):
    """An exchange that says what its subclass answers, and whatever a test pushes."""

    def __init__(self) -> None:
        super().__init__()
        self.rest: dict[str, Answer | Callable[[web.Request], Answer]] = {}
        """Host and path → the answer as JSON, or what makes it."""
        self.asked: list[str] = []
        """Host, path and query of all REST calls."""
        self.said: list[tuple[str, Any]] = []
        """Path and message of all that clients have sent."""
        self.sockets: list[tuple[str, web.WebSocketResponse]] = []
        self.status: dict[str, int] = {}
        """Host and path → an HTTP status to answer with."""

    def connected(self) -> Iterable[web.WebSocketResponse]:
        return [socket for _, socket in self.sockets]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.lstrip("/")
        self.asked.append(request.path_qs.lstrip("/"))
        if status := self.status.get(path):
            return web.json_response({"error": "not now"}, status=status, headers={"Retry-After": "1"})
        if path not in self.rest:
            return web.json_response({"error": f"nothing at {path}"}, status=404)
        found = self.rest[path]
        return web.json_response(found(request) if callable(found) else found)

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        path = request.path_qs.lstrip("/")
        self.sockets.append((path, socket))
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                text = message.data
                said = json.loads(text) if text[:1] in "{[" else text
                self.said.append((path, said))
                await self.hear(socket, said)
        self.sockets.remove((path, socket))
        return socket

    async def hear(self, socket: web.WebSocketResponse, said: Any) -> None:
        """Answer a message."""

    async def tell(self, socket: web.WebSocketResponse, message: Any) -> None:
        """Send a message as this exchange sends them."""
        await socket.send_str(message if isinstance(message, str) else json.dumps(message))

    def push(self, *messages: Any, raw: str | None = None, to: str = "") -> None:
        """Send these to all clients whose address contains ``to``."""

        async def work() -> None:
            for path, socket in list(self.sockets):
                if to in path:
                    for message in messages:
                        await self.tell(socket, message)
                    if raw is not None:
                        await socket.send_str(raw)

        self.in_thread(work())

    def cut(self) -> None:
        """End all connections, without a goodbye."""

        async def work() -> None:
            for _, socket in list(self.sockets):
                assert socket._req is not None
                assert socket._req.transport is not None
                socket._req.transport.abort()
            while self.sockets:
                await asyncio.sleep(0.01)

        self.in_thread(work())


class Kraken(Fake):
    """WebSocket v2: JSON numbers, checksums, text pings."""

    REST = "api.kraken.com/0/public/AssetPairs"

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        """Symbols that it does not have."""
        self.rest[self.REST] = {
            "error": [],
            "result": {
                f"{base}USD": {
                    "altname": f"{base}USD",
                    "wsname": f"{base}/USD",
                    "base": base,
                    "quote": "ZUSD",
                    "pair_decimals": 1,
                    "lot_decimals": 8,
                    "status": "online",
                    "fees": [],
                    "fees_maker": [],
                    "leverage_buy": [],
                    "ordermin": "0.0001",
                    "costmin": "0.5",
                    "tick_size": "0.1",
                }
                for base in ("BTC", "ETH", "SOL")
            },
        }

    @staticmethod
    def levels(price: int, step: int) -> list[dict[str, Any]]:
        return [{"price": f"{price + step * number}.0", "qty": f"{number + 1}.00000000"} for number in range(10)]

    @classmethod
    def book(cls, symbol: str) -> str:
        """A snapshot as it comes: numbers, with their zeros."""
        rows = {"symbol": symbol, "bids": cls.levels(27500, -1), "asks": cls.levels(27501, 1)}
        rows["checksum"] = cls.checksum(rows["bids"], rows["asks"])
        return cls.numbers({"channel": "book", "type": "snapshot", "data": [rows]})

    @staticmethod
    def numbers(message: Any) -> str:
        """JSON in which prices and sizes are numbers, with the digits that the texts have."""
        return re.sub(r'"(price|qty)": "([^"]*)"', r'"\1": \2', json.dumps(message))

    @staticmethod
    def checksum(bids: list[dict[str, Any]], asks: list[dict[str, Any]]) -> int:
        def bare(text: str) -> str:
            return text.replace(".", "").lstrip("0")

        rows = asks[:10] + bids[:10]
        return zlib.crc32("".join(bare(row["price"]) + bare(row["qty"]) for row in rows).encode())

    @classmethod
    def better_bid(cls, price: str, qty: str) -> str:
        """An update after the first snapshot: the new level is the best, and the worst falls off."""
        bids = [{"price": price, "qty": qty}, *cls.levels(27500, -1)[:9]]
        rows = {"symbol": "BTC/USD", "bids": bids[:1], "asks": [], "timestamp": "2026-08-09T21:05:48.228568Z"}
        rows["checksum"] = cls.checksum(bids, cls.levels(27501, 1))
        return cls.numbers({"channel": "book", "type": "update", "data": [rows]})

    @classmethod
    def trade(cls, ident: int, symbol: str = "BTC/USD", price: str = "27500.10", qty: str = "0.00000010") -> str:
        row = {
            "symbol": symbol,
            "side": "buy",
            "price": price,
            "qty": qty,
            "ord_type": "market",
            "trade_id": ident,
            "timestamp": "2026-08-09T21:05:48.228568Z",
        }
        return cls.numbers({"channel": "trade", "type": "update", "data": [row]})

    async def hear(self, socket: web.WebSocketResponse, said: Any) -> None:
        if said.get("method") == "ping":
            await self.tell(socket, {"method": "pong", "req_id": said.get("req_id")})
        elif said.get("method") == "subscribe":
            for symbol in said["params"]["symbol"]:
                await self._subscribe(socket, said, symbol)

    async def _subscribe(self, socket: web.WebSocketResponse, said: Any, symbol: str) -> None:
        channel = said["params"]["channel"]
        if symbol in self.refused:
            words = f"Currency pair not supported {symbol}"
            answer = {
                "error": words,
                "method": "subscribe",
                "req_id": said["req_id"],
                "success": False,
                "symbol": symbol,
            }
            await self.tell(socket, answer)
            return
        result = {"channel": channel, "symbol": symbol, "snapshot": True}
        await self.tell(socket, {"method": "subscribe", "req_id": said["req_id"], "result": result, "success": True})
        if channel == "book":
            await self.tell(socket, self.book(symbol))


class Coinbase(Fake):
    """All channels on one connection, whose messages are counted; trades with the maker's side."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        product = {
            "product_id": "BTC-USD",
            "base_currency_id": "BTC",
            "quote_currency_id": "USD",
            "product_type": "SPOT",
            "status": "online",
            "base_increment": "0.00000001",
            "price_increment": "0.01",
        }
        host = "api.coinbase.com"
        self.rest |= {
            f"{host}/api/v3/brokerage/market/products": lambda request: {
                "products": [] if request.query.get("product_type") == "FUTURE" else [product]
            },
            f"{host}/v2/currencies": {"data": [{"id": "USD", "name": "US Dollar", "min_size": "0.01"}]},
            f"{host}/v2/currencies/crypto": {"data": [{"code": "BTC", "name": "Bitcoin", "type": "crypto"}]},
            f"{host}/v2/exchange-rates": {"data": {"currency": "USD", "rates": {"BTC": "0.00001"}}},
            f"{host}/v2/time": {"data": {"iso": "2026-08-09T21:05:48Z", "epoch": 1786309548}},
            f"{host}/api/v3/brokerage/time": {"epochSeconds": "1786309548", "epochMillis": "1786309548228"},
        }

    async def tell(self, socket: web.WebSocketResponse, message: Any) -> None:
        await super().tell(socket, {**message, "sequence_num": self.number})
        self.number += 1

    async def serve_socket(self, request: web.Request) -> web.StreamResponse:
        self.number = 0
        return await super().serve_socket(request)

    async def hear(self, socket: web.WebSocketResponse, said: Any) -> None:
        if said["channel"] == "level2":
            await self.tell(socket, self.levels("snapshot", ("bid", "65083.50", "0.20"), ("offer", "65083.60", "1.00")))

    @staticmethod
    def levels(kind: str, *rows: tuple[str, str, str]) -> dict[str, Any]:
        updates = [
            {"side": side, "event_time": "2026-08-09T21:05:48Z", "price_level": price, "new_quantity": size}
            for side, price, size in rows
        ]
        events = [{"type": kind, "product_id": "BTC-USD", "updates": updates}]
        return {"channel": "l2_data", "timestamp": "2026-08-09T21:05:48.228568804Z", "events": events}

    @staticmethod
    def trades(*idents: int) -> dict[str, Any]:
        rows = [
            {
                "trade_id": str(ident),
                "product_id": "BTC-USD",
                "price": "65083.60",
                "size": "0.00010",
                "side": "SELL",
                "time": "2026-08-09T21:05:48.228568Z",
            }
            for ident in reversed(idents)
        ]
        events = [{"type": "update", "trades": rows}]
        return {"channel": "market_trades", "timestamp": "2026-08-09T21:05:48.3Z", "events": events}


class Kucoin(Fake):
    """A token by REST first; books' snapshots by REST, between deltas."""

    TOKEN = "a-token-that-nobody-may-see"

    def __init__(self) -> None:
        super().__init__()
        symbol = {
            "symbol": "BTC-USDT",
            "name": "BTC-USDT",
            "baseCurrency": "BTC",
            "quoteCurrency": "USDT",
            "baseIncrement": "0.00000001",
            "priceIncrement": "0.1",
            "enableTrading": True,
        }
        book = {
            "sequence": "103",
            "time": 1786309548228,
            "bids": [["65083.5", "0.20000000"], ["65083.4", "1.1234567890123456789"]],
            "asks": [["65083.6", "1"]],
        }
        server = {"endpoint": "wss://ws-api-spot.kucoin.com/", "pingInterval": 18000, "pingTimeout": 10000}
        host = "api.kucoin.com"
        self.rest |= {
            f"{host}/api/v2/symbols": self.good([symbol]),
            f"{host}/api/v1/market/allTickers": self.good({"ticker": []}),
            f"{host}/api/v1/timestamp": self.good(1786309548228),
            f"{host}/api/v1/bullet-public": self.good({"token": self.TOKEN, "instanceServers": [server]}),
            f"{host}/api/v1/market/orderbook/level2_100": self.good(book),
            f"{host}/api/v3/market/orderbook/level2": self.good(book),
            "api-futures.kucoin.com/api/v1/contracts/active": self.good([]),
        }

    @staticmethod
    def good(data: Any) -> dict[str, Any]:
        return {"code": "200000", "data": data}

    async def hear(self, socket: web.WebSocketResponse, said: Any) -> None:
        kinds = {"subscribe": "ack", "ping": "pong"}
        await self.tell(socket, {"id": said["id"], "type": kinds[said["type"]]})

    @staticmethod
    def delta(number: int, price: str, size: str) -> dict[str, Any]:
        changes = {"asks": [], "bids": [[price, size, str(number)]]}
        data = {"sequenceStart": number, "sequenceEnd": number, "symbol": "BTC-USDT", "changes": changes}
        return {
            "type": "message",
            "topic": "/market/level2:BTC-USDT",
            "subject": "trade.l2update",
            "data": {**data, "time": 1786309548228},
        }

    @staticmethod
    def trade(ident: int) -> dict[str, Any]:
        data = {
            "sequence": str(ident),
            "type": "match",
            "symbol": "BTC-USDT",
            "side": "buy",
            "price": "65083.6",
            "size": "0.00010",
            "tradeId": str(ident),
            "time": "1786309548228568000",
        }
        return {"type": "message", "topic": "/market/match:BTC-USDT", "subject": "trade.l3match", "data": data}


class Htx(Fake):
    """Packed frames, pings of its own, exponents, snapshots by a request over the socket."""

    CHANNEL = "market.btcusdt.mbp.150"

    def __init__(self) -> None:
        super().__init__()
        row = {"base-currency": "btc", "quote-currency": "usdt", "symbol": "btcusdt", "state": "online"}
        more = {"price-precision": 2, "amount-precision": 6, "value-precision": 8, "api-trading": "enabled"}
        self.rest |= {
            "api.huobi.pro/v1/common/symbols": {"status": "ok", "data": [row | more]},
            "api.huobi.pro/v1/common/timestamp": {"status": "ok", "data": 1786309548228},
            "api.hbdm.vn/linear-swap-api/v1/swap_contract_info": self.contracts(
                {"contract_code": "BTC-USDT", "pair": "BTC-USDT", "business_type": "swap", "trade_partition": "USDT"}
            ),
            "api.hbdm.vn/swap-api/v1/swap_contract_info": self.contracts({"contract_code": "BTC-USD"}),
            "api.hbdm.vn/api/v1/contract_contract_info": self.contracts(
                {"contract_code": "BTC261225", "contract_type": "quarter", "delivery_date": "20261225"}
            ),
        }

    @staticmethod
    def contracts(row: dict[str, Any]) -> dict[str, Any]:
        common = {"symbol": "BTC", "contract_size": 100, "price_tick": 0.1, "contract_status": 1}
        common |= {"create_date": "20200401", "delivery_time": "1798185600000"}
        return {"status": "ok", "data": [{**common, **row}]}

    async def tell(self, socket: web.WebSocketResponse, message: Any) -> None:
        text = message if isinstance(message, str) else json.dumps(message)
        await socket.send_bytes(gzip.compress(text.encode()))

    async def hear(self, socket: web.WebSocketResponse, said: Any) -> None:
        if "sub" in said:
            await self.tell(socket, {"id": said["id"], "status": "ok", "subbed": said["sub"], "ts": 1786309548000})
            if said["sub"] == self.CHANNEL:
                await self.tell(socket, self.delta(100, 101, "[[65083.5,1.58E-4]]"))
        elif "req" in said:
            data = '{"seqNum":101,"bids":[[65083.5,0.000158],[65083.4,2]],"asks":[[65083.6,1.50]]}'
            await self.tell(
                socket,
                f'{{"id":"{said["id"]}","rep":"{self.CHANNEL}","status":"ok","ts":1786309548100,"data":{data}}}',
            )

    @classmethod
    def delta(cls, before: int, number: int, bids: str) -> str:
        tick = f'{{"seqNum":{number},"prevSeqNum":{before},"bids":{bids},"asks":[]}}'
        return f'{{"ch":"{cls.CHANNEL}","ts":1786309548228,"tick":{tick}}}'

    @staticmethod
    def trade(ident: int) -> str:
        row = (
            f'{{"id":{ident},"ts":1786309548228,"tradeId":{ident},"amount":1.58E-4,"price":65083.60,"direction":"buy"}}'
        )
        return f'{{"ch":"market.btcusdt.trade.detail","ts":1786309548228,"tick":{{"id":1,"ts":1,"data":[{row}]}}}}'


class Okx(Fake):
    """An account: a log-in by message, then its channels; linear swaps in contracts."""

    def __init__(self) -> None:
        super().__init__()
        self.refuse_login = False
        self.orders: list[dict[str, Any]] = []
        self.fills: list[dict[str, Any]] = []
        host = "www.okx.com/api/v5"
        instruments = {
            "SPOT": {"instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT"},
            "SWAP": {
                "instId": "BTC-USDT-SWAP",
                "settleCcy": "USDT",
                "ctType": "linear",
                "ctVal": "0.01",
                "ctMult": "1",
                "uly": "BTC-USDT",
                "instFamily": "BTC-USDT",
                "ctValCcy": "BTC",
            },
        }
        common = {"state": "live", "tickSz": "0.1", "lotSz": "1", "minSz": "1", "lever": "10", "listTime": "1"}
        self.rest |= {
            f"{host}/public/instruments": lambda request: self.good(
                [{**instruments[kind], **common, "instType": kind}]
                if (kind := request.query["instType"]) in instruments
                else []
            ),
            f"{host}/public/time": self.good([{"ts": "1786309548228"}]),
            f"{host}/account/config": self.good([{"posMode": "net_mode", "acctLv": "2", "uid": "1"}]),
            f"{host}/trade/orders-pending": lambda _: self.good(self.orders),
            f"{host}/trade/fills-history": lambda _: self.good(self.fills),
            f"{host}/trade/fills": lambda _: self.good(self.fills),
            f"{host}/account/positions": self.good([]),
            f"{host}/account/balance": self.good([self.balance("100.50000000", "0")]),
        }

    @staticmethod
    def good(data: Any) -> dict[str, Any]:
        return {"code": "0", "msg": "", "data": data}

    @staticmethod
    def balance(available: str, frozen: str) -> dict[str, Any]:
        total = f"{float(available) + float(frozen):.8f}"
        row = {"ccy": "USDT", "availBal": available, "availEq": available, "frozenBal": frozen, "cashBal": total}
        return {"uTime": "1786309548228", "totalEq": "", "details": [{**row, "eq": total}]}

    @staticmethod
    def order(ident: str, state: str, filled: str = "0", **more: Any) -> dict[str, Any]:
        return {
            "instType": "SWAP",
            "instId": "BTC-USDT-SWAP",
            "ordId": ident,
            "clOrdId": "mine",
            "px": "65000.10",
            "sz": "7",
            "accFillSz": filled,
            "state": state,
            "side": "buy",
            "ordType": "limit",
            "tdMode": "cross",
            "cTime": "1786309548000",
            "uTime": "1786309548228",
            "fee": "0",
            "feeCcy": "USDT",
            "avgPx": "",
            **more,
        }

    async def hear(self, socket: web.WebSocketResponse, said: Any) -> None:
        if said == "ping":
            await self.tell(socket, "pong")
        elif said["op"] == "login":
            if self.refuse_login:
                await self.tell(socket, {"event": "error", "msg": "Invalid apiKey", "code": "60005", "connId": "a4d3"})
            else:
                await self.tell(socket, {"event": "login", "msg": "", "code": "0", "connId": "a4d3"})
        elif said["op"] == "subscribe":
            for arg in said["args"]:
                await self.tell(socket, {"event": "subscribe", "arg": arg, "connId": "a4d3"})
                if arg["channel"] == "books":
                    await self.tell(socket, self.book("snapshot", 10, -1, [["65000.10", "5", "0", "1"]]))

    @staticmethod
    def book(action: str, number: int, before: int, bids: list[list[str]]) -> dict[str, Any]:
        data = {"bids": bids, "asks": [["65000.20", "3", "0", "1"]], "ts": "1786309548228", "checksum": 0}
        arg = {"channel": "books", "instId": "BTC-USDT-SWAP"}
        return {"arg": arg, "action": action, "data": [{**data, "seqId": number, "prevSeqId": before}]}
