"""What an exchange module is made of, without any I/O.

An `Exchange` plans the connections that the configured pairs and channels need; a `Session` speaks the protocol over
one of them. Neither touches a socket, a clock or Redis: frames and times come in as arguments, events go out as return
values, and what has to be done (send, replace the connection) goes out as `Action`s. REST calls are generators
(`Flow`): they yield an `HttpRequest`, are sent the `HttpResponse`, and return their result. So a test can feed a
session recorded bytes, and one shell in `bridge.feed` drives them all.

All times are integer nanoseconds since the epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import ClassVar, Literal, TypeVar

import msgspec
from msgspec import Struct, field
from pydantic import BaseModel, ConfigDict

from bridge.exchange_errors import FrameError, RestError, UnknownPairError
from bridge.exchanges.actions import (
    Action,
    Reconnect,
    Reject,
    Replace,
    Restated,
    Said,
    Send,
    Synchronise,
    Unknown,
    Warn,
)
from bridge.exchanges.http import Flow
from bridge.exchanges.listing import ListedPair
from bridge.model import Channel, Control, ControlEvent, Event, Levels

__all__ = [
    "NOT_UNDERSTOOD",
    "SECOND",
    "UNREADABLE",
    "Action",
    "ClockReading",
    "ConnectionPlan",
    "Credentials",
    "Exchange",
    "ListedPair",
    "NoOptions",
    "Poll",
    "Profile",
    "Reconnect",
    "Reject",
    "Replace",
    "Restated",
    "Said",
    "Send",
    "Session",
    "Subscription",
    "Synchronise",
    "Target",
    "Unknown",
    "Warn",
    "best_first",
]

SECOND = 1_000_000_000
"""Nanoseconds in a second."""

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding JSON raises for a frame that is none, or not of the expected shape."""

NOT_UNDERSTOOD = "a frame could not be understood"
"""The reason of the gap that a rejected frame leaves."""

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class ClockReading(Struct, frozen=True):
    """What an exchange's clock showed (ns since the epoch), and the steps that it is told in (ns), rounded down."""

    at: int
    resolution: int


class Target(Struct, frozen=True):
    """Where a WebSocket goes. ``shown`` is the address without its secrets, for logs and recordings."""

    url: str
    shown: str
    headers: dict[str, str] = field(default_factory=dict)


class Subscription(Struct, frozen=True):
    """One stream that a connection feeds."""

    channel: Channel
    subject: str


class Credentials(Struct, frozen=True):
    """An account's key. ``name`` is its name in the config, and the subject of its streams."""

    name: str
    api_key: str
    api_secret: str
    subaccounts: bool = False

    def __repr__(self) -> str:
        return f"Credentials({self.name!r})"


class NoOptions(BaseModel):
    """The options of an exchange that has none."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Profile(Struct, frozen=True):
    """What the config says about one connector, as its exchange sees it; ``None`` URLs mean the exchange's own."""

    pairs: tuple[str, ...]
    channels: frozenset[Channel]
    url: str | None = None
    rest_url: str | None = None
    account: Credentials | None = None
    options: BaseModel = field(default_factory=NoOptions)


class Session(ABC):
    """The protocol over one connection, from its first byte to its last."""

    expires: int | None = None
    """When the exchange will end or devalue this connection (a token's expiry), or ``None``."""
    ready: bool = True
    """Whether it may take over from another connection: not before its subscriptions stand, where that matters."""
    unserved: Collection[str] = ()
    """Pairs whose book the exchange doesn't serve at present: nothing is to be waited for."""

    def __init__(self, url: str = "") -> None:
        self.actions: list[Action] = []
        self._url = url
        self._live: set[Subscription] = set()

    def open(self, now: int) -> Flow[Target]:
        """Find out where to connect: the address given, unless a token has to be fetched first."""
        del now
        return Target(self._url, self._url)
        yield  # pragma: no cover - makes this a generator

    def connected(self, now: int) -> None:
        """The socket is open: queue the log-in and the subscriptions as `Send` actions, if the protocol has any."""
        del now

    @abstractmethod
    def receive(self, frame: bytes, recv: int) -> Sequence[Event]:
        """Understand one frame.

        Returns:
            The events in it, control events (``live``, ``gap``) included; what to do is appended to ``actions``.

        Raises:
            FrameError: the frame can't be understood; the session goes on with the next one.
        """

    def rejected(self, recv: int) -> Sequence[Event]:
        """What a frame that could not be understood means for the streams; called after `FrameError`."""
        del recv
        return ()

    def tick(self, now: int) -> Sequence[Event]:
        """Look at what time has brought (a lasting mismatch, a missing answer); called a few times a second."""
        del now
        return ()

    @abstractmethod
    def resync(self, subject: str, now: int, reason: str) -> None:
        """Queue what brings a fresh snapshot of this pair's book."""

    def succeed(self, old: Session, now: int) -> Sequence[Event]:
        """This session takes over from ``old``: what the comparison of the two tells about the streams."""
        del old, now
        return ()

    def sync(self, now: int) -> Flow[None]:
        """Fetch by REST what the connection itself doesn't tell, as `Restated` actions.

        Called after connecting, and for each `Synchronise`.
        """
        del now
        return
        yield  # pragma: no cover - makes this a generator

    def lively(self, streams: Iterable[Subscription], recv: int) -> list[Event]:
        """``live`` for those of the streams that aren't yet: the exchange has acknowledged them, or has sent data."""
        fresh = [stream for stream in streams if stream not in self._live]
        self._live.update(fresh)
        return [self.control(stream, ControlEvent.LIVE, recv) for stream in fresh]

    def dead(self, streams: Iterable[Subscription], recv: int, reason: str) -> list[Event]:
        """``down`` for streams that the exchange doesn't serve, though the connection stands."""
        dead = list(streams)
        self._live.difference_update(dead)
        return [self.control(stream, ControlEvent.DOWN, recv, reason) for stream in dead]

    def gaps(self, streams: Iterable[Subscription], recv: int, reason: str = NOT_UNDERSTOOD) -> list[Event]:
        """``gap`` for streams that have missed something, or may have."""
        return [self.control(stream, ControlEvent.GAP, recv, reason) for stream in streams]

    def control(self, subscription: Subscription, event: ControlEvent, recv: int, reason: str = "") -> Control:
        """A control event of one of the streams."""
        return Control(subscription.subject, None, recv, subscription.channel, event, reason)


class ConnectionPlan(Struct, frozen=True):
    """One connection that a connector holds: its name, the streams it feeds, and how to make its session.

    ``rotate`` is the number of seconds after which the connection is replaced by a fresh one (``None``: never), for
    exchanges where only a new connection brings a fresh snapshot.
    """

    name: str
    subscriptions: tuple[Subscription, ...]
    session: Callable[[], Session]
    rotate: float | None = None


class Poll(Struct):
    """Something that has no topic and is asked for by REST, every ``interval`` seconds or as soon as it is ``wanted``.

    ``flow`` takes the time (ns) and ends in the events that were found; while it fails, its ``streams`` are down. What
    of an answer could not be understood, while the rest was, is added to ``rejects``.
    """

    name: str
    streams: tuple[Subscription, ...]
    interval: float
    flow: Callable[[int], Flow[Sequence[Event]]]
    wanted: bool = False
    rejects: list[FrameError] = field(default_factory=list)


class Exchange(ABC):
    """One exchange, for one connector."""

    name: ClassVar[str]
    example_pairs: ClassVar[tuple[str, ...]] = ()
    """A few of its pairs, for a first config."""
    url: ClassVar[str]
    rest_url: ClassVar[str]
    channels: ClassVar[frozenset[Channel]]
    """The public channels it offers."""
    private_channels: ClassVar[frozenset[Channel]] = frozenset()
    Options: ClassVar[type[BaseModel]] = NoOptions
    """The exchange's own settings (``connectors.N.options``)."""
    silence: ClassVar[Mapping[Channel, float]] = {}
    """Seconds without an event after which a subscription is stale; a channel that may be quiet has none."""
    frozen_book: ClassVar[float | None] = 20.0
    """Seconds that a book may stand still while its pair trades; ``None``: no such check."""
    ping: ClassVar[float] = 10.0
    """Seconds between protocol pings."""
    dead: ClassVar[float] = 30.0
    """Seconds without any frame, pongs included, after which a connection counts as dead."""
    pace: ClassVar[float] = 0.25
    """Least seconds between two attempts of the process to connect to one host, so that an outage doesn't end in a storm."""
    sends_per_second: ClassVar[int | None] = None
    """Most messages a second from one client address, over all its connections; ``None``: it names no limit."""
    timed: ClassVar[Mapping[Channel, int]] = {}
    """Channels whose ``ts`` is the time of the event itself, and the steps (ns) that it is told in: latency is measured."""
    gaps: ClassVar[Literal["verified", "unchecked"]] = "unchecked"
    """Whether its books prove that nothing is missing: every delta is numbered or chained, so that a hole shows at once."""
    units: ClassVar[Mapping[Channel, str]] = {}
    """What the catalog says of a channel's units and quirks."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.missing: dict[str, UnknownPairError] = {}
        """Configured pairs that `discover` didn't find: they are left out from then on."""

    @property
    def pairs(self) -> tuple[str, ...]:
        """The configured pairs but for those that are missing."""
        return tuple(pair for pair in self.profile.pairs if pair not in self.missing)

    @classmethod
    def handshake_wait(cls, status: int) -> float | None:
        """Least seconds before any further attempt, once a handshake was refused with this HTTP status."""
        del status
        return None

    def options(self, kind: type[OptionsT]) -> OptionsT:
        """The exchange's own settings, with their defaults where the config has none."""
        given = self.profile.options
        return given if isinstance(given, kind) else kind()

    def check(self) -> None:
        """Look at what of the profile only the exchange can judge, without asking it.

        Raises:
            ConfigError: it can't work.
        """
        return

    def discover(self, now: int) -> Flow[None]:
        """Learn by REST what the plan needs (ids of pairs); called until it succeeds, before `plan`.

        Raises:
            UnknownPairError: one of `pairs` isn't listed; the caller puts it into `missing`, and calls again.
        """
        del now
        return
        yield  # pragma: no cover - makes this a generator

    def remarks(self) -> list[str]:
        """What an operator should know of the configured pairs, once `discover` has run: aliases, halted pairs."""
        return []

    def unlisted(self) -> list[UnknownPairError]:
        """The configured pairs that the exchange doesn't list, once `discover` has run."""
        return list(self.missing.values())

    @abstractmethod
    def plan(self) -> list[ConnectionPlan]:
        """The connections that the profile needs; none without a subscription."""

    def polls(self) -> list[Poll]:
        """What is polled by REST, because it has no topic."""
        return []

    def list_pairs(self) -> Flow[list[ListedPair]]:
        """All pairs that the exchange lists, asked for by REST; the profile's pairs and channels don't matter.

        Raises:
            RestError: REST is away, or the answer is no list.
        """
        raise RestError(self.name, "", 0, "this exchange has no list of pairs")
        yield  # pragma: no cover - makes this a generator

    def clock(self) -> Flow[ClockReading] | None:
        """Ask the exchange for the time, in a single cheap request; ``None`` where it can't be asked.

        Raises:
            RestError: REST is away, or the answer holds no time.
        """
        return None

    def clock_known(self, offset: int) -> None:
        """The exchange's clock is ahead of ours by ``offset`` (ns); called with each new estimate, for what is signed."""
        del offset

    def recall(self, stream: Subscription, tail: Sequence[Event], since: int) -> None:
        """Learn what a stream has held since before the start: its newest events, oldest first.

        From ``since`` (ns) on they are all that it has had; 0: from its beginning. What happened before must not be
        fetched again: nobody would know that the stream has had it.
        """
        del stream, tail, since

    def subscriptions(self) -> list[Subscription]:
        """Every stream that the profile asks for, known before anything is connected (sub-accounts come later)."""
        profile = self.profile
        wanted = [
            Subscription(channel, pair)
            for pair in profile.pairs
            for channel in sorted(self.channels)
            if channel in profile.channels
        ]
        if profile.account:
            wanted += [Subscription(channel, profile.account.name) for channel in sorted(self.private_channels)]
        return wanted


def best_first(levels: Levels, *, bids: bool) -> Levels:
    """The levels sorted best first: highest price first for bids, lowest first for asks.

    Raises:
        ValueError: a price is no number.
    """
    try:
        return sorted(levels, key=_price, reverse=bids)
    except ArithmeticError:
        msg = "a level's price is not a number"
        raise ValueError(msg) from None


def _price(level: tuple[str, str]) -> Decimal:
    return Decimal(level[0])
