"""Where a message's CPU time goes, stage by stage: a sampling profiler beside a saturated connector.

``py-spy`` looks from outside, native frames included; nothing of the connector is changed, and its time is not counted.
A sample belongs to the innermost frame that a stage is known by, so a decoder called by a session is ``decode``, and the
rest of what the session does is ``session``.
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.machine import Server
from benchmarks.results import Run, Target, medians, table
from benchmarks.tickbridge import SETUPS, Tickbridge
from benchmarks.trial import Load, Trial, recorded, trades

__all__ = ["STAGES", "measure", "stage_of"]

_RULES = (
    ("write", ("_try_write", "sock_send", "SocketTransport.write")),
    ("decode", ("msgspec/",)),
    (
        "checks",
        (
            "exchanges/toolkit/values/numbers.py",
            "exchanges/times.py",
            "toolkit/values/numbers.py",
            "toolkit/timing/times.py",
        ),
    ),
    ("session", ("bridge/exchanges/",)),
    ("sequencer", ("bridge/sequencer/", "bridge/connector/router.py", "bridge/book.py", "bridge/connector/router.py")),
    ("render", ("publish/wire.py",)),
    ("replies", ("hiredis", "site-packages/redis/")),
    ("pack", ("bridge/publish/",)),
    ("WebSocket", ("bridge/feed/", "websockets/", "picows/")),
    ("loop and sockets", ("uvloop/", "asyncio/", "selectors.py")),
    ("housekeeping", ("bridge/", "consumers/")),
)
"""Stages, and what the frames of each have in their function or file; the first that fits counts."""
_PASSED_OVER = ("dealloc",)
"""Frames that say nothing: whoever drops the last reference pays for the end of an object."""
_WAITING = ("epoll_wait", "epoll_pwait", "select ", "kevent")
"""What the innermost frame is while nothing is done."""
_ORDER = (
    "loop and sockets",
    "WebSocket",
    "decode",
    "session",
    "checks",
    "sequencer",
    "render",
    "pack",
    "write",
    "replies",
)
STAGES = (*_ORDER, "housekeeping", "other")
"""In the order of a message's way; ``housekeeping`` is heartbeats, metrics and the like."""
_RATE = 250
_STARTED = "Sampling process"


def measure(server: Server, *, messages: int, runs: int) -> tuple[str, list[Target], dict[str, Any]]:
    """Both setups and both loads."""
    if importlib.util.find_spec("py_spy") is None and not _py_spy().exists():
        return "SKIP cost by stage: py-spy is not installed", [], {}
    rows: dict[str, Run] = {}
    for load in (trades(messages), recorded(messages)):
        for setup in SETUPS:
            rows[f"{load.name}, {setup.short}"] = medians([_profile(server, setup, load) for _ in range(runs)])
    return table(f"CPU µs per message by stage ({messages:,} messages, median of {runs} runs)", rows), [], rows


def _py_spy() -> Path:
    return Path(sys.executable).parent / "py-spy"


def _profile(server: Server, setup: Tickbridge, load: Load) -> Run:
    with tempfile.TemporaryDirectory(prefix="tickbridge-bench-") as directory, Trial(server, setup, load) as trial:
        path = Path(directory) / "stacks"
        command = [str(_py_spy()), "record", "--native", "--full-filenames", "--rate", str(_RATE), "--format", "raw"]
        command += ["--duration", "unlimited", "--output", str(path), "--pid", str(trial.process.pid)]
        spy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert spy.stdout is not None
            said = ""
            while _STARTED not in said:
                line = spy.stdout.readline()
                if not line:
                    raise RuntimeError(f"py-spy ended: {said.strip()}")
                said += line
            trial.go(spy.pid)
            measured = trial.finish()
            spy.send_signal(signal.SIGINT)
            spy.communicate(timeout=60)
        finally:
            spy.kill()
            spy.wait()
        shares = _shares(path.read_text())
    per_message = measured.cpu / load.count * 1e6
    return {**{name: per_message * shares[name] for name in STAGES}, "in all": per_message}


def _shares(text: str) -> dict[str, float]:
    """The share of each stage, of stacks as ``frame;frame;frame count``, outermost first."""
    found: Counter[str] = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        stack = frames.split(";")
        if not stack[-1].startswith(_WAITING):
            found[stage_of(stack)] += int(count)
    total = found.total() or 1
    return {name: found[name] / total for name in STAGES}


def stage_of(stack: list[str]) -> str:
    """The stage of a stack of frames, outermost first; each names its function and, in brackets, its file."""
    for frame in reversed(stack):
        if any(mark in frame for mark in _PASSED_OVER):
            continue
        for name, marks in _RULES:
            if any(mark in frame for mark in marks):
                return name
    return "other"
