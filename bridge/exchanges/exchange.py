"""One exchange, as a connector sees it, without any I/O.

An `Exchange` plans the connections that the configured pairs and channels need; a `Session` speaks the protocol over
one of them. Neither touches a socket, a clock or Redis. REST calls are generators (`Flow`): they yield an
`HttpRequest`, are sent the `HttpResponse`, and return their result. All times are integer nanoseconds since the epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import ClassVar, Literal, Self, TypeVar

from msgspec import structs
from pydantic import BaseModel

from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.http import Flow
from bridge.exchanges.plans import (
    API_KEY,
    API_SECRET,
    ClockReading,
    ConnectionPlan,
    Credential,
    ListedPair,
    NoOptions,
    Poll,
    Profile,
)
from bridge.exchanges.rules import BookRules
from bridge.exchanges.session import Subscription
from bridge.model import PUBLIC_CHANNELS, Channel, Event

__all__ = ["Exchange"]

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class Exchange(ABC):
    """One exchange, for one connector."""

    name: ClassVar[str]
    needs: ClassVar[str] = ""
    """The extra of the distribution that it needs; empty: none."""
    example_pairs: ClassVar[tuple[str, ...]] = ()
    """A few of its pairs, for a first config."""
    url: ClassVar[str]
    rest_url: ClassVar[str]
    channels: ClassVar[frozenset[Channel]]
    """The public channels it offers."""
    private_channels: ClassVar[frozenset[Channel]] = frozenset()
    credentials: ClassVar[tuple[Credential, ...]] = (API_KEY, API_SECRET)
    """What an account has to have, or may have: the config takes these and no others."""
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
    sends_per_second: ClassVar[float | None] = 10
    """Most messages a second from one client address, over all its connections; ``None``: as many as there are.

    The default is for those that name no limit: none that is known is lower but for Coinbase's and Binance's.
    """
    request_weight: ClassVar[tuple[int, float] | None] = None
    """Most weight of REST requests from one client address, and the seconds that it is counted over (`HttpRequest.weight`);
    ``None``: it is not counted; `Decaying`: it is counted down evenly."""
    one_private_connection: ClassVar[bool] = False
    """Whether an account may have one private connection only, over all processes: a second one is refused, or ends the
    first. Of a connector that runs twice, only the process that writes has it then."""
    timed: ClassVar[Mapping[Channel, int]] = {}
    """Channels whose ``ts`` is the time of the event itself, and the steps (ns) that it is told in: latency is measured."""
    book: BookRules = BookRules()
    """What the connector holds its books to."""
    gaps: ClassVar[Literal["verified", "unchecked"]] = "unchecked"
    """Whether its books prove that nothing is missing: every delta is numbered or chained, so that a hole shows at once."""
    promise: ClassVar[str] = ""
    """The same in words, where there is more to say; empty: there isn't."""
    units: ClassVar[Mapping[Channel, str]] = {}
    """What the catalog says of a channel's units and quirks."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.missing: dict[str, UnknownPairError] = {}
        """Configured pairs that `discover` didn't find: they are left out from then on."""
        self.joined: Sequence[Exchange] = ()
        """Those that serve pairs which have joined later (`beside`); the connector keeps it up to date."""

    @property
    def pairs(self) -> tuple[str, ...]:
        """The configured pairs but for those that are missing."""
        return tuple(pair for pair in self.profile.pairs if pair not in self.missing)

    @property
    def all_pairs(self) -> tuple[str, ...]:
        """The pairs of the whole connector at present: these, and those that have joined later.

        Sessions of an account ask for them whenever they need them, where REST answers for one symbol only.
        """
        return tuple(dict.fromkeys(pair for exchange in (self, *self.joined) for pair in exchange.pairs))

    @property
    def rest_base(self) -> str:
        """Where REST calls go: what their paths are appended to."""
        return self.profile.rest_url or self.rest_url

    @property
    def bases(self) -> list[str]:
        """The addresses that the connections and REST calls begin with."""
        return [self.profile.url or self.url, self.rest_base]

    @classmethod
    def handshake_wait(cls, status: int) -> float | None:
        """Least seconds before any further attempt, once a handshake was refused with this HTTP status."""
        del status
        return None

    @classmethod
    def close_wait(cls, code: int) -> float | None:
        """Least seconds before the next attempt of a connection that the exchange has closed with this code."""
        del code
        return None

    def beside(self, pairs: Sequence[str]) -> Self:
        """An exchange for pairs that join later, over connections of their own; the account stays with this one.

        The two have all their attributes in common but for the profile: what either learns of pairs (names, ids, contract
        sizes), the other knows, so the account's rows are understood whichever pair they are of. An attribute that
        follows from the profile's pairs or account has to be worked out when it is needed, or here.
        """
        other = copy(self)
        other.profile = structs.replace(self.profile, pairs=tuple(pairs), account=None)
        other.missing, other.joined = {}, ()
        return other

    def exclusive(self, streams: Iterable[Subscription]) -> bool:
        """Whether the connection that feeds these streams is one that an account may have only once."""
        return self.one_private_connection and any(stream.channel not in PUBLIC_CHANNELS for stream in streams)

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

        A connector asks every few minutes, for its pairs' instrument hashes.

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

    def unread(self) -> list[str]:
        """Pairs of which nothing is read, in words: they have none of the profile's channels."""
        channels, fed = self.profile.channels, {stream.subject for stream in self.subscriptions()}
        listed = ", ".join(sorted(channels))
        return [f"{pair} has none of these channels: {listed}" for pair in self.pairs if channels and pair not in fed]

    def published(self) -> list[Subscription]:
        """The streams that are written: what is subscribed to, and what the connector makes of it."""
        hidden, derived = self.profile.unpublished, self.profile.derived
        found: list[Subscription] = []
        for stream in self.subscriptions():
            found += [] if stream.channel in hidden else [stream]
            if stream.channel is Channel.BOOK and Channel.BOOK10 in derived:
                found.append(Subscription(Channel.BOOK10, stream.subject))
        return found
