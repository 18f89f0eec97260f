"""Which pairs a connector reads: those that its config names, and those that match its patterns and are listed.

They are looked at again now and then, and when the config was read again: new ones join, and those that are gone leave.
"""

from __future__ import annotations

import asyncio
import fnmatch
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

from msgspec import Struct
from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.config import ConnectorSettings
from bridge.config.values import is_pair
from bridge.connector.connections import Connections
from bridge.connector.router import Router
from bridge.errors import AlreadyRunningError, ConfigError, Problem, RedisUnavailableError
from bridge.exchange_errors import PairsNotServedError, RestError, UnknownPairError
from bridge.exchanges.api import Exchange, ListedPair
from bridge.feed.context import FeedContext
from bridge.feed.policies import backoff
from bridge.feed.rest import RestClient

__all__ = ["Chosen", "PairKeeper", "choose", "choose_or_refuse", "expect_listed", "first_pairs"]

_JITTER = random.Random()  # noqa: S311 - jitter
_TRADING = ("", "online")
_RETRY = 30.0
"""Seconds from one failed look to the next, if that is sooner than the next one is due."""


class Chosen(Struct, frozen=True):
    """The pairs to read; and how many more match a pattern than ``max_pairs`` allows."""

    pairs: tuple[str, ...]
    too_many: int


def choose(connector: ConnectorSettings, listed: Iterable[ListedPair], present: Collection[str] = ()) -> Chosen:
    """The pairs that a connector is to read, by its config and what its exchange lists.

    A pair that matches a pattern joins once it can be traded. If it is ``present``, it stays for as long as it is listed.
    """
    named, patterns = connector.own_pairs, connector.patterns
    found = {
        one.pair
        for one in listed
        if is_pair(one.pair)
        and any(fnmatch.fnmatchcase(one.pair, pattern) for pattern in patterns)
        and (one.pair in present or one.status in _TRADING)
    }.difference(named)
    own = connector.shard.picks(found) if connector.shard else tuple(found)
    ranked = sorted(own, key=lambda pair: (pair not in present, pair))
    most = connector.max_pairs or 0
    return Chosen((*named, *sorted(ranked[:most])), max(0, len(ranked) - most))


def choose_or_refuse(connector: ConnectorSettings, listed: Iterable[ListedPair]) -> tuple[str, ...]:
    """The pairs that a connector is to start with.

    Raises:
        ConfigError: more pairs match than ``max_pairs`` allows.
    """
    chosen = choose(connector, listed)
    if chosen.too_many:
        raise _too_many(connector, chosen)
    return chosen.pairs


def _too_many(connector: ConnectorSettings, chosen: Chosen) -> ConfigError:
    most = connector.max_pairs or 0
    words = f"{most + chosen.too_many} pairs match {', '.join(connector.patterns)}, and {most} are allowed"
    problem = Problem(f"connectors.{connector.name}.max_pairs", words, "raise it, or narrow the patterns")
    return ConfigError([problem])


async def first_pairs(
    connector: ConnectorSettings,
    exchange: Exchange,
    rest: RestClient,
    log: FilteringBoundLogger,
    written: Callable[[], Awaitable[set[str]]] | None = None,
) -> tuple[str, ...]:
    """The pairs that a connector starts with; for patterns, the exchange is asked until it answers.

    If more match than ``max_pairs`` allows, a connector that has ``written`` some of them before goes on with those:
    what the exchange has listed meanwhile must not keep it from starting again.

    Raises:
        ConfigError: more pairs match than ``max_pairs`` allows, and none was written before.
    """
    if not connector.patterns:
        return connector.own_pairs
    waits = backoff(_JITTER)
    while True:
        try:
            listed = await rest.drive(exchange.list_pairs())
            break
        except RestError as error:
            delay = max(next(waits), error.retry_after or 0.0)
            log.warning("pair_list_failed", error=str(error), retry_in=round(delay, 2))
            await asyncio.sleep(delay)
    chosen = choose(connector, listed)
    if chosen.too_many:
        before = await written() if written else set()
        again = choose(connector, listed, before)
        if not before.intersection(again.pairs).difference(connector.own_pairs):
            raise _too_many(connector, chosen)
        log.warning("pairs_left_out", count=again.too_many, max_pairs=connector.max_pairs)
        return again.pairs
    if not chosen.pairs:
        log.warning("no_pair_matches", patterns=connector.patterns)
    return chosen.pairs


async def expect_listed(exchange: Exchange, rest: RestClient, log: FilteringBoundLogger) -> None:
    """Check that the exchange lists every pair (``missing_pairs: error``); it is asked until it answers.

    Raises:
        PairsNotServedError: it does not list some of them.
    """
    waits = backoff(_JITTER)
    while True:
        try:
            await rest.drive(exchange.discover(CLOCK.now()))
            break
        except UnknownPairError as error:
            exchange.missing[error.pair] = error
        except RestError as error:
            delay = max(next(waits), error.retry_after or 0.0)
            log.warning("discovery_failed", error=str(error), retry_in=round(delay, 2))
            await asyncio.sleep(delay)
    unknown = {error.pair: error for error in exchange.unlisted()}
    if unknown:
        raise PairsNotServedError(exchange.name, list(unknown.values()), [])


class PairKeeper:
    """Has a connector read what its config and its exchange's list say, for as long as it runs.

    Args:
        connector: its settings at the start.
        pairs: what it reads at the start.
        connections: its connections.
        router: its streams.
        context: its exchange, and the way to it.
    """

    def __init__(
        self,
        connector: ConnectorSettings,
        pairs: Sequence[str],
        connections: Connections,
        router: Router,
        context: FeedContext,
    ) -> None:
        self._connector = connector
        self._pairs = tuple(pairs)
        self._connections = connections
        self._router = router
        self._context = context
        self._revised = asyncio.Event()
        self._over = 0
        self._absent: set[str] = set()
        """Pairs that the exchange's list lacked at the last look."""

    @property
    def pairs(self) -> tuple[str, ...]:
        """Those that the connector reads at present."""
        return self._pairs

    def revise(self, connector: ConnectorSettings) -> None:
        """The config was read again."""
        self._connector = connector
        self._revised.set()

    async def run(self) -> None:
        """Look again whenever it is due, for as long as the task lives."""
        again: float | None = None
        while True:
            interval = self._connector.refresh_pairs if self._connector.patterns else None
            if again is not None:
                interval = min(again, interval or again)
            try:
                async with asyncio.timeout(interval):
                    await self._revised.wait()
            except TimeoutError:
                pass
            self._revised.clear()
            again = None if await self._look() else _RETRY

    async def _look(self) -> bool:
        """Do what has changed; returns whether that is all done."""
        connector = self._connector
        listed = await self._listed() if connector.patterns else ()
        # Without the list, what the config alone says is done: pairs that it names join, and what it has no more leaves.
        known = [ListedPair(pair) for pair in self._pairs] if listed is None else listed
        chosen = choose(connector, known, self._pairs)
        if chosen.too_many and chosen.too_many != self._over:
            self._context.log.warning("pairs_left_out", count=chosen.too_many, max_pairs=connector.max_pairs)
        self._over = self._over if listed is None else chosen.too_many
        await self._leave([pair for pair in self._pairs if pair not in chosen.pairs])
        joined = await self._join([pair for pair in chosen.pairs if pair not in self._pairs])
        return joined and listed is not None

    async def _listed(self) -> Sequence[ListedPair] | None:
        """The exchange's list; ``None`` if it can't be had now."""
        try:
            return self._bridged(await self._context.rest.drive(self._context.exchange.list_pairs()))
        except RestError as error:
            self._context.log.warning("pair_list_failed", error=str(error), retry_in=_RETRY)
            return None

    def _bridged(self, listed: Sequence[ListedPair]) -> Sequence[ListedPair]:
        """The list, with pairs that it lacks for the first time: an incomplete answer must not end any."""
        names = {one.pair for one in listed}
        absent = {pair for pair in self._pairs if pair not in names}
        bridged = [ListedPair(pair) for pair in sorted(absent - self._absent)]
        self._absent = absent
        return [*listed, *bridged]

    async def _leave(self, pairs: Sequence[str]) -> None:
        if not pairs:
            return
        self._context.log.info("pairs_left", pairs=pairs)
        self._pairs = tuple(pair for pair in self._pairs if pair not in pairs)
        stopping = asyncio.create_task(self._router.exclude(pairs, "the pair is no longer read"), name="exclude")
        await asyncio.sleep(0)  # the streams say so first
        self._connections.remove(pairs)
        await stopping

    async def _join(self, pairs: Sequence[str]) -> bool:
        """Open the streams of these pairs, and connect; one that another connector writes is tried again later."""
        joined = []
        for pair in pairs:
            try:
                await self._router.include(pair)
            except (AlreadyRunningError, RedisUnavailableError) as error:
                self._context.log.warning("pair_not_joined", pair=pair, error=str(error), retry_in=_RETRY)
            else:
                joined.append(pair)
        if joined:
            self._context.log.info("pairs_joined", pairs=joined)
            self._pairs += tuple(joined)
            await self._connections.add(joined)
        return len(joined) == len(pairs)
