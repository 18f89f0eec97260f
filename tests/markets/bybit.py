"""A market that speaks as Bybit's spot market does in public."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

from aiohttp import web

from bridge.simulator.dialect import Core
from bridge.simulator.events import BestChanged, LevelChanged, MarketEvent, OhlcChanged, TradeDone
from bridge.simulator.sockets import Socket, message
from tests.markets.market import PublicMarket, optional

__all__ = ["Bybit"]

_SPOT = "/v5/public/spot"


class Bybit(PublicMarket):
    """Bybit's spot market: books count their deltas, the same for all connections."""

    paths: ClassVar[tuple[str, ...]] = (_SPOT,)
    unknown: ClassVar[bytes] = b'{"topic":"news.BTCUSDT","type":"snapshot","ts":1,"data":{}}'

    def __init__(self, core: Core, options: Any) -> None:
        super().__init__(core, options)
        self._pairs = {name.replace("-", ""): name for name in self.specs}
        self._symbols = {name: symbol for symbol, name in self._pairs.items()}
        self._numbers = dict.fromkeys(self.specs, int(core.clock() * 1000))

    def opened(self, socket: Socket) -> None:
        """It is sent nothing before it asks."""

    def closed(self, socket: Socket) -> None:
        """Nothing is kept of it."""

    def text(self, socket: Socket, text: str) -> None:
        asked = json.loads(text)
        if asked["op"] == "ping":
            answer = {"success": True, "ret_msg": "pong", "conn_id": "c-1", "op": "ping"}
            socket.answer(message("pong", "", json.dumps(answer)))
            return
        topics = [topic for topic in asked["args"] if topic.rpartition(".")[2] in self._pairs]
        answer = {
            "success": True,
            "ret_msg": asked["op"],
            "conn_id": "c-1",
            "req_id": asked["req_id"],
            "op": asked["op"],
        }
        socket.push(message("ack", "", json.dumps(answer)))
        for topic in topics:
            if asked["op"] == "unsubscribe":
                self.core.hub.unsubscribe(socket, topic)
            else:
                self.core.hub.subscribe(socket, topic)
                self._begin(socket, topic)

    def heard(self, events: list[MarketEvent]) -> None:
        traded: dict[str, list[TradeDone]] = {}
        for event in events:
            if isinstance(event, TradeDone):
                traded.setdefault(event.pair, []).append(event)
        for pair, trades in traded.items():
            self._publish("publicTrade", pair, "snapshot", [self._trade(trade) for trade in trades])
        for pair, levels in self.levels_of(event for event in events if isinstance(event, LevelChanged)).items():
            self._numbers[pair] += 1
            rows = [(side, [price, size]) for (side, price), size in levels.items()]
            data = self._book(pair, *([row for of, row in rows if of == side] for side in ("buy", "sell")))
            self._publish("orderbook.200", pair, "delta", data)
        for event in events:
            if isinstance(event, BestChanged):
                self._publish("orderbook.1", event.pair, "snapshot", self._best(event.pair))
            elif isinstance(event, OhlcChanged):
                self._publish("tickers", event.pair, "snapshot", self._day(event.pair))

    def _answers(self) -> dict[str, Callable[[web.Request], Any]]:
        return {"/v5/market/instruments-info": self._instruments, "/v5/market/time": self._time}

    def _instruments(self, request: web.Request) -> dict[str, Any]:
        """The pairs are those of the spot market; the exchange's other list is never empty."""
        spot = request.query["category"] == "spot"
        perpetual = {} if spot else {"contractType": "LinearPerpetual", "deliveryTime": "0"}
        rows = [
            {"symbol": symbol, "baseCoin": spec.base, "quoteCoin": spec.quote, "status": "Trading", **perpetual}
            for symbol, spec in ((self._symbols[name], spec) for name, spec in self.specs.items())
        ]
        result = {"category": request.query["category"], "list": rows, "nextPageCursor": ""}
        return {**self._time(request), "result": result}

    def _time(self, _: web.Request) -> dict[str, Any]:
        return {"retCode": 0, "retMsg": "OK", "result": {}, "time": self._now()}

    def _begin(self, socket: Socket, topic: str) -> None:
        kind, _, symbol = topic.rpartition(".")
        pair = self._pairs[symbol]
        if kind == "orderbook.200":
            sides = ([[f"{price:f}", f"{size:f}"] for price, size in side] for side in self.market.depth(pair))
            self._push(socket, kind, pair, self._book(pair, *sides))
        elif kind == "orderbook.1":
            self._push(socket, kind, pair, self._best(pair))
        elif kind == "tickers":
            self._push(socket, kind, pair, self._day(pair))

    def _push(self, socket: Socket, kind: str, pair: str, data: Any) -> None:
        socket.push(message(kind, pair, self._text(kind, pair, "snapshot", data)))

    def _publish(self, kind: str, pair: str, how: str, data: Any) -> None:
        topic = f"{kind}.{self._symbols[pair]}"
        self.core.hub.publish(topic, kind, pair, lambda: self._text(kind, pair, how, data))

    def _text(self, kind: str, pair: str, how: str, data: Any) -> str:
        now = self._now()
        return json.dumps({"topic": f"{kind}.{self._symbols[pair]}", "ts": now, "type": how, "data": data, "cts": now})

    def _now(self) -> int:
        return int(self.core.clock() * 1000)

    def _book(self, pair: str, bids: list[list[str]], asks: list[list[str]]) -> dict[str, Any]:
        number = self._numbers[pair]
        return {"s": self._symbols[pair], "b": bids, "a": asks, "u": number, "seq": number}

    def _best(self, pair: str) -> dict[str, Any]:
        best = self.market.best(pair)
        bids, asks = (
            [[optional(price), optional(size)]] if price is not None else []
            for price, size in ((best.bid, best.bid_size), (best.ask, best.ask_size))
        )
        return self._book(pair, bids, asks)

    def _day(self, pair: str) -> dict[str, Any]:
        day = self.market.ohlc(pair)
        values = {"symbol": self._symbols[pair]}
        if day is not None:
            values |= {"prevPrice24h": f"{day.open:f}", "highPrice24h": f"{day.high:f}", "lowPrice24h": f"{day.low:f}"}
            values |= {"lastPrice": f"{day.close:f}", "volume24h": f"{day.volume:f}"}
            values["price24hPcnt"] = f"{(day.close - day.open) / day.open:.6f}"
        return values

    def _trade(self, trade: TradeDone) -> dict[str, Any]:
        return {
            "i": str(trade.id),
            "T": int(trade.time * 1000),
            "p": f"{trade.price:f}",
            "v": f"{trade.size:f}",
            "S": trade.side.capitalize(),
            "s": self._symbols[trade.pair],
        }
