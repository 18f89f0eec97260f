"""Runs ``tickbridge up`` from start to end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn

from bridge.connector.supervisor import first_of
from bridge.demo.embedded import find_server
from bridge.overview.changes import Changes
from bridge.overview.look import Overview
from bridge.redis.errors import FAILURES
from bridge.redis.topology import Topology
from bridge.top.app import TopView
from bridge.up.markets import check_listed
from bridge.up.setup import UpSettings, UpSetup, set_up
from bridge.view.device import Device, open_terminal
from bridge.view.output import Output, notices_from_logs
from bridge.view.signals import on_signals
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
    up = _Up(settings)
    signals = on_signals(interrupt=up.interrupt, abandon=up.abandon, hang_up=up.hang_up)
    with signals, notices_from_logs(up.notify):
        try:
            return await up.run()
        except asyncio.CancelledError:
            if up.stopped is None:
                raise
            return up.stopped
        except BaseExceptionGroup as failed:
            raise first_of(failed) from None
        finally:
            await up.drain()


class _Up:
    """One run. Notices go to standard output, or to the view while it is open."""

    def __init__(self, settings: UpSettings) -> None:
        self._settings = settings
        self._began = time.monotonic()
        self._end = asyncio.Event()
        self._main = asyncio.current_task()
        self._setup: UpSetup | None = None
        self._output = Output(self._on_output_closed)
        self._say = self._output.say
        self._view: TopView | None = None
        self._draining = False
        self.stopped: int | None = None
        """The exit code, if it was stopped before all was started, or because nobody reads the output."""

    async def run(self) -> int:
        """Run; see the function ``run``."""
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
            self._setup = setup
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
        return self.stopped or 0

    def interrupt(self) -> None:
        """Handle a signal: the first ends it in order, the second at once."""
        if self._end.is_set() or self._draining:
            self.abandon()
        self._end.set()
        if self._view:
            self._view.stop()
        if self._setup is None:
            self.stop(128 + signal.SIGINT)

    def stop(self, code: int) -> None:
        """End in order, with this exit code."""
        self._end.set()
        if self.stopped is None and self._main:
            self.stopped = code
            self._main.cancel()

    def abandon(self) -> NoReturn:
        """End at once; the guardian ends the processes."""
        if self._view:
            self._view.abandon()
        if self._setup:
            self._setup.processes.abandon()
        os._exit(128 + signal.SIGINT)

    def hang_up(self) -> None:
        """Handle SIGHUP: the terminal is closed."""
        if self._draining:
            self.abandon()
        self.stop(128 + signal.SIGHUP)

    async def drain(self) -> None:
        """Wait until all output is written, or nothing more can be; a signal ends the wait."""
        self._draining = True
        await self._output.drain()

    def notify(self, words: str) -> None:
        """Show a notice."""
        if self._view:
            self._view.notify(words)
        else:
            self._line(words)

    def _on_output_closed(self) -> None:
        """End when nothing more can be printed: ``tickbridge up … | head``, or the terminal is closed."""
        if not self._draining:
            self.stop(0 if isinstance(self._output.error, BrokenPipeError) else 128 + signal.SIGHUP)

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
        view = self._view = TopView(Topology(setup.url), setup.keys, device, title="tickbridge up", empty=_STARTING)
        try:
            await view.run()
        finally:
            self._view = None
        if not view.stopped:
            self.stop(128 + signal.SIGHUP)

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

    def _line(self, words: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {words}")


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
