"""Pairs: what an exchange lists, which of the configured ones it does, and how they are shared out over connections."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Sequence

from bridge.errors import ConfigError, Problem
from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import ListedPair, Subscription
from bridge.exchanges.toolkit.pairs.names import contract_name
from bridge.exchanges.toolkit.values.numbers import MILLISECOND, number_or_empty
from bridge.model import Channel

__all__ = ["check_listed", "in_messages", "listed_pair", "nearest_pairs", "share_out", "streams_of"]

_AROUND = 3
"""Bytes around a topic in a request: two quotes, and a comma."""
_LONGEST_TIME = 13
"""Digits of milliseconds until the year 2286."""


def listed_pair(
    symbol: str, kind: str | None, base: str, quote: str, delivery: str = "", **more: str
) -> ListedPair | None:
    """A pair of a list, named by its coins and kind, never by its symbol: ``BTCPERP`` may be ``BTC-USDC-PERP``.

    Args:
        symbol: the exchange's name of it.
        kind: as `ListedPair.kind`; ``None``: one that isn't served.
        base: its base coin.
        quote: its quote coin.
        delivery: of a future, when it is delivered (ms since the epoch, as text).
        more: the other fields of `ListedPair`; figures that are no numbers become empty.

    Returns:
        ``None`` for what isn't served, or can't be named in the config.
    """
    timed = delivery.isascii() and delivery.isdecimal() and len(delivery) <= _LONGEST_TIME
    if kind is None or not (symbol and symbol.isascii() and base.isalnum() and quote.isalnum()):
        return None
    if kind == "future" and not timed:
        return None
    day = delivery if kind == "future" else ""
    pair = (f"{base}-{quote}" if kind == "spot" else contract_name(base, quote, day)).upper()
    figures = {name: number_or_empty(value) if name.endswith("_size") else value for name, value in more.items()}
    return ListedPair(pair, base, quote, kind, expiry=str(int(day) * MILLISECOND) if day else "", **figures)


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


def share_out(
    pairs: Sequence[str],
    most: int | None = None,
    *,
    topics: Callable[[str], Sequence[str]] = lambda pair: (pair,),
    most_bytes: int | None = None,
    connections: int | None = None,
) -> list[tuple[str, ...]]:
    """The pairs, evenly over as few connections as the exchange's limits allow.

    Args:
        pairs: in any order; neighbours come on different connections.
        most: topics of one connection.
        topics: the topics of a pair; without it, a pair is one.
        most_bytes: of one connection's topics, each with its quotes and comma as in a request.
        connections: from one client address.

    Raises:
        ConfigError: one pair is too much for a connection, or all of them for the connections.
    """
    sizes = [(len(names), _bytes(names)) for names in map(topics, pairs)]
    fits = _fits(most, most_bytes)
    for pair, size in zip(pairs, sizes, strict=True):
        if not fits([size]):
            raise ConfigError([Problem("pairs", f"{pair} alone has more topics than the exchange allows a connection")])
    count = min(len(pairs), 1)
    while not all(fits(sizes[start::count]) for start in range(count)):
        count += 1
    if connections is not None and count > connections:
        message = f"{len(pairs)} pairs need {count} connections, and the exchange allows {connections} from one address"
        raise ConfigError([Problem("pairs", message, "fewer pairs or channels, or another address for some of them")])
    return [tuple(pairs[start::count]) for start in range(count)]


def in_messages(topics: Sequence[str], most: int | None = None, most_bytes: int | None = None) -> list[tuple[str, ...]]:
    """Topics in their order, over as few requests as the limits allow: topics of one request, and bytes of them.

    Raises:
        ConfigError: a topic is longer than a request may be.
    """
    fits = _fits(most, most_bytes)
    parts: list[list[str]] = []
    sizes: list[tuple[int, int]] = []
    for topic in topics:
        size = (1, _bytes([topic]))
        if not fits([size]):
            raise ConfigError([Problem("pairs", f"{topic} is longer than a request may be")])
        if parts and fits([*sizes, size]):
            parts[-1].append(topic)
            sizes = [(sizes[0][0] + 1, sizes[0][1] + size[1])]
        else:
            parts.append([topic])
            sizes = [size]
    return [tuple(part) for part in parts]


def streams_of(channels: Iterable[Channel], subjects: Iterable[str]) -> tuple[Subscription, ...]:
    """All of these channels for each of the pairs, or of the accounts."""
    return tuple(Subscription(channel, subject) for subject in subjects for channel in sorted(channels))


def _bytes(topics: Sequence[str]) -> int:
    return sum(len(topic.encode()) + _AROUND for topic in topics)


def _fits(most: int | None, most_bytes: int | None) -> Callable[[Sequence[tuple[int, int]]], bool]:
    """Whether topics of such counts and bytes fit into one connection, or one request."""

    def fits(sizes: Sequence[tuple[int, int]]) -> bool:
        return (most is None or sum(count for count, _ in sizes) <= most) and (
            most_bytes is None or sum(size for _, size in sizes) <= most_bytes
        )

    return fits
