"""What a feed brings while it is recorded: nothing is published, but its books are kept."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.connector.books import Books
from bridge.exchanges.api import Exchange, Subscription
from bridge.feed.discard import Discard
from bridge.model import Channel, Control, Event
from bridge.publish.stream import Retention, Stream
from bridge.sequencer import BookTopic

__all__ = ["Recorder"]

_KEPT = Retention(1 << 62, inf)


class Recorder(Discard):
    """Has books that break asked for again: a recording with a hole in a book would be of no use from there on."""

    def __init__(self, exchange: Exchange, log: FilteringBoundLogger) -> None:
        super().__init__(log)
        self.books = Books(exchange, lambda: self.supervisors, self.event, log)
        self._topics: dict[str, BookTopic] = {}
        for subscription in exchange.subscriptions():
            if subscription.channel is Channel.BOOK:
                stream = Stream(subscription.subject, subscription.channel, subscription.subject, _KEPT)
                self._topics[subscription.subject] = self.books.topic(stream, self)

    def event(self, event: Event) -> None:
        if event.channel is not Channel.BOOK:  # type: ignore[attr-defined]
            return
        topic = self._topics.get(event.subject)
        if topic is None:
            return
        if isinstance(event, Control):
            topic.control(event)
        else:
            topic.accept(event)  # type: ignore[arg-type]

    def down(self, streams: Sequence[Subscription], reason: str) -> None:
        for stream in streams:
            if stream.channel is Channel.BOOK and stream.subject in self._topics:
                self._topics[stream.subject].down(CLOCK.now(), reason)

    def put(self, stream: Stream, event: Event) -> None:
        """An entry (`Sink`)."""

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """A `lost` entry (`Sink`)."""
