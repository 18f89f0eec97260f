"""The recipe for Freqtrade, as its page has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import feather

from bridge.keys import Keys
from tests.consumers.candle_items import bars, write_candle
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer
from tests.unit.doc_pages import ROOT, blocks

PAGE = ROOT / "docs" / "how-to" / "use-with-freqtrade.md"
KEY = Keys().candles("coinbase", "BTC-USD", "5m")
FIVE = 300_000
FIRST = 5_954_365
"""The number of a bar of five minutes since the epoch."""


def candle(client: Any, number: int, **settings: Any) -> None:
    write_candle(client, KEY, number, FIVE, **settings)


def run(script: Path, url: str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    env = clean_environment(TICKBRIDGE_REDIS__URL=url, PYTHONPATH=str(ROOT))
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, env=env, text=True, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture
def script(tmp_path: Path) -> Path:
    [code] = blocks(PAGE, "python")
    path = tmp_path / "freqtrade_candles.py"
    path.write_text(code)
    return path


@pytest.fixture
def folder(redis_server: RedisServer, script: Path, tmp_path: Path) -> Path:
    """What the recipe wrote of four candles, two of them with trades and a volume."""
    assert bars("5m").interval.ns == FIVE * 10**6
    with redis_server.client() as client:
        candle(client, FIRST, state="incomplete")
        candle(client, FIRST + 1, count=0, volume="0")
        candle(client, FIRST + 2, volume="")
        candle(client, FIRST + 3)
    folder = tmp_path / "data" / "coinbase"
    done = run(script, redis_server.url, KEY, str(folder))
    assert done.stdout == f"{folder}/BTC_USD-5m.feather: 2 candles, 1 of them incomplete\n"
    return folder


def test_the_file_has_the_candles_with_trades(folder: Path) -> None:
    frame = feather.read_feather(folder / "BTC_USD-5m.feather")
    assert list(frame.columns) == ["date", "open", "high", "low", "close", "volume"]
    assert [int(at.timestamp() * 1000) for at in frame["date"]] == [FIRST * FIVE, (FIRST + 3) * FIVE]
    assert list(frame["close"]) == [float(f"6508{(FIRST + add) % 10}.25") for add in (0, 3)]


def test_freqtrade_reads_it(folder: Path) -> None:
    history = pytest.importorskip("freqtrade.data.history", reason="freqtrade is not installed")
    loaded = history.load_pair_history("BTC/USD", "5m", folder)
    assert list(loaded["date"].diff().dt.total_seconds()[1:]) == [300.0] * 3, "it fills up bars without trades"
    assert list(loaded["volume"]) == [2.5, 0.0, 0.0, 2.5]


def test_another_key_is_a_mistake(redis_server: RedisServer, script: Path, tmp_path: Path) -> None:
    done = run(script, redis_server.url, "md:{coinbase:BTC-USD}:trades", str(tmp_path), code=1)
    assert done.stderr == "md:{coinbase:BTC-USD}:trades is not the key of candles\n"
