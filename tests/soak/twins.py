"""A connector and its standby on a fast clock: all in one process, each of them a process as far as it can see.

Either has a number of its own, that of a process that does nothing, and is killed together with it: from then on it can ask
Redis nothing, so it leaves behind what a process leaves behind that is killed.
"""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from bridge.config import Settings
from bridge.connector.run import run
from bridge.keys import Keys
from bridge.observe.report import Report
from bridge.redis import presence, rivals
from bridge.redis.handover import hand_over
from tests.environment import clean_environment
from tests.soak.clock import FastLoop

__all__ = ["CHANGES", "Twins", "separate"]

CHANGES = ("kill", "stop", "hand over", "kill the standby")
"""What happens to the two."""
_LOOK = 20.0
_LATE = 3600.0
"""Seconds within which one stands by, or has taken over."""
_HEARTBEAT = "bridge:connector:lmex"

_running: contextvars.ContextVar[_Process | None] = contextvars.ContextVar("process", default=None)


class _Process:
    """A connector that runs as if it were alone in a process."""

    def __init__(self, settings: Settings) -> None:
        self._body = subprocess.Popen(["cat"], stdin=subprocess.PIPE, env=clean_environment())  # ends with us
        self.pid = self._body.pid
        self.killed = False
        self._reports: Callable[[], Sequence[Report]] = lambda: ()
        self._stop = asyncio.Event()
        context = contextvars.copy_context()
        context.run(_running.set, self)
        work = run(settings, settings.connectors, self._watch, stop=self._stop)
        self.task = asyncio.create_task(work, name=f"connector-{self.pid}", context=context)
        self._since = time.monotonic()

    async def _watch(self, reports: Callable[[], Sequence[Report]]) -> None:
        self._reports = reports

    def renewals(self) -> tuple[int, float]:
        """How many connections were replaced, and in how many seconds, since this was asked last."""
        since, self._since = self._since, time.monotonic()
        return sum(one.replacements for report in self._reports() for one in report.supervisors), self._since - since

    async def kill(self) -> None:
        """It is there no more, and says so to nobody."""
        self.killed = True
        self._end_body()
        self.task.cancel()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.exception()  # whatever came of being cut off from Redis

    async def stop(self) -> None:
        """Let it end as at SIGTERM."""
        self._stop.set()
        await self.task
        self._end_body()

    def _end_body(self) -> None:
        self._body.kill()
        self._body.communicate()


def separate(loop: FastLoop) -> None:
    """From now on connectors are processes to each other, and no time passes while one of them waits for redis-py."""
    identity = rivals.identity

    def identity_of_one() -> dict[str, str | int]:
        process = _running.get()
        return {**identity(), **({"pid": process.pid} if process else {})}

    presence.identity = identity_of_one
    kind: Any = AbstractConnection
    send, read, disconnect = kind.send_packed_command, kind.read_response, kind.disconnect

    async def sending(connection: Any, *args: Any, **options: Any) -> None:
        if (process := _running.get()) and process.killed:
            raise RedisConnectionError
        loop.asked.add(connection)
        try:
            await send(connection, *args, **options)
        except BaseException:
            loop.asked.discard(connection)
            raise

    async def reading(connection: Any, *args: Any, **options: Any) -> Any:
        try:
            return await read(connection, *args, **options)
        finally:
            loop.asked.discard(connection)

    async def ending(connection: Any, *args: Any, **options: Any) -> None:
        loop.asked.discard(connection)
        await disconnect(connection, *args, **options)

    kind.send_packed_command, kind.read_response, kind.disconnect = sending, reading, ending


class Twins:
    """A writer and its standby. ``meanwhile`` is called while something is waited for, every few seconds."""

    def __init__(self, settings: Settings, client: Redis, meanwhile: Callable[[], Awaitable[None]]) -> None:
        self._settings = settings
        self._client: Any = client
        self._meanwhile = meanwhile
        self.wrong: list[str] = []
        self.replacements = 0
        """Connections that were replaced before they ended, of both."""
        self.lives: list[float] = []
        """For how many seconds either has run without a break: each time that it began."""
        self._writer: _Process
        self._standby: _Process | None = None

    async def start(self) -> None:
        """Start the two, and wait until both are ready."""
        self._writer = _Process(self._settings)
        await self._until(self._writer, _HEARTBEAT, ("live", "degraded"))
        self._standby = _Process(self._settings)
        await self.ready()

    async def ready(self) -> None:
        """Wait until the standby could go on at once."""
        assert self._standby is not None
        await self._until(self._standby, f"{_HEARTBEAT}:standby", ("standby",))

    async def change(self, what: str) -> None:
        """Let one of `CHANGES` happen, and wait until there are two again; the standby is ready before and after."""
        writer, standby = self._writer, self._standby
        assert standby is not None
        self._note(standby if what == "kill the standby" else writer)
        if what == "kill the standby":
            await standby.kill()
        elif what == "kill":
            await writer.kill()
        elif what == "stop":
            await writer.stop()
        else:
            await hand_over(self._client, Keys(), "lmex", _LATE)
        if what != "kill the standby":
            self._writer, self._standby = standby, None
            await self._until(standby, _HEARTBEAT, ("live", "degraded"))
        self._standby = writer if what == "hand over" else _Process(self._settings)
        await self.ready()

    async def stop(self) -> None:
        """End both, the standby first, so that the writer ends the streams."""
        for process in (self._standby, self._writer):
            if process:
                self._note(process)
                await process.stop()

    def raise_if_ended(self) -> None:
        """Raise what one of them has failed by, which runs no more though nobody has ended it."""
        for process in (self._writer, self._standby):
            if process and process.task.done():
                process.task.result()
                self.wrong.append(f"connector-{process.pid} has ended")

    def _note(self, process: _Process) -> None:
        replaced, seconds = process.renewals()
        self.replacements += replaced
        self.lives.append(seconds)

    async def _until(self, process: _Process, key: str, states: Sequence[str]) -> None:
        begun = time.monotonic()
        while True:
            shown = await self._client.hgetall(key)
            if shown.get("pid") == str(process.pid) and shown.get("state") in states:
                return
            self.raise_if_ended()
            if time.monotonic() - begun > _LATE:
                words = f"{key} is {shown.get('state')!r} of {shown.get('pid')} and not {states} of {process.pid}"
                raise AssertionError(words)
            await asyncio.sleep(_LOOK)
            await self._meanwhile()
