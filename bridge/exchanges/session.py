"""The protocol of an exchange over one connection, without any I/O.

Frames and times come in as arguments. What comes of them goes out as one ordered list of `Output`s: events, and actions
for what has to be done (send, fetch, replace the connection). So a test can feed a session recorded bytes, and one
`Connection` in `bridge.feed` drives them all. All times are integer nanoseconds since the epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct, field

from bridge.exchanges.http import Flow
from bridge.exchanges.outputs import Output
from bridge.exchanges.rules import NOT_UNDERSTOOD
from bridge.model import Channel, Control, ControlEvent

__all__ = ["NOT_UNDERSTOOD", "Session", "Subscription", "Target"]


class Target(Struct, frozen=True):
    """Where a WebSocket goes. ``shown`` is the address without its secrets, for logs and recordings."""

    url: str
    shown: str
    headers: dict[str, str] = field(default_factory=dict)


class Subscription(Struct, frozen=True):
    """One stream that a connection feeds."""

    channel: Channel
    subject: str


class Session(ABC):
    """The protocol over one connection, from its first byte to its last."""

    expires: int | None = None
    """When the exchange will end or devalue this connection (a token's expiry), or ``None``."""
    ready: bool = True
    """Whether it may take over from another connection: not before its subscriptions stand, where that matters."""
    quiet: bool = False
    """Whether nothing comes as long as nothing happens: that it is open is all that can be seen of the connection."""
    unserved: Collection[str] = ()
    """Pairs whose book the exchange doesn't serve at present: nothing is to be waited for."""

    def __init__(self, url: str = "") -> None:
        self._url = url
        self._live: set[Subscription] = set()
        self._dead: set[Subscription] = set()
        """Streams that the exchange has refused, and not served since."""

    def open(self, now: int) -> Flow[Target]:
        """Find out where to connect: the address given, unless a token has to be fetched first."""
        del now
        return Target(self._url, self._url)
        yield  # pragma: no cover - makes this a generator

    def connected(self, now: int) -> Sequence[Output]:
        """The socket is open: log in and subscribe, if the protocol has that."""
        del now
        return ()

    @abstractmethod
    def receive(self, frame: bytes, recv: int) -> Sequence[Output]:
        """Understand one frame.

        Returns:
            The events in it, control events (``live``, ``gap``) included, and what is to be done, in this order.

        Raises:
            FrameError: the frame can't be understood; the session goes on with the next one.
        """

    def rejected(self, recv: int) -> Sequence[Output]:
        """What a frame that could not be understood means for the streams; called after `FrameError`."""
        del recv
        return ()

    def failed(self, recv: int) -> Sequence[Output]:
        """What a frame means for the streams that a mistake in the session's own code has cut short.

        Some of it may have been taken in already, the number that would show its loss among it; what came of it is lost.
        """
        return self.rejected(recv)

    def tick(self, now: int) -> Sequence[Output]:
        """Look at what time has brought (a lasting mismatch, a missing answer); called a few times a second."""
        del now
        return ()

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        """Ask for a fresh snapshot of this pair's book, now or by the next `tick`; without books there is nothing to do."""
        del subject, now, reason
        return ()

    def lively(self, streams: Iterable[Subscription], recv: int) -> list[Output]:
        """``live`` for those of the streams that aren't yet: the exchange has acknowledged them, or has sent data."""
        fresh = [stream for stream in streams if stream not in self._live]
        self._live.update(fresh)
        self._dead.difference_update(fresh)
        return [self.control(stream, ControlEvent.LIVE, recv) for stream in fresh]

    def dead(self, streams: Iterable[Subscription], recv: int, reason: str) -> list[Output]:
        """``down`` for streams that the exchange doesn't serve, though the connection stands."""
        dead = list(streams)
        self._live.difference_update(dead)
        self._dead.update(dead)
        return [self.control(stream, ControlEvent.DOWN, recv, reason) for stream in dead]

    def served(self, subject: str) -> list[Subscription]:
        """The streams of a pair or an account that the exchange has accepted."""
        return sorted((one for one in self._live if one.subject == subject), key=lambda one: one.channel)

    def refuses(self, stream: Subscription) -> bool:
        """Whether the exchange has refused this stream, and not served it since."""
        return stream in self._dead

    def gaps(self, streams: Iterable[Subscription], recv: int, reason: str = NOT_UNDERSTOOD) -> list[Output]:
        """``gap`` for streams that have missed something, or may have."""
        return [self.control(stream, ControlEvent.GAP, recv, reason) for stream in streams]

    def control(self, subscription: Subscription, event: ControlEvent, recv: int, reason: str = "") -> Control:
        """A control event of one of the streams."""
        return Control(subscription.subject, None, recv, subscription.channel, event, reason)
