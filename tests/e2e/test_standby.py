"""Two processes of one connector, one of which stands by: the writer is killed, and the other one goes on.

Judged by the streams alone: numbers without a hole, every trade once and none missing, books that are the true ones, and
no entry that says that something was lost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Bench, Run
from tests.e2e.harness import Process, book_of, eventually, fetch, sequences
from tests.e2e.observing import check_streams, connect, controls, none_missing, settled
from tests.e2e.test_lmex_simulated import Rig, whole
from tests.servers import RedisServer

HEARTBEAT = "bridge:connector:limitlex"
KILLS = int(os.environ.get("TICKBRIDGE_TEST_TAKEOVERS", "4"))
"""Each takes as long as a process needs to start: raise it to try more."""
SLOW_MACHINE = {"TICKBRIDGE_HEARTBEAT__INTERVAL": "5s", "TICKBRIDGE_HEARTBEAT__TTL": "30s"}
"""A process that gets no time to run for seconds is not to count as gone: one that is killed counts at once."""


class Pair:
    """A writer and its standby, the latter of which takes the place of the former again and again."""

    def __init__(self, client: Any, exchange: str, pair: str, start: Callable[[], Process]) -> None:
        self.client = client
        self._heartbeat = f"bridge:connector:{exchange}"
        self._trades = f"md:{{{exchange}:{pair}}}:trades"
        self._start = start
        self.writer = start()
        eventually(lambda: client.hget(self._heartbeat, "state") == "live", "that all is live")
        self.standby = self._ready()

    def replace(self) -> None:
        """The standby has become the writer: start another one."""
        self.writer, self.standby = self.standby, self._ready()

    def kill(self) -> None:
        """Kill the writer, and wait until the standby writes."""
        self.writer.kill()
        self.taken_over()

    def stop(self) -> None:
        """Stop the writer, and wait until the standby writes."""
        assert self.writer.stop() == 0
        self.taken_over()

    def taken_over(self) -> None:
        """Wait until the standby writes."""
        eventually(lambda: self.client.hget(self._heartbeat, "pid") == str(self.standby.pid), "the standby's heartbeat")
        before = self._entries()
        eventually(lambda: self._entries() > before + 10, "more entries")

    def swapped(self) -> None:
        """The standby writes, and the writer stands by."""
        self.taken_over()
        self.writer, self.standby = self.standby, self.writer
        eventually(lambda: self._shown(self.standby.pid) == "standby", "that it stands by")

    def _entries(self) -> int:
        return int(self.client.xlen(self._trades))

    def _ready(self) -> Process:
        standby = self._start()
        standby.wait_for('"standing_by"')
        eventually(lambda: self._shown(standby.pid) == "standby", "that it could go on at once")
        return standby

    def _shown(self, pid: int) -> str:
        """The state that a standby shows of itself."""
        shown = self.client.hgetall(f"{self._heartbeat}:standby")
        return str(shown.get("state")) if shown.get("pid") == str(pid) else ""


def words(client: Any, key: str) -> list[tuple[str, str]]:
    """The control entries of a stream: events and reasons."""
    entries = [fields for _, fields in client.xrange(key) if fields["type"] == "control"]
    return [(fields["event"], fields["reason"]) for fields in entries]


@pytest.fixture
def pair(bench: Bench) -> Pair:
    bench.simulate(rate=200)
    return Pair(bench.client, "limitlex", "BTC-EUR", lambda: bench.start(SLOW_MACHINE, standby=True))


def test_the_writer_is_killed_again_and_again(bench: Bench, pair: Pair) -> None:
    for _ in range(KILLS):
        pair.kill()
        pair.replace()
    check(bench)


def check(bench: Bench) -> None:
    """The streams are as if one connector had written them without a break."""
    simulated = bench.simulated
    assert simulated is not None
    for name in simulated.pairs:
        for channel in ("trades", "book", "quotes", "ticker"):
            assert words(bench.client, f"md:{{limitlex:{name}}}:{channel}") == [("live", "")], channel
    settled(bench.client, simulated)
    check_streams(bench.client, simulated)
    none_missing(bench.client, simulated)


def test_a_writer_that_is_stopped_hands_over(bench: Bench, pair: Pair) -> None:
    for _ in range(2):
        pair.stop()
        assert '"handed_over"' in pair.writer.output
        pair.replace()
    check(bench)


def test_a_writer_hands_over_when_asked_and_stands_by(bench: Bench, pair: Pair, run: Run) -> None:
    for _ in range(2):
        done = run("handover", "limitlex", "--redis", bench.server.url)
        assert done.ended() == 0, done.output
        assert f"pid {pair.writer.pid}" in done.output
        assert "to host" in done.output
        pair.swapped()
    check(bench)


def test_a_writer_that_was_frozen_stands_by(bench: Bench, pair: Pair) -> None:
    """The two change places in their processes, as often as it happens: to start one takes long on a busy machine."""
    for _ in range(2):
        pair.writer.send(signal.SIGSTOP)
        pair.taken_over()
        pair.writer.send(signal.SIGCONT)
        assert f"pid {pair.standby.pid}" in pair.writer.wait_for("standing_by_again")
        pair.swapped()
    pair.kill()
    check(bench)


def test_a_standby_that_does_not_take_over_in_time(bench: Bench, pair: Pair) -> None:
    """The writer ends as one without a standby does; when the standby runs again, it finds the streams ended."""
    pair.standby.send(signal.SIGSTOP)
    assert pair.writer.stop() == 0, pair.writer.output
    key = "md:{limitlex:BTC-EUR}:trades"
    assert controls(bench.client, key) == ["live", "stop"]
    pair.standby.send(signal.SIGCONT)
    pair.taken_over()
    assert controls(bench.client, key) == ["live", "stop", "live"]
    simulated = bench.simulated
    assert simulated is not None
    settled(bench.client, simulated)
    check_streams(bench.client, simulated)


def test_a_standby_ends_without_a_trace(bench: Bench, pair: Pair) -> None:
    assert pair.standby.stop() == 0
    assert not bench.client.exists(f"{HEARTBEAT}:standby")
    assert pair.writer.running
    check(bench)


def test_without_a_standby_there_is_none_to_hand_over_to(bench: Bench, run: Run) -> None:
    bench.simulate(rate=100)
    writer = bench.run(standby=True)
    writer.wait_for('"started"')
    done = run("handover", "limitlex", "--redis", bench.server.url)
    assert done.ended() == 1
    assert "no process stands by for 'limitlex'" in done.output
    assert writer.stop() == 0
    assert "stop" in controls(bench.client, "md:{limitlex:BTC-EUR}:trades")
    done = run("handover", "limitlex", "--redis", bench.server.url)
    assert done.ended() == 1
    assert "no connector 'limitlex' is running" in done.output


def test_lmex_goes_on_with_its_accounts(run: Run, redis_server: RedisServer, tmp_path: Path) -> None:
    """Trades with ids, chained books, orders, positions, balances and fills of the simulated LMEX."""
    rig = Rig(run, redis_server, tmp_path, **SLOW_MACHINE)
    pair = Pair(rig.client, "lmex", rig.pairs[0], lambda: rig.run(standby=True, options={"balances_interval": "1s"}))
    for _ in range(2):
        pair.kill()
        pair.replace()
    rig.settle()
    whole(rig)
    for name in rig.pairs:
        mine = rig.my_trades(name)
        assert mine == rig.trades(name)[-len(mine) :], "none is missing from the first one on"
        for channel in ("trades", "book", "quotes", "ticker"):
            assert words(rig.client, f"md:{{lmex:{name}}}:{channel}") in ([("live", "")], []), channel
    fills = [f["fill_id"] for _, f in rig.client.xrange("acct:{lmex:main}:fills") if "fill_id" in f]
    assert len(set(fills)) == len(fills)
    newest = {fill["fill_id"] if "fill_id" in fill else fill["id"] for fill in rig.truth()["fills"]}
    assert newest <= set(fills), "of which the exchange keeps the last ones"


class Market:
    """A market of `tests.markets`, and connectors on it."""

    def __init__(self, run: Run, server: RedisServer, directory: Path, exchange: str, rate: int) -> None:
        self.exchange = exchange
        self.client: Any = connect(server)
        self._run = run
        self._config = directory / "market.yaml"
        options = ("--rate", str(rate), "--redis-url", server.url, "--write-config", str(self._config))
        run(exchange, *options, module="tests.markets").wait_for("ready")
        config = yaml.safe_load(self._config.read_text())
        [connector] = config["connectors"]
        connector["standby"] = True
        self._config.write_text(yaml.safe_dump(config))
        self.pairs: list[str] = connector["pairs"]
        self._control = f"{connector['rest_url']}/sim"

    def run(self) -> Process:
        return self._run("run", "--config", str(self._config), **SLOW_MACHINE)

    def check(self) -> None:
        """Hold the market: the streams are as if one connector had written them without a break."""
        fetch(f"{self._control}/pause", {})
        for pair in self.pairs:
            md = f"md:{{{self.exchange}:{pair}}}"
            found = fetch(f"{self._control}/streams/book?pair={pair}")
            true = tuple({Decimal(price): Decimal(size) for price, size in found[side]} for side in ("bids", "asks"))
            eventually(
                lambda md=md, true=true: book_of(self.client.xrange(f"{md}:book")) == true, f"{pair}'s true book"
            )
            trades = [row["id"] for row in fetch(f"{self._control}/streams/trades?pair={pair}")["trades"]]
            eventually(lambda md=md, last=trades[-1]: self._trades(md)[-1] == last, "the last trade")
            mine = self._trades(md)
            assert mine == trades[trades.index(mine[0]) :], "each once and in order, none missing"
            for channel in ("trades", "book", "quotes", "ticker"):
                assert words(self.client, f"{md}:{channel}") == [("live", "")], channel
        for key, numbers in sequences(self.client).items():
            assert numbers == list(range(1, len(numbers) + 1)), key

    def _trades(self, md: str) -> list[str]:
        rows = self.client.xrange(f"{md}:trades")
        return [fields["id"] for _, fields in rows if fields["type"] == "trade"]


@pytest.mark.parametrize("exchange", ["coinbase", "bybit"])
def test_exchanges_that_number_go_on(run: Run, redis_server: RedisServer, tmp_path: Path, exchange: str) -> None:
    """Coinbase counts the messages of each connection, Bybit the changes of each book; both have trades with ids."""
    market = Market(run, redis_server, tmp_path, exchange, rate=200)
    pair = Pair(market.client, exchange, market.pairs[0], market.run)
    for _ in range(KILLS):
        pair.kill()
        pair.replace()
    market.check()
