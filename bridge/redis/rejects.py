"""Keeps frames that could not be parsed in Redis, for inspection: the newest thousand, at a limited rate."""

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
"""The rate limit: a hundred at once, then five per second. The rest is only counted."""


class Rejects:
    """Writes the rejects of one connector to ``key``, the stream of its exchange, under its ``lease``."""

    def __init__(self, lease: Lease, key: str, connector: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._lease = lease
        self._key = key
        self._connector = connector
        self._clock = clock
        self._waiting: asyncio.Queue[dict[str, str | int]] = asyncio.Queue(_WAITING)
        self._allowance = float(_BURST)
        self._looked = clock()
        self._omitted_before = 0
        """Frames omitted since the newest one that was queued."""
        self.count = 0
        """Frames that could not be parsed."""
        self.omitted = 0
        """Frames that were not written, because there were too many or Redis was unreachable."""

    def add(self, connection: str, error: FrameError, recv: int) -> None:
        """Count a frame, and queue it unless there are too many."""
        self.count += 1
        if not self._allowed() or self._waiting.full():
            self.omitted += 1
            self._omitted_before += 1
            return
        fields: dict[str, str | int] = {
            "recv": str(recv),
            "connector": self._connector,
            "connection": connection,
            "error": presentable(str(error)),
            "raw": _beginning(error.raw),
            "omitted": self._omitted_before,
        }
        self._omitted_before = 0
        self._waiting.put_nowait(fields)

    async def write(self, pause: float) -> None:
        """Write queued frames, endlessly; after a failure, wait ``pause`` seconds.

        Raises:
            DisplacedError: another process has taken over the connector.
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
        """Wait until all queued frames are written, at most ``patience`` seconds."""
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
    """The first 16 KiB of a frame, without secrets; no more of a large frame is processed."""
    text = bytes(frame[: 2 * LONGEST_TEXT]).decode(errors="backslashreplace")
    return redact(text, LONGEST_TEXT).encode()[:LONGEST_TEXT].decode(errors="ignore")
