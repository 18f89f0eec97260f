"""The door of a simulated exchange: it can refuse handshakes and REST calls for a while."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from msgspec import Struct

from bridge.simulator.faults import Fault

__all__ = ["Gate", "Refusal"]

_FOREVER = float("inf")


class Refusal(Struct, frozen=True):
    """What a caller is told instead: HTTP status, and seconds to wait."""

    status: int
    retry_after: float


class _Closed(Struct, frozen=True):
    refusal: Refusal
    path: str
    until: float


class Gate:
    """``clock`` is monotonic, in seconds; ``done`` counts refusals by fault."""

    def __init__(self, clock: Callable[[], float], done: Counter[str]) -> None:
        self._clock = clock
        self._done = done
        self._closed: dict[str, list[_Closed]] = {"refuse": [], "rest_errors": []}

    def strike(self, fault: Fault) -> None:
        """Close for ``fault.duration`` seconds (0: until cleared)."""
        usual = 503 if fault.fault == "refuse" else 500
        until = self._clock() + fault.duration if fault.duration else _FOREVER
        refusal = Refusal(fault.status or usual, fault.retry_after)
        self._closed[fault.fault].append(_Closed(refusal, fault.path, until))

    def clear(self) -> None:
        """Open again."""
        for closed in self._closed.values():
            closed.clear()

    def handshake(self) -> Refusal | None:
        """How a WebSocket handshake is refused, if it is."""
        return self._ask("refuse", "")

    def rest(self, path: str) -> Refusal | None:
        """How a REST call is refused, if it is."""
        return self._ask("rest_errors", path)

    def active(self) -> list[str]:
        """The faults at work."""
        now = self._clock()
        return [name for name, closed in self._closed.items() if any(now < each.until for each in closed)]

    def _ask(self, name: str, path: str) -> Refusal | None:
        now = self._clock()
        self._closed[name] = [closed for closed in self._closed[name] if now < closed.until]
        for closed in reversed(self._closed[name]):
            if closed.path in path:
                self._done[name] += 1
                return closed.refusal
        return None
