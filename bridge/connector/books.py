"""The order books of a connector: which topic a book has, what is due about it, and when it needs a snapshot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.exchanges.api import Exchange, Subscription
from bridge.feed.flow import FlowControl
from bridge.feed.supervisor import FeedSupervisor
from bridge.model import Channel, Event
from bridge.publish.stream import Stream
from bridge.sequencer import BookTopic, CheckedBook, Sink, TopBook, Topic, book_type

__all__ = ["Books", "Nowhere"]

_LOOK_EVERY = 0.25
_NO_SNAPSHOT = 30.0
"""Seconds without a snapshot after which one is asked for again."""
_BETWEEN_SNAPSHOTS = 2.0
"""Least seconds from one to the next that a book needs because somebody else has changed its stream."""


class Nowhere:
    """A `Sink` for topics whose entries aren't published."""

    def put(self, stream: Stream, event: Event) -> None:
        """An entry."""

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """A `lost` entry."""


class Books:
    """The books of one connector.

    Args:
        exchange: says what they are held to.
        supervisors: the connector's connections, as they are at present.
        emit: takes events for other streams that come out of a book.
        log: has a line for each request of a snapshot.
        flow: says when nothing was read.
    """

    def __init__(
        self,
        exchange: Exchange,
        supervisors: Callable[[], Sequence[FeedSupervisor]],
        emit: Callable[[Event], None],
        log: FilteringBoundLogger,
        flow: FlowControl | None = None,
    ) -> None:
        self._exchange = exchange
        self._supervisors = supervisors
        self._emit = emit
        self._log = log
        self._flow = flow or FlowControl()
        self._held: dict[str, CheckedBook] = {}
        """Pair → its book."""
        self._broken: dict[BookTopic, float] = {}
        """When (by the monotonic clock) a snapshot is asked for, of books that need one."""
        self._asked: dict[BookTopic, float] = {}

    def topic(self, stream: Stream, sink: Sink) -> CheckedBook:
        """The topic of a book."""
        rules = self._exchange.book
        quoted = rules.quotes and Channel.QUOTES in self._exchange.profile.channels
        book = book_type(rules)(
            stream,
            sink,
            self.resync,
            self._replace,
            rules,
            quotes=self._emit if quoted else None,
            trades=self._tell_trades,
            paused=self._flow.paused_since,
        )
        self._held[stream.subject] = book
        return book

    def forget(self, topic: Topic) -> None:
        """Nothing more is due about a book that is read no more."""
        if self._held.get(topic.subject) is topic:
            del self._held[topic.subject]
        if isinstance(topic, BookTopic):
            self._broken.pop(topic, None)
            self._asked.pop(topic, None)

    def top(self, stream: Stream, sink: Sink) -> TopBook:
        """The topic of the best levels of a book, whose own topic there is already."""
        book = self._held[stream.subject]
        book.top = TopBook(stream, sink, self.resync, book.best)
        return book.top

    async def watch(self) -> None:
        """Do what is due about the books, endlessly."""
        while True:
            now = CLOCK.now()
            for book in list(self._held.values()):
                book.tick(now)
            await asyncio.sleep(_LOOK_EVERY)

    def dropped(self, topic: Topic) -> None:
        """Events of this topic were dropped: a book needs a fresh snapshot, once Redis takes entries."""
        topic.broken()
        if isinstance(topic, BookTopic):
            self._broken[topic] = 0.0

    def disturbed(self, topic: Topic) -> None:
        """Somebody else has changed the stream: a book starts again, at once, but for somebody who goes on and on."""
        if isinstance(topic, BookTopic):
            self._broken[topic] = self._asked.get(topic, 0.0) + _BETWEEN_SNAPSHOTS

    def restore(self, takes: Callable[[Stream], bool]) -> None:
        """Have a snapshot of every book whose readers need one, where Redis ``takes`` it; again, if none comes."""
        now = time.monotonic()
        for topic, due in list(self._broken.items()):
            if not topic.awaiting:
                del self._broken[topic]
            elif takes(topic.stream) and now >= due:
                self._asked[topic] = now
                self._broken[topic] = now + _NO_SNAPSHOT
                topic.restore(CLOCK.now())

    def resync(self, subject: str, reason: str) -> None:
        """Have the exchange asked for a snapshot."""
        self._log.info("book_resync", pair=subject, reason=reason)
        for supervisor in self._feeding(subject):
            supervisor.resync(subject, reason)

    def _replace(self, subject: str, reason: str) -> None:
        self._log.info("book_resync", pair=subject, reason=reason)
        for supervisor in self._feeding(subject):
            supervisor.replace(f"{subject}: {reason}")

    def _tell_trades(self, event: Event) -> None:
        """Pass on what a book says of its pair's trades, if they come over the same connection."""
        trades = Subscription(Channel.TRADES, event.subject)
        if any(trades in supervisor.plan.subscriptions for supervisor in self._feeding(event.subject)):
            self._emit(event)

    def _feeding(self, subject: str) -> list[FeedSupervisor]:
        subscription = Subscription(Channel.BOOK, subject)
        return [supervisor for supervisor in self._supervisors() if subscription in supervisor.plan.subscriptions]
