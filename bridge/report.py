"""What a connector can say of itself: for its heartbeat, the catalog, and whoever else asks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping

import msgspec

from bridge.exchanges.base import Exchange, Subscription
from bridge.feed.latency import FeedLatency
from bridge.feed.link import Link
from bridge.model import PUBLIC_CHANNELS, SCHEMA_VERSION, ControlEvent
from bridge.presence import Presence
from bridge.publish.publisher import Publisher
from bridge.sequencer import Topic

__all__ = ["Report"]


class Report:
    """Reads off the parts of one connector; whoever changes them, this looks only when asked.

    ``topics`` is the router's own mapping, which grows with sub-accounts.
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
    ) -> None:
        self.exchange = exchange
        self.name = name
        self.publisher = publisher
        self.presence = presence
        self.topics = topics
        self.latency = latency
        self.links: list[Link] = []
        self.errors: Counter[str] = Counter()
        """What the exchange refused or said that was wrong, by kind."""
        self.unknown: Counter[str] = Counter()
        """Messages of unknown types, by type."""
        self.started = time.time_ns()
        self._polled = {stream: poll.interval for poll in exchange.polls() for stream in poll.streams}

    @property
    def state(self) -> str:
        """``live``: all connections are up; ``degraded``: some; ``down``: none. Where none is needed: of the streams."""
        up = [link.up for link in self.links] or [topic.live for topic in self.topics.values()]
        return "live" if up and all(up) else "degraded" if any(up) else "down"

    def counts(self) -> dict[str, int]:
        """What came and went; ``received`` = ``published`` + ``lost`` + what still waits."""
        topics = self.topics.values()
        return {
            "received": sum(topic.received for topic in topics),
            "published": self.publisher.published,
            "lost": self.publisher.lost,
            "waiting": self.publisher.waiting,
            "repeated": sum(topic.repeated for topic in topics),
            "gaps": sum(topic.gaps for topic in topics),
            "rejected": self.presence.rejected,
            "unknown": self.unknown.total(),
        }

    def heartbeat(self) -> dict[str, str | int | float]:
        """The fields of the heartbeat, beside those that say whose it is."""
        latency = self.publisher.latency
        half, most = latency.percentile(0.5), latency.percentile(0.99)
        return {
            "state": self.state,
            "started": self.started,
            "connections": len(self.links),
            "connections_up": sum(link.up for link in self.links),
            "reconnects": sum(link.reconnects for link in self.links),
            "replacements": sum(link.replacements for link in self.links),
            **self.counts(),
            "waiting_bytes": self.publisher.waiting_bytes,
            "confirmed": self.publisher.confirmed,
            "publish_p50_ms": "" if half is None else half,
            "publish_p99_ms": "" if most is None else most,
            "errors": msgspec.json.encode(self.errors).decode(),
            **self.latency.heartbeat(),
        }

    def catalog(self) -> dict[str, dict[str, object]]:
        """The connector's entries of the catalog: stream key → content."""
        catalog: dict[str, dict[str, object]] = {}
        for wish, topic in self.topics.items():
            kind = "pair" if wish.channel in PUBLIC_CHANNELS else "account"
            catalog[topic.stream.key] = {
                "exchange": self.exchange.name,
                kind: wish.subject,
                "channel": str(wish.channel),
                "schema": SCHEMA_VERSION,
                "connector": self.name,
                "state": "live" if topic.live else topic.said or ControlEvent.DOWN,
                "units": self.exchange.units.get(wish.channel, ""),
                **({"polled": self._polled[wish]} if wish in self._polled else {}),
            }
        return catalog
