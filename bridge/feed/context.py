"""What the connections of a connector share, and who gets what they bring."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct, field
from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.exchange_errors import ExchangeError, FrameError
from bridge.exchanges.api import Exchange, Restated, Subscription
from bridge.feed.exclusive import ExclusiveAccess
from bridge.feed.flow import FlowControl
from bridge.feed.policies import Pacer, SendBudget
from bridge.feed.rest import RestClient
from bridge.feed.shared import SharedBudget
from bridge.feed.tap import FeedTap
from bridge.model import Channel, Event
from bridge.proxies import Proxies

__all__ = ["FeedContext", "Receiver"]


class Receiver(Protocol):
    """Who gets what the feed brings: the sequencer's side of a connector."""

    def event(self, event: Event) -> None:
        """A data or control event, in the order of the connection."""

    def opened(self, streams: Sequence[Subscription], since: int) -> None:
        """A connection starts; what was received from ``since`` (ns) on may come again over it."""

    def down(self, streams: Sequence[Subscription], reason: str) -> None:
        """A connection is lost, or can't be made."""

    def stale(self, stream: Subscription, reason: str) -> bool:
        """A subscription is silent; whether that is news."""

    def last(self, stream: Subscription) -> int:
        """When the stream's last event came (ns), 0 if none has."""

    def restated(self, state: Restated) -> None:
        """The whole present state of a private channel."""

    def rejected(self, connection: str, error: FrameError, recv: int) -> None:
        """A frame could not be understood."""

    def unknown(self, kind: str) -> None:
        """A message of an unknown type came."""

    def fault(self, error: ExchangeError) -> None:
        """The exchange refused something, or said that something is wrong: to be counted by its ``kind``."""


class FeedContext(Struct):
    """What all connections of a connector share; ``now`` is a clock that is never set (`bridge.clock`)."""

    exchange: Exchange
    receiver: Receiver
    rest: RestClient
    pacer: Pacer
    log: FilteringBoundLogger
    tls: ssl.SSLContext | None = None
    library: str = "auto"
    proxies: Proxies | None = None
    """``None``: there are none."""
    ping: float = 10.0
    dead: float = 30.0
    silence: dict[Channel, float | None] = {}
    tap: FeedTap | None = None
    sends: SendBudget | None = None
    """What may be sent, over all connections to the exchange; ``None``: as much as there is."""
    attempts: SharedBudget | None = None
    """What other processes know of attempts to connect; ``None``: nothing."""
    sent: SharedBudget | None = None
    """The same of what is sent."""
    flow: FlowControl = field(default_factory=FlowControl)
    access: ExclusiveAccess = field(default_factory=ExclusiveAccess)
    """Whether this process may have the connections that an account may have only once."""
    now: Callable[[], int] = CLOCK.now
    monotonic: Callable[[], float] = time.monotonic
    random: random.Random = random.Random()  # noqa: S311 - jitter
