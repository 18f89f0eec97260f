"""The clock of a host that chaos sets: what a process that has it sees."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridge.chaos.clocks import HostClock
from tests.environment import clean_environment
from tests.preloaded import ROOT

HOUR = 3600
SHOWS = """
import runpy, sys, time
true = time.monotonic_ns, time.time_ns
def show(name, **_):
    assert name == "bridge" and sys.argv[1:] == ["run", "--config", "x"], sys.argv
    from bridge.clock import SteadyClock
    steady = SteadyClock()
    for line in sys.stdin:
        print(time.time(), time.time_ns() / 1e9, time.time_ns() - true[1](), steady.look(), time.monotonic_ns is true[0], flush=True)
original, runpy.run_module = runpy.run_module, show
del sys.argv[:2]
original("bridge.chaos.clocks", run_name="__main__", alter_sys=True)
"""
"""Shows the clocks for each line, in the place of ``tickbridge``."""


@pytest.mark.parametrize("ahead", [30 * HOUR, -2 * HOUR, 2])
def test_the_time_follows_the_file_and_nothing_else_does(tmp_path: Path, ahead: int) -> None:
    clock = HostClock(tmp_path / "clock")
    command = clock.command("run", "--config", "x")
    assert command[0] == sys.executable
    with subprocess.Popen(
        [sys.executable, "-c", SHOWS, *command[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=clean_environment(),
    ) as process:
        assert process.stdin
        assert process.stdout
        for step in (0, ahead, 0):
            clock.set(step)
            process.stdin.write("\n")
            process.stdin.flush()
            *shown, set_by, seen, untouched = process.stdout.readline().split()
            assert all(abs(float(one) - time.time() - step) < 1.5 for one in shown)
            assert abs(int(set_by) - step * 10**9) < 10**8
            assert abs(int(seen) - step * 10**9) < 10**8
            assert untouched == "True"
        process.stdin.close()
        assert process.wait() == 0
