"""The Redis of a run as a Cluster, whose masters have a replica each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from redis.crc import key_slot

from bridge.chaos.proxy import Proxy
from bridge.chaos.servers import SERVER, Servers, links_to, until
from bridge.demo.embedded import find_server, free_port, server_command
from bridge.demo.processes import ChildProcess, Processes
from bridge.demo.setup import answers
from bridge.demo.starting import start_on_free_port
from bridge.redis.errors import FAILURES

__all__ = ["start_cluster"]

_MASTERS, _NODES = 3, 6
_SLOTS = 16384
_WHAT = "a Cluster"


class _Cluster(Servers):
    def __init__(self, names: list[str], ports: list[int], buses: list[int]) -> None:
        super().__init__(_url(ports), names, ports)
        self._buses = buses

    async def way(self, stack: AsyncExitStack) -> tuple[str, list[Proxy]]:
        links = await links_to(self.ports, stack)
        for link in links:
            link.ports = {port: each.port for port, each in zip(self.ports, links, strict=True)}
        return _url([link.port for link in links]), links

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

    async def complete(self) -> bool:
        """Whether all slots are served, and every replica follows its first master."""
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


async def start_cluster(processes: Processes, directory: Path) -> Servers:
    """Start the servers of a Cluster, and join them.

    Raises:
        ServerMissingError: there is no server on this machine.
        ProcessFailedError: one does not start, or they do not become a Cluster.
    """
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
            return await processes.start(f"redis-{number}", command, rank=SERVER)  # noqa: B023

        _, port = await start_on_free_port(start, answers)
        started.append((port, buses[-1]))
    ports = [port for port, _ in started]
    names = [f"redis-{number}" for number in range(_NODES)]
    servers = _Cluster(names, ports, [bus for _, bus in started])
    first = processes["redis-0"]
    await servers.join()
    await until(servers.known, first, _WHAT)
    await servers.replicate()
    await until(servers.complete, first, _WHAT)
    return servers


def _url(ports: Sequence[int]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)
