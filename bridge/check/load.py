"""What a configuration costs Redis: memory, CPU and network, from its retention and the rates of its streams.

The figures per entry are measurements; docs/reference/sizing.md says of what. A rate is entries per second of one stream.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from msgspec import Struct

from bridge.check.sizes import BYTES_PER_ENTRY, StreamSize
from bridge.config import Settings
from bridge.model import Channel

__all__ = ["ChannelLoad", "Load", "Measured", "load_of", "pattern_streams"]

WIRE_BYTES = {
    Channel.TRADES: 261,
    Channel.BOOK: 573,
    Channel.BOOK10: 286,
    Channel.QUOTES: 272,
    Channel.TICKER: 361,
    Channel.FUNDING: 260,
    Channel.MARK: 216,
    Channel.INTEREST: 230,
    Channel.LIQUIDATIONS: 263,
    Channel.ORDERS: 369,
    Channel.FILLS: 380,
    Channel.BALANCES: 250,
    Channel.POSITIONS: 380,
}
"""Bytes of an entry on its way to Redis. A reader is sent 40 bytes less."""
_LESS_TO_READERS = 40
_WRITE, _READ = 5e-6, 2.3e-6
"""Seconds of Redis' CPU for an entry that comes in, or goes out to a reader, besides its bytes."""
_PER_BYTE_IN, _PER_BYTE_OUT = 5.2e-9, 2.6e-9
_BATCH, _REPLY = 42e-6, 25e-6
"""Seconds of Redis' CPU for a batch, however small (system calls, the fence), and for the reply to a reader that has it."""
_MOST_BATCHES = 3_000
"""Batches that a connector sends in a second at most: one waits for the acknowledgement of the one before."""
_PER_STREAM = 6_000
"""Bytes of a stream besides its entries: key, tree, the node that is being filled."""
_REWRITING = 1.5
_CONNECTOR = 90_000_000


class Measured(Struct, frozen=True):
    """What a stream in a running Redis was found to have; ``None`` where there was too little to measure."""

    rate: float | None
    bytes_per_entry: float | None


class ChannelLoad(Struct, frozen=True):
    """All streams of a channel. ``rate`` is their sum (``None``: unknown, so that they count as full)."""

    channel: Channel
    streams: int
    rate: float | None
    kept: float
    """Entries that all of them keep."""
    memory: float

    @property
    def bytes_per_entry(self) -> float:
        return (self.memory - self.streams * _PER_STREAM) / self.kept if self.kept else 0.0


class Load(Struct, frozen=True):
    """The whole. CPU is shares of a core, network bytes per second; both only of channels whose rates are known."""

    channels: list[ChannelLoad]
    connectors: int
    memory: float
    maxmemory: float
    """What Redis should be allowed: half as much again, for rewriting its file."""
    cpu_writing: float
    cpu_per_reader: float
    bytes_in: float
    bytes_per_reader: float
    connector_memory: float
    """Of each connector, with a buffer that is full."""

    @property
    def unknown(self) -> list[Channel]:
        """Channels without a rate."""
        return [channel.channel for channel in self.channels if channel.rate is None]


def load_of(
    settings: Settings,
    streams: Sequence[StreamSize],
    rates: Mapping[Channel, float],
    measured: Mapping[str, Measured],
) -> Load:
    """What these streams cost. A stream's own measurement counts first, then the given rate, then its channel's average."""
    averages = _averages(streams, measured)
    sums: defaultdict[Channel, list[float]] = defaultdict(lambda: [0, 0, 0, 0])
    unknown: set[Channel] = set()
    by_connector: defaultdict[str, float] = defaultdict(float)
    for stream in streams:
        own, average = measured.get(stream.key, _NOTHING), averages.get(stream.channel, _NOTHING)
        rate = next((r for r in (own.rate, rates.get(stream.channel), average.rate) if r is not None), None)
        size = own.bytes_per_entry or average.bytes_per_entry or BYTES_PER_ENTRY[stream.channel]
        if rate is None:
            unknown.add(stream.channel)
        kept = stream.max_entries if rate is None else min(stream.max_entries, rate * stream.max_age)
        found = sums[stream.channel]
        found[0] += 1
        found[1] += rate or 0
        found[2] += kept
        found[3] += kept * size + _PER_STREAM
        by_connector[stream.connector] += rate or 0
    channels = [
        ChannelLoad(channel, int(count), None if channel in unknown and not rate else rate, kept, memory)
        for channel, (count, rate, kept, memory) in sums.items()
    ]
    return _summed(settings, channels, by_connector)


def pattern_streams(settings: Settings) -> list[StreamSize]:
    """The streams that connectors' patterns may come to, ``max_pairs`` of each channel; their names are placeholders."""
    found = []
    for one in settings.connectors:
        for channel in one.channels if one.patterns else ():
            limits = settings.retention.of(channel)
            size = BYTES_PER_ENTRY[channel] * limits.max_entries
            found += [
                StreamSize(
                    f"{one.name}:{channel}:{number}", one.name, channel, limits.max_entries, limits.max_age, size
                )
                for number in range(one.max_pairs or 0)
            ]
    return found


_NOTHING = Measured(None, None)


def _averages(streams: Sequence[StreamSize], measured: Mapping[str, Measured]) -> dict[Channel, Measured]:
    """Of each channel, the averages of the streams that were measured."""
    found: defaultdict[Channel, list[Measured]] = defaultdict(list)
    for stream in streams:
        if stream.key in measured:
            found[stream.channel].append(measured[stream.key])
    return {
        channel: Measured(
            _mean([one.rate for one in some if one.rate is not None]),
            _mean([one.bytes_per_entry for one in some if one.bytes_per_entry is not None]),
        )
        for channel, some in found.items()
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _summed(settings: Settings, channels: list[ChannelLoad], by_connector: Mapping[str, float]) -> Load:
    total = sum(channel.rate or 0 for channel in channels)
    into = sum((channel.rate or 0) * _wire(channel) for channel in channels)
    out = sum((channel.rate or 0) * (_wire(channel) - _LESS_TO_READERS) for channel in channels)
    batches = sum(min(rate, _MOST_BATCHES) for rate in by_connector.values())
    memory = sum(channel.memory for channel in channels)
    return Load(
        channels=channels,
        connectors=len(by_connector),
        memory=memory,
        maxmemory=memory * _REWRITING,
        cpu_writing=total * _WRITE + into * _PER_BYTE_IN + batches * _BATCH,
        cpu_per_reader=total * _READ + out * _PER_BYTE_OUT + batches * _REPLY,
        bytes_in=into,
        bytes_per_reader=out,
        connector_memory=_CONNECTOR + settings.buffer.max_bytes,
    )


def _wire(channel: ChannelLoad) -> float:
    """Bytes on the wire: names of fields come with each entry, so it differs from memory by about as much for all."""
    known = WIRE_BYTES[channel.channel] - BYTES_PER_ENTRY[channel.channel]
    return channel.bytes_per_entry + max(known, 0)
