"""Frames that could not be understood, kept in Redis for somebody to look at: the newest thousand, and not all of a storm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from redis.asyncio.client import Pipeline

from bridge.exchange_errors import FrameError
from bridge.printable import LONGEST_TEXT
from bridge.redaction import presentable, redact
from bridge.redis.errors import FAILURES
from bridge.redis.lease import Lease

__all__ = ["Rejects"]

_KEPT = 1_000
_WAITING = 200
_BURST = 100
_PER_SECOND = 5.0
"""What is written of a storm: a hundred at once, then five a second. The rest is counted."""


class Rejects:
    """The rejects of one connector, on their way to ``key``, the stream of its exchange, behind its ``lease``."""

    def __init__(self, lease: Lease, key: str, connector: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._key = key
        self._connector = connector
        self._clock = clock
        self._waiting: asyncio.Queue[dict[str, str | int]] = asyncio.Queue(_WAITING)
        self._allowance = float(_BURST)
        self._looked = clock()
        self._unsaid = 0
        """Frames left out since the newest one that is written, or waits to be."""
        self.count = 0
        """Frames that could not be understood."""
        self.omitted = 0
        """Those of them that are not written, because there were too many or Redis took none."""

    def add(self, connection: str, error: FrameError, recv: int) -> None:
        """Count a frame, and have it written unless there are too many of them."""
        self.count += 1
        if not self._allowed() or self._waiting.full():
            self.omitted += 1
            self._unsaid += 1
            return
        fields: dict[str, str | int] = {
            "recv": str(recv),
            "connector": self._connector,
            "connection": connection,
            "error": presentable(str(error)),
            "raw": _beginning(error.raw),
            "omitted": self._unsaid,
        }
        self._unsaid = 0
        self._waiting.put_nowait(fields)

    async def write(self, pause: float) -> None:
        """Write them as they come, for as long as the task lives; ``pause`` is in seconds, after Redis took none.

        Raises:
            DisplacedError: another process has taken this one's place.
        """
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            while True:
                try:
                    await self._lease.write(self._key, partial(self._put, batch))
                    break
                except FAILURES:
                    await asyncio.sleep(pause)
            for _ in batch:
                self._waiting.task_done()

    def _put(self, batch: list[dict[str, str | int]], pipe: Pipeline) -> None:
        for fields in batch:
            pipe.xadd(self._key, fields, maxlen=_KEPT, approximate=True)  # type: ignore[arg-type]

    async def drained(self, patience: float = 1.0) -> None:
        """Wait until all that are to be written are, for ``patience`` seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._waiting.join()

    def _allowed(self) -> bool:
        now = self._clock()
        self._allowance = min(float(_BURST), self._allowance + (now - self._looked) * _PER_SECOND)
        self._looked = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True


def _beginning(frame: bytes) -> str:
    """The first 16 KiB of a frame, without secrets; of one of megabytes, no more is looked at than that."""
    text = bytes(frame[: 2 * LONGEST_TEXT]).decode(errors="backslashreplace")
    return redact(text, LONGEST_TEXT).encode()[:LONGEST_TEXT].decode(errors="ignore")
