"""Nonces for signed REST calls: the time, and yet rising with every call."""

from __future__ import annotations

__all__ = ["Nonces"]


class Nonces:
    """Nonces in one unit of time (ns); an exchange takes none that isn't above the last."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._last = 0

    def next(self, now: int) -> str:
        """The time in this unit, or one more than the last nonce."""
        self._last = max(self._last + 1, now // self._unit)
        return str(self._last)
