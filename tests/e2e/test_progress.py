"""The progress lines of `run`, `record` and `replay`: on a terminal or by --progress, and nowhere else."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from bridge.cli.progress import _clock, _Rates, _size
from tests.e2e.conftest import Bench
from tests.e2e.harness import eventually
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import free_port

CLEAN = clean_environment(TICKBRIDGE_HTTP__PORT="off")
SMALL = Path(__file__).parents[1] / "fixtures" / "coinbase-small.jsonl"
OFTEN = ("--progress-every", "100ms")
RUN = re.compile(
    r"\d\d:\d\d:\d\d  up \d:\d\d:\d\d; ([\d,]+) events/s received, ([\d,]+) published; lost 0, gaps \d+, rejected 0, "
    r"waiting \d+; lag .* ms to Redis; (\d+) of (\d+) connections up, (\d+) of (\d+) streams live"
)


class Terminal:
    """A command whose stderr is a terminal; what comes there is collected."""

    def __init__(self, *arguments: str) -> None:
        leader, follower = pty.openpty()
        words = [sys.executable, "-m", "bridge", *arguments]
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=follower, env=CLEAN
        )
        os.close(follower)
        self._leader = leader
        self._chunks: list[bytes] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def output(self) -> str:
        return b"".join(self._chunks).decode()

    def _read(self) -> None:
        while True:
            try:
                self._chunks.append(os.read(self._leader, 65536))
            except OSError:
                return

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self._reader.join(PATIENCE)
            os.close(self._leader)


def test_run_says_how_it_gets_on(bench: Bench, tmp_path: Path) -> None:
    simulated = bench.simulate()
    config = str(simulated.write(tmp_path / "run.yaml"))
    terminal = Terminal("run", "--config", config, *OFTEN)
    try:
        found = eventually(
            lambda: [row for row in map(RUN.search, terminal.output.splitlines()) if row and row[1] != "0"], "a line"
        )
        eventually(
            lambda: any(row and row[3] == row[4] and row[5] == row[6] for row in _rows(terminal)), "all of it live"
        )
    finally:
        code = terminal.stop()
    assert code == 0
    assert int(found[0][1].replace(",", "")) > 0


def _rows(terminal: Terminal) -> list[re.Match[str] | None]:
    return [RUN.search(line) for line in terminal.output.splitlines()]


@pytest.mark.parametrize("given", [(), ("--progress",), ("--no-progress",)])
def test_only_where_somebody_reads_or_asks(bench: Bench, tmp_path: Path, given) -> None:
    simulated = bench.simulate()
    process = bench._run("run", "--config", str(simulated.write(tmp_path / "run.yaml")), *OFTEN, *given)
    process.wait_for("connected")
    if given == ("--progress",):
        process.wait_for("events/s received")
    else:
        eventually(lambda: int(bench.client.hget("bridge:connector:limitlex", "published") or 0) > 300, "entries")
    assert process.stop() == 0
    assert ("events/s received" in process.output) == (given == ("--progress",))


def test_record_and_replay_say_how_far_they_are(tmp_path: Path) -> None:
    port = free_port()
    replay = Terminal("replay", str(SMALL), "--port", str(port), "--speed", "0.5", *OFTEN)
    try:
        eventually(lambda: "0 clients" in replay.output, "a line without a client")
        config = tmp_path / "c.yaml"
        connector = {"name": "cb", "exchange": "coinbase", "pairs": ["BTC-USD"], "url": f"ws://127.0.0.1:{port}/"}
        config.write_text(yaml.safe_dump({"connectors": [connector]}))
        out = tmp_path / "r.jsonl"
        record = Terminal("record", "--config", str(config), "--out", str(out), "--duration", "3600", *OFTEN)
        try:
            pattern = r"recording for \d:\d\d:\d\d; [1-9]\d* rows \(\d+/s\); file \d+(\.\d)? k?B; 0:59:\d\d left"
            eventually(lambda: re.search(pattern, record.output), "rows")
            pattern = r"1 client; [1-9]\d* frames/s; COINBASE.ws.2: 0:00:0\d of 0:00:0\d, [1-9]\d* of 190 frames; 0:00:\d\d left"
            eventually(lambda: re.search(pattern, replay.output), "a client")
        finally:
            assert record.stop() == 0
    finally:
        assert replay.stop() == 0


def test_rates_are_of_the_time_since_the_line_before() -> None:
    times = iter([0.0, 10.0, 12.0, 13.0])
    rates = _Rates(lambda: next(times))
    assert rates.per_second(100, 50) == [10.0, 5.0]
    assert rates.per_second(110, 50) == [5.0, 0.0]
    assert rates.elapsed == 13.0


def test_times_and_sizes() -> None:
    assert [_clock(seconds) for seconds in (0, 59.6, 3600, 360_000)] == ["0:00:00", "0:01:00", "1:00:00", "100:00:00"]
    assert [_size(count) for count in (0, 999, 1000, 12_345_678)] == ["0 B", "999 B", "1.0 kB", "12.3 MB"]
