"""Runs the demo from start to end."""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from shutil import which

from redis.exceptions import RedisError
from rich.console import RenderableType

from bridge.demo.comparison import settle_and_compare
from bridge.demo.control import UNREACHABLE
from bridge.demo.faults import FAULT_INTERVAL, inject_faults
from bridge.demo.gateway import start_gateway
from bridge.demo.heartbeats import Heartbeats
from bridge.demo.levers import Levers
from bridge.demo.processes import ProcessFailedError
from bridge.demo.recorded import kind_of, sources
from bridge.demo.settings import DemoSettings
from bridge.demo.setup import Setup, set_up
from bridge.demo.showing import Showing
from bridge.demo.summary import Outcome, as_text, failures, summary
from bridge.demo.venue import by_base
from bridge.demo.view.frame import Frame, take_frame
from bridge.demo.view.screen import save_picture, screen
from bridge.demo.watch import Watcher
from bridge.view.device import open_terminal
from bridge.view.terminal import FullScreen
from consumers.reader import Reader
from consumers.service import discover

__all__ = ["run"]

_LOOK_EVERY = 0.25
_DISCOVER_EVERY = 0.5
_PROGRESS_EVERY = 5.0
_START_SECONDS = 60.0
"""Until all books are there: the connectors may still be starting, on a machine that is busy."""
_NOTICES = 50


async def run(settings: DemoSettings) -> int:
    """Run until ``duration`` is over or the user ends it; returns the exit code.

    It is 1 if anything was wrong, 2 if only the picture could not be written.

    Raises:
        ConfigError: the given directory cannot be used.
        BridgeError: there is no server, or a process keeps dying.
    """
    return await Demo(settings).run()


class Demo(Showing):
    """One run."""

    def __init__(self, settings: DemoSettings) -> None:
        super().__init__()
        self._settings = settings
        self._device = open_terminal(sys.stdout.fileno()) if settings.live else None
        self._screen = FullScreen(self._device, self._pressed) if self._device else None
        self._helping = False
        self._unsaved = ""
        """Why there is no picture, if one was asked for."""
        self._shown = deque(by_base(settings.pairs))
        self._notices: deque[tuple[float, str]] = deque(maxlen=_NOTICES)
        self._wallets: dict[tuple[str, str], dict[str, str]] = {}

    async def _run(self) -> int:
        venues = ", ".join(f"{kind_of(exchange)} {exchange} and its connector" for exchange in self._settings.pairs)
        self._say(f"starting: a server, {venues}, the consumers")
        for source, exchanges in sources(self._settings.pairs).items():
            self._say(f"{', '.join(exchanges)}: {source}")
        async with set_up(self._settings, self.notify) as setup, AsyncExitStack() as stack:
            levers = await stack.enter_async_context(Levers(setup.processes, setup.venues))
            setup.page = await start_gateway(setup.processes, setup.environment, setup.venues, levers.url)
            self._processes = setup.processes
            if self._device:
                self._device.on_change = setup.processes.remember_terminal
            reader = await stack.enter_async_context(
                Reader(setup.redis_url, namespace=setup.keys.namespace, block=_LOOK_EVERY)
            )
            watcher = Watcher(reader, self.notify)
            names = [venue.exchange for venue in setup.venues]
            heartbeats = Heartbeats(reader.redis, {name: setup.keys.connector(name) for name in names})
            outcome = await self._watch(setup, reader, watcher, heartbeats)
            wrong = failures(outcome)
            setup.keep = bool(wrong)
        self._say(summary(outcome))
        for line in _what_is_left(setup, kept=self._settings.directory is not None):
            self._say(line)
        if self._unsaved:
            self._say(self._unsaved)
        return 1 if wrong else 2 if self._unsaved else 0

    def _view(self) -> FullScreen | None:
        return self._screen

    async def _watch(self, setup: Setup, reader: Reader, watcher: Watcher, heartbeats: Heartbeats) -> Outcome:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(setup.processes.supervise(child), name=f"supervise {child.name}")
                for child in setup.processes
            ]
            tasks += [
                group.create_task(watcher.follow(), name="read"),
                group.create_task(discover(reader.redis, setup.keys, watcher.found, _DISCOVER_EVERY), name="catalog"),
                group.create_task(self._look(setup, reader, heartbeats), name="look"),
            ]
            await self._until_read(setup, watcher)
            self._began = time.monotonic()
            await self._show(setup, watcher, heartbeats)
            elapsed = self._elapsed()
            self._say("pausing the market, waiting for the streams to catch up, comparing")
            findings, unsettled = await settle_and_compare(
                setup,
                watcher,
                heartbeats=heartbeats,
                redis=reader.redis,
                seconds=self._settings.settle,
            )
            for task in tasks:
                task.cancel()
        return Outcome(self._settings, elapsed, watcher, heartbeats, findings, unsettled)

    async def _until_read(self, setup: Setup, watcher: Watcher) -> None:
        """Wait until all books are valid."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._end.is_set():
            missing = [each for each in self._shown if each not in watcher.keepers or not watcher.keepers[each].valid]
            if not missing:
                return
            if time.monotonic() > deadline:
                name = next(venue.connector for venue in setup.venues if venue.exchange == missing[0].exchange)
                reason = f"delivered no book of {missing[0].pair} within {_START_SECONDS:g} s"
                raise ProcessFailedError(name, reason, setup.processes[name].log)
            await asyncio.sleep(0.05)

    async def _show(self, setup: Setup, watcher: Watcher, heartbeats: Heartbeats) -> None:
        """Show the demo until the duration is over or the user ends it."""
        for line in _locations(setup):
            self._say(line)

        def frame() -> Frame:
            return take_frame(
                setup,
                watcher,
                heartbeats,
                shown=list(self._shown),
                wallets=self._wallets,
                notices=self._notices,
                elapsed=self._elapsed(),
                duration=self._settings.duration,
            )

        def take() -> Callable[[int, int], RenderableType]:
            return partial(screen, frame(), helping=self._helping)

        display = self._live(self._screen, take) if self._screen else self._progress(watcher, heartbeats)
        displaying = asyncio.create_task(display, name="display")
        fault_tasks = self._faults(setup) if self._settings.faults else []
        try:
            ending = asyncio.create_task(self._end.wait(), name="end")
            await asyncio.wait({ending, displaying}, timeout=self._settings.duration, return_when="FIRST_COMPLETED")
            ending.cancel()
            if displaying.done():
                displaying.result()
            if self._settings.picture:
                self._save(frame(), self._settings.picture)
        finally:
            for task in (displaying, *fault_tasks):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            if self._screen:
                await self._screen.close()

    def _save(self, frame: Frame, file: Path) -> None:
        try:
            save_picture(frame, file)
        except OSError as error:
            self._unsaved = f"cannot write {file}: {error.strerror}"

    async def _live(self, view: FullScreen, take: Callable[[], Callable[[int, int], RenderableType]]) -> None:
        """Show the live view, once all earlier output is on the terminal; it would be lost otherwise."""
        await self._output.drain()
        await view.show(take)

    def _faults(self, setup: Setup) -> list[asyncio.Task[None]]:
        """Start injecting faults, at one exchange after the other."""
        step = FAULT_INTERVAL / len(setup.venues)
        return [
            asyncio.create_task(inject_faults(venue, self.notify, place * step), name=f"faults {venue.exchange}")
            for place, venue in enumerate(setup.venues)
        ]

    async def _progress(self, watcher: Watcher, heartbeats: Heartbeats) -> None:
        """Print a line every few seconds."""
        while True:
            await asyncio.sleep(_PROGRESS_EVERY)
            valid = sum(keeper.valid for keeper in watcher.keepers.values())
            self._line(
                f"received {heartbeats.total('received'):,}, published {heartbeats.total('published'):,}, read {watcher.read.total():,}; "
                f"socket to reader {as_text(watcher.lag())}; books valid: {valid} of {len(watcher.keepers)}"
            )

    async def _look(self, setup: Setup, reader: Reader, heartbeats: Heartbeats) -> None:
        """Keep reading the connectors' heartbeats and the wallets' hashes."""
        names: dict[str, dict[str, str]] = {}
        while True:
            with suppress(RedisError, *UNREACHABLE):
                await heartbeats.read()
                for venue in setup.venues:
                    if venue.exchange not in names:
                        # Sub-accounts may be UUIDs in the streams.
                        subjects = await venue.control.subjects(venue.account)
                        names[venue.exchange] = {subject: each["name"] for subject, each in subjects.items()}
                    for subject, shown in names[venue.exchange].items():
                        fields = await reader.redis.hgetall(setup.keys.wallet(venue.exchange, subject))
                        wallet = {str(name): str(value) for name, value in fields.items()}
                        self._wallets[venue.exchange, shown] = wallet
            await asyncio.sleep(_LOOK_EVERY)

    def _pressed(self, key: str) -> None:
        if key in ("q", "Q"):
            self._end.set()
        elif key == "?":
            self._helping = not self._helping
        elif key == "escape":
            self._helping = False
        elif key in ("tab", "right", "down"):
            self._shown.rotate(-1)
        elif key in ("shift-tab", "left", "up"):
            self._shown.rotate(1)

    def notify(self, words: str) -> None:
        """Show a notice."""
        self._notices.append((self._elapsed(), words))
        if not (self._screen and self._screen.open):
            self._line(words)


def _locations(setup: Setup) -> Iterator[str]:
    """Where everything is, for users who want to look closer or kill a process."""
    yield f"  page       {setup.page}"
    yield f"  redis      {setup.redis_address}" + f"  namespace {setup.keys.namespace}" * bool(setup.keys.namespace)
    for venue in setup.venues:
        yield f"  control    {venue.control.url}"
        yield f"  config     {venue.config}"
    yield f"  logs       {setup.directory}"
    for child in setup.processes:
        yield f"  pid        {child.pid:<8} {child.name}"
    yield "to see it recover: kill -9 a pid; to start a connector again yourself:"
    for venue in setup.venues:
        yield f"  {_tickbridge()} run --config {venue.config}"


def _tickbridge() -> str:
    """The command as this user can type it: if installed in a clone's ``.venv``, it may not be on ``PATH``."""
    found = which("tickbridge")
    here = Path(sys.executable).parent
    return "tickbridge" if found and Path(found).parent == here else shlex.join([sys.executable, "-m", "bridge"])


def _what_is_left(setup: Setup, *, kept: bool) -> Iterator[str]:
    """What remains of the paths that were printed."""
    if kept:
        yield f"config, logs and data are in {setup.directory}"
    elif setup.keep:
        yield f"logs and data are kept in {setup.directory}"
        yield "its keys and configs were removed"
    else:
        yield f"{setup.directory} was removed; --dir DIR keeps config, logs and data"
