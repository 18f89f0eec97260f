"""A connector's figures, copied at one moment: plain values that another thread may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from bridge.exchanges.api import Subscription
from bridge.model import Channel

__all__ = [
    "FEED_BUCKETS",
    "PUBLISH_BUCKETS",
    "STATES",
    "ConnectionRow",
    "Durations",
    "Figures",
    "GroupRow",
    "StreamRow",
    "plain_rows",
]

STATES = ("starting", "standby", "live", "degraded", "down", "stopping")
"""The states of a connector."""
PUBLISH_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
"""Upper bounds of the buckets of the publishing latency, in seconds."""
FEED_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the buckets of the feed latency, in seconds."""


class StreamRow(Struct, frozen=True, gc=False):
    """One stream. At any time, ``received`` = ``published`` + all ``lost`` (by reason) + ``buffered``.

    ``buffered`` counts waiting entries, and dropped events that a `lost` entry will declare. ``age`` is the seconds
    since the last event, ``None`` before the first.
    """

    key: str
    channel: Channel
    subject: str
    state: str
    awaiting_snapshot: bool
    received: int
    published: int
    lost: Mapping[str, int]
    buffered: int
    repeated: int
    gaps: int
    resyncs: int
    age: float | None
    blocked: str
    """Why Redis refuses this stream; empty while it does not."""


class ConnectionRow(Struct, frozen=True):
    """One planned connection; ``age`` is seconds since its last frame, ``None`` while it is not up."""

    name: str
    up: bool
    subscribed: bool
    reconnects: dict[str, int]
    """By reason."""
    replacements: int
    age: float | None
    subscriptions: tuple[Subscription, ...]


class Durations(Struct, frozen=True):
    """A histogram for Prometheus: how many did not exceed each bucket's bound, how many there were, and their sum (ns)."""

    cumulative: list[int]
    count: int
    total: int


class GroupRow(Struct, frozen=True):
    """A consumer group of a stream: the entries that it has not been delivered, and those not acknowledged.

    ``lag`` is ``None`` if nobody can tell: the group was set to a position in time, and has read nothing since.
    """

    channel: Channel
    subject: str
    group: str
    lag: int | None
    pending: int


class Figures(Struct, frozen=True):
    """Everything that the metrics of a connector say.

    ``past`` has a row for each channel with streams that were given up. ``numbers`` has single values, by metric; those
    that are unknown are left out.
    """

    exchange: str
    connector: str
    state: str
    streams: Sequence[StreamRow]
    past: Sequence[StreamRow]
    connections: Sequence[ConnectionRow]
    errors: Mapping[str, int]
    numbers: Mapping[str, float]
    publish_latency: Durations
    feed_latency: Mapping[Channel, Durations]
    groups: Sequence[GroupRow]


def plain_rows(value: Any) -> Any:
    """Plain data with each row in it as a mapping; ages to the millisecond, subscriptions in words."""
    if isinstance(value, dict):
        return {name: plain_rows(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain_rows(item) for item in value]
    if not isinstance(value, StreamRow | ConnectionRow):
        return value
    row = {**structs.asdict(value), "age": None if value.age is None else round(value.age, 3)}
    if isinstance(value, ConnectionRow):
        row["subscriptions"] = [f"{stream.channel} of {stream.subject}" for stream in value.subscriptions]
    return row
