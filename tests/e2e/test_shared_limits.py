"""Connectors as processes of their own: what the exchange says to one the others heed, and together they don't storm it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from bridge.chaos.proxy import Proxy
from tests.e2e.conftest import Run, Simulate
from tests.e2e.observing import connect, eventually
from tests.servers import RedisServer, free_port
from tests.unit.rest_server import RestServer


def config(path: Path, name: str, pair: str, redis_url: str, rest_url: str) -> str:
    connector = {
        "name": name,
        "exchange": "limitlex",
        "pairs": [pair],
        "url": f"ws://127.0.0.1:{free_port()}/",
        "rest_url": rest_url,
    }
    path.write_text(yaml.safe_dump({"redis": {"url": redis_url}, "connectors": [connector]}))
    return str(path)


async def test_a_ban_of_one_process_is_heeded_by_the_next(run: Run, redis_server: RedisServer, tmp_path: Path) -> None:
    async with RestServer() as server:
        server.answers += [(418, {"Retry-After": "7200"}, {})] * 9
        one, two, apart = (
            config(tmp_path / f"{name}.yaml", name, pair, redis_server.url, f"{server.url}/{name}")
            for name, pair in (("one", "BTC-EUR"), ("two", "ETH-EUR"), ("apart", "BTC-USD"))
        )
        await asyncio.to_thread(run("run", "--config", one).wait_for, "discovery_failed")
        said = await asyncio.to_thread(run("run", "--config", two).wait_for, "discovery_failed")
        assert "not asked: the exchange wants no requests for another 7" in said
        elsewhere = run("run", "--config", apart, TICKBRIDGE_SHARE_LIMITS="other-node")
        await asyncio.to_thread(elsewhere.wait_for, "discovery_failed")
        assert {path.split("/")[1] for path in server.paths} == {"one", "apart"}
        with connect(redis_server) as client:
            host = server.url.removeprefix("http://")
            assert 7000 < client.ttl(f"bridge:limits:{{{host}}}:held") <= 7200
            assert 7000 < client.ttl(f"bridge:limits:{{other-node@{host}}}:held") <= 7200


class Door(Proxy):
    """Notes when somebody wants in."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.times: list[float] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.times.append(time.monotonic())
        await super()._serve(reader, writer)

    def most_within(self, seconds: float) -> int:
        """How many came at most within so long."""
        return max(sum(begin <= other < begin + seconds for other in self.times) for begin in self.times)


async def test_a_fleet_that_loses_its_connections_at_once_comes_back_one_by_one(
    run: Run, simulate: Simulate, redis_server: RedisServer, tmp_path: Path
) -> None:
    """Four attempts a second are as many as one process would make."""
    simulated = simulate(redis_server.url, rate=20)
    given = simulated.config["connectors"][0]
    names = [f"part-{number}" for number in range(8)]
    with connect(redis_server) as client:

        def live() -> bool:
            return all(client.hget(f"bridge:connector:{name}", "state") == "live" for name in names)

        async with Door(urlsplit(given["url"]).port or 0) as door:
            for number, name in enumerate(names):
                config = simulated.write(
                    tmp_path / f"{name}.yaml",
                    name=name,
                    account=None,
                    pairs=[simulated.pairs[number % len(simulated.pairs)]],
                    channels=[("trades", "book", "quotes", "ticker")[number // len(simulated.pairs)]],
                    url=given["url"].replace(str(door.target), str(door.port)),
                )
                run("run", "--config", str(config), TICKBRIDGE_HTTP__PORT="0")
            await asyncio.to_thread(eventually, live, "that all are live")
            assert len(door.times) == len(names)
            door.times.clear()
            door.cut()
            while len(door.times) < len(names):
                await asyncio.sleep(0.05)
            await asyncio.to_thread(eventually, live, "that all are live again")
            assert door.most_within(0.9) <= 4
