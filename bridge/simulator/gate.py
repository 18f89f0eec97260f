"""Refuses handshakes and REST calls of a simulated exchange, or accepts them and stays silent, for some time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from bridge.simulator.faults import Fault

__all__ = ["Gate", "Refusal"]

_FOREVER = float("inf")
_BLOCK = 600.0
_USUAL = {"refuse": 503, "block": 400, "maintenance": 503, "rest_errors": 500}
_HANDSHAKE = ("block", "refuse", "maintenance")
_REST = ("rest_errors", "maintenance")


class Refusal(Struct, frozen=True):
    """The refusal: HTTP status, and seconds to wait (0: not given)."""

    status: int
    retry_after: float


class _Closed(Struct, frozen=True):
    refusal: Refusal
    path: str
    until: float


class Gate:
    """Applies refusals. ``clock`` is monotonic, in seconds; ``done`` counts refusals by fault."""

    def __init__(self, clock: Callable[[], float], done: Counter[str]) -> None:
        self._clock = clock
        self._done = done
        self._closed: dict[str, list[_Closed]] = {name: [] for name in _USUAL}
        self._silent_until = 0.0

    def strike(self, fault: Fault) -> None:
        """Refuse, or stay silent, for ``fault.duration`` seconds (0: until cleared; a block: 10 minutes)."""
        duration = fault.duration or (_BLOCK if fault.fault == "block" else _FOREVER)
        until = self._clock() + duration
        if fault.fault == "maintenance" and fault.mode == "silent":
            self._silent_until = until
            return
        retry_after = 0.0 if fault.fault == "block" else fault.retry_after
        refusal = Refusal(fault.status or _USUAL[fault.fault], retry_after)
        self._closed[fault.fault].append(_Closed(refusal, fault.path, until))

    def clear(self) -> None:
        """Stop refusing."""
        self._silent_until = 0.0
        for closed in self._closed.values():
            closed.clear()

    def handshake(self) -> Refusal | None:
        """How a WebSocket handshake is refused, if it is."""
        return self._ask(_HANDSHAKE, "")

    def rest(self, path: str) -> Refusal | None:
        """How a REST call is refused, if it is."""
        return self._ask(_REST, path)

    @property
    def silence(self) -> float | None:
        """The remaining seconds of silence (0: until cleared), or ``None``."""
        left = self._silent_until - self._clock()
        if left <= 0:
            return None
        return 0.0 if left == _FOREVER else left

    def active(self) -> list[str]:
        """The active faults."""
        now = self._clock()
        names = {name for name, closed in self._closed.items() if any(now < each.until for each in closed)}
        return sorted(names | ({"maintenance"} if self.silence is not None else set()))

    def _ask(self, names: tuple[str, ...], path: str) -> Refusal | None:
        now = self._clock()
        for name in names:
            self._closed[name] = [closed for closed in self._closed[name] if now < closed.until]
            for closed in reversed(self._closed[name]):
                if closed.path in path:
                    self._done[name] += 1
                    return closed.refusal
        return None
