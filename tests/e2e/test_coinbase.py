"""A Coinbase recording, replayed, into Redis: every trade once, every book right, to the digit."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from bridge.recordings.recording import RecvRow, read_recording
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually, sequences
from tests.servers import RedisServer

FIXTURE = Path(__file__).parent.parent / "fixtures" / "coinbase-small.jsonl"
SHARED = Path(__file__).parents[3] / "shared" / "recordings" / "coinbase-2026-08.jsonl.zst"
PAIRS = ["BTC-USD", "ETH-USD"]


def messages(recording: Path) -> list[dict[str, Any]]:
    return [json.loads(row.data) for row in read_recording(recording) if isinstance(row, RecvRow)]


def publish(run: Run, server: RedisServer, recording: Path, tmp_path: Path, transport: str) -> redis.Redis:
    """Replay the recording through a connector until the last message's entry stands in Redis."""
    replay = run("replay", str(recording), "--port", "0", "--speed", "max")
    url = replay.wait_for("ws://").split()[0]
    config = tmp_path / "coinbase.yaml"
    connector = {"name": "cb", "exchange": "coinbase", "pairs": PAIRS, "url": url, "transport": transport}
    config.write_text(yaml.safe_dump({"redis": {"url": server.url}, "connectors": [connector]}))
    connector_process = run("run", "--config", str(config))
    replay.wait_for("frames sent")
    client = redis.Redis.from_url(server.url, decode_responses=True)
    expected = str(max(m["sequence_num"] for m in messages(recording) if m["channel"] == "l2_data"))

    def last_delta() -> bool:
        newest = [client.xrevrange(f"md:{{coinbase:{pair}}}:book", count=1) for pair in PAIRS]
        return any(rows and rows[0][1].get("xseq") == expected for rows in newest)

    eventually(last_delta, f"xseq {expected}")
    assert connector_process.stop() == 0
    return client


def check(client: redis.Redis, recording: Path) -> None:
    rows = messages(recording)
    for pair in PAIRS:
        assert trades_in(client, pair) == trades_of(rows, pair)
        check_book(client, rows, pair)
        for _, quote in client.xrange(f"md:{{coinbase:{pair}}}:quotes"):
            if quote["type"] == "quote":
                assert Decimal(quote["bid"]) < Decimal(quote["ask"])
    for key, numbers in sequences(client).items():
        assert numbers == list(range(1, len(numbers) + 1)), key


def trades_in(client: redis.Redis, pair: str) -> list[tuple[str, ...]]:
    entries = client.xrange(f"md:{{coinbase:{pair}}}:trades")
    return [(f["id"], f["price"], f["size"], f["side"]) for _, f in entries if f["type"] == "trade"]


def trades_of(rows: list[dict[str, Any]], pair: str) -> list[tuple[str, ...]]:
    """Every trade of the recording once, oldest first; the recorded side is the maker's."""
    taker = {"BUY": "sell", "SELL": "buy"}
    trades: dict[str, tuple[str, ...]] = {}
    for row in rows:
        for event in row["events"] if row["channel"] == "market_trades" else []:
            for trade in event["trades"]:
                if trade["product_id"] == pair:
                    ident = trade["trade_id"]
                    trades[ident] = (ident, trade["price"], trade["size"], taker[trade["side"]])
    return [trades[ident] for ident in sorted(trades, key=int)]


def check_book(client: redis.Redis, rows: list[dict[str, Any]], pair: str) -> None:
    """A book from the stream equals a book from the recording, at every delta."""
    entries = [fields for _, fields in client.xrange(f"md:{{coinbase:{pair}}}:book") if fields["type"] != "control"]
    events = [
        (str(row["sequence_num"]), event)
        for row in rows
        if row["channel"] == "l2_data"
        for event in row["events"]
        if event["product_id"] == pair
    ]
    assert len(entries) == len(events)
    mine: dict[tuple[str, str], str] = {}
    true: dict[tuple[str, str], str] = {}
    for entry, (number, event) in zip(entries, events, strict=True):
        assert entry["xseq"] == number
        if event["type"] == "snapshot":
            assert entry["type"] == "snapshot"
            mine, true = {}, {}
        for update in event["updates"]:
            put(true, "bids" if update["side"] == "bid" else "asks", update["price_level"], update["new_quantity"])
        for side in ("bids", "asks"):
            for level in entry[side].split():
                put(mine, side, *level.split(":"))
        assert mine == true
    assert mine


def put(book: dict[tuple[str, str], str], side: str, price: str, size: str) -> None:
    if Decimal(size):
        book[side, price] = size
    else:
        book.pop((side, price), None)


@pytest.mark.parametrize("transport", ["websockets", "picows"])
def test_the_small_recording(run: Run, redis_server: RedisServer, tmp_path: Path, transport: str) -> None:
    if transport == "picows":
        pytest.importorskip("picows")
    check(publish(run, redis_server, FIXTURE, tmp_path, transport), FIXTURE)


def test_the_full_recording_on_every_server(run: Run, any_server: RedisServer, tmp_path: Path) -> None:
    if not SHARED.exists():
        pytest.skip(f"the full recording is not on this machine ({SHARED.name})")
    check(publish(run, any_server, SHARED, tmp_path, "auto"), SHARED)


def test_the_batch_that_is_repeated_after_a_reconnect_stands_once(
    run: Run, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The same recording again, after a restart: its trades are all known, its books come anew."""
    publish(run, redis_server, FIXTURE, tmp_path, "auto")
    client = publish(run, redis_server, FIXTURE, tmp_path, "auto")
    rows = messages(FIXTURE)
    for pair in PAIRS:
        assert trades_in(client, pair) == trades_of(rows, pair)
        events = [f["event"] for _, f in client.xrange(f"md:{{coinbase:{pair}}}:trades") if f["type"] == "control"]
        assert events == ["live", "stop", "live", "stop"]
        snapshots = [f for _, f in client.xrange(f"md:{{coinbase:{pair}}}:book") if f["type"] == "snapshot"]
        assert len(snapshots) == 2
    for key, numbers in sequences(client).items():
        assert numbers == list(range(1, len(numbers) + 1)), key
