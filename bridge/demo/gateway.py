"""Starts the gateway of ``tickbridge web`` beside what else runs: its page shows the streams in a browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.demo.processes import ChildProcess, Processes, python_module, tail
from bridge.demo.starting import start_on_free_port
from bridge.demo.venue import Venue

__all__ = ["start_gateway"]


async def start_gateway(
    processes: Processes, env: Mapping[str, str], venues: Iterable[Venue] = (), levers: str = ""
) -> str:
    """Start it on a free port of loopback; returns the address of its page.

    ``env`` says where Redis is; the page can inject faults into those ``venues`` that are simulated, and kill what
    ``levers``, an address, lets it. The port is fixed, so that the page finds a gateway that was restarted.

    Raises:
        ProcessFailedError: it does not start.
    """
    env = {**env, "TICKBRIDGE_WEB_PROCESSES": levers}
    simulated = [f"--simulator={venue.exchange}={venue.control.url}" for venue in venues if not venue.recorded]

    async def start(port: int) -> ChildProcess:
        return await processes.start(
            "web", python_module("consumers.web", "--http", f"127.0.0.1:{port}", *simulated), env
        )

    async def ready(child: ChildProcess, port: int) -> bool:
        return f"at http://127.0.0.1:{port}" in tail(child.log)

    _, port = await start_on_free_port(start, ready)
    return f"http://127.0.0.1:{port}/"
