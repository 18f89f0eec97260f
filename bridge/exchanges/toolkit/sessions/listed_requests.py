"""Requests without ids, each answered by a list of all present subscriptions or by an error that names no request.

Answers come once per request, in order. So what is new in a list answers the oldest request that asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec import Struct

from bridge.exchanges.toolkit.values.numbers import SECOND

__all__ = ["Key", "ListedRequests", "Request"]

_LEFT_OUT = 3 * SECOND
"""How long what an answer left out may still come."""
_MOST_KEPT = 1_000

Key = tuple[str, str]
"""A topic: a channel of the exchange's, and the product as it is asked for."""


class Request(Struct, eq=False):
    """A subscribe message, sent at ``at`` (ns), with those of its topics that are not answered yet."""

    keys: list[Key]
    at: int
    renewed: bool
    """Whether its topics were subscribed before: then a list shows nothing, only their snapshots do."""
    part_at: int | None = None
    """When an answer left out what is not answered yet."""


class ListedRequests:
    """The requests of one connection that are not answered in full, oldest first.

    One that was answered by data is kept, without topics, until the list comes that belongs to it.
    """

    def __init__(self) -> None:
        self._waiting: list[Request] = []

    @property
    def settled(self) -> bool:
        """Whether every answer has come: a list that comes now answers nothing."""
        return not self._waiting

    def add(self, keys: Collection[Key], now: int, *, renewed: bool) -> None:
        """A subscribe message is sent, for topics of one channel."""
        self._waiting.append(Request(list(keys), now, renewed))

    def clear(self) -> None:
        """Forget them all."""
        self._waiting.clear()

    def keys(self) -> list[Key]:
        """The topics that answers are awaited about."""
        return [key for request in self._waiting for key in request.keys]

    def answered(self, key: Key) -> None:
        """The topic is served, as its data shows, or nothing more is awaited about it."""
        for request in self._waiting:
            if key in request.keys:
                request.keys.remove(key)
        self._waiting = self._waiting[-_MOST_KEPT:]

    def listed(self, present: Collection[Key], now: int, *, other: bool) -> None:
        """A list of subscriptions came; ``other``: it may answer a request that isn't among these."""
        matched = None
        for request in self._waiting:
            if not request.renewed and any(key in present for key in request.keys):
                request.keys = [key for key in request.keys if key not in present]
                request.part_at = now
                matched = request
        if matched is not None:
            at = self._waiting.index(matched)
            self._waiting = [r for r in self._waiting[:at] if r.keys] + self._waiting[at if matched.keys else at + 1 :]
        elif not other:
            self._answer_oldest(now)

    def _answer_oldest(self, now: int) -> None:
        """A list with nothing new answers what data has answered before; else all that was asked for is left out."""
        oldest = next((request for request in self._waiting if not request.keys), None)
        if oldest is not None:
            self._waiting.remove(oldest)
            return
        oldest = next((request for request in self._waiting if not request.renewed), None)
        if oldest is not None and oldest.part_at is None:
            oldest.part_at = now

    def blame(self, products: Collection[str], channels: Collection[str], others: Collection[str]) -> Request | None:
        """Take out the request that an error is about, by the products and channels that the error names.

        ``others`` are all products that may be asked for: an error that names only such as are not awaited is about no
        request.
        """
        waiting = [request for request in self._waiting if request.keys]
        found = next((r for r in waiting if any(product in products for _, product in r.keys)), None)
        if not waiting or (found is None and any(product in products for product in others)):
            return None
        if found is None:
            hinted = [request for request in waiting if request.keys[0][0] in channels] or waiting
            found = next((request for request in hinted if request.part_at is None), hinted[0])
        self._waiting.remove(found)
        return found

    def left_out(self, now: int) -> list[Key]:
        """What an answer has left out, some seconds ago; it is awaited no more."""
        return self._take(lambda request: request.part_at is not None and now - request.part_at > _LEFT_OUT)

    def overdue(self, now: int, limit: int, since: int) -> list[Key]:
        """What nothing has been heard of for ``limit`` ns, counted from ``since`` at the earliest; awaited no more."""
        return self._take(lambda request: now - max(request.at, since) > limit)

    def clock_back(self, now: int) -> None:
        """Our clock was set back: nothing has been waited for yet."""
        for request in self._waiting:
            request.at = min(request.at, now)
            request.part_at = None if request.part_at is None else min(request.part_at, now)

    def _take(self, is_due: Callable[[Request], bool]) -> list[Key]:
        due = [request for request in self._waiting if is_due(request)]
        self._waiting = [request for request in self._waiting if request not in due]
        return [key for request in due for key in request.keys]
