"""LMEX's public WebSockets as a client sees them: books, best prices, trades."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from bridge.simulator.lmex.options import LmexConfig
from tests.simulator.helpers import NOW, true_levels
from tests.simulator.lmex_helpers import Follower, LmexRig, Wire, running_lmex, shape, shape_of

SPOT, FUTURES, OSS_SPOT, OSS_FUTURES = "/ws/spot", "/ws/futures", "/ws/oss/spot", "/ws/oss/futures"
MS = int(NOW * 1000)

SNAPSHOT = """{"topic":"update:SNDK-PERP_0","data":{"bids":[["1876.90","44"],["1876.89","122"]],"asks":[["1880.19","900"],["1880.00","450"]],"seqNum":8896865,"prevSeqNum":8896864,"type":"snapshot","symbol":"SNDK-PERP","timestamp":1790134937297}}"""
L1 = """{"topic":"snapshotL1:ETHPFC","data":{"bids":[["4386.37","8403"]],"asks":[["4386.58","8860"]],"type":"snapshotL1","symbol":"ETHPFC","timestamp":1759373840687}}"""
SPOT_TRADE = """{"topic":"tradeHistoryApi:BTC-USD","data":[{"symbol":"BTC-USD","side":"SELL","size":0.0145,"price":76653.1,"tradeId":31626447,"timestamp":1779786372223}]}"""
OLD_TRADE = """{"topic":"tradeHistoryApi","data":[{"price":77099.9,"size":6530,"side":"SELL","symbol":"BTCPFC","tradeId":35993384,"timestamp":1779800209269}]}"""
V2_TRADE = """{"topic":"tradeHistoryApiV2:BTC-PERP","data":[{"symbol":"BTC-PERP","side":"SELL","size":7,"price":5302.8,"tradeId":57971633,"timestamp":1584446020295}]}"""


def of_topic(messages: list[Any], topic: str) -> list[Any]:
    return [message for message in messages if message.get("topic") == topic]


async def truth(rig: LmexRig, pair: str) -> Any:
    return true_levels(await rig.look("book", pair=pair))


@pytest.mark.parametrize(("path", "pair"), [(OSS_SPOT, "BTC-USD"), (OSS_FUTURES, "BTC-PERP")])
async def test_book_begins_with_a_snapshot_before_the_ack(path: str, pair: str) -> None:
    async with running_lmex() as rig, rig.wire(path) as wire:
        snapshot, ack = await wire.ask("subscribe", f"update:{pair}_0")
        assert ack == {"event": "subscribe", "channel": [f"update:{pair}_0"]}
        assert shape(snapshot) == shape_of(SNAPSHOT)
        data = snapshot["data"]
        assert (snapshot["topic"], data["symbol"], data["timestamp"]) == (f"update:{pair}_0", pair, MS)
        prices = {side: [Decimal(price) for price, _ in data[side]] for side in ("bids", "asks")}
        assert prices["bids"] == sorted(prices["bids"], reverse=True)
        assert prices["asks"] == sorted(prices["asks"], reverse=True), "asks come worst first"
        assert Follower(pair).take([snapshot]).levels() == await truth(rig, pair)


@pytest.mark.parametrize(("path", "pair"), [(OSS_SPOT, "ETH-USD"), (OSS_FUTURES, "ETH-PERP")])
async def test_deltas_chain_and_make_the_true_book(path: str, pair: str) -> None:
    async with running_lmex() as rig, rig.wire(path) as wire:
        follower = Follower(pair).take(await wire.ask("subscribe", f"update:{pair}_0"))
        for _ in range(5):
            await rig.simulator.step(300)
            messages = await wire.drain()
            follower.take(messages)
            assert follower.levels() == await truth(rig, pair)
        assert (follower.gaps, follower.deltas > 200) == (0, True)
        assert {message["topic"] for message in messages} == {f"update:{pair}_0"}
        assert shape(messages[0]["data"]["bids"] + messages[0]["data"]["asks"]) == [["str"]]
        sizes = [size for message in messages for side in ("bids", "asks") for _, size in message["data"][side]]
        assert "0" in sizes
        assert not any(Decimal(size) == 0 and size != "0" for size in sizes)


async def test_levels_that_leave_the_window_of_50_come_as_zero() -> None:
    deep = {"min_levels": 55, "max_levels": 80}
    async with running_lmex(("BTC-PERP",), market=deep) as rig, rig.wire(OSS_FUTURES) as wire:
        follower = Follower("BTC-PERP").take(await wire.ask("subscribe", "update:BTC-PERP_0"))
        for _ in range(5):
            await rig.simulator.step(200)
            follower.take(await wire.drain())
            levels = follower.levels()
            assert [len(levels[side]) for side in ("bids", "asks")] == [50, 50]
            assert levels == await truth(rig, "BTC-PERP")
        whole = await rig.look("book", pair="BTC-PERP", levels="0")
        assert min(len(whole["bids"]), len(whole["asks"])) > 50


async def test_resubscribing_sends_a_fresh_snapshot_and_the_chain_goes_on() -> None:
    async with running_lmex(("BTC-PERP",)) as rig, rig.wire(OSS_FUTURES) as wire:
        follower = Follower("BTC-PERP").take(await wire.ask("subscribe", "update:BTC-PERP_0"))
        await rig.simulator.step(100)
        follower.take(await wire.drain())
        before = follower.last
        again = await wire.ask("subscribe", "update:BTC-PERP_0")
        assert [message.get("event") or message["data"]["type"] for message in again] == ["snapshot", "subscribe"]
        assert again[0]["data"]["seqNum"] == before
        await rig.simulator.step(100)
        messages = await wire.drain()
        assert len({message["data"]["seqNum"] for message in messages}) == len(messages), "each delta comes once"
        follower.take([*again, *messages])
        assert follower.gaps == 0
        assert follower.levels() == await truth(rig, "BTC-PERP")


async def test_chain_goes_on_while_nobody_looks() -> None:
    async with running_lmex(("BTC-PERP",)) as rig, rig.wire(OSS_FUTURES) as wire:
        first, _ = await wire.ask("subscribe", "update:BTC-PERP_0")
        assert await wire.ask("unsubscribe", "update:BTC-PERP_0") == [
            {"event": "unsubscribe", "channel": ["update:BTC-PERP_0"]}
        ]
        await rig.simulator.step(200)
        assert await wire.drain() == []
        second, _ = await wire.ask("subscribe", "update:BTC-PERP_0")
        assert second["data"]["seqNum"] > first["data"]["seqNum"]
        assert Follower("BTC-PERP").take([second]).levels() == await truth(rig, "BTC-PERP")


async def test_several_topics_are_acked_in_another_order() -> None:
    topics = ["update:BTC-PERP_0", "update:ETH-PERP_0", "snapshotL1:BTC-PERP"]
    async with running_lmex() as rig, rig.wire(OSS_FUTURES) as wire:
        messages = await wire.ask("subscribe", *topics)
        assert [message["topic"] for message in messages[:-1]] == topics
        assert messages[-1]["channel"] != topics
        assert sorted(messages[-1]["channel"]) == sorted(topics)


async def test_groupings_have_chains_of_their_own_and_the_plain_topic_that_of_0() -> None:
    topics = ["update:BTC-PERP_0", "update:BTC-PERP", "update:BTC-PERP_3"]
    async with running_lmex(("BTC-PERP",)) as rig, rig.wire(OSS_FUTURES) as wire:
        hello = await wire.ask("subscribe", *topics)
        seqs = {message["topic"]: message["data"]["seqNum"] for message in hello[:-1]}
        assert seqs["update:BTC-PERP_0"] == seqs["update:BTC-PERP"] != seqs["update:BTC-PERP_3"]
        assert hello[2]["data"]["bids"] == hello[0]["data"]["bids"], "a snapshot ignores the grouping"
        await rig.simulator.step(200)
        live = await wire.drain()
        fine, same, coarse = (of_topic(live, topic) for topic in topics)
        assert [message["data"] for message in fine] == [message["data"] for message in same]
        tick = Decimal(5) * rig.simulator.market.pairs["BTC-PERP"].spec.tick
        levels = [level for message in coarse for side in ("bids", "asks") for level in message["data"][side]]
        assert levels
        assert all(Decimal(price) % (2 * tick) == 0 for price, _ in levels)


async def test_long_spelling_is_routed_under_the_short_topic() -> None:
    async with running_lmex() as rig, rig.wire(OSS_FUTURES) as wire:
        snapshot, ack = await wire.ask("subscribe", "update:BTC-PERP-USDT_0")
        assert (snapshot["topic"], snapshot["data"]["symbol"]) == ("update:BTC-PERP-USDT_0", "BTC-PERP")
        assert ack["channel"] == ["update:BTC-PERP-USDT_0"]
        await wire.ask("subscribe", "update:BTC-PERP_0")
        await rig.simulator.step(50)
        live = await wire.drain()
        assert {message["topic"] for message in live} == {"update:BTC-PERP_0"}
        assert len({message["data"]["seqNum"] for message in live}) == len(live)
        await wire.ask("unsubscribe", "update:BTC-PERP_0")
        await rig.simulator.step(50)
        assert await wire.drain() == [], "unsubscribing one spelling stops both"


async def test_deltas_may_come_under_a_topic_without_the_grouping() -> None:
    async with running_lmex(lmex=LmexConfig(short_delta_topics=True)) as rig, rig.wire(OSS_SPOT) as wire:
        snapshot, _ = await wire.ask("subscribe", "update:BTC-USD_0")
        await rig.simulator.step(50)
        assert snapshot["topic"] == "update:BTC-USD_0"
        assert {message["topic"] for message in await wire.drain()} == {"update:BTC-USD"}


@pytest.mark.parametrize("symbol", ["ETH-PERP", "ETHPFC"])
async def test_best_prices(symbol: str) -> None:
    async with running_lmex(("ETH-PERP",)) as rig, rig.wire(OSS_FUTURES) as wire:
        first, _ = await wire.ask("subscribe", f"snapshotL1:{symbol}")
        assert shape(first) == shape_of(L1)
        assert (first["topic"], first["data"]["symbol"]) == (f"snapshotL1:{symbol}", symbol)
        await rig.simulator.step(300)
        live = await wire.drain()
        assert len(live) > 20
        book = await rig.look("book", pair="ETH-PERP")
        assert (live[-1]["data"]["bids"], live[-1]["data"]["asks"]) == ([book["bids"][0]], [book["asks"][0]])
        bests = [(message["data"]["bids"], message["data"]["asks"]) for message in [first, *live]]
        assert all(before != after for before, after in itertools.pairwise(bests)), "only on a change"


ERRORS: list[tuple[str, Any]] = [
    ('{"op":"subscribe","args":["foo:BTC-PERP"]}', [("foo:BTC-PERP", 1005, "Topic provided does not exist.")]),
    ('{"op":"subscribe","args":["tradeHistoryApiV2:BTC-PERP"]}', [("tradeHistoryApiV2:BTC-PERP", 1005, "Topic")]),
    (
        '{"op":"subscribe","args":["foo:BTC-PERP","update:NOPE-PERP_0"]}',
        [
            ("foo:BTC-PERP", 1005, "Topic provided does not exist."),
            ("update:NOPE-PERP_0", 1000, "Market pair provided is currently not supported."),
        ],
    ),
    ('{"op":"subscribe","args":["update:BTC-USD_0"]}', [("update:BTC-USD_0", 1000, "Market")]),
    ('{"op":"ping"}', [(None, 1001, "Operation provided is currently not supported")]),
    ('{"op":"login","args":["a","b","c"]}', [(None, 1001, "Operation")]),
    ("PING", [(None, 1002, "")]),
    ("[]", [(None, 1002, "")]),
]


@pytest.mark.parametrize(("frame", "expected"), ERRORS)
async def test_book_endpoint_says_what_is_wrong(frame: str, expected: Any) -> None:
    async with running_lmex() as rig, rig.wire(OSS_FUTURES) as wire:
        await wire.ws.send(frame)
        (error,) = await wire.drain()
        assert list(error) == ["severity", "errors"]
        assert error["severity"] == "ERROR"
        assert len(error["errors"]) == len(expected)
        for row, (topic, code, text) in zip(error["errors"], expected, strict=True):
            assert row.get("arg") == topic
            assert list(row["error"]) == ["code", "message"]
            assert row["error"]["code"] == code
            assert row["error"]["message"].startswith(text)


async def test_one_request_can_have_an_ack_and_errors() -> None:
    async with running_lmex() as rig, rig.wire(OSS_FUTURES) as wire:
        snapshot, ack, error = await wire.ask("subscribe", "update:BTC-PERP_0", "update:NOPE-PERP_0")
        assert snapshot["data"]["type"] == "snapshot"
        assert ack["channel"] == ["update:BTC-PERP_0"]
        assert [row["arg"] for row in error["errors"]] == ["update:NOPE-PERP_0"]


async def test_errors_in_the_old_form() -> None:
    async with running_lmex(lmex=LmexConfig(old_errors=True)) as rig, rig.wire(OSS_SPOT) as wire:
        assert await wire.ask("subscribe", "update:BTCC-USD_0") == [
            {"severity": "ERROR", "error": [{"arg": "update:BTCC-USD_0", "errorCode": "MARKET_PAIR_NOT_SUPPORT"}]}
        ]


async def test_too_many_failures_close_the_socket() -> None:
    async with running_lmex() as rig, rig.wire(OSS_SPOT) as wire:
        for _ in range(9):
            assert [row["errors"][0]["error"]["code"] for row in await wire.ask("subscribe", "foo")] == [1005]
        await wire.send("subscribe", "foo")
        codes = [(await wire.recv())["errors"][0]["error"]["code"] for _ in range(2)]
        assert codes == [1005, 1008]
        await wire.ended()


async def test_silence_where_the_exchange_is_silent() -> None:
    async with running_lmex() as rig, rig.wire(OSS_FUTURES) as books, rig.wire(FUTURES) as main:
        await books.ws.send('{"op":"subscribe"}')
        assert await books.drain() == []
        assert await books.ask("subscribe", "update:BTC-PERP_9") == [
            {"event": "subscribe", "channel": ["update:BTC-PERP_9"]}
        ]
        await main.ws.send('{"op":"subscribe"}')
        await main.ws.send("no JSON")
        await main.ws.send('{"op":"whatever","args":["x"]}')
        assert await main.drain() == []
        await rig.simulator.step(100)
        assert await books.drain() == []


TRADES = [
    (SPOT, "tradeHistoryApi:BTC-USD", "BTC-USD", "BTC-USD", SPOT_TRADE),
    (FUTURES, "tradeHistoryApi:BTC-PERP", "BTC-PERP", "BTCPFC", OLD_TRADE),
    (FUTURES, "tradeHistoryApi:BTCPFC", "BTC-PERP", "BTCPFC", OLD_TRADE),
    (FUTURES, "tradeHistoryApiV2:BTC-PERP", "BTC-PERP", "BTC-PERP", V2_TRADE),
]


@pytest.mark.parametrize(("path", "topic", "pair", "symbol", "sample"), TRADES)
async def test_trades(path: str, topic: str, pair: str, symbol: str, sample: str) -> None:
    async with running_lmex() as rig, rig.wire(path) as wire:
        await rig.simulator.step(100)
        ack, batch, again = await wire.ask("subscribe", topic)
        assert ack == {"event": "subscribe", "channel": [topic]}
        assert batch == again, "the batch comes twice"
        ids = [row["tradeId"] for row in batch["data"]]
        assert len(ids) == 50
        assert ids == sorted(ids, reverse=True), "newest first"

        await rig.simulator.step(300)
        live = await wire.drain()
        for message in [batch, *live]:
            assert shape(message) == shape_of(sample)
            assert message["topic"] == ("tradeHistoryApi" if symbol == "BTCPFC" else topic)
            assert {row["symbol"] for row in message["data"]} == {symbol}
        assert any(len(message["data"]) > 1 for message in live), "one taker, several trades, one message"
        rows = sorted((row for message in [batch, *live] for row in message["data"]), key=lambda row: row["tradeId"])
        kept = (await rig.look("trades", pair=pair, limit=str(len(rows))))["trades"]
        assert [(row["tradeId"], row["side"].lower(), row["price"], row["size"]) for row in rows] == [
            (row["id"], row["side"], Decimal(row["price"]), Decimal(row["size"])) for row in kept
        ]
        assert {row["timestamp"] for row in rows} == {MS}


async def test_numbers_have_no_more_digits_than_they_need() -> None:
    async with running_lmex() as rig, rig.wire(SPOT) as wire:
        await wire.send("subscribe", "tradeHistoryApi:ETH-USD")
        await wire.text()
        batch = await wire.text()
        assert '"size":0.' in batch
        assert '0,"price"' not in batch.replace('"size":0,"price"', "")
        assert "E" not in batch.replace("ETH", "").replace("SELL", "")


@pytest.mark.parametrize(
    ("path", "topics", "accepted"),
    [
        (SPOT, ["orderBookApi:BTC-USD_0"], []),
        (SPOT, ["update:BTC-USD_0", "tradeHistoryApi:BTC-USD"], ["tradeHistoryApi:BTC-USD"]),
        (SPOT, ["tradeHistoryApi:BTC-PERP", "tradeHistoryApiV2:BTC-USD"], []),
        (FUTURES, ["tradeHistoryApiV3:BTC-PERP", "tradeHistoryApiV2:BTCPFC", "userInfo"], []),
        (FUTURES, ["tradeHistoryApiV2:ETH-PERP"], ["tradeHistoryApiV2:ETH-PERP"]),
    ],
)
async def test_main_leaves_out_of_the_ack_what_it_does_not_take(
    path: str, topics: list[str], accepted: list[str]
) -> None:
    async with running_lmex(lmex=LmexConfig(trade_batch=0)) as rig, rig.wire(path) as wire:
        assert await wire.ask("subscribe", *topics) == [{"event": "subscribe", "channel": accepted}]
        assert await wire.ask("unsubscribe", *topics) == [{"event": "unsubscribe", "channel": accepted}]
        await rig.simulator.step(50)
        assert await wire.drain() == []


async def test_newest_trade_topic_on_request() -> None:
    options = LmexConfig(trade_topics=("tradeHistoryApiV3",), trade_batches=1)
    async with running_lmex(lmex=options) as rig, rig.wire(FUTURES) as wire:
        ack, batch = await wire.ask("subscribe", "tradeHistoryApiV3:BTC-PERP", "tradeHistoryApiV2:BTC-PERP")
        assert ack["channel"] == ["tradeHistoryApiV3:BTC-PERP"]
        assert batch["topic"] == "tradeHistoryApiV3:BTC-PERP"


async def test_topics_on_one_socket_can_be_limited() -> None:
    async with running_lmex(lmex=LmexConfig(max_topics=1)) as rig, rig.wire(OSS_FUTURES) as wire:
        snapshot, ack = await wire.ask("subscribe", "update:BTC-PERP_0", "update:ETH-PERP_0")
        assert (snapshot["topic"], ack["channel"]) == ("update:BTC-PERP_0", ["update:BTC-PERP_0"])


# Connections


async def idle(wire: Wire, rig: LmexRig, seconds: float) -> None:
    """Let time pass in small steps; the market stands still."""
    for _ in range(int(seconds)):
        rig.passes(1)


async def test_idle_connection_is_cut_after_a_minute_without_a_close_frame() -> None:
    async with running_lmex() as rig, rig.wire(SPOT) as wire:
        await idle(wire, rig, 59)
        assert await wire.drain() == []
        rig.passes(0)  # the exchange notices the pong that it sent
        await idle(wire, rig, 60)
        rig.passes(0.3)
        closed = await wire.ended()
        assert closed.rcvd is None
        assert rig.simulator.hub.done["idle_close"] == 1


async def test_data_keeps_a_connection_alive() -> None:
    async with running_lmex() as rig, rig.wire(OSS_SPOT) as wire:
        await wire.ask("subscribe", "update:BTC-USD_0")
        for _ in range(4):
            await rig.simulator.step(30)
            rig.passes(30)
        assert await wire.drain()


async def test_a_client_that_answers_no_pings_is_cut_after_ten_minutes() -> None:
    async with running_lmex() as rig, rig.wire(SPOT) as wire:
        client = rig.simulator.dialect._endpoints[0].clients[wire.socket.number]
        for _ in range(3):
            rig.passes(50)
            await wire.drain()
        ponged = client.ponged
        rig.passes(50)  # past 180 s: a protocol ping goes out, which the library answers
        await wire.drain()
        assert client.ponged > ponged
        client.ponged -= 601
        rig.passes(0)
        assert (await wire.ended()).rcvd is None
        assert rig.simulator.hub.done["no_pong"] == 1


async def test_too_many_connections_block_everybody_for_ten_minutes() -> None:
    async with running_lmex(lmex=LmexConfig(max_connections=1)) as rig:
        async with rig.wire(SPOT):
            assert (await rig.refused(url=rig.urls.ws + SPOT)).response.status_code == 400
        rig.passes(599)
        assert (await rig.refused(url=rig.urls.ws + FUTURES)).response.status_code == 400
        rig.passes(2)
        async with rig.wire(SPOT):
            pass


async def test_a_storm_of_handshakes_blocks_too() -> None:
    async with running_lmex(lmex=LmexConfig(max_handshakes=3)) as rig:
        for _ in range(3):
            async with rig.wire(SPOT):
                pass
        assert (await rig.refused(url=rig.urls.ws + SPOT)).response.status_code == 400
        rig.passes(601)
        async with rig.wire(SPOT):
            pass


@pytest.mark.parametrize("path", ["", "/", "/ws", "/ws/otc", "/ws/oss"])
async def test_no_other_paths(path: str) -> None:
    async with running_lmex() as rig:
        assert (await rig.refused(url=rig.urls.ws + path)).response.status_code == 404
