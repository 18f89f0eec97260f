"""A session whose requests are answered by lists of all present subscriptions, and refused as a whole.

For exchanges whose answers have no ID; where they have one, use `TopicSession`. What the exchange refuses, leaves out or
ends concerns that topic alone: its streams are ``down`` with the reason, and it is asked for again about once a minute.
Topics of one channel begin with a snapshot: they are subscribed again if it does not arrive, or if they break.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterable, Sequence

from bridge.exchange_errors import ErrorKind, ReportedError
from bridge.exchanges.api import Output, Reconnect, Said, Send, Session, Subscription
from bridge.exchanges.toolkit.pairs.product_list import ProductList
from bridge.exchanges.toolkit.sessions.listed_requests import Key, ListedRequests
from bridge.exchanges.toolkit.timing.waiting import spread
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.model import Channel

__all__ = ["ListedMemory", "ListedSession"]

_RETRY = 60 * SECOND
"""Between attempts at what the exchange refuses."""
_LIMIT = 30 * SECOND
"""How long an answer or a snapshot (of megabytes) may take, counted from the last snapshot that was awaited."""
_LIMIT_IN_ALL = 10 * _LIMIT
_NO_ANSWER = f"no answer to the subscription within {_LIMIT // SECOND} s"
_NO_SNAPSHOT = f"no snapshot within {_LIMIT // SECOND} s"
_LEFT_OUT = "the exchange left it out of its acknowledgement"
_ENDED = "the exchange has ended the subscription"
_AFTER_SILENCE = _RETRY - _LIMIT
"""Between a request that was given up for want of an answer, and the next: a minute after it was sent."""
_MOST_A_MINUTE = 120
"""Requests a minute for what is refused, each by itself: with more of them, each is asked for more rarely."""
_AFTER_RATE = 5 * SECOND
"""Before a request is sent again that was one too many."""
_CALM = 180 * SECOND
"""After so long without trouble a topic that breaks is renewed at once again."""
_LONGEST_WAIT = 60 * SECOND
"""Between two renewals of a topic that breaks again and again."""


class ListedMemory:
    """What the sessions of one planned connection, one after the other, remember."""

    def __init__(self) -> None:
        self.refused: dict[Key, str] = {}
        """What the newest of them isn't served, and why: one such topic would have a whole group refused."""
        self.replaced = False
        """Whether a new connection has been tried for want of snapshots, and no snapshot has come since."""


class ListedSession(Session):
    """Asks for its topics, and knows which of them are served.

    Args:
        exchange: its name, for errors.
        url: where the connection goes.
        streams: topic → the streams that it feeds.
        listing: what the exchange's list says of the products.
        whole: the channel whose topics begin with a snapshot; an acknowledgement alone doesn't show that they are served.
        memory: what the sessions before have learnt of the connection's topics.
    """

    def __init__(
        self,
        exchange: str,
        url: str,
        streams: dict[Key, list[Subscription]],
        listing: ProductList,
        *,
        whole: str,
        memory: ListedMemory,
    ) -> None:
        super().__init__(url)
        self._exchange = exchange
        self._streams = streams
        self._listing = listing
        self._compared = 0
        """The version of the list that has been seen to."""
        self._halted: set[str] = set()
        """Products that the list has as halted."""
        self._whole = whole
        self._memory = memory
        self._requests = ListedRequests()
        self._refused: dict[Key, str] = {}
        """Topic → why it isn't served."""
        self._due: dict[Key, int] = {}
        """When to ask for a topic again: one by one if they are refused, else all of a channel together."""
        self._subscribed: set[Key] = set()
        """Topics that the exchange may have as subscribed: it sends another snapshot only after an ``unsubscribe``."""
        self._awaited: dict[Key, int] = {}
        """Topics whose snapshot has been asked for, and since when."""
        self._breaks: dict[Key, tuple[int, int]] = {}
        """Topic → how often it has broken recently, and when it did last."""
        self._snapshot_at = 0
        """When the last snapshot came that was awaited."""
        self._answered = False
        """Whether the exchange has answered anything on this connection."""
        self._unsettled: set[Key] = set()
        """What is asked for, or refused: its data is news about that."""
        self._present: set[Key] = set()
        """What the newest list has."""
        self._ticked = 0
        self.ready = False

    @abstractmethod
    def _request(self, op: str, channel: str, products: Sequence[str]) -> Send:
        """A request as the exchange has it; ``op`` is ``subscribe`` or ``unsubscribe``."""

    def tick(self, now: int) -> Sequence[Output]:
        """What is late is given up or asked for again, by itself; a connection that answers nothing is replaced."""
        if now < self._ticked:
            self._clock_back(now)
        self._ticked = now
        out = self._compare_list(now)
        for key in self._requests.left_out(now):
            out += self._left_out(key, now) if key in self._streams else []
        late = self._requests.overdue(now, _LIMIT, self._snapshot_at)
        if late and not self._answered:
            self._requests.clear()
            self._awaited.clear()
            return [*out, Reconnect(_NO_ANSWER)]
        for key in late:
            if key[0] != self._whole:
                out += self._refuse(key, _NO_ANSWER, ErrorKind.TOPIC_LEFT_OUT, now, wait=_AFTER_SILENCE)
        out += self._late_snapshots(now)
        refused = [key for key, at in self._due.items() if at <= now and key in self._refused]
        return [*out, *self._ask(refused[:1], now), *self._ask_due(now)]

    def resync(self, subject: str, now: int, reason: str) -> Sequence[Output]:
        """Have the next tick renew this pair's book: all that are due then share their requests."""
        del reason
        for key, streams in self._streams.items():
            if Subscription(Channel.BOOK, subject) in streams and not self._is_pending(key):
                self._due[key] = now
        return ()

    # What the exchange says

    def _listed(self, present: set[Key], now: int, *, other: bool = False) -> list[Output]:
        """The list of all present subscriptions, which answers a request, or shows that a subscription has ended.

        ``other``: it may answer a request for something that is no topic.
        """
        self._answered = True
        ended = self._present - present if self._requests.settled else set()
        self._present = present
        self._requests.listed(present, now, other=other)
        out: list[Output] = []
        for key in [key for key in self._streams if key in present]:
            if key[0] != self._whole:
                self._take_back(key)
            if key not in self._refused:
                out += self.lively(self._streams[key], now)
        for key in sorted(ended.intersection(self._streams, self._subscribed).difference(self._refused)):
            self._subscribed.discard(key)
            out += self._refuse(key, _ENDED, ErrorKind.TOPIC_LEFT_OUT, now)
        self._settle()
        return out

    def _data_came(self, key: Key) -> None:
        """Data has come: the topic is served. To be called for topics that are ``_unsettled``."""
        if key in self._unsettled:
            self._answered = True
            self._requests.answered(key)
            self._take_back(key)
            self._settle()

    def _snapshot_came(self, key: Key, now: int) -> None:
        """A snapshot has come."""
        self._subscribed.add(key)
        if self._awaited.pop(key, None) is not None:
            self._snapshot_at = now
            self._memory.replaced = False
        self._data_came(key)

    def _failed(
        self, words: str, kind: ErrorKind, products: Collection[str], channels: Collection[str], now: int
    ) -> list[Output]:
        """An error, with the products and channels that its words name, if any.

        A group is refused as a whole where one of its topics is: it is asked for again without those that the error
        names, else in halves, until those are found that are refused by themselves.
        """
        request = self._requests.blame(products, channels, {product for _, product in self._streams})
        said = Said(ReportedError(self._exchange, words, kind))
        if request is None:
            return [said]
        keys = request.keys
        self._subscribed.difference_update(keys)
        if kind is ErrorKind.TOO_MANY_REQUESTS:
            for key in keys:
                self._awaited.pop(key, None)
                self._due[key] = now + _AFTER_RATE
            self._settle()
            return [said]
        self._answered = True
        named = [key for key in keys if key[1] in products]
        refused = named or (keys if len(keys) == 1 or kind is ErrorKind.LOGIN_REFUSED else [])
        out = [output for key in refused for output in self._refuse(key, words, kind, now)]
        rest = [key for key in keys if key not in refused]
        half = len(rest) if named else (len(rest) + 1) // 2
        return [*out, *self._ask(rest[:half], now), *self._ask(rest[half:], now)]

    # What is not served

    def _refuse(self, key: Key, words: str, kind: ErrorKind, now: int, wait: int | None = _RETRY) -> list[Output]:
        """The topic isn't served; ``wait`` (ns) until it is asked for again, ``None``: not by itself."""
        error = ReportedError(self._exchange, words, kind, topic=":".join(key))
        known, self._refused[key] = self._refused.get(key), error.message
        self._due.pop(key, None)
        if wait is not None:
            self._due[key] = now + spread(wait * max(1, len(self._refused) // _MOST_A_MINUTE), key[1])
        self._awaited.pop(key, None)
        self._requests.answered(key)
        self._settle()
        streams = self._streams[key]
        out: list[Output] = []
        if known != error.message:  # one that is asked for again, and refused again, is said once
            out.append(Said(error, f"no {key[0]} of {', '.join(dict.fromkeys(s.subject for s in streams))}"))
        return out if known is not None else [*out, *self.dead(streams, now, error.message)]

    def _served(self) -> list[Subscription]:
        """The streams that are not refused."""
        return [stream for key, streams in self._streams.items() if key not in self._refused for stream in streams]

    def _take_back(self, key: Key) -> None:
        """What was refused is served: its data shows it, or (but for a snapshot's channel) an acknowledgement."""
        if self._refused.pop(key, None) is not None:
            self._due.pop(key, None)

    def _left_out(self, key: Key, now: int) -> list[Output]:
        """An answer left this topic out."""
        self._subscribed.discard(key)
        return self._refuse(key, _LEFT_OUT, ErrorKind.TOPIC_LEFT_OUT, now)

    def _merge(self, key: Key, into: Key, now: int) -> list[Output]:
        """The exchange serves a topic as another one, which is asked for as well."""
        self._streams[into] += self._streams.pop(key)
        self._requests.answered(key)
        self._subscribed.discard(key)
        self._refused.pop(key, None)
        self._due.pop(key, None)
        self._awaited.pop(key, None)
        out = self._renew([into], now) if into[0] == self._whole else []
        self._settle()
        return out if into in self._refused else [*out, *self.lively(self._streams[into], now)]

    def _late_snapshots(self, now: int) -> list[Output]:
        """Topics whose snapshot is late: asked for once more, then ``down`` and asked for about once a minute.

        Where no snapshot at all comes, although all were asked for twice, a new connection is tried, once.
        """
        late = [
            key
            for key, since in self._awaited.items()
            if now - max(since, self._snapshot_at) > _LIMIT or now - since > _LIMIT_IN_ALL
        ]
        again = [key for key in late if key in self._refused]
        good = any(key[0] == self._whole and key not in self._refused for key in self._streams)
        if again and not good and not self._memory.replaced:
            self._memory.replaced = True
            for key in again:
                self._refused.pop(key)
            self._awaited.clear()
            self._due.clear()
            return [Reconnect(f"no snapshot of any pair within {_LIMIT // SECOND} s, twice")]
        out: list[Output] = []
        for key in late:
            wait = _AFTER_SILENCE if key in self._refused else 0
            out += self._refuse(key, _NO_SNAPSHOT, ErrorKind.TOPIC_LEFT_OUT, now, wait)
        return out

    def _compare_list(self, now: int) -> list[Output]:
        """The list has been read: what it doesn't have, or has as halted, is ``down``; what is back is asked for.

        What it doesn't have is asked for all the same, now and then: the list may be older than the pair.
        """
        out: list[Output] = []
        if self._compared == self._listing.version:
            return out
        self._compared = self._listing.version
        before, self._halted = self._halted, {product for _, product in self._streams if self._listing.halted(product)}
        for key, streams in self._streams.items():
            product = key[1]
            if product in self._halted - before:
                out += self._refuse(key, self._listing.halted(product), ErrorKind.REPORTED, now, wait=None)
            elif product in before - self._halted and key in self._refused:
                self._due[key] = now
            elif key not in self._refused and not self._live.issuperset(streams):
                words = self._listing.unknown(product)
                out += self._refuse(key, words, ErrorKind.UNKNOWN_MARKET, now) if words else []
        return out

    # Asking

    def _begin(self, now: int) -> list[Output]:
        """Ask for all topics, one message per channel.

        What was refused before, or is halted, would have the whole message refused: it is asked for later, by itself.
        """
        self._ticked = now
        self._refused = {key: reason for key, reason in self._memory.refused.items() if key in self._streams}
        self._memory.refused = self._refused
        self._due = {key: now + spread(_RETRY, key[1]) for key in self._refused}
        troubled = self._listing.in_trouble({product for _, product in self._streams})
        return self._ask([key for key in self._streams if key not in self._refused and key[1] not in troubled], now)

    def _renew(self, keys: Iterable[Key], now: int) -> list[Output]:
        """These are broken: subscribe them again, at once, or ever later where that happens again and again."""
        for key in keys:
            if self._is_pending(key):
                continue
            count, at = self._breaks.get(key, (0, now))
            count = count if 0 <= now - at <= _CALM else 0
            self._breaks[key] = (min(count + 1, 10), now)
            wait = spread(min(SECOND << (count - 1), _LONGEST_WAIT), key[1]) if count else 0
            self._due[key] = now + wait
        return self._ask_due(now)

    def _renew_all(self, now: int) -> list[Output]:
        """Something of every topic that begins with a snapshot may be missing."""
        return self._renew([key for key in self._streams if key[0] == self._whole], now)

    def _ask_due(self, now: int) -> list[Output]:
        """Ask for what is due and not refused, in one message of each kind per channel."""
        return self._ask([key for key, at in self._due.items() if at <= now and key not in self._refused], now)

    def _ask(self, keys: Sequence[Key], now: int) -> list[Output]:
        out: list[Output] = []
        for channel in dict.fromkeys(channel for channel, _ in keys):
            asked = [key for key in keys if key[0] == channel]
            subscribed = [key for key in asked if key in self._subscribed] if channel == self._whole else []
            if subscribed:
                out.append(self._request("unsubscribe", channel, [product for _, product in subscribed]))
            out.append(self._request("subscribe", channel, [product for _, product in asked]))
            self._requests.add(asked, now, renewed=not self._refused.keys() >= set(subscribed))
            if channel == self._whole:
                self._awaited.update(dict.fromkeys(asked, now))
        for key in keys:
            self._subscribed.add(key)
            self._due.pop(key, None)
        self._settle()
        return out

    def _is_pending(self, key: Key) -> bool:
        """Whether a topic is refused, awaits its snapshot or is about to be asked for: more trouble is no news."""
        return key in self._refused or key in self._awaited or key in self._due

    def _settle(self) -> None:
        self._unsettled.clear()
        self._unsettled.update(self._requests.keys(), self._refused)
        self.ready = self.ready or not (
            self._requests.keys() or self._due.keys() - self._refused.keys() - self._subscribed
        )
        lost = (stream for key in self._refused for stream in self._streams[key])
        self.unserved = {stream.subject for stream in lost if stream.channel is Channel.BOOK}

    def _clock_back(self, now: int) -> None:
        """Our clock was set back: what is waited for is waited for from now on."""
        self._requests.clock_back(now)
        self._snapshot_at = min(self._snapshot_at, now)
        self._awaited = {key: min(since, now) for key, since in self._awaited.items()}
        self._due = {key: min(at, now + _RETRY) for key, at in self._due.items()}
