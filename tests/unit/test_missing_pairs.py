"""A pair that an exchange doesn't list is down by itself; the others are served, and it is once it is listed."""

from __future__ import annotations

import contextlib

from bridge.connector import connections
from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import ConnectionPlan, Profile, Subscription
from bridge.model import Channel
from tests.unit.feeding import PAIR, TRADES, FakeExchange, FakeSession, Venue, connected
from tests.unit.publishing import until

NEW = Subscription(Channel.TRADES, "NEW-EUR")


class Listing(FakeExchange):
    """Lists some pairs; each has a connection."""

    listed: set[str]

    def discover(self, now):
        del now
        for pair in self.pairs:
            if pair not in self.listed:
                raise UnknownPairError("fake", pair, ["BTC-EUR"])
        return
        yield

    def plan(self):
        url = self.profile.url
        return [
            ConnectionPlan(pair, (Subscription(Channel.TRADES, pair),), lambda: FakeSession(url)) for pair in self.pairs
        ]


@contextlib.asynccontextmanager
async def feed(venue, listed, kind=Listing):
    kind = type("Tuned", (kind,), {"listed": listed})
    exchange = kind(Profile((NEW.subject, PAIR), frozenset({Channel.TRADES}), url=venue.url))
    async with connected(exchange, TRADES, NEW) as (_, desk, logs):
        yield desk, logs


async def test_the_others_are_served():
    async with Venue() as venue, feed(venue, {PAIR}) as (desk, logs):
        await until(lambda: venue.peers)
        venue.say(k="trade", id="1")
        await until(lambda: desk.sinks[TRADES].data)
        assert desk.sinks[NEW].said() == ["down"]
        assert "did you mean BTC-EUR?" in desk.sinks[NEW].events[0].reason
        assert [supervisor.plan.name for supervisor in desk.supervisors] == [PAIR]
        assert [entry["pair"] for entry in logs.entries if entry["event"] == "pair_not_listed"] == [NEW.subject]
        assert [error.kind for error in desk.faults] == ["unknown_pair"]


async def test_the_reason_is_told_where_the_stream_was_down_before():
    class Failing(Listing):
        tries = 0

        def discover(self, now):
            self.tries += 1
            if self.tries == 1:
                raise RestError("fake", "/pairs", 500, "out of order")
            return (yield from super().discover(now))

    async with Venue() as venue, feed(venue, {PAIR}, Failing) as (desk, _):
        await until(lambda: len(desk.sinks[NEW].events) == 2)
        assert desk.sinks[NEW].said() == ["down", "down"]
        assert "no pair NEW-EUR" in desk.sinks[NEW].events[-1].reason


async def test_it_is_served_once_it_is_listed(monkeypatch):
    monkeypatch.setattr(connections, "_PAIR_AGAIN", 0.02)
    listed = {PAIR}
    async with Venue() as venue, feed(venue, listed) as (desk, logs):
        await until(lambda: venue.opened == 1)
        listed.add(NEW.subject)
        await until(lambda: venue.opened == 2)
        assert [supervisor.plan.name for supervisor in desk.supervisors] == [PAIR, "NEW-EUR:NEW-EUR"]
        assert [entry["event"] for entry in logs.entries if entry["event"].startswith("pair_")] == [
            "pair_not_listed",
            "pair_listed",
        ]


async def test_nothing_listed_ends_nothing():
    async with Venue() as venue, feed(venue, set()) as (desk, _):
        await until(lambda: desk.sinks[NEW].said() == desk.sinks[TRADES].said() == ["down"])
        assert venue.opened == 0
