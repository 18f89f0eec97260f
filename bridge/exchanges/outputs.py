"""What a session hands out: events, and what it asks of the connection that drives it, in one list, in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from msgspec import Struct

from bridge.exchange_errors import ExchangeError, FrameError
from bridge.exchanges.http import Flow
from bridge.model import Channel, Event

__all__ = [
    "Action",
    "Fetch",
    "Output",
    "Pause",
    "Reconnect",
    "Reject",
    "Replace",
    "Restated",
    "Said",
    "Send",
    "Unknown",
    "Warn",
]


class Action(Struct, frozen=True):
    """Something that the connection has to do for its session."""


class Send(Action, frozen=True):
    """Send this text frame; ``secret`` keeps it out of recordings."""

    text: str
    secret: bool = False


class Reconnect(Action, frozen=True):
    """The connection is of no more use: drop it, then connect again, after ``wait`` seconds at least."""

    reason: str
    wait: float = 0.0


class Fetch(Action, frozen=True):
    """Hold this conversation over REST. What it ends in is taken as if it had come over the connection, at that moment.

    It runs beside the connection, and ends with it. ``what`` names it in the log, should it fail by a `RestError`: one
    that knows what to do then catches it by itself.
    """

    flow: Flow[Sequence[Output]]
    what: str


class Replace(Action, frozen=True):
    """Open a second connection, and give this one up when the other has taken over: nothing is missed between."""

    reason: str


class Pause(Action, frozen=True):
    """The exchange has announced that nothing will come for a while: a maintenance begins, a market is halted.

    The connection's streams of these ``subjects`` (``None``: all) are ``down`` with the ``reason``, and their silence is no
    fault. While all streams of a connection pause, it isn't given up for being silent; where it is lost, it is tried again
    once a minute. The pause ends at ``until`` (ns, by the clock of the session's ``now``; ``None``: nobody knows), or with
    the next event of one of the streams; then books are asked for again. A later pause of a stream replaces an earlier
    one, and ends it where its ``until`` is past.
    """

    reason: str
    until: int | None = None
    subjects: Collection[str] | None = None


class Unknown(Action, frozen=True):
    """A message of a type that the module doesn't know; counted, and logged once per type."""

    kind: str


class Reject(Action, frozen=True):
    """Part of a frame could not be understood, and the session has served the rest: to the rejects, and counted.

    The ``gap`` of the stream that has missed something is among the session's events; no other stream is concerned.
    """

    error: FrameError


class Said(Action, frozen=True):
    """The exchange said that something is wrong: logged, and counted by the error's ``kind``.

    ``consequence`` is what follows from it, in words, where the error itself doesn't tell.
    """

    error: ExchangeError
    consequence: str = ""


class Warn(Action, frozen=True):
    """Something that an operator should read, and that is no error of the exchange's."""

    message: str


class Restated(Action, frozen=True):
    """The whole present state of a private channel, from REST after a (re)connect: what differs is published.

    ``events`` hold one event per key (order, currency, position); known keys that they leave out are gone. The answer
    is as of some time after ``asked`` (ns): what the connection has told since then is newer, or as new.
    """

    channel: Channel
    subject: str
    events: Sequence[Event]
    asked: int
    covers: Callable[[Event], bool] | None = None
    """Which of the known events it speaks of; ``None``: all. Another connection may feed the same stream."""


Output: TypeAlias = Event | Action
"""What a session hands out."""
