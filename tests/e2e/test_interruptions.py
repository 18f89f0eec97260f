"""What must hold when a process or a server dies: no hole, nothing twice, books right again."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.conftest import Bench
from tests.e2e.harness import book_of, eventually, sequences, trades_of
from tests.e2e.observing import check_streams, controls, flowing, none_missing, settled, stopped

CATALOGS = ("bridge:catalog", "bridge:catalog:accounts")


def test_kill_9_and_again(bench: Bench) -> None:
    simulated = bench.simulate()
    client = bench.client
    trades = "md:{limitlex:BTC-EUR}:trades"
    for life in range(1, 5):
        connector = bench.run()
        eventually(lambda: controls(client, trades).count("live") == life, f"life {life}")  # noqa: B023
        count = len(trades_of(client, "limitlex", "BTC-EUR"))
        eventually(lambda: len(trades_of(client, "limitlex", "BTC-EUR")) > count + 5, "trades")  # noqa: B023
        if life < 4:
            connector.kill()
    settled(client, simulated)
    check_streams(client, simulated)
    assert controls(client, trades) == ["live", "down", "live", "down", "live", "down", "live"]
    assert connector.stop() == 0


def test_redis_restarts_under_load(own_bench: Bench) -> None:
    simulated = own_bench.simulate(rate=1000)
    connector = own_bench.run()
    client = own_bench.client
    for round_ in range(3):
        flowing(client, 300 * (round_ + 1))
        own_bench.server.restart()
    flowing(client, 1500)
    settled(client, simulated)
    check_streams(client, simulated)
    counts = stopped(client, connector)
    assert counts["lost"] == 0
    none_missing(client, simulated)


def test_redis_is_killed(own_bench: Bench) -> None:
    """With an append-only file that is flushed once a second, a killed server forgets; it is told again."""
    simulated = own_bench.simulate(rate=1000)
    connector = own_bench.run()
    client = own_bench.client
    for round_ in range(3):
        flowing(client, 300 * (round_ + 1))
        own_bench.server.kill()
        own_bench.server.start()
    flowing(client, 1500)
    settled(client, simulated)
    check_streams(client, simulated)
    assert stopped(client, connector)["lost"] == 0


def test_redis_forgets_everything(own_bench: Bench) -> None:
    """A server that comes back empty gets the newest entries again, and is told of the others."""
    simulated = own_bench.simulate(rate=500)
    connector = own_bench.run()
    client = own_bench.client
    flowing(client, 500)
    own_bench.server.kill()
    for left in own_bench.server.directory.glob("appendonly*/*"):
        left.unlink()
    own_bench.server.start()
    flowing(client, 1000)
    settled(client, simulated)
    for key, numbers in sequences(client).items():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), key
    check_streams(client, simulated)
    assert connector.stop() == 0


def test_redis_is_flushed(bench: Bench) -> None:
    """Nobody cuts a connection: the catalog's loss shows it, and everything comes back."""
    simulated = bench.simulate(rate=500)
    connector = bench.run(options={"resnapshot": "1h"})
    client = bench.client
    flowing(client, 300)
    client.flushall()
    settled(client, simulated)
    eventually(
        lambda: {name for catalog in CATALOGS for name in client.hkeys(catalog)} == set(sequences(client)),
        "catalogs of all streams, as they are",
    )
    assert client.hlen(CATALOGS[0]) >= 12
    assert client.hlen(CATALOGS[1]) >= 3
    for key, numbers in sequences(client).items():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), key
    assert connector.stop() == 0


def test_redis_is_away_beyond_the_buffer(own_bench: Bench) -> None:
    simulated = own_bench.simulate(rate=2000)
    simulated.config["buffer"] = {"max_bytes": "256KiB", "max_age": "1h"}
    connector = own_bench.run()
    client = own_bench.client
    flowing(client, 500)
    own_bench.server.stop()
    connector.wait_for('"events_dropped"')
    before = sum(simulated.state()["sent"]["order_book"].values())
    eventually(
        lambda: sum(simulated.state()["sent"]["order_book"].values()) > before + 3000, "an outage of some length"
    )
    own_bench.server.start()
    settled(client, simulated)
    check_streams(client, simulated)
    counts = stopped(client, connector)
    assert counts["lost"] > 0
    reasons = {f["reason"] for _, f in client.xrange("md:{limitlex:BTC-EUR}:trades") if f.get("event") == "lost"}
    assert reasons == {"the buffer of 262144 bytes is full"}


def test_redis_is_away_beyond_the_age(own_bench: Bench) -> None:
    simulated = own_bench.simulate(rate=500)
    simulated.config["buffer"] = {"max_age": "1s"}
    connector = own_bench.run()
    client = own_bench.client
    flowing(client, 300)
    own_bench.server.stop()
    connector.wait_for('"events_dropped"')
    own_bench.server.start()
    settled(client, simulated)
    check_streams(client, simulated)
    assert stopped(client, connector)["lost"] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_graceful_end(bench: Bench, number: signal.Signals) -> None:
    simulated = bench.simulate()
    connector = bench.run()
    client = bench.client
    flowing(client, 100)
    connector.send(number)
    assert connector.ended() == 0
    for key in client.scan_iter("*}:*", _type="stream"):
        [(_, last)] = client.xrevrange(key, count=1)
        assert (last["type"], last["event"]) == ("control", "stop"), key
    assert not client.exists("bridge:connector:limitlex")
    assert eventually(lambda: not simulated.state()["sockets"], "sockets closed") is True
    check_streams(client, simulated)


def test_the_second_signal_ends_at_once(own_bench: Bench) -> None:
    """With Redis away there is something to wait for, until the deadline or the second signal."""
    simulated = own_bench.simulate()
    simulated.config["shutdown_timeout"] = "1h"
    connector = own_bench.run()
    flowing(own_bench.client, 100)
    own_bench.server.stop()
    connector.wait_for('"redis_lost"')
    connector.send(signal.SIGTERM)
    connector.wait_for('"stopping"')
    first = connector.output

    def ended_by_another_signal() -> bool:
        connector.send(signal.SIGTERM)
        return not connector.running

    # The first tenth of a second takes two signals for one.
    eventually(ended_by_another_signal, "its end")
    assert connector.ended() == 128 + signal.SIGTERM
    assert "not_drained" not in first


def test_the_deadline_ends_it_too(own_bench: Bench) -> None:
    simulated = own_bench.simulate()
    simulated.config["shutdown_timeout"] = "1s"
    connector = own_bench.run()
    flowing(own_bench.client, 100)
    own_bench.server.stop()
    connector.wait_for('"redis_lost"')
    assert connector.stop() == 2
    assert '"not_drained"' in connector.output
    assert "entries could not be written before the end" in connector.output


def test_a_key_that_is_no_stream_for_a_while(bench: Bench) -> None:
    """Only that stream stands still; its book gets its snapshot as soon as it is a stream again."""
    simulated = bench.simulate(rate=500)
    connector = bench.run(options={"resnapshot": "1h"})
    client = bench.client
    key = "md:{limitlex:BTC-EUR}:book"
    flowing(client, 300)
    client.delete(key)
    client.set(key, "something else")
    connector.wait_for("WRONGTYPE")
    others = len(trades_of(client, "limitlex", "ETH-EUR"))
    eventually(lambda: len(trades_of(client, "limitlex", "ETH-EUR")) > others + 20, "the other streams")
    client.delete(key)
    eventually(lambda: client.exists(key) and "gap" in controls(client, key), "what was deleted")
    eventually(lambda: book_of(client.xrange(key)), "a book again")
    settled(client, simulated)
    assert connector.stop() == 0
