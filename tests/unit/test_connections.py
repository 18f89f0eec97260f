"""Pairs that come and go: their connections, what is polled for them, and what is under way when they leave."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import pytest

from bridge.exchange_errors import UnknownPairError
from bridge.exchanges.api import ConnectionPlan, Poll, Profile, Subscription
from bridge.feed.connection import Connection
from bridge.feed.rest import RestClient
from bridge.model import Channel
from tests.unit.feeding import PAIR, QUOTES, TRADES, FakeExchange, FakeSession, Venue, connected, feed
from tests.unit.publishing import until

OTHER = "ETH-EUR"
STREAMS = {pair: Subscription(Channel.TRADES, pair) for pair in (PAIR, OTHER)}


class Shared(FakeExchange):
    """All pairs share a connection and a poll; of those that are ``unknown``, the listing says so."""

    looked: list[tuple[str, ...]]
    """The pairs of each poll, as it was run."""
    unknown: set[str]

    def discover(self, now):
        del now
        return self._find(self.pairs)

    def _find(self, pairs):
        for pair in pairs:
            if pair in self.unknown:
                raise UnknownPairError("fake", pair, [])
        return
        yield

    def plan(self):
        url, streams = self.profile.url, tuple(STREAMS[pair] for pair in self.pairs)
        return [ConnectionPlan("market", streams, lambda: FakeSession(url))] if streams else []

    def polls(self):
        return [Poll("ticker", tuple(STREAMS[pair] for pair in self.pairs), 0.01, partial(self._look, self.pairs))]

    def _look(self, pairs, now):
        del now
        self.looked.append(pairs)
        return []
        yield


@contextlib.asynccontextmanager
async def shared(venue):
    """The connections of both pairs; and the exchange, whose sort those of later pairs have, too."""
    kind = type("Tuned", (Shared,), {"looked": [], "unknown": set()})
    exchange = kind(Profile((PAIR, OTHER), frozenset({Channel.TRADES}), url=venue.url))
    async with connected(exchange, *STREAMS.values()) as (connections, desk, _):
        yield connections, kind, desk


def served(desk):
    """The pairs of each connection."""
    return [[stream.subject for stream in supervisor.plan.subscriptions] for supervisor in desk.supervisors]


async def test_a_pair_that_comes_back_is_polled_once():
    async with Venue() as venue, shared(venue) as (connections, kind, desk):
        await until(lambda: venue.opened == 1 and kind.looked)
        connections.remove([OTHER])
        assert served(desk) == [[PAIR]]
        await until(lambda: (PAIR,) in kind.looked)
        await connections.add([OTHER])
        await until(lambda: (OTHER,) in kind.looked)
        kind.looked.clear()
        await until(lambda: len(kind.looked) > 10)
        assert set(kind.looked) == {(PAIR,), (OTHER,)}
        assert served(desk) == [[PAIR], [OTHER]]


async def test_the_poll_of_pairs_that_stay_is_not_begun_again():
    async with Venue() as venue, shared(venue) as (connections, kind, _):
        await until(lambda: kind.looked)
        [part] = connections._parts
        before = dict(part.polls)
        connections.remove(["SOL-EUR"])
        connections._poll(part)
        assert part.polls == before


async def test_when_all_have_left_nothing_is_asked_any_more():
    async with Venue() as venue, shared(venue) as (connections, kind, desk):
        await until(lambda: venue.opened == 1 and kind.looked)
        connections.remove([OTHER, PAIR])
        await until(lambda: not venue.peers)
        assert served(desk) == []
        await until(lambda: "poll-ticker" not in {task.get_name() for task in asyncio.all_tasks()})


async def test_the_first_exchange_knows_what_else_is_read():
    """It has the account, whose rows may be of any pair."""
    async with Venue() as venue, shared(venue) as (connections, kind, _):
        exchange = connections._context.exchange
        await until(lambda: venue.opened == 1 and kind.looked)
        connections.remove([OTHER])
        assert exchange.all_pairs == (PAIR,)
        await connections.add([OTHER])
        await until(lambda: exchange.all_pairs == (PAIR, OTHER))
        connections.remove([OTHER])
        assert exchange.all_pairs == (PAIR,)


async def test_it_also_knows_of_those_that_were_listed_late(monkeypatch):
    monkeypatch.setattr("bridge.connector.connections._PAIR_AGAIN", 0.01)
    async with Venue() as venue, shared(venue) as (connections, kind, desk):
        kind.unknown.add(OTHER)
        exchange = connections._context.exchange
        await until(lambda: venue.opened == 1 and desk.faults)
        assert exchange.all_pairs == (PAIR,)
        kind.unknown.clear()
        await until(lambda: exchange.all_pairs == (PAIR, OTHER))
        assert served(desk) == [[PAIR], [OTHER]]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Connections and looks at the listing wait for it."""
    passed = asyncio.Event()
    drive, connect = RestClient.drive, Connection.open

    async def wait_and_drive(self, flow):
        await passed.wait()
        return await drive(self, flow)

    async def wait_and_connect(self):
        await passed.wait()
        await connect(self)

    monkeypatch.setattr(RestClient, "drive", wait_and_drive)
    monkeypatch.setattr(Connection, "open", wait_and_connect)
    return passed


async def test_a_pair_that_leaves_before_it_was_found_gets_no_connection(gate):
    async with Venue() as venue, shared(venue) as (connections, kind, desk):
        gate.set()
        await until(lambda: venue.opened == 1 and kind.looked)
        connections.remove([OTHER])
        await until(lambda: (PAIR,) in kind.looked)
        gate.clear()
        await connections.add([OTHER])
        await asyncio.sleep(0)
        connections.remove([OTHER])
        gate.set()
        kind.looked.clear()
        await until(lambda: len(kind.looked) > 5)
        assert set(kind.looked) == {(PAIR,)}
        assert served(desk) == [[PAIR]]


async def test_a_pair_that_leaves_before_the_list_lacks_it_is_not_waited_for(gate):
    async with Venue() as venue, shared(venue) as (connections, kind, desk):
        kind.unknown.add(OTHER)
        await until(lambda: connections._parts)
        connections.remove([OTHER])
        gate.set()
        await until(lambda: venue.opened == 1)
        [part] = connections._parts
        assert part.waits == {}
        assert desk.faults == []


# --- a connection whose plan has changed -----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def two_streams(venue):
    async with feed(venue, "websockets", subscribed=(TRADES, QUOTES)) as fed:
        yield fed, ConnectionPlan("market", (TRADES,), lambda: FakeSession(venue.url))


async def replaced(venue, fed, plan):
    """Let the venue speak until a connection by this plan serves."""

    def serves():
        venue.say(k="trade", id="1")
        return fed.supervisor._active and fed.supervisor._active.plan is plan

    await until(serves)


async def test_a_plan_that_changes_while_it_connects_is_the_one_that_is_served(gate):
    async with Venue() as venue, two_streams(venue) as (fed, plan):
        await asyncio.sleep(0)
        fed.supervisor.revise(plan)
        gate.set()
        await replaced(venue, fed, plan)
        assert "down" not in fed.said()
        assert fed.said(QUOTES) == []


async def test_a_plan_that_changes_while_a_replacement_connects_is_the_one_that_is_served(gate):
    async with Venue() as venue, two_streams(venue) as (fed, plan):
        gate.set()
        await until(lambda: fed.supervisor.up)
        gate.clear()
        fed.supervisor.replace("asked to")
        await until(lambda: fed.supervisor._replacement)
        fed.supervisor.revise(plan)
        gate.set()
        await replaced(venue, fed, plan)
        assert fed.supervisor.replacements == 2
        assert "down" not in fed.said()
