"""``shard: 2/3``: the pairs of an exchange shared out over several connectors that list the same ones.

Rendezvous hashing: every shard draws a number for every pair, and the highest has it. So a new pair moves no other, and a
new shard takes its share from all others and moves nothing between them. The numbers follow from the names alone: every
connector comes to the same result without asking anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any

from pydantic import BeforeValidator

from bridge.config.forms import Form
from bridge.config.problems import raise_mistake

__all__ = ["Shard", "ShardValue", "parse_shard"]

_SHARD = re.compile(r"\s*(\d{1,4})\s*/\s*(\d{1,4})\s*")


@dataclass(frozen=True)
class Shard:
    """One of ``count`` shards; the first is number 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def picks(self, pairs: Iterable[str]) -> tuple[str, ...]:
        """Those of the pairs that are this shard's, in their order."""
        return tuple(pair for pair in pairs if owner(pair, self.count) == self.number)


def owner(pair: str, count: int) -> int:
    """The number of the shard that has the pair."""
    return max(range(1, count + 1), key=lambda number: _draw(number, pair))


def _draw(number: int, pair: str) -> bytes:
    return blake2b(f"{number}/{pair}".encode(), digest_size=8).digest()


def parse_shard(text: str) -> Shard:
    """``2/3`` taken apart.

    Raises:
        ValueError: it is no shard.
    """
    match = _SHARD.fullmatch(text)
    if match is None:
        raise ValueError("should be NUMBER/COUNT, such as 1/3: the first of three")
    number, count = int(match[1]), int(match[2])
    if not count:
        raise ValueError("should be of one shard at least, such as 1/3: the first of three")
    if not 1 <= number <= count:
        raise ValueError(f"there is no shard {number} of {count}: they are numbered from 1 to {count}")
    return Shard(number, count)


def _shard(value: Any) -> Shard:
    if isinstance(value, Shard):
        return value
    try:
        return parse_shard(value if isinstance(value, str) else "")
    except ValueError as error:
        raise_mistake(str(error))


ShardValue = Annotated[
    Shard, BeforeValidator(_shard), Form({"type": "string", "pattern": r"^\s*[0-9]{1,4}\s*/\s*[0-9]{1,4}\s*$"})
]
