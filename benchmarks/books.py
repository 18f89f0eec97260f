"""What a delta costs in its topic, by the size of the book; and what the ten best levels, as a stream of their own, cost beside."""

from __future__ import annotations

import gc
import random
import time
from typing import Any

from benchmarks.machine import Server
from benchmarks.results import Run, Target, medians, table
from bridge.exchanges.api import BookRules
from bridge.keys import Keys
from bridge.model import BookDelta, BookSnapshot, Channel, Event, Levels
from bridge.publish.stream import Retention, Stream
from bridge.sequencer import TopBook, book_type

__all__ = ["measure"]

_BOOKS = {"200 levels": (200, BookRules()), "50,000 levels": (50_000, BookRules(large=True))}
"""Levels a side, and how the connector keeps such a book."""
_PER_DELTA = 4
_MEAN = 40
"""Ticks that a changed level is away from the best one, on average: some two in ten are among the ten best."""
_REMOVED = 0.4
_MIDDLE = 6_508_367


class _Count:
    """A sink that counts entries."""

    def __init__(self) -> None:
        self.entries = 0

    def put(self, stream: Stream, event: Event) -> None:
        """An entry."""
        del stream, event
        self.entries += 1

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """A `lost` entry."""


def measure(server: Server, *, deltas: int, runs: int) -> tuple[str, list[Target], dict[str, Any]]:
    """Each book without and with its best levels, in turns; nothing of it needs the server."""
    del server
    found: dict[str, list[Run]] = {}
    for _ in range(runs):
        for name, (levels, rules) in _BOOKS.items():
            found.setdefault(name, []).append(_cost(levels, rules, deltas))
    rows = {name: medians(of) for name, of in found.items()}
    return table(f"CPU µs per delta of {_PER_DELTA} levels ({deltas:,} deltas, median of {runs} runs)", rows), [], rows


def _cost(levels: int, rules: BookRules, count: int) -> Run:
    begin, events = _samples(levels, count)
    alone, _ = _taken(rules, begin, events, top=False)
    both, entries = _taken(rules, begin, events, top=True)
    scale = 1e6 / count
    return {
        "book": alone * scale,
        "book and book10": both * scale,
        "book10 adds": (both - alone) * scale,
        "entries of book10 per delta": entries / count,
    }


def _samples(levels: int, count: int) -> tuple[BookSnapshot, list[BookDelta]]:
    """A whole book, and changes of it."""
    rng, now = random.Random(5), time.time_ns()

    def changes(sign: int) -> Levels:
        away = [1 + int(rng.expovariate(1 / _MEAN)) for _ in range(_PER_DELTA // 2)]
        sizes = ["0" if rng.random() < _REMOVED else f"0.{rng.randrange(1, 10**8):08}" for _ in away]
        return [(_price(_MIDDLE + sign * ticks), size) for ticks, size in zip(away, sizes, strict=True)]

    sides = [[(_price(_MIDDLE + sign * (1 + at)), "0.5") for at in range(levels)] for sign in (-1, 1)]
    whole = BookSnapshot("BTC-USD", now, now, "0", *sides)
    return whole, [BookDelta("BTC-USD", now, now + at, str(at), changes(-1), changes(1)) for at in range(1, count + 1)]


def _price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _taken(rules: BookRules, begin: BookSnapshot, events: list[BookDelta], *, top: bool) -> tuple[float, int]:
    """CPU seconds for all deltas, and how many entries the best levels have."""
    whole, best = _Count(), _Count()
    book = book_type(rules)(_stream(Channel.BOOK), whole, _nobody, _nobody, rules)
    if top:
        book.top = TopBook(_stream(Channel.BOOK10), best, _nobody, book.best)
    book.accept(begin)
    accept = book.accept
    gc.collect()
    began = time.process_time()
    for event in events:
        accept(event)
    used = time.process_time() - began
    assert whole.entries == len(events) + 2, "a delta was not let through"  # and `live`, and the snapshot
    return used, best.entries


def _stream(channel: Channel) -> Stream:
    return Stream(Keys("bench").stream("bench", "BTC-USD", channel), channel, "BTC-USD", Retention(1 << 30, 86400.0))


def _nobody(subject: str, reason: str) -> None:
    raise AssertionError(f"a snapshot of {subject} is asked for: {reason}")
