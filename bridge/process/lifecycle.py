"""Ends a process: in order at the first SIGTERM or SIGINT, at once at the second, and always within a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from types import FrameType
from typing import Any, TypeVar

from bridge.process.output import drain_output

__all__ = ["LONGEST_END", "end_on_signals", "end_tasks", "names_of_tasks", "run_loop", "unless_stopped"]

T = TypeVar("T")

LONGEST_END = 10.0
"""Default limit, in seconds, for a process to end."""
_ONE_SIGNAL = 0.1
"""Seconds within which two signals count as one: ``timeout`` and shells signal the process and then its group."""
_LAST_OUTPUT = 0.2
"""Seconds for logs to be written if the process ends at once."""
_ENVIRONMENT = 2
_ATTEMPTS = 3
_THREAD_ENDS = 0.2
_PATIENCE = 0.5


def end_on_signals(
    stop: Callable[[signal.Signals], None],
    patience: float = LONGEST_END,
    late: Callable[[], None] = lambda: None,
) -> None:
    """From now on, call ``stop`` in the running loop at the first SIGTERM or SIGINT.

    A second signal, more than 0.1 s later, ends the process at once (exit code 128 plus its number), even if the event
    loop is blocked. If the process has not ended ``patience`` seconds after the first signal, because something swallows
    its cancellation or hangs in a thread, ``late`` is called in a thread, and the process ends with exit code 2.

    Call it in the main thread, in a coroutine that `run_loop` runs.
    """
    loop = asyncio.get_running_loop()
    first: list[float] = []
    _threads[:] = threading.enumerate()

    def handle(number: int, _: FrameType | None) -> None:
        if first:
            if time.monotonic() - first[0] > _ONE_SIGNAL:
                _leave(128 + number)
            return
        first.append(time.monotonic())
        deadline = threading.Timer(patience, expire)
        deadline.daemon = True
        deadline.name = "end-deadline"
        deadline.start()
        _deadlines.append(deadline)
        loop.call_soon_threadsafe(stop, signal.Signals(number))

    def expire() -> None:
        with contextlib.suppress(Exception):
            late()
        _leave(_ENVIRONMENT)

    for number in (signal.SIGTERM, signal.SIGINT):
        # The loop's own handler only wakes it; ours also works if the loop is blocked.
        loop.add_signal_handler(number, lambda: None)
        signal.signal(number, handle)


_deadlines: list[threading.Timer] = []
_threads: list[threading.Thread] = []
"""The threads that existed before the loop started."""


def _loop_ended() -> None:
    """Cancel the deadline, unless a thread remains that Python would wait for at exit."""
    for thread in threading.enumerate():
        if not thread.daemon and thread not in _threads and thread is not threading.current_thread():
            thread.join(_THREAD_ENDS)
            if thread.is_alive():
                return
    while _deadlines:
        _deadlines.pop().cancel()


def _leave(code: int) -> None:
    with contextlib.suppress(Exception):
        drain_output(_LAST_OUTPUT, _LAST_OUTPUT)
    os._exit(code)


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], patience: float = _PATIENCE) -> set[asyncio.Task[Any]]:
    """Cancel tasks and wait until they end, up to three times for ``patience`` seconds.

    Once is not enough if a library swallows a cancellation (redis-py on Python 3.11).

    Returns:
        The tasks that have not ended.
    """
    waiting = {task for task in tasks if not task.done()}
    for _ in range(_ATTEMPTS):
        if not waiting:
            break
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=patience)
    return waiting


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Await some work; if ``stop`` is set before it is done, cancel it, and return ``None``."""
    doing = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((doing, stopping), return_when=asyncio.FIRST_COMPLETED)
        return doing.result() if doing.done() else None
    finally:
        await end_tasks((doing, stopping))


def names_of_tasks(loop: asyncio.AbstractEventLoop) -> list[str]:
    """The names of the tasks in a loop, as far as they can be read from another thread."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(RuntimeError):  # the set changed while it was read
            return sorted(task.get_name() for task in asyncio.all_tasks(loop))
    return []


def run_loop(
    main: Coroutine[Any, Any, T],
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    prepare: Callable[[asyncio.AbstractEventLoop], None] = lambda _: None,
) -> T:
    """Run a coroutine like ``asyncio.run``, but do not wait for what does not end after it.

    Tasks that swallow their cancellation are abandoned, and so are threads of the executor (for example one that waits
    for a name server). ``prepare`` is called with the loop before it runs.
    """
    runner = asyncio.Runner(loop_factory=factory)
    loop = runner.get_loop()
    prepare(loop)
    try:
        return runner.run(main)
    finally:
        try:
            left = loop.run_until_complete(_end_rest())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
            _loop_ended()
        for task in left:
            # Python would report at exit that the pending task was destroyed.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001


async def _end_rest() -> set[asyncio.Task[Any]]:
    return await end_tasks(task for task in asyncio.all_tasks() if task is not asyncio.current_task())
