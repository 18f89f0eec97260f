"""What an exchange is told, and what it plans: the profile of a connector, its connections, what it polls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct, field
from pydantic import BaseModel, ConfigDict

from bridge.exchange_errors import FrameError
from bridge.exchanges.http import Flow
from bridge.exchanges.session import Session, Subscription
from bridge.model import Channel, Event

__all__ = ["ClockReading", "ConnectionPlan", "Credentials", "ListedPair", "NoOptions", "Poll", "Profile"]


class ClockReading(Struct, frozen=True):
    """What an exchange's clock showed (ns since the epoch), and the steps that it is told in (ns), rounded down."""

    at: int
    resolution: int


class Credentials(Struct, frozen=True):
    """An account's key. ``name`` is its name in the config, and the subject of its streams."""

    name: str
    api_key: str
    api_secret: str
    subaccounts: bool = False

    def __repr__(self) -> str:
        return f"Credentials({self.name!r})"


class ListedPair(Struct, frozen=True):
    """A pair that an exchange lists, under the name that the config takes, and its figures; all as text.

    ``kind`` is ``spot``, ``perpetual`` or ``future``; ``status`` is ``online``, or the exchange's word for why it isn't;
    what the exchange doesn't say is empty.

    ``tick_size`` is the least step of a price, ``lot_size`` that of an order's size, ``min_size`` the least size, both in
    base coins. ``contract_size`` is one contract in base coins, where the exchange counts contracts. An inverse contract,
    which is settled in the base currency, is an amount of the quote currency: then ``contract_size`` is that, and
    ``lot_size`` and ``min_size`` are numbers of contracts. ``expiry`` is when a future is delivered (ns since the epoch).
    """

    pair: str
    base: str = ""
    quote: str = ""
    kind: str = "spot"
    status: str = ""
    settle: str = ""
    tick_size: str = ""
    lot_size: str = ""
    min_size: str = ""
    contract_size: str = ""
    expiry: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """What its hash in Redis has: everything but the name."""
        return {name: getattr(self, name) for name in self.__struct_fields__[1:]}


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
    derived: frozenset[Channel] = frozenset()
    """What the connector makes of the ``channels``."""
    unpublished: frozenset[Channel] = frozenset()
    """Which of the ``channels`` are for that alone."""


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
