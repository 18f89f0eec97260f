"""Markets that change at random, told in the frames of an exchange: what its module and CCXT's are both given to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.codec.fakes import Kraken
from tests.unit.kraken_frames import dumps, number

__all__ = ["Market", "kraken", "okx"]

Sides = dict[str, dict[int, int]]
_UNIT = 10**8
_BEGIN_MS = 1_786_309_548_000


def _price(ticks: int) -> str:
    return f"{ticks // 10}.{ticks % 10}"


class Market:
    """A book of 30 levels a side or so, in tenths; sizes are in units of ``size``, and written with all their decimals."""

    def __init__(self, seed: int, unit: int = _UNIT) -> None:
        self.random = Random(seed)
        self._unit = unit
        self.now = _BEGIN_MS
        self.trade = 1_000
        levels = range(30)
        self.sides: Sides = {
            "bids": {275_000 - step: self._some() for step in levels},
            "asks": {275_003 + step: self._some() for step in levels},
        }

    def _some(self) -> int:
        return self.random.randrange(1, 20 * self._unit)

    def size(self, units: int) -> str:
        if self._unit == 1:
            return str(units)
        return f"{units // self._unit}.{units % self._unit:0{len(str(self._unit)) - 1}d}"

    def best(self, side: str) -> int:
        return max(self.sides["bids"]) if side == "bids" else min(self.sides["asks"])

    def top(self, count: int) -> Sides:
        """The best levels of each side, best first."""
        return {
            side: {price: levels[price] for price in sorted(levels, reverse=side == "bids")[:count]}
            for side, levels in self.sides.items()
        }

    def step(self) -> None:
        """A level comes, changes or goes, near the best ones; sides never meet."""
        self.now += self.random.randrange(1, 400)
        side = self.random.choice(("bids", "asks"))
        levels = self.sides[side]
        near = sorted(levels, reverse=side == "bids")[:14]
        price = self.random.choice(near)
        kind = self.random.choice(("change", "go", "come"))
        if kind == "go" and len(levels) > 20:
            del levels[price]
        elif kind == "come":
            gap = self.best("asks") - self.best("bids")
            away = self.random.randrange(1 - gap, 12)
            levels[self.best(side) + (away if side == "asks" else -away)] = self._some()
        else:
            levels[price] = self._some()

    def change(self, depth: int) -> tuple[Sides, Sides]:
        """Some steps: the best levels before and after them."""
        before = self.top(depth)
        for _ in range(self.random.randrange(1, 4)):
            self.step()
        return before, self.top(depth)

    def removed(self, before: Sides, after: Sides, side: str) -> dict[int, int]:
        """Prices that were among the best, and are nowhere in the book any more."""
        return {price: 0 for price in before[side] if price not in after[side] and price not in self.sides[side]}

    def traded(self) -> tuple[str, str, str, str]:
        """Number, taker's side, price and size of the next trade."""
        self.trade += 1
        side = self.random.choice(("buy", "sell"))
        at = self.best("asks" if side == "buy" else "bids")
        return str(self.trade), side, _price(at), self.size(self._some())


def kraken(seed: int, count: int, symbol: str = "BTC/USD") -> Iterator[bytes]:
    """Frames of WebSocket v2: ten levels a side, of which none is told to fall off; numbers with all their digits."""
    market = Market(seed)

    def rows(levels: dict[int, int]) -> list[dict[str, Any]]:
        return [{"price": number(_price(price)), "qty": number(market.size(size))} for price, size in levels.items()]

    def texts(levels: dict[int, int]) -> list[dict[str, Any]]:
        return [{"price": _price(price), "qty": market.size(size)} for price, size in levels.items()]

    def stamp() -> str:
        seconds, left = divmod(market.now - _BEGIN_MS, 1000)
        return f"2026-08-09T21:{5 + seconds // 60:02d}:{seconds % 60:02d}.{left:03d}{market.random.randrange(1, 1000):03d}Z"

    def book(kind: str, bids: dict[int, int], asks: dict[int, int]) -> bytes:
        best = market.top(10)
        row = {"symbol": symbol, "bids": rows(bids), "asks": rows(asks), "timestamp": stamp()}
        row["checksum"] = Kraken.checksum(texts(best["bids"]), texts(best["asks"]))
        return dumps({"channel": "book", "type": kind, "data": [row]})

    def trades() -> bytes:
        made = [market.traded() for _ in range(market.random.randrange(1, 4))]
        data = [
            {
                "symbol": symbol,
                "side": side,
                "price": number(price),
                "qty": number(size),
                "ord_type": "market",
                "trade_id": int(ident),
                "timestamp": stamp(),
            }
            for ident, side, price, size in made
        ]
        return dumps({"channel": "trade", "type": "update", "data": data})

    def ticker() -> bytes:
        bid, ask = market.best("bids"), market.best("asks")
        row = {
            "symbol": symbol,
            "bid": number(_price(bid)),
            "bid_qty": number(market.size(market.sides["bids"][bid])),
            "ask": number(_price(ask)),
            "ask_qty": number(market.size(market.sides["asks"][ask])),
            "last": number(_price(bid)),
            "volume": number(f"{market.trade}.50000000"),
            "vwap": number("27400.5"),
            "low": number("27000.0"),
            "high": number("28000.0"),
            "change": number("-120.50"),
            "change_pct": number("-0.44"),
            "timestamp": stamp(),
        }
        return dumps({"channel": "ticker", "type": "update", "data": [row]})

    yield book("snapshot", **market.top(10))
    for _ in range(count):
        kind = market.random.choice(("book", "book", "book", "trade", "ticker"))
        if kind == "trade":
            yield trades()
        elif kind == "ticker":
            yield ticker()
        else:
            before, after = market.change(10)
            told = {
                side: {
                    **market.removed(before, after, side),
                    **{price: size for price, size in after[side].items() if before[side].get(price) != size},
                }
                for side in ("bids", "asks")
            }
            if any(told.values()):
                yield book("update", **told)


def okx(seed: int, count: int, instrument: str) -> Iterator[bytes]:
    """Frames of the public channels: levels with their numbers of orders, numbers of messages that rise by any step.

    Now and then a quiet book is told without levels, and once its numbers begin again at smaller ones.
    """
    swap = instrument.endswith("-SWAP")
    market = Market(seed, 1 if swap else _UNIT)
    at = 9_000

    def frame(channel: str, row: dict[str, Any], action: str = "") -> bytes:
        message = {"arg": {"channel": channel, "instId": instrument}, "data": [row]}
        return json.dumps({**message, "action": action} if action else message).encode()

    def rows(levels: dict[int, int]) -> list[list[str]]:
        return [[_price(price), market.size(size) if size else "0", "0", "1"] for price, size in levels.items()]

    def book(action: str, before: int, sides: Sides) -> bytes:
        told = {side: rows(levels) for side, levels in sides.items()}
        return frame("books", {**told, "ts": str(market.now), "checksum": 0, "prevSeqId": before, "seqId": at}, action)

    def trade() -> bytes:
        ident, side, price, size = market.traded()
        row = {"instId": instrument, "tradeId": ident, "px": price, "sz": size, "side": side, "ts": str(market.now)}
        return frame("trades", {**row, "count": "1", "source": "0", "seqId": at})

    def quote() -> bytes:
        best = market.top(1)
        return frame("bbo-tbt", {side: rows(best[side]) for side in best} | {"ts": str(market.now), "seqId": at})

    def ticker() -> bytes:
        day = {"open24h": "27000", "high24h": "28000.0", "low24h": "26950.5"}
        volume = {"vol24h": str(market.trade), "volCcy24h": f"{market.trade // 100}.{market.trade % 100:02d}"}
        row = {"instType": "SWAP" if swap else "SPOT", "instId": instrument, "last": _price(market.best("bids"))}
        return frame("tickers", {**row, **day, **volume, "ts": str(market.now)})

    yield book("snapshot", -1, market.top(400))
    for number_of in range(count):
        kind = market.random.choice(("book", "book", "book", "quiet", "trade", "quote", "ticker"))
        before = at
        if kind == "quiet":
            yield book("update", before, {"bids": {}, "asks": {}})
        elif kind == "book":
            at = 3 if number_of > count // 2 and at > 9_000 else at + market.random.randrange(1, 90)
            was, now = market.change(400)
            yield book(
                "update",
                before,
                {
                    side: {
                        **market.removed(was, now, side),
                        **{price: size for price, size in now[side].items() if was[side].get(price) != size},
                    }
                    for side in ("bids", "asks")
                },
            )
        else:
            yield {"trade": trade, "quote": quote, "ticker": ticker}[kind]()
