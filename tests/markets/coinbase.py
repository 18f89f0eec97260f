"""A market that speaks as Coinbase does in public."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

from aiohttp import web

from bridge.simulator.dialect import Core
from bridge.simulator.events import LevelChanged, MarketEvent, TradeDone
from bridge.simulator.sockets import Socket, message
from tests.e2e.coinbase_exchange import PRODUCTS
from tests.markets.market import PublicMarket, optional, stamp

__all__ = ["Coinbase"]

_RECENT = 100
"""Trades that are sent after a subscription."""
_HEARTBEAT = 1.0
"""Seconds."""


class Coinbase(PublicMarket):
    """Coinbase numbers the messages of each connection, so each has its own text."""

    paths: ClassVar[tuple[str, ...]] = ("/",)
    unknown: ClassVar[bytes] = b'{"channel":"status","timestamp":"","sequence_num":0,"events":[]}'

    def __init__(self, core: Core, options: Any) -> None:
        super().__init__(core, options)
        self._clients: dict[Socket, tuple[list[int], dict[str, list[str]]]] = {}
        """The next message's number, and channel → products."""
        self._beaten = core.monotonic()
        self._beats = 0

    def opened(self, socket: Socket) -> None:
        self._clients[socket] = ([0], {})

    def closed(self, socket: Socket) -> None:
        del self._clients[socket]

    def text(self, socket: Socket, text: str) -> None:
        asked = json.loads(text)
        channel, products = asked["channel"], asked.get("product_ids", [])
        there = self._clients[socket][1].setdefault(channel, [])
        if asked["type"] == "unsubscribe":
            there[:] = [product for product in there if product not in products]
        else:
            new = [product for product in products if product not in there]
            there += new
            for product in new:
                if product in self.specs:
                    self._begin(socket, channel, product)
        shown = [{"subscriptions": self._clients[socket][1]}]
        self._send(socket, "subscriptions", "", shown)

    def tick(self) -> None:
        if self.core.monotonic() - self._beaten < _HEARTBEAT:
            return
        self._beaten = self.core.monotonic()
        self._beats += 1
        for socket, (_, channels) in self._clients.items():
            if "heartbeats" in channels:
                self._send(socket, "heartbeats", "", [{"heartbeat_counter": str(self._beats)}])
        self.core.hub.flush()

    def heard(self, events: list[MarketEvent]) -> None:
        traded: dict[str, list[TradeDone]] = {}
        for event in events:
            if isinstance(event, TradeDone):
                traded.setdefault(event.pair, []).append(event)
        for pair, trades in traded.items():
            self._publish("market_trades", pair, self._trades(pair, "update", trades))
            self._publish("ticker", pair, self._ticker(pair, "update"))
        for pair, levels in self.levels_of(event for event in events if isinstance(event, LevelChanged)).items():
            self._publish("level2", pair, self._book(pair, "update", levels))

    def _answers(self) -> dict[str, Callable[[web.Request], Any]]:
        return {PRODUCTS: self._products}

    def _products(self, _: web.Request) -> dict[str, Any]:
        rows = [
            {
                "product_id": name,
                "base_currency_id": spec.base,
                "quote_currency_id": spec.quote,
                "status": "online",
                "product_type": "SPOT",
                "price_increment": f"{spec.tick:f}",
                "base_increment": f"{spec.step:f}",
            }
            for name, spec in self.specs.items()
        ]
        return {"products": rows, "num_products": len(rows)}

    def _begin(self, socket: Socket, channel: str, pair: str) -> None:
        if channel == "level2":
            bids, asks = self.market.depth(pair)
            levels = {
                (side, f"{price:f}"): f"{size:f}"
                for side, rows in (("buy", bids), ("sell", asks))
                for price, size in rows
            }
            self._send(socket, channel, pair, self._book(pair, "snapshot", levels))
        elif channel == "market_trades":
            recent = list(self.market.pairs[pair].trades)[-_RECENT:]
            self._send(socket, channel, pair, self._trades(pair, "snapshot", recent))
        elif channel == "ticker":
            self._send(socket, channel, pair, self._ticker(pair, "snapshot"))

    def _publish(self, channel: str, pair: str, events: list[dict[str, Any]]) -> None:
        for socket, (_, channels) in self._clients.items():
            if pair in channels.get(channel, ()):
                self._send(socket, channel, pair, events)

    def _send(self, socket: Socket, channel: str, pair: str, events: list[dict[str, Any]]) -> None:
        number = self._clients[socket][0]
        named = "l2_data" if channel == "level2" else channel
        body = {
            "channel": named,
            "timestamp": stamp(self.core.clock()),
            "sequence_num": number[0],
            "events": events,
        }
        number[0] += 1
        socket.push(message(named, pair, json.dumps(body)))

    def _book(self, pair: str, kind: str, levels: dict[tuple[str, str], str]) -> list[dict[str, Any]]:
        sides, now = {"buy": "bid", "sell": "offer"}, stamp(self.core.clock())
        updates = [
            {"side": sides[side], "event_time": now, "price_level": price, "new_quantity": size}
            for (side, price), size in levels.items()
        ]
        return [{"type": kind, "product_id": pair, "updates": updates}]

    def _trades(self, pair: str, kind: str, trades: list[TradeDone]) -> list[dict[str, Any]]:
        """Newest first, with the maker's side."""
        rows = [
            {
                "product_id": pair,
                "trade_id": str(trade.id),
                "price": f"{trade.price:f}",
                "size": f"{trade.size:f}",
                "time": stamp(trade.time),
                "side": "SELL" if trade.side == "buy" else "BUY",
            }
            for trade in reversed(trades)
        ]
        return [{"type": kind, "trades": rows}]

    def _ticker(self, pair: str, kind: str) -> list[dict[str, Any]]:
        best, day = self.market.best(pair), self.market.ohlc(pair)
        row = {
            "type": "ticker",
            "product_id": pair,
            **({"price": f"{day.close:f}", "volume_24_h": f"{day.volume:f}"} if day else {}),
            **({"low_24_h": f"{day.low:f}", "high_24_h": f"{day.high:f}"} if day else {}),
            "best_bid": optional(best.bid),
            "best_bid_quantity": optional(best.bid_size),
            "best_ask": optional(best.ask),
            "best_ask_quantity": optional(best.ask_size),
        }
        return [{"type": kind, "tickers": [row]}]
