"""Starts the gateway of ``tickbridge web`` beside what else runs: its page shows the streams in a browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.demo.embedded import free_port
from bridge.demo.processes import ChildProcess, Processes, ProcessFailedError, python_module, tail
from bridge.demo.setup import lost_its_port, wait_until
from bridge.demo.venue import Venue

__all__ = ["start_gateway"]

_PORTS = 5
"""How many ports to try."""


async def start_gateway(
    processes: Processes, env: Mapping[str, str], venues: Iterable[Venue] = (), levers: str = ""
) -> str:
    """Start it on a free port of loopback; returns the address of its page.

    ``env`` says where Redis is; the page can inject faults into those ``venues`` that are simulated, and kill what
    ``levers``, an address, lets it.

    Raises:
        ProcessFailedError: it does not start.
    """
    env = {**env, "TICKBRIDGE_WEB_PROCESSES": levers}
    simulated = [f"--simulator={venue.exchange}={venue.control.url}" for venue in venues if not venue.recorded]
    for left in reversed(range(_PORTS)):
        # The port is fixed, so that the page finds a gateway that was restarted.
        address = f"127.0.0.1:{free_port()}"
        command = python_module("consumers.web", "--http", address, *simulated)
        child = await processes.start("web", command, env)

        async def ready(child: ChildProcess = child, address: str = address) -> bool:
            return f"at http://{address}" in tail(child.log)

        try:
            await wait_until(child, ready)
            break
        except ProcessFailedError as error:
            if not (left and lost_its_port(error)):
                raise
    return f"http://{address}/"
