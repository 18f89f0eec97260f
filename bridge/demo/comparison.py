"""The end of a demo: pauses the markets, waits until everything has arrived, and compares."""

from __future__ import annotations

import asyncio
import time

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.book import Book
from bridge.demo.control import UNREACHABLE
from bridge.demo.differences import TradeCheck, book_differences, check_trades, wallet_differences
from bridge.demo.heartbeats import Heartbeats
from bridge.demo.setup import Setup
from bridge.demo.venue import Instrument, Venue
from bridge.demo.watch import Watcher
from bridge.entries import parse_levels
from bridge.errors import BridgeError
from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from consumers.positions import last_id
from consumers.service import catalog

__all__ = ["Findings", "QuietCheck", "compare", "settle_and_compare"]

_LOOK_EVERY = 0.1


class Findings(Struct, frozen=True):
    """The differences from one exchange, in words, by pair or account; empty lists mean that all is equal.

    ``books`` are the books that the demo built from the streams, ``kept`` those that the books service keeps for late
    joiners.
    """

    books: dict[str, list[str]]
    kept: dict[str, list[str]]
    wallets: dict[str, list[str]]
    trades: dict[str, TradeCheck]

    @property
    def books_differ(self) -> bool:
        return any((*self.books.values(), *self.kept.values()))

    @property
    def wallets_differ(self) -> bool:
        return any(self.wallets.values())


class QuietCheck:
    """Whether nothing moves any more: between two heartbeats, nothing was received or read, and nothing waits."""

    def __init__(self) -> None:
        self._heartbeat: dict[str, str] = {}
        self._read = -1

    def disturbed(self, heartbeat: dict[str, str] | None, read: int) -> str:
        """What still moves, in words, or ``""``. ``read`` must be counted after the heartbeat was read."""
        if heartbeat is None:
            return "the connector is not running"
        if heartbeat["state"] != "live":
            return f"the connector is {heartbeat['state']}"
        if int(heartbeat["waiting"]) or self.moved(heartbeat, read):
            self._heartbeat, self._read = heartbeat, -1 if int(heartbeat["waiting"]) else read
            return "entries are still arriving"
        return "" if self._heartbeat["beat"] != heartbeat["beat"] else "the connector's next heartbeat is due"

    def moved(self, heartbeat: dict[str, str], read: int) -> bool:
        """Whether anything has been received or read since."""
        return self._read != read or any(
            self._heartbeat.get(name) != heartbeat.get(name) for name in ("instance", "received")
        )


async def settle_and_compare(
    setup: Setup, watcher: Watcher, *, heartbeats: Heartbeats, redis: Redis, seconds: float
) -> tuple[dict[str, Findings], list[str]]:
    """Pause the markets, end all faults, wait until all messages have arrived, and compare.

    There may be faults even if the demo injects none: those that users inject.

    Returns:
        The findings by exchange, and what was still missing after ``seconds``, in words.

    Raises:
        BridgeError: a simulator or Redis is still unreachable then.
    """
    deadline = time.monotonic() + seconds
    quiet = {venue.exchange: QuietCheck() for venue in setup.venues}
    while True:
        late = time.monotonic() > deadline
        try:
            missing = []
            for venue in setup.venues:
                await venue.control.pause()
                if not venue.recorded:
                    await venue.control.fault(fault="clear")
                missing += await _unsent(venue)
            missing += [f"the book of {each} is invalid" for each, kept in watcher.keepers.items() if not kept.valid]
            missing += await _unread(setup, watcher, redis)
            missing += await _disturbances(quiet, heartbeats, watcher)
            if late or not missing:
                found = {venue.exchange: await compare(setup, venue, watcher, redis) for venue in setup.venues}
                # A fresh snapshot may come at any time.
                if not late and _moved(quiet, heartbeats, watcher):
                    missing.append("entries are still arriving")
                if late or not (missing or any(_may_change(each) for each in found.values())):
                    return found, missing
        except (*UNREACHABLE, RedisError) as error:
            if late:
                msg = f"cannot compare at the end: {str(error) or type(error).__name__}"
                raise BridgeError(msg) from None
        await asyncio.sleep(_LOOK_EVERY)


async def compare(setup: Setup, venue: Venue, watcher: Watcher, redis: Redis) -> Findings:
    """Compare books, wallets and trades with those of the exchange.

    Raises:
        aiohttp.ClientError: the simulator is unreachable.
        redis.exceptions.RedisError: Redis is unreachable.
    """
    books, kept, trades = {}, {}, {}
    for instrument in sorted(venue.instruments):
        pair, keeper = instrument.pair, watcher.keepers.get(instrument)
        if keeper is None:
            continue
        truth = await venue.control.book(pair)
        books[pair] = book_differences(keeper.book, truth) if keeper.valid else [f"invalid: {keeper.reason}"]
        kept[pair] = book_differences(await _late_join(redis, setup.keys, instrument), truth)
        key = setup.keys.stream(venue.exchange, pair, Channel.TRADES)
        # A recording begins anew for each connection, so nothing of it can be missed.
        since = 0 if venue.recorded else None if watcher.interruptions.get(key) else watcher.began.get(key)
        trades[pair] = check_trades(watcher.trades.get(instrument, ()), await venue.control.trades(pair), since)
    return Findings(books, kept, await _wallets(setup, venue, watcher, redis), trades)


def _may_change(found: Findings) -> bool:
    """Whether what differs may still become equal.

    Balances may have to be requested. After a fault, a dropped message may be noticed only at the next snapshot.
    """
    return bool(found.wallets_differ or found.books_differ)


async def _disturbances(quiet: dict[str, QuietCheck], heartbeats: Heartbeats, watcher: Watcher) -> list[str]:
    found = []
    for exchange, heartbeat in heartbeats.of.items():
        if disturbed := quiet[exchange].disturbed(await heartbeat.read(), watcher.read[exchange]):
            found.append(f"{exchange}: {disturbed}")
    return found


def _moved(quiet: dict[str, QuietCheck], heartbeats: Heartbeats, watcher: Watcher) -> bool:
    return any(
        quiet[exchange].moved(heartbeat.last, watcher.read[exchange]) for exchange, heartbeat in heartbeats.of.items()
    )


async def _unsent(venue: Venue) -> list[str]:
    """Whether the exchange itself still has messages to send."""
    state = await venue.control.state()
    waiting = any(each["buffered"] for each in state["sockets"])
    return [f"{venue.exchange} has messages to send"] if waiting else []


async def _unread(setup: Setup, watcher: Watcher, redis: Redis) -> list[str]:
    """The streams that the demo, or the service that keeps a hash of them, has not read to their end."""
    missing = []
    for key, stream in (await catalog(redis, setup.keys)).items():
        end = await last_id(redis, key)
        if end != "0-0" and watcher.cursors.get(key) != end:
            missing.append(f"{key} is not read to its end")
        kept = await _kept_until(redis, setup.keys, stream)
        if end != "0-0" and kept not in (None, end):
            missing.append(f"the hash of {key} is not up to date")
    return missing


async def _kept_until(redis: Redis, keys: Keys, stream: StreamKey) -> str | None:
    """The last entry in the service's hash; ``""`` if there is no hash yet, ``None`` if no service keeps one."""
    if stream.channel is Channel.BOOK:
        return str(await redis.hget(keys.snapshot(stream.exchange, stream.subject), "id") or "")
    if not stream.public:
        return str(await redis.hget(keys.wallet(stream.exchange, stream.subject), f"id:{stream.channel}") or "")
    return None


async def _late_join(redis: Redis, keys: Keys, instrument: Instrument) -> Book:
    fields: dict[str, str] = await redis.hgetall(keys.snapshot(*instrument))  # type: ignore[assignment]
    book = Book()
    book.replace(parse_levels(fields.get("bids", "")), parse_levels(fields.get("asks", "")))
    return book


async def _wallets(setup: Setup, venue: Venue, watcher: Watcher, redis: Redis) -> dict[str, list[str]]:
    found = {}
    for subject, true in (await venue.control.subjects(venue.account)).items():
        wallet: dict[str, str] = await redis.hgetall(  # type: ignore[assignment]
            setup.keys.wallet(venue.exchange, subject)
        )
        since = {
            channel: 0
            if true["restated"]
            else watcher.known_since.get(setup.keys.stream(venue.exchange, subject, channel), time.time_ns())
            for channel in (Channel.BALANCES, Channel.ORDERS)
        }
        found[true["name"]] = wallet_differences(
            wallet, true, balances_since=since[Channel.BALANCES], orders_since=since[Channel.ORDERS]
        )
    return found
