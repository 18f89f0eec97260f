"""A simulated exchange's journal, read back: what was true at every moment."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct

__all__ = ["Happened", "Span", "TrueBook", "Truth"]

Levels = list[tuple[Decimal, Decimal]]
Span = tuple[float, float]
"""From when until when (seconds since the epoch)."""
Sides = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


class Happened(Struct, frozen=True):
    """A trade or an execution: side, price and size in base coins, and when (seconds since the epoch)."""

    content: tuple[str, Decimal, Decimal]
    time: float


class TrueBook:
    """One pair's book at any of its numbers."""

    def __init__(self) -> None:
        self.first = 0
        self.times: list[float] = []
        """When each change happened, from ``first`` on."""
        self._changes: list[tuple[Levels, Levels]] = []
        self._at = -1
        self._sides: Sides = ({}, {})

    @property
    def last(self) -> int:
        return self.first + len(self.times) - 1

    def add(self, seq: int, time: float, bids: Levels, asks: Levels) -> None:
        if not self.times:
            self.first = seq
        assert seq == self.last + 1, "the journal leaves out a change"
        self.times.append(time)
        self._changes.append((bids, asks))

    def time(self, seq: int) -> float:
        """When a change happened (seconds since the epoch)."""
        return self.times[seq - self.first]

    def shortly_before(self, seq: int, seconds: float) -> int:
        """The first change that happened at most so many seconds before another one."""
        since = self.time(max(seq, self.first)) - seconds
        return min(max(seq, self.first), self.first + bisect_left(self.times, since))

    def at(self, seq: int) -> Sides:
        """Bids and asks after a change. Quick when asked in order."""
        index = seq - self.first
        assert 0 <= index < len(self.times), f"the exchange never had number {seq}"
        if index < self._at:
            self._at, self._sides = -1, ({}, {})
        while self._at < index:
            self._at += 1
            for side, levels in zip(self._sides, self._changes[self._at], strict=True):
                for price, size in levels:
                    if size:
                        side[price] = size
                    else:
                        side.pop(price, None)
        return self._sides

    def touched(self, after: int, until: int) -> tuple[set[Decimal], set[Decimal]]:
        """The prices that changed after one number, until another."""
        span = self._changes[after - self.first + 1 : until - self.first + 1]
        return {price for bids, _ in span for price, _ in bids}, {price for _, asks in span for price, _ in asks}


class Truth:
    """Books, trades and executions. Sizes are base coins (``coins``: pair → base coins per contract)."""

    def __init__(
        self, journal: Path, coins: Mapping[str, Decimal], patience: float = 0.0, paused: Sequence[Span] = ()
    ) -> None:
        self._coins = coins
        self.books: defaultdict[str, TrueBook] = defaultdict(TrueBook)
        self.trades: defaultdict[str, dict[str, Happened]] = defaultdict(dict)
        self.fills: defaultdict[str, dict[str, Happened]] = defaultdict(dict)
        self.unnoticed: defaultdict[str, set[str]] = defaultdict(set)
        """Trades that some client was not sent, and cannot know of, because trades are not numbered: pair → ids. Of
        dropped messages, and of sockets that stood still for less than ``patience`` seconds in which the client was not
        ``paused``."""
        self._frozen: defaultdict[str, dict[int, float]] = defaultdict(dict)
        with journal.open() as rows:
            for line in rows:
                row = json.loads(line)
                getattr(self, f"_{row['k']}")(row)
        for pair, frozen in self._frozen.items():
            self.unnoticed[pair] |= {str(number) for number in _short(frozen, patience, paused)}

    def _happened(self, row: dict[str, Any]) -> Happened:
        size = Decimal(row["size"]) * self._coins.get(row["pair"], Decimal(1))
        return Happened((row["side"], Decimal(row["price"]), size), row["time"])

    def _book(self, row: dict[str, Any]) -> None:
        coins = self._coins.get(row["pair"], Decimal(1))
        sides = ([(Decimal(p), Decimal(s) * coins) for p, s in row[name]] for name in ("bids", "asks"))
        self.books[row["pair"]].add(row["seq"], row["time"], *sides)

    def _trade(self, row: dict[str, Any]) -> None:
        self.trades[row["pair"]][str(row["id"])] = self._happened(row)

    def _fill(self, row: dict[str, Any]) -> None:
        self.fills[row["account"]][row["id"]] = self._happened(row)

    def _left_out(self, row: dict[str, Any]) -> None:
        if row["type"] == "trades":
            trades = {trade["tradeId"]: trade["timestamp"] / 1000 for trade in json.loads(row["data"])["data"]}
        elif row["type"] == "last_trade":
            trades = self._alike(row["pair"], json.loads(row["data"]))
        else:
            return
        if row["why"] == "drop":
            self.unnoticed[row["pair"]] |= {str(number) for number in trades}
        else:
            self._frozen[row["pair"]] |= trades

    def _alike(self, pair: str, message: dict[str, Any]) -> dict[int, float]:
        """The trades that a message without an id may be of: they are the newest."""
        content = message["orderDirection"].lower(), Decimal(message["price"]), Decimal(message["amount"])
        second, found = message["createdAt"], {}
        for name, trade in reversed(self.trades[pair].items()):
            if int(trade.time) < second:
                break
            if int(trade.time) == second and trade.content == content:
                found[int(name)] = trade.time
        return found


def _short(frozen: dict[int, float], patience: float, paused: Sequence[Span]) -> list[int]:
    """The trades of those episodes that were shorter than ``patience``; a second and more apart is another episode."""

    def awake(begin: float, end: float) -> float:
        return end - begin - sum(max(0.0, min(end, until) - max(begin, since)) for since, until in paused)

    episodes: list[list[int]] = []
    last = 0.0
    for number, time in sorted(frozen.items()):
        if not episodes or time - last > 1.0:
            episodes.append([])
        episodes[-1].append(number)
        last = time
    return [number for each in episodes if awake(frozen[each[0]], frozen[each[-1]]) < patience for number in each]
