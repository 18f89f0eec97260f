"""What one client gets of one stream: where it is, and how it goes on from there.

A subscription has a position, an entry ID. While everything after it is in the feed's memory, entries come from there;
otherwise they are read from Redis, page by page, until they are. The seams show neither a hole nor a duplicate, because
both sides are ordered by ID.
"""

from __future__ import annotations

from msgspec import Struct

from bridge.model import BOOKS, NEWEST_ONLY, Channel
from consumers.items import split_id
from consumers.web.feed import Feed, passes
from consumers.web.hub import Hub, RefusedStreamError
from consumers.web.records import Batch, EntryId, entry_json, notice_json

__all__ = ["CONFLATED", "Subscription", "Wish"]

CONFLATED = BOOKS | NEWEST_ONLY
"""The channels whose newest state says all that their older entries did."""
_STATES = frozenset({"snapshot", "delta", *(str(channel).rstrip("s") for channel in NEWEST_ONLY)})

_LATE = 1.0
"""Seconds for which the oldest entry that a client has not taken may wait before its stream is conflated."""
_FAR = 2_000
"""A client that resumes with a conflated stream is given the newest state if it is behind by more entries than this."""
_RETRY = 5.0
_FIRST_PAGE, _LARGEST_PAGE = 8, 256
"""Entries of the first read from Redis, and of the largest: as many as fit into an array, which is known after the first."""


class Wish(Struct, frozen=True):
    """What a client asks for; ``after`` is ``now``, ``start``, ``snapshot`` or an entry ID, ``types`` ``None`` for all."""

    after: str = "now"
    types: frozenset[str] | None = None
    conflate: bool = False
    depth: int | None = None


class Subscription:
    """A client's subscription to ``feed``, which it has opened."""

    def __init__(self, hub: Hub, feed: Feed, wish: Wish) -> None:
        self.feed = feed
        self.closed = False
        self.position = ""
        """The ID after which the client goes on; empty before the subscription has begun."""
        self._hub = hub
        self._types = wish.types
        self._after = wish.after
        self._conflate = wish.conflate and (wish.types is None or not wish.types.isdisjoint(_STATES))
        self._number: int | None = None
        """The number of the feed's record that comes next; ``None``: entries are read from Redis."""
        self._expected: int | None = None
        """The ``seq`` that comes next, while that has to be checked here."""
        self._current = False
        """Whether the client has once had everything."""
        self._page = _FIRST_PAGE
        self._refused = ""
        self._retry_at = 0.0

    @property
    def wake_at(self) -> float | None:
        """When to go on although there is no news, by the loop's clock."""
        return self._retry_at if self._refused else None

    @property
    def wanted(self) -> tuple[str, frozenset[str] | None] | None:
        """The stream and the types of entries, once the client has everything of it; before, ``None``."""
        return (self.feed.key, self._types) if self.position and self._number == self.feed.sent else None

    def skip_sent(self) -> None:
        """Go on after what the feed has sent, which the client has got in another way."""
        self.position, self._number, self._expected, self._current = self.feed.sent_text, self.feed.sent, None, True

    async def take(self, batch: Batch) -> None:
        """Add what comes next to the array, as far as there is room."""
        if self._hub.now() < self._retry_at:
            return
        try:
            if not self.position and not await self._begin(batch):
                return
            if self._number is None:
                await self._read(batch)
        except RefusedStreamError as error:
            if str(error) != self._refused:
                batch.add(notice_json(self.feed.key, "unreadable", message=error))
            self._refused, self._retry_at = str(error), self._hub.now() + _RETRY
            return
        self._refused, self._retry_at = "", 0.0
        if self._number is not None:
            self._live(batch, self._number)

    # --- the beginning ------------------------------------------------------------------------------------------------

    async def _begin(self, batch: Batch) -> bool:
        """Begin, unless the feed is not as far as it has to be; the client is woken by each of its entries."""
        feed, reset = self.feed, False
        if not feed.ready.is_set():
            return False
        if self._after in ("now", "snapshot"):
            self.position, self._number, self._current = feed.head_text, feed.end, True
        elif self._after == "start":
            self.position = "0-0"
        elif split_id(self._after) <= feed.head:
            self._go_back(self._after)
        elif split_id(self._after) <= await self._hub.tail(feed):
            return False
        else:
            # The stream ends before what this client has: it was deleted, or Redis has lost entries.
            reset = True
            self.position, self._number, self._current = feed.head_text, feed.end, True
        batch.add(notice_json(feed.key, "subscribed", id=self.position))
        if feed.unreadable:
            batch.add(notice_json(feed.key, "unreadable", message=feed.unreadable))
        if self._after == "snapshot":
            for data in self._state():
                batch.add(data)
        elif reset:
            batch.add(notice_json(feed.key, "reset", before=""))
        return True

    def _go_back(self, entry_id: str) -> None:
        """Go on after an entry that may not be in memory."""
        seq = split_id(entry_id)[1]
        self.position, self._number = entry_id, None
        self._expected = seq + 1 if seq else None

    # --- from Redis ---------------------------------------------------------------------------------------------------

    async def _read(self, batch: Batch) -> None:
        feed, position = self.feed, split_id(self.position)
        if self._may_jump and feed.head[1] - position[1] > _FAR:
            self._jump(batch)
        elif feed.covers(position):
            self._join(batch, position)
        else:
            await self._read_page(batch)
            batch.more = True

    async def _read_page(self, batch: Batch) -> None:
        feed = self.feed
        page = await self._hub.page(feed, self.position, self._page)
        # What the feed has not read yet will come from it.
        page = [(entry_id, fields) for entry_id, fields in page if split_id(entry_id) <= feed.head]
        if not page and not feed.covers(split_id(self.position)):
            # All that was there before the entries in memory has been removed.
            expected, (_, seq) = self._expected, feed.floor
            if expected is not None and seq >= expected:
                batch.add(notice_json(feed.key, "trimmed", count=seq - expected + 1, before=self._next_id()))
            self._go_back(f"{feed.floor[0]}-{feed.floor[1]}")
        for place, (entry_id, fields) in enumerate(page):
            seq = split_id(entry_id)[1]
            if self._expected not in (None, seq):
                await self._report(batch, entry_id, seq)
            if self._types is None or fields.get("type") in self._types:
                data = entry_json(feed.json_head, entry_id, fields)
                if not batch.fits(len(data)):
                    self._page = place + 1
                    return
                batch.add(data)
            self.position, self._expected = entry_id, seq + 1
        self._page = min(_LARGEST_PAGE, 2 * self._page)

    async def _report(self, batch: Batch, entry_id: str, seq: int) -> None:
        """Say what is missing before an entry that was read from Redis."""
        key, expected = self.feed.key, self._expected
        assert expected is not None
        if seq < expected:
            batch.add(notice_json(key, "reset", before=entry_id))
        else:
            trimmed = await self._hub.is_oldest(self.feed, entry_id)
            batch.add(notice_json(key, "trimmed" if trimmed else "hole", count=seq - expected, before=entry_id))
        self._expected = seq

    def _join(self, batch: Batch, position: EntryId) -> None:
        """Go on from memory. The feed has checked what comes between its entries, but not what comes before the first."""
        feed = self.feed
        number = self._number = feed.number_after(position)
        if number < feed.end and self._expected is not None:
            record = feed.records[number - feed.first]
            missing = record.id[1] - self._expected
            if record.kind and missing:
                name, count = ("hole", missing) if missing > 0 else ("reset", None)
                batch.add(notice_json(feed.key, name, count=count, before=record.text_id))
        self._expected = None
        self._current = self._current or number == feed.end

    def _next_id(self) -> str:
        return next((record.text_id for record in self.feed.records if record.kind), "")

    # --- from memory --------------------------------------------------------------------------------------------------

    def _live(self, batch: Batch, number: int) -> None:
        feed = self.feed
        if number == feed.end:
            self._current = True
            return
        if self._may_jump and self._is_late(number):
            self._jump(batch)
            return
        if number < feed.first:
            self._go_back(self.position)
            batch.more = True
            return
        if self._types is None and batch.fits(feed.size_from(number)):
            batch.add(feed.text_from(number))
            self.position, self._number, self._current = feed.head_text, feed.end, True
            return
        for record in feed.records[number - feed.first :]:
            if passes(record, self._types):
                if not batch.fits(len(record.data)):
                    batch.more = True
                    return
                batch.add(record.data)
            self._number = number = number + 1
            if record.kind:
                self.position = record.text_id
        self._current = True

    @property
    def _may_jump(self) -> bool:
        """Whether entries may be left out: not while the client reads all that there is, as it asked to."""
        return self._conflate and (self._current or self._after != "start")

    def _is_late(self, number: int) -> bool:
        """Whether this client takes entries more slowly than they come."""
        feed = self.feed
        if number < feed.first:
            return True
        oldest = feed.records[number - feed.first]
        if not self._current:
            return feed.head[1] - oldest.id[1] > _FAR
        return feed.end - number > 1 and self._hub.now() - oldest.at > _LATE

    def _jump(self, batch: Batch) -> None:
        """Leave out entries, and go on with the newest state."""
        feed, position = self.feed, split_id(self.position)
        state = self._state(position)
        left_out = feed.head[1] - position[1] - (len(state) if feed.keeper is None else 0)
        if left_out > 0:
            batch.add(notice_json(feed.key, "conflated", count=left_out, before=feed.head_text))
            self._hub.conflated += 1
        for data in state:
            batch.add(data)
        self.position, self._number, self._current = feed.head_text, feed.end, True
        self._expected = None

    def _state(self, after: EntryId = (0, 0)) -> list[bytes]:
        """The newest state, as far as it is newer than an ID: the newest control entry, and the book or the newest entry."""
        feed = self.feed
        records = [feed.control] if feed.keeper else [feed.control, feed.newest]
        fresh = [record for record in records if record and record.id > after and passes(record, self._types)]
        state = [record.data for record in sorted(fresh, key=lambda record: record.id)]
        if feed.keeper and (self._types is None or "snapshot" in self._types or not feed.keeper.valid):
            state.append(state_of_book(feed))
        return state


def state_of_book(feed: Feed) -> bytes:
    """The whole book as a snapshot, or a notice that it is invalid."""
    keeper = feed.keeper
    assert keeper is not None
    if keeper.valid:
        return feed.snapshot()
    return notice_json(feed.key, "invalid", id=feed.head_text, message=keeper.reason)


def wants_conflation(channel: Channel, asked: bool | None) -> bool:
    """Whether a stream of this channel is conflated, if the client says ``asked`` (``None``: nothing).

    Raises:
        ValueError: it asks for what the channel does not allow.
    """
    if asked and channel not in CONFLATED:
        names = ", ".join(sorted(CONFLATED))
        raise ValueError(f"conflate is for {names}; of {channel} every entry is sent")
    return channel in CONFLATED if asked is None else asked
