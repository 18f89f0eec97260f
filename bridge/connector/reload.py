"""Reads the config again while connectors run: at SIGHUP, and when its file changes.

Pairs come and go at once, without disturbing others. Whatever else has changed takes a restart, and is named.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog

from bridge.config import ConnectorSettings, Settings
from bridge.errors import ConfigError

__all__ = ["Reloader"]

_LIVE = frozenset({"pairs", "shard", "max_pairs", "refresh_pairs"})
"""Settings of a connector that take effect without a restart."""
_LOOK_EVERY = 5.0
"""Seconds between two looks at the file."""


class Reloader:
    """Gives running connectors the settings that a config holds now.

    Args:
        settings: what they started with.
        load: reads the config again; raises `ConfigError` for mistakes.
        watched: a file whose content is looked at every few seconds; ``None``: only a signal has it read again.
    """

    def __init__(self, settings: Settings, load: Callable[[], Settings], watched: Path | None = None) -> None:
        self._settings = settings
        self._load = load
        self._watched = watched
        self._revise: dict[str, Callable[[ConnectorSettings], None]] = {}
        self._due = asyncio.Event()
        self._log = structlog.get_logger()

    def serve(self, connector: str, revise: Callable[[ConnectorSettings], None]) -> None:
        """Have a running connector told of its settings when they were read again."""
        self._revise[connector] = revise

    def on_signal(self, hung_up: Callable[[], None]) -> None:
        """Take SIGHUP: read the config again, or, if it means that the terminal is gone, call ``hung_up``."""
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup: it outlives its terminal
        on_terminal = not ignored and any(os.isatty(descriptor) for descriptor in (0, 1, 2) if _is_open(descriptor))
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hung_up if on_terminal else self._due.set)

    async def run(self) -> None:
        """Read again whenever it is due, for as long as the task lives."""
        seen = _digest(self._watched)
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY if self._watched else None):
                    await self._due.wait()
            except TimeoutError:
                if _digest(self._watched) in (seen, ""):
                    continue
            self._due.clear()
            seen = _digest(self._watched) or seen
            self.reload()

    def reload(self) -> None:
        """Read the config, and hand on what has changed; a config with mistakes changes nothing."""
        try:
            fresh = self._load()
        except ConfigError as error:
            self._log.error("reload_failed", errors=[str(problem) for problem in error.problems])
            return
        for place in sorted(set(_differences(self._settings, fresh, self._revise))):
            self._log.warning("restart_needed", setting=place)
        known = {connector.name: connector for connector in self._settings.connectors}
        changed = []
        for connector in fresh.connectors:
            before = known.get(connector.name)
            if before and connector.name in self._revise:
                changed += [connector.name] if _live(before) != _live(connector) else []
                # Also where nothing has changed: whoever asks for it wants the exchange's list to be read again.
                self._revise[connector.name](before.model_copy(update=_live(connector)))
        self._settings = _adopted(self._settings, fresh)
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


def _differences(before: Settings, fresh: Settings, running: Mapping[str, object]) -> Iterator[str]:
    """The paths of settings that differ, and take a restart."""
    for name in type(before).model_fields:
        if name != "connectors" and getattr(before, name) != getattr(fresh, name):
            yield name
    old = {connector.name: connector for connector in before.connectors}
    new = {connector.name: connector for connector in fresh.connectors}
    for name in old.keys() ^ new.keys():
        if name in running or name in new:
            yield f"connectors.{name}"
    for name in old.keys() & new.keys():
        for field in type(old[name]).model_fields:
            if field not in _LIVE and getattr(old[name], field) != getattr(new[name], field):
                yield f"connectors.{name}.{field}"


def _digest(path: Path | None) -> str:
    """Of the file's content; empty if it can't be read now: a ConfigMap is replaced by moving links."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path else ""
    except OSError:
        return ""


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
