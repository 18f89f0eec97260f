"""Runs ``tickbridge up`` from start to end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

from bridge.demo.embedded import find_server
from bridge.demo.showing import Showing
from bridge.overview.changes import Changes
from bridge.overview.look import Overview
from bridge.redis.errors import FAILURES
from bridge.redis.topology import Topology
from bridge.top.app import TopView
from bridge.up.markets import check_listed
from bridge.up.setup import UpSettings, UpSetup, set_up
from bridge.view.device import Device, open_terminal
from consumers.connection import make_client

__all__ = ["run"]

_LOOK_EVERY = 1.0
_PROGRESS_EVERY = 10.0
_TIMEOUT = 10.0
_STARTING = "the connectors are starting; if nothing comes, their log says why"
_MISTAKE = 1
"""The exit code of a connector that would only fail again: a mistake of the user."""


async def run(settings: UpSettings) -> int:
    """Run until ``duration`` is over or the user ends it; returns the exit code.

    Raises:
        ConfigError: a pair does not exist, or the directory or the server's URL cannot be used.
        BridgeError: there is no server, Redis is unreachable, or a process keeps dying.
    """
    return await _Up(settings).run()


class _Up(Showing):
    """One run."""

    def __init__(self, settings: UpSettings) -> None:
        super().__init__()
        self._settings = settings
        self._top: TopView | None = None

    async def _run(self) -> int:
        settings = self._settings
        markets = {exchange: " ".join(pairs) for exchange, pairs in settings.markets.items()}
        asked = {name: pairs for name, pairs in settings.markets.items() if name not in settings.recordings}
        self._say("starting: " + "; ".join(f"{exchange} {pairs}" for exchange, pairs in markets.items()))
        for exchange, file in settings.recordings.items():
            self._say(f"{exchange}: a recording is played, over and over: {file}")
        if settings.redis is None:
            find_server()  # before anything that takes time
        await check_listed(asked, self._say)
        async with set_up(settings, self.notify) as setup:
            self._processes = setup.processes
            for line in _locations(setup):
                self._say(line)
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        setup.processes.supervise(child, final=(_MISTAKE,) if child.name == "connector" else ()),
                        name=f"supervise {child.name}",
                    )
                    for child in setup.processes
                ]
                await self._show(setup)
                for task in tasks:
                    task.cancel()
            self._say("stopping")
        if settings.keep is not None:
            self._say(f"config, logs and data are in {setup.directory}; the same command continues with them")
        return self._stopped or 0

    def _view(self) -> TopView | None:
        return self._top

    def notify(self, words: str) -> None:
        """Show a notice."""
        if self._top:
            self._top.notify(words)
        else:
            self._line(words)

    def _finish(self) -> None:
        super()._finish()
        if self._top:
            self._top.stop()

    async def _show(self, setup: UpSetup) -> None:
        """Show what arrives until the duration is over or the user ends it."""
        device = open_terminal(sys.stdout.fileno()) if self._settings.live else None
        if device:
            await self._output.drain()  # later, it would be written over the view
            display = self._live(setup, device)
        else:
            display = self._progress(setup)
        displaying = asyncio.create_task(display, name="display")
        ending = asyncio.create_task(self._end.wait(), name="end")
        try:
            await asyncio.wait(
                {displaying, ending}, timeout=self._settings.duration, return_when=asyncio.FIRST_COMPLETED
            )
            if displaying.done():
                displaying.result()
        finally:
            for task in (displaying, ending):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _live(self, setup: UpSetup, device: Device) -> None:
        device.on_change = setup.processes.remember_terminal
        page = setup.addresses["page"]
        view = self._top = TopView(
            Topology(setup.url), setup.keys, device, title="tickbridge up", address=page, empty=_STARTING
        )
        view.notify(f"Redis: {setup.url}")
        view.notify(f"in a browser: {page}")
        try:
            await view.run()
        finally:
            self._top = None
        if not view.stopped:
            self._hang_up()

    async def _progress(self, setup: UpSetup) -> None:
        """Print which streams change their state, and a line of figures every few seconds."""
        redis = make_client(setup.url, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
        overview, changes = Overview(redis, setup.keys), Changes(quiet=False)
        due = time.monotonic() + _PROGRESS_EVERY
        try:
            while True:
                with suppress(*FAILURES, TimeoutError):  # the connector's log says so; the server is started again
                    await overview.look()
                    for change in changes.of(overview):
                        self._line(str(change))
                    if time.monotonic() >= due:
                        due += _PROGRESS_EVERY
                        self._line(_figures(overview))
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            await redis.aclose()


def _figures(overview: Overview) -> str:
    connectors = overview.connectors.values()
    counts = ", ".join(
        f"{name} {sum(row.count(name) for row in connectors):,}" for name in ("received", "published", "lost", "gaps")
    )
    live = sum(row.live for row in overview.streams.values())
    return f"{live} of {len(overview.streams)} streams live; {counts}; {sum(overview.rates.values()):,.0f} entries/s"


def _locations(setup: UpSetup) -> Iterator[str]:
    """Where everything is, for users who want to look closer."""
    for name, where in setup.addresses.items():
        yield f"  {name:<10} {where}"
    for child in setup.processes:
        yield f"  pid        {child.pid:<8} {child.name}"
