"""The connectors of a process, each on its own: what ends one of them ends none of the others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

import structlog

from bridge.errors import BridgeError, ConnectorsFailedError
from bridge.feed.policies import backoff

__all__ = ["Supervisor", "first_of"]

Failed = Callable[[str, str], None]


class Supervisor:
    """Runs connectors until all have ended; one that the environment has stopped is started again, ever more seldom.

    It is, as long as another one runs: where none does, the process had better end, and say so by its exit code. A user's
    mistake is not tried again. ``failed`` hears of each failure: the connector's name, and words.
    """

    def __init__(
        self,
        stop: asyncio.Event,
        failed: Failed = lambda *_: None,
        *,
        contained: type[BaseException] = Exception,
    ) -> None:
        self._stop = stop
        self._failed = failed
        self._contained = contained
        """What harms one connector only; everything else ends all of them."""
        self._running: set[str] = set()
        self._none_left = asyncio.Event()
        self._failures: dict[str, BaseException] = {}

    async def run(self, connectors: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        """Run them: name → what runs it once.

        Raises:
            ConnectorsFailedError: some have failed, of several; else what the one has failed with.
        """
        self._running = set(connectors)
        try:
            async with asyncio.TaskGroup() as group:
                for name, start in connectors.items():
                    group.create_task(self._keep(name, start), name=f"connector-{name}")
        except BaseExceptionGroup as failures:
            raise first_of(failures) from None
        finally:
            # Also where this was cancelled: what has failed until then is the more important news.
            if self._failures:
                raise self._error(len(connectors)) from None

    async def _keep(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        waits = backoff(random.Random())  # noqa: S311 - jitter
        next(waits)  # not at once: it has just been tried
        while True:
            try:
                await start()
            except (Exception, BaseExceptionGroup) as error:
                failure = first_of(error)
                if not isinstance(failure, self._contained):
                    raise
            else:
                self._failures.pop(name, None)
                self._running.discard(name)
                return
            delay = self._note(name, failure, next(waits))
            if delay is None or not await self._may_go_on(delay):
                return
            self._running.add(name)

    def _note(self, name: str, failure: BaseException, delay: float) -> float | None:
        """Say what has happened; returns the seconds until it is tried again, ``None`` if it isn't."""
        self._failures[name] = failure
        self._running.discard(name)
        passing = not isinstance(failure, BridgeError) or failure.exit_code != ConnectorsFailedError.MISTAKE
        again = round(delay, 2) if passing and self._running and not self._stop.is_set() else None
        words = str(failure) or type(failure).__name__
        self._failed(name, words)
        structlog.get_logger().error(
            "connector_failed",
            connector=name,
            error=words,
            running=len(self._running),
            **({} if again is None else {"retry_in": again}),
            **({} if isinstance(failure, BridgeError) else {"exc_info": failure}),
        )
        if not self._running:
            self._none_left.set()
        return again

    async def _may_go_on(self, delay: float) -> bool:
        """Wait; whether there is a reason to try again then."""
        ends = [asyncio.create_task(event.wait()) for event in (self._stop, self._none_left)]
        try:
            await asyncio.wait(ends, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        return not (self._stop.is_set() or self._none_left.is_set())

    def _error(self, total: int) -> BaseException:
        failures = self._failures
        if len(failures) == total and len({str(failure) for failure in failures.values()}) == 1:
            return next(iter(failures.values()))
        return ConnectorsFailedError(failures, total)


def first_of(failure: BaseException) -> BaseException:
    """The error to show: one of ours before any other, a group taken apart."""
    flat: list[BaseException] = []
    waiting: list[BaseException] = [failure]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        else:
            flat.append(one)
    return next((one for one in flat if isinstance(one, BridgeError)), flat[0])
