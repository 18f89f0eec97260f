"""A simulated exchange without a port: market, dialect, faults, and the clock that drives them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from functools import partial
from typing import Any

from bridge.errors import ConfigError, Problem
from bridge.simulator import truth
from bridge.simulator.config import SimulatorConfig
from bridge.simulator.dialect import Core, Dialect
from bridge.simulator.faults import FAULTS, GATE_FAULTS, Fault, fault_from_fields
from bridge.simulator.gate import Gate
from bridge.simulator.journal import Journal
from bridge.simulator.market import Market
from bridge.simulator.orderbook import RestingOrder
from bridge.simulator.pump import Pump
from bridge.simulator.registry import OWN_FAULTS, exchange_named
from bridge.simulator.sockets import Hub

__all__ = ["Simulation"]

_STEP_CHUNK = 200
_DRAIN_PATIENCE = 5.0
_TICK = 0.02


class Simulation:
    """One simulated exchange, as used by tests, the demo and the control paths.

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
        self.config = config
        named = config.exchange
        self._exchange = exchange = exchange_named(named) if isinstance(named, str) else named
        self._clock = clock
        if config.clock_offset:
            clock = partial(_ahead, clock, config.clock_offset)
        self._shown_clock = clock
        self.market = Market(config.market or exchange.market_of(), clock)
        self.hub = Hub(exchange.dialect.unknown, config.max_buffer)
        self.gate = Gate(monotonic, self.hub.done)
        self._journal = self.hub.journal = Journal(config.journal) if config.journal else None
        core = Core(self.market, self.hub, self.gate, clock, self._spawn, monotonic, self._journal, config.key_dir)
        self.dialect: Dialect = exchange.dialect(core, config.options or exchange.options())
        if self._journal is not None:
            self._begin(self._journal)
        self.market.subscribe(self.dialect.heard)
        self.pump = Pump(self.market.step, self.hub.flush, time.monotonic, config.rate)
        self.pump.paused = config.paused
        self._driving: asyncio.Task[None] | None = None
        self._awaited = False
        """Whether somebody waits for `failure`, and hears it there."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._timed: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the market, and the faults that are configured from the start.

        Raises:
            ConfigError: one of them isn't the exchange's, or of a pair that isn't simulated.
        """
        self._driving = self._spawn(self.pump.run(), "simulator pump")
        self._spawn(self._tick(), "simulator clock")
        for fault in self.config.faults:
            self.fault(fault)

    async def failure(self) -> None:
        """Wait until the market that was started fails, which it does when the journal cannot be written.

        Raises:
            Exception: why; ``OSError`` with the journal's name.
        """
        self._awaited = True
        if self._driving is not None:
            await self._driving

    async def stop(self) -> None:
        """Pause the market, close all sockets and end all tasks."""
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

    def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    def pause(self) -> None:
        """Pause the market; on return, all messages of its events have been passed to the sockets."""
        self.pump.paused = True
        self.hub.settle()
        if self._journal is not None:
            self._journal.flush()

    def resume(self) -> None:
        """Resume the market."""
        self.pump.paused = False

    async def step(self, steps: int = 1) -> int:
        """Run ``steps`` actions at once, paused or not; returns the number of public events.

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
        """Change the public events per second; 0 stops the market."""
        self.pump.rate = rate

    def fault(self, fault: Fault | str, **settings: object) -> None:
        """Inject a fault, or schedule it if it is timed: a ``Fault``, or its name and settings.

        Raises:
            ConfigError: there is no such fault, setting or pair.
        """
        if isinstance(fault, str):
            fault = fault_from_fields({"fault": fault, **settings}, OWN_FAULTS)
        self._check(fault)
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
        """The kept trades of a pair, oldest first."""
        return truth.trades(self.market, pair, limit)

    def state(self) -> dict[str, Any]:
        """The content of ``/sim/state``: sockets, counts, faults."""
        return {
            "exchange": self._exchange.name,
            **truth.state(self.market, self.hub, self.pump),
            "pairs": self.dialect.pair_ids(),
            "faults_active": self.active_faults(),
        }

    def active_faults(self) -> list[str]:
        """The active faults: timed ones, those of the gate, and those of open sockets."""
        timed = [task.get_name().rpartition(" ")[2] for task in self._timed if not task.done()]
        of_sockets = (name for each in self.hub.sockets for name in each.faults)
        return sorted({*timed, *self.gate.active(), *self.dialect.active_faults(), *of_sockets})

    def known_faults(self) -> dict[str, frozenset[str]]:
        """The faults that this exchange has, and the settings that each takes."""
        return {**FAULTS, **{name: fault.settings for name, fault in self._exchange.faults.items()}}

    # Inside

    def _check(self, fault: Fault) -> None:
        if fault.pair and fault.pair not in self.market.pairs:
            message = f"{fault.pair!r} is not simulated"
            raise ConfigError([Problem("pair", message, f"known: {', '.join(self.market.pairs)}")], "fault")
        known = self.known_faults()
        if fault.fault not in known:
            lacks = OWN_FAULTS[fault.fault].needs if fault.fault in OWN_FAULTS else "such fault"
            message = f"{self._exchange.name} has no {lacks}: no {fault.fault}"
            raise ConfigError([Problem("fault", message, f"known: {', '.join(known)}")], "fault")

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
        elif fault.fault in self._exchange.faults:
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
        """Apply maintenance to the open sockets."""
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

    def _spawn(
        self, work: Coroutine[Any, Any, None], name: str, also: set[asyncio.Task[None]] | None = None
    ) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        for group in (self._tasks, also):
            if group is not None:
                group.add(task)
                task.add_done_callback(group.discard)
        task.add_done_callback(self._complain)
        return task

    def _complain(self, task: asyncio.Task[None]) -> None:
        """Let no task of the simulator's die in silence."""
        heard = self._awaited and task is self._driving
        if not heard and not task.cancelled() and (error := task.exception()) is not None:
            message = f"{task.get_name()} failed"
            task.get_loop().call_exception_handler({"message": message, "exception": error, "task": task})


def _ahead(clock: Callable[[], float], offset: float) -> float:
    return clock() + offset
