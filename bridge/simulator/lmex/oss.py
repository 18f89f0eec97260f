"""``/ws/oss/spot`` and ``/ws/oss/futures``: order books and best prices.

A snapshot comes before the acknowledgement, which lists the topics in another order than asked. ``update:`` without a
grouping is a topic of its own with the numbers of grouping 0. A grouping out of range is acknowledged, and nothing
comes. One request can have both, an acknowledgement and errors. After ten failed requests the socket is closed (how many
LMEX suffers isn't documented).
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from bridge.simulator.dialect import Core
from bridge.simulator.events import BestChanged
from bridge.simulator.faults import Fault
from bridge.simulator.lmex import frames
from bridge.simulator.lmex.books import GROUPINGS, BookFeed, Change
from bridge.simulator.lmex.endpoint import Client, Endpoint, Key, texts
from bridge.simulator.lmex.faults import BookFaults
from bridge.simulator.lmex.markets import SETTLE, old_name
from bridge.simulator.lmex.options import LmexConfig
from bridge.simulator.sockets import message

__all__ = ["OssEndpoint"]

_TOPIC = re.compile(r"(update|snapshotL1):(.+?)(?:_(\d{1,3}))?")
_MOST_FAILURES = 10


class _NoTopicError(Exception):
    """A topic that isn't there, with the code of its error."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(code)


class OssEndpoint(Endpoint):
    """The books of one market."""

    def __init__(self, core: Core, config: LmexConfig, path: str, pairs: list[str], faults: BookFaults) -> None:
        super().__init__(core, config, path, pairs)
        self._faults = faults
        self._old_names = {old_name(pair): pair for pair in pairs if old_name(pair) != pair}
        self._feeds: dict[tuple[str, int], BookFeed] = {}
        self._best: dict[str, BestChanged] = {pair: core.market.best(pair) for pair in pairs}
        for number, pair in enumerate(pairs):
            self._feed(pair, 0, number)
            self._note(pair)

    # Requests

    def request(self, client: Client, op: str, args: Any) -> None:
        """Subscribe or unsubscribe."""
        if op not in ("subscribe", "unsubscribe"):
            self._fail(client, [(1001, None)])
            return
        topics = texts(args)
        if topics is None:
            return
        accepted: list[str] = []
        errors: list[tuple[int, str | None]] = []
        for topic in dict.fromkeys(topics):
            try:
                if getattr(self, f"_{op}")(client, topic):
                    accepted.append(topic)
            except _NoTopicError as error:
                errors.append((error.code, topic))
        if accepted or not errors:
            client.socket.push(message("ack", "", frames.acknowledged(op, reversed(accepted))))
        if errors:
            self._fail(client, errors)

    def nonsense(self, client: Client) -> None:
        """Not JSON, or no operation in it."""
        self._fail(client, [(1002, None)])

    def _subscribe(self, client: Client, topic: str) -> bool:
        kind, pair, symbol, grouping = self._parsed(topic)
        if topic not in client.topics and self.full(client):
            return False
        if kind == "snapshotL1":
            self.subscribe(client, topic, (self.path, f"snapshotL1:{symbol}"), pair)
            best = self._core.market.best(pair)
            client.socket.push(message("snapshotL1", pair, frames.best(topic, symbol, best, self._core.clock())))
        elif grouping is not None and grouping >= len(GROUPINGS):
            self.subscribe(client, topic, None, pair)
        else:
            self._subscribe_book(client, topic, pair, grouping)
        return True

    def _subscribe_book(self, client: Client, topic: str, pair: str, grouping: int | None) -> None:
        change = self._feed(pair, grouping or 0).snapshot()
        muted = self._faults.muted(pair)
        if muted is not None:
            self.unsubscribe(client, topic)
        if muted is None or muted.deltas:
            self.subscribe(client, topic, self._key(pair, grouping), pair)
        else:
            self.subscribe(client, topic, None, pair)
        if muted is None:
            client.socket.push(message("snapshot", pair, frames.snapshot(topic, pair, change, self._core.clock())))

    def _unsubscribe(self, client: Client, topic: str) -> bool:
        self._parsed(topic)
        return self.unsubscribe(client, topic)

    def _parsed(self, topic: str) -> tuple[str, str, str, int | None]:
        """Kind, pair, the symbol to say, grouping."""
        match = _TOPIC.fullmatch(topic)
        if match is None:
            raise _NoTopicError(1005)
        kind, symbol, digits = match.groups()
        pair = symbol.removesuffix(f"-{SETTLE}") if self.market == "futures" else symbol
        if kind == "snapshotL1":
            pair = self._old_names.get(pair, pair)
        if pair not in self._pairs:
            raise _NoTopicError(1000)
        return kind, pair, symbol, None if digits is None else int(digits)

    def _fail(self, client: Client, errors: list[tuple[int, str | None]]) -> None:
        client.failures += 1
        self._say(client, errors)
        if client.failures >= _MOST_FAILURES:
            self._say(client, [(1008, None)])
            client.socket.flush()
            client.socket.close(1008)

    def _say(self, client: Client, errors: list[tuple[int, str | None]]) -> None:
        client.socket.push(message("error", "", frames.failed(errors, old=self._config.old_errors)))

    def overflow(self, fault: Fault) -> None:
        """Tell the clients whom ``buffer_full`` strikes that their buffer is full, and close them."""
        for socket in self._hub.matching(fault):
            client = self.clients.get(socket.number)
            if client is not None:
                self._hub.done["buffer_full"] += 1
                self._say(client, [(1007, None)])
                socket.flush()
                socket.close(1008)

    # Market events

    def book_changed(self, pair: str) -> None:
        """Publish what is different in a pair's book, in each grouping, and its best prices."""
        for (name, grouping), feed in self._feeds.items():
            if name == pair:
                self._publish(pair, grouping, feed)
        self._note(pair)
        best = self._core.market.best(pair)
        if best == self._best[pair]:
            return
        self._best[pair] = best
        now = self._core.clock()
        for symbol in (pair, old_name(pair), f"{pair}-{SETTLE}"):
            topic = f"snapshotL1:{symbol}"
            text = partial(frames.best, topic, symbol, best, now)
            self._hub.publish((self.path, topic), "snapshotL1", pair, text)

    def _publish(self, pair: str, grouping: int, feed: BookFeed) -> None:
        keys = [self._key(pair, grouping)] + ([self._key(pair, None)] if grouping == 0 else [])
        if not any(self._hub.wanted(key) for key in keys):
            feed.skip()
            return
        change = feed.change()
        if change is None:
            return
        if self._faults.crosses(pair):
            change = self._cross(pair, change)
        now = self._core.clock()
        for key in keys:
            topic = f"update:{pair}" if self._config.short_delta_topics else key[1]
            self._hub.publish(key, "delta", pair, partial(frames.book, topic, pair, change, now))

    def _note(self, pair: str) -> None:
        if self._core.journal is not None:
            feed = self._feeds[pair, 0]
            self._core.journal.book(pair, feed.seq, *feed.window(), self._core.clock())

    def _cross(self, pair: str, change: Change) -> Change:
        best = self._core.market.best(pair)
        spec = self._core.market.pairs[pair].spec
        price = (best.ask or best.bid or spec.anchor) + spec.tick
        return Change([*change.bids, (price, spec.size(1))], change.asks, change.seq)

    def _feed(self, pair: str, grouping: int, number: int = 0) -> BookFeed:
        found = self._feeds.get((pair, grouping))
        if found is None:
            # Somewhere in the millions, and no two the same: numbers of one chain mean nothing in another.
            seq = 1_000_000 * (self._core.market.config.seed % 1000 + 1) + 100_000 * number + 10_000 * grouping
            found = self._feeds[pair, grouping] = BookFeed(self._core.market.pairs[pair], grouping, seq)
        return found

    def _key(self, pair: str, grouping: int | None) -> Key:
        return self.path, f"update:{pair}" + ("" if grouping is None else f"_{grouping}")
