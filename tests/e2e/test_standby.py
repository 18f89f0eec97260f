"""Two processes of one connector, one of which stands by: the writer is killed, and the other one goes on.

Judged by the streams alone: numbers without a hole, every trade once and none missing, books that are the true ones, and
no entry that says that something was lost.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Bench, Run
from tests.e2e.harness import Process, eventually
from tests.e2e.observing import check_streams, controls, none_missing, settled
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

    @property
    def instance(self) -> str:
        return str(self.client.hget(HEARTBEAT, "instance") or "")

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
