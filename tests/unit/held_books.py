"""A real session with the topics that its events go to: what comes out of both, and what is asked of the exchange."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from bridge.exchanges.api import BookRules, Session, Subscription
from bridge.model import Channel, Control, Event
from bridge.sequencer import CheckedBook, Topic, topic_type
from tests.unit.core import ListSink, stream

__all__ = ["Kept"]


class Kept:
    """A session whose books are held to rules, in the place of the session alone: what it returns are entries.

    After each frame the session has a tick, in which it sends what the books have asked for.
    """

    def __init__(
        self, session: Session, rules: BookRules, pairs: Collection[str], channels: Collection[Channel]
    ) -> None:
        self.session: Any = session
        self.sink = ListSink()
        self.replaced: list[tuple[str, str]] = []
        """Pairs for which a fresh connection was wanted, and why."""
        self.topics: dict[Subscription, Topic] = {}
        self._now = 0
        for pair in pairs:
            for channel in sorted(channels):
                self.topics[Subscription(channel, pair)] = self._topic(channel, pair, rules, channels)

    def _topic(self, channel: Channel, pair: str, rules: BookRules, channels: Collection[Channel]) -> Topic:
        if channel is not Channel.BOOK:
            return topic_type(channel)(stream(channel, pair), self.sink, self._resync)
        quotes = self._take if rules.quotes and Channel.QUOTES in channels else None
        return CheckedBook(stream(channel, pair), self.sink, self._resync, self._replace, rules, quotes=quotes)

    @property
    def actions(self) -> list[Any]:
        return self.session.actions

    def book(self, pair: str) -> CheckedBook:
        found = self.topics[Subscription(Channel.BOOK, pair)]
        assert isinstance(found, CheckedBook)
        return found

    def receive(self, frame: bytes, recv: int) -> list[Event]:
        """The entries that a frame makes."""
        begin = self._begin(recv)
        self._route(self.session.receive(frame, recv))
        self._route(self.session.tick(recv))
        return self.sink.events[begin:]

    def rejected(self, recv: int) -> list[Event]:
        begin = self._begin(recv)
        self._route(self.session.rejected(recv))
        self._route(self.session.tick(recv))
        return self.sink.events[begin:]

    def tick(self, now: int) -> list[Event]:
        """What the connection and the connector do four times a second."""
        begin = self._begin(now)
        self._route(self.session.tick(now))
        for topic in self.topics.values():
            if isinstance(topic, CheckedBook):
                topic.tick(now)
        self._route(self.session.tick(now))
        return self.sink.events[begin:]

    def over_another(self, session: Session, now: int) -> None:
        """The connection is lost; there is another one."""
        for topic in self.topics.values():
            topic.down(now, "cut")
        self.session = session

    def _begin(self, now: int) -> int:
        self._now = now
        return len(self.sink.entries)

    def _route(self, events: Sequence[Event]) -> None:
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        topic = self.topics[Subscription(event.channel, event.subject)]  # type: ignore[attr-defined]
        if isinstance(event, Control):
            topic.control(event)
        else:
            topic.accept(event)

    def _resync(self, subject: str, reason: str) -> None:
        self.session.resync(subject, self._now, reason)

    def _replace(self, subject: str, reason: str) -> None:
        self.replaced.append((subject, reason))
