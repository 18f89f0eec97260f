"""Bad rows and frames over real sockets: their stream has a gap, the rest goes on, and no connection is replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.e2e.lmex_exchange import LmexExchange
from tests.e2e.observing import controls
from tests.e2e.test_lmex import ACCOUNT, PAIRS, SUMMARY, LmexPlayed, main, oss
from tests.servers import RedisServer
from tests.unit import lmex_frames as frames

PERP = "BTC-PERP"


def stream(channel: str, pair: str = PERP) -> str:
    return f"md:{{lmex:{pair}}}:{channel}"


def trade(number: int, **changes: Any) -> dict[str, Any]:
    values = {"symbol": PERP, "side": "BUY", "size": 7, "price": 5302.8, "tradeId": number, "timestamp": 1584446020295}
    return {**values, **changes}


@pytest.fixture
def played(run: Run, redis_server: RedisServer, tmp_path: Path) -> Iterator[LmexPlayed]:
    scripts = {"/ws/oss/spot": oss, "/ws/oss/futures": oss, "/ws/spot": main, "/ws/futures": main}
    with LmexExchange(scripts, {**SUMMARY, **ACCOUNT}) as exchange:
        found = LmexPlayed(run, redis_server, tmp_path, exchange)
        found.live("acct:{lmex:main}:orders", "acct:{lmex:main}:fills", *(stream("book", pair) for pair in PAIRS))
        found.live(stream("trades"), stream("trades", "BTC-USD"))
        yield found


def test_one_bad_row_of_many(played: LmexPlayed) -> None:
    exchange = played.exchange
    before = len(exchange.handshakes)
    bad = [{"side": "buy"}, {"tradeId": "t7"}, {"size": None}, {"price": "NaN"}, {"timestamp": 1_790_133_628}]
    for number, change in enumerate(bad):
        rows = [trade(100 + 10 * number), trade(101 + 10 * number, **change), trade(102 + 10 * number)]
        frame = json.dumps({"topic": f"tradeHistoryApiV2:{PERP}", "data": rows}).replace('"NaN"', "NaN")
        exchange.send("/ws/futures", frame.encode())
    exchange.send("/ws/futures", frames.FILL.replace(b'"price":"89315.3"', b'"price":null'), frames.FILL)
    exchange.send("/ws/oss/futures", frames.DELTA.replace(b'"60672"', b'"lots"'))
    ids = [row["id"] for row in played.wait(stream("trades"), 1 + 2 * len(bad))]
    assert ids[1:] == [str(100 + 10 * number + more) for number in range(len(bad)) for more in (0, 2)]
    eventually(lambda: controls(played.client, "acct:{lmex:main}:fills").count("gap") == 1, "the fill's gap")
    played.wait("acct:{lmex:main}:fills", 1)
    played.wait(stream("book"), 2)  # it has been mended by a fresh snapshot
    assert controls(played.client, stream("trades")).count("gap") == len(bad)
    assert controls(played.client, stream("book")) == ["live", "gap"]
    undisturbed = [stream("book", "SNDK-PERP"), stream("book", "BTC-USD"), stream("trades", "BTC-USD")]
    undisturbed.append("acct:{lmex:main}:orders")
    assert [controls(played.client, key) for key in undisturbed] == [["live"]] * len(undisturbed)
    assert len(exchange.handshakes) == before
    eventually(lambda: played.client.xlen("bridge:rejects:lmex") == len(bad) + 2, "the rejects")
