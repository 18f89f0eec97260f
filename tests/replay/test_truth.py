"""What `replay --compare` says that streams should hold: as the recording states it, or as the exchange's module reads it."""

from __future__ import annotations

import json
from decimal import Decimal

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request

from bridge.demo.recorded import RECORDED, recorded_pairs
from bridge.errors import ConfigError
from bridge.recordings.index import RecordingIndex
from bridge.recordings.recording import ExpectRow, RecvRow, read_recording
from bridge.recordings.replay import MAX_SPEED, serve_replay
from bridge.recordings.truth import truth_of
from tests.unit.recorded_rows import rows

TRADE = {"id": "7", "time": 1795176001, "side": "buy", "price": "10.5", "size": "2"}


def written(path, *stated):
    """A recording with a frame before each statement, all on one connection."""
    lines = [{"t": "header", "format": 2, "exchange": "okx"}]
    lines.append({"t": "connect", "conn": "ws", "ts": 1, "addr": "wss://x/a"})
    lines.append({"t": "send", "conn": "ws", "ts": 1, "data": "{}"})
    for number, row in enumerate(stated):
        lines.append({"t": "recv", "conn": "ws", "ts": 1, "data": f"frame {number}"})
        lines.append({"t": "expect", "conn": "ws", "ts": 1, "pair": "BTC-USDT", **row})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


BEGINS = {"whole": True, "bids": [["10", "1"], ["9", "1"]], "asks": [["11", "3"]]}
GOES_ON = {"bids": [["10", "0"]], "asks": [["11", "5"], ["12", "1"]], "trades": [TRADE]}


async def test_a_made_recording_states_what_is_true(tmp_path):
    path = written(tmp_path / "made.jsonl", BEGINS, GOES_ON, {"trades": [TRADE]})
    async with (
        serve_replay(path, speed=MAX_SPEED, truth=("okx", ["BTC-USDT"])) as server,
        aiohttp.ClientSession(server.rest_url) as http,
        http.ws_connect(f"{server.url}/a") as socket,
    ):
        await socket.send_str("{}")
        await server.finished()
        async with http.get("/sim/streams/book?pair=BTC-USDT") as answer:
            assert await answer.json() == {"bids": [["9", "1"]], "asks": [["11", "5"], ["12", "1"]]}
        async with http.get("/sim/streams/trades?pair=BTC-USDT") as answer:
            assert await answer.json() == {"trades": [TRADE]}


async def test_a_client_is_held_only_when_its_book_has_begun(tmp_path):
    """The demo may end just when the recording begins again: without a book there would be nothing to compare."""
    path = written(tmp_path / "made.jsonl", {"trades": [TRADE]}, BEGINS, GOES_ON)
    async with (
        serve_replay(path, speed=MAX_SPEED, truth=("okx", ["BTC-USDT"])) as server,
        aiohttp.ClientSession(server.rest_url) as http,
    ):
        async with http.post("/sim/pause", json={}) as answer:
            assert answer.status == 200
        async with http.ws_connect(f"{server.url}/a", autoping=False) as socket:
            await socket.send_str("{}")
            assert [await socket.receive_str() for _ in range(2)] == ["frame 0", "frame 1"]
            await socket.ping()
            assert (await socket.receive()).type is aiohttp.WSMsgType.PONG
        async with http.get("/sim/streams/book?pair=BTC-USDT") as answer:
            assert await answer.json() == {"bids": BEGINS["bids"], "asks": BEGINS["asks"]}


@pytest.mark.parametrize("exchange", ["kraken", "okx"])
def test_the_exchanges_module_reads_what_a_made_recording_states(tmp_path, exchange):
    """The levels, too, that a book of limited depth loses without a word."""
    bare = tmp_path / "bare.jsonl"
    kept = [row for row in rows(RECORDED[exchange]) if row["t"] != "expect"]
    bare.write_text("".join(json.dumps(row) + "\n" for row in kept))
    pairs = recorded_pairs(exchange)
    indexes = [RecordingIndex.of(path) for path in (RECORDED[exchange], bare)]
    stated, read = (truth_of(exchange, pairs, index, lambda: None) for index in indexes)
    [states], [reads] = (
        [truth.reader(connection) for connection in index.connections]
        for truth, index in zip((stated, read), indexes, strict=True)
    )
    for row in read_recording(RECORDED[exchange]):
        if isinstance(row, RecvRow):
            reads.sent(row.payload)
        elif isinstance(row, ExpectRow):
            states.expected(row)
    for pair in pairs:
        books = [asked(truth, "book", pair) for truth in (stated, read)]
        assert numbers(books[0]) == numbers(books[1])
        assert len(books[0]["bids"]) == 100
        trades = [asked(truth, "trades", pair)["trades"] for truth in (stated, read)]
        assert [{**t, "size": Decimal(t["size"]), "price": Decimal(t["price"])} for t in trades[0]] == [
            {**t, "size": Decimal(t["size"]), "price": Decimal(t["price"])} for t in trades[1]
        ]


def asked(truth, what, pair):
    return json.loads(truth.respond(make_mocked_request("GET", f"/sim/streams/{what}?pair={pair}")).text)


def numbers(book):
    return {side: [(Decimal(price), Decimal(size)) for price, size in levels] for side, levels in book.items()}


def test_books_that_frames_alone_do_not_have(tmp_path):
    path = tmp_path / "bare.jsonl"
    path.write_text('{"t":"header","exchange":"binance"}\n')
    with pytest.raises(ConfigError, match="the books of binance cannot be read from its frames alone"):
        truth_of("binance", ["BTC-USDT"], RecordingIndex.of(path), lambda: None)
