"""What an exchange's dialect gets and gives; everything else of the simulator knows no exchange."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from aiohttp import web
from msgspec import Struct

from bridge.simulator.events import MarketEvent
from bridge.simulator.gate import Gate
from bridge.simulator.market import Market
from bridge.simulator.sockets import Hub

__all__ = ["Access", "Core", "Dialect"]


class Core(Struct, frozen=True):
    """What every dialect is built on. ``clock`` gives seconds since the epoch; ``spawn`` runs a named task."""

    market: Market
    hub: Hub
    gate: Gate
    clock: Callable[[], float]
    spawn: Callable[[Coroutine[Any, Any, None], str], None]


class Access(Struct, frozen=True):
    """How an account is reached: its key's public id, and the secret (here a PEM) that signs."""

    account: str
    api_key: str
    secret: bytes


class Dialect(Protocol):
    """One exchange's way of speaking."""

    ws_path: str
    rest_path: str

    def add_routes(self, app: web.Application) -> None:
        """The exchange's WebSocket and REST paths."""

    def heard(self, events: list[MarketEvent]) -> None:
        """Publish market events to the hub as the exchange's messages."""

    def expire_tokens(self, *, cut: bool) -> None:
        """Make all logins void; with ``cut`` close their sockets."""

    def pair_ids(self) -> dict[str, str]:
        """Pair → the exchange's own id of it."""

    def accesses(self) -> list[Access]:
        """The accounts' keys."""
