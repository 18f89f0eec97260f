"""A world in memory: a market, the connector's real sessions, connections and topics, a stream per topic, readers.

What is simulated is only the wire (with its faults), the time, and Redis (a list per stream, behind a buffer that sheds).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from decimal import Decimal
from random import Random
from typing import Any, cast

import structlog

from bridge.entries import decode
from bridge.exchange_errors import ExchangeError, FrameError
from bridge.exchanges.api import BookRules, ConnectionPlan, Exchange, Send, Subscription
from bridge.feed.connection import Connection
from bridge.feed.context import FeedContext
from bridge.keys import StreamKey
from bridge.model import BookDelta, BookSnapshot, Channel, Control, Event, Trade
from bridge.publish.pending import CONTROL, DATA, SNAPSHOT, Pending
from bridge.publish.shedding import shed
from bridge.publish.stream import Retention, Stream
from bridge.publish.wire import render
from bridge.sequencer import BookTopic, Topic, book_type, topic_type
from consumers.items import Entry
from consumers.keeper import BookKeeper
from tests.unit.core import KEYS

SECOND = 1_000_000_000
MS = 1_000_000
LOG = structlog.wrap_logger(None, processors=[lambda *_: (_ for _ in ()).throw(structlog.DropEvent)])


class Line(Connection):
    """A connection without a socket: what the session sends goes to the market."""

    def __init__(self, world: World, plan: ConnectionPlan, context: FeedContext, *, hold: bool) -> None:
        self._world = world
        super().__init__(plan, context, asyncio.Event(), hold=hold)
        self.opened_at = context.now()
        self.waiting: list[bytes] = []
        """Frames that come later than they should."""
        self._doing[Send] = lambda send: world.asked(self, send.text)
        self._take(self._session.connected(context.now()))


class Feed:
    """One stream: what waits for it, what stands in it."""

    def __init__(self, exchange: str, pair: str, channel: Channel) -> None:
        key = KEYS.stream(exchange, pair, channel)
        self.stream = Stream(key, channel, pair, Retention(1_000_000, 1e6))
        self.key = StreamKey(exchange, pair, channel)
        self.entries: list[Event] = []
        self.keeper = BookKeeper(self.key)
        self.put = 0
        """Data events that were put."""
        self.lost_when_killed = 0


class World:
    """The connector and its surroundings. Subclasses are the market: they make frames and know the truth."""

    exchange: type[Exchange]
    rules: BookRules | None = None
    """What books are held to."""
    pair = "BTC-USD"

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 1_700_000_000 * SECOND
        self.feeds = {c: Feed(self.exchange.name, self.pair, c) for c in (Channel.BOOK, Channel.TRADES)}
        self.broken: set[BookTopic] = set()
        self.rejects = 0
        self.topics: dict[Subscription, Topic] = {}
        self.line: Line
        self.plan = self.make_plan()
        self.context = FeedContext(
            exchange=cast("Any", self.exchange),
            receiver=cast("Any", self),
            rest=cast("Any", None),
            pacer=cast("Any", None),
            log=LOG,
            now=lambda: self.now,
            monotonic=lambda: self.now / 1e9,
        )
        self.start()

    # --- the market: for subclasses ----------------------------------------------------------------------------------

    def make_plan(self) -> ConnectionPlan:
        raise NotImplementedError

    def greet(self, line: Line) -> None:
        """A connection is open."""

    def asked(self, line: Line, text: str) -> None:
        """The session has sent something."""

    def after(self, feed: Feed, event: Event) -> None:
        """An entry stands in its stream."""

    # --- the connector ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """A process begins: it takes up what the streams hold."""
        self.topics = {}
        for channel, feed in self.feeds.items():
            topic = self.make_topic(channel, feed)
            topic.seed(feed.entries[-2000:] if channel is Channel.TRADES else feed.entries[-1:], self.tick())
            self.topics[Subscription(channel, self.pair)] = topic
        self.connect()

    def make_topic(self, channel: Channel, feed: Feed) -> Topic:
        if channel is not Channel.BOOK or self.rules is None:
            return topic_type(channel)(feed.stream, cast("Any", self), self.resync)
        kind = book_type(self.rules)
        return kind(feed.stream, cast("Any", self), self.resync, self.renew, self.rules)

    def renew(self, subject: str, reason: str) -> None:
        del subject
        self.line.replace_reason = reason

    def kill(self) -> None:
        """The process dies, and what it had not sent with it; another one starts."""
        for feed in self.feeds.values():
            feed.lost_when_killed += feed.stream.backlog
            feed.stream.waiting.clear()
            feed.stream.bytes = feed.stream.controls = feed.stream.declared = 0
        self.broken.clear()
        self.start()

    def connect(self) -> None:
        self.opened(self.topics, 0)
        self.line = Line(self, self.plan, self.context, hold=False)
        self.greet(self.line)

    def cut(self, reason: str = "cut") -> None:
        self.line.mute()
        self.down(self.topics, reason)
        self.tick()
        self.connect()

    def replace(self) -> None:
        """Make before break, as `FeedSupervisor` does it."""
        old = self.line
        new = Line(self, self.plan, self.context, hold=True)
        self.tick()
        self.line = new
        self.greet(new)
        if not new.ready:
            self.line = old
            return
        self.opened(self.topics, new.opened_at)
        old.mute()
        new.release()

    def tick(self, seconds: float = 0.005) -> int:
        self.now += int(seconds * SECOND)
        return self.now

    def watch(self) -> None:
        """What a supervisor does now and then."""
        self.line.tick()
        for topic in self.topics.values():
            if isinstance(topic, BookTopic):
                topic.tick(self.now)
        if self.line.lost_reason:
            self.cut(self.line.lost_reason)
        elif self.line.replace_reason:
            self.replace()

    # --- the receiver's side -----------------------------------------------------------------------------------------

    def event(self, event: Event) -> None:
        topic = self.topics[Subscription(event.channel, event.subject)]  # type: ignore[attr-defined]
        if isinstance(event, Control):
            topic.control(event)
        else:
            topic.accept(event)

    def opened(self, streams: Iterable[Subscription], since: int) -> None:
        for wish in streams:
            self.topics[wish].reopened(since)

    def down(self, streams: Iterable[Subscription], reason: str) -> None:
        for wish in streams:
            self.topics[wish].down(self.now, reason)

    def rejected(self, connection: str, error: FrameError, recv: int) -> None:
        self.rejects += 1

    def unknown(self, kind: str) -> None:
        pass

    def fault(self, error: ExchangeError) -> None:
        pass

    def resync(self, subject: str, reason: str) -> None:
        self.line.resync(subject, reason)

    # --- the publisher's side ----------------------------------------------------------------------------------------

    def put(self, stream: Stream, event: Event) -> None:
        kind = SNAPSHOT if isinstance(event, BookSnapshot) else CONTROL if isinstance(event, Control) else DATA
        self.feeds[stream.channel].put += kind != CONTROL
        stream.controls += kind == CONTROL
        entry = Pending(event.recv, render(event), kind)
        stream.waiting.append(entry)
        stream.bytes += entry.weight

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        stream.waiting.append(stream.lost_entry(recv, count, reason))

    def overflow(self, need: int) -> None:
        """Redis is away, and the buffer is full."""
        for stream in shed([feed.stream for feed in self.feeds.values()], need, "full"):
            topic = self.topics[Subscription(stream.channel, stream.subject)]
            topic.broken()
            if isinstance(topic, BookTopic):
                self.broken.add(topic)

    def flush(self) -> None:
        """Redis takes what waits; readers read it at once."""
        for feed in self.feeds.values():
            stream = feed.stream
            for entry in stream.waiting:
                stream.seq += 1
                flat = entry.body.encode("latin-1").decode().split("\r\n")[1::2]
                event = decode(feed.key, flat)
                feed.entries.append(event)
                feed.keeper.take(Entry(stream.key, feed.key, f"{self.now // MS}-{stream.seq}", stream.seq, event))
                self.after(feed, event)
            stream.waiting.clear()
            stream.bytes = stream.controls = stream.declared = 0
        for topic in list(self.broken):
            self.broken.discard(topic)
            if topic.awaiting and not topic.restore(self.now):
                self.resync(topic.subject, "events were dropped")

    # --- checks ------------------------------------------------------------------------------------------------------

    def deliver(self, line: Line, frame: bytes, fault: str) -> None:
        """A frame on its way to the connector."""
        if fault == "drop":
            return
        if fault == "corrupt":
            frame = frame[: self.random.randrange(len(frame))]
        if fault == "late":
            line.waiting.append(frame)
            return
        for _ in range(2 if fault == "twice" else 1):
            self.tick()
            line.frame(frame)
        late, line.waiting = line.waiting, []
        for frame_ in late:
            self.tick()
            line.frame(frame_)

    def check_accounts(self) -> None:
        """received = published + declared + waiting, per stream and process."""
        for channel, feed in self.feeds.items():
            data = sum(not isinstance(event, Control) for event in feed.entries)
            lost = sum(event.count or 0 for event in feed.entries if said(event) == "lost")
            waiting = feed.stream.backlog
            topic = self.topics[Subscription(channel, self.pair)]
            unused = topic._unused if isinstance(topic, BookTopic) else 0
            known = data + lost + waiting + unused + feed.lost_when_killed
            assert known >= feed.put, "something was put and is nowhere"

    def check_trades(self, made: Mapping[str, int], identify: Any) -> None:
        """No trade stands twice; where one is missing, the stream says that something is.

        ``made`` has the trades in their order, and when each was made (ns). The stream says it behind the last earlier trade
        that had come by then (one that came only with a later snapshot stands behind), and before the next.
        """
        places: dict[str, int] = {}
        came: dict[str, int] = {}
        troubles = []
        for place, event in enumerate(self.feeds[Channel.TRADES].entries):
            if isinstance(event, Trade):
                name = identify(event)
                assert name not in places, f"trade {name} stands twice"
                places[name], came[name] = place, event.recv
            elif said(event) in {"down", "gap", "lost", "stale"}:
                troubles.append(place)
        names, end = list(made), len(self.feeds[Channel.TRADES].entries)
        for number, name in enumerate(names):
            if name in places:
                continue
            before = max((places[n] for n in names[:number] if came.get(n, made[name] + 1) <= made[name]), default=-1)
            after = min((places[n] for n in names[number + 1 :] if n in places), default=end)
            assert any(before < t < after for t in troubles), f"trade {name} is missing"

    def levels(self) -> dict[bool, dict[Decimal, Decimal]]:
        """The reader's book."""
        book = self.feeds[Channel.BOOK].keeper.book
        return {True: book.bids.numbers(), False: book.asks.numbers()}


def said(event: Event) -> str:
    return str(event.event) if isinstance(event, Control) else ""


def is_book(event: Event) -> bool:
    return isinstance(event, BookSnapshot | BookDelta)
