"""What an exchange's dialect gets and gives; everything else of the simulator knows no exchange."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Protocol

from aiohttp import web
from msgspec import Struct

from bridge.simulator.events import Filled, MarketEvent
from bridge.simulator.faults import Fault
from bridge.simulator.gate import Gate
from bridge.simulator.journal import Journal
from bridge.simulator.market import Market
from bridge.simulator.sockets import Hub
from bridge.simulator.streams import Ledger

__all__ = ["Access", "Core", "Dialect"]


class Core(Struct, frozen=True):
    """What every dialect is built on.

    ``clock`` gives seconds since the epoch, ``monotonic`` is for measuring; ``spawn`` runs a named task; ``journal`` takes
    note of what truly happens, where that is wanted.
    """

    market: Market
    hub: Hub
    gate: Gate
    clock: Callable[[], float]
    spawn: Callable[[Coroutine[Any, Any, None], str], None]
    monotonic: Callable[[], float]
    journal: Journal | None = None


class Access(Struct, frozen=True):
    """How an account is reached: its key's public id, and the secret that signs, as it stands in its file."""

    account: str
    api_key: str
    secret: bytes


class Dialect(Protocol):
    """One exchange's way of speaking.

    ``ws_path`` and ``rest_path`` end the URLs that a connector is given; ``unknown`` is a message of a type that the
    exchange doesn't have; ``numbered`` says whether its books carry sequence numbers, ``trade_ids`` whether its public
    trades have ids, ``book_levels`` how many levels of a side it shows (``None``: all), ``subaccounts`` whether it has
    any; accounts' secrets are in files with ``key_suffix``.
    """

    ws_path: ClassVar[str]
    rest_path: ClassVar[str]
    unknown: ClassVar[bytes]
    numbered: ClassVar[bool]
    trade_ids: ClassVar[bool]
    book_levels: ClassVar[int | None]
    subaccounts: ClassVar[bool]
    key_suffix: ClassVar[str]

    def add_routes(self, app: web.Application) -> None:
        """The exchange's WebSocket and REST paths."""

    def heard(self, events: list[MarketEvent]) -> None:
        """Publish market events to the hub as the exchange's messages."""

    def tick(self) -> None:
        """Do what the clock says is due; called many times a second."""

    def strike(self, fault: Fault) -> None:
        """Carry out one of the faults that concern the exchange's own messages."""

    def clear(self) -> None:
        """End those faults."""

    def active_faults(self) -> list[str]:
        """Those at work."""

    def expire_tokens(self, *, cut: bool) -> None:
        """Make all logins void; with ``cut`` close their sockets."""

    def pair_ids(self) -> dict[str, str]:
        """Pair → the exchange's own id of it."""

    def fill_id(self, fill: Filled) -> str:
        """The exchange's id of an execution."""

    def accesses(self) -> list[Access]:
        """The accounts' keys."""

    def ledgers(self, account: str) -> list[Ledger]:
        """The subjects of an account's streams, and what each should say."""
