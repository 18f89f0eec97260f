"""The end of a run: the markets are paused, all faults end, and the streams catch up with the exchanges."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Container, Mapping
from typing import Any

from bridge.book import Book
from bridge.chaos.world import Venue, World
from bridge.demo.control import UNREACHABLE
from bridge.demo.differences import book_differences, wallet_differences
from bridge.entries import parse_levels
from bridge.model import Channel
from bridge.redis.errors import FAILURES

__all__ = ["final_differences", "settle", "without_lost_orders"]

_LOOK_EVERY = 0.5
_PATIENCE = 90.0
_UNKNOWN = 2**63
"""A time after all others: nothing is known of a stream that does not exist."""


async def settle(world: World, say: Callable[[str], None]) -> list[str]:
    """Pause the markets and wait until nothing differs; returns what still does after a minute and a half, in words.

    What was left out of private messages may show with a new connection only, so those are cut.
    """
    deadline = time.monotonic() + _PATIENCE
    cut: set[str] = set()
    said = 0.0
    while True:
        missing = []
        try:
            for venue in world.venues.values():
                await venue.control.fault(fault="clear")
                if venue.exchange not in cut:
                    await venue.control.fault(fault="cut", sockets="private")
                    cut.add(venue.exchange)
                await venue.control.pause()
            missing = await _starting(world) or await final_differences(world)
        except (*UNREACHABLE, *FAILURES) as error:
            missing = [f"an exchange or Redis does not answer: {str(error) or type(error).__name__}"]
        if not missing or time.monotonic() > deadline:
            return missing
        if time.monotonic() > said + 10:
            said = time.monotonic()
            say(f"waiting: {missing[0]}" + f" (and {len(missing) - 1} more)" * (len(missing) > 1))
        await asyncio.sleep(_LOOK_EVERY)


async def _starting(world: World) -> list[str]:
    """The connectors that are not live, or have entries that wait; and Redis, while another master may have the streams."""
    found = [] if await world.servers.settled() else ["the servers of Redis have not agreed on their master yet"]
    for exchange in world.venues:
        heartbeat: Any = await world.redis.hgetall(world.keys.connector(exchange))
        if heartbeat.get("state") != "live":
            found.append(f"the connector of {exchange} is {heartbeat.get('state', 'not running')}")
        elif int(heartbeat["waiting"]):
            found.append(f"entries of {exchange} wait for Redis")
    return found


async def final_differences(world: World) -> list[str]:
    """Where the books, orders, balances and positions at the end of the streams, or in hashes, are not the exchange's."""
    await world.collector.look()
    found = []
    for venue in world.venues.values():
        for pair in venue.pairs:
            found += await _book(world, venue, pair)
        subjects = await venue.control.subjects(venue.account)
        for subject, true in subjects.items():
            found += await _account(world, venue, subject, true)
    return found


async def _book(world: World, venue: Venue, pair: str) -> list[str]:
    name = f"{venue.exchange} {pair}"
    keeper = world.collector.books.get((venue.exchange, pair))
    if keeper is None:
        return [f"the book of {name} does not exist"]
    if not keeper.valid:
        return [f"the book of {name} is invalid: {keeper.reason}"]
    true = await venue.control.book(pair)
    hashed: Any = await world.redis.hgetall(world.keys.snapshot(venue.exchange, pair))
    kept = Book()
    kept.replace(parse_levels(hashed.get("bids", "")), parse_levels(hashed.get("asks", "")))
    return [f"the book of {name}: {words}" for words in book_differences(keeper.book, true)] + [
        f"the late-join hash of {name}: {words}" for words in book_differences(kept, true)
    ]


async def _account(world: World, venue: Venue, subject: str, true: dict[str, Any]) -> list[str]:
    name = f"{venue.exchange} {true['name']}"
    since = {}
    for channel in (Channel.BALANCES, Channel.ORDERS):
        key = world.keys.stream(venue.exchange, subject, channel)
        known = world.collector.reset_at.get(key, 0) if true["restated"] else None
        since[channel] = world.collector.known_since.get(key, _UNKNOWN) if known is None else known
    wallet = world.collector.wallets.get((venue.exchange, subject))
    fields = wallet.fields if wallet else {}
    hashed: Any = await world.redis.hgetall(world.keys.wallet(venue.exchange, subject))
    orders: Container[str] = world.collector.orders[venue.exchange, subject]
    if int(hashed.get("gaps:orders", 0)) > int(fields.get("gaps:orders", 0)):
        # A hole that is not in the stream: the consumer had read on at the old master, and missed ends of orders.
        orders = {order["order_id"] for order in true["orders"]}
    hashed = without_lost_orders(hashed, orders)
    return [
        f"{what} of {name}: {words}"
        for what, each in (("the account", fields), ("the wallet hash", hashed))
        for words in wallet_differences(
            each, true, balances_since=since[Channel.BALANCES], orders_since=since[Channel.ORDERS]
        )
    ]


def without_lost_orders(wallet: Mapping[str, str], known: Container[str]) -> dict[str, str]:
    """A wallet's hash without the unconfirmed orders that are not ``known``.

    A consumer has read of them what a failover lost afterwards. If the connector was replaced meanwhile, nobody is left who
    could report what becomes of them.
    """
    kept = {}
    for name, text in wallet.items():
        order = json.loads(text) if name.startswith("order:") else {}
        if not order.get("unconfirmed") or order["order_id"] in known:
            kept[name] = text
    return kept
