"""Simulated hours on a fast clock: sessions are renewed, a standby takes over, faults come, and nothing may grow.

Imported once the clock is installed (see `clock`).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import yaml
from redis.asyncio import Redis

from bridge.chaos.usage import open_files, rss
from bridge.cli.common import load
from bridge.config import Settings
from bridge.publish.batch import History
from bridge.simulator import AccountSpec, Simulator, SimulatorConfig
from bridge.simulator.events import Filled, MarketEvent
from bridge.simulator.lmex.markets import market_config
from bridge.simulator.lmex.options import LmexConfig
from tests.servers import RedisServer
from tests.soak.clock import FastClock, FastLoop
from tests.soak.follow import Follower
from tests.soak.twins import CHANGES, Twins, separate

__all__ = ["hours"]

_HOUR = 3600.0
_LOOK = 600.0
_PAIRS = ("BTC-USD", "ETH-USD", "BTC-PERP", "ETH-PERP")
_AFTERMATH = 180.0
"""Seconds after a fault in which streams may be down: what is dead is noticed after 45."""
_PUBLIC: tuple[dict[str, Any], ...] = (
    {"fault": "cut", "sockets": "public"},
    {"fault": "close", "sockets": "public"},
    {"fault": "freeze", "sockets": "public", "duration": 60},
)
_HARMLESS: tuple[dict[str, Any], ...] = (
    {"fault": "rest_errors", "duration": 20},
    {"fault": "rest_errors", "duration": 30, "status": 429, "retry_after": 5},
    {"fault": "gap", "count": 2},
    {"fault": "crossed"},
    {"fault": "corrupt", "sockets": "public", "count": 2},
    {"fault": "unknown", "count": 2},
    {"fault": "duplicate", "count": 20},
)
_PRIVATE: tuple[dict[str, Any], ...] = (
    {"fault": "expire_tokens"},
    {"fault": "cut", "sockets": "private"},
    {"fault": "freeze", "sockets": "private", "duration": 60},
)


class _World:
    """Simulator, connector, and what watches them."""

    def __init__(self, directory: Path, server: RedisServer, *, lifetime: float, rate: float, seed: int) -> None:
        self.directory = directory
        self.server = server
        self.lifetime = lifetime
        self.random = Random(seed)
        market = market_config(
            _PAIRS, seed=seed, activity=0.1, trades_kept=200, accounts=(AccountSpec("main"),), max_levels=40
        )
        lmex = LmexConfig(session_lifetime=lifetime, session_end="error")
        self.simulator = Simulator(SimulatorConfig("lmex", market, rate=rate, options=lmex))
        self.fills: set[str] = set()
        self.simulator.market.subscribe(self._heard)
        self.breaks: list[float] = []
        """When faults were that end connections."""
        self.faults: Counter[str] = Counter()
        self.changes: list[tuple[float, float, str]] = []
        """When the writer and its standby changed: from when to when, and how."""
        self._due: list[str] = []
        self.kinds: list[Counter[str]] = []
        """How many objects of each kind there were, at each measure."""

    def settings(self, ws: str, rest: str) -> Settings:
        """A connector's config with the product's own limits, but for those that wait for Redis (see `clock`)."""
        access = self.simulator.dialect.accesses()[0]
        connector = {"name": "lmex", "exchange": "lmex", "pairs": list(_PAIRS), "account": "main"}
        connector["standby"] = True
        connector["silence"] = {"book": "15m"}  # so few messages come here
        options = {"session_lifetime": self.lifetime, "ticker_interval": "1m", "balances_interval": "5m"}
        account = {"exchange": "lmex", "api_key": access.api_key, "api_secret": access.secret.decode()}
        config: dict[str, Any] = {
            "redis": {"url": self.server.url, "reply_timeout": "12h", "connect_timeout": "12h"},
            "connectors": [{**connector, "url": ws, "rest_url": rest, "options": options}],
            "accounts": {"main": account},
            "retention": {**{channel: {"max_entries": 400, "max_age": "30m"} for channel in _CHANNELS}, **_LONGER},
            "buffer": {"max_age": "12h"},
            "heartbeat": {"interval": "1m", "ttl": "24h"},
            "share_limits": False,  # they are kept by Redis' clock, which does not follow the simulated time
            "shutdown_timeout": "24h",
            "http": {"port": "off"},
            "loop": "asyncio",
            "log": {"format": "json"},
        }
        path = self.directory / "run.yaml"
        path.write_text(yaml.safe_dump(config))
        return load(path)

    def strike(self, *, private: bool) -> None:
        """One fault of each kind in turn, at random."""
        fault = self.random.choice((*_PUBLIC, *_HARMLESS, *(_PRIVATE if private else ())))
        if fault in (*_PUBLIC, *_PRIVATE):
            self.breaks.append(time.time())
        self.faults[f"{fault['fault']} {fault.get('sockets', '')}".strip()] += 1
        self.simulator.fault(**fault)

    async def change(self, twins: Twins) -> None:
        """A change of each kind in turn, at random."""
        await twins.ready()
        self._due = self._due or self.random.sample(CHANGES, len(CHANGES))
        begun, change = time.time(), self._due.pop()
        await twins.change(change)
        self.changes.append((begun, time.time(), change))

    def unfounded(self, breaks: list[tuple[float, str, str, str]]) -> list[str]:
        """Breaks of streams that no fault has brought: what the writer and its standby do breaks none."""
        found = []
        for at, key, event, why in breaks:
            polled = key.endswith((":ticker", ":balances"))
            if event == "down" and not polled and not any(0 <= at - fault <= _AFTERMATH for fault in self.breaks):
                found.append(f"{at}: {key} was down, and no fault said why: {why}")
            for begun, ended, change in self.changes:
                if begun <= at <= ended:
                    found.append(f"{at}: {key} says {event} ({why}) at this change: {change}")
        return found

    def _heard(self, events: list[MarketEvent]) -> None:
        self.fills.update(self.simulator.dialect.fill_id(event) for event in events if isinstance(event, Filled))


_LONGER = {"book": {"max_entries": 1_200, "max_age": "2h"}, "trades": {"max_entries": 400, "max_age": "24h"}}
"""A book whose last snapshot is too old is cut at the next one: what was said just before would be gone. Of a stream whose
trades have all been cut, a standby that starts later cannot know that what the exchange repeats was written."""
_CHANNELS = ("trades", "book", "quotes", "ticker", "orders", "fills", "balances", "positions")


def hours(
    directory: Path, clock: FastClock, *, simulated: float, lifetime: float, rate: float = 0.5, seed: int = 1
) -> tuple[dict[str, Any], list[str]]:
    """Run for so many simulated hours, with log-ins that last ``lifetime`` seconds.

    Returns:
        Figures, and what is wrong.
    """
    server = RedisServer(directory / "redis")
    server.start()
    world = _World(directory, server, lifetime=lifetime, rate=rate, seed=seed)
    try:
        with asyncio.Runner(loop_factory=lambda: FastLoop(clock)) as runner:
            separate(runner.get_loop())  # type: ignore[arg-type]
            return runner.run(_hours(world, simulated))
    finally:
        server.kill()


async def _hours(world: _World, simulated: float) -> tuple[dict[str, Any], list[str]]:
    async with world.simulator.serve() as urls:
        settings = world.settings(urls.ws, urls.rest)
        redis = Redis.from_url(world.server.url, decode_responses=True, socket_timeout=12 * _HOUR)
        follower = Follower(redis)
        twins = Twins(settings, redis, follower.look)
        await twins.start()
        measures = await _watch(world, twins, follower, simulated)
        wrong = await _agreed(world, follower)
        heartbeat = await redis.hgetall("bridge:connector:lmex")
        await twins.stop()
        await follower.look()
        await redis.aclose()
    report = _report(world, follower, measures, heartbeat)
    report["replacements"] = twins.replacements
    expected = sum(max(int(seconds / world.lifetime) - 1, 0) for seconds in twins.lives)
    wrong += twins.wrong + follower.wrong + _grown(measures)
    wrong += world.unfounded(follower.breaks)
    if twins.replacements < expected:
        wrong.append(f"only {twins.replacements} log-ins were renewed, at least {expected} were due")
    if missing := world.fills - follower.fills:
        wrong.append(f"{len(missing)} executions are missing of {len(world.fills)}")
    return report, wrong


async def _watch(world: _World, twins: Twins, follower: Follower, simulated: float) -> list[dict[str, float]]:
    """Let faults come, and the two change places, until the time is up; figures of every hour."""
    begun = time.monotonic()
    measures: list[dict[str, float]] = []
    next_fault, next_change = begun + _HOUR / 4, begun + _HOUR / 8
    while time.monotonic() - begun < simulated * _HOUR or len(measures) < int(simulated):
        await asyncio.sleep(_LOOK)
        twins.raise_if_ended()
        await follower.look()
        now = time.monotonic()
        if now - begun >= _HOUR * (len(measures) + 1):
            measures.append(await _measure(world, follower))
        if now >= next_fault:
            # Log-ins are ended early only in the first tenth: those after it last as long as they may.
            world.strike(private=now - begun < simulated * _HOUR / 10)
            next_fault = now + world.random.uniform(0.3, 1.5) * _HOUR
        elif now >= next_change:  # after a fault, not with it: what is down then has another cause
            await world.change(twins)
            next_change = now + world.random.uniform(0.1, 0.4) * _HOUR
    return measures


async def _agreed(world: _World, follower: Follower) -> list[str]:
    """Hold the market, and see that the books are the true ones."""
    world.simulator.fault("clear")
    await asyncio.sleep(_AFTERMATH)
    world.simulator.pause()
    await asyncio.sleep(_AFTERMATH)
    await follower.look()
    wrong = []
    for pair in _PAIRS:
        true = world.simulator.book(pair)
        if not follower.is_book(pair, true):
            wrong.append(f"the book of {pair} is not the true one")
    return wrong


async def _measure(world: _World, follower: Follower) -> dict[str, float]:
    """What must not grow."""
    gc.collect()
    objects = gc.get_objects()
    kinds = Counter(type(one).__name__ for one in objects)
    world.kinds.append(kinds)
    # What the publisher remembers (4 MiB of it) fills up for hours, too: a tuple and a list for each run of entries.
    remembered = sum([len(one._runs) for one in objects if type(one) is History])
    return {
        "rss_kib": rss(os.getpid()),
        "objects": len(objects) - sum(kinds[name] * each for name, each in _FILLING.items()) - 2 * remembered,
        "containers_kib": sum(sys.getsizeof(one) for one in objects if type(one) in (dict, list, set)) / 1024,
        "tasks": len(asyncio.all_tasks()),
        "files": open_files(os.getpid()),
        "sockets": len(world.simulator.hub.sockets),
        "keys": await follower.redis.dbsize(),
        "entries": sum([await follower.redis.xlen(key) for key in follower.keys]),
    }


_FILLING = Counter({"_Minute": 1})
"""Objects of what fills up to a bound for hours, and how many belong to each: the simulator's minutes of a day."""
_SLACK = {
    "rss_kib": 32_768.0,
    "objects": 4_000.0,
    "containers_kib": 4_096.0,
    "tasks": 4.0,
    "files": 4.0,
    "sockets": 0.0,
    "keys": 1.0,
    "entries": 6_000.0,
}
"""By how much the last hour may be above the first: what fills up, connections that come and go, and the key of rejects,
which comes with the first of them."""
_RIPE = 30
"""The hour by which everything that has a bound has reached it."""
_TIGHT = {**_SLACK, "rss_kib": 4_096.0, "objects": 2_000.0, "containers_kib": 512.0}


def _grown(measures: list[dict[str, float]]) -> list[str]:
    """What is more at the end than after the first hour, or for long runs, than it was when everything was full."""
    pairs = [("the first hour", measures[0], _SLACK)]
    if len(measures) > _RIPE + 6:
        pairs.append((f"hour {_RIPE}", measures[_RIPE - 1], _TIGHT))
    return [
        f"{name} has grown since {when}: from {before[name]:.0f} to {measures[-1][name]:.0f}"
        for when, before, slack in pairs
        for name in before
        if measures[-1][name] > before[name] + slack[name]
    ]


def _report(
    world: _World, follower: Follower, measures: list[dict[str, float]], heartbeat: dict[str, str]
) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        heartbeat = {name: heartbeat[name] for name in ("reconnects", "replacements", "received", "published", "lost")}
    return {
        "first_hour": measures[0],
        "last_hour": measures[-1],
        "hours": len(measures),
        "rss_kib": [round(one["rss_kib"]) for one in measures],
        "objects": [one["objects"] for one in measures],
        "more_objects": dict((world.kinds[-1] - world.kinds[0]).most_common(12)),
        "faults": dict(world.faults),
        "changes": dict(Counter(change for _, _, change in world.changes)),
        "longest_change": max((ended - begun for begun, ended, _ in world.changes), default=0.0),
        "done_by_simulator": dict(world.simulator.hub.done),
        "sockets_opened": world.simulator.hub.opened,
        "heartbeat": heartbeat,
        "fills": len(world.fills),
        "trades": follower.trades,
        "entries_read": follower.read,
        "controls": {key: dict(count) for key, count in sorted(follower.controls.items())},
    }
