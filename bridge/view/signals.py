"""Signals of a program with a view."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["on_signals"]


@contextmanager
def on_signals(
    *, interrupt: Callable[[], object], abandon: Callable[[], object], hang_up: Callable[[], object]
) -> Iterator[None]:
    """Call these in the running loop: ``interrupt`` at SIGINT and SIGTERM, ``abandon`` at SIGQUIT, ``hang_up`` at SIGHUP.

    Under nohup, SIGHUP remains ignored.
    """
    loop = asyncio.get_running_loop()
    actions: dict[signal.Signals, Callable[[], object]] = {
        signal.SIGINT: interrupt,
        signal.SIGTERM: interrupt,
        signal.SIGQUIT: abandon,
    }
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        actions[signal.SIGHUP] = hang_up
    with ExitStack() as stack:
        for number, action in actions.items():
            loop.add_signal_handler(number, action)
            stack.callback(loop.remove_signal_handler, number)
        yield
