"""What a Coinbase connection has asked for and is still owed: requests, refusals, and when to ask again.

Requests bear no number. In traffic each is answered once, in order: by the list of all present subscriptions, or by an
error. So what a list has newly in it answers the oldest request that asked for it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping

from msgspec import Struct

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.coinbase.messages import NAME, Subscriptions
from bridge.exchanges.toolkit.numbers import SECOND

__all__ = [
    "LONGEST_WAIT",
    "RETRY",
    "Breaks",
    "Memory",
    "Refusal",
    "Request",
    "Requests",
    "error_of",
    "jitter",
    "listed_in",
]

RETRY = 60 * SECOND
"""Between attempts at what the exchange refuses."""
LONGEST_WAIT = 60 * SECOND
"""Between two attempts to mend a book that breaks again and again."""
_CALM = 180 * SECOND
"""After so long without trouble a book that breaks is mended at once again."""
_NOT_LOGGED_IN = "authentication failure"
_LEFT_OUT = 3 * SECOND
"""How long what an answer left out may still come."""
_MOST_KEPT = 1_000
_RATE = re.compile(r"rate.?limit|too many (requests|messages)", re.IGNORECASE).search
_INVALID = re.compile(r"not a valid product|invalid product|unknown product|product not found", re.IGNORECASE).search
_WORD = re.compile(r"[A-Z0-9][A-Z0-9-]*").findall

Key = tuple[str, str]
"""A channel of the exchange's and a product."""


class Request(Struct):
    """A subscribe message that was sent at ``at`` (ns), with those of its products that are not answered yet."""

    channel: str
    products: list[str]
    at: int
    fresh: bool = False
    """Whether its products were subscribed before: only the snapshot answers it."""
    part_at: int | None = None
    """When an answer left out what is not answered yet."""


class Refusal(Struct):
    """Why a product is not served on a channel, and when to ask again (``None``: it has been asked for, or is halted)."""

    reason: str
    retry_at: int | None
    standing: bool = False
    """Whether the exchange may still have it as subscribed: then it is unsubscribed before it is asked for again."""


class Memory:
    """What the sessions of one planned connection, one after the other, remember."""

    def __init__(self) -> None:
        self.refused: dict[Key, str] = {}
        """What the exchange refused last: one such product would have a whole group refused."""
        self.replaced = False
        """Whether a new connection has been tried for want of snapshots, and no snapshot has come since."""


class Requests:
    """The requests of one connection that are not answered in full, oldest first.

    One that was answered by data stays, without products, until the list comes that belongs to it.
    """

    def __init__(self) -> None:
        self._waiting: list[Request] = []

    def __bool__(self) -> bool:
        return any(request.products for request in self._waiting)

    @property
    def settled(self) -> bool:
        """Whether every answer has come: a list that comes now is none."""
        return not self._waiting

    def add(self, channel: str, products: Iterable[str], now: int, *, fresh: bool = False) -> None:
        """A subscribe message is sent."""
        self._waiting.append(Request(channel, list(products), now, fresh))

    def clear(self) -> None:
        """Forget them all."""
        self._waiting.clear()

    def keys(self) -> list[Key]:
        """What answers are awaited about."""
        return [(request.channel, product) for request in self._waiting for product in request.products]

    def answered(self, channel: str, product: str) -> None:
        """The product is served, as its data shows, or nothing more is awaited about it."""
        for request in self._waiting:
            if request.channel == channel and product in request.products:
                request.products.remove(product)
        self._waiting = self._waiting[-_MOST_KEPT:]

    def acknowledged(self, listed: Mapping[str, Collection[str]], now: int, *, other: bool) -> None:
        """A list of subscriptions came; ``other``: it answers a request that isn't among these."""
        matched = None
        for request in self._waiting:
            there = listed.get(request.channel, ())
            if not request.fresh and any(product in there for product in request.products):
                request.products = [product for product in request.products if product not in there]
                request.part_at = now
                matched = request
        if matched is not None:
            at = self._waiting.index(matched)
            self._waiting = [r for r in self._waiting[:at] if r.products] + self._waiting[at:]
            if not matched.products:
                self._waiting.remove(matched)
        elif not other:
            self._answer_oldest(now)

    def _answer_oldest(self, now: int) -> None:
        """A list with nothing new in it: of what data has answered before, or all that was asked for is left out."""
        oldest = next((r for r in self._waiting if not r.products), None)
        if oldest is not None:
            self._waiting.remove(oldest)
            return
        oldest = next((r for r in self._waiting if not r.fresh), None)
        if oldest is not None and oldest.part_at is None:
            oldest.part_at = now

    def blame(self, words: str, names: Collection[str]) -> tuple[Request, list[str]] | None:
        """The request that an error is about, taken out, and those of its products that the error names.

        One that names another of ``names``, all that may be asked for, is about none of these.
        """
        waiting = [request for request in self._waiting if request.products]
        if not waiting:
            return None
        named = set(_WORD(words[:1000]))
        found = next((request for request in waiting if not named.isdisjoint(request.products)), None)
        if found is None and not named.isdisjoint(names):
            return None
        if found is None:
            hinted = [r for r in waiting if r.channel in words or (r.channel == "level2" and "L2" in words)] or waiting
            found = next((request for request in hinted if request.part_at is None), hinted[0])
        self._waiting.remove(found)
        return found, [product for product in found.products if product in named]

    def left_out(self, now: int) -> list[Key]:
        """What an answer has left out, some seconds ago; it is awaited no more."""
        return self._take(lambda r: r.part_at is not None and now - r.part_at > _LEFT_OUT)

    def overdue(self, now: int, limit: int, since: int) -> list[Key]:
        """What nothing has been heard of for ``limit`` ns, counted from ``since`` at the earliest; awaited no more."""
        return self._take(lambda r: now - max(r.at, since) > limit)

    def clock_back(self, now: int) -> None:
        """Our clock was set back: nothing has been waited for yet."""
        for request in self._waiting:
            request.at = min(request.at, now)
            if request.part_at is not None:
                request.part_at = min(request.part_at, now)

    def _take(self, is_due: Callable[[Request], bool]) -> list[Key]:
        due = [request for request in self._waiting if is_due(request)]
        self._waiting = [request for request in self._waiting if request not in due]
        return [(request.channel, product) for request in due for product in request.products]


class Breaks:
    """How long to wait before a book that has broken is fetched anew: not at all, or ever longer if it breaks again."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[int, int]] = {}
        """Product → how often its book has broken of late, and when it did last."""

    def wait(self, product: str, now: int) -> int:
        """The wait (ns), now that the book has broken."""
        count, at = self._of.get(product, (0, now))
        if not 0 <= now - at <= _CALM:
            count = 0
        self._of[product] = (min(count + 1, 10), now)
        return jitter(min(SECOND << (count - 1), LONGEST_WAIT), product) if count else 0


def error_of(words: str) -> ReportedError:
    """The kind of an error, as far as its words show."""
    if words == _NOT_LOGGED_IN:
        return ReportedError(NAME, words, ErrorKind.LOGIN_REFUSED)
    if _RATE(words):
        return ReportedError(NAME, words, ErrorKind.TOO_MANY_REQUESTS)
    return ReportedError(NAME, words, ErrorKind.UNKNOWN_MARKET if _INVALID(words) else ErrorKind.REPORTED)


def listed_in(message: Subscriptions, asked_as: Mapping[str, str]) -> dict[str, set[str]]:
    """Channel → products of a list of all present subscriptions, as they were asked for; it comes after each change.

    ``{"channel":"subscriptions","timestamp":"2026-08-09T21:05:48.229148053Z","sequence_num":5,"events":[
    {"subscriptions":{"candles":["ETH-USD","BTC-USD"],"market_trades":["ETH-USD","BTC-USD"]}}]}``
    """
    listed: dict[str, set[str]] = {}
    for event in message.events:
        for channel, names in event.subscriptions.items():
            listed.setdefault(channel, set()).update(asked_as[name] for name in names if name in asked_as)
            if channel == "heartbeats":
                listed[channel].add(channel)
    return listed


def jitter(wait: int, product: str) -> int:
    """The wait, longer or shorter by up to a fifth: always the same for one product, another one for each."""
    return wait * (80 + zlib.crc32(product.encode()) % 41) // 100
