"""A child process's output through a pipe into its log, so that it can be left unread for a while."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["LogPipe"]

_CHUNK = 1 << 16


class LogPipe:
    """``write_end`` is for the child; close it here once the child has it. Ends by itself when the child has ended."""

    def __init__(self, log: Path) -> None:
        self._loop = asyncio.get_running_loop()
        self._log = log.open("ab", buffering=0)
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._held = False
        self.release()

    @property
    def closed(self) -> bool:
        """Whether the child has closed its end, and all was read."""
        return self._log.closed

    def hold(self) -> None:
        """Read nothing from now on."""
        if not self.closed and not self._held:
            self._held = True
            self._loop.remove_reader(self._read_end)

    def release(self) -> None:
        """Read on."""
        self._held = False
        if not self.closed:
            self._loop.add_reader(self._read_end, self._read)

    def close(self) -> None:
        """Read what there is, then close."""
        if not self.closed:
            with suppress(OSError):
                while data := os.read(self._read_end, _CHUNK):
                    self._log.write(data)
            self._loop.remove_reader(self._read_end)
            os.close(self._read_end)
            self._log.close()

    def _read(self) -> None:
        try:
            data = os.read(self._read_end, _CHUNK)
        except BlockingIOError:
            return
        if data:
            self._log.write(data)
        else:
            self.close()
