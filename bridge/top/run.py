"""Runs ``tickbridge top`` from start to end."""

from __future__ import annotations

import os
import signal

from bridge.keys import Keys
from bridge.redis.topology import Topology
from bridge.top.app import TopView
from bridge.view.device import Device
from bridge.view.output import notices_from_logs
from bridge.view.signals import on_signals
from consumers.connection import check, make_client

__all__ = ["run"]

_TIMEOUT = 10.0
_HUNG_UP = 128 + signal.SIGHUP


async def run(topology: Topology, keys: Keys, device: Device, *, words: str = "", not_live: bool = False) -> int:
    """Show the view until the user quits; returns the exit code. ``words`` are the filter to begin with.

    Raises:
        RedisUnavailableError: Redis does not answer at the start, or refuses this client.
    """
    client = make_client(topology, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT / 2)
    try:
        await check(client, topology)
    finally:
        await client.aclose()
    view = TopView(topology, keys, device, words=words, not_live=not_live)
    hung_up = False

    def hang_up() -> None:
        nonlocal hung_up
        hung_up = True
        view.stop()

    def abandon() -> None:
        view.abandon()
        os._exit(128 + signal.SIGINT)

    def interrupt() -> None:
        if view.stopped:
            abandon()
        view.stop()

    with on_signals(interrupt=interrupt, abandon=abandon, hang_up=hang_up), notices_from_logs(view.notify):
        await view.run()
    return _HUNG_UP if hung_up or not view.stopped else 0
