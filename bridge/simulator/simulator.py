"""A simulated exchange: market, dialect, faults and control on one port."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from ssl import SSLContext
from typing import Any

from aiohttp import web
from msgspec import Struct

from bridge.errors import ConfigError, Problem
from bridge.simulator import control, truth
from bridge.simulator.config import SimulatorConfig
from bridge.simulator.dialect import Core, Dialect
from bridge.simulator.faults import GATE_FAULTS, OWN_FAULTS, SEQUENCE_FAULTS, Fault, fault_from_fields
from bridge.simulator.gate import Gate
from bridge.simulator.journal import Journal
from bridge.simulator.market import Market
from bridge.simulator.orderbook import RestingOrder
from bridge.simulator.pump import Pump
from bridge.simulator.registry import exchange_named
from bridge.simulator.sockets import Hub
from bridge.simulator.tls import server_context

__all__ = ["Simulator", "Urls"]

_STEP_CHUNK = 200
_DRAIN_PATIENCE = 5.0
_TICK = 0.02


class Urls(Struct, frozen=True):
    """Where a running simulator is reached; ``ca_file`` is the CA to trust when it serves TLS."""

    ws: str
    rest: str
    control: str
    port: int
    ca_file: Path | None = None


class Simulator:
    """One simulated exchange.

    ``clock`` gives seconds since the epoch (stamps, tokens, nonces), ``monotonic`` ends sessions, idle connections and
    the faults of the door. Both may run fast; they are looked at every 20 real milliseconds, so a time that is to be kept
    must be much longer than what passes then. The market's rate, faults of sockets and delays between faults go by real
    time.

    Raises:
        ConfigError: the exchange or something in its config isn't known.
        OSError: the journal cannot be written.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        exchange = exchange_named(config.exchange)
        self.config = config
        self._clock = clock
        if config.clock_offset:
            clock = partial(_ahead, clock, config.clock_offset)
        self._shown_clock = clock
        self.market = Market(config.market or exchange.market_of(), clock)
        self.hub = Hub(exchange.dialect.unknown, config.max_buffer)
        self.gate = Gate(monotonic, self.hub.done)
        self._journal = self.hub.journal = Journal(config.journal) if config.journal else None
        core = Core(self.market, self.hub, self.gate, clock, self._spawn, monotonic, self._journal)
        self.dialect: Dialect = exchange.make(core, config)
        if self._journal is not None:
            self._begin(self._journal)
        self.market.subscribe(self.dialect.heard)
        self.pump = Pump(self.market.step, self.hub.flush, time.monotonic, config.rate)
        self.pump.paused = config.paused
        self._tasks: set[asyncio.Task[None]] = set()
        self._timed: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Urls]:
        """Serve on ``host:port`` (0: any free port) as long as the block runs.

        Raises:
            OSError: the port is taken, or the address isn't this machine's.
        """
        context, ca_file = self._tls(host) if self.config.tls else (None, None)
        app = web.Application(client_max_size=65_536)
        app.on_response_prepare.append(self._date)
        self.dialect.add_routes(app)
        control.add_routes(app, self)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        listener = _listen(host, port)
        try:
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=context).start()
            self._spawn(self.pump.run(), "simulator pump")
            self._spawn(self._tick(), "simulator clock")
            for fault in self.config.faults:
                self.fault(fault)
            yield self._urls(host, listener.getsockname()[1], ca_file)
        finally:
            await self._stop()
            await runner.cleanup()
            listener.close()
            if self._journal is not None:
                self._journal.close()

    # What tests, the demo and the control paths use

    def pause(self) -> None:
        """Hold the market still; on return all messages of its events so far are handed to the sockets."""
        self.pump.paused = True
        self.hub.settle()
        if self._journal is not None:
            self._journal.flush()

    def resume(self) -> None:
        """Let the market go on."""
        self.pump.paused = False

    async def step(self, steps: int = 1) -> int:
        """Do ``steps`` actions at once, paused or not; returns the public events made.

        Waits for slow sockets now and then, so that a long stretch doesn't overflow them.
        """
        made = 0
        for begun in range(0, steps, _STEP_CHUNK):
            made += sum(self.market.step() for _ in range(min(_STEP_CHUNK, steps - begun)))
            self.hub.flush()
            await self._drained()
        self.hub.settle()
        return made

    def set_rate(self, rate: float) -> None:
        """Change the public events per second; 0 stands still."""
        self.pump.rate = rate

    def fault(self, fault: Fault | str, **settings: object) -> None:
        """Carry out a fault, or begin it if it is timed: a ``Fault``, or its name and settings.

        Raises:
            ConfigError: there is no such fault, setting or pair.
        """
        if isinstance(fault, str):
            fault = fault_from_fields({"fault": fault, **settings})
        if fault.pair and fault.pair not in self.market.pairs:
            message = f"{fault.pair!r} is not simulated"
            raise ConfigError([Problem("pair", message, f"known: {', '.join(self.market.pairs)}")], "fault")
        if fault.fault in SEQUENCE_FAULTS and not self.dialect.numbered:
            message = f"{self.config.exchange} has no numbered books: no {fault.fault}"
            raise ConfigError([Problem("fault", message, "a fault of LMEX's; for lost messages: drop")], "fault")
        if fault.timed:
            self._spawn(self._timed_fault(fault), f"simulator fault {fault.fault}", self._timed)
        else:
            self._strike(fault)

    def place(
        self,
        account: str,
        pair: str,
        side: str,
        size: Decimal | str,
        price: Decimal | str | None = None,
        *,
        client_id: str = "",
    ) -> RestingOrder:
        """Place an account's order (see ``Market.place``); its messages are on their way on return."""
        limit = None if price is None else Decimal(price)
        order = self.market.place(account, pair, side, Decimal(size), limit, client_id=client_id)
        self.hub.flush()
        return order

    def cancel(self, account: str, order_id: str) -> None:
        """Cancel an account's order (see ``Market.cancel``)."""
        self.market.cancel(account, order_id)
        self.hub.flush()

    def book(self, pair: str, levels: int | None = None) -> dict[str, Any]:
        """The true book: ``{"pair":…,"bids":[["price","size"],…],"asks":…}``, best first.

        It is as deep as the exchange shows it, or ``levels`` deep (0: all).
        """
        return truth.book(self.market, pair, self.dialect.book_levels if levels is None else levels)

    def account(self, name: str) -> dict[str, Any]:
        """The true wallets, open orders, positions and fills of an account and its sub-accounts."""
        return truth.account(self.market, name, self.dialect.fill_id)

    def trades(self, pair: str, limit: int | None = None) -> dict[str, Any]:
        """The trades of a pair so far, oldest first, as far as they are kept."""
        return truth.trades(self.market, pair, limit)

    def state(self) -> dict[str, Any]:
        """Sockets, counts, faults: what ``/sim/state`` says."""
        return truth.state(self)

    def active_faults(self) -> list[str]:
        """The faults at work: timed ones, closed gates, and those of the open sockets."""
        timed = [task.get_name().rpartition(" ")[2] for task in self._timed if not task.done()]
        of_sockets = (name for each in self.hub.sockets for name in each.faults)
        return sorted({*timed, *self.gate.active(), *self.dialect.active_faults(), *of_sockets})

    # Inside

    def _begin(self, journal: Journal) -> None:
        """The trades that the market begins with, and all that comes."""
        journal.fill_id = self.dialect.fill_id
        for state in self.market.pairs.values():
            journal.heard(list(state.trades))
        self.market.subscribe(journal.heard)

    def _strike(self, fault: Fault) -> None:
        if fault.fault == "clear":
            self._clear()
        elif fault.fault in GATE_FAULTS:
            self.gate.strike(fault)
            if fault.fault == "maintenance":
                self._down(fault)
        elif fault.fault in OWN_FAULTS:
            self.dialect.strike(fault)
        elif fault.fault == "expire_tokens":
            self.hub.done["expire_tokens"] += 1
            self.dialect.expire_tokens(cut=fault.cut)
        else:
            self.hub.strike(fault)

    def _clear(self) -> None:
        current = asyncio.current_task()
        for task in self._timed:
            if task is not current:
                task.cancel()
        self.gate.clear()
        self.dialect.clear()
        self.hub.clear()

    def _down(self, fault: Fault) -> None:
        """What maintenance means for the sockets that are open."""
        self.hub.done["maintenance"] += 1
        for each in list(self.hub.sockets):
            if fault.mode == "silent":
                each.freeze(fault.duration)
            else:
                each.close(fault.code)

    async def _tick(self) -> None:
        while True:
            self.dialect.tick()
            await asyncio.sleep(_TICK)

    async def _timed_fault(self, fault: Fault) -> None:
        await asyncio.sleep(fault.after or fault.every)
        self._strike(fault)
        while fault.every:
            await asyncio.sleep(fault.every)
            self._strike(fault)

    async def _drained(self) -> None:
        """Let the sockets write, until none is half full or patience is over."""
        deadline = asyncio.get_running_loop().time() + _DRAIN_PATIENCE
        await asyncio.sleep(0)
        while any(each.buffered > self.hub.max_buffer // 2 for each in self.hub.sockets):
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(0.005)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str, also: set[asyncio.Task[None]] | None = None) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        for group in (self._tasks, also):
            if group is not None:
                group.add(task)
                task.add_done_callback(group.discard)
        task.add_done_callback(_complain)

    async def _stop(self) -> None:
        self.pump.paused = True
        self.hub.settle()
        for each in list(self.hub.sockets):
            if each.frozen:
                each.abort()
            else:
                each.close(1001)
        closing = [task for task in self._tasks if task.get_name().startswith("simulator close")]
        if closing:
            await asyncio.wait(closing, timeout=1.0)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for each in list(self.hub.sockets):
            each.abort()

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = format_datetime(datetime.fromtimestamp(int(self._shown_clock()), UTC), usegmt=True)

    def _tls(self, host: str) -> tuple[SSLContext, Path]:
        directory = self.config.tls_dir or Path(tempfile.mkdtemp(prefix="tickbridge-simulator-"))
        names = () if host in ("", "0.0.0.0", "::") else (host,)  # noqa: S104 - compared, not bound
        return server_context(directory, datetime.fromtimestamp(self._clock(), UTC), names)

    def _urls(self, host: str, port: int, ca_file: Path | None) -> Urls:
        shown = "127.0.0.1" if host in ("", "0.0.0.0", "::") else host  # noqa: S104 - as above
        where = f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
        secure = "s" if ca_file else ""
        rest = f"http{secure}://{where}"
        return Urls(
            f"ws{secure}://{where}{self.dialect.ws_path}", rest + self.dialect.rest_path, f"{rest}/sim", port, ca_file
        )


def _ahead(clock: Callable[[], float], offset: float) -> float:
    return clock() + offset


def _complain(task: asyncio.Task[None]) -> None:
    """Let no task of the simulator's die in silence."""
    if not task.cancelled() and (error := task.exception()) is not None:
        message = f"{task.get_name()} failed"
        task.get_loop().call_exception_handler({"message": message, "exception": error, "task": task})


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener
