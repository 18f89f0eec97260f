"""Starts the gateway of ``tickbridge web`` beside what else runs: its page shows the streams in a browser."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.demo.processes import ChildProcess, Processes, python_module, tail
from bridge.demo.starting import start_on_free_port

__all__ = ["start_gateway"]


async def start_gateway(processes: Processes, env: Mapping[str, str]) -> str:
    """Start it on a free port of loopback; returns the address of its page.

    ``env`` says where Redis is. The port is fixed, so that the page finds a gateway that was restarted.

    Raises:
        ProcessFailedError: it does not start.
    """

    async def start(port: int) -> ChildProcess:
        return await processes.start("web", python_module("consumers.web", "--http", f"127.0.0.1:{port}"), dict(env))

    async def ready(child: ChildProcess, port: int) -> bool:
        return f"at http://127.0.0.1:{port}" in tail(child.log)

    _, port = await start_on_free_port(start, ready)
    return f"http://127.0.0.1:{port}/"
