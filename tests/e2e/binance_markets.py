"""What the Binance of the tests lists, its books, and what a look at them costs."""

from __future__ import annotations

from collections import deque
from typing import Any

LISTED = {
    "spot": [
        {"symbol": f"{base}USDT", "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT"}
        for base in ("BTC", "ETH", "NKN")
    ]
    + [
        {"symbol": "LUNAUSDT", "status": "BREAK", "baseAsset": "LUNA", "quoteAsset": "USDT"},
        {"symbol": "币安人生USDT", "status": "TRADING", "baseAsset": "币安人生", "quoteAsset": "USDT"},
    ],
    "usdm": [
        {
            "symbol": f"{base}{quote}",
            "pair": f"{base}{quote}",
            "contractType": "PERPETUAL",
            "deliveryDate": 4133404800000,
            "status": "TRADING",
            "baseAsset": base,
            "quoteAsset": quote,
            "marginAsset": quote,
            "filters": [
                {"filterType": "PRICE_FILTER", "tickSize": "0.10"},
                {"filterType": "LOT_SIZE", "stepSize": "0.001"},
            ],
        }
        for base, quote in (("BTC", "USDT"), ("ETH", "USDT"), ("BTC", "USDC"))
    ]
    + [
        {
            "symbol": "BTCUSDT_261225",
            "pair": "BTCUSDT",
            "contractType": "CURRENT_QUARTER",
            "deliveryDate": 1798185600000,
            "status": "TRADING",
            "baseAsset": "BTC",
            "quoteAsset": "USDT",
            "marginAsset": "USDT",
        }
    ],
}
WEIGHTS = {
    "spot": ((100, 5), (500, 25), (1000, 50), (5000, 250)),
    "usdm": ((50, 2), (100, 5), (500, 10), (1000, 20)),
}


class Book:
    """One symbol's book: its numbers count on whoever listens."""

    def __init__(self, price: int, *, chained: bool) -> None:
        self.u = 1_000
        self.bids = {f"{price - number}.00": "1.000" for number in range(1, 4)}
        self.asks = {f"{price + number}.00": "1.000" for number in range(1, 4)}
        self.earlier: deque[dict[str, Any]] = deque(maxlen=20)
        """How it was, the newest last."""
        self._chained = chained

    def change(self, size: str) -> dict[str, Any]:
        """The best bid has another size: what a delta says. Of futures, ids of other events lie between."""
        self.earlier.append(self.whole())
        before, self.u = self.u, self.u + (7 if self._chained else 3)
        best = max(self.bids, key=float)
        self.bids[best] = size
        levels = {"b": [[best, size]], "a": []}
        if self._chained:
            return {"U": before + 4, "u": self.u, "pu": before, "st": 1, "ps": "x", **levels}
        return {"U": before + 1, "u": self.u, **levels}

    def whole(self) -> dict[str, Any]:
        bids = sorted(self.bids.items(), key=lambda level: -float(level[0]))
        asks = sorted(self.asks.items(), key=lambda level: float(level[0]))
        return {"lastUpdateId": self.u, "bids": bids, "asks": asks}
