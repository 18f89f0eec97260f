"""The Redis of a run as a master with replicas, and Sentinels that watch them and put a replica in the master's place."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from bridge.chaos.proxy import Proxy
from bridge.chaos.servers import SERVER, Servers, links_to, until
from bridge.demo.embedded import find_server, server_command
from bridge.demo.processes import ChildProcess, Processes
from bridge.demo.setup import answers
from bridge.demo.starting import start_on_free_port
from bridge.redis.errors import FAILURES
from consumers.connection import make_client

__all__ = ["start_sentinels"]

_MASTER = "chaos"
"""The master's name at the Sentinels."""
_SERVERS, _SENTINELS = 3, 3
_QUORUM = 2
_DOWN_AFTER, _FAILOVER_TIMEOUT = 1_000, 3_000
"""Milliseconds of silence after which a server is down, and for a failover. A server that was killed is back after a good
second, so that it sometimes stays the master, and sometimes finds another one."""
_TIMEOUT = 2.0
_OPTIONS = {
    "repl-diskless-sync-delay": "0",
    # What docs/how-to/connect-to-redis.md advises: a master that was replaced, and does not know it, takes no entries.
    "min-replicas-to-write": "1",
    # Sentinels have servers write what is set into their files, thus also the limit of a fault.
    "maxmemory": "0",
}


class _Sentinels(Servers):
    def __init__(self, names: list[str], ports: list[int], sentinels: list[int]) -> None:
        super().__init__(_url(sentinels), names, ports)
        self._sentinels = sentinels

    async def way(self, stack: AsyncExitStack) -> tuple[str, list[Proxy]]:
        servers = await links_to(self.ports, stack)
        sentinels = await links_to(self._sentinels, stack)
        links = [*servers, *sentinels]
        for link in sentinels:
            link.ports = {each.target: each.port for each in links}
            link.as_text = True
        return _url([link.port for link in sentinels]), links

    async def masters(self) -> list[int]:
        for sentinel in self._sentinels:
            with suppress(*FAILURES, TimeoutError):
                return [await self._named(sentinel)]
        raise ConnectionError("no Sentinel says which server is the master")

    async def settled(self) -> bool:
        """Whether all Sentinels name the same master, and all other servers have its data."""
        named = {await self._named(sentinel) for sentinel in self._sentinels}
        if len(named) != 1:
            return False
        [master] = named
        for number in range(_SERVERS):
            role: Any = await self.on(number, lambda client: client.role())
            if number == master:
                right = role[0] == "master"
            else:
                right = role[0] == "slave" and int(role[2]) == self.ports[master] and role[3] == "connected"
            if not right:
                return False
        return True

    async def promote_replica(self, master: int) -> None:
        # Nobody asks the old master, which goes on until the Sentinels tell it, or it has no replica any more.
        await self._ask_sentinel(self._sentinels[master % _SENTINELS], "FAILOVER", _MASTER)

    async def complete(self) -> bool:
        """Whether each Sentinel knows all others and all servers, and every replica follows the master."""
        for sentinel in self._sentinels:
            others = await self._ask_sentinel(sentinel, "SENTINELS", _MASTER)
            replicas = await self._ask_sentinel(sentinel, "REPLICAS", _MASTER)
            if len(others) != _SENTINELS - 1 or len(replicas) != _SERVERS - 1:
                return False
        return await self.settled()

    async def _named(self, sentinel: int) -> int:
        address = await self._ask_sentinel(sentinel, "GET-MASTER-ADDR-BY-NAME", _MASTER)
        return self.ports.index(int(address[1]))

    async def _ask_sentinel(self, port: int, *words: str) -> Any:
        url = f"redis://127.0.0.1:{port}"
        client: Any = make_client(url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
        try:
            return await client.execute_command("SENTINEL", *words)
        finally:
            await client.aclose()


async def start_sentinels(processes: Processes, directory: Path) -> Servers:
    """Start a master, its replicas and their Sentinels.

    Raises:
        ServerMissingError: there is no server on this machine.
        ProcessFailedError: one does not start, or they do not find each other.
    """
    binary = find_server()
    names = [f"redis-{number}" for number in range(_SERVERS)]
    ports: list[int] = []
    for name in names:
        data = directory / name
        data.mkdir(exist_ok=True)
        # Whose replica it is comes from a file that the Sentinels have it rewrite, so that it survives the process.
        config = _written(directory / f"{name}.conf", [f"replicaof 127.0.0.1 {ports[0]}"] if ports else [])

        async def start_server(port: int) -> ChildProcess:
            command = server_command(binary, port, data)  # noqa: B023
            command.insert(1, str(config))  # noqa: B023
            command += [word for option, value in _OPTIONS.items() for word in (f"--{option}", value)]
            return await processes.start(name, command, rank=SERVER)  # noqa: B023

        _, port = await start_on_free_port(start_server, answers)
        ports.append(port)
    sentinels: list[int] = []
    for number in range(_SENTINELS):
        name = f"sentinel-{number}"

        async def start_sentinel(port: int) -> ChildProcess:
            lines = [
                f"port {port}",
                "bind 127.0.0.1",
                f"sentinel monitor {_MASTER} 127.0.0.1 {ports[0]} {_QUORUM}",
                f"sentinel down-after-milliseconds {_MASTER} {_DOWN_AFTER}",
                f"sentinel failover-timeout {_MASTER} {_FAILOVER_TIMEOUT}",
            ]
            config = _written(directory / f"{name}.conf", lines)  # noqa: B023
            return await processes.start(name, [str(binary), str(config), "--sentinel"], rank=SERVER)  # noqa: B023

        _, port = await start_on_free_port(start_sentinel, answers)
        sentinels.append(port)
    servers = _Sentinels(names, ports, sentinels)
    await until(servers.complete, processes["sentinel-0"], "Sentinels that know each other and the servers")
    return servers


def _written(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _url(sentinels: Sequence[int]) -> str:
    return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in sentinels)}/{_MASTER}/0"
