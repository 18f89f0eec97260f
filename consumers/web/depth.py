"""What a client gets of a book if it wants only the best levels: a snapshot of them when they have changed."""

from __future__ import annotations

from consumers.items import split_id
from consumers.web.feed import Feed, passes
from consumers.web.hub import Hub
from consumers.web.records import Batch, notice_json
from consumers.web.subscription import Wish

__all__ = ["DepthSubscription"]

_EVERY = 0.1
"""Seconds between two snapshots of the best levels."""
_LEVELS_EACH = 1_000
"""To find the best levels of a larger book takes longer, so it is done less often in proportion."""


class DepthSubscription:
    """A client's subscription to the best levels of the book of ``feed``."""

    def __init__(self, hub: Hub, feed: Feed, wish: Wish) -> None:
        assert wish.depth is not None
        self.feed = feed
        self.closed = False
        self.position = ""
        self._hub = hub
        self._depth = wish.depth
        self._types = wish.types
        self._number = 0
        self._due = 0.0
        self._waits = False
        self._sent = b""
        """The levels that were sent last; of an invalid book its notice."""

    @property
    def wanted(self) -> None:
        """What it gets depends on the time, so its client is in no cohort."""

    def skip_sent(self) -> None:
        """There is nothing to skip: its client is in no cohort."""

    @property
    def wake_at(self) -> float | None:
        """When to go on although there is no news, by the loop's clock."""
        return self._due if self._waits else None

    async def take(self, batch: Batch) -> None:
        """Add the control entries since the last time, and the book if it has changed and is due."""
        feed = self.feed
        if not feed.ready.is_set():
            return
        if not self.position:
            self._number = feed.end
            batch.add(notice_json(feed.key, "subscribed", id=feed.head_text))
        self._control(batch)
        self._book(batch)
        self.position = feed.head_text

    def _control(self, batch: Batch) -> None:
        """Add control entries and notices; of those no longer in memory the newest control entry."""
        feed = self.feed
        number, self._number = self._number, feed.end
        records = [record for record in feed.records[max(0, number - feed.first) :] if record.kind in ("control", "")]
        left = feed.control if number < feed.first else None
        if left is not None and split_id(self.position) < left.id <= feed.floor:
            records.insert(0, left)
        for record in records:
            if passes(record, self._types):
                batch.add(record.data)

    def _book(self, batch: Batch) -> None:
        feed, keeper, now = self.feed, self.feed.keeper, self._hub.now()
        assert keeper is not None
        self._waits = False
        if not keeper.valid:
            if self._sent != keeper.reason.encode():
                self._sent = keeper.reason.encode()
                batch.add(notice_json(feed.key, "invalid", id=feed.head_text, message=keeper.reason))
            return
        if self._types is not None and "snapshot" not in self._types:
            return
        if now < self._due:
            self._waits = True
            return
        text = feed.snapshot(self._depth)
        levels = text[text.rindex(b'"bids":') :]
        if levels != self._sent:
            self._sent = levels
            batch.add(text)
            self._due = now + _EVERY * max(1.0, (len(keeper.book.bids) + len(keeper.book.asks)) / _LEVELS_EACH)
