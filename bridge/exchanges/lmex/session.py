"""What all LMEX connections share: pings, subscriptions and their answers, errors in all their forms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import msgspec

from bridge.exchange_errors import ErrorKind, FrameError, ReportedError
from bridge.exchanges.api import Reconnect, Reject, Said, Send, Session, Subscription, Unknown
from bridge.exchanges.lmex.faults import GROUPING_IGNORED, of_message, of_row
from bridge.exchanges.lmex.messages import Envelope, envelope
from bridge.exchanges.toolkit.numbers import SECOND
from bridge.exchanges.toolkit.salvage import peek
from bridge.model import Event

__all__ = ["LmexSession"]

_PING = 15 * SECOND
_PONG = 10 * SECOND
"""How long a ping may go unanswered: a proxy can keep a socket open, and answer protocol pings, for a dead exchange."""
_LATE = 3 * SECOND
"""Between two ticks, which should come four times a second; beyond, it is this process that was busy."""
_OF_THE_CONNECTION = (ErrorKind.BUFFER_FULL, ErrorKind.TOO_MANY_FAILURES, ErrorKind.SESSION_EXPIRED)
"""Errors that end the connection, also where a topic is named."""
_ANSWERS = ("subscribe", "unsubscribe", "login", "authKeyExpires", "pong")
_LONG_WAIT = 60.0
"""Seconds to stay away once the exchange has had too many failed attempts of us."""


class LmexSession(Session):
    """One connection to LMEX."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._pinged = 0
        self._heard = True
        """Whether anything has come since the last ping."""
        self._until = 0
        """Until when something has to come."""
        self._ticked = 0

    def connected(self, now: int) -> None:
        self._pinged = self._ticked = now

    def tick(self, now: int) -> Sequence[Event]:
        """A text ``ping`` every 15 seconds: the exchange hangs up after 60 without one.

        One that neither a pong nor anything else follows is the end of the connection: silence looks no different.
        """
        if now < self._ticked:
            self._clock_back(now)
        if not 0 <= now - self._ticked <= _LATE:
            self._until = now + _PONG
            self._pinged = min(self._pinged, now)  # our clock may have been set back, by hours
        self._ticked = now
        if not self._heard and now > self._until:
            self._heard = True
            self.actions.append(Reconnect(f"nothing came within {_PONG // SECOND} s of a ping"))
        elif now - self._pinged >= _PING:
            self._pinged, self._until, self._heard = now, now + _PONG, False
            self.actions.append(Send("ping"))
        return ()

    def _clock_back(self, now: int) -> None:
        """Our clock was set back, by hours maybe: what is waited for is waited for from now on."""

    def receive(self, frame: bytes, recv: int) -> Sequence[Event]:
        self._heard = True
        try:
            message = envelope(frame)
        except FrameError as error:
            return self._unreadable(frame, error, recv)
        return () if message is None or message.is_pong else self._message(message, frame, recv)

    def _message(self, message: Envelope, frame: bytes, recv: int) -> Sequence[Event]:
        if message.topic:
            return self._data(message, frame, recv)
        if message.event in ("subscribe", "unsubscribe") and not message.is_fault:
            return self._acknowledged(message, recv) if message.event == "subscribe" else ()
        if message.event in ("login", "authKeyExpires"):
            return self._logged_in(message, recv)
        if message.is_fault:
            return self._fault(message, recv)
        return self._unknown(message.event or message.op or "message without topic")

    def subscribe(self, topics: list[str]) -> None:
        """Ask for topics, all in one message."""
        self._send("subscribe", topics)

    def unsubscribe(self, topics: list[str]) -> None:
        """Give topics back."""
        self._send("unsubscribe", topics)

    @abstractmethod
    def _data(self, message: Envelope, frame: bytes, recv: int) -> list[Event]:
        """The events of a message of one of the topics."""

    @abstractmethod
    def _damaged(self, topic: str, frame: bytes, error: Exception, recv: int) -> list[Event] | None:
        """A message of a topic can't be understood: who misses it. ``None`` where that can't be told from the topic."""

    def _unreadable(self, frame: bytes, error: FrameError, recv: int) -> list[Event]:
        """A frame that isn't JSON, or has another form than any message: judged by its first fields."""
        topic = peek(frame, "topic")
        events = self._damaged(topic, frame, error, recv) if topic else None
        if events is not None:
            return events
        if topic or (peek(frame, "event") not in _ANSWERS and not peek(frame, "severity")):
            raise error
        self.actions.append(Reject(error))  # an answer, and no data; one that is waited for will be missed
        return []

    @abstractmethod
    def _streams_of(self, topic: str) -> list[Subscription]:
        """The streams that a topic feeds."""

    def _logged_in(self, message: Envelope, recv: int) -> list[Event]:
        del recv
        return self._unknown(message.event)

    def _acknowledged(self, message: Envelope, recv: int) -> list[Event]:
        """``{"event":"subscribe","channel":["tradeHistoryApi:BTC-USD"]}``: in any order, and maybe after the first data.

        Topics that aren't accepted are simply not in it.
        """
        return [event for topic in message.channel or () for event in self.lively(self._streams_of(topic), recv)]

    def _fault(self, message: Envelope, recv: int) -> list[Event]:
        """Errors of topics, of the request, or of the session; each is said, and what is dead is ``down``.

        ``{"severity":"ERROR","errors":[{"arg":"update:NOPE-PERP_0","error":{"code":1000,"message":"Market pair provided
        is currently not supported."}}]}``
        """
        events: list[Event] = []
        rows = [*(message.errors or ()), *(message.error or ())]
        for error in map(of_row, rows):
            if error.topic and error.kind not in _OF_THE_CONNECTION:
                self.actions.append(Said(error))
                events += [] if error.code == GROUPING_IGNORED else self._refused(error, recv)
            else:
                self._failed(error, recv)
        if not rows:
            self._failed(of_message(message), recv)
        return events

    def _refused(self, error: ReportedError, recv: int) -> list[Event]:
        """A topic that the exchange doesn't serve."""
        return self.dead(self._streams_of(error.topic), recv, error.words)

    def _failed(self, error: ReportedError, recv: int) -> None:
        """An error that is of no single topic; after some of them the connection is of no more use."""
        del recv
        self.actions.append(Said(error))
        if error.kind is ErrorKind.SESSION_EXPIRED:
            self.actions.append(Reconnect(f"the session has expired: {error.words}"))
        elif error.kind in (ErrorKind.BUFFER_FULL, ErrorKind.TOO_MANY_FAILURES):
            wait = _LONG_WAIT if error.kind is ErrorKind.TOO_MANY_FAILURES else 0.0
            self.actions.append(Reconnect(f"the exchange gives this connection up: {error.words}", wait))

    def _unknown(self, kind: str) -> list[Event]:
        self.actions.append(Unknown(kind.partition(":")[0]))
        return []

    def _send(self, op: str, topics: list[str]) -> None:
        if topics:
            self.actions.append(Send(msgspec.json.encode({"op": op, "args": topics}).decode()))
