"""A Bybit recording, replayed, into Redis: every trade once and in order, every book right at every delta, to the digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from bridge.recordings.recording import RecvRow, read_recording
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually, sequences
from tests.e2e.observing import connect, controls
from tests.servers import RedisServer

FIXTURE = Path(__file__).parent.parent / "fixtures" / "bybit-small.jsonl"
SHARED = Path(__file__).parents[3] / "shared" / "recordings" / "bybit-2026-08.jsonl.zst"
SMALL, ALL = ("DOGE", "SOL"), ("BTC", "DOGE", "ETH", "SOL")


def messages(recording: Path, topic: str) -> list[dict[str, Any]]:
    frames = (json.loads(row.data) for row in read_recording(recording) if isinstance(row, RecvRow))
    return [message for message in frames if message.get("topic") == topic]


def publish(run: Run, server: RedisServer, recording: Path, directory: Path, bases: tuple[str, ...]) -> redis.Redis:
    """Replay the recording, REST answers included, until the last delta of every book stands in Redis."""
    replay = run("replay", str(recording), "--port", "0", "--speed", "max")
    url = replay.wait_for("ws://").split()[0]
    connector = {
        "name": "bybit",
        "exchange": "bybit",
        "pairs": [f"{base}-USDT-PERP" for base in bases],
        "channels": ["trades", "book", "ticker"],
        "url": url.rstrip("/"),
        "rest_url": url.rstrip("/").replace("ws://", "http://"),
    }
    config = directory / "bybit.yaml"
    config.write_text(yaml.safe_dump({"redis": {"url": server.url}, "connectors": [connector]}))
    process = run("run", "--config", str(config))
    client = connect(server)
    for base in bases:
        last = str(messages(recording, f"orderbook.200.{base}USDT")[-1]["data"]["u"])
        key = f"md:{{bybit:{base}-USDT-PERP}}:book"
        eventually(
            lambda key=key, last=last: any(fields.get("xseq") == last for _, fields in client.xrevrange(key, count=3)),
            f"{key} at {last}",
        )
    assert process.stop() == 0
    return client


def check(client: redis.Redis, recording: Path, bases: tuple[str, ...]) -> None:
    for base in bases:
        pair, symbol = f"{{bybit:{base}-USDT-PERP}}", f"{base}USDT"
        trades = [row for message in messages(recording, f"publicTrade.{symbol}") for row in message["data"]]
        mine = [fields for _, fields in client.xrange(f"md:{pair}:trades") if fields["type"] == "trade"]
        assert [(f["id"], f["side"], f["price"], f["size"], f["ts"]) for f in mine] == [
            (t["i"], t["S"].lower(), t["p"], t["v"], f"{t['T']}000000") for t in trades
        ]
        check_book(client, f"md:{pair}:book", messages(recording, f"orderbook.200.{symbol}"))
        last = messages(recording, f"tickers.{symbol}")
        [*_, ticker] = [fields for _, fields in client.xrange(f"md:{pair}:ticker") if fields["type"] == "ticker"]
        prices = [message["data"]["lastPrice"] for message in last if "lastPrice" in message["data"]]
        assert ticker["last"] == prices[-1]
    for key, numbers in sequences(client).items():
        assert numbers == list(range(1, len(numbers) + 1)), key
    assert client.xlen("bridge:rejects:bybit") == 0


def check_book(client: redis.Redis, key: str, recorded: list[dict[str, Any]]) -> None:
    """A book from the stream equals a book from the recording, at every delta."""
    said = controls(client, key)
    assert [event for event in said if event not in ("live", "down", "stop")] == []
    entries = [fields for _, fields in client.xrange(key) if fields["type"] != "control"]
    mine: dict[tuple[str, str], str] = {}
    true: dict[tuple[str, str], str] = {}
    for entry, message in zip(entries, recorded, strict=True):
        assert (entry["type"], entry["xseq"]) == (message["type"], str(message["data"]["u"]))
        assert entry["ts"] == f"{message['cts']}000000"
        if entry["type"] == "snapshot":
            mine, true = {}, {}
        for side, name in (("b", "bids"), ("a", "asks")):
            put(true, side, message["data"][side])
            put(mine, side, [level.split(":") for level in entry[name].split()])
        assert mine == true
    assert len(mine) == 400


def put(book: dict[tuple[str, str], str], side: str, levels: list[list[str]]) -> None:
    for price, size in levels:
        if float(size):
            book[side, price] = size
        else:
            book.pop((side, price), None)


def test_the_small_recording(run: Run, redis_server: RedisServer, tmp_path: Path) -> None:
    check(publish(run, redis_server, FIXTURE, tmp_path, SMALL), FIXTURE, SMALL)


def test_the_full_recording(run: Run, redis_server: RedisServer, tmp_path: Path) -> None:
    if not SHARED.exists():
        pytest.skip(f"the full recording is not on this machine ({SHARED.name})")
    check(publish(run, redis_server, SHARED, tmp_path, ALL), SHARED, ALL)
