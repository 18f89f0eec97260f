"""What a connector with a standby shows of both: which process writes, whether the other could go on, and takeovers."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["Takeovers"]


class Takeovers(Struct):
    """Of one process."""

    count: int = 0
    """How often it has taken over from another one."""
    seconds: float | None = None
    """How long nothing was written at the last one, from the other process's newest entry; ``None`` before the first."""
    writes: bool = False
    """Whether this process has the lease."""
    standby_ready: bool | None = None
    """Whether another process could go on; ``None`` if this one has no standby, or does not write."""

    def took_over(self, seconds: float) -> None:
        """This process writes now; nothing was written for so long."""
        self.count += 1
        self.seconds = seconds

    def numbers(self) -> dict[str, float | None]:
        """The metrics."""
        return {
            "takeovers": self.count,
            "last_takeover_seconds": self.seconds,
            "connector_writes": self.writes,
            "standby_ready": self.standby_ready if self.writes else None,
        }
