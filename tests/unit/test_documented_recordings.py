"""The recordings that are made from documentation: what they state of their market is what a connector makes of their frames."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from bridge.demo.recorded import RECORDED, kind_of, recorded_pairs
from bridge.exchanges import exchange_type
from bridge.exchanges.api import Action, Fetch, HttpResponse, Profile, Reject, Said, Unknown, Warn
from bridge.model import BookDelta, BookSnapshot, Channel, Control, Trade
from bridge.sequencer import book_type, topic_type
from tests.fixtures.make_documented_recordings import MAKERS, recording
from tests.unit.core import ListSink, stream
from tests.unit.recorded_rows import rows

MADE = sorted(MAKERS)
TROUBLE = (Reject, Said, Unknown, Warn)
"""What a session hands out of frames that it can't use."""
POLLED = {Channel.INTEREST}
"""Of Binance: it comes by REST, and not over a connection."""


class Connector:
    """An exchange's sessions, and the streams of its books and trades, without sockets and Redis."""

    def __init__(self, name):
        self.pairs = recorded_pairs(name)
        self.rows = list(rows(RECORDED[name]))
        self.answers = {row["url"].split("/", 3)[3]: row["data"].encode() for row in self.rows if row["t"] == "http"}
        kind = exchange_type(name)
        self.exchange = kind(Profile(self.pairs, kind.channels))
        self.sessions = {}
        self.now = 0
        self.trouble = []
        self.channels = set()
        """Of what has come."""
        self.sinks, self.topics = {}, {}
        self.drive(self.exchange.discover(0))
        for pair in self.pairs:
            for channel in (Channel.BOOK, Channel.TRADES):
                self.sinks[channel, pair] = sink = ListSink()
                self.topics[channel, pair] = self._topic(channel, stream(channel, pair), sink)

    def _topic(self, channel, into, sink):
        if channel is Channel.BOOK:
            rules = self.exchange.book
            return book_type(rules)(into, sink, self.resync, lambda *what: self.trouble.append(what), rules)
        return topic_type(channel)(into, sink, lambda *_: None)

    def drive(self, flow):
        """Hold a conversation over REST; what it ends in."""
        try:
            request = next(flow)
            while True:
                body = self.answers[request.path.removeprefix("/")]
                request = flow.send(HttpResponse(200, body, recv=self.now))
        except StopIteration as ended:
            return ended.value

    def resync(self, pair, reason):
        for session in self.sessions.values():
            self.take(session.resync(pair, self.now, reason))

    def take(self, outputs):
        for output in outputs:
            if isinstance(output, Fetch):
                self.take(self.drive(output.flow))
            elif isinstance(output, Action):
                self.trouble += [output] * isinstance(output, TROUBLE)
            else:
                self.channels |= set() if isinstance(output, Control) else {output.channel}
                if topic := self.topics.get((output.channel, output.subject)):
                    (topic.control if isinstance(output, Control) else topic.accept)(output)

    def play(self, seconds):
        """Play it all, ``seconds`` later than it is dated; gives what is stated, at its time."""
        for row in self.rows:
            self.now = int((row.get("ts", 0) + seconds) * 1e9)
            if row["t"] == "connect":
                self.connect(row["conn"], row["addr"])
            elif row["t"] == "recv":
                self.take(self.sessions[row["conn"]].receive(row["data"].encode(), self.now))
                for (channel, _), topic in self.topics.items():
                    if channel is Channel.BOOK:
                        topic.tick(self.now)
            elif row["t"] == "expect":
                yield row
        for topic in self.topics.values():
            topic.down(self.now, "the recording ends")

    def connect(self, conn, url):
        """Open the session that goes to this path."""
        sessions = [plan.session() for plan in self.exchange.plan()]
        [session] = [each for each in sessions if path(self.drive(each.open(self.now)).url) == path(url)]
        self.sessions[conn] = session
        self.take(session.connected(self.now))


class Readers:
    """What readers of the streams, and of the statements, have at a time."""

    def __init__(self, connector):
        self.connector = connector
        self.read = dict.fromkeys(connector.sinks, 0)
        self.mine = {pair: ({}, {}) for pair in connector.pairs}
        self.stated = {pair: ({}, {}) for pair in connector.pairs}

    def book(self, pair):
        """The book out of the stream's entries up to now."""
        entries = self.connector.sinks[Channel.BOOK, pair].data
        for entry in entries[self.read[Channel.BOOK, pair] :]:
            if isinstance(entry, BookSnapshot):
                self.mine[pair] = ({}, {})
            assert isinstance(entry, BookSnapshot | BookDelta)
            change(self.mine[pair], (entry.bids, entry.asks))
        self.read[Channel.BOOK, pair] = len(entries)
        return self.mine[pair]

    def state(self, row):
        """The book as the recording states it up to now."""
        if row.get("whole"):
            self.stated[row["pair"]] = ({}, {})
        change(self.stated[row["pair"]], (row.get("bids", []), row.get("asks", [])))
        return self.stated[row["pair"]]


def path(url):
    """With the query."""
    return urlsplit(url)[2:4]


def change(book, sides):
    for known, levels in zip(book, sides, strict=True):
        for price, size in levels:
            known[Decimal(price)] = Decimal(size)
            if not Decimal(size):
                del known[Decimal(price)]


def test_each_is_in_the_demo():
    assert [name for name in RECORDED if kind_of(name) == "made-up"] == MADE


@pytest.mark.parametrize("name", MADE)
def test_it_is_what_its_maker_makes(name):
    assert list(map(json.loads, recording(name).splitlines())) == list(rows(RECORDED[name]))


@pytest.mark.parametrize("name", MADE)
def test_a_connector_has_what_it_states_whenever_it_is_played(name):
    """Twice, since the demo plays it over and over."""
    connector = Connector(name)
    readers = Readers(connector)
    for later in (0, 100):
        books, trades = Counter(), {pair: [] for pair in connector.pairs}
        for row in connector.play(later):
            pair = row["pair"]
            trades[pair] += row.get("trades", [])
            if "bids" in row or "asks" in row:
                assert readers.state(row) == readers.book(pair), (later, row)
                books[pair] += 1
        for pair in connector.pairs:
            assert books[pair] > 50
            assert len(trades[pair]) > 20
            told = [
                (e.id, e.ts // 10**9, e.side, Decimal(e.price), Decimal(e.size))
                for e in connector.sinks[Channel.TRADES, pair].data
                if isinstance(e, Trade)
            ]
            assert told == [
                (t["id"], t["time"], t["side"], Decimal(t["price"]), Decimal(t["size"])) for t in trades[pair]
            ]
    assert connector.trouble == []
    for sink in connector.sinks.values():
        assert sink.controls == ["live", "down"] * 2
    assert connector.channels == connector.exchange.channels - (POLLED if name == "binance-usdm" else set())
