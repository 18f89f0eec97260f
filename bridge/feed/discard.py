"""A receiver without streams behind it: for recording, and for trying a connection."""

from __future__ import annotations

from collections.abc import Sequence

from structlog.typing import FilteringBoundLogger

from bridge.exchange_errors import ExchangeError, FrameError
from bridge.exchanges.api import Restated, Subscription
from bridge.feed.supervisor import FeedSupervisor
from bridge.model import Event

__all__ = ["Discard"]


class Discard:
    """Takes everything that a feed brings, and keeps nothing."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self.supervisors: list[FeedSupervisor] = []

    def event(self, event: Event) -> None:
        del event

    def opened(self, streams: Sequence[Subscription], since: int) -> None:
        del streams, since

    def down(self, streams: Sequence[Subscription], reason: str) -> None:
        del streams, reason

    def stale(self, stream: Subscription, reason: str) -> bool:
        del stream, reason
        return False

    def last(self, stream: Subscription) -> int:
        """Nothing is known of any stream, so none can have been silent."""
        del stream
        return 1 << 63

    def restated(self, state: Restated) -> None:
        del state

    def rejected(self, connection: str, error: FrameError, recv: int) -> None:
        del recv
        self._log.warning("frame_rejected", connection=connection, error=str(error))

    def unknown(self, kind: str) -> None:
        del kind

    def fault(self, error: ExchangeError) -> None:
        del error
