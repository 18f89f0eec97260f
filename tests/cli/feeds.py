"""Writes what connectors write: catalog entries, heartbeats and streams, as a test wants them."""

from __future__ import annotations

import json
import time
from typing import Any

import redis

from bridge.keys import Keys
from bridge.model import PUBLIC_CHANNELS, Channel

__all__ = ["NOW", "Feed"]

NOW = time.time_ns() // 1_000_000
"""Milliseconds since the epoch."""


class Feed:
    """A connector, seen from Redis."""

    def __init__(
        self, client: redis.Redis, name: str = "limitlex", exchange: str = "limitlex", keys: Keys | None = None
    ) -> None:
        self.client = client
        self.name = name
        self.exchange = exchange
        self.keys = keys or Keys()
        self.instance = f"{name}-1"

    def beat(self, **fields: object) -> None:
        """Write a heartbeat that does not expire."""
        values: dict[str, Any] = {
            "name": self.name,
            "exchange": self.exchange,
            "instance": self.instance,
            "state": "live",
            "at": time.time_ns(),
            "started": time.time_ns() - 7_200 * 10**9,
            "connections": 2,
            "connections_up": 2,
            "received": 1234567,
            "published": 1234567,
            "lost": 0,
            "gaps": 3,
            "waiting": 0,
            "publish_p50_ms": "0.84",
        }
        self.client.hset(self.keys.connector(self.name), mapping={**values, **fields})

    def die(self) -> None:
        self.client.delete(self.keys.connector(self.name))

    def list(self, subject: str, channel: Channel, state: str = "live", **fields: str) -> str:
        """Write a catalog entry; returns the key of the stream."""
        key = self.keys.stream(self.exchange, subject, channel)
        kind = "pair" if channel in PUBLIC_CHANNELS else "account"
        entry = {"exchange": self.exchange, kind: subject, "channel": str(channel), "schema": "2"}
        entry |= {"connector": self.name, "instance": self.instance, "state": state, "units": ""} | fields
        self.client.hset(self.keys.catalog_of(channel), key, json.dumps(entry))
        return key

    def add(self, key: str, kind: str, seq: int, ms: int | None = None, /, **fields: str) -> str:
        """Write an entry with this number."""
        ms = time.time_ns() // 1_000_000 if ms is None else ms
        entry = {"type": kind, "ts": "", "recv": str(ms * 1_000_000), **fields}
        return str(self.client.xadd(key, entry, id=f"{ms}-{seq}"))

    def trade(self, key: str, seq: int, ms: int | None = None, price: str = "7994.50") -> str:
        return self.add(key, "trade", seq, ms, id=f"t{seq}", side="buy", price=price, size="0.10")

    def snapshot(self, key: str, seq: int, ms: int | None = None, levels: int = 10) -> str:
        bids = " ".join(f"{8000 - step}.50:1.{step}" for step in range(levels))
        asks = " ".join(f"{8001 + step}.50:1.{step}" for step in range(levels))
        return self.add(key, "snapshot", seq, ms, xseq="", bids=bids, asks=asks)

    def control(self, key: str, seq: int, event: str, reason: str = "", count: str = "") -> str:
        return self.add(key, "control", seq, event=event, reason=reason, count=count)

    def pair(self, pair: str = "BTC-EUR") -> dict[Channel, str]:
        """List trades, book and quotes of a pair, with an entry or two each."""
        keys = {channel: self.list(pair, channel) for channel in (Channel.TRADES, Channel.BOOK, Channel.QUOTES)}
        self.control(keys[Channel.TRADES], 1, "live")
        self.trade(keys[Channel.TRADES], 2)
        self.control(keys[Channel.BOOK], 1, "live")
        self.snapshot(keys[Channel.BOOK], 2)
        self.add(keys[Channel.QUOTES], "quote", 1, bid="8000.50", bid_size="1", ask="8001.50", ask_size="1")
        return keys
