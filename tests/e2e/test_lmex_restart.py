"""An LMEX account that trades a lot, over a restart: no fill twice, no order or position open for ever."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import redis

from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.e2e.lmex_exchange import LmexExchange
from tests.e2e.observing import connect
from tests.e2e.test_lmex import ACCOUNT, SUMMARY, LmexPlayed, main, oss
from tests.servers import RedisServer

FILLS, ORDERS, POSITIONS = (f"acct:{{lmex:main}}:{channel}" for channel in ("fills", "orders", "positions"))
KNOWN = 6_000
"""Fills within the minute before the connector ended."""
MOVES = 2_500
"""Orders that came and went after the one that is still open."""


def fill(number: int, ms: int) -> dict[str, str]:
    values = {"fill_id": f"f{number}", "order_id": "o", "pair": "BTC-USD", "side": "buy", "price": "1", "size": "1"}
    return {
        "type": "fill",
        "ts": f"{ms}000000",
        "recv": f"{ms}000000",
        **values,
        "fee": "",
        "fee_currency": "",
        "contracts": "",
    }


def order(ident: str, status: str, ms: int) -> dict[str, str]:
    values = {"order_id": ident, "client_id": "", "pair": "BTC-USD", "kind": "limit", "side": "buy", "price": "1"}
    more = {"size": "1", "filled": "0", "status": status, "contracts": ""}
    return {"type": "order", "ts": f"{ms}000000", "recv": f"{ms}000000", **values, **more}


def position(pair: str, size: str, ms: int) -> dict[str, str]:
    values = {"pair": pair, "side": "long", "size": size, "entry_price": "1", "mark_price": "1", "unrealised_pnl": "0"}
    return {"type": "position", "ts": "", "recv": f"{ms}000000", **values, "contracts": "1"}


def stop(ms: int) -> dict[str, str]:
    values = {"event": "stop", "reason": "the connector ends", "count": ""}
    return {"type": "control", "ts": "", "recv": f"{ms}000000", **values}


def write(client: redis.Redis, key: str, entries: list[tuple[int, dict[str, str]]]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for number, (ms, fields) in enumerate(entries, 1):
            pipe.xadd(key, fields, id=f"{ms}-{number}")
        pipe.execute()


def trade_row(number: int, ms: int) -> dict[str, Any]:
    values = {"symbol": "BTC-USD", "tradeId": f"f{number}", "orderId": "o", "side": "BUY", "price": 1, "size": 1}
    return {**values, "timestamp": ms}


def test_nothing_twice_and_nothing_open_for_ever(run: Run, redis_server: RedisServer, tmp_path: Path) -> None:
    client = connect(redis_server)
    ended = int(time.time() * 1000) - 3_600_000
    at = {number: ended - 60_000 + number * 10 for number in range(KNOWN)}
    write(client, FILLS, [*((ms, fill(number, ms)) for number, ms in at.items()), (ended, stop(ended))])
    moves = [order(f"m{number}", status, ended) for number in range(MOVES) for status in ("open", "cancelled")]
    write(client, ORDERS, [(ended, row) for row in (order("resting", "open", ended), *moves, stop(ended))])
    sizes = [position("SNDK-PERP", str(1 + number % 2), ended) for number in range(600)]
    write(client, POSITIONS, [(ended, row) for row in (position("BTC-PERP", "1", ended), *sizes, stop(ended))])
    at |= {KNOWN + number: ended + 1_000 * (1 + number) for number in range(3)}

    def history(query: dict[str, str]) -> bytes:
        begin, end = int(query["startTime"]), int(query.get("endTime", ended * 2))
        rows = [trade_row(number, ms) for number, ms in at.items() if begin <= ms < end]
        return json.dumps(rows[::-1][: int(query["count"])]).encode()

    scripts = {"/ws/oss/spot": oss, "/ws/oss/futures": oss, "/ws/spot": main, "/ws/futures": main}
    answers = {**SUMMARY, **ACCOUNT, "/spot/api/v3.2/user/trade_history": history}
    with LmexExchange(scripts, answers) as exchange:
        played = LmexPlayed(run, redis_server, tmp_path, exchange)
        fills = played.wait(FILLS, KNOWN + 3)
        eventually(lambda: played.entries(ORDERS)[-1]["status"] == "", "the order that is gone")
        eventually(lambda: len(played.entries(POSITIONS)) == 603, "both positions flat")
        assert played.process.stop() == 0
    fills = played.entries(FILLS)
    assert [row["fill_id"] for row in fills] == [f"f{number}" for number in at]
    assert [row["order_id"] for row in played.entries(ORDERS)[1 + 2 * MOVES :]] == ["resting"]
    assert sorted((row["pair"], row["side"]) for row in played.entries(POSITIONS)[601:]) == [
        ("BTC-PERP", ""),
        ("SNDK-PERP", ""),
    ]
