"""Pairs: what an exchange lists, which of the configured ones it does, and how they are shared out over connections."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from bridge.exchange_errors import RestError, UnknownPairError

__all__ = ["check_listed", "nearest_pairs", "share_out"]


def check_listed(exchange: str, path: str, pairs: Sequence[str], listed: Collection[str]) -> None:
    """Make sure that the exchange lists all of these pairs; ``path`` is the REST call that said what it lists.

    Raises:
        RestError: the answer lists nothing at all: that is the exchange's trouble, which passes, and not a wrong name.
        UnknownPairError: a pair isn't listed; it names the nearest ones that are.
    """
    for pair in pairs:
        if not listed:
            raise RestError(exchange, path, 200, "the answer lists no pairs")
        if pair not in listed:
            raise UnknownPairError(exchange, pair, nearest_pairs(pair, listed))


def nearest_pairs(name: str, listed: Collection[str]) -> list[str]:
    """Up to three listed pairs whose names look like this one, the nearest first."""
    return difflib.get_close_matches(name, listed, n=3, cutoff=0.5)


def share_out(pairs: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """The pairs, evenly over as few connections as do with ``most`` each."""
    count = -(-len(pairs) // most)
    return [tuple(pairs[start::count]) for start in range(count)]
