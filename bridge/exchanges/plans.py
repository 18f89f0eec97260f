"""What an exchange is told, and what it plans: the profile of a connector, its connections, what it polls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from msgspec import Struct, field
from pydantic import BaseModel, ConfigDict

from bridge.exchange_errors import FrameError
from bridge.exchanges.http import Flow
from bridge.exchanges.session import Session, Subscription
from bridge.model import Channel, Event

__all__ = [
    "API_KEY",
    "API_PASSPHRASE",
    "API_SECRET",
    "ClockReading",
    "ConnectionPlan",
    "Credential",
    "Credentials",
    "ListedPair",
    "NoOptions",
    "Poll",
    "Profile",
]


class ClockReading(Struct, frozen=True):
    """What an exchange's clock showed (ns since the epoch), and the steps that it is told in (ns), rounded down."""

    at: int
    resolution: int


class Credential(Struct, frozen=True):
    """Something secret that an account of an exchange has.

    ``name`` is its name in the config (``<name>_file`` names a file that holds it), ``meaning`` what it is, with its
    article, and ``hint`` what to do where it is missing. One that is not ``required`` may be left out; which of those
    belong together, `Exchange.check` says.
    """

    name: str
    meaning: str
    hint: str = ""
    required: bool = True


API_KEY = Credential("api_key", "the API key")
API_SECRET = Credential("api_secret", "the API secret")
API_PASSPHRASE = Credential(
    "api_passphrase",
    "the passphrase of the API key",
    "it was chosen when the API key was created; if it is lost, create another key",
)


class Credentials(Struct, frozen=True):
    """An account's credentials. ``name`` is its name in the config, and the subject of its streams.

    A credential that isn't given is empty. ``others`` has those of other names that the exchange declares.
    """

    name: str
    api_key: str = ""
    api_secret: str = ""
    subaccounts: bool = False
    passphrase: str = ""
    others: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, given: Mapping[str, str], *, subaccounts: bool = False) -> Self:
        """Of what an account's config has: the name of a credential → its value."""
        known = (API_KEY.name, API_SECRET.name, API_PASSPHRASE.name)
        key, secret, passphrase = (given.get(each, "") for each in known)
        others = {each: value for each, value in given.items() if each not in known}
        return cls(name, key, secret, subaccounts, passphrase, others)

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

    ``rotate`` is the number of seconds within which the connection is replaced by a fresh one (``None``: never), for
    exchanges that end connections of a certain age, or where only a new connection brings a fresh snapshot. Connections
    are replaced at different moments of the last fifth of that time.
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
