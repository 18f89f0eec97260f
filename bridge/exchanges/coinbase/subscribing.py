"""The subscriptions of one Coinbase connection: asking, being refused, asking again, books that need a fresh snapshot.

What the exchange doesn't serve concerns that product on that channel alone: its streams are ``down`` with the reason,
and it is asked for again about once a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.api import Reconnect, Said, Send, Session, Subscription
from bridge.exchanges.coinbase.messages import CHANNELS, LEVEL2, NAME, Subscriptions
from bridge.exchanges.coinbase.products import Listing, Names
from bridge.exchanges.coinbase.requests import (
    LONGEST_WAIT,
    RETRY,
    Breaks,
    Memory,
    Refusal,
    Requests,
    error_of,
    jitter,
    listed_in,
)
from bridge.exchanges.toolkit.numbers import SECOND
from bridge.model import Channel, Event

__all__ = ["SubscribingSession"]

_LIMIT = 30 * SECOND
"""How long an answer or a full book may take, a frame of 6 MB; counted from the last full book that was awaited."""
_LIMIT_IN_ALL = 10 * _LIMIT
_AFTER_SILENCE = RETRY - _LIMIT
"""Between a request that was given up for want of an answer, and the next: a minute after it was sent."""
_MOST_A_MINUTE = 120
"""Requests a minute for what is refused, each by itself: with more of them, each is asked for more rarely."""
_AFTER_RATE = 5 * SECOND
"""Before a request is sent again that was one too many."""
_WORDS = 300
_ENDED = "the exchange has ended the subscription"


class SubscribingSession(Session):
    """Asks for some pairs and channels, and knows which of them are served."""

    def __init__(
        self,
        url: str,
        pairs: tuple[str, ...],
        channels: frozenset[Channel],
        listing: Listing | None = None,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(url)
        self._listing = listing or Listing()
        self._listed = self._listing.version
        self._memory = memory or Memory()
        self._channels = channels
        self._streams = [Subscription(channel, pair) for channel in sorted(channels) for pair in pairs]
        self._wire = tuple(dict.fromkeys(CHANNELS[channel] for channel in sorted(channels)))
        self._names = Names(pairs, self._listing)
        self._asked_as, self._pairs_of = self._names.asked_as, self._names.pairs_of
        self._requests = Requests()
        self._refusals: dict[tuple[str, str], Refusal] = {}
        self._halted: set[str] = set()
        """Products that the list has as halted."""
        self._postponed: list[tuple[int, str, list[str]]] = []
        """When to send which requests again."""
        self._awaited: dict[str, int] = {}
        """Products whose snapshot has been asked for, and since when."""
        self._fresh: dict[str, int] = {}
        """Products whose book is to be asked for anew, and when."""
        self._breaks = Breaks()
        self._book_at = 0
        """When the last snapshot came that was awaited."""
        self._answered = False
        """Whether the exchange has answered anything on this connection."""
        self._unsettled: set[tuple[str, str]] = set()
        """What is asked for, or refused: its data is news about that."""
        self._present: set[tuple[str, str]] = set()
        """What the newest list of subscriptions has."""
        self._ticked = 0

    def connected(self, now: int) -> None:
        """Subscribe: one message per channel, within 5 seconds of connecting (else the exchange hangs up).

        What was refused before, or is halted, would have the whole message refused: it is asked for later, by itself.
        """
        self._ticked = now
        self.ready = False
        self._refusals = {
            key: Refusal(reason, now + jitter(RETRY, key[1])) for key, reason in self._memory.refused.items()
        }
        products = self._names.products
        self._listed = -1 if self._listing.in_trouble(products) else self._listing.version
        for channel in self._wire:
            group = [
                product
                for product in products
                if (channel, product) not in self._refusals and not self._listing.in_trouble([product])
            ]
            self._ask(channel, group, now)
        self.actions.append(Send('{"type":"subscribe","channel":"heartbeats"}'))

    def tick(self, now: int) -> Sequence[Event]:
        """What is late is given up or asked for again, by itself; a connection that answers nothing is replaced."""
        if now < self._ticked:
            self._clock_back(now)
        self._ticked = now
        events: list[Event] = []
        if self._listed != self._listing.version:
            self._listed = self._listing.version
            events += self._compare_list(now)
        for channel, product in self._requests.left_out(now):
            events += self._left_out(channel, product, now)
        late = self._requests.overdue(now, _LIMIT, self._book_at)
        if late and not self._answered:
            self._requests.clear()
            self._awaited.clear()
            self.actions.append(Reconnect(f"no answer to the subscription within {_LIMIT // SECOND} s"))
            return events
        for channel, product in late:
            if channel != LEVEL2:
                words = f"no answer to the subscription within {_LIMIT // SECOND} s"
                events += self._refuse(
                    channel, product, now, ReportedError(NAME, words, ErrorKind.TOPIC_LEFT_OUT), wait=_AFTER_SILENCE
                )
        events += self._late_books(now)
        self._ask_again(now)
        return events

    def resync(self, subject: str, now: int, reason: str) -> None:
        """Have the next tick unsubscribe and subscribe this pair's book: the exchange answers with the full book."""
        del reason
        product = self._names.product(subject) if LEVEL2 in self._wire else None
        if product is not None and product not in self._awaited and (LEVEL2, product) not in self._refusals:
            self._fresh.setdefault(product, now)

    # --- what the exchange says ------------------------------------------------------------------------------------

    def _acknowledged(self, message: Subscriptions, recv: int, events: list[Event]) -> None:
        """The list of all present subscriptions, which answers a request, or says that one has ended."""
        self._answered = True
        listed = listed_in(message, self._asked_as)
        present = {(channel, product) for channel, products in listed.items() for product in products}
        ended = self._present - present if self._requests.settled else set()
        self._present = present
        self._requests.acknowledged(listed, recv, other="heartbeats" in listed)
        for channel, products in listed.items():
            for product in products:
                if (channel, product) in self._refusals and channel != LEVEL2:
                    self._take_back(channel, product)
        for channel in self._wire:
            served = [p for p in listed.get(channel, ()) if (channel, p) not in self._refusals]
            events += self.lively([s for p in served for s in self._streams_of(channel, p)], recv)
        for channel, product in sorted(ended.difference(self._refusals)):
            if product in self._names.products:
                events += self._refuse(channel, product, recv, ReportedError(NAME, _ENDED, ErrorKind.TOPIC_LEFT_OUT))
        self._settle()

    def _seen(self, channel: str, name: str) -> None:
        """Data has come: the product is served on this channel."""
        product = self._asked_as[name]
        if (channel, product) not in self._unsettled:
            return
        self._answered = True
        self._requests.answered(channel, product)
        self._take_back(channel, product)
        self._settle()

    def _said(self, words: str, recv: int) -> list[Event]:
        """An error, which names no request and often no product.

        A group of products is refused as a whole where one of them is: it is asked for again without the one that the
        error names, else in halves, until those are found that are refused by themselves.

        ``{"type":"error","message":"too many L2 streams requested in a single session"}``
        """
        words = words[:_WORDS]
        blamed = self._requests.blame(words, self._asked_as)
        error = error_of(words)
        if blamed is None or error.kind is ErrorKind.TOO_MANY_REQUESTS:
            self.actions.append(Said(error))
            if blamed is not None:
                self._postponed.append((recv + _AFTER_RATE, blamed[0].channel, blamed[0].products))
            return []
        self._answered = True
        request, named = blamed
        products = request.products
        events: list[Event] = []
        refused = named or (products if len(products) == 1 or error.kind is ErrorKind.LOGIN_REFUSED else [])
        for product in refused:
            events += self._refuse(request.channel, product, recv, error_of(words))
        rest = [product for product in products if product not in refused]
        half = len(rest) if named else (len(rest) + 1) // 2
        for part in (rest[:half], rest[half:]):
            self._ask(request.channel, part, recv)
        self._settle()
        return events

    # --- what is not served ----------------------------------------------------------------------------------------

    def _refuse(
        self, channel: str, product: str, now: int, error: ReportedError, wait: int | None = RETRY
    ) -> list[Event]:
        """The product isn't served on this channel; ``wait`` (ns) until it is asked for again, ``None``: not by itself."""
        key, reason = (channel, product), error.message
        known = self._refusals.get(key)
        if known is None or known.reason != reason:  # one that is asked for again, and refused again, is said once
            error.topic = f"{channel}:{product}"
            self.actions.append(Said(error, f"no {channel} of {', '.join(self._pairs_of[product])}"))
        crowd = max(1, len(self._refusals) // _MOST_A_MINUTE)
        retry_at = None if wait is None else now + jitter(wait * crowd, product)
        self._refusals[key] = Refusal(reason, retry_at)
        self._memory.refused[key] = reason
        self._requests.answered(channel, product)
        if channel == LEVEL2:
            self._awaited.pop(product, None)
            self._fresh.pop(product, None)
        self._settle()
        return [] if known else self.dead(self._streams_of(channel, product), now, reason)

    def _take_back(self, channel: str, product: str) -> None:
        """What was refused is served: its data shows it, or (of a book, only its snapshot does) an acknowledgement."""
        if self._refusals.pop((channel, product), None) is not None:
            self._memory.refused.pop((channel, product), None)

    def _left_out(self, channel: str, product: str, now: int) -> list[Event]:
        """An answer left this out: it is served under its second name, or not at all."""
        other = self._names.second(product)
        if other and (channel, other) not in self._refusals:
            return self._serve_as(product, other, now)
        words = "the exchange left it out of its acknowledgement"
        return self._refuse(channel, product, now, ReportedError(NAME, words, ErrorKind.TOPIC_LEFT_OUT))

    def _serve_as(self, product: str, other: str, now: int) -> list[Event]:
        """The exchange serves ``product`` under the name of ``other``, which is asked for as well."""
        for channel in self._wire:
            self._requests.answered(channel, product)
            self._refusals.pop((channel, product), None)
            self._memory.refused.pop((channel, product), None)
        self._awaited.pop(product, None)
        self._fresh.pop(product, None)
        self._names.serve_as(product, other)
        if LEVEL2 in self._wire:
            self._break([other], now)
        self._settle()
        return [event for channel in self._wire for event in self.lively(self._streams_of(channel, other), now)]

    def _late_books(self, now: int) -> list[Event]:
        """Books whose snapshot is late: asked for once more, then ``down`` and asked for about once a minute.

        Where no book at all comes, although it was asked for twice, a new connection is tried, once.
        """
        late = [
            product
            for product, since in self._awaited.items()
            if now - max(since, self._book_at) > _LIMIT or now - since > _LIMIT_IN_ALL
        ]
        if not late:
            return []
        reason = f"no snapshot within {_LIMIT // SECOND} s"
        again = [product for product in late if (LEVEL2, product) in self._refusals]
        good = [p for p in self._names.products if p not in again and (LEVEL2, p) not in self._refusals]
        if again and not good and not self._memory.replaced:
            self._memory.replaced = True
            for product in again:
                self._memory.refused.pop((LEVEL2, product), None)
            self._awaited.clear()
            self.actions.append(Reconnect(f"no snapshot of any pair within {_LIMIT // SECOND} s, twice"))
            return []
        events: list[Event] = []
        for product in late:
            wait = _AFTER_SILENCE if (LEVEL2, product) in self._refusals else 0
            events += self._refuse(
                LEVEL2, product, now, ReportedError(NAME, reason, ErrorKind.TOPIC_LEFT_OUT), wait=wait
            )
            self._refusals[LEVEL2, product].standing = True
        return events

    def _compare_list(self, now: int) -> list[Event]:
        """The product list has been read: what it doesn't have, or has as halted, is ``down``; what is back is asked for.

        What it doesn't have is asked for all the same, now and then: the list may be older than the pair.
        """
        events: list[Event] = []
        for product in self._names.products:
            unknown, halted = self._listing.unknown(product), self._listing.halted(product)
            for channel in self._wire:
                known = self._refusals.get((channel, product))
                if halted and product not in self._halted:
                    events += self._refuse(channel, product, now, ReportedError(NAME, halted), wait=None)
                    self._refusals[channel, product].standing = channel == LEVEL2
                elif unknown and known is None and not self._is_served(channel, product):
                    events += self._refuse(
                        channel, product, now, ReportedError(NAME, unknown, ErrorKind.UNKNOWN_MARKET)
                    )
                elif not halted and product in self._halted and known is not None:
                    known.retry_at = now
            (self._halted.add if halted else self._halted.discard)(product)
        return events

    def _is_served(self, channel: str, product: str) -> bool:
        return all(stream in self._live for stream in self._streams_of(channel, product))

    # --- asking ----------------------------------------------------------------------------------------------------

    def _ask(self, channel: str, products: Sequence[str], now: int, *, fresh: bool = False) -> None:
        if not products:
            return
        if channel == LEVEL2:
            self._awaited.update(dict.fromkeys(products, now))
        self._requests.add(channel, products, now, fresh=fresh)
        self._send("subscribe", channel, products)
        self._settle()

    def _ask_again(self, now: int) -> None:
        """What is due: one refused product, requests that were too many, and all books that need a snapshot, in one."""
        due = [
            key for key, refusal in self._refusals.items() if refusal.retry_at is not None and refusal.retry_at <= now
        ]
        if due:
            channel, product = key = due[0]
            self._refusals[key].retry_at = None
            if self._refusals[key].standing:
                self._send("unsubscribe", channel, [product])
            self._ask(channel, [product], now)
        for postponed in [row for row in self._postponed if row[0] <= now]:
            self._postponed.remove(postponed)
            self._ask(postponed[1], postponed[2], now)
        self._fetch_books(now)

    def _fetch_books(self, now: int) -> None:
        """Unsubscribe and subscribe all books that are due, in one message each."""
        due = [product for product, at in self._fresh.items() if at <= now]
        if due:
            for product in due:
                del self._fresh[product]
            self._send("unsubscribe", LEVEL2, due)
            self._ask(LEVEL2, due, now, fresh=True)

    def _break(self, products: Iterable[str], now: int) -> None:
        """These books are no good: fetch them anew, at once, or ever later where that happens again and again."""
        for product in products:
            if product in self._awaited or product in self._fresh or (LEVEL2, product) in self._refusals:
                continue
            self._fresh[product] = now + self._breaks.wait(product, now)
        self._fetch_books(now)

    def _came(self, name: str, recv: int) -> None:
        """The snapshot of a book has come."""
        product = self._asked_as[name]
        if self._awaited.pop(product, None) is not None:
            self._book_at = recv
            self._memory.replaced = False
        if self._unsettled:
            self._seen(LEVEL2, name)

    def _send(self, kind: str, channel: str, products: Sequence[str]) -> None:
        request = {"type": kind, "product_ids": products, "channel": channel}
        self.actions.append(Send(msgspec.json.encode(request).decode()))

    # --- streams ---------------------------------------------------------------------------------------------------

    def _is_refused(self, stream: Subscription) -> bool:
        """Whether a stream isn't served."""
        return (CHANNELS[stream.channel], self._names.product(stream.subject)) in self._refusals

    def _is_broken(self, product: str) -> bool:
        """Whether a book awaits its snapshot, or is about to be asked for."""
        return product in self._awaited or product in self._fresh

    def _streams_of(self, channel: str, product: str) -> list[Subscription]:
        """The streams that a product feeds over a channel."""
        pairs = self._pairs_of[product]
        return [s for s in self._streams if CHANNELS[s.channel] == channel and s.subject in pairs]

    def _settle(self) -> None:
        self.ready = self.ready or (not self._requests and not self._postponed)
        self._unsettled = {*self._requests.keys(), *self._refusals}
        if Channel.BOOK in self._channels:
            self.unserved = {
                pair for channel, product in self._refusals if channel == LEVEL2 for pair in self._pairs_of[product]
            }

    def _clock_back(self, now: int) -> None:
        """Our clock was set back: what is waited for is waited for from now on."""
        self._requests.clock_back(now)
        self._book_at = min(self._book_at, now)
        self._awaited = {product: min(since, now) for product, since in self._awaited.items()}
        self._fresh = {product: min(at, now + LONGEST_WAIT) for product, at in self._fresh.items()}
        self._postponed = [(min(at, now + _AFTER_RATE), *what) for at, *what in self._postponed]  # type: ignore[misc]
        for refusal in self._refusals.values():
            if refusal.retry_at is not None:
                refusal.retry_at = min(refusal.retry_at, now + RETRY)
