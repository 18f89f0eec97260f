"""What a publisher tells the rest of the connector."""

from __future__ import annotations

from typing import Protocol

from bridge.publish.stream import Stream

__all__ = ["PublisherEvents"]


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
