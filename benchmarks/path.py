"""(b) The whole path: sender → connector → Redis → reader, each a process of its own.

The connector is ``tickbridge run`` with a config file, nothing else. Its CPU time is what the operating system says of
its process between the first frame and the last acknowledged entry. Every run ends with the proof that nothing is
missing: as many entries as frames, no hole, nothing declared lost.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks.machine import Others, Server, cpu_seconds
from benchmarks.results import Run, Target, medians, table
from bridge.keys import Keys
from bridge.model import Channel

__all__ = ["LATENCY_RATES", "SETUPS", "Setup", "latency", "saturate"]

NAMESPACE = "bench-path"
LATENCY_RATES = (1_000, 10_000)
_PAIR = "BTC-USD"
_ROOT = Path(__file__).resolve().parent.parent
_POLL = 0.02
_STUCK = 60.0
_TRIES = 6
_PATIENCE = 60.0
_LOOK = 2.0
_BEAT = 1.0
_WHAT = {
    "limitlex": "Limitlex, a trade per message",
    "coinbase": "Coinbase, nine book updates of six levels to one trade",
}


class Setup(Struct, frozen=True):
    """How the connector runs."""

    name: str
    transport: str
    loop: str
    target: float


SETUPS = (Setup("websockets", "websockets", "asyncio", 50_000), Setup("fast", "picows", "uvloop", 120_000))


class Trial(Struct):
    """One pass over the whole path."""

    cpu: float
    wall: float
    beat: dict[str, str]
    reader: dict[str, Any]
    sender: dict[str, float]
    server_cpu: float
    others: float


def saturate(
    server: Server, *, setups: Sequence[Setup], exchange: str, messages: int, runs: int, quiet: float = 100.0
) -> tuple[str, list[Target], dict[str, Run]]:
    """As fast as the connector takes it; the setups take turns."""
    found: dict[str, list[Run]] = {setup.name: [] for setup in setups}
    for _ in range(runs):
        for setup in setups:
            trial = _quiet_trial(server, setup, exchange, messages, 0, quiet=quiet)
            found[setup.name].append(
                {
                    "messages/CPU-s": messages / trial.cpu,
                    "messages/s": messages / trial.wall,
                    "CPU µs: connector": trial.cpu / messages * 1e6,
                    "sender": trial.sender["cpu"] / messages * 1e6,
                    "Redis": trial.server_cpu / messages * 1e6,
                    "reader": trial.reader["cpu"] / messages * 1e6,
                    "others %": trial.others,
                }
            )
    rows = {f"{setup.name} ({setup.transport}, {setup.loop})": medians(found[setup.name]) for setup in setups}
    title = f"Whole path, saturated, {_WHAT[exchange]} ({messages:,} messages, median of {runs} runs)"
    targets = []
    if exchange == "limitlex":
        for setup, row in zip(setups, rows.values(), strict=True):
            what = f"whole path, {setup.name}: messages per CPU-second of the connector"
            targets.append(Target(what, row["messages/CPU-s"], at_least=setup.target))
    return table(title, rows), targets, rows


def latency(
    server: Server, *, setups: Sequence[Setup], rate: int, seconds: float, runs: int, quiet: float = 100.0
) -> tuple[str, list[Target], dict[str, Run]]:
    """At an even rate; the setups take turns."""
    whole: dict[str, list[Run]] = {setup.name: [] for setup in setups}
    inner: dict[str, list[Run]] = {setup.name: [] for setup in setups}
    for _ in range(runs):
        for setup in setups:
            trial = _quiet_trial(server, setup, "limitlex", int(rate * seconds), rate, quiet=quiet)
            further = {
                "sender late p99": trial.sender["late"] * 1000,
                "connector's core %": 100 * trial.cpu / trial.wall,
                "others %": trial.others,
            }
            whole[setup.name].append({**trial.reader["latency_ms"], **further})
            inner[setup.name].append({name: float(trial.beat[f"publish_{name}_ms"]) for name in ("p50", "p99")})
    rows = {f"{setup.name}: sender → reader": medians(whole[setup.name]) for setup in setups}
    acks = {f"{setup.name}: frame received → acknowledged": medians(inner[setup.name]) for setup in setups}
    text = table(f"Latency at {rate:,} messages/s (ms, {seconds:g} s, median of {runs} runs)", rows)
    targets = []
    for setup, reader, ack in zip(setups, rows.values(), acks.values(), strict=True):
        if rate == max(LATENCY_RATES):
            targets += _latency_targets(f"{setup.name}, {rate:,}/s", reader, ack)
    return f"{text}\n{table('', acks)}", targets, rows | acks


def _latency_targets(where: str, reader: Run, ack: Run) -> list[Target]:
    return [
        Target(f"{where}: received → acknowledged, p50 ms", ack["p50"], at_most=0.3),
        Target(f"{where}: received → acknowledged, p99 ms", ack["p99"], at_most=1.0),
        Target(f"{where}: sender → reader, p50 ms", reader["p50"], at_most=1.2),
        Target(f"{where}: sender → reader, p99 ms", reader["p99"], at_most=5.0),
    ]


def _quiet_trial(server: Server, setup: Setup, exchange: str, messages: int, rate: float, *, quiet: float) -> Trial:
    """A trial during which others took at most ``quiet`` percent of the machine; or the quietest of a few."""
    trials: list[Trial] = []
    while len(trials) < _TRIES and not (trials and trials[-1].others <= quiet):
        if quiet < 100:
            _await_quiet(server, quiet)
        trials.append(_trial(server, setup, exchange, messages, rate))
    return min(trials, key=lambda trial: trial.others)


def _await_quiet(server: Server, quiet: float) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        others = Others(*([server.pid] if server.pid else []))
        time.sleep(_LOOK)
        if others.share() <= quiet:
            return


def _trial(server: Server, setup: Setup, exchange: str, messages: int, rate: float) -> Trial:
    server.forget(NAMESPACE)
    channels = [Channel.TRADES] if exchange == "limitlex" else [Channel.TRADES, Channel.BOOK]
    keys = [Keys(NAMESPACE).stream(exchange, _PAIR, channel) for channel in channels]
    entries = messages + (exchange == "coinbase")  # and its first full book
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tickbridge-bench-")))
        words = [exchange, *keys, "--redis", server.url, "--count", str(messages), "--rate", str(rate)]
        sender = stack.enter_context(_process("benchmarks.sender", *words))
        port = int(_line(sender))
        words = [*keys, "--redis", server.url, "--namespace", NAMESPACE, "--count", str(entries), "--loop", setup.loop]
        reader = stack.enter_context(_process("benchmarks.reading", *words, *(["--stamped"] if rate else [])))
        _line(reader)
        config = directory / "bench.yaml"
        config.write_text(json.dumps(_config(server, setup, exchange, channels, port)))
        connector = stack.enter_context(_process("bridge", "run", "--config", str(config), stdout=subprocess.DEVNULL))
        _line(sender)
        time.sleep(2 * _BEAT)  # it starts up; none of that is counted
        ours = [process.pid for process in (sender, reader, connector)] + ([server.pid] if server.pid else [])
        cpu, redis_cpu, others, began = cpu_seconds(connector.pid), _server_cpu(server), Others(*ours), time.time()
        assert sender.stdin is not None
        sender.stdin.write("go\n")
        sender.stdin.flush()
        _await_entries(server, keys, entries, connector)
        share = others.share()
        trial = Trial(
            others=share,
            cpu=cpu_seconds(connector.pid) - cpu,
            wall=time.time() - began,
            server_cpu=_server_cpu(server) - redis_cpu,
            sender=json.loads(_line(sender)),
            reader=json.loads(_line(reader)),
            beat=_beat(server, entries),
        )
        connector.send_signal(signal.SIGTERM)
        connector.wait(_STUCK)
    server.forget(NAMESPACE)
    _prove(trial, entries)
    return trial


def _config(server: Server, setup: Setup, exchange: str, channels: list[Channel], port: int) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if exchange == "limitlex":  # ids given: no REST; and no fresh connection in the middle of a run
        options = {"pair_ids": {_PAIR: "base:quote"}, "resnapshot": 86400}
    return {
        "redis": {"url": server.url},
        "namespace": NAMESPACE,
        "loop": setup.loop,
        "log": {"level": "warning"},
        "heartbeat": {"interval": _BEAT, "ttl": 5 * _BEAT},
        "retention": {str(channel): {"max_entries": 100_000_000, "max_age": "24h"} for channel in channels},
        "connectors": [
            {
                "name": "bench",
                "exchange": exchange,
                "pairs": [_PAIR],
                "channels": [str(channel) for channel in channels],
                "url": f"ws://127.0.0.1:{port}",
                "transport": setup.transport,
                "options": options,
            }
        ],
    }


@contextlib.contextmanager
def _process(module: str, *words: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", module, *words]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stdout, text=True, cwd=_ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended early; what it says stands above")
    return line.strip()


def _await_entries(server: Server, keys: list[str], entries: int, connector: subprocess.Popen[str]) -> None:
    """Until ``entries`` and each stream's ``live`` stand in Redis."""
    wanted = entries + len(keys)
    last, moved = 0, time.monotonic()
    while True:
        pipe = server.client.pipeline(transaction=False)
        for key in keys:
            pipe.xlen(key)
        length = sum(pipe.execute())
        if length >= wanted:
            return
        if length != last:
            last, moved = length, time.monotonic()
        if connector.poll() is not None:
            raise RuntimeError(f"the connector ended with {connector.returncode}; what it says stands above")
        if time.monotonic() - moved > _STUCK:
            raise RuntimeError(f"{length} entries of {wanted}, and no more come")
        time.sleep(_POLL)


def _server_cpu(server: Server) -> float:
    return cpu_seconds(server.pid) if server.pid else 0.0


def _beat(server: Server, entries: int) -> dict[str, str]:
    """The connector's heartbeat, once it counts all of them."""
    key = Keys(NAMESPACE).connector("bench")
    deadline = time.monotonic() + _STUCK
    while time.monotonic() < deadline:
        beat: dict[str, str] = server.client.hgetall(key)  # type: ignore[assignment]
        if int(beat.get("published", 0)) >= entries:
            return beat
        time.sleep(_POLL)
    raise RuntimeError("the connector's heartbeat doesn't show what it published")


def _prove(trial: Trial, entries: int) -> None:
    """Nothing lost, nothing twice, no hole."""
    counts = {name: int(trial.beat[name]) for name in ("received", "published", "lost", "gaps", "rejected", "waiting")}
    assert counts == {"received": entries, "published": entries, "lost": 0, "gaps": 0, "rejected": 0, "waiting": 0}, (
        counts
    )
    seen = trial.reader["seen"]
    assert seen.pop("data") == entries, seen
    assert set(seen) == {"control live"}, f"the reader saw {seen}"
