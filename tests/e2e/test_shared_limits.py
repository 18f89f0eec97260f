"""Two connectors as processes of their own: what the exchange says to one of them, the other heeds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from tests.e2e.conftest import Run
from tests.e2e.observing import connect
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
