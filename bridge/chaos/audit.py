"""The audit: what the streams hold, compared with what the exchanges did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from msgspec import Struct, field

from bridge.chaos.checks import FILLS, TRADES, check_book, check_events, check_numbers, with_holes
from bridge.chaos.collector import Copy
from bridge.chaos.truth import Span, Truth
from bridge.model import Channel

__all__ = ["Findings", "Source", "audit"]


class Source(Struct, frozen=True):
    """What is needed of an exchange, beside its ``journal``.

    ``coins``: pair → base coins of a contract; ``names``: subject of an account's streams → the exchange's own name of it;
    ``dead_after``: the seconds without a message after which a connector reconnects; ``paused``: when none was running.
    """

    journal: Path
    coins: Mapping[str, Decimal]
    names: Mapping[str, str]
    dead_after: float
    paused: Sequence[Span] = ()


class Findings(Struct):
    """``counts``: stream → entries by kind; ``wrong``: what should not be, in words."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def total(self, name: str) -> int:
        """A count over all streams."""
        return sum(counts[name] for counts in self.counts.values())

    def add(self, key: str, counts: Counter[str], wrong: Iterable[str]) -> None:
        """Add what was found in a stream."""
        self.counts[key] = counts
        self.wrong += [f"{key} {words}" for words in wrong]


def audit(copies: Iterable[Copy], sources: Mapping[str, Source]) -> Findings:
    """Compare every stream with its exchange."""
    truths = {
        exchange: Truth(source.journal, source.coins, source.dead_after, source.paused)
        for exchange, source in sources.items()
    }
    found = Findings()
    copies = list(copies)
    for copy in copies:
        stream, key = copy.stream, copy.key
        truth, names = truths[stream.exchange], sources[stream.exchange].names
        found.wrong += copy.wrong
        rows = with_holes(copy.rows())
        counts: Counter[str] = Counter()
        wrong: list[str] = []
        if stream.channel is Channel.BOOK:
            counts, wrong = check_book(rows, truth.books[stream.subject])
        elif stream.channel is Channel.TRADES:
            counts, wrong = check_events(rows, TRADES, truth.trades[stream.subject], truth.unnoticed[stream.subject])
        elif stream.channel is Channel.FILLS:
            true = truth.fills[names[stream.subject]]
            counts, wrong = check_events(rows, FILLS, true)
        else:
            for _, fields in rows:
                counts[fields.get("event") or fields["type"]] += 1
        found.add(key, counts, [*check_numbers(rows), *wrong])
    return found
