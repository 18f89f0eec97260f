"""Markets of exchanges as CCXT sees them: what each of them answers and sends in its own way."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from typing import Any

from aiohttp import web

from tests.codec.fake import Fake

__all__ = ["Coinbase", "Htx", "Kraken", "Kucoin"]


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
