"""Starts simulated exchanges as processes, on ports that stay theirs, so that they can be restarted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bridge.demo.processes import ChildProcess, Processes, ProcessFailedError, python_module
from bridge.demo.starting import start_on_free_port
from bridge.simulator import exchange_named

__all__ = ["EXCHANGE", "control_url", "is_ready", "simulation_command", "start_simulation", "suggested"]

EXCHANGE = 1
"""The rank of an exchange's process: it ends after its clients."""
_CONTROL = re.compile(r"^control +(\S+)$", re.MULTILINE)
_READY = re.compile(r"^ready", re.MULTILINE)


def simulation_command(exchange: str, port: int, directory: Path, options: Mapping[str, str]) -> list[str]:
    """The command of a simulator, with its scenario's arguments; its keys and its suggested config are in ``directory``."""
    paths = {
        "--key-dir": str(directory / "keys" / exchange),
        "--write-config": str(suggested(directory, exchange)),
    }
    words = [word for pair in {"--port": str(port), **options, **paths}.items() for word in pair]
    return python_module("bridge", "simulate", exchange, *words, *exchange_named(exchange).scenario.simulate)


async def start_simulation(
    processes: Processes, name: str, exchange: str, directory: Path, options: Mapping[str, str]
) -> tuple[ChildProcess, int]:
    """Start a simulator under ``name``; returns it and its port once it is ready.

    Raises:
        ProcessFailedError: it ended, or takes too long.
    """

    async def start(port: int) -> ChildProcess:
        command: Sequence[str] = simulation_command(exchange, port, directory, options)
        return await processes.start(name, command, rank=EXCHANGE)

    return await start_on_free_port(start, is_ready)


async def is_ready(child: ChildProcess, _: int) -> bool:
    """Whether a simulator, or a replay, has said that it is ready."""
    return bool(_READY.search(child.log.read_text(encoding="utf-8")))


def control_url(simulator: ChildProcess) -> str:
    """The URL of a simulator's control interface.

    Raises:
        ProcessFailedError: it has not printed it.
    """
    found = _CONTROL.search(simulator.log.read_text(encoding="utf-8"))
    if found is None:
        raise ProcessFailedError(simulator.name, "did not print the URL of its control interface", simulator.log)
    return found[1]


def suggested(directory: Path, exchange: str) -> Path:
    """The connector's config that the simulator suggests."""
    return directory / f"{exchange}.suggested.yaml"
