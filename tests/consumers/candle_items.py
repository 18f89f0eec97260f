"""Items of a stream of trades, and candles made of them in another way than the product's."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

from bridge.keys import StreamKey
from bridge.model import Channel, Control, ControlEvent, Trade
from consumers.bars import Bars, ClosedBar, Interval, Resume
from consumers.items import Entry, Hole, Item, split_id

__all__ = ["BASE", "KEY", "SECOND", "Items", "bars", "exact", "expected", "run", "run_with_restarts", "write_candle"]

KEY = "md:{limitlex:BTC-EUR}:trades"
STREAM = StreamKey("limitlex", "BTC-EUR", Channel.TRADES)
SECOND = 1_000_000_000
BASE = 1_786_309_560
"""Seconds: the start of a minute."""


class Items(list[Item]):
    """Items in order. Times are in seconds after `BASE`; a trade is received ``latency`` seconds after its time."""

    def __init__(self, latency: float = 0.05) -> None:
        super().__init__()
        self.latency = latency
        self.seq = 0
        self.ms = 0

    def trade(self, at: float, price: str = "10", size: str = "1", *, ts: bool = True, contracts: str | None = None):
        recv = self._ns(at + self.latency)
        event = Trade("BTC-EUR", self._ns(at) if ts else None, recv, "", "buy", price, size, contracts=contracts)
        return self._entry(event, recv)

    def control(self, event: str, at: float):
        recv = self._ns(at)
        return self._entry(Control("BTC-EUR", None, recv, Channel.TRADES, ControlEvent(event)), recv)

    def hole(self, count: int) -> None:
        """Entries that are missing before the next one."""
        self.seq += count
        self.missing = count

    missing = 0

    @staticmethod
    def _ns(at: float) -> int:
        return BASE * SECOND + round(at * SECOND)

    def _entry(self, event: Trade | Control, recv: int) -> str:
        self.seq += 1
        self.ms = max(self.ms, recv // 1_000_000)
        entry_id = f"{self.ms}-{self.seq}"
        if self.missing:
            self.append(Hole(KEY, STREAM, entry_id, self.seq - self.missing, self.seq))
            self.missing = 0
        self.append(Entry(KEY, STREAM, entry_id, self.seq, event))
        return entry_id


def bars(interval: str = "1m", *, grace: float = 0, keep: int = 100_000, resume: Resume | None = None) -> Bars:
    return Bars(Interval.parse(interval), grace=round(grace * SECOND), keep=keep, resume=resume)


def run(items: list[Item], made: Bars) -> list[ClosedBar]:
    return [candle for item in items for candle in made.take(item)]


def run_with_restarts(items: list[Item], places: list[int], interval: str, grace: float) -> list[ClosedBar]:
    """The same, but the process is killed after so many items, and goes on from the last candle that it wrote."""
    written: list[ClosedBar] = []
    for place in [*sorted(places), len(items)]:
        resume = None
        if written:
            resume = Resume.of(Interval.parse(interval), written[-1].id, written[-1].fields)
        made = bars(interval, grace=grace, resume=resume)
        begin = split_id(resume.after) if resume else (0, 0)
        for item in items[:place]:
            position = split_id(item.id)
            if position > begin:
                written += made.take(item)
            elif isinstance(item, Entry):
                made.remember(item)
    return written


def expected(items: list[Item], interval: str) -> dict[int, dict[str, object]]:
    """The bars of all trades by number, as exact fractions; of none what is not there."""
    length = Interval.parse(interval).ns
    found: dict[int, list[Entry]] = {}
    for item in items:
        if isinstance(item, Entry) and isinstance(item.event, Trade):
            time = item.event.recv if item.event.ts is None else item.event.ts
            found.setdefault(time // length, []).append(item)
    return {
        number: {
            "open": of[0].event.price,
            "close": of[-1].event.price,
            "high": max(Fraction(one.event.price) for one in of),
            "low": min(Fraction(one.event.price) for one in of),
            "volume": sum(Fraction(one.event.size) for one in of),
            "value": sum(Fraction(one.event.size) * Fraction(one.event.price) for one in of),
            "count": len(of),
            "first": of[0].id,
            "last": of[-1].id,
        }
        for number, of in found.items()
    }


def exact(candle: ClosedBar) -> dict[str, object]:
    """A candle in the form of `expected`."""
    of = candle.fields
    numbers = {name: Fraction(Decimal(of[name])) for name in ("high", "low", "volume", "value")}
    texts = {name: of[name] for name in ("open", "close", "first", "last")}
    return {**numbers, **texts, "count": int(of["count"])}


def write_candle(
    client: Any, key: str, number: int, length: int, *, count: int = 3, state: str = "complete", volume: str = "2.5"
) -> None:
    """Add the candle of a bar, by its number since the epoch and its length in milliseconds."""
    price = f"6508{number % 10}.25" if count else ""
    fields = {
        "type": "candle",
        "ts": "",
        "recv": "1",
        "open_ts": str(number * length * 10**6),
        "close_ts": str((number + 1) * length * 10**6),
        **dict.fromkeys(("open", "high", "low", "close"), price),
        "volume": volume,
        "value": "1.5",
        "count": str(count),
        "late": "0",
        "first": "",
        "last": "",
        "state": state,
        "reason": "gap" if state == "incomplete" else "",
        "after": "1-1",
        "upto": "1-1",
    }
    client.xadd(key, fields, id=f"{(number + 1) * length}-{number}")
