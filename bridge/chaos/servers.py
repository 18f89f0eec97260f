"""The Redis of a run: what all of its shapes have in common, and the simplest of them, one server."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from bridge.chaos.proxy import Proxy
from bridge.demo.processes import ChildProcess, Processes, ProcessFailedError
from bridge.demo.setup import start_server
from bridge.redis.errors import FAILURES
from consumers.connection import make_client

__all__ = ["SERVER", "Servers", "links_to", "start_single", "until"]

SERVER = 0
"""The rank of servers among the processes: they end last."""
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

    @abstractmethod
    async def way(self, stack: AsyncExitStack) -> tuple[str, list[Proxy]]:
        """A URL that leads to Redis over links of its own, which ``stack`` ends."""

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

    async def settled(self) -> bool:
        """Whether it is certain that nothing will move to another server, unless a further fault strikes.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        return True

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
    async def way(self, stack: AsyncExitStack) -> tuple[str, list[Proxy]]:
        [link] = await links_to(self.ports, stack)
        return link.url, [link]

    async def masters(self) -> list[int]:
        return [0]


async def start_single(processes: Processes, directory: Path) -> Servers:
    """Start one server.

    Raises:
        ServerMissingError: there is no server on this machine.
        ProcessFailedError: it does not start.
    """
    url = await start_server(processes, directory)
    return _Single(url, ["redis"], [int(url.rpartition(":")[2].partition("/")[0])])


async def links_to(ports: Iterable[int], stack: AsyncExitStack) -> list[Proxy]:
    """A link to each of these ports, which ``stack`` ends."""
    return [await stack.enter_async_context(Proxy(port)) for port in ports]


async def until(look: Callable[[], Awaitable[bool]], child: ChildProcess, what: str) -> None:
    """Wait until servers have found each other; ``what`` they then are.

    Raises:
        ProcessFailedError: they have not in a minute; it has the log of this one.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        with suppress(*FAILURES, TimeoutError):
            if await look():
                return
        if time.monotonic() > deadline:
            raise ProcessFailedError(child.name, f"and the others did not become {what}", child.log, child.owner)
        await asyncio.sleep(_LOOK_EVERY)
