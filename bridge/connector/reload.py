"""Reads the config again while connectors run: at SIGHUP, and when its file changes.

Pairs come and go at once, without disturbing others. Whatever else has changed takes a restart, and is named.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from bridge.config import ConnectorSettings, Settings
from bridge.errors import ConfigError

__all__ = ["Reloader", "WatchedFile"]

_LIVE = frozenset({"pairs", "shard", "max_pairs", "refresh_pairs"})
"""Settings of a connector that take effect without a restart."""
_LOOK_EVERY = 2.5
"""Seconds between two looks at the file; what is new at one is read at the next."""


class WatchedFile:
    """A file whose content is looked at now and then, also where links to it are moved: so a ConfigMap is replaced.

    To be made before the file is read: a change while that goes on is one to be noticed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = self._looked = self._digest()

    def read(self) -> None:
        """Its present content is about to be read."""
        self._read = self._digest() or self._read

    def changed(self) -> bool:
        """Whether its content is new, and was the same at the last look: a file that is being written may be half there."""
        before, self._looked = self._looked, self._digest()
        return self._looked == before and self._looked not in (self._read, "")

    def _digest(self) -> str:
        """Of the content; empty if it can't be read now."""
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError:
            return ""


class Reloader:
    """Gives running connectors the settings that a config holds now.

    Args:
        settings: what the process started with.
        running: the names of the connectors that it runs.
        load: reads the config again; raises `ConfigError` for mistakes.
        watched: the config's file, if a change of its content has it read again; ``None``: only a signal does.
    """

    def __init__(
        self,
        settings: Settings,
        running: Collection[str],
        load: Callable[[], Settings],
        watched: WatchedFile | None = None,
    ) -> None:
        self._settings = settings
        self._running = frozenset(running)
        self._load = load
        self._watched = watched
        self._revise: dict[str, Callable[[ConnectorSettings], None]] = {}
        self._due = asyncio.Event()
        self._log = structlog.get_logger()

    def current(self, connector: str) -> ConnectorSettings:
        """The settings in effect of a connector that this process runs."""
        return next(one for one in self._settings.connectors if one.name == connector)

    def serve(self, connector: ConnectorSettings, revise: Callable[[ConnectorSettings], None]) -> None:
        """Have a connector told of its settings when they are read again; at once, if they were since it began."""
        self._revise[connector.name] = revise
        if (current := self.current(connector.name)) != connector:
            revise(current)

    def on_signal(self, hung_up: Callable[[], None]) -> None:
        """Take SIGHUP: read the config again, or, if it means that the terminal is gone, call ``hung_up``."""
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup: it outlives its terminal
        on_terminal = not ignored and any(os.isatty(descriptor) for descriptor in (0, 1, 2) if _is_open(descriptor))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up if on_terminal else self._due.set)

    async def run(self) -> None:
        """Read again whenever it is due, for as long as the task lives."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY if self._watched else None):
                    await self._due.wait()
            if self._due.is_set() or (self._watched and self._watched.changed()):
                self._due.clear()
                self.reload()

    def reload(self) -> None:
        """Read the config, and hand on what has changed; a config with mistakes changes nothing."""
        if self._watched:
            self._watched.read()
        try:
            fresh = self._load()
        except ConfigError as error:
            self._log.error("reload_failed", errors=[str(problem) for problem in error.problems])
            return
        for place in sorted(_differences(self._settings, fresh, self._running)):
            self._log.warning("restart_needed", setting=place)
        before, self._settings = self._settings, _adopted(self._settings, fresh)
        pairs = zip(before.connectors, self._settings.connectors, strict=True)
        changed = [new.name for old, new in pairs if new != old and new.name in self._running]
        kept = {connector.name for connector in fresh.connectors}
        for name, revise in self._revise.items():
            if name in kept:
                # Also where nothing has changed: whoever asks for it wants the exchange's list to be read again.
                revise(self.current(name))
        self._log.info("reloaded", connectors=changed)


def _live(connector: ConnectorSettings) -> dict[str, Any]:
    return {name: getattr(connector, name) for name in sorted(_LIVE)}


def _adopted(settings: Settings, fresh: Settings) -> Settings:
    """The settings in effect: the old ones, with what of the fresh ones needs no restart."""
    by_name = {connector.name: connector for connector in fresh.connectors}
    connectors = [
        one.model_copy(update=_live(by_name[one.name])) if one.name in by_name else one for one in settings.connectors
    ]
    return settings.model_copy(update={"connectors": type(settings.connectors)(connectors)})


def _differences(before: Settings, fresh: Settings, running: Collection[str]) -> Iterator[str]:
    """The paths of settings that differ, and take a restart of a process that runs these connectors."""
    for name in type(before).model_fields:
        if name != "connectors" and getattr(before, name) != getattr(fresh, name):
            yield name
    old = {connector.name: connector for connector in before.connectors}
    new = {connector.name: connector for connector in fresh.connectors}
    # Started again with the same arguments, a process that runs some by name doesn't run a new one.
    added = new.keys() - old.keys() if old.keys() == set(running) else set()
    for name in added | {name for name in running if name not in new}:
        yield f"connectors.{name}"
    for name in new.keys() & running:
        for field in type(old[name]).model_fields:
            if field not in _LIVE and getattr(old[name], field) != getattr(new[name], field):
                yield f"connectors.{name}.{field}"


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
