"""The state of a connector, for its heartbeat, the catalog, metrics and status page."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
from msgspec import structs

from bridge.clock import CLOCK
from bridge.config import Settings
from bridge.entries import textual
from bridge.exchanges.api import Exchange, Subscription
from bridge.feed.flow import FlowControl
from bridge.feed.latency import FeedLatency
from bridge.feed.supervisor import FeedSupervisor
from bridge.latency import Histogram, Latency
from bridge.model import BOOKS, PUBLIC_CHANNELS, SCHEMA_VERSION, Channel
from bridge.observe.figures import FEED_BUCKETS, PUBLISH_BUCKETS, ConnectionRow, Durations, Figures, GroupRow, StreamRow
from bridge.observe.health import NOT_SETTLED, Waiting, degraded, unusable
from bridge.observe.takeovers import Takeovers
from bridge.printable import LONGEST_ERROR, code
from bridge.process.serving import overall
from bridge.publish.publisher import Publisher
from bridge.redaction import presentable
from bridge.redis.errors import said
from bridge.redis.presence import Presence
from bridge.sequencer import BookTopic, Topic

__all__ = ["Report"]

_UNITS = {Channel.BOOK10: "the ten best levels a side of the book"}
"""What the catalog says of channels that the connector makes itself."""
_MOST_TYPES = 100
"""Limit of unknown message types counted separately: an exchange may put ids into types, which must not fill memory."""
_COUNTS = ("received", "published", "buffered", "repeated", "gaps", "resyncs")
_PUBLISH_EDGES = [round(bound * 1e9) for bound in PUBLISH_BUCKETS]
_FEED_EDGES = [round(bound * 1e9) for bound in FEED_BUCKETS]
_NOTHING: Mapping[str, int] = {}
_ROWS = 100
"""Streams that are looked at in one turn of the event loop: a fraction of a millisecond."""
_LEAST_PATIENCE = 5.0
"""Minimum of seconds without an acknowledged heartbeat after which Redis counts as not answering."""


class Report:
    """Reads the state of a connector's parts when it is asked.

    ``topics`` is the mapping of the router, which grows with sub-accounts.
    """

    def __init__(
        self,
        exchange: Exchange,
        name: str,
        publisher: Publisher,
        presence: Presence,
        topics: Mapping[Subscription, Topic],
        *,
        latency: FeedLatency,
        settings: Settings,
        flow: FlowControl | None = None,
    ) -> None:
        self.exchange = exchange
        self.name = name
        self.publisher = publisher
        self.presence = presence
        self.topics = topics
        self.latency = latency
        self.settings = settings
        self.flow = flow or FlowControl()
        self.supervisors: list[FeedSupervisor] = []
        self.errors: Counter[str] = Counter()
        """Errors and refusals of the exchange, by kind."""
        self.unknown: Counter[str] = Counter()
        """Messages of unknown types, by type."""
        self.started = time.time_ns()
        self._polled: dict[Subscription, float] = {}
        self.poll(exchange)
        self._leaving: dict[Subscription, Topic] = {}
        """Streams of pairs that are read no more, whose last entries wait."""
        self._left: dict[Channel, StreamRow] = {}
        """By channel, the counts of those that have been given up."""
        self._given_up: dict[str, dict[str, object]] = {}
        """What the catalog is to say of them, until it does."""
        self.written = time.monotonic()
        """When Redis last accepted a heartbeat (monotonic clock)."""
        self.refusal = ""
        """Why it refused the last one; empty if it did not."""
        self.takeovers = Takeovers()
        self.standby: Waiting | None = None
        """What it stands by with, for as long as another process writes the streams."""
        self.starting = False
        """Whether its streams are not open yet."""
        self.ended = False

    def poll(self, exchange: Exchange) -> None:
        """Further streams may be polled."""
        self._polled |= {stream: poll.interval for poll in exchange.polls() for stream in poll.streams}

    def leaving(self, topic: Topic) -> None:
        """A stream is read no more; its last entries may wait."""
        self._leaving[Subscription(topic.channel, topic.subject)] = topic

    def left(self, topic: Topic) -> None:
        """A stream has been given up: another process may write it. Its counts stay in the totals."""
        stream = Subscription(topic.channel, topic.subject)
        del self._leaving[stream]
        self._given_up[topic.stream.key] = self._entry(stream, topic)
        row, sums = self._row(topic, CLOCK.now()), self._left.get(topic.channel)
        if sums is not None:
            counts = {name: getattr(row, name) + getattr(sums, name) for name in _COUNTS}
            row = structs.replace(row, **counts, lost=dict(Counter(row.lost) + Counter(sums.lost)))
        self._left[topic.channel] = structs.replace(row, key="", subject="", awaiting_snapshot=False)

    def shown(self) -> None:
        """The catalog has been written."""
        self._given_up.clear()

    @property
    def missing(self) -> list[str]:
        """What prevents it from being ready: Redis must take writes, a subscription be live, a standby be `settled`."""
        return self._broken() or ([NOT_SETTLED] if self.standby and not self.standby.settled else [])

    def _broken(self) -> list[str]:
        if self.ended:
            return ["it is stopping"]
        found = []
        unwritten = self.redis_age
        if self.standby:
            if not self.redis_connected:
                found.append(f"Redis: the writer's heartbeat was not seen for {unwritten:.1f} s")
        elif not self.publisher.connected:
            found.append("Redis: no connection")
        elif self.refusal:
            found.append(f"Redis refuses writes: {self.refusal}")
        elif unwritten > max(_LEAST_PATIENCE, 2.5 * self.presence.interval):
            found.append(f"Redis: no write was acknowledged for {unwritten:.1f} s")
        return found + unusable(self.topics.values())

    @property
    def redis_age(self) -> float:
        """Seconds since Redis last accepted a heartbeat, or, of a standby, has shown a new one of the writer."""
        return time.monotonic() - (self.standby.looked if self.standby else self.written)

    @property
    def redis_connected(self) -> bool:
        """Whether the publisher is connected; of a standby, whether it sees that the writer lives."""
        if self.standby:
            return self.redis_age <= max(_LEAST_PATIENCE, 2.5 * self.presence.interval)
        return self.publisher.connected

    @property
    def degraded(self) -> list[str]:
        """What does not work although the connector may be ready: connections, streams, the buffer."""
        return degraded(
            self.supervisors, self.topics.values(), self.publisher.waiting_bytes / max(1, self.publisher.most_bytes)
        )

    def beaten(self, error: Exception | None = None) -> None:
        """Record that Redis accepted a heartbeat, or refused it with ``error``."""
        if error is None:
            self.written = time.monotonic()
        self.refusal = presentable(said(error), LONGEST_ERROR) if error else ""

    def count_unknown(self, kind: str) -> str:
        """Count a message of an unknown type; returns the type if it is the first of its type, otherwise ``""``."""
        kind = code(kind)
        if kind not in self.unknown and len(self.unknown) >= _MOST_TYPES:
            kind = "others"
        self.unknown[kind] += 1
        return kind if self.unknown[kind] == 1 else ""

    async def streams(self) -> list[StreamRow]:
        """The state of each stream. Each row is true in itself; between some of them the event loop turns."""
        topics = (*self.topics.values(), *self._leaving.values())
        found: list[StreamRow] = []
        for first in range(0, len(topics), _ROWS):
            now = CLOCK.now()
            found += [self._row(topic, now) for topic in topics[first : first + _ROWS]]
            await asyncio.sleep(0)
        return found

    def past(self) -> list[StreamRow]:
        """The counts of streams that were given up, a row for each channel."""
        return list(self._left.values())

    def _row(self, topic: Topic, now: int) -> StreamRow:
        stream = topic.stream
        return StreamRow(
            stream.key,
            stream.channel,
            stream.subject,
            topic.state,
            isinstance(topic, BookTopic) and topic.awaiting,
            self._received(topic),
            stream.published,
            dict(stream.lost) if stream.lost else _NOTHING,
            stream.backlog + topic.undeclared,
            topic.repeated,
            topic.gaps,
            topic.resyncs if isinstance(topic, BookTopic) else 0,
            (now - topic.last) / 1e9 if topic.last else None,
            stream.blocked,
        )

    def _received(self, topic: Topic) -> int:
        """Without what another process has written while this one stood by."""
        held = self.standby.window.withheld(topic.stream) if self.standby else 0
        return topic.received - topic.withheld - held

    def connections(self) -> list[ConnectionRow]:
        """The current state of each planned connection."""
        return [
            ConnectionRow(
                supervisor.plan.name,
                supervisor.up,
                supervisor.serving,
                dict(supervisor.lost),
                supervisor.replacements,
                None if supervisor.frame_age is None else round(supervisor.frame_age, 3),
                supervisor.plan.subscriptions,
            )
            for supervisor in self.supervisors
        ]

    async def figures(self) -> Figures:
        """What the metrics say, copied now."""
        past = self.past()  # first: a stream that leaves meanwhile must not count twice
        streams = await self.streams()
        publisher, presence = self.publisher, self.presence
        memory, offset = presence.memory, self.latency.host_offset
        numbers: dict[str, float | None] = {
            "parse_errors": presence.rejects.count,
            "rejects_omitted": presence.rejects.omitted,
            "unknown_messages": self.unknown.total(),
            "publish_queue_bytes": publisher.waiting_bytes,
            "publish_queue_limit_bytes": publisher.most_bytes,
            "feed_paused_seconds": self.flow.seconds,
            "publish_confirmed": publisher.confirmed,
            "redis_connection_up": self.redis_connected,
            "redis_last_write_age_seconds": self.redis_age,
            "redis_memory_bytes": memory.used if memory else None,
            "redis_memory_limit_bytes": memory.most if memory else None,
            "clock_offset_seconds": offset.ns / 1e9 if offset else None,
            "clock_error_seconds": offset.error / 1e9 if offset else None,
            **self.takeovers.numbers(),
        }
        return Figures(
            exchange=self.exchange.name,
            connector=self.name,
            state=self.state,
            streams=streams,
            past=past,
            connections=self.connections(),
            errors=dict(self.errors),
            numbers={name: float(value) for name, value in numbers.items() if value is not None},
            publish_latency=_durations(publisher.latency, _PUBLISH_EDGES),
            feed_latency={
                channel: _durations(latency.total, _FEED_EDGES)
                for channel, latency in self.latency.channels.items()
                if latency.telling
            },
            groups=self._groups(),
        )

    def _groups(self) -> list[GroupRow]:
        found = self.presence.groups.found
        return [
            GroupRow(topic.channel, topic.subject, group.name, group.lag, group.pending)
            for topic in (self.topics.values() if found else ())
            for group in found.get(topic.stream.key, ())
        ]

    async def status(self) -> dict[str, object]:
        """The connector's part of the status page, copied now; rows are not plain data yet."""
        streams = await self.streams()
        publisher, memory, missing = self.publisher, self.presence.memory, self.missing
        return {
            "name": self.name,
            "exchange": self.exchange.name,
            "instance": self.presence.instance,
            "started": self.started,
            "state": self.state,
            "ready": not missing,
            "missing": missing,
            "degraded": self.degraded,
            "redis": {
                "address": self.settings.redis.address,
                "connected": self.redis_connected,
                "refusal": self.refusal,
                "last_write_age": round(self.redis_age, 3),
                "memory_bytes": memory.used if memory else None,
                "memory_limit_bytes": memory.most if memory else None,
            },
            "buffer": {
                "entries": publisher.waiting,
                "bytes": publisher.waiting_bytes,
                "max_bytes": publisher.most_bytes,
                "max_age": self.settings.buffer.max_age,
            },
            "feed": {
                "paused": self.flow.held,
                "pauses": self.flow.pauses,
                "paused_seconds": round(self.flow.seconds, 3),
            },
            "counts": {
                **self.counts(),
                "confirmed": publisher.confirmed,
                "rejects_omitted": self.presence.rejects.omitted,
            },
            "publish_latency_ms": {
                name: publisher.latency.percentile(share) for name, share in (("p50", 0.5), ("p99", 0.99))
            },
            "unknown_messages": dict(self.unknown),
            "connections": self.connections(),
            "streams": streams,
        }

    @property
    def state(self) -> str:
        """One of `STATES`, the same in heartbeat, ``/status``, metrics and ``/readyz``.

        ``starting``: its streams are not open yet, or it is a standby that could not continue them yet; ``live``: everything
        works; ``degraded``: ready, but something does not work; ``down``: not ready; ``stopping``: it is ending.
        """
        if self.ended:
            return "stopping"
        if self.starting:
            return "starting"
        state = overall(self._broken(), self.degraded)
        if self.standby and state == "live":
            return "standby" if self.standby.settled else "starting"
        return state

    def counts(self) -> dict[str, int]:
        """Counts of events; ``received`` = ``published`` + ``lost`` + ``waiting``."""
        topics: list[Topic | StreamRow] = [*self.topics.values(), *self._leaving.values(), *self._left.values()]
        return {
            "received": sum(self._received(one) if isinstance(one, Topic) else one.received for one in topics),
            "published": self.publisher.published,
            "lost": self.publisher.lost,
            "waiting": self.publisher.waiting,
            "repeated": sum(topic.repeated for topic in topics),
            "gaps": sum(topic.gaps for topic in topics),
            "rejected": self.presence.rejects.count,
            "unknown": self.unknown.total(),
        }

    def heartbeat(self) -> dict[str, str | int | float]:
        """The fields of the heartbeat, except those that identify the process."""
        half, most = map(self.publisher.latency.percentile, (0.5, 0.99))
        return {
            "state": self.state,
            "started": self.started,
            "connections": len(self.supervisors),
            "connections_up": sum(supervisor.up for supervisor in self.supervisors),
            "reconnects": sum(supervisor.reconnects for supervisor in self.supervisors),
            "replacements": sum(supervisor.replacements for supervisor in self.supervisors),
            **self.counts(),
            "waiting_bytes": self.publisher.waiting_bytes,
            "paused": round(self.flow.seconds, 3),
            "confirmed": self.publisher.confirmed,
            "publish_p50_ms": "" if half is None else half,
            "publish_p99_ms": "" if most is None else most,
            "errors": msgspec.json.encode(textual(self.errors)).decode(),
            **self.latency.heartbeat(),
        }

    def catalog(self) -> dict[str, dict[str, object]]:
        """The connector's entries in the catalog: stream key → content."""
        catalog = dict(self._given_up)
        for subscription, topic in self.topics.items():
            catalog[topic.stream.key] = self._entry(subscription, topic)
        return catalog

    def _entry(self, subscription: Subscription, topic: Topic) -> dict[str, object]:
        kind = "pair" if subscription.channel in PUBLIC_CHANNELS else "account"
        return {
            "exchange": self.exchange.name,
            kind: subscription.subject,
            "channel": str(subscription.channel),
            "schema": str(SCHEMA_VERSION),
            "connector": self.name,
            "instance": self.presence.instance,
            "state": topic.state,
            "units": _UNITS.get(subscription.channel) or self.exchange.units.get(subscription.channel, ""),
            "max_entries": str(topic.stream.retention.max_entries),
            "max_age": f"{topic.stream.retention.max_age:.3f}".rstrip("0").rstrip("."),  # never an exponent
            **({"gaps": self.exchange.gaps} if subscription.channel in BOOKS else {}),
            **({"polled": f"{self._polled[subscription]:g}"} if subscription in self._polled else {}),
        }


def _durations(counted: Latency | Histogram, edges: Sequence[int]) -> Durations:
    return Durations(counted.cumulative(edges), counted.count, counted.total)
