"""How much goes to Redis in one batch."""

from __future__ import annotations

__all__ = ["BatchLimit"]

_ENTRIES = 4096
_BYTES = 1024 * 1024


class BatchLimit:
    """So many entries, of so many bytes of the budget: less after a transfer that broke, more again with each that didn't.

    So a link that can't carry a large batch carries small ones, and of a batch that the server answers by hanging up, the
    entry that it can't bear is alone after some twelve halvings.
    """

    def __init__(self, entries: int = _ENTRIES, size: int = _BYTES) -> None:
        self._most = entries, size
        self.entries, self.bytes = entries, size

    def broke(self, entries: int, size: int) -> None:
        """A batch of so many entries and bytes was on its way when the connection broke."""
        self.entries = max(1, min(self.entries, entries // 2))
        self.bytes = max(1, min(self.bytes, size // 2))

    def passed(self) -> None:
        """A batch was taken."""
        if (self.entries, self.bytes) != self._most:
            most, most_bytes = self._most
            self.entries = min(most, self.entries * 2)
            self.bytes = min(most_bytes, self.bytes * 2)
