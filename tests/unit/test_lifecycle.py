from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.environment import clean_environment
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
BODY = """
import asyncio, sys, time
from bridge.process.lifecycle import end_on_signals, run_loop

async def main(stop):
    {body}

async def all_of_it():
    stop = asyncio.Event()

    def begin(number):
        print("stopping", number.name, flush=True)
        stop.set()

    end_on_signals(begin, {patience}, lambda: print("late", flush=True))
    print("ready", flush=True)
    await main(stop)
    print("done", flush=True)

try:
    from {loop} import new_event_loop
except ImportError:
    new_event_loop = None
run_loop(all_of_it(), new_event_loop)
print("returned", flush=True)
"""
WAITS = "await stop.wait()"
STUBBORN = """
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass
"""
BLOCKED = """
    while True:
        time.sleep(0.01)
"""
LEAVES = """
    async def stubborn():
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    left = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
"""
HANGS = """
    await stop.wait()
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)
"""


@pytest.fixture(params=["asyncio", "uvloop"])
def process(request):
    started = []

    def start(body, patience=60.0):
        text = BODY.format(body=textwrap.dedent(body).replace("\n", "\n    "), loop=request.param, patience=patience)
        found = subprocess.Popen(
            [sys.executable, "-c", text],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean_environment(),
        )
        started.append(found)
        assert found.stdout.readline() == "ready\n", found.stderr.read()
        return found

    yield start
    for one in started:
        one.kill()
        rest(one)
        one.stdout.close()
        one.stderr.close()


def rest(process):
    """What it still prints until its end (`communicate` would miss what has been read ahead)."""
    out, err = process.stdout.read(), process.stderr.read()
    process.wait(PATIENCE)
    return out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_ends_in_order(process, number):
    found = process(WAITS)
    found.send_signal(number)
    out, err = rest(found)
    assert (found.returncode, out, err) == (0, f"stopping {number.name}\ndone\nreturned\n", "")


@pytest.mark.parametrize("body", [STUBBORN, BLOCKED], ids=["a task that swallows it", "a loop that stands still"])
def test_the_second_signal_ends_at_once(process, body):
    found = process(body)
    deadline = time.monotonic() + 30
    while found.poll() is None:  # signals within a tenth of a second are one
        assert time.monotonic() < deadline
        found.send_signal(signal.SIGTERM)
        time.sleep(0.15)
    assert found.returncode == 128 + signal.SIGTERM


def test_what_does_not_end_is_ended(process):
    found = process(STUBBORN, patience=0.2)
    found.send_signal(signal.SIGTERM)
    out, _ = rest(found)
    assert (found.returncode, out) == (2, "stopping SIGTERM\nlate\n")


def test_a_task_that_is_left_over_keeps_nothing(process):
    found = process(LEAVES)
    out, err = rest(found)
    assert (found.returncode, out, err) == (0, "done\nreturned\n", "")


def test_a_thread_that_hangs_is_not_waited_for_longer(process):
    """A name server that doesn't answer, say."""
    found = process(HANGS, patience=1.0)
    found.send_signal(signal.SIGTERM)
    out, _ = rest(found)
    assert (found.returncode, out) == (2, "stopping SIGTERM\ndone\nreturned\nlate\n")
