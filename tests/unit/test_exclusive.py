"""Connections that an account may have only once: open while this process may have them, and never two at a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bridge.connector.connections import Connections
from bridge.exchanges import exchange_type
from bridge.exchanges.api import ConnectionPlan, Poll, Profile, Subscription
from bridge.feed.exclusive import ExclusiveAccess
from bridge.model import Channel
from tests.patience import PATIENCE
from tests.unit.feeding import TRADES, FakeExchange, FakeSession, Venue, connected
from tests.unit.publishing import until

FILLS = Subscription(Channel.FILLS, "main")
BALANCES = Subscription(Channel.BALANCES, "main")


class OneConnection(FakeExchange):
    """A pair, and an account that may have one connection."""

    one_private_connection = True
    private_channels = frozenset({Channel.FILLS})
    polled = 0

    def plan(self):
        url = self.profile.url
        plans = {"market": TRADES, "account": FILLS}
        return [ConnectionPlan(name, (stream,), lambda: FakeSession(url)) for name, stream in plans.items()]

    def polls(self):
        return [Poll("balances", (BALANCES,), 0.01, self._look)]

    def _look(self, now):
        del now
        self.polled += 1
        return []
        yield


def names(desk: Any) -> list[str]:
    return sorted(supervisor.plan.name for supervisor in desk.supervisors)


def access_of(connections: Connections) -> ExclusiveAccess:
    return connections._context.access


async def test_the_account_s_connection_is_open_while_this_process_may_have_it():
    async with Venue() as venue:
        exchange = OneConnection(Profile(("BTC-EUR",), frozenset({Channel.TRADES}), url=venue.url))
        async with connected(exchange, TRADES, FILLS, BALANCES) as (connections, desk, logs):
            access = access_of(connections)
            access.withhold("another process writes")
            await until(lambda: venue.opened == 1 and any(e["event"] == "connection_withheld" for e in logs.entries))
            assert names(desk) == ["market"], "nothing is down that is not to be up"
            assert exchange.polled == 0
            access.allow("another process writes")
            await until(lambda: len(venue.peers) == 2 and exchange.polled)
            assert names(desk) == ["account", "market"]
            for number in range(2):
                access.withhold("it is passed on")
                async with asyncio.timeout(PATIENCE):
                    await access.closed()
                await until(lambda: len(venue.peers) == 1)
                assert desk.sinks[FILLS].said()[-1] == "down"
                assert desk.topics[FILLS].reason == "it is passed on"
                assert venue.opened == 2 + number
                access.allow("it is passed on")
                await until(lambda: len(venue.peers) == 2)


async def test_it_is_replaced_by_none_beside_it():
    """A second one might be refused, or end the first: it is given up, and opened again."""
    async with Venue() as venue:
        kind = type("Silent", (OneConnection,), {"silence": {Channel.FILLS: 0.2}})
        exchange = kind(Profile((), frozenset(), url=venue.url))
        exchange.plan = lambda: [ConnectionPlan("account", (FILLS,), lambda: FakeSession(venue.url))]
        most = 0
        async with connected(exchange, FILLS, BALANCES) as (_, desk, logs):
            await until(lambda: venue.peers)
            desk.topics[FILLS].go_live(1)
            while "down" not in desk.sinks[FILLS].said():
                most = max(most, len(venue.peers))
                await asyncio.sleep(0)
            await until(lambda: venue.opened == 2)
            assert desk.sinks[FILLS].said() == ["live", "stale", "down"]
            assert most == 1
            assert not any(entry["event"] == "replacing_connection" for entry in logs.entries)


async def test_access_is_withheld_while_there_is_a_reason():
    access = ExclusiveAccess()
    await access.allowed()
    await access.closed()
    access.withhold("one")
    access.withhold("two")
    assert access.withheld_for == "two"
    access.allow("two")
    access.allow("of which nobody knows")
    assert access.withheld_for == "one"
    waiting = asyncio.ensure_future(access.allowed())
    await access.withheld()
    assert not waiting.done()
    access.allow("one")
    await waiting
    assert not access.withheld_for
    with access.used(), access.used():
        closed = asyncio.ensure_future(access.closed())
        await asyncio.sleep(0)
        assert not closed.done()
    await closed


@pytest.mark.parametrize("name", ["coinbase", "ccxt.coinbase", "bybit", "limitlex"])
def test_what_exchanges_declare(name: str) -> None:
    kind = exchange_type(name)
    assert kind.one_private_connection == name.endswith("coinbase")
    exchange: Any = kind.__new__(kind)
    assert exchange.exclusive([TRADES, FILLS]) == name.endswith("coinbase")
    assert not exchange.exclusive([TRADES])
    assert not exchange.exclusive([])
