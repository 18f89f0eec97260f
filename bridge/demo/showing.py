"""What ``tickbridge demo`` and ``tickbridge up`` have in common: they start processes, and show them until they are ended.

The end comes when the time is up, by a key, by a signal, or when nobody reads the output any more.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from abc import ABC, abstractmethod
from typing import NoReturn, Protocol

from bridge.connector.supervisor import first_of
from bridge.demo.processes import Processes
from bridge.view.output import Output, notices_from_logs
from bridge.view.signals import on_signals

__all__ = ["Showing", "View"]


class View(Protocol):
    """What is on the terminal."""

    def abandon(self) -> None:
        """Restore the terminal at once."""


class Showing(ABC):
    """One run. Notices go to standard output, or to the view while it is open.

    Once all is started, ``_processes`` are what is to be ended; ``_view`` is what is on the terminal, if anything is.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._end = asyncio.Event()
        self._main = asyncio.current_task()
        self._processes: Processes | None = None
        self._output = Output(self._on_output_closed)
        self._say = self._output.say
        self._draining = False
        self._stopped: int | None = None
        """The exit code, if it was stopped before its end."""

    async def run(self) -> int:
        """Run until it is ended; returns the exit code.

        Raises:
            BridgeError: whatever the command cannot do without is missing, or a process keeps dying.
        """
        signals = on_signals(interrupt=self._interrupt, abandon=self._abandon, hang_up=self._hang_up)
        with signals, notices_from_logs(self.notify):
            try:
                return await self._run()
            except asyncio.CancelledError:
                if self._stopped is None:
                    raise
                return self._stopped
            except BaseExceptionGroup as failed:
                raise first_of(failed) from None
            finally:
                # Until all output is written, or nothing more can be; a signal ends the wait.
                self._draining = True
                await self._output.drain()

    @abstractmethod
    async def _run(self) -> int:
        """Start everything, show it until ``_end``, end everything; returns the exit code."""

    @abstractmethod
    def _view(self) -> View | None:
        """What is on the terminal."""

    @abstractmethod
    def notify(self, words: str) -> None:
        """Show a notice."""

    def _finish(self) -> None:
        """End in order."""
        self._end.set()

    def _stop(self, code: int) -> None:
        """End in order, with this exit code, but without a comparison and a summary, which nobody would read."""
        self._end.set()
        if self._stopped is None and self._main:
            self._stopped = code
            self._main.cancel()

    def _interrupt(self) -> None:
        """Handle a signal: the first ends it in order, the second at once."""
        if self._end.is_set() or self._draining:
            self._abandon()
        self._finish()
        if self._processes is None:
            self._stop(128 + signal.SIGINT)

    def _abandon(self) -> NoReturn:
        """End at once; the guardian ends the processes."""
        if view := self._view():
            view.abandon()
        if self._processes:
            self._processes.abandon()
        os._exit(128 + signal.SIGINT)

    def _hang_up(self) -> None:
        """Handle SIGHUP: the terminal is closed."""
        if self._draining:
            self._abandon()
        self._stop(128 + signal.SIGHUP)

    def _on_output_closed(self) -> None:
        """End when nothing more can be printed: ``… | head``, or the terminal is closed."""
        if not self._draining:
            self._stop(0 if isinstance(self._output.error, BrokenPipeError) else 128 + signal.SIGHUP)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _line(self, words: str) -> None:
        self._say(f"{self._elapsed():6.1f} s  {words}")
