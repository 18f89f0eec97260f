"""Accounts of exchanges as CCXT sees them."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.codec.fake import Fake

__all__ = ["Okx"]


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
