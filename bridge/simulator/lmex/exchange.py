"""LMEX as a server: ``/ws/{spot,futures}``, ``/ws/oss/{spot,futures}`` and REST below ``/spot/api`` and ``/futures/api``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from aiohttp import web
from msgspec.structs import replace

from bridge.simulator.accounts import Account
from bridge.simulator.dialect import Access, Core, Dialect, Ledger
from bridge.simulator.events import Filled, LevelChanged, MarketEvent, OrderChanged, PositionChanged, TradeDone
from bridge.simulator.faults import Fault
from bridge.simulator.lmex import private
from bridge.simulator.lmex.auth import KEY_SUFFIX, Keyring
from bridge.simulator.lmex.books import LEVELS
from bridge.simulator.lmex.endpoint import Endpoint
from bridge.simulator.lmex.faults import BookFaults
from bridge.simulator.lmex.main import MainEndpoint, check_options
from bridge.simulator.lmex.markets import old_name
from bridge.simulator.lmex.options import LmexConfig
from bridge.simulator.lmex.oss import OssEndpoint
from bridge.simulator.lmex.rest import Rest
from bridge.simulator.session import refused, serve_socket

__all__ = ["Lmex"]

_MINUTE = 60.0
_OLD_NAMED = frozenset({"notificationApiV2", "fills", "positions", "allPosition"})
"""Topics of futures with names such as ``BTCPFC``."""


class Lmex(Dialect):
    """LMEX's way of speaking."""

    ws_path: ClassVar[str] = ""
    rest_path: ClassVar[str] = ""
    trade_ids: ClassVar[bool] = True
    book_levels: ClassVar[int | None] = LEVELS
    subaccounts: ClassVar[bool] = False
    key_suffix: ClassVar[str] = KEY_SUFFIX
    unknown: ClassVar[bytes] = (
        b'{"topic":"maintenanceNotice","data":{"message":"simulated message of an unknown topic"}}'
    )

    def __init__(self, core: Core, config: LmexConfig) -> None:
        check_options(config)
        self._core = core
        self._config = config
        market = core.market
        self._specs = {name: state.spec for name, state in market.pairs.items()}
        self._accounts = list(market.accounts.values())
        self._keyring = Keyring(self._accounts, market.config.seed, core.clock, config.nonce_window, core.key_dir)
        self._rest = Rest(core, self._keyring, config)
        self._faults = BookFaults(list(self._specs), core.monotonic, core.hub.done)
        self._main: dict[bool, MainEndpoint] = {}
        self._oss: dict[bool, OssEndpoint] = {}
        for futures, name in ((False, "spot"), (True, "futures")):
            pairs = [pair for pair, spec in self._specs.items() if spec.futures == futures]
            self._main[futures] = MainEndpoint(core, config, f"/ws/{name}", pairs, self._keyring)
            self._oss[futures] = OssEndpoint(core, config, f"/ws/oss/{name}", pairs, self._faults)
        self._endpoints: list[Endpoint] = [*self._main.values(), *self._oss.values()]
        self._handshakes: deque[float] = deque()
        self._positions_at = core.monotonic()
        self._heard: dict[type[MarketEvent], Callable[[Any], None]] = {
            OrderChanged: self._order,
            Filled: self._fill,
            PositionChanged: self._position,
        }

    def add_routes(self, app: web.Application) -> None:
        """The four WebSockets and the REST calls."""
        for endpoint in self._endpoints:
            app.router.add_get(endpoint.path, self._handler(endpoint))
        self._rest.add_routes(app)

    def heard(self, events: list[MarketEvent]) -> None:
        """Publish market events as LMEX's messages: one of trades and one delta for all that happened at once."""
        traded: dict[str, list[TradeDone]] = {}
        changed: dict[str, None] = {}
        for event in events:
            if isinstance(event, LevelChanged):
                changed[event.pair] = None
            elif isinstance(event, TradeDone):
                traded.setdefault(event.pair, []).append(event)
            elif type(event) in self._heard:
                self._heard[type(event)](event)
        for pair, rows in traded.items():
            self._main[self._specs[pair].futures].traded(pair, rows)
        for pair in changed:
            self._oss[self._specs[pair].futures].book_changed(pair)

    def tick(self) -> None:
        """Idle sockets, sessions that end, and the periodic list of positions."""
        for endpoint in self._endpoints:
            endpoint.tick()
        now = self._core.monotonic()
        if now - self._positions_at >= self._config.positions_every:
            self._positions_at = now
            self._all_positions()
            self._core.hub.flush()

    # Faults

    def strike(self, fault: Fault) -> None:
        """Carry out one of LMEX's own faults."""
        if fault.fault == "buffer_full":
            for endpoint in self._oss.values():
                endpoint.overflow(fault)
        elif fault.fault == "refuse_login":
            self._keyring.refusals += fault.count
            self._core.hub.done["refuse_login"] += fault.count
        elif fault.fault == "gap":
            self._core.hub.strike(replace(fault, type="delta"))
        else:
            self._faults.strike(fault)

    def clear(self) -> None:
        """End them."""
        self._faults.clear()
        self._keyring.refusals = 0

    def active_faults(self) -> list[str]:
        """Those at work."""
        return self._faults.active() + ["refuse_login"] * bool(self._keyring.refusals)

    def expire_tokens(self, *, cut: bool) -> None:
        """End all log-ins, as ``session_end`` says or with ``cut`` by closing their sockets."""
        for endpoint in self._main.values():
            endpoint.expire(cut=cut)

    # What there is

    def pair_ids(self) -> dict[str, str]:
        """Pair → the older name of a future, the name itself of others."""
        return {name: old_name(name) for name in self._specs}

    def fill_id(self, fill: Filled) -> str:
        """``tradeId`` of fills."""
        return private.fill_id(fill)

    def accesses(self) -> list[Access]:
        """The accounts' API keys and secrets."""
        return self._keyring.accesses

    def ledgers(self, account: str) -> list[Ledger]:
        """Where both markets are there, the futures wallet has a subject of its own; orders and positions share one."""
        own = self._core.market.accounts[account]
        wallets = {False: own.balances(), True: own.margin.balances()}
        markets = sorted({spec.futures for spec in self._specs.values()})
        first = Ledger(account, account, wallets[markets[0]], own)
        return [first, *(Ledger(f"{account}/futures", f"{account}/futures", wallets[each]) for each in markets[1:])]

    # The WebSockets

    def _handler(self, endpoint: Endpoint) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self._count_handshake()
            refusal = self._core.gate.handshake()
            if refusal is not None:
                return refused(refusal)
            return await serve_socket(self._core, request, tuple, listener=endpoint)

        return handle

    def _count_handshake(self) -> None:
        """Block everybody when there are too many connections, or handshakes."""
        now = self._core.monotonic()
        self._handshakes.append(now)
        while self._handshakes[0] < now - _MINUTE:
            self._handshakes.popleft()
        many = 0 < self._config.max_handshakes < len(self._handshakes)
        if many or len(self._core.hub.sockets) >= self._config.max_connections:
            self._core.gate.strike(Fault("block"))
            self._handshakes.clear()

    # Private messages

    def _order(self, event: OrderChanged) -> None:
        spec = self._specs[event.pair]
        if spec.futures:
            for topic in ("notificationApiV4", "notificationApiV3", "notificationApiV2"):
                row = partial(private.futures_order, spec, event, old=topic in _OLD_NAMED)
                self._publish(event.account, topic, "orders", event.pair, row)
            return
        for topic, form in (("notificationApiV3", private.spot_order), ("notificationApiV2", private.spot_order_v2)):
            self._publish(event.account, topic, "orders", event.pair, partial(form, spec, event), as_object=True)

    def _fill(self, event: Filled) -> None:
        spec = self._specs[event.pair]
        for topic in ("fillsV2", "fills"):
            row = partial(private.fill, spec, event, old=spec.futures and topic in _OLD_NAMED)
            self._publish(event.account, topic, "fills", event.pair, row)

    def _position(self, event: PositionChanged) -> None:
        margin = self._core.market.accounts[event.account].margin
        held, mark = margin.positions[event.pair], self._core.market.mark(event.pair)
        for topic in ("positionsV3", "positionsV2", "positions"):
            row = partial(private.position, held, mark, margin, old=topic in _OLD_NAMED)
            self._publish(event.account, topic, "positions", event.pair, row)

    def _all_positions(self) -> None:
        """The list of all open positions, a closed one is just not in it."""
        for account in self._accounts:
            for topic in ("allPositionV4", "allPositionV3", "allPositionV2", "allPosition"):
                key = self._main[True].private_key(account.name, topic)
                self._core.hub.publish(key, "all_positions", "", partial(self._positions_text, account, topic))

    def _positions_text(self, account: Account, topic: str) -> str:
        mark, margin, old = self._core.market.mark, account.margin, topic in _OLD_NAMED
        rows = [private.position(held, mark(held.spec.name), margin, old=old) for held in margin.open_positions()]
        return private.encoded({"topic": topic, "data": rows})

    def _publish(
        self,
        account: str,
        topic: str,
        kind: str,
        pair: str,
        row: Callable[[], dict[str, Any]],
        *,
        as_object: bool = False,
    ) -> None:
        form = self._config.private_data
        listed = form == "list" or (form == "sheet" and not as_object)

        def encode() -> str:
            data = row()
            return private.encoded({"topic": topic, "data": [data] if listed else data})

        key = self._main[self._specs[pair].futures].private_key(account, topic)
        self._core.hub.publish(key, kind, pair, encode)
