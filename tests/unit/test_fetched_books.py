"""Books that begin with a snapshot by REST, over a real WebSocket and a real REST server: a scripted exchange.

Its deltas lead from ``U`` to ``u``, as those of the exchanges do that work this way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from random import Random
from types import SimpleNamespace

import structlog
from structlog.testing import LogCapture

from bridge.connector.books import Books
from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import (
    BookRules,
    ConnectionPlan,
    Exchange,
    HttpRequest,
    Profile,
    Replace,
    Session,
    Subscription,
)
from bridge.exchanges.toolkit.sessions.snapshots import SnapshotFetches
from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait
from bridge.feed.context import FeedContext
from bridge.feed.policies import Pacer, request_budget
from bridge.feed.rest import RestClient
from bridge.feed.supervisor import FeedSupervisor
from bridge.model import BookDelta, BookSnapshot, Channel, Control
from tests.unit.core import stream
from tests.unit.feeding import Desk, Venue
from tests.unit.publishing import until
from tests.unit.rest_server import RestServer

BTC, ETH = Subscription(Channel.BOOK, "BTC-EUR"), Subscription(Channel.BOOK, "ETH-EUR")
WEIGHT = 10


class DepthSession(Session):
    """Says what came, and fetches what is asked for."""

    def __init__(self, url):
        super().__init__(url)
        self._fetches = SnapshotFetches(self._fetch)

    def receive(self, frame, recv):
        m = json.loads(frame)
        if m["k"] == "replace":
            return [Replace("asked to")]
        stream = Subscription(Channel.BOOK, m["pair"])
        delta = BookDelta(m["pair"], None, recv, str(m["u"]), m["bids"], [], str(m["U"] - 1))
        return [*self.lively([stream], recv), delta]

    def resync(self, subject, now, reason):
        return self._fetches.begin(subject)

    def _fetch(self, pair):
        path = f"/depth?pair={pair}"
        response = yield HttpRequest("GET", path, weight=WEIGHT)
        if response.status >= 400:
            wait = seconds_to_wait(response.headers.get("retry-after", ""))
            raise RestError("scripted", path, response.status, "not now", wait)
        body = json.loads(response.body)
        return BookSnapshot(pair, None, response.recv, str(body["id"]), body["bids"], [])


class Scripted(Exchange):
    name = "scripted"
    url = rest_url = ""
    channels = frozenset({Channel.BOOK})
    pace = 0.0
    request_weight = (WEIGHT, 1.0)
    book = BookRules(snapshot="rest")

    def plan(self):
        return [ConnectionPlan("market", (BTC, ETH), lambda: DepthSession(self.profile.url))]


class BookDesk(Desk):
    """Has the connector's own books."""

    def __init__(self, exchange):
        super().__init__((BTC, ETH))
        self.books = Books(exchange, lambda: [self.supervisor], self.event, structlog.get_logger())
        self.topics = {
            wish: self.books.topic(stream(wish.channel, wish.subject), sink) for wish, sink in self.sinks.items()
        }


@contextlib.asynccontextmanager
async def market():
    async with Venue() as venue, RestServer() as server:
        exchange = Scripted(Profile((BTC.subject, ETH.subject), Scripted.channels, venue.url, server.url))
        desk = BookDesk(exchange)
        logs = LogCapture()
        budget = request_budget(server.url, exchange.request_weight, 0.25)
        async with RestClient("scripted", server.url, None, 5.0, None, budget=budget) as rest:
            context = FeedContext(
                exchange=exchange,
                receiver=desk,
                rest=rest,
                pacer=Pacer(0.0, time.monotonic),
                log=structlog.wrap_logger(None, processors=[logs]),
                random=Random(3),
            )
            desk.supervisor = FeedSupervisor(exchange.plan()[0], context)
            tasks = [asyncio.create_task(desk.supervisor.run()), asyncio.create_task(desk.books.watch())]
            try:
                await until(lambda: venue.peers)
                yield SimpleNamespace(venue=venue, server=server, desk=desk, logs=logs)
                assert not any(task.done() for task in tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


def change(market, first, last, size="2", pair="BTC-EUR"):
    market.venue.say(k="depth", pair=pair, U=first, u=last, bids=[["10", size]])


def snapshot(market, number, pair="BTC-EUR"):
    market.server.body[f"/depth?pair={pair}"] = {"id": number, "bids": [["10", "1"], ["9", str(number)]]}


def said(market, wish=BTC):
    """Data with their numbers, events of controls."""
    return [
        str(event.event) if isinstance(event, Control) else f"{'SD'[isinstance(event, BookDelta)]}{event.xseq}"
        for event in market.desk.sinks[wish].events
    ]


async def test_deltas_wait_for_their_snapshot():
    async with market() as m:
        snapshot(m, 4)
        for number in (3, 4, 5):
            change(m, number, number, str(number))
        await until(lambda: "D5" in said(m))
        change(m, 6, 8, "8")
        await until(lambda: "D8" in said(m))
        assert said(m) == ["live", "S4", "D5", "D8"]
        assert m.desk.topics[BTC].repeated == 2
        assert m.server.paths == ["/depth?pair=BTC-EUR"]


async def test_a_snapshot_that_is_newer_than_all():
    async with market() as m:
        snapshot(m, 9)
        change(m, 3, 4)
        await until(lambda: "S9" in said(m))
        change(m, 5, 9)
        change(m, 10, 11)
        await until(lambda: "D11" in said(m))
        assert said(m) == ["live", "S9", "D11"]


async def test_a_snapshot_that_is_older_than_the_first_delta():
    async with market() as m:
        snapshot(m, 1)
        change(m, 3, 4)
        await until(lambda: m.server.asked)
        snapshot(m, 2)
        await until(lambda: "D4" in said(m))
        assert said(m) == ["live", "S2", "D4"]
        assert len(m.server.asked) == 2


async def test_a_hole():
    async with market() as m:
        snapshot(m, 2)
        change(m, 3, 3)
        await until(lambda: "D3" in said(m))
        snapshot(m, 6)
        change(m, 5, 6)
        change(m, 7, 7)
        await until(lambda: "D7" in said(m))
        assert said(m) == ["live", "S2", "D3", "gap", "S6", "D7"]


async def test_a_snapshot_that_is_refused():
    async with market() as m:
        m.server.answers.append((429, {"Retry-After": "2"}, {}))
        snapshot(m, 2)
        change(m, 3, 3)
        await until(lambda: "D3" in said(m))
        assert said(m) == ["live", "S2", "D3"]
        first, second = [at for at, _ in m.server.asked]
        assert second - first >= 1.9
        assert [error.kind for error in m.desk.faults] == [ErrorKind.REST_RATE_LIMITED]
        assert [entry["what"] for entry in m.logs.entries if entry["event"] == "fetch_failed"] == [
            "the book of BTC-EUR"
        ]


async def test_two_pairs_share_the_weight():
    async with market() as m:
        begun = time.monotonic()
        for wish in (BTC, ETH):
            snapshot(m, 2, wish.subject)
            change(m, 3, 3, pair=wish.subject)
        await until(lambda: "D3" in said(m, BTC) and "D3" in said(m, ETH))
        _, second = [at for at, _ in m.server.asked]
        assert second - begun > 1.0
        assert sorted(m.server.paths) == ["/depth?pair=BTC-EUR", "/depth?pair=ETH-EUR"], "and is asked for once each"
        assert said(m, BTC) == said(m, ETH) == ["live", "S2", "D3"]


async def test_another_connection_goes_on_where_the_first_one_was():
    async with market() as m:
        snapshot(m, 2)
        change(m, 3, 3)
        await until(lambda: "D3" in said(m))
        m.venue.say(k="replace")
        await until(lambda: m.venue.opened == 2)
        change(m, 4, 4)  # over both
        await until(lambda: m.desk.supervisor.replacements == 1)
        change(m, 5, 5)
        await until(lambda: "D5" in said(m))
        assert said(m) == ["live", "S2", "D3", "D4", "D5"]
        assert len(m.server.asked) == 1


async def test_a_lost_connection_begins_with_a_snapshot():
    async with market() as m:
        snapshot(m, 2)
        change(m, 3, 3)
        await until(lambda: "D3" in said(m))
        snapshot(m, 8)
        m.venue.cut()
        await until(lambda: "down" in said(m))
        await until(lambda: m.venue.peers)
        change(m, 9, 9)
        await until(lambda: "D9" in said(m))
        assert said(m) == ["live", "S2", "D3", "down", "live", "S8", "D9"]
