"""Order books that are fetched by REST while their deltas come over the connection (`BookRules.snapshot`)."""

from __future__ import annotations

from collections.abc import Callable

from bridge.exchanges.api import Fetch, Flow, Output
from bridge.model import BookSnapshot

__all__ = ["SnapshotFetches"]


class SnapshotFetches:
    """The books that one connection's session is fetching: one request per pair at a time.

    ``fetch`` is the conversation for a pair's snapshot, whose ``recv`` is that of the answer. Where it fails, nothing is
    to be done: the failure is logged and counted, and the book is asked for again, ever later.
    """

    def __init__(self, fetch: Callable[[str], Flow[BookSnapshot]]) -> None:
        self._fetch = fetch
        self._running: set[str] = set()

    def begin(self, subject: str) -> list[Output]:
        """What `Session.resync` returns; nothing while this pair's book is being fetched: it may wait for its turn."""
        if subject in self._running:
            return []
        self._running.add(subject)
        return [Fetch(self._converse(subject), f"the book of {subject}")]

    def _converse(self, subject: str) -> Flow[list[Output]]:
        try:
            return [(yield from self._fetch(subject))]
        finally:
            self._running.discard(subject)
