"""Estimates how much memory of Redis the streams may take, from measured bytes per entry and the retention."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bridge.config import ConnectorSettings, Settings
from bridge.exchanges.api import Exchange
from bridge.keys import Keys
from bridge.model import Channel

__all__ = ["BYTES_PER_ENTRY", "StreamSize", "bytes_text", "pattern_size", "stream_sizes"]

BYTES_PER_ENTRY = {
    Channel.TRADES: 90,
    Channel.BOOK: 414,
    Channel.BOOK10: 110,
    Channel.QUOTES: 100,
    Channel.TICKER: 165,
    Channel.FUNDING: 80,
    Channel.MARK: 75,
    Channel.INTEREST: 90,
    Channel.LIQUIDATIONS: 90,
    Channel.ORDERS: 180,
    Channel.FILLS: 180,
    Channel.BALANCES: 97,
    Channel.POSITIONS: 180,
}
"""The upper end of the measurements in docs/reference/sizing.md. Books: deltas of 20 levels, without full snapshots.
Positions were not measured; their fields are similar to those of a fill."""


class StreamSize(Struct, frozen=True):
    """One stream: its key, its retention (entries, seconds), and its bytes when it is full."""

    key: str
    connector: str
    channel: Channel
    max_entries: int
    max_age: float
    bytes: int


def stream_sizes(settings: Settings, exchanges: Sequence[tuple[ConnectorSettings, Exchange]]) -> list[StreamSize]:
    """The streams of these connectors, before anything is connected (so without those of sub-accounts)."""
    keys = Keys(settings.namespace)
    found = []
    for connector, exchange in exchanges:
        for stream in exchange.published():
            limits = settings.retention.of(stream.channel)
            key = keys.stream(exchange.name, stream.subject, stream.channel)
            most = _most(settings, stream.channel)
            found.append(StreamSize(key, connector.name, stream.channel, limits.max_entries, limits.max_age, most))
    return found


def pattern_size(settings: Settings, connector: ConnectorSettings) -> tuple[int, int]:
    """How many streams the connector's patterns may come to, and the bytes of all of them when they are full.

    A channel that the exchange has only for some of its pairs counts for all.
    """
    pairs = connector.max_pairs or 0
    return pairs * len(connector.channels), pairs * sum(_most(settings, channel) for channel in connector.channels)


def bytes_text(count: float) -> str:
    """``1.2 GB``, ``45 MB``, ``0.3 MB``."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 0.1):.{0 if count >= 1e7 else 1}f} MB"


def _most(settings: Settings, channel: Channel) -> int:
    return BYTES_PER_ENTRY[channel] * settings.retention.of(channel).max_entries
