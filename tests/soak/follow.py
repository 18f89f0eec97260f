"""Following streams that are trimmed all the while: what came is remembered, as far as it takes to prove it whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any

from redis.asyncio import Redis

__all__ = ["Follower"]

_PAGE = 2_000
_BREAKS = ("down", "gap", "stale", "lost", "stop")

Sides = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


class Follower:
    """Reads all data streams on from where it was; ``wrong`` says what should not be."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.keys: list[str] = []
        self.wrong: list[str] = []
        self.read = 0
        self.trades = 0
        self.fills: set[str] = set()
        self.breaks: list[tuple[float, str, str, str]] = []
        """When a stream was not whole (seconds since the epoch), which one, by which event, and why."""
        self.controls: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._last: dict[str, str] = {}
        self._trade: dict[str, int] = {}
        self._books: dict[str, Sides | None] = {}

    async def look(self) -> None:
        """Read what is new."""
        self.keys = sorted([key async for key in self.redis.scan_iter("*}:*", _type="stream")])
        for key in self.keys:
            while rows := await self.redis.xrange(key, f"({self._last.get(key, '0-0')}", count=_PAGE):
                for ident, fields in rows:
                    self._take(key, ident, fields)

    def is_book(self, pair: str, true: dict[str, Any]) -> bool:
        """Whether a pair's book is this one (of the simulator's)."""
        coins = Decimal(true.get("contract_size") or 1)
        sides = tuple({Decimal(p): Decimal(s) * coins for p, s in true[name]} for name in ("bids", "asks"))
        return self._books.get(f"md:{{lmex:{pair}}}:book") == sides

    def _take(self, key: str, ident: str, fields: dict[str, str]) -> None:
        self.read += 1
        number = int(ident.partition("-")[2])
        before = int(self._last.get(key, "0-0").partition("-")[2])
        # A book is trimmed right before a snapshot, so whoever reads on finds that next.
        trimmed = key.endswith(":book") and fields["type"] == "snapshot" and number > before
        if number != before + 1 and not trimmed:
            self.wrong.append(f"{key}: {number} follows {before}")
        self._last[key] = ident
        kind = fields["type"]
        if kind == "control":
            self._control(key, fields)
        elif kind == "trade":
            self._traded(key, ident, int(fields["id"]))
        elif kind == "fill":
            if fields["fill_id"] in self.fills:
                self.wrong.append(f"{key} {ident}: a fill stands twice")
            self.fills.add(fields["fill_id"])
        elif kind in ("snapshot", "delta"):
            self._book(key, ident, fields)

    def _control(self, key: str, fields: dict[str, str]) -> None:
        event = fields["event"]
        self.controls[key.rpartition(":")[2]][event] += 1
        if event in _BREAKS:
            self.breaks.append((int(fields["recv"]) / 1e9, key, event, fields["reason"]))
            self._trade.pop(key, None)
        self._books[key] = None

    def _traded(self, key: str, ident: str, number: int) -> None:
        self.trades += 1
        last = self._trade.get(key)
        if last is not None and number != last + 1:
            self.wrong.append(f"{key} {ident}: trade {number} follows {last}")
        self._trade[key] = number

    def _book(self, key: str, ident: str, fields: dict[str, str]) -> None:
        if fields["type"] == "snapshot":
            self._books[key] = ({}, {})
        sides = self._books.get(key)
        if sides is None:
            self.wrong.append(f"{key} {ident}: a delta without a snapshot before it")
            return
        for side, name in zip(sides, ("bids", "asks"), strict=True):
            for level in fields[name].split():
                price, _, size = level.partition(":")
                if Decimal(size):
                    side[Decimal(price)] = Decimal(size)
                else:
                    side.pop(Decimal(price), None)
