"""The end of a demo: hold the market, let everything catch up, and compare."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.book import Book
from bridge.demo.control import AWAY, Control
from bridge.demo.stage import EXCHANGE, Stage
from bridge.demo.verdict import TradeCheck, book_differences, check_trades, wallet_differences
from bridge.demo.watch import Heartbeats, Watcher
from bridge.entries import parse_levels
from bridge.errors import BridgeError
from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from consumers.positions import last_id
from consumers.service import catalog

__all__ = ["Findings", "Quiet", "compare", "conclude"]

_LOOK_EVERY = 0.1


class Findings(Struct, frozen=True):
    """What the comparison found: differences in words, by pair or account; empty lists where all is equal.

    ``books`` are those that the demo built from the streams, ``kept`` those that the books service keeps for late
    joiners.
    """

    books: dict[str, list[str]]
    kept: dict[str, list[str]]
    wallets: dict[str, list[str]]
    trades: dict[str, TradeCheck]

    @property
    def books_differ(self) -> bool:
        return any((*self.books.values(), *self.kept.values()))


class Quiet:
    """Whether all has come to rest: two heartbeats, and between them nothing received, nothing read, nothing waiting."""

    def __init__(self) -> None:
        self._beat: dict[str, str] = {}
        self._read = -1

    def disturbed(self, beat: dict[str, str] | None, read: int) -> str:
        """What still moves, in words; empty when nothing does. ``read`` is counted after the heartbeat was taken."""
        if beat is None:
            return "the connector is away"
        if beat["state"] != "live":
            return f"the connector is {beat['state']}"
        if int(beat["waiting"]) or self.moved(beat, read):
            self._beat, self._read = beat, -1 if int(beat["waiting"]) else read
            return "entries still come"
        return "" if self._beat["beat"] != beat["beat"] else "the connector's next heartbeat is due"

    def moved(self, beat: dict[str, str], read: int) -> bool:
        """Whether anything has come since."""
        return self._read != read or any(self._beat.get(name) != beat.get(name) for name in ("instance", "received"))


async def conclude(
    stage: Stage, control: Control, watcher: Watcher, *, beats: Heartbeats, redis: Redis, seconds: float, faults: bool
) -> tuple[Findings, list[str]]:
    """Hold the market, wait until everything that it said has come through, and compare.

    Returns:
        What was found, and what was still missing after ``seconds``, in words.

    Raises:
        BridgeError: the simulator or Redis is still away then.
    """
    deadline = time.monotonic() + seconds
    quiet = Quiet()
    while True:
        late = time.monotonic() > deadline
        try:
            await control.pause()
            if faults:
                await control.fault(fault="clear")
            missing = await _still_missing(stage, control, watcher, redis)
            beat = await beats.look()
            if disturbed := quiet.disturbed(beat, watcher.read):
                missing.append(disturbed)
            if late or not missing:
                found = await compare(stage, control, watcher, redis)
                # A fresh snapshot may come at any time.
                if not late and quiet.moved(beats.last, watcher.read):
                    missing.append("entries still come")
                # With faults, a message that was left out may show only at the next snapshot.
                if late or not (missing or (faults and found.books_differ)):
                    return found, missing
        except (*AWAY, RedisError) as error:
            if late:
                msg = f"there is nothing to compare with at the end: {str(error) or type(error).__name__}"
                raise BridgeError(msg) from None
        await asyncio.sleep(_LOOK_EVERY)


async def compare(stage: Stage, control: Control, watcher: Watcher, redis: Redis) -> Findings:
    """Hold books, wallets and trades against the exchange's own.

    Raises:
        aiohttp.ClientError: the simulator is away.
        redis.exceptions.RedisError: Redis is.
    """
    books, kept, trades = {}, {}, {}
    for pair, keeper in sorted(watcher.keepers.items()):
        truth = await control.book(pair)
        books[pair] = book_differences(keeper.book, truth) if keeper.valid else [f"invalid: {keeper.reason}"]
        kept[pair] = book_differences(await _late_join(redis, stage.keys, pair), truth)
        key = stage.keys.stream(EXCHANGE, pair, Channel.TRADES)
        since = None if watcher.interruptions.get(key) else watcher.began.get(key)
        true = (await control.trades(pair))["trades"]
        trades[pair] = check_trades(watcher.trades.get(pair, ()), true, since)
    return Findings(books, kept, await _wallets(stage, control, watcher, redis), trades)


async def _still_missing(stage: Stage, control: Control, watcher: Watcher, redis: Redis) -> list[str]:
    """What hasn't come through yet, apart from the connector itself."""
    state = await control.state()
    missing = ["the exchange has messages to send"] if any(each["buffered"] for each in state["sockets"]) else []
    missing += [f"the book of {pair} is invalid" for pair, keeper in watcher.keepers.items() if not keeper.valid]
    return missing + await _unread(stage, watcher, redis)


async def _unread(stage: Stage, watcher: Watcher, redis: Redis) -> list[str]:
    """The streams whose end the demo, or the service that keeps a hash of them, hasn't come to."""
    missing = []
    for key, stream in (await catalog(redis, stage.keys)).items():
        end = await last_id(redis, key)
        if end != "0-0" and watcher.cursors.get(key) != end:
            missing.append(f"{key} is not read to its end")
        kept = await _kept_until(redis, stage.keys, stream)
        if end != "0-0" and kept not in (None, end):
            missing.append(f"the hash of {key} is not up to date")
    return missing


async def _kept_until(redis: Redis, keys: Keys, stream: StreamKey) -> str | None:
    """The entry at which the service's hash stands; ``""`` if there is none yet, ``None`` if no service keeps one."""
    if stream.channel is Channel.BOOK:
        return str(await redis.hget(keys.snapshot(stream.exchange, stream.subject), "id") or "")
    if not stream.public:
        return str(await redis.hget(keys.wallet(stream.exchange, stream.subject), f"id:{stream.channel}") or "")
    return None


async def _late_join(redis: Redis, keys: Keys, pair: str) -> Book:
    fields: dict[str, str] = await redis.hgetall(keys.snapshot(EXCHANGE, pair))  # type: ignore[assignment]
    book = Book()
    book.replace(parse_levels(fields.get("bids", "")), parse_levels(fields.get("asks", "")))
    return book


async def _wallets(stage: Stage, control: Control, watcher: Watcher, redis: Redis) -> dict[str, list[str]]:
    truth: dict[str, Any] = await control.account(stage.account)
    accounts = {stage.account: (stage.account, truth)}
    for name, sub in truth["subaccounts"].items():
        accounts[f"{stage.account}/{sub['uuid']}"] = (f"{stage.account}/{name}", sub)
    found = {}
    for subject, (shown, true) in accounts.items():
        wallet: dict[str, str] = await redis.hgetall(  # type: ignore[assignment]
            stage.keys.wallet(EXCHANGE, subject)
        )
        # The account itself is asked for by REST after each connect; a sub-account can't be.
        since = {
            channel: 0
            if subject == stage.account
            else watcher.known_since.get(stage.keys.stream(EXCHANGE, subject, channel), time.time_ns())
            for channel in (Channel.BALANCES, Channel.ORDERS)
        }
        found[shown] = wallet_differences(
            wallet, true, balances_since=since[Channel.BALANCES], orders_since=since[Channel.ORDERS]
        )
    return found
