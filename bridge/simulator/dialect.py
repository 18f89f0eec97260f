"""What the package of an exchange implements: its way of speaking. Everything else of the simulator knows no exchange."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import web
from msgspec import Struct

from bridge.simulator.accounts import Account
from bridge.simulator.events import Filled, MarketEvent
from bridge.simulator.faults import Fault
from bridge.simulator.gate import Gate
from bridge.simulator.journal import Journal
from bridge.simulator.market import Market
from bridge.simulator.sockets import Hub

__all__ = ["Access", "Core", "Dialect", "Ledger"]


class Core(Struct, frozen=True):
    """What every dialect is built on.

    ``clock`` gives seconds since the epoch, ``monotonic`` is for measuring; ``spawn`` runs a named task; ``journal`` takes
    note of what truly happens, where that is wanted. ``key_dir`` may hold the accounts' secrets.
    """

    market: Market
    hub: Hub
    gate: Gate
    clock: Callable[[], float]
    spawn: Callable[[Coroutine[Any, Any, None], str], object]
    monotonic: Callable[[], float]
    journal: Journal | None = None
    key_dir: Path | None = None


class Access(Struct, frozen=True):
    """How an account is reached: its key's public id, and the secret that signs, as it stands in its file."""

    account: str
    api_key: str
    secret: bytes


class Ledger(Struct, frozen=True):
    """What one subject of an account's streams tells of: balances, and of ``owner`` open orders and positions, if any.

    ``subject`` is ``main`` or ``main/<sub-account or wallet>``, ``name`` the same for people. ``restated``: a connector
    can ask for all of it, so that what changed unseen is made good after each connect.
    """

    subject: str
    name: str
    balances: dict[str, tuple[Decimal, Decimal]]
    owner: Account | None = None
    restated: bool = True


class Dialect(ABC):
    """One exchange's way of speaking.

    ``ws_path`` and ``rest_path`` end the URLs that a connector is given; ``unknown`` is a message of a type that the
    exchange doesn't have; ``trade_ids`` says whether its public trades have ids, ``book_levels`` how many levels of a
    side it shows (``None``: all), ``subaccounts`` whether it has any; accounts' secrets are in files with ``key_suffix``.
    """

    ws_path: ClassVar[str]
    rest_path: ClassVar[str]
    unknown: ClassVar[bytes]
    trade_ids: ClassVar[bool]
    book_levels: ClassVar[int | None]
    subaccounts: ClassVar[bool]
    key_suffix: ClassVar[str]

    @abstractmethod
    def __init__(self, core: Core, options: Any) -> None:
        """``options`` are the exchange's own (see ``SimulatedExchange``)."""

    @abstractmethod
    def add_routes(self, app: web.Application) -> None:
        """Add the exchange's WebSocket and REST paths."""

    @abstractmethod
    def heard(self, events: list[MarketEvent]) -> None:
        """Publish market events to the hub as the exchange's messages."""

    def tick(self) -> None:  # noqa: B027 - not every exchange has something to do
        """Do what the clock says is due; called many times a second."""

    def strike(self, fault: Fault) -> None:  # noqa: B027 - not every exchange has something to do
        """Carry out one of the exchange's own faults."""

    def clear(self) -> None:  # noqa: B027 - not every exchange has something to do
        """End those faults."""

    def active_faults(self) -> list[str]:
        """Those at work."""
        return []

    @abstractmethod
    def expire_tokens(self, *, cut: bool) -> None:
        """Make all logins void; with ``cut`` close their sockets."""

    @abstractmethod
    def pair_ids(self) -> dict[str, str]:
        """Pair → the exchange's own id of it."""

    @abstractmethod
    def fill_id(self, fill: Filled) -> str:
        """The exchange's id of an execution."""

    @abstractmethod
    def accesses(self) -> list[Access]:
        """The accounts' keys."""

    @abstractmethod
    def ledgers(self, account: str) -> list[Ledger]:
        """The subjects of an account's streams, and what each should say."""
