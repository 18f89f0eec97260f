"""What a publisher tells the rest of the connector, and what its pipelines count together."""

from __future__ import annotations

from typing import Protocol

from bridge.latency import Latency
from bridge.publish.stream import Stream

__all__ = ["PublisherEvents", "Totals"]


class PublisherEvents(Protocol):
    """Who listens to a publisher."""

    def dropped(self, stream: Stream) -> None:
        """Events of this stream were dropped: a book needs a fresh snapshot once `recovered` comes."""

    def recovered(self) -> None:
        """Redis takes entries again."""

    def hold(self, publisher: object) -> None:
        """Redis answers, and takes less than comes: the feed is to be read no more for now."""

    def release(self, publisher: object) -> None:
        """The feed may be read again."""

    def conflict(self, stream: Stream) -> None:
        """Somebody else keeps writing to this stream."""

    def disturbed(self, stream: Stream, reason: str, count: int | None) -> None:
        """Somebody else has changed this stream; ``count`` of its entries are gone by that, if any."""

    def displaced(self, reason: str) -> None:
        """Another process has taken this one's place: the publisher writes nothing more."""


class Totals:
    """What all pipelines of a publisher have done, and what waits in all of them."""

    def __init__(self) -> None:
        self.published = 0
        """Data entries that Redis has acknowledged."""
        self.lost = 0
        """Dropped events that a `lost` entry in Redis declares."""
        self.confirmed = 0
        """Entries that Redis refused because it had them already."""
        self.bytes = 0
        """What the entries that are not acknowledged count for in the budget."""
        self.latency = Latency()
