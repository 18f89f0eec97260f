"""Starts the Redis of a run, in the shape that is wanted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from bridge.chaos.cluster import start_cluster
from bridge.chaos.sentinel import start_sentinels
from bridge.chaos.servers import Servers, start_single
from bridge.demo.processes import Processes

__all__ = ["STARTS", "start_servers"]

STARTS: Mapping[str, Callable[[Processes, Path], Awaitable[Servers]]] = {
    "single": start_single,
    "cluster": start_cluster,
    "sentinel": start_sentinels,
}
"""Shape of Redis → what starts it."""


async def start_servers(shape: str, processes: Processes, directory: Path) -> Servers:
    """Start the Redis of a run.

    Raises:
        ServerMissingError: there is no server on this machine.
        ProcessFailedError: one does not start, or they do not find each other.
    """
    return await STARTS[shape](processes, directory)
