"""LMEX, from a server that plays the documented frames byte for byte to the streams, to the digit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.e2e.lmex_exchange import KEY, LmexExchange
from tests.e2e.observing import controls
from tests.e2e.played import Played, Venue
from tests.servers import RedisServer
from tests.unit import lmex_frames as frames

PAIRS = ["BTC-USD", "BTC-PERP", "SNDK-PERP"]
SPOT_SNAPSHOT = (
    b'{"topic":"update:BTC-USD_0","data":{"bids":[["59000.10","0.50"],["58999","1"]],"asks":[["59400","2"],["59325.5",'
    b'"3.10"]],"seqNum":628282,"prevSeqNum":628281,"type":"snapshot","timestamp":1565135165500,"symbol":"BTC-USD"}}'
)
PERP_SNAPSHOT = (
    b'{"topic":"update:BTC-PERP_0","data":{"bids":[["86540.4","700"]],"asks":[["86542","10"],["86541.5","20"]],"seqNum":'
    b'86511209,"prevSeqNum":86511208,"type":"snapshot","symbol":"BTC-PERP","timestamp":1790133628000}}'
)
SUMMARY = {
    "/spot/api/v3.2/market_summary": b'[{"symbol":"BTC-USD","last":76653.10,"high24Hr":77000.0,"low24Hr":75000,'
    b'"percentageChange":1.50,"size":12.340,"volume":945901.5}]',
    "/futures/api/v2.3/market_summary": b'[{"symbol":"BTC-PERP","contractSize":0.00001,"last":77099.90,"high24Hr":78000,'
    b'"low24Hr":76000.5,"percentageChange":-1.250,"size":6530},{"symbol":"SNDK-PERP","contractSize":0.01,"last":1878,'
    b'"high24Hr":1900,"low24Hr":1800,"percentageChange":0,"size":100}]',
}
ACCOUNT = {
    "/spot/api/v3.2/user/wallet": b'[{"currency":"BTC","total":1.50,"available":1.20}]',
    "/futures/api/v2.3/user/wallet": b'[{"wallet":"CROSS@","assets":[{"balance":100.5,"assetPrice":1,"currency":"USDT"}],'
    b'"assetsInUse":[{"balance":0.5,"assetPrice":1,"currency":"USDT"}]}]',
    "/spot/api/v3.2/user/open_orders": b"[]",
    "/futures/api/v2.3/user/open_orders": b"[]",
    "/spot/api/v3.2/user/trade_history": b"[]",
    "/futures/api/v2.3/user/trade_history": b"[]",
    "/futures/api/v2.3/user/positions": b"[]",
}
BOOKS = {"update:BTC-USD_0": SPOT_SNAPSHOT, "update:BTC-PERP_0": PERP_SNAPSHOT, "update:SNDK-PERP_0": frames.SNAPSHOT}
TRADES = {"tradeHistoryApi:BTC-USD": frames.SPOT_TRADES, "tradeHistoryApiV2:BTC-PERP": frames.V2_TRADES}
PRIVATE = {"notificationApiV3", "notificationApiV4", "fills", "positionsV3"}
Play = Callable[..., "LmexPlayed"]


def said(event: str, topics: list[str]) -> bytes:
    """An acknowledgement, in another order than the request's."""
    return json.dumps({"event": event, "channel": topics[::-1]}, separators=(",", ":")).encode()


def oss(op: str, topics: list[str]) -> list[bytes]:
    """Snapshots come before the acknowledgement."""
    found = [BOOKS[topic] for topic in topics] if op == "subscribe" else []
    return [*found, said(op, topics)]


def main(op: str, topics: list[str]) -> list[bytes]:
    """Topics that aren't accepted are left out; the recent trades come twice."""
    accepted = [topic for topic in topics if topic in TRADES or topic in PRIVATE]
    batches = [TRADES[topic] for topic in accepted if topic in TRADES] if op == "subscribe" else []
    return [said(op, accepted), *batches, *batches]


LMEX = Venue(
    name="lmex",
    credentials={"api_key": KEY, "api_secret": frames.SECRET},
    secrets=(frames.SECRET, KEY),
    connector={"pairs": PAIRS, "account": "main"},
)


class LmexPlayed(Played):
    """What it finds is without ``recv``; after ``live``, more may have come."""

    def __init__(
        self, run: Run, server: RedisServer, directory: Path, exchange: LmexExchange, **connector: Any
    ) -> None:
        super().__init__(LMEX, run, server, directory, exchange, **connector)
        self.start()

    def entries(self, key: str, *, control: bool = False) -> list[dict[str, str]]:
        """The data entries of a stream, or its control entries."""
        rows = [fields for _, fields in self.client.xrange(key)]
        return [
            {name: value for name, value in row.items() if name != "recv"}
            for row in rows
            if (row["type"] == "control") == control
        ]

    def live(self, *keys: str) -> None:
        for key in keys:
            eventually(lambda key=key: "live" in self.controls(key), f"{key} live")


@pytest.fixture
def exchange() -> Iterator[LmexExchange]:
    scripts = {"/ws/oss/spot": oss, "/ws/oss/futures": oss, "/ws/spot": main, "/ws/futures": main}
    with LmexExchange(scripts, {**SUMMARY, **ACCOUNT}) as served:
        yield served


@pytest.fixture
def play(run: Run, redis_server: RedisServer, tmp_path: Path, exchange: LmexExchange) -> Play:
    def start(**connector: Any) -> LmexPlayed:
        return LmexPlayed(run, redis_server, tmp_path, exchange, **connector)

    return start


def row(kind: str, ts: str, /, **fields: str) -> dict[str, str]:
    return {"type": kind, "ts": ts, **fields}


def test_public_frames_to_the_digit(play: Play, exchange: LmexExchange) -> None:
    played = play(account=None)
    for pair in PAIRS:
        played.wait(f"md:{{lmex:{pair}}}:book", 1)
    exchange.send("/ws/oss/spot", frames.SPOT_DELTA)
    exchange.send("/ws/oss/futures", frames.DELTA)
    assert played.wait("md:{lmex:BTC-USD}:book", 2) == [
        row(
            "snapshot", "1565135165500000000", xseq="628282", bids="59000.10:0.50 58999:1", asks="59325.5:3.10 59400:2"
        ),
        row("delta", "1565135165600000000", xseq="628283", bids="", asks="59367.5:2.15622 59325.5:0"),
    ]
    assert played.wait("md:{lmex:BTC-PERP}:book", 2) == [
        row(
            "snapshot", "1790133628000000000", xseq="86511209", bids="86540.4:0.007", asks="86541.5:0.0002 86542:0.0001"
        ),
        row("delta", "1790133628076000000", xseq="86511210", bids="86540.6:0.60672 86540.5:0.044", asks=""),
    ]
    assert played.wait("md:{lmex:SNDK-PERP}:book", 1) == [
        row(
            "snapshot",
            "1790134937297000000",
            xseq="8896865",
            bids="1876.90:0.44 1876.89:1.22",
            asks="1880.00:4.5 1880.19:9",
        )
    ]
    assert played.wait("md:{lmex:BTC-PERP}:quotes", 2) == [
        row("quote", "1790133628000000000", bid="86540.4", bid_size="0.007", ask="86541.5", ask_size="0.0002"),
        row("quote", "1790133628076000000", bid="86540.6", bid_size="0.60672", ask="86541.5", ask_size="0.0002"),
    ]
    assert played.wait("md:{lmex:BTC-USD}:trades", 1) == [
        row("trade", "1779786372223000000", id="31626447", side="sell", price="76653.1", size="0.0145")
    ]
    played.wait("md:{lmex:BTC-PERP}:trades", 1)
    exchange.send("/ws/futures", frames.OLD_TRADES)
    # The older trade's id is the lower one, but it comes later: the order is the exchange's.
    assert played.wait("md:{lmex:BTC-PERP}:trades", 2) == [
        row("trade", "1584446020295000000", id="57971633", side="sell", price="5302.8", size="0.00007", contracts="7"),
        row(
            "trade", "1779800209269000000", id="35993384", side="sell", price="77099.9", size="0.0653", contracts="6530"
        ),
    ]
    ticker = {"window": "86400", "open": "", "high": "78000", "low": "76000.5", "last": "77099.90", "change": ""}
    assert played.wait("md:{lmex:BTC-PERP}:ticker", 1) == [
        row("ticker", "", **ticker, change_pct="-1.250", volume="0.0653")
    ]
    [spot] = played.wait("md:{lmex:BTC-USD}:ticker", 1)
    assert (spot["last"], spot["volume"]) == ("76653.10", "12.340")
    assert sorted(exchange.handshakes) == ["/ws/futures", "/ws/oss/futures", "/ws/oss/spot", "/ws/spot"]
    played.finished()


def test_private_frames_to_the_digit(play: Play, exchange: LmexExchange) -> None:
    played = play(channels=[])
    played.live(*(f"acct:{{lmex:main}}:{channel}" for channel in ("orders", "fills", "positions", "balances")))
    eventually(lambda: len([r for r in exchange.requests if r[2] == ["fills"]]) == 2, "both fall back on fills")
    eventually(lambda: "/futures/api/v2.3/user/positions" in exchange.called, "the state is fetched")
    filled = frames.FUTURES_ORDER.replace(b'"status":2', b'"status":4').replace(b'"price":32000', b'"price":31999.50')
    exchange.send("/ws/spot", frames.SPOT_ORDER, frames.SPOT_FILL, frames.SPOT_FILL)
    played.wait("acct:{lmex:main}:orders", 1)
    exchange.send("/ws/futures", frames.FUTURES_ORDER, filled, frames.FILL, frames.POSITION, frames.POSITION)
    exchange.send("/ws/futures", frames.CLOSED_POSITION)
    limit = {"kind": "limit", "side": "buy"}
    perp = {"order_id": frames.ORDER_ID, "client_id": "abc", "pair": "BTC-PERP", **limit, "price": "32000"}
    spot = {"order_id": "0b40f3c2-7a0e-4d5c-9a9a-55b9a1a2f001", "client_id": "abc", "pair": "BTC-USD", **limit}
    assert played.wait("acct:{lmex:main}:orders", 3) == [
        row("order", "1624985375123000000", **spot, price="35000", size="10", filled="0", status="open", contracts=""),
        row("order", "1765718100570000000", **perp, size="0.00001", filled="0", status="open", contracts="1"),
        row("order", "1765718100570000000", **perp, size="0.00001", filled="0", status="filled", contracts="1"),
    ]
    fill = {"order_id": "aa0eb277-2d36-4fd0-8fa0-bc78b139ccdc"}
    assert played.wait("acct:{lmex:main}:fills", 2) == [
        row(
            "fill",
            "1765767211936000000",
            fill_id="228c163c-1267-422a-9082-029472e16a36",
            **fill,
            pair="BTC-USD",
            side="sell",
            price="89315.30",
            size="0.0145",
            fee="1.10",
            fee_currency="USD",
            contracts="",
        ),
        row(
            "fill",
            "1765767211936000000",
            fill_id="128c163c-1267-422a-9082-029472e16a36",
            **fill,
            pair="BTC-PERP",
            side="buy",
            price="89315.3",
            size="0.00001",
            fee="0.00049123",
            fee_currency="USDT",
            contracts="1.0",
        ),
    ]
    prices = {"entry_price": "89315.3", "mark_price": "89315.3", "unrealised_pnl": "0"}
    flat = {"entry_price": "", "mark_price": "", "unrealised_pnl": ""}
    assert played.wait("acct:{lmex:main}:positions", 2) == [
        row("position", "", pair="BTC-PERP", side="long", size="0.00001", **prices, contracts="1"),
        row("position", "", pair="BTC-PERP", side="", size="0", **flat, contracts="0"),
    ]
    assert played.wait("acct:{lmex:main}:balances", 1) == [
        row("balance", "", currency="BTC", available="1.20", reserved="0.3")
    ]
    assert played.wait("acct:{lmex:main/futures}:balances", 1) == [
        row("balance", "", currency="USDT", available="100", reserved="0.5")
    ]
    assert exchange.handshakes == ["/ws/spot", "/ws/futures"]
    assert exchange.wrong == []
    played.finished()


def test_balances_are_asked_for_after_a_fill_and_written_when_they_change(play: Play, exchange: LmexExchange) -> None:
    played = play(pairs=["BTC-USD"], channels=[], options={"balances_interval": "1h"})
    played.wait("acct:{lmex:main}:balances", 1)
    eventually(lambda: "/spot/api/v3.2/user/trade_history" in " ".join(exchange.called), "synchronised")
    exchange.answers["/spot/api/v3.2/user/wallet"] = b'[{"currency":"BTC","total":1.49,"available":1.19}]'
    exchange.send("/ws/spot", frames.SPOT_FILL)
    found = played.wait("acct:{lmex:main}:balances", 2)
    assert [(entry["available"], entry["reserved"]) for entry in found] == [("1.20", "0.3"), ("1.19", "0.3")]
    played.finished()


def test_after_a_cut_the_private_streams_are_made_whole_by_rest(play: Play, exchange: LmexExchange) -> None:
    played = play(pairs=["BTC-PERP"], channels=[])
    key = "acct:{lmex:main}:orders"
    played.live(key)
    eventually(lambda: any("trade_history" in path for path in exchange.called), "synchronised")
    exchange.send("/ws/futures", frames.FUTURES_ORDER, frames.POSITION)
    played.wait("acct:{lmex:main}:positions", 1)
    exchange.answers["/futures/api/v2.3/user/trade_history"] = json.dumps(
        [json.loads(frames.FILL)["data"][0] | {"filledPrice": 89315.25, "filledSize": 1}]
    ).encode()
    exchange.cut("/ws/futures")
    [fill] = played.wait("acct:{lmex:main}:fills", 1)
    assert (fill["fill_id"], fill["price"]) == ("128c163c-1267-422a-9082-029472e16a36", "89315.25")
    gone = played.wait(key, 2)[1]
    assert (gone["order_id"], gone["status"]) == (frames.ORDER_ID, "")
    flat = played.wait("acct:{lmex:main}:positions", 2)[1]
    assert (flat["pair"], flat["side"], flat["size"]) == ("BTC-PERP", "", "0")
    assert controls(played.client, key) == ["live", "down", "live"]
    exchange.send("/ws/futures", frames.FILL)
    exchange.send("/ws/futures", frames.FUTURES_ORDER)
    played.wait(key, 3)
    assert len(played.entries("acct:{lmex:main}:fills")) == 1, "the fill that REST told stands once"
    played.finished()


def test_a_stream_that_both_markets_feed_is_live_when_both_are(play: Play, exchange: LmexExchange) -> None:
    played = play(channels=[], pairs=["BTC-USD", "BTC-PERP"])
    key = "acct:{lmex:main}:orders"
    played.live(key)
    exchange.refuse = 503
    exchange.cut("/ws/spot")
    eventually(lambda: controls(played.client, key) == ["live", "down"], "down")
    exchange.send("/ws/futures", frames.FUTURES_ORDER)
    played.wait(key, 1)
    assert controls(played.client, key) == ["live", "down"]
    assert controls(played.client, "acct:{lmex:main}:positions") == ["live"]
    exchange.refuse = 0
    eventually(lambda: controls(played.client, key) == ["live", "down", "live"], "live again")
    assert [entry["status"] for entry in played.entries(key)] == ["open"], "spot's open orders are not these"
    played.finished()


def test_a_gap_is_mended_for_its_pair_alone(play: Play, exchange: LmexExchange) -> None:
    played = play(account=None, channels=["book"])
    for pair in PAIRS:
        played.wait(f"md:{{lmex:{pair}}}:book", 1)
    hole = frames.DELTA.replace(b"86511210", b"86511215").replace(b"86511209", b"86511214")
    exchange.send("/ws/oss/futures", hole)
    key = "md:{lmex:BTC-PERP}:book"
    assert [entry["type"] for entry in played.wait(key, 2)] == ["snapshot", "snapshot"]
    assert [(entry["event"], entry["count"]) for entry in played.entries(key, control=True)] == [
        ("live", ""),
        ("gap", ""),
        ("lost", "1"),
    ]
    anew = [(op, topics) for path, op, topics in exchange.requests if path == "/ws/oss/futures"][1:]
    assert anew == [("unsubscribe", ["update:BTC-PERP_0"]), ("subscribe", ["update:BTC-PERP_0"])]
    assert len(played.entries("md:{lmex:SNDK-PERP}:book")) == 1
    exchange.send("/ws/oss/futures", frames.DELTA)
    assert played.wait(key, 3)[-1]["xseq"] == "86511210"
    played.finished()


def test_the_repeated_batch_stands_once_over_a_restart(play: Play, exchange: LmexExchange) -> None:
    for _ in range(2):
        played = play(account=None, pairs=["BTC-USD"], channels=["trades"])
        eventually(lambda: exchange.open_sockets("/ws/spot") == 1, "connected")
        played.wait("md:{lmex:BTC-USD}:trades", 1)
        later = frames.SPOT_TRADES.replace(b"31626447", b"3162644" + str(8 + len(exchange.handshakes)).encode())
        exchange.send("/ws/spot", later)
        played.wait("md:{lmex:BTC-USD}:trades", 1 + len(exchange.handshakes))
        played.finished()
    assert [entry["id"] for entry in played.entries("md:{lmex:BTC-USD}:trades")] == [
        "31626447",
        "31626449",
        "316264410",
    ]


def test_a_blocked_client_stays_away_for_ten_minutes(play: Play, exchange: LmexExchange) -> None:
    exchange.refuse = 400
    played = play(channels=["book", "trades"])
    played.process.wait_for("connect_failed")
    eventually(lambda: "down" in controls(played.client, "md:{lmex:BTC-USD}:book"), "down in band")
    for key in ("md:{lmex:BTC-USD}:book", "md:{lmex:BTC-PERP}:trades", "acct:{lmex:main}:positions"):
        eventually(lambda key=key: played.entries(key, control=True), f"{key} down, tried yet or not")
        [down] = played.entries(key, control=True)
        assert (down["event"], down["reason"]) == ("down", "lmex: connect: HTTP 400: abnormal usage")
    lines = [json.loads(line) for line in played.process.output.splitlines()]
    waits = [line["retry_in"] for line in lines if line["event"] == "connect_failed"]
    assert all(wait >= 600 for wait in waits)
    # One, or those that were under way before the first refusal was heard; not all six in any case.
    tried = len(exchange.handshakes)
    seen = time.monotonic()
    eventually(lambda: time.monotonic() - seen > 2, "the others had their turns")
    assert len(exchange.handshakes) == tried < 6, "one refusal keeps all connections away"
    played.finished()


def test_an_exchange_that_says_nothing_is_down_within_seconds(play: Play, exchange: LmexExchange) -> None:
    exchange.silent = True
    played = play(options={"snapshot_timeout": "2s"})
    keys = [f"md:{{lmex:BTC-USD}}:{channel}" for channel in ("book", "quotes", "trades")] + ["acct:{lmex:main}:orders"]
    for key in keys:
        eventually(lambda key=key: "down" in controls(played.client, key), f"{key} down")
    reasons = [played.entries(key, control=True)[0]["reason"] for key in keys]
    assert reasons[0] == "no answer to the subscription within 2 s"
    assert reasons[3] == "no answer to the log-in"
    exchange.silent = False
    for key in keys:
        eventually(lambda key=key: controls(played.client, key)[-1] == "live", f"{key} live")
    played.wait("md:{lmex:BTC-USD}:book", 1)
    played.finished()


def test_a_session_is_renewed_without_a_break(play: Play, exchange: LmexExchange) -> None:
    played = play(pairs=["BTC-PERP"], channels=[], options={"session_lifetime": "5s"})
    played.process.wait_for("replacing_connection")
    eventually(lambda: len(exchange.handshakes) >= 2 and exchange.open_sockets("/ws/futures") == 1, "replaced")
    exchange.send("/ws/futures", frames.FUTURES_ORDER)
    played.wait("acct:{lmex:main}:orders", 1)
    assert controls(played.client, "acct:{lmex:main}:orders") == ["live"]
    played.finished()
