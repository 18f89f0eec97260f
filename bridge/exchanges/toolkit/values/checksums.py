"""Checksums of books over the digits of prices and sizes, without points and leading zeros."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from bridge.model import Levels

__all__ = ["Decimals"]


_MOST = 100


class Decimals:
    """How many decimals prices and sizes have in checksums, by pair.

    A number with fewer is padded with zeros, and one with more is left as it is: nothing is ever rounded. As long as a
    pair's decimals aren't known, the digits of the messages count as they are.
    """

    def __init__(self) -> None:
        self._decimals: dict[str, tuple[int, int]] = {}

    def __contains__(self, pair: object) -> bool:
        return pair in self._decimals

    def learn(self, pair: str, price: object, size: object) -> None:
        """Take the decimals that a pair has now; what is no such number says nothing: they are as before."""
        known = self._decimals.get(pair, (0, 0))
        self._decimals[pair] = _places(price, known[0]), _places(size, known[1])

    def crc32(self, pair: str, *sides: Levels) -> int:
        """The CRC-32 of the sides' levels, in this order: price, then size."""
        price, size = self._decimals.get(pair, (0, 0))
        return zlib.crc32("".join(_written(sides, price, size)).encode())


def _places(told: object, known: int) -> int:
    return told if isinstance(told, int) and 0 <= told <= _MOST else known


def _written(sides: Iterable[Levels], price: int, size: int) -> Iterable[str]:
    for levels in sides:
        for at, amount in levels:
            yield _bare(at, price)
            yield _bare(amount, size)


def _bare(number: str, decimals: int) -> str:
    whole, _, part = number.partition(".")
    return (whole + part.ljust(decimals, "0")).lstrip("0")
