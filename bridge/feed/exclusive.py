"""Which process of a connector has the connections that an exchange allows an account only once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["ExclusiveAccess"]


class ExclusiveAccess:
    """Says whether this process may open them: as long as nobody gives a reason why not.

    Who has opened one closes it once access is `withheld`, and is then no longer among those that have it in use.
    """

    def __init__(self) -> None:
        self._reasons: dict[str, None] = {}
        self._allowed = asyncio.Event()
        self._allowed.set()
        self._withheld = asyncio.Event()
        self._closed = asyncio.Event()
        self._closed.set()
        self._users = 0
        self.withheld_for = ""
        """The newest reason; empty while access is allowed. It stays while there is an older one."""

    def withhold(self, reason: str) -> None:
        """Let them be closed, and not be opened until this reason, and any other, is no longer true."""
        self._reasons.setdefault(reason)
        self._look()

    def allow(self, reason: str) -> None:
        """This reason is no longer true, if it was."""
        self._reasons.pop(reason, None)
        self._look()

    async def allowed(self) -> None:
        """Wait until this process may have them."""
        await self._allowed.wait()

    async def withheld(self) -> None:
        """Wait until this process has to close them."""
        await self._withheld.wait()

    async def closed(self) -> None:
        """Wait until none is in use."""
        await self._closed.wait()

    @contextmanager
    def used(self) -> Iterator[None]:
        """One is in use within this block."""
        self._users += 1
        self._closed.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._closed.set()

    def _look(self) -> None:
        self.withheld_for = next(reversed(self._reasons), "")
        for event, is_so in ((self._withheld, bool(self._reasons)), (self._allowed, not self._reasons)):
            if is_so:
                event.set()
            else:
                event.clear()
