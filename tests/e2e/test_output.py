"""Whatever becomes of what a process prints and logs: the process goes on, answers signals, and ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Bench
from tests.e2e.harness import eventually, fetch
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import free_port

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command of ours in a user's environment, with streams as the test says."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(*arguments: str, module: str = "bridge", **streams: Any) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, *arguments]
        process = subprocess.Popen(command, env=clean_environment(), **streams)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


class Nobody:
    """A pipe, or a terminal, that is open and not read."""

    def __init__(self, *, terminal: bool = False) -> None:
        self.ours, self.theirs = pty.openpty() if terminal else os.pipe()

    def fill(self) -> None:
        """Leave no room for a single line."""
        os.set_blocking(self.theirs, False)
        try:
            while True:
                os.write(self.theirs, b"." * 4096)
        except BlockingIOError:
            pass
        os.set_blocking(self.theirs, True)

    def read(self, until: bytes) -> bytes:
        """Read again, until something comes."""
        found = b""
        while until not in found:
            found += os.read(self.ours, 1 << 16)
        return found


def config(bench: Bench, tmp_path: Path, **changes: Any) -> list[str]:
    assert bench.simulated is not None
    bench.simulated.config |= {"http": {"port": 0}, **changes}
    return ["run", "--config", str(bench.simulated.write(tmp_path / "run.yaml"))]


def goes_on(bench: Bench) -> None:
    """Trades come, and the heartbeat beats."""
    key = "md:{limitlex:BTC-EUR}:trades"
    eventually(lambda: bench.client.xlen(key) > 2, "entries")
    seen, beat = bench.client.xlen(key), bench.client.hget("bridge:connector:limitlex", "beat")
    eventually(lambda: bench.client.xlen(key) > seen + 2, "more entries")
    eventually(lambda: bench.client.hget("bridge:connector:limitlex", "beat") != beat, "another heartbeat")


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_nobody_reads_the_log(bench: Bench, start: Start, tmp_path: Path, *, terminal: bool) -> None:
    bench.simulate(rate=100)
    nobody = Nobody(terminal=terminal)
    nobody.fill()
    process = start(*config(bench, tmp_path, log={"level": "debug"}), stdout=nobody.theirs, stderr=nobody.theirs)
    goes_on(bench)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0, "the end does not wait for the reader"
    assert not bench.client.exists("bridge:connector:limitlex"), "it ended in order"


def test_the_second_signal_while_nobody_reads(own_bench: Bench, start: Start, tmp_path: Path) -> None:
    """The first one can't end in order, since Redis answers nothing."""
    own_bench.simulate(rate=100)
    nobody = Nobody()
    nobody.fill()
    process = start(*config(own_bench, tmp_path, shutdown_timeout="1h"), stdout=nobody.theirs, stderr=nobody.theirs)
    goes_on(own_bench)
    own_bench.server.stop()

    def ended() -> bool:
        process.send_signal(signal.SIGINT)
        return process.poll() is not None

    # The first tenth of a second takes two signals for one.
    eventually(ended, "its end")
    assert process.returncode == 128 + signal.SIGINT


@pytest.mark.parametrize("stream", ["stderr", "both"])
def test_streams_that_are_closed(bench: Bench, start: Start, tmp_path: Path, stream: str) -> None:
    """As ``2>&-`` does: no socket may get their numbers."""
    bench.simulate(rate=100)

    def close() -> None:
        os.close(2)
        if stream == "both":
            os.close(1)
            os.close(0)

    process = start(*config(bench, tmp_path), preexec_fn=close)
    goes_on(bench)
    for number in (2,) if stream == "stderr" else range(3):
        assert Path(f"/proc/{process.pid}/fd/{number}").readlink() == Path("/dev/null")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_a_full_disk(bench: Bench, start: Start, tmp_path: Path) -> None:
    bench.simulate(rate=100)
    with Path("/dev/full").open("wb") as full:
        process = start(*config(bench, tmp_path), stdout=full, stderr=full)
    goes_on(bench)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_a_reader_that_dies(bench: Bench, start: Start, tmp_path: Path) -> None:
    bench.simulate(rate=100)
    process = start(*config(bench, tmp_path), stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()
    process.stderr.close()
    goes_on(bench)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_what_was_dropped_is_counted_and_said(bench: Bench, tmp_path: Path) -> None:
    """The queue is made small, since a connector that is well would take days to fill it."""
    bench.simulate(rate=100)
    nobody = Nobody()
    nobody.fill()
    port = free_port()
    small = "import sys, bridge.process.output as o; o.LineQueue.__init__.__defaults__ = (1024,)"
    code = f"{small}; from bridge.cli.main import main; sys.exit(main())"
    arguments = config(bench, tmp_path, http={"port": port})
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=nobody.theirs, env=clean_environment())
    try:
        goes_on(bench)
        metric = 'tickbridge_output_dropped_lines_total{stream="stderr"} '
        eventually(lambda: metric in _page(port) and f"{metric}0.0" not in _page(port), "lines are counted")
        assert int(fetch(f"http://127.0.0.1:{port}/status")["output"]["dropped_lines"]["stderr"]) > 0
        nobody.read(b"output_dropped")
        process.send_signal(signal.SIGTERM)
        rest = threading.Thread(target=nobody.read, args=(b'"stopped"',), daemon=True)
        rest.start()
        assert process.wait(PATIENCE) == 0
        rest.join(PATIENCE)
        assert not rest.is_alive()
    finally:
        process.kill()
        process.wait()


def _page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        return answer.read().decode()


def test_nothing_is_lost_at_an_orderly_end(bench: Bench, start: Start, tmp_path: Path) -> None:
    bench.simulate(rate=100)
    process = start(*config(bench, tmp_path), stderr=subprocess.PIPE)
    goes_on(bench)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in errors.splitlines()]
    assert [line["event"] for line in lines][-2:] == ["stopping", "stopped"]


def test_a_storm_of_bad_frames_is_a_few_lines_and_all_are_counted(bench: Bench, start: Start, tmp_path: Path) -> None:
    bench.simulate(rate=1500)
    process = start(*config(bench, tmp_path), stderr=subprocess.PIPE)
    goes_on(bench)
    bench.simulated.fault("corrupt", type="last_trade", count=400)
    beat = "bridge:connector:limitlex"
    eventually(lambda: int(bench.client.hget(beat, "rejected") or 0) >= 300, "bad frames")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in errors.splitlines()]
    rejected = [line for line in lines if line["event"] == "frame_rejected"]
    assert len(rejected) <= 2 * (len(bench.simulated.pairs) + 2), (
        "one of each connection, three at least, and a summary"
    )
    [stopped] = [line for line in lines if line["event"] == "stopped"]
    assert lines[-1] is stopped, "what was left out is said before the end"
    assert sum(line.get("repeated", 1) for line in rejected) == stopped["rejected"]
    kept = bench.client.xrange("bridge:rejects:limitlex")
    assert 100 <= len(kept) < stopped["rejected"]
