"""The recipe for Hummingbot, as its page has it, with Hummingbot's own feeds."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bridge.keys import Keys
from tests.consumers.candle_items import write_candle
from tests.patience import PATIENCE
from tests.servers import RedisServer
from tests.unit.doc_pages import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "use-with-hummingbot.md"
KEY = Keys().candles("coinbase", "BTC-USD", "1m")
MINUTE = 60_000
FIRST = 29_771_827
"""The number of a bar of a minute since the epoch."""


def candle(client: Any, number: int, **settings: Any) -> None:
    write_candle(client, KEY, number, MINUTE, **settings)


def test_the_page_is_python_that_compiles():
    code, _ = blocks(PAGE, "py")
    compile(code, str(PAGE), "exec")


@pytest.fixture
def recipe(redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    pytest.importorskip("hummingbot.data_feed.candles_feed.candles_factory", reason="hummingbot is not installed")
    code, _ = blocks(PAGE, "py")
    path = tmp_path / "tickbridge_candles.py"
    path.write_text(code)
    monkeypatch.setenv("TICKBRIDGE_REDIS__URL", redis_server.url)
    spec = importlib.util.spec_from_file_location("tickbridge_candles", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tickbridge_candles", module)
    spec.loader.exec_module(module)
    return module


def test_a_feed_of_hummingbot_follows_the_stream(
    recipe: ModuleType, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    feeds = sys.modules["hummingbot.data_feed.candles_feed.candles_factory"]
    with redis_server.client() as client:
        candle(client, FIRST, count=0, volume="0")
        candle(client, FIRST + 1, state="incomplete")
        candle(client, FIRST + 2, count=0, volume="0")
        table = asyncio.run(_follow(feeds, recipe.register("coinbase"), client))
    assert list(table["close"]) == [float(f"6508{(FIRST + n) % 10}.25") for n in (1, 3, 4, 5)]
    assert list(table["volume"]) == [0.0, 2.5, 2.5, 0.0]
    assert list(table["n_trades"]) == [0.0, 3.0, 3.0, 3.0]
    assert f"the candle of {(FIRST + 1) * 60} is incomplete: gap" in caplog.text
    assert "Hole" in caplog.text, "candles that are missing are logged"


async def _follow(feeds: Any, name: str, client: Any) -> Any:
    """The feed's table once it is full; then a candle comes whose predecessors are missing."""
    feed = feeds.CandlesFactory.get_candle(
        feeds.CandlesConfig(connector=name, trading_pair="BTC-USD", interval="1m", max_records=4)
    )
    await feed.start_network()
    try:
        async with asyncio.timeout(PATIENCE):
            await _until(feed, [1, 2])
            assert not feed.ready
            for number in (3, 4, 5):
                candle(client, FIRST + number, volume="" if number == 5 else "2.5")
            await _until(feed, [2, 3, 4, 5])
            assert feed.ready
            table = feed.candles_df
            candle(client, FIRST + 8)
            await _until(feed, [8])
            return table
    finally:
        await feed.stop_network()


async def _until(feed: Any, bars: list[int]) -> None:
    while [int(row[0]) for row in feed._candles] != [(FIRST + bar) * 60 for bar in bars]:
        await asyncio.sleep(0.01)
