"""The demo of each exchange, and of several side by side."""

from __future__ import annotations

import os
import re
import signal
import time

import pytest
import redis as redis_py

from bridge.demo.embedded import find_server
from bridge.errors import BridgeError
from tests.demo.running import RunningDemo, alive

PAIRS = {
    "limitlex": ("BTC-EUR", "ETH-EUR", "LTC-EUR"),
    "lmex": ("BTC-USD", "ETH-USD", "BTC-PERP", "ETH-PERP"),
}
WALLETS = {"limitlex": ("main", "main/savings", "main/bot"), "lmex": ("main", "main/futures")}


@pytest.fixture(autouse=True)
def _server_here():
    try:
        find_server()
    except BridgeError as error:
        pytest.skip(str(error))


def blocks(demo: RunningDemo) -> dict[str, str]:
    """Exchange → its lines of the summary."""
    summary = demo.output[demo.output.index("tickbridge demo: ") :]
    found = re.findall(r"^(\w+)\n((?:  .*\n)+)", summary, re.MULTILINE)
    return dict(found)


def everything_is_equal(demo: RunningDemo, *exchanges: str) -> None:
    assert blocks(demo).keys() == set(exchanges)
    for exchange, said in blocks(demo).items():
        for pair in PAIRS[exchange]:
            assert re.search(rf"^  book +{pair} +equal: yes  \(\d\d bids, \d\d asks\)$", said, re.MULTILINE), pair
        for account in WALLETS[exchange]:
            assert re.search(rf"^  wallet +{account} +equal: yes$", said, re.MULTILINE), account
        assert re.search(r"^  trades +read [1-9][\d,]*, duplicates 0, missing 0, out of order 0$", said, re.MULTILINE)
        assert f"{exchange}: books equal to the exchange's true books: yes\n" in demo.output
        assert f"{exchange}: wallets equal to the exchange's true wallets: yes\n" in demo.output
    assert "holes in seq 0" in demo.output


@pytest.mark.parametrize("asked", ["lmex", "both", "lmex,limitlex"])
def test_what_comes_out_of_the_streams_is_true(tmp_path, asked):
    exchanges = ("lmex",) if asked == "lmex" else ("limitlex", "lmex")
    arguments = ("--exchange", asked, "--duration", "5")
    with RunningDemo(tmp_path, *arguments, env={"TMPDIR": str(tmp_path)}) as demo:
        pids = demo.pids()
        assert len(pids) == 4 + 2 * len(exchanges)
        url = demo.wait_for(r"^  redis +(\S+)$")[1]
        with redis_py.Redis.from_url(url, decode_responses=True) as client:
            connectors = {key.rpartition(":")[2] for key in client.scan_iter("bridge:connector:*", _type="hash")}
        assert demo.end() == 0, demo.output
    assert connectors == set(exchanges)
    everything_is_equal(demo, *exchanges)
    assert not any(map(alive, pids))
    assert list(tmp_path.iterdir()) == []


def test_what_goes_wrong_at_both_is_made_good(tmp_path):
    with RunningDemo(tmp_path, "--exchange", "both", "--duration", "100", "--faults") as demo:
        for words in (
            r"fault: the connection of BTC-EUR is cut \(limitlex\)",
            r"limitlex BTC-EUR book is invalid: down",
            r"fault: 3 book changes of BTC-USD are dropped \(lmex\)",
            r"lmex BTC-USD book is invalid: gap: xseq",
            r"fault: the book of ETH-USD is crossed \(lmex\)",
            r"fault: the outbound buffer of ETH-USD is full \(lmex\)",
            r"lmex ETH-USD book is invalid: down: .*1007",
        ):
            demo.wait_for(words)
        assert demo.stop() == 0, demo.output
    everything_is_equal(demo, "limitlex", "lmex")


def test_a_killed_connector_and_a_killed_exchange_leave_the_other_alone(tmp_path):
    with RunningDemo(tmp_path, "--exchange", "both", "--duration", "100") as demo:
        killed = demo.pid("connector-lmex")
        time.sleep(2)  # so that it dies in the middle of something
        os.kill(killed, signal.SIGKILL)
        demo.wait_for(r"connector-lmex started again")
        demo.wait_for(r"lmex ETH-PERP book is valid again after")
        os.kill(demo.pid("simulator-lmex"), signal.SIGKILL)
        demo.wait_for(r"lmex BTC-USD book is invalid: down")
        demo.wait_for(r"simulator-lmex started again")
        assert demo.stop() == 0, demo.output
    everything_is_equal(demo, "limitlex", "lmex")
    assert "limitlex BTC-EUR book is invalid" not in demo.output
    assert "processes 2" in blocks(demo)["lmex"]
    assert "processes 1" in blocks(demo)["limitlex"]


def test_pairs_can_be_given_for_each(tmp_path):
    pairs = "limitlex:LTC-EUR,lmex:LTC-PERP,BTC-USD"
    with RunningDemo(tmp_path, "--exchange", "both", "--duration", "2", "--pairs", pairs) as demo:
        assert demo.end() == 0, demo.output
    said = {name: re.findall(r"^  book +(\S+)", text, re.MULTILINE) for name, text in blocks(demo).items()}
    assert said == {"limitlex": ["BTC-USD", "LTC-EUR"], "lmex": ["BTC-USD", "LTC-PERP"]}
