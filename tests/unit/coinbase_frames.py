"""A message of each of Coinbase's channels, changes of them, and a session to receive them."""

from __future__ import annotations

import json

from bridge.exchanges.coinbase import CoinbaseSession
from bridge.model import Channel
from tests.unit.core import Apart

ALL = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
PAIRS = ("BTC-USD", "ETH-USD")

TRADES = {
    "channel": "market_trades",
    "timestamp": "2026-08-09T21:05:48.251397169Z",
    "sequence_num": 0,
    "events": [
        {
            "type": "update",
            "trades": [
                {
                    "product_id": "BTC-USD",
                    "trade_id": "1068572091",
                    "price": "65083.67",
                    "size": "0.01034361",
                    "time": "2026-08-09T21:05:48.167634Z",
                    "side": "SELL",
                }
            ],
        }
    ],
}
L2 = {
    "channel": "l2_data",
    "timestamp": "2026-08-09T21:05:48.506659391Z",
    "sequence_num": 0,
    "events": [
        {
            "type": "update",
            "product_id": "BTC-USD",
            "updates": [
                {
                    "side": "offer",
                    "event_time": "2026-08-09T21:05:48.264069Z",
                    "price_level": "65106.54",
                    "new_quantity": "0.15361938",
                }
            ],
        }
    ],
}
TICKER = {
    "channel": "ticker",
    "timestamp": "2026-08-09T21:05:48.298032046Z",
    "sequence_num": 0,
    "events": [
        {
            "type": "update",
            "tickers": [
                {
                    "type": "ticker",
                    "product_id": "ETH-USD",
                    "price": "1919.41",
                    "volume_24_h": "19975.95927439",
                    "low_24_h": "1911.04",
                    "high_24_h": "1925",
                    "low_52_w": "1505",
                    "high_52_w": "4955.9",
                    "price_percent_chg_24_h": "0.02501394006035",
                    "best_bid": "1919.44",
                    "best_ask": "1919.49",
                    "best_bid_quantity": "0.02858092",
                    "best_ask_quantity": "0.07814824",
                }
            ],
        }
    ],
}
SUBSCRIPTIONS = {
    "channel": "subscriptions",
    "timestamp": "2026-08-09T21:05:48.229148053Z",
    "sequence_num": 0,
    "events": [{"subscriptions": {"level2": ["ETH-USD", "BTC-USD"], "market_trades": ["BTC-USD"]}}],
}
HEARTBEAT = {
    "channel": "heartbeats",
    "timestamp": "2026-08-09T21:05:49Z",
    "sequence_num": 0,
    "events": [{"current_time": "2026-08-09 21:05:49", "heartbeat_counter": 1}],
}
MESSAGES = {m["channel"]: m for m in (TRADES, L2, TICKER, SUBSCRIPTIONS, HEARTBEAT)}


def make(channels=ALL, pairs=PAIRS):
    return Apart(CoinbaseSession("wss://x", pairs, frozenset(channels)))


def frame(message, number=0, **changes):
    return json.dumps({**message, "sequence_num": number, **changes}).encode()


def book(kind="snapshot", pair="BTC-USD", levels=(("bid", "10", "1"), ("offer", "11", "1"))):
    at = "2026-08-09T21:05:48.264069Z"
    updates = [{"side": s, "event_time": at, "price_level": p, "new_quantity": q} for s, p, q in levels]
    return {**L2, "events": [{"type": kind, "product_id": pair, "updates": updates}]}
