"""What a connector reads while it runs: what joins and leaves by its exchange's list and its config, and what waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from bridge.config import ConnectorSettings
from bridge.connector import pairs
from bridge.connector.pairs import PairKeeper
from bridge.connector.router import Router
from bridge.errors import AlreadyRunningError, RedisUnavailableError
from bridge.exchange_errors import RestError
from bridge.exchanges.api import ListedPair
from tests.servers import RedisServer
from tests.unit.publishing import until
from tests.unit.routers import opened


class Desk:
    """A connector as the keeper sees it: its exchange with its list, its streams, its connections."""

    def __init__(self, settings: dict[str, Any], present: Sequence[str], listed: Collection[str] | None) -> None:
        self.listed = listed
        """``None``: REST is away."""
        self.open = list(present)
        """The pairs whose streams are open."""
        self.connected = list(present)
        self.taken: set[str] = set()
        """Pairs that another connector writes."""
        self.looked = 0
        logs = LogCapture()
        self.lines = logs.entries
        context: Any = SimpleNamespace(exchange=self, rest=self, log=structlog.wrap_logger(None, processors=[logs]))
        connections: Any = self
        router: Any = self
        self.keeper = PairKeeper(of(**settings), present, connections, router, context)

    def list_pairs(self) -> Iterator[Any]:
        yield

    async def drive(self, flow: Iterator[Any]) -> list[ListedPair]:
        del flow
        self.looked += 1
        if self.listed is None:
            raise RestError("fake", "/pairs", 503, "away")
        return [ListedPair(pair) for pair in self.listed]

    async def include(self, pair: str) -> None:
        if pair in self.taken:
            raise AlreadyRunningError("other", "it writes this one")
        self.open.append(pair)

    async def exclude(self, gone: Collection[str], reason: str) -> None:
        del reason
        self.open = [pair for pair in self.open if pair not in gone]

    async def add(self, joined: Sequence[str]) -> None:
        self.connected += joined

    def remove(self, gone: Collection[str]) -> None:
        self.connected = [pair for pair in self.connected if pair not in gone]

    async def look(self) -> bool:
        done = await self.keeper._look()
        assert sorted(self.open) == sorted(self.connected) == sorted(self.keeper.pairs)
        return done

    def said(self, event: str) -> list[Any]:
        return [line.get("pairs", line.get("pair", line.get("count"))) for line in self.lines if line["event"] == event]


def of(**settings: Any) -> ConnectorSettings:
    return ConnectorSettings.model_validate({"name": "a", "exchange": "bybit", "channels": ("trades",), **settings})


PATTERN = {"pairs": ["ADA-EUR", "*-USDT"], "max_pairs": 2}
PRESENT = ("ADA-EUR", "BTC-USDT")


async def test_a_pair_that_the_list_lacks_twice_leaves() -> None:
    desk = Desk(PATTERN, PRESENT, ["ETH-USDT"])
    assert await desk.look()
    assert desk.open == ["ADA-EUR", "BTC-USDT", "ETH-USDT"]
    assert await desk.look()
    assert desk.open == ["ADA-EUR", "ETH-USDT"]  # the one that is named stays, listed or not


async def test_a_pair_that_was_lacking_once_may_be_lacking_once_again() -> None:
    desk = Desk(PATTERN, PRESENT, [])
    for listed in ([], ["BTC-USDT"], [], ["BTC-USDT"]):
        desk.listed = listed
        await desk.look()
    assert desk.said("pairs_left") == []


async def test_without_the_list_what_the_config_alone_says_is_done() -> None:
    desk = Desk(PATTERN, PRESENT, None)
    desk.keeper.revise(of(pairs=["SOL-EUR", "*-USDT"], max_pairs=2))
    assert not await desk.look()
    assert desk.open == ["BTC-USDT", "SOL-EUR"]
    desk.keeper.revise(of(pairs=["SOL-EUR", "*-EUR"], max_pairs=2))
    assert not await desk.look()
    assert desk.open == ["SOL-EUR"]
    desk.listed = ["BTC-EUR"]
    assert await desk.look()
    assert desk.open == ["SOL-EUR", "BTC-EUR"]


async def test_pairs_beyond_the_limit_are_left_out_and_counted_when_their_number_changes() -> None:
    desk = Desk(PATTERN, PRESENT, ["BTC-USDT", "A-USDT", "B-USDT", "C-USDT"])
    await desk.look()
    assert desk.open == ["ADA-EUR", "BTC-USDT", "A-USDT"]
    for listed in (desk.listed, None, desk.listed, ["BTC-USDT", "A-USDT", "B-USDT"]):
        desk.listed = listed
        await desk.look()
    assert desk.said("pairs_left_out") == [2, 1]


async def test_a_pair_that_another_connector_writes_waits_and_the_others_do_not() -> None:
    desk = Desk(PATTERN, PRESENT, ["BTC-USDT", "ETH-USDT"])
    desk.taken = {"SOL-EUR"}
    desk.keeper.revise(of(pairs=["ADA-EUR", "SOL-EUR", "*-USDT"], max_pairs=2))
    assert not await desk.look()
    assert (desk.open, desk.said("pair_not_joined")) == (["ADA-EUR", "BTC-USDT", "ETH-USDT"], ["SOL-EUR"])
    desk.taken.clear()
    assert await desk.look()
    assert desk.open[-1] == "SOL-EUR"


@contextlib.asynccontextmanager
async def running(desk: Desk) -> Any:
    task = asyncio.create_task(desk.keeper.run())
    try:
        yield
        assert not task.done(), task.exception()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_what_was_not_done_is_tried_again_before_the_next_look_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "_RETRY", 0.02)
    desk = Desk({"pairs": ["BTC-EUR"]}, ["BTC-EUR"], None)
    desk.taken = {"ETH-EUR"}
    async with running(desk):
        desk.keeper.revise(of(pairs=["BTC-EUR", "ETH-EUR"]))
        await until(lambda: len(desk.said("pair_not_joined")) > 1)
        desk.taken.clear()
        await until(lambda: "ETH-EUR" in desk.connected)
    assert desk.looked == 0


async def test_the_list_is_looked_at_when_the_config_was_read_again() -> None:
    desk = Desk(PATTERN, PRESENT, ["BTC-USDT"])
    async with running(desk):
        desk.keeper.revise(of(**PATTERN))
        await until(lambda: desk.looked == 1)


async def test_a_pair_whose_streams_could_not_all_be_opened_is_tried_again_from_the_start(
    redis_server: RedisServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(redis_server, tmp_path, served=False) as router:
        whole, calls = router._store.open, []

        async def fail(stream: Any) -> Any:
            calls.append(stream.key)
            if len(calls) == 2:
                raise RedisUnavailableError("here", "out of reach")
            return await whole(stream)

        monkeypatch.setattr(router._store, "open", fail)
        with pytest.raises(RedisUnavailableError):
            await router.include("ETH-EUR")
        assert subjects(router) == ["BTC-EUR"]
        await router.include("ETH-EUR")
        assert subjects(router) == ["BTC-EUR", "ETH-EUR"]
        keys = [stream.key for stream in router._publisher._streams]
        assert len(keys) == len(set(keys))


def subjects(router: Router) -> list[str]:
    """The pairs that have streams."""
    return sorted({stream.subject for stream in router._publisher._streams} - {"main"})
