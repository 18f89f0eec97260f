"""What the public markets of the tests have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

from aiohttp import web
from msgspec import Struct

from bridge.simulator.dialect import Access, Core, Dialect, Ledger
from bridge.simulator.events import Filled, LevelChanged
from bridge.simulator.session import refused, serve_socket
from bridge.simulator.sockets import Socket

__all__ = ["NoOptions", "PublicMarket", "optional", "stamp"]


class NoOptions(Struct, frozen=True):
    """These markets have none."""


class PublicMarket(Dialect):
    """What both have in common: no accounts, books in full, trades with ids."""

    ws_path: ClassVar[str] = ""
    rest_path: ClassVar[str] = ""
    trade_ids: ClassVar[bool] = True
    book_levels: ClassVar[int | None] = None
    subaccounts: ClassVar[bool] = False
    key_suffix: ClassVar[str] = ""
    paths: ClassVar[tuple[str, ...]]
    """Of its WebSockets."""

    def __init__(self, core: Core, options: Any) -> None:
        del options
        self.core = core
        self.market = core.market
        self.specs = {name: state.spec for name, state in core.market.pairs.items()}

    def add_routes(self, app: web.Application) -> None:
        for path in self.paths:
            app.router.add_get(path, self._websocket)
        for path, answer in self._answers().items():
            app.router.add_get(path, self._rest(answer))

    @abstractmethod
    def _answers(self) -> dict[str, Callable[[web.Request], Any]]:
        """Path → what a REST call of it is answered."""

    @abstractmethod
    def opened(self, socket: Socket) -> None:
        """The socket is open."""

    @abstractmethod
    def text(self, socket: Socket, text: str) -> None:
        """The client sent a text frame."""

    @abstractmethod
    def closed(self, socket: Socket) -> None:
        """The socket is closed."""

    def pong(self, socket: Socket) -> None:
        """Nothing depends on pongs."""

    def expire_tokens(self, *, cut: bool) -> None:
        """There are none."""

    def pair_ids(self) -> dict[str, str]:
        return {name: name for name in self.specs}

    def fill_id(self, fill: Filled) -> str:
        return str(fill.serial)

    def accesses(self) -> list[Access]:
        return []

    def ledgers(self, account: str) -> list[Ledger]:
        del account
        return []

    def _rest(self, answer: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            refusal = self.core.gate.rest(request.path)
            return refused(refusal) if refusal is not None else web.json_response(answer(request))

        return handle

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        refusal = self.core.gate.handshake()
        if refusal is not None:
            return refused(refusal)
        return await serve_socket(self.core, request, tuple, listener=self)

    def levels_of(self, events: Iterable[LevelChanged]) -> dict[str, dict[tuple[str, str], str]]:
        """Pair → the newest size of each level that has changed, by side and price."""
        changed: dict[str, dict[tuple[str, str], str]] = {}
        for event in events:
            changed.setdefault(event.pair, {})[event.side, f"{event.price:f}"] = f"{event.size:f}"
        return changed


def stamp(seconds: float) -> str:
    """A time as ISO 8601 with microseconds."""
    return datetime.fromtimestamp(int(seconds * 1_000_000) / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def optional(value: Decimal | None) -> str:
    """A decimal's digits; of none, nothing."""
    return "" if value is None else f"{value:f}"
