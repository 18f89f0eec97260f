"""The Redis of a run: one server, or a Cluster whose masters have a replica each; and the ways that lead there."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.crc import key_slot

from bridge.chaos.proxy import Proxy
from bridge.demo.embedded import find_server, free_port, server_command
from bridge.demo.processes import ChildProcess, Processes, ProcessFailedError
from bridge.demo.setup import answers, start_server
from bridge.demo.starting import start_on_free_port
from bridge.redis.errors import FAILURES
from consumers.connection import make_client

__all__ = ["Servers", "start_servers"]

_SERVER = 0
_MASTERS, _NODES = 3, 6
_SLOTS = 16384
_TIMEOUT = 2.0
_PATIENCE = 60.0
_LOOK_EVERY = 0.2


class Servers(ABC):
    """What was started; ``names`` are the processes, ``client`` asks them directly."""

    def __init__(self, url: str, names: list[str], ports: list[int]) -> None:
        self.url = url
        self.names = names
        self.ports = ports
        self.client: Redis = make_client(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)

    def node(self, number: int) -> Redis:
        """A client of one server; close it."""
        return make_client(
            f"redis://127.0.0.1:{self.ports[number]}/0", socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT
        )

    async def way(self, stack: AsyncExitStack) -> tuple[str, list[Proxy]]:
        """A URL that leads to Redis over links of its own, which ``stack`` ends."""
        links = [await stack.enter_async_context(Proxy(port)) for port in self.ports]
        if len(links) == 1:
            return links[0].url, links
        for link in links:
            link.ports = {port: each.port for port, each in zip(self.ports, links, strict=True)}
        return "redis+cluster://" + ",".join(f"127.0.0.1:{link.port}" for link in links), links

    async def ask(self, number: int, *words: str | int) -> Any:
        """The answer of one server to a command.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        return await self.on(number, lambda client: client.execute_command(*words))

    async def on(self, number: int, work: Callable[[Any], Awaitable[Any]]) -> Any:
        """Ask one server something.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        client = self.node(number)
        try:
            return await work(client)
        finally:
            await client.aclose()

    @abstractmethod
    async def masters(self) -> list[int]:
        """The numbers of the servers that take entries now.

        Raises:
            redis.exceptions.RedisError, OSError: nobody says so.
        """

    async def promote_replica(self, master: int) -> None:
        """Let a replica take its master's place, in agreement with it.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        raise NotImplementedError

    async def move_slot(self, key: str) -> None:
        """Move the slot of a key to another master, with all that is in it.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        raise NotImplementedError


class _Single(Servers):
    async def masters(self) -> list[int]:
        return [0]


class _Cluster(Servers):
    def __init__(self, names: list[str], ports: list[int], buses: list[int]) -> None:
        super().__init__("redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports), names, ports)
        self._buses = buses

    async def masters(self) -> list[int]:
        found = [number for number in range(_NODES) if await self._role(number) == "master"]
        if len(found) != _MASTERS:
            raise ConnectionError(f"{len(found)} of {_MASTERS} masters answer")
        return found

    async def promote_replica(self, master: int) -> None:
        port = (await self.on(master, lambda client: client.role()))[2][0][1]
        await self.ask(self.ports.index(int(port)), "CLUSTER", "FAILOVER")

    async def move_slot(self, key: str) -> None:
        slot, masters = key_slot(key.encode()), await self.masters()
        owner = next(number for number, owns in [(each, await self._owns(each, slot)) for each in masters] if owns)
        target = masters[(masters.index(owner) + 1) % len(masters)]
        names = {number: await self.ask(number, "CLUSTER", "MYID") for number in masters}
        await self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", names[owner])
        await self.ask(owner, "CLUSTER", "SETSLOT", slot, "MIGRATING", names[target])
        there = owner
        try:
            while keys := await self.ask(owner, "CLUSTER", "GETKEYSINSLOT", slot, 10):
                words = ("MIGRATE", "127.0.0.1", self.ports[target], "", 0, 1_000, "KEYS", *keys)
                await self.ask(owner, *words)
            there = target
        finally:
            # First at the new owner, so that no moment has none. What was moved before a failure stays reachable by
            # moving the rest later: the slot stays half moved, as it would after a failure of ``redis-cli``.
            if there == target:
                for number in (target, *(each for each in masters if each != target)):
                    with suppress(*FAILURES, TimeoutError):
                        await self.ask(number, "CLUSTER", "SETSLOT", slot, "NODE", names[target])

    async def join(self) -> None:
        """Make a Cluster of the servers."""
        share = -(-_SLOTS // _MASTERS)
        for number in range(_NODES):
            await self.ask(number, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            for other in range(number):
                await self.ask(number, "CLUSTER", "MEET", "127.0.0.1", self.ports[other], self._buses[other])
            if number < _MASTERS:
                last = min((number + 1) * share, _SLOTS) - 1
                await self.ask(number, "CLUSTER", "ADDSLOTSRANGE", number * share, last)

    async def replicate(self) -> None:
        """Give each master its replica."""
        for number in range(_MASTERS):
            name = await self.ask(number, "CLUSTER", "MYID")
            await self.ask(number + _MASTERS, "CLUSTER", "REPLICATE", name)

    async def known(self) -> bool:
        """Whether every server knows all others."""
        return all([await self._says(number, "cluster_known_nodes", str(_NODES)) for number in range(_NODES)])

    async def settled(self) -> bool:
        """Whether all slots are served, and every replica follows its master."""
        for number in range(_NODES):
            role: Any = await self.on(number, lambda client: client.role())
            follows = role[0] == "master" if number < _MASTERS else role[0] == "slave" and role[3] == "connected"
            if not follows or not await self._says(number, "cluster_state", "ok"):
                return False
        return True

    async def _role(self, number: int) -> str:
        with suppress(*FAILURES, TimeoutError):
            return str((await self.on(number, lambda client: client.role()))[0])
        return ""

    async def _owns(self, number: int, slot: int) -> bool:
        name = await self.ask(number, "CLUSTER", "MYID")
        for first, last, master, *_ in await self.ask(number, "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return bool(master[2] == name)
        return False

    async def _says(self, number: int, name: str, value: str) -> bool:
        said: Any = await self.ask(number, "CLUSTER", "INFO")
        return bool(said.get(name) == value if isinstance(said, dict) else f"{name}:{value}" in said)


async def start_servers(shape: str, processes: Processes, directory: Path) -> Servers:
    """Start the Redis of a run.

    Raises:
        ServerMissingError: there is no server on this machine.
        ProcessFailedError: one does not start, or they do not become a Cluster.
    """
    if shape == "single":
        url = await start_server(processes, directory)
        return _Single(url, ["redis"], [int(url.rpartition(":")[2].partition("/")[0])])
    binary = find_server()
    started: list[tuple[int, int]] = []
    for number in range(_NODES):
        data = directory / f"redis-{number}"
        data.mkdir(exist_ok=True)
        buses: list[int] = []

        async def start(port: int) -> ChildProcess:
            buses.append(free_port())  # noqa: B023
            cluster = {"enabled": "yes", "port": str(buses[-1]), "node-timeout": "1500", "replica-validity-factor": "0"}  # noqa: B023
            command = server_command(binary, port, data)  # noqa: B023
            command += [word for name, value in cluster.items() for word in (f"--cluster-{name}", value)]
            command += ["--repl-diskless-sync-delay", "0"]
            return await processes.start(f"redis-{number}", command, rank=_SERVER)  # noqa: B023

        _, port = await start_on_free_port(start, answers)
        started.append((port, buses[-1]))
    ports = [port for port, _ in started]
    names = [f"redis-{number}" for number in range(_NODES)]
    servers = _Cluster(names, ports, [bus for _, bus in started])
    first = processes["redis-0"]
    await servers.join()
    await _until(servers.known, first)
    await servers.replicate()
    await _until(servers.settled, first)
    return servers


async def _until(look: Callable[[], Awaitable[bool]], child: ChildProcess) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with suppress(*FAILURES, TimeoutError):
            if await look():
                return
        if time.monotonic() > deadline:
            raise ProcessFailedError(child.name, "and the others did not become a Cluster", child.log, child.owner)
        await asyncio.sleep(_LOOK_EVERY)
