"""Starts a process and waits until it is ready; one that serves, on a port of loopback that is free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

from bridge.demo.embedded import free_port
from bridge.demo.processes import ChildProcess, ProcessFailedError

__all__ = ["start_on_free_port", "wait_until"]

_PORTS = 5
"""How many ports to try."""
_START_SECONDS = 60.0
_LOOK_EVERY = 0.05


async def start_on_free_port(
    start: Callable[[int], Awaitable[ChildProcess]], ready: Callable[[ChildProcess, int], Awaitable[bool]]
) -> tuple[ChildProcess, int]:
    """Start a process that serves on the port it is given; returns it and its port once it is ``ready``.

    A port that was free a moment ago may be taken when the process wants it: then it is started again with another.

    Raises:
        ProcessFailedError: it ended for another reason, found no port, or takes too long.
    """
    for left in reversed(range(_PORTS)):
        port = free_port()
        child = await start(port)
        try:
            await wait_until(child, partial(ready, child, port))
            break
        except ProcessFailedError as error:
            if not (left and " in use" in error.tail.lower()):
                raise
    return child, port


async def wait_until(child: ChildProcess, ready: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a process that has just been started is ready.

    Raises:
        ProcessFailedError: it ended, or takes too long.
    """
    deadline = time.monotonic() + _START_SECONDS
    while not await ready():
        if not child.running:
            assert child.process
            raise ProcessFailedError(
                child.name, f"ended with exit code {child.process.returncode}", child.log, child.owner
            )
        if time.monotonic() > deadline:
            raise ProcessFailedError(child.name, f"was not ready within {_START_SECONDS:g} s", child.log, child.owner)
        await asyncio.sleep(_LOOK_EVERY)
