"""One exchange of the demo: a simulated exchange and its connector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from bridge.demo.control import Control
from bridge.demo.recorded import SIMULATED

__all__ = ["Instrument", "Venue", "by_base"]


class Instrument(NamedTuple):
    """A pair at an exchange."""

    exchange: str
    pair: str

    def __str__(self) -> str:
        return f"{self.exchange} {self.pair}"


class Venue(Struct, frozen=True):
    """A simulated exchange, or one of which a recording is played, and its connector, which is named after the exchange.

    ``simulator`` and ``connector`` are the names of their processes, ``config`` is the connector's config, ``account``
    is the account whose private channels it reads. ``kind`` is `kind_of` the exchange.
    """

    exchange: str
    pairs: tuple[str, ...]
    account: str
    config: Path
    control: Control
    simulator: str
    connector: str
    kind: str = SIMULATED

    @property
    def recorded(self) -> bool:
        """Whether a recording is played, and nothing simulated."""
        return self.kind != SIMULATED

    @property
    def instruments(self) -> list[Instrument]:
        return [Instrument(self.exchange, pair) for pair in self.pairs]


def by_base(pairs: Mapping[str, Sequence[str]]) -> list[Instrument]:
    """The pairs of all exchanges in the order in which they are shown, grouped by base coin."""
    instruments = [Instrument(exchange, pair) for exchange, names in pairs.items() for pair in names]
    coins = list(dict.fromkeys(_interleaved([[_base(pair) for pair in names] for names in pairs.values()])))
    return sorted(instruments, key=lambda each: coins.index(_base(each.pair)))


def _base(pair: str) -> str:
    return pair.partition("-")[0]


def _interleaved(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    longest = max(map(len, rows), default=0)
    return (row[place] for place in range(longest) for row in rows if place < len(row))
