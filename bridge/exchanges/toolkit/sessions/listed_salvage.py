"""What of a bad message a session over listed subscriptions still serves."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

from msgspec import Raw

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Output, Reject
from bridge.exchanges.toolkit.sessions.listed_requests import Key
from bridge.exchanges.toolkit.sessions.listed_session import ListedSession
from bridge.exchanges.toolkit.values.salvage import WRONG, Damage

__all__ = ["SalvagingSession"]

_MOST_BAD = 100
"""Rows of one frame that may be bad; beyond, the rest is left out unread."""


class SalvagingSession(ListedSession):
    """Serves a bad message row by row; a bad row is a ``gap`` of its own streams alone."""

    @abstractmethod
    def _take(self, message: bytes, recv: int, out: list[Output]) -> None:
        """Add a message's events to ``out``.

        Raises:
            one of `WRONG`: it can't be understood.
        """

    @abstractmethod
    def _product_of(self, row: Raw) -> str | None:
        """The product that a row is about, as it is asked for; empty for another one, ``None`` where that can't be read."""

    @abstractmethod
    def _may_be_snapshot(self, row: Raw) -> bool:
        """Whether a row that can't be understood may have been the snapshot that a topic begins with."""

    def _salvage(
        self, channel: str, pieces: Iterable[tuple[Raw | None, bytes]], frame: bytes, recv: int, error: Exception
    ) -> list[Output]:
        """Serve what can be read; ``pieces`` are the rows, each with the message as it were with this row alone.

        ``None`` in place of a row: they can't be told apart.
        """
        damage = Damage(self._exchange, frame)
        out: list[Output] = []
        broken: list[Key] = []
        bad = 0
        unread: set[str | None] = set()
        """Products of rows that nobody has looked at."""
        for row, alone in pieces:
            wrong, kept = error, len(out)
            if row is not None and bad <= _MOST_BAD:
                try:
                    self._take(alone, recv, out)
                    continue
                except WRONG as found:
                    del out[kept:]
                    wrong = found
            product = None if row is None else self._product_of(row)
            if bad > _MOST_BAD and product in unread:
                continue
            if bad > _MOST_BAD:
                unread.add(product)
            bad += 1
            keys = [key for key in self._streams if key[0] == channel and product in (None, key[1])]
            if channel == self._whole and row is not None and self._may_be_snapshot(row):
                for key in keys:  # it is asked for when it is late, where it is refused
                    if key not in self._refused:
                        self._awaited.pop(key, None)
            if keys:
                hurt = [key for key in keys if not self._misses_nothing(key)]
                damage.row(wrong, [stream for key in hurt for stream in self._streams[key]], kept, row or b"")
            broken += keys
        if not bad:  # what is wrong with it is nothing that was needed
            return [Reject(FrameError(self._exchange, frame, str(error))), *out]
        out = damage.settle(self, out, recv)
        return [*out, *self._renew(broken, recv)] if broken and channel == self._whole else out

    def _misses_nothing(self, key: Key) -> bool:
        """Whether a topic begins anew anyway, or is not served."""
        return self._is_pending(key) if key[0] == self._whole else key in self._refused
