"""A session over topics that are asked for by name, and served or refused each for itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from bridge.exchange_errors import FrameError, ReportedError
from bridge.exchanges.api import Output, Pause, Reconnect, Replace, Said, Send, Session, Subscription, Unknown
from bridge.exchanges.toolkit.sessions.maintenance import Maintenance
from bridge.exchanges.toolkit.sessions.pings import Pings
from bridge.exchanges.toolkit.sessions.topics import Request, Topics
from bridge.exchanges.toolkit.timing.request_count import RequestCount
from bridge.exchanges.toolkit.values.holes import Holes
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, WRONG, Damage, peek, readable
from bridge.model import Channel

__all__ = ["SubscribingSession", "TopicSession"]

_HEAL = 10 * SECOND
"""Between two times that topics are asked for again because something of them was lost."""

RowT = TypeVar("RowT")


class SubscribingSession(Session):
    """Asks for its topics, says which of their streams are live or down, and pings.

    Args:
        exchange: its name, for errors.
        url: where the connection goes.
        streams: topic → the streams that it feeds.
        topics: what became of each: `Topics`, or `NamedTopics` where answers name the topics.
        pings: those that the exchange wants.
        maintenance: what is announced, over whichever connection.
        requests: counts them, where the exchange takes only so many over one connection.
    """

    _quiet_gives_back = True
    """Whether a topic that is asked for again because it was quiet is given back before."""
    _secret_requests = False
    """Whether requests have a token in them, which belongs into no recording."""

    def __init__(
        self,
        exchange: str,
        url: str,
        streams: Mapping[str, list[Subscription]],
        topics: Topics,
        pings: Pings,
        *,
        maintenance: Maintenance | None = None,
        requests: RequestCount | None = None,
    ) -> None:
        super().__init__(url)
        self._maintenance = maintenance or Maintenance()
        self._requests = requests
        self._paused: Pause | None = None
        """The newest pause that was handed out."""
        self._exchange = exchange
        self._streams = streams
        self._topics = topics
        self._pings = pings
        self._never_quiet: tuple[str, ...] = ()
        """Topics that are asked for again after ``_quiet_after`` of silence: a snapshot shows that they are there still."""
        self._quiet_after = 15 * SECOND
        self._due: set[str] = set()
        """Topics that are asked for again with the next tick: all that are due share their requests."""
        self._doubtful: set[str] = set()
        """Topics of which something was lost that nothing but another snapshot brings: they are asked for again."""
        self._healed = 0
        self._numbers = Holes()
        """Of each topic whose messages are numbered."""
        self.ready = False

    def tick(self, now: int) -> Sequence[Output]:
        out = [*self._pings.tick(now), *self._pause()]
        if self._topics.overdue(now):
            return [*out, Reconnect(self._topics.no_answer)]
        quiet = self._topics.quiet(self._never_quiet, now, self._quiet_after)
        if self._quiet_gives_back:
            self._due.update(quiet)
        else:
            self._topics.ask_again(quiet)
        if self._doubtful and not 0 <= now - self._healed < _HEAL:
            self._healed = now
            self._due |= self._doubtful
        for topic in self._due:
            self._numbers.forget(topic)
        self._topics.renew(sorted(self._due), now)
        self._due.clear()
        return [*out, *self._settle((), self._topics.tick(now), now)]

    @abstractmethod
    def _request(self, request: Request) -> str:
        """A request as the exchange has it."""

    def _begin(self, now: int) -> list[Output]:
        """Ask for all topics."""
        self._healed = now
        self._topics.begin(now)
        return self._settle((), (), now)

    def _acknowledged(self, ident: str, now: int) -> list[Output]:
        return self._settle(self._topics.acknowledged(ident, now), (), now)

    def _standing(self, ident: str, named: str, now: int) -> list[Output]:
        return self._settle(self._topics.standing(ident, named, now), (), now)

    def _refused(self, ident: str, reason: str, named: str, now: int) -> list[Output]:
        return self._settle((), self._topics.rejected(ident, reason, named, now), now)

    def _settle(self, served: Iterable[str], refused: Iterable[str], now: int, *, told: bool = False) -> list[Output]:
        """What has changed, and what is to be asked for; ``told``: the error that refuses is among the outputs already."""
        self.ready = self.ready or self._topics.settled
        out = [event for topic in served for event in self.lively(self._streams[topic], now)]
        for topic in refused:
            reason = self._topics.refused[topic]
            out += [] if told else [self._refusal(topic, reason)]
            out += self.dead(self._streams[topic], now, reason)
        out += [Send(self._request(request), self._secret_requests) for request in self._topics.requests]
        if self._requests and self._requests.made(len(self._topics.requests), now):
            out.append(Replace(f"{self._requests.most} requests were made over this connection"))
        self._topics.requests.clear()
        lost = (stream for topic in self._topics.refused for stream in self._streams[topic])
        self.unserved = {stream.subject for stream in lost if stream.channel is Channel.BOOK}
        return out

    def _pause(self) -> list[Output]:
        if self._maintenance.pause is self._paused:
            return []
        self._paused = self._maintenance.pause
        return [self._paused] if self._paused else []

    def _refusal(self, topic: str, reason: str) -> Output:
        """What is said of a topic that is refused."""
        return Said(ReportedError(self._exchange, reason, topic=topic))


class TopicSession(SubscribingSession):
    """One whose messages name their topic as it was asked for: each is one of the topic's streams."""

    _topic_field: ClassVar = "topic"
    """The field of a message that names its topic."""

    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        self._pings.heard = True
        try:
            topic, message = self._decode(frame)
        except UNREADABLE as error:
            return self._unreadable(frame, recv, error)
        if not topic:
            return self._answer(message, recv)
        if topic not in self._streams:
            return [Unknown(topic.partition(".")[0])]
        try:
            events = self._data(topic, message, recv)
        except WRONG as error:
            events = self._salvage(topic, message, frame, recv=recv, error=error)
        news = self._came(topic, recv)
        return [*news, *events] if news else events

    def _came(self, topic: str, recv: int) -> list[Output]:
        """Its data shows that a topic is served, also where the acknowledgement is still to come."""
        return self._settle([topic], (), recv) if self._topics.came(topic, recv) else []

    def _unreadable(self, frame: bytes, recv: int, error: Exception) -> Sequence[Output]:
        fixed = readable(frame)
        if fixed is not frame:
            return self.receive(fixed, recv)
        topics = [topic for topic in self._peek(frame) if topic in self._streams]
        if len(topics) == 1:
            return self._salvage(topics[0], None, frame, recv=recv, error=error)
        if topics:
            damage = Damage(self._exchange, frame)
            damage.row(error, [stream for topic in topics for stream in self._streams[topic]])
            return damage.settle(self, self._lost(topics), recv)
        raise FrameError(self._exchange, frame, f"{type(error).__name__}: {error}") from None

    def rejected(self, recv: int) -> Sequence[Output]:
        """Whose the frame was can't be told: all that is served may have missed something."""
        return self.gaps([stream for topic in self._topics.served for stream in self._streams[topic]], recv)

    def _followed(self, topic: str, number: int, recv: int, *, begins: bool) -> list[Output]:
        """Where a topic's messages are numbered: what is said where some are missing before this one.

        ``begins``: it is the snapshot that the topic begins with. Where there is a hole, it is asked for again.
        """
        if begins:
            self._numbers.begin(topic, number)
            self._doubtful.discard(topic)
        elif self._numbers.before(topic, number):
            self._doubtful.add(topic)
            return self.gaps(self._streams[topic], recv, f"message {number} does not follow the one before it")
        return []

    def _repeated(self, topic: str, number: int) -> bool:
        """Whether a numbered message that begins nothing is a repeat, of which nothing is to be taken.

        The topic is asked for again: its count may have begun anew, with a snapshot that was lost.
        """
        if self._numbers.has(topic, number):
            self._doubtful.add(topic)
            return True
        return False

    def _peek(self, frame: bytes) -> Sequence[str]:
        """What may be the topics of a frame that is no message."""
        return [peek(frame, self._topic_field)]

    def _lost(self, topics: Sequence[str]) -> list[Output]:
        """Something of these topics is lost: their streams say so already."""
        del topics
        return []

    @abstractmethod
    def _decode(self, frame: bytes) -> tuple[str, Any]:
        """A frame's topic (empty if it has none), and the frame as a message.

        Raises:
            one of `UNREADABLE`: it isn't one.
        """

    @abstractmethod
    def _answer(self, message: Any, recv: int) -> list[Output]:
        """What a message without a topic says."""

    @abstractmethod
    def _data(self, topic: str, message: Any, recv: int) -> list[Output]:
        """The events of a message of one of the topics.

        Raises:
            one of `WRONG`: it can't be understood.
        """

    def _salvage(self, topic: str, message: Any, frame: bytes, *, recv: int, error: Exception) -> list[Output]:
        """What can still be read where that failed (``message`` is ``None`` where it is none).

        The topic's streams have a ``gap``, and the frame goes to the rejects.
        """
        del message
        damage = Damage(self._exchange, frame)
        damage.row(error, self._streams[topic])
        return damage.settle(self, [], recv)

    def _each(
        self,
        topic: str,
        rows: Iterable[RowT],
        take: Callable[[RowT], list[Output]],
        frame: bytes,
        recv: int,
        *,
        counted: bool = False,
    ) -> list[Output]:
        """The events of rows taken one by one: those that can't be understood are left out, with a ``gap`` in their place.

        ``counted``: a row is one event.
        """
        damage = Damage(self._exchange, frame, counted=counted)
        events: list[Output] = []
        for row in rows:
            try:
                events += take(row)
            except WRONG as wrong:
                damage.row(wrong, self._streams[topic], len(events))
        return damage.settle(self, events, recv)
