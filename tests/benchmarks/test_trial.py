"""The benchmarks' whole path, short: that a trial counts what it says, and notices what is wrong."""

from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path

import pytest
from msgspec import structs
from websockets.sync.client import connect

from benchmarks.machine import Server
from benchmarks.peers import Handwritten, _samples
from benchmarks.tickbridge import EVERY_SETUP, SETUPS
from benchmarks.trial import NAMESPACE, Trial, python, read_line, recorded, started, trades


@pytest.fixture
def server(redis_server):
    return Server(redis_server.url, redis_server.pid)


def finished(server, carrier, load):
    with Trial(server, carrier, load) as trial:
        trial.go()
        return trial.finish()


@pytest.mark.parametrize("setup", EVERY_SETUP, ids=lambda setup: setup.name)
def test_the_recorded_mix_comes_through_on_every_setup(server, setup):
    load = recorded(4_000)  # CPU time is told in steps of 10 ms
    measured = finished(server, setup, load)
    assert int(measured.said["published"]) == setup.entries(load)[1] + load.books
    assert measured.cpu > 0
    assert measured.peak_mib > 20
    assert not server.client.keys(f"{NAMESPACE}:*")


def test_the_bridge_by_hand_writes_the_same_entries(server):
    load = recorded(400)
    kept = []
    for carrier in (SETUPS[0], Handwritten()):
        with Trial(server, carrier, load) as trial:
            trial.go()
            trial.finish()
            kept.append(
                [
                    {name: value for name, value in entry.items() if name not in ("recv", "xseq")}
                    for key in carrier.keys(load)
                    for _, entry in server.client.xrange(key)
                    if entry["type"] not in ("control", "snapshot")  # of books one sorts the levels
                ]
            )
    assert len(kept[0]) == SETUPS[0].entries(load)[1]
    assert kept[0] == kept[1]


def test_pairs_on_several_connections_at_a_rate(server):
    load = trades(400, pairs=[f"P{index:03}-USD" for index in range(101)], rate=2_000)
    measured = finished(server, SETUPS[1], load)
    assert measured.said["connections"] == "2"
    assert measured.wall > 0.15


def test_a_carrier_that_ends_is_noticed(server):
    class Ends(Handwritten):
        def command(self, server, load, port, directory):
            return ["true"]

    with pytest.raises(RuntimeError, match="ended with 0"), Trial(server, Ends(), trades(10)):
        pass


def test_too_many_entries_are_noticed(server):
    class Fewer(Handwritten):
        def entries(self, load):
            return 0, load.count - 1

    with (
        pytest.raises(AssertionError, match="100 entries, not 99"),
        Trial(server, Fewer(), trades(100)) as trial,
    ):
        trial.go()
        trial.await_entries(100)  # all of them are there
        trial.finish()


def test_samples_for_the_ceiling_are_entries_of_each_stream(server):
    load = structs.replace(recorded(400), count=10**9)
    samples = _samples(server, SETUPS[0], load)
    assert [words[0] for _, words in samples] == SETUPS[0].keys(load)
    for _, words in samples:
        assert words[1:3] == ["*", "type"]
        assert words[3] in ("trade", "delta", "quote", "ticker")
        assert len(words) % 2 == 0


def test_the_exchange_counts_its_messages_and_survives_a_client_that_hangs_up():
    with started(python("benchmarks.exchange", "--pairs", "A-USD", "B-USD", "--count", "5")) as exchange:
        port = int(read_line(exchange))
        with socket.create_connection(("127.0.0.1", port)) as early:
            early.sendall(b"GET / HTTP/1.1\r\n")
        with connect(f"ws://127.0.0.1:{port}", compression=None) as client:
            for pairs in (["A-USD"], ["A-USD", "B-USD"]):
                client.send(json.dumps({"type": "subscribe", "channel": "market_trades", "product_ids": pairs}))
            assert read_line(exchange) == "ready"
            exchange.stdin.write("go\n")
            exchange.stdin.flush()
            found = [json.loads(client.recv(10)) for _ in range(7)]
            assert client.ping().wait(10)
    assert [message["sequence_num"] for message in found] == list(range(7))
    assert found[1]["events"] == [{"subscriptions": {"market_trades": ["A-USD", "B-USD"]}}]
    rows = [trade for message in found[2:] for event in message["events"] for trade in event["trades"]]
    assert [row["product_id"] for row in rows] == ["A-USD", "B-USD", "A-USD", "B-USD", "A-USD"]
    assert len({row["trade_id"] for row in rows}) == 5


def test_the_command_takes_what_it_has_started_with_it():
    with started(python("benchmarks", "reader", "--scale", "100", "--runs", "1")) as command:
        while not (children := own_children(command.pid)):
            assert command.poll() is None
            time.sleep(0.02)
        while not read_line(command).startswith("server:"):
            pass
        command.send_signal(signal.SIGTERM)
        assert command.wait(30) == 2
    assert not any(Path(f"/proc/{child}").exists() for child in children)


def own_children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return found.read_text().split()
