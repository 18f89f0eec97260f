"""Streams that Redis refuses to read: they are left out of reads, so that the others continue, and retried later."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from redis import exceptions

from consumers.blocking import BlockingReaders

__all__ = ["RefusedStreams", "all_forbidden"]

_log = logging.getLogger(__name__)

_RETRY_AFTER = 5.0
"""Seconds until a stream is retried."""


class RefusedStreams:
    """The refused streams of one reader. ``key in refused_streams`` while a stream is left out; ``clock`` is in seconds."""

    def __init__(self, blocking: BlockingReaders, clock: Callable[[], float]) -> None:
        self._blocking = blocking
        self._clock = clock
        self._due: dict[str, float] = {}
        self._words: dict[str, str] = {}
        """Key → the error last reported, until the stream is read again."""

    def __contains__(self, key: str) -> bool:
        return key in self._due

    @property
    def retry_in(self) -> float | None:
        """Seconds until the next stream is retried; ``None`` if none is left out."""
        return max(0.0, min(self._due.values()) - self._clock()) if self._due else None

    def add(self, key: str, error: BaseException) -> str:
        """Leave a stream out of reads; returns the error message, or ``""`` if it was reported before."""
        self._blocking.remove(key)
        self._due[key] = self._clock() + _RETRY_AFTER
        words = str(error)
        if self._words.get(key) == words:
            return ""
        self._words[key] = words
        _log.warning("%s cannot be read, tried again every %g s: %s", key, _RETRY_AFTER, words)
        return words

    def retry_due(self) -> None:
        """Add the streams whose time has come to the next read."""
        for key in [key for key, due in self._due.items() if due <= self._clock()]:
            del self._due[key]
            self._blocking.add(key)

    def mark_readable(self, keys: Iterable[str]) -> None:
        """Log that streams reported as unreadable have been read."""
        if self._words:
            for key in [key for key in keys if key in self._words and key not in self._due]:
                del self._words[key]
                _log.warning("%s can be read again", key)

    def discard(self, key: str) -> None:
        """Forget a stream that is no longer wanted."""
        self._due.pop(key, None)
        self._words.pop(key, None)


def all_forbidden(refused: Mapping[str, BaseException], keys: Iterable[str], left_out: RefusedStreams) -> bool:
    """Whether every stream is refused for lack of permission, so that waiting would not help."""
    rights = all(isinstance(error, exceptions.NoPermissionError) for error in refused.values())
    return bool(refused) and rights and all(key in refused or key in left_out for key in keys)
