"""Runs a fault plan against everything, from start to audit."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from bridge.chaos.audit import Source, audit
from bridge.chaos.faults import Missed, strike
from bridge.chaos.leaks import leaked_keys
from bridge.chaos.plan import SHAPES, PlannedFault, make_plan
from bridge.chaos.report import Report, Struck
from bridge.chaos.settle import settle
from bridge.chaos.truth import Span
from bridge.chaos.world import DEAD_AFTER, World, build
from bridge.demo.guardian import remove
from bridge.demo.processes import ProcessFailedError
from bridge.demo.showing import Showing
from bridge.files import make_folder
from bridge.redis.errors import FAILURES

__all__ = ["ChaosSettings", "run"]

_READY_SECONDS = 90.0
_ENDING_SECONDS = 20.0
_LOOK_EVERY = 0.1
_MEASURE_EVERY = 5.0


class ChaosSettings(Struct, frozen=True):
    """The options of ``tickbridge chaos``: ``duration`` in seconds, ``kinds`` of faults, ``command`` that repeats the run.

    ``shape`` is that of Redis; ``left_out``: kinds that are not possible here, and why.
    """

    seed: int
    duration: float
    kinds: tuple[str, ...]
    command: str
    left_out: dict[str, str]
    shape: str = SHAPES[0]
    directory: Path | None = None
    json: bool = False


async def run(settings: ChaosSettings) -> int:
    """Run until the plan is done or the user ends it, then audit; returns the exit code: 1 if anything is wrong.

    Raises:
        BridgeError: there is no server, or a process does not start or keeps dying.
    """
    return await _Chaos(settings).run()


class _Chaos(Showing):
    """One run."""

    def __init__(self, settings: ChaosSettings) -> None:
        super().__init__()
        self._settings = settings
        self._report = Report(
            settings.command,
            settings.seed,
            0.0,
            {name: Struck() for name in settings.kinds},
            settings.left_out,
        )
        self._paused: defaultdict[str, list[Span]] = defaultdict(list)
        """Exchange → when its connector did not run."""

    async def _run(self) -> int:
        settings, report = self._settings, self._report
        kept = settings.directory is not None
        directory = settings.directory or Path(tempfile.mkdtemp(prefix="tickbridge-chaos-"))
        make_folder(directory, "--dir", "chaos")
        report.directory = str(directory)
        try:
            self._progress("starting: Redis, simulated exchanges, connectors with standbys, consumers")
            async with build(
                directory.resolve(),
                settings.shape,
                settings.seed,
                self.notify,
                temporary=not kept,
            ) as world:
                self._processes = world.processes
                try:
                    await self._disturb(world)
                    kept = kept or bool(report.wrong)
                except* ProcessFailedError:
                    kept = True  # it names a log
                    raise
                finally:
                    if kept and settings.directory is None:
                        world.processes.keep_logs()
        finally:
            if not kept:
                remove(directory)
        text = json.dumps(report.as_json(), indent=2) if settings.json else "\n".join(report.lines())
        self._say(text)
        return 1 if report.wrong else 0

    def _view(self) -> None:
        return None

    def notify(self, words: str) -> None:
        """Show a notice."""
        self._progress(words)

    def _progress(self, words: str) -> None:
        if not self._settings.json:
            self._line(words)

    async def _disturb(self, world: World) -> None:
        """Carry out the plan, let everything settle, and audit."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(world.processes.supervise(child), name=f"supervise {child.name}")
                for child in world.processes
            ]
            # With replicas the data are kept; what a failover lost is no part of the streams.
            follows = self._settings.shape == SHAPES[0]
            collecting = group.create_task(world.collector.follow(), name="collect") if follows else None
            await self._until_ready(world)
            tasks.append(group.create_task(self._measure(world), name="measure"))
            self._began = time.monotonic()
            await self._carry_out(world, make_plan(self._settings.seed, self._settings.duration, self._settings.kinds))
            self._report.seconds = self._elapsed()
            self._progress("no more faults; pausing the markets, waiting until the streams are at their end")
            if collecting is not None:
                collecting.cancel()
            self._report.differences = await settle(world, self._progress)
            await self._compare(world)
            for task in tasks:
                task.cancel()

    async def _until_ready(self, world: World) -> None:
        """Wait until every connector is live and has a standby that could take over."""
        deadline = time.monotonic() + _READY_SECONDS
        for exchange in world.venues:
            while not await _ready(world, exchange):
                if self._end.is_set() and not self._report.seconds:
                    return
                if time.monotonic() > deadline:
                    name = f"{exchange}-a"
                    reason = f"and its standby were not ready within {_READY_SECONDS:g} s"
                    raise ProcessFailedError(name, reason, world.processes[name].log, "the chaos run")
                await asyncio.sleep(_LOOK_EVERY)

    async def _carry_out(self, world: World, plan: Sequence[PlannedFault]) -> None:
        """Let each fault strike at its time; at the end, or when the user ends the run, all are over."""
        ending = asyncio.create_task(self._end.wait(), name="end")
        try:
            async with asyncio.TaskGroup() as group:
                striking = []
                for fault in plan:
                    await asyncio.wait({ending}, timeout=max(0.0, fault.at - self._elapsed()))
                    if ending.done():
                        break
                    self._progress(str(fault).partition(" s  ")[2])
                    striking.append(group.create_task(self._strike(world, fault), name=f"fault {fault.kind}"))
                await asyncio.wait({ending}, timeout=max(0.0, self._settings.duration - self._elapsed()))
                for task in striking:
                    task.cancel()
        finally:
            self._report.interrupted = ending.done()
            ending.cancel()

    async def _strike(self, world: World, fault: PlannedFault) -> None:
        struck = self._report.struck[fault.kind]
        struck.done += 1
        begun = time.time()
        try:
            await strike(world, fault)
        except Missed:
            struck.done -= 1
            struck.missed += 1
        finally:
            if fault.kind == "pause":
                self._paused[fault.target.partition(" ")[0]].append((begun, time.time()))

    async def _measure(self, world: World) -> None:
        while True:
            self._report.usage.measure({child.name: child.pid for child in world.processes if child.running})
            await asyncio.sleep(_MEASURE_EVERY)

    async def _compare(self, world: World) -> None:
        report, sources, subjects = self._report, {}, {}
        for venue in world.venues.values():
            coins = {pair: await venue.control.coins(pair) for pair in venue.pairs}
            names = {
                subject: str(true["name"]) for subject, true in (await venue.control.subjects(venue.account)).items()
            }
            subjects[venue.exchange] = list(names)
            sources[venue.exchange] = Source(venue.journal, coins, names, DEAD_AFTER, self._paused[venue.exchange])
        report.usage.measure({child.name: child.pid for child in world.processes if child.running})
        self._progress("ending connectors and consumers")
        with suppress(ProcessFailedError):  # whatever keeps it from that is found below
            await self._until_ready(world)  # one that is just starting could not end in order
        clients = [world.processes[name] for name in world.clients]
        await asyncio.gather(*(world.processes.end(child, _ENDING_SECONDS) for child in clients))
        report.ends = [f"{child.name} {child.ended}" for child in clients if child.ended != "ended with exit code 0"]
        # The heartbeat of one that had no time left to delete it expires.
        keys = [key async for key in world.redis.scan_iter("*", count=1000) if await world.redis.ttl(key) < 0]
        pairs = {venue.exchange: venue.pairs for venue in world.venues.values()}
        report.leaks = report.usage.leaks() + leaked_keys(keys, world.keys, pairs, subjects)
        self._progress("auditing")
        report.findings = await asyncio.to_thread(audit, list(world.collector.copies.values()), sources)


async def _ready(world: World, exchange: str) -> bool:
    try:
        writer: Any = await world.redis.hgetall(world.keys.connector(exchange))
        standby: Any = await world.redis.hgetall(world.keys.standby(exchange))
    except FAILURES:
        return False
    return (writer.get("state"), standby.get("state")) == ("live", "standby")
