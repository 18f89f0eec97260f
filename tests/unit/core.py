"""What the tests of the core share: a sink that keeps what it gets, streams without Redis, and short ways to events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.exchanges.api import Action, Fetch, Flow, Output, Reject, Said
from bridge.keys import Keys
from bridge.model import (
    PUBLIC_CHANNELS,
    Balance,
    BookDelta,
    BookSnapshot,
    Channel,
    Control,
    ControlEvent,
    Event,
    Fill,
    Order,
    Quote,
    Trade,
)
from bridge.publish.stream import Retention, Stream
from bridge.sequencer import Topic, topic_type

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
PAIR = "BTC-EUR"
KEYS = Keys()


def stream(channel: Channel, subject: str = "", *, entries: int = 1_000_000, age: float = 86_400.0) -> Stream:
    subject = subject or (PAIR if channel in PUBLIC_CHANNELS else "main")
    return Stream(KEYS.stream("limitlex", subject, channel), channel, subject, Retention(entries, age))


class ListSink:
    """A sink that keeps what it gets, in order."""

    def __init__(self) -> None:
        self.entries: list[tuple[Stream, Event]] = []

    def put(self, stream: Stream, event: Event) -> None:
        self.entries.append((stream, event))

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        self.put(stream, Control(stream.subject, None, recv, stream.channel, ControlEvent.LOST, reason, count))

    @property
    def events(self) -> list[Event]:
        return [event for _, event in self.entries]

    @property
    def data(self) -> list[Event]:
        return [event for event in self.events if not isinstance(event, Control)]

    @property
    def controls(self) -> list[str]:
        return [str(event.event) for event in self.events if isinstance(event, Control)]

    @property
    def lost(self) -> int:
        return sum(e.count or 0 for e in self.events if isinstance(e, Control) and e.event is ControlEvent.LOST)

    def said(self) -> list[str]:
        """Types of data, events of controls, in order."""
        return [
            str(event.event) if isinstance(event, Control) else str(event.__struct_config__.tag)
            for event in self.events
        ]


class Rig:
    """A topic with its sink and what it asked to be resynced."""

    def __init__(self, channel: Channel, **limits: Any) -> None:
        self.sink = ListSink()
        self.resynced: list[tuple[str, str]] = []
        self.topic: Any = self.again(channel, **limits)

    def again(self, channel: Channel, **limits: Any) -> Topic:
        topic = topic_type(channel)(stream(channel, **limits), self.sink, lambda *what: self.resynced.append(what))
        self.topic = topic
        return topic


class Apart:
    """A session whose outputs are told apart: calls return the events, and what is to be done is kept in ``actions``.

    ``outputs`` are all of them, in their order. What else a test asks of it is the session's own.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self.actions: list[Action] = []
        self.outputs: list[Any] = []
        self.fetched: list[Event] = []
        """The events of the newest `fetch`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def connected(self, now: int) -> list[Event]:
        return self.apart(self.session.connected(now))

    def receive(self, frame: bytes, recv: int) -> list[Event]:
        return self.apart(self.session.receive(frame, recv))

    def rejected(self, recv: int) -> list[Event]:
        return self.apart(self.session.rejected(recv))

    def failed(self, recv: int) -> list[Event]:
        return self.apart(self.session.failed(recv))

    def tick(self, now: int) -> list[Event]:
        return self.apart(self.session.tick(now))

    def resync(self, subject: str, now: int, reason: str) -> list[Event]:
        return self.apart(self.session.resync(subject, now, reason))

    def fetch(self, now: int) -> Flow[list[Event]]:
        """The fetch of an account's state, one conversation after the other; begun now, if none is."""
        state = getattr(self.session, "_state", None)
        begun = self._fetches()
        if hasattr(state, "begin") and not begun:
            begun = [output for output in state.begin(now) if isinstance(output, Fetch)]
        self.fetched = self.apart(())
        while begun:
            for fetch in begun:
                self.fetched += self.apart((yield from fetch.flow))
            begun = self._fetches()
        return self.fetched

    def _fetches(self) -> list[Fetch]:
        found = [action for action in self.actions if isinstance(action, Fetch)]
        self.actions[:] = [action for action in self.actions if not isinstance(action, Fetch)]
        return found

    def apart(self, outputs: Sequence[Output]) -> list[Event]:
        self.outputs += outputs
        self.actions += [output for output in outputs if isinstance(output, Action)]
        return [output for output in outputs if isinstance(output, Event)]


def faults(session: Any) -> list[tuple[str, Any, str, str]]:
    """Kind, code, topic and words of the errors that a session hands out; they are taken out of its actions."""
    found = [action.error for action in session.actions if isinstance(action, Said)]
    session.actions[:] = [action for action in session.actions if not isinstance(action, Said)]
    return [(error.kind, error.code, error.topic, error.message) for error in found]


def refused(session: Any, frame: bytes, recv: int = T0) -> list[tuple[str, str]]:
    """Channel and subject of the streams that have a ``gap`` because of a bad frame, from which nothing is served."""
    session.actions[:] = [action for action in session.actions if not isinstance(action, Reject)]
    events = [e for e in session.receive(frame, recv) if not (isinstance(e, Control) and e.event is ControlEvent.LIVE)]
    [reject] = [action for action in session.actions if isinstance(action, Reject)]
    assert reject.error.raw == frame
    assert all(isinstance(event, Control) and event.event is ControlEvent.GAP for event in events), events
    return sorted((str(event.channel), event.subject) for event in events)


def trade(number: int = 0, ident: str = "", price: str = "7997.40", size: str = "0.1", recv: int = -1) -> Trade:
    """Trade ``number``: received ``number`` seconds after T0, executed in that very second."""
    at = T0 + number * SECOND
    return Trade(PAIR, at, at if recv < 0 else recv, ident, "buy", price, size)


def quote(bid: str, ask: str, recv: int = T0) -> Quote:
    return Quote(PAIR, None, recv, bid, "", ask, "")


def snapshot(recv: int = T0, xseq: str = "") -> BookSnapshot:
    return BookSnapshot(PAIR, None, recv, xseq, [("10", "1")], [("11", "1")])


def delta(recv: int = T0, xseq: str = "", prev: str = "", size: str = "2") -> BookDelta:
    return BookDelta(PAIR, None, recv, xseq, [("10", size)], [], prev)


def order(ident: str, status: str = "open", recv: int = T0, filled: str = "0") -> Order:
    return Order("main", T0, recv, ident, "", "", "limit", "buy", "10", "1", filled, status)


def fill(ident: str, recv: int = T0) -> Fill:
    return Fill("main", T0, recv, ident, "o1", PAIR, "buy", "10", "1", "", "")


def balance(currency: str, available: str, recv: int = T0, reserved: str = "0") -> Balance:
    return Balance("main", None, recv, currency, available, reserved)
