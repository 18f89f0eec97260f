"""The topics of a connector, as those who look for one find them."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection

from bridge.clock import CLOCK
from bridge.connector.books import Books, Nowhere
from bridge.connector.store import Store
from bridge.exchanges.api import BestPrices, Subscription
from bridge.feed.latency import FeedLatency
from bridge.model import DATA_EVENTS, Channel, Event
from bridge.publish.stream import Stream
from bridge.sequencer import Sink, Topic, topic_type

__all__ = ["TopicTable"]

_TAKEN: tuple[type[Event], ...] = (*DATA_EVENTS, BestPrices)
"""What topics take beside control events."""


class TopicTable:
    """All topics of one connector: those of its streams, and those of which only other streams are made."""

    def __init__(self, store: Store, books: Books, latency: FeedLatency) -> None:
        self._store = store
        self._books = books
        self._latency = latency
        self.published: dict[Subscription, Topic] = {}
        self._unpublished: dict[Subscription, Topic] = {}
        """Those of which only other streams are made."""
        self.fed = ChainMap(self.published, self._unpublished)
        """All that the feed brings something for."""
        self.by_class: dict[type[Event], dict[str, Topic]] = {kind: {} for kind in _TAKEN}
        """Class of an event → subject → the topic that takes it."""
        self.by_stream: dict[Stream, Topic] = {}

    def add(self, subscription: Subscription, stream: Stream, sink: Sink) -> Topic:
        """A topic for a stream, whose entries go to the sink."""
        topic = self._topic(stream, sink)
        self.published[subscription] = topic
        self.by_stream[stream] = topic
        self._route(subscription, topic)
        return topic

    def keep_unpublished(self, subscriptions: Collection[Subscription]) -> None:
        """Have topics that other streams are made of, and whose own entries nobody gets."""
        for subscription in subscriptions:
            stream = self._store.stream(subscription.channel, subscription.subject)
            topic = self._unpublished[subscription] = self._books.topic(stream, Nowhere())
            self._route(subscription, topic)
            self._latency.opened(subscription.channel, topic, CLOCK.now())

    def remove(self, subscription: Subscription) -> bool:
        """A topic is fed no more; whether it has a stream."""
        topic = self.fed[subscription]
        for by_subject in self.by_class.values():
            if by_subject.get(topic.subject) is topic:
                del by_subject[topic.subject]
        self._books.forget(topic)
        self._latency.forget(topic)
        if self._unpublished.pop(subscription, None) is not None:
            return False
        del self.published[subscription], self.by_stream[topic.stream]
        return True

    def _route(self, subscription: Subscription, topic: Topic) -> None:
        """Have the topic get the events of its stream."""
        for kind, topics in self.by_class.items():
            if kind.channel is subscription.channel:  # type: ignore[attr-defined]
                topics[subscription.subject] = topic

    def _topic(self, stream: Stream, sink: Sink) -> Topic:
        if stream.channel is Channel.BOOK:
            return self._books.topic(stream, sink)
        if stream.channel is Channel.BOOK10:
            return self._books.top(stream, sink)
        return topic_type(stream.channel)(stream, sink, self._books.resync)
