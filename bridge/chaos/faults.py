"""What each kind of fault does, and how it ends."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from bridge.chaos.plan import PlannedFault
from bridge.chaos.world import World, send
from bridge.demo.control import UNREACHABLE
from bridge.demo.processes import ChildProcess
from bridge.errors import BridgeError
from bridge.redis.errors import FAILURES
from bridge.redis.handover import hand_over

__all__ = ["ACTIONS", "Missed", "strike"]

_ROOM = 64 * 1024
"""Bytes that a full Redis still takes."""
_HANDOVER = 10.0


class Missed(Exception):  # noqa: N818 - it is no error
    """The fault could not strike: what it was to strike was not there at that moment."""


Action = Callable[[World, PlannedFault], AbstractAsyncContextManager[None]]
"""Entered, it strikes; left, it ends."""


async def strike(world: World, fault: PlannedFault) -> None:
    """Let a fault strike, last, and end; cancelled, it ends at once.

    Raises:
        Missed: it could not strike.
    """
    async with ACTIONS[fault.kind](world, fault):
        await asyncio.sleep(fault.seconds)


async def _processes(world: World, fault: PlannedFault) -> list[ChildProcess]:
    """The processes that a fault's target names."""
    name, _, role = fault.target.partition(" ")
    if name == "redis":
        masters = await _masters(world)
        return [world.processes[world.servers.names[masters[int(role) % len(masters)]]]]
    if role:
        return await world.by_role(name, role)
    return [world.processes[world.venues[name].simulator if name in world.venues else name]]


@asynccontextmanager
async def _kill(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    killed = [child.kill() for child in await _processes(world, fault)]
    if not any(killed):
        raise Missed
    yield


@asynccontextmanager
async def _pause(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    children = [child for child in await _processes(world, fault) if send(child, signal.SIGSTOP)]
    if not children:
        raise Missed
    try:
        yield
    finally:
        for child in children:
            send(child, signal.SIGCONT)


@asynccontextmanager
async def _block_logs(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    pipes = [child.pipe for child in await _processes(world, fault) if child.running and child.pipe]
    for pipe in pipes:
        pipe.hold()
    try:
        yield
    finally:
        for pipe in pipes:
            pipe.release()


@asynccontextmanager
async def _handover(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    try:
        await hand_over(world.redis, world.keys, fault.target, _HANDOVER)
    except (*FAILURES, BridgeError, TimeoutError):
        raise Missed from None
    yield


@asynccontextmanager
async def _cut(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    for link in world.links[fault.target]:
        link.cut()
    yield


@asynccontextmanager
async def _refuse(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    links = world.links[fault.target]
    for link in links:
        link.refuse = True
        link.cut()
    try:
        yield
    finally:
        for link in links:
            link.refuse = False


@asynccontextmanager
async def _hold(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    links = world.links[fault.target]
    for link in links:
        link.flow.clear()
        link.up.clear()
    try:
        yield
    finally:
        for link in links:
            link.up.set()
            link.flow.set()


@asynccontextmanager
async def _exchange(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    control = world.venues[fault.target].control
    try:
        for body in fault.bodies:
            await control.fault(**body)
    except UNREACHABLE:
        raise Missed from None
    yield


@asynccontextmanager
async def _set_clock(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    clocks = [world.clocks[child.name] for child in await _processes(world, fault)]
    for clock in clocks:
        clock.set(fault.bodies[0]["ahead"])
    try:
        yield
    finally:
        for clock in clocks:
            clock.set(0)


@asynccontextmanager
async def _wipe_redis(world: World, _: PlannedFault) -> AsyncIterator[None]:
    child = world.processes["redis"]
    if not child.kill():
        raise Missed
    assert child.process
    await child.process.wait()
    data = world.directory / "redis"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(exist_ok=True)
    await world.collector.lose()
    yield


@asynccontextmanager
async def _fill_redis(world: World, _: PlannedFault) -> AsyncIterator[None]:
    servers = world.servers
    masters = await _masters(world)
    try:
        for number in masters:
            used = (await servers.on(number, lambda client: client.info("memory")))["used_memory"]
            await servers.ask(number, "CONFIG", "SET", "maxmemory", used + _ROOM)
        yield
    except (*FAILURES, TimeoutError):
        raise Missed from None
    finally:
        for number in masters:
            # A server that was restarted meanwhile has no limit.
            with suppress(*FAILURES, TimeoutError):
                await servers.ask(number, "CONFIG", "SET", "maxmemory", 0)


@asynccontextmanager
async def _failover(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    masters = await _masters(world)
    try:
        await world.servers.promote_replica(masters[_number(fault) % len(masters)])
    except (*FAILURES, TimeoutError, IndexError):  # it has no replica at the moment
        raise Missed from None
    yield


@asynccontextmanager
async def _move_slot(world: World, fault: PlannedFault) -> AsyncIterator[None]:
    venues = list(world.venues.values())
    venue = venues[_number(fault) % len(venues)]
    try:
        await world.servers.move_slot(world.keys.snapshot(venue.exchange, venue.pairs[0]))
    except (*FAILURES, TimeoutError, StopIteration):
        raise Missed from None
    yield


async def _masters(world: World) -> list[int]:
    try:
        return await world.servers.masters()
    except (*FAILURES, TimeoutError):
        raise Missed from None


def _number(fault: PlannedFault) -> int:
    return int(fault.target.rpartition(" ")[2])


ACTIONS: Mapping[str, Action] = {
    "kill": _kill,
    "pause": _pause,
    "handover": _handover,
    "cut": _cut,
    "refuse": _refuse,
    "hold": _hold,
    "block-logs": _block_logs,
    "kill-reader": _kill,
    "pause-reader": _pause,
    "exchange": _exchange,
    "pause-exchange": _pause,
    "pause-redis": _pause,
    "kill-redis": _kill,
    "wipe-redis": _wipe_redis,
    "failover": _failover,
    "move-slot": _move_slot,
    "clock": _set_clock,
    "fill-redis": _fill_redis,
}
"""Kind of fault → what it does."""
