"""Writers are killed, or replaced one by one, and their standbys go on: how long nothing is written, what the streams lack.

Judged from outside: how long the streams of trades do not grow, and by the exchange's own list of trades at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import yaml
from msgspec import Struct

from benchmarks.machine import Server
from benchmarks.results import Run, Target, table
from bridge.keys import Keys
from bridge.model import Channel
from tests.e2e.hosts import hosts, no_hosts
from tests.environment import clean_environment

__all__ = ["measure"]

_NAMESPACE = "bench-takeovers"
_KEYS = Keys(_NAMESPACE)
_SIMULATED = ("simulate", "--port", "0")
_EXCHANGES = {
    "limitlex": ("bridge", *_SIMULATED),
    "lmex": ("bridge", *_SIMULATED),
    "coinbase": ("tests.markets",),
    "bybit": ("tests.markets",),
}
"""Each with the module and the words that serve it."""
_RATE = 500
"""Messages per second of the simulated exchange."""
_PATIENCE = 120.0
_SLOW_MACHINE: dict[str, Any] = {"heartbeat": {"interval": "2s", "ttl": "30s"}}
"""A process that gets no time to run for seconds is not to count as gone: one that is killed on this host counts at once."""
_LOOK = 0.002
_REST = 0.5
"""Seconds between two looks for the exchange's newest trade."""
_ALIKE = 20
"""Trades by which the first one that was read is found again: not every exchange numbers them."""
_FAULTS = ("twice", "missing", "breaks", "declared")

_Trade = tuple[str, str, Decimal, Decimal, int]


class _Host(Struct, frozen=True):
    """Where a connector runs: what its command line begins with, and where it finds Redis."""

    within: Sequence[str]
    redis_url: str


class _Place(Struct, frozen=True):
    """Where everything runs. The connectors run on the hosts by turns, with these ``settings``."""

    exchange: str
    hosts: Sequence[_Host]
    settings: dict[str, Any] = {}


def measure(
    server: Server, *, kills: int, exchanges: Sequence[str] = tuple(_EXCHANGES)
) -> tuple[str, list[Target], dict[str, Any]]:
    """Kill each exchange's writer so often, and stop one a fifth as often; each time another process becomes the standby.

    Writers are killed on this host, and on two hosts (network namespaces) by turns, where that is possible.
    """
    stops = max(1, kills // 5)
    here = _Place("127.0.0.1", [_Host((), server.url)], _SLOW_MACHINE)
    killed = {exchange: _measure(server, exchange, _Feed.kill, kills, here) for exchange in exchanges}
    skipped = "" if server.pid else "the server is not ours, and may not listen to other hosts"
    if not (skipped := skipped or no_hosts()):
        with _two_hosts(server) as place:
            for exchange in exchanges:
                killed[f"{exchange}, two hosts"] = _measure(server, exchange, _Feed.kill, kills, place)
    stopped = {
        f"rolling upgrade, {exchange}": _measure(server, exchange, _Feed.stop, stops, here) for exchange in exchanges
    }
    targets: list[Target] = []
    for name, row in {**killed, **stopped}.items():
        if name in killed:
            targets.append(Target(f"takeovers, {name}: median, s", row["median s"], at_most=1))
        targets.append(Target(f"takeovers, {name}: worst, s", row["worst s"], at_most=2 if name in killed else 0.5))
        targets += [Target(f"takeovers, {name}: {fault}", row[fault], at_most=0) for fault in _FAULTS]
    about = f"{_RATE} messages/s: seconds without an entry; trades; breaks of seq"
    text = f"{table(f'{kills} takeovers after kill -9, {about}', killed)}\n\n"
    text += table(f"{stops} takeovers after SIGTERM, the old writer becomes the next standby, {about}", stopped)
    text += f"\n\nSKIP takeovers between two hosts: {skipped}" if skipped else ""
    return text, targets, {**killed, **stopped}


@contextlib.contextmanager
def _two_hosts(server: Server) -> Iterator[_Place]:
    """Two hosts with addresses of their own, by which they reach the server and the exchange; heartbeats as by default."""
    server.client.config_set("protected-mode", "no")
    before = server.client.config_get("bind")["bind"]
    server.client.config_set("bind", "0.0.0.0")
    port = server.url.rpartition(":")[2]
    try:
        with hosts(2) as (exchange, found):
            yield _Place(exchange, [_Host(host.within, f"redis://{host.redis}:{port}") for host in found])
    finally:
        server.client.config_set("bind", before)


def _measure(server: Server, exchange: str, replace: Callable[[_Feed], float], times: int, place: _Place) -> Run:
    server.forget(_NAMESPACE)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="tickbridge-takeovers-") as folder,
            _Feed(server, Path(folder), exchange, place) as feed,
        ):
            pauses = sorted(replace(feed) for _ in range(times))
            audit = feed.audit()
    finally:
        server.forget(_NAMESPACE)
    return {
        "median s": pauses[len(pauses) // 2],
        "p90 s": pauses[int(0.9 * (len(pauses) - 1))],
        "worst s": pauses[-1],
        **audit,
    }


class _Feed:
    """A simulated exchange and two processes of one connector."""

    def __init__(self, server: Server, folder: Path, exchange: str, place: _Place) -> None:
        self._exchange = exchange
        self._place = place
        self._turns = itertools.cycle(place.hosts)
        self._tls: ssl.SSLContext | None = None
        self._url = server.url
        self._client = server.client
        self._folder = folder
        self._stack = contextlib.ExitStack()
        self._started = 0

    def __enter__(self) -> Self:
        with self._stack:
            self._simulate()
            self._writer = self._connect()
            _until(lambda: self._client.hget(self._heartbeat, "state") == "live", "the writer is live")
            self._standby = self._ready()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _simulate(self) -> None:
        written = self._folder / "connector.yaml"
        module, *words = _EXCHANGES[self._exchange]
        options = ["--rate", str(_RATE), "--write-config", str(written), "--redis-url", self._url]
        options += ["--host", self._place.exchange]
        ca_file = self._folder / "tls" / "ca.pem"
        if elsewhere := self._place.exchange != "127.0.0.1":
            options += ["--tls-dir", str(ca_file.parent)]
        self._start(module, *words, self._exchange, *options)
        _until(lambda: "ready" in (self._folder / "1.log").read_text(), "the simulator is ready")
        config = yaml.safe_load(written.read_text())
        connector = config["connectors"][0]
        connector["standby"] = True
        if elsewhere:
            connector["ca_file"] = str(ca_file)
            self._tls = ssl.create_default_context(cafile=ca_file)
        config |= {"namespace": _NAMESPACE, "http": {"port": "off"}, **self._place.settings}
        self._config = self._folder / "standby.yaml"
        self._config.write_text(yaml.safe_dump(config))
        self._control = connector["rest_url"].removesuffix("/api") + "/sim"
        self._pairs: list[str] = connector["pairs"]
        self._heartbeat = _KEYS.connector(connector["name"])
        self._standing_by = _KEYS.standby(connector["name"])

    def kill(self) -> float:
        """Kill the writer; returns the seconds without an entry once another process is ready to stand by."""
        return self._replace(self._writer.kill)

    def stop(self) -> float:
        """The same for a writer that is told to end, as in a rolling upgrade."""
        return self._replace(self._writer.terminate)

    def _replace(self, end: Callable[[], None]) -> float:
        size, grown = self._trades(), time.monotonic()
        end()
        deadline = time.monotonic() + _PATIENCE
        longest, theirs = 0.0, 0
        while not theirs or size <= theirs:  # until there are entries that only the standby can have written
            time.sleep(_LOOK)
            if (now := self._trades()) > size:
                size, grown, longest = now, time.monotonic(), max(longest, time.monotonic() - grown)
            if not theirs and self._writer.poll() is not None:
                theirs = size
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {_PATIENCE:g} s: the standby of {self._exchange} writes")
        _until(lambda: self._client.hget(self._heartbeat, "pid") == str(self._standby.pid), "its heartbeat is there")
        self._writer, self._standby = self._standby, self._ready()
        return longest

    def audit(self) -> dict[str, float]:
        """Hold the market, wait for its newest trades, and compare the streams with the exchange's trades."""
        self._ask("pause", {})
        found: Counter[str] = Counter()
        for pair in self._pairs:
            wanted = [
                _trade(row["id"], row["side"], row["price"], row["size"], int(row["time"]))
                for row in self._ask(f"streams/trades?pair={pair}")["trades"]
            ]
            with contextlib.suppress(RuntimeError):  # then they are missing
                _until(lambda pair=pair, newest=wanted[-1:]: self._read(pair)[-1:] == newest, "the newest trade", _REST)
            trades = self._read(pair)
            # The exchange's list may begin earlier than the stream, or later.
            sent, read = Counter(_from(trades, wanted)), Counter(_from(wanted, trades))
            seqs = [int(entry_id.partition("-")[2]) for entry_id, _ in self._entries(pair)]
            found["trades"] += len(trades)
            found["twice"] += (read - sent).total()
            found["missing"] += (sent - read).total()
            found["breaks"] += sum(later != earlier + 1 for earlier, later in itertools.pairwise(seqs))
            found["declared"] += sum(fields.get("event") not in (None, "live") for _, fields in self._entries(pair))
        return {name: float(found[name]) for name in ("trades", *_FAULTS)}

    def _entries(self, pair: str) -> list[tuple[str, dict[str, str]]]:
        return self._client.xrange(self._key(pair))  # type: ignore[return-value]

    def _read(self, pair: str) -> list[_Trade]:
        """Numbers as such: not every exchange sends all digits that it shows elsewhere."""
        return [
            _trade(fields["id"], fields["side"], fields["price"], fields["size"], int(fields["ts"]) // 10**9)
            for _, fields in self._entries(pair)
            if fields["type"] == "trade"
        ]

    def _key(self, pair: str) -> str:
        return _KEYS.stream(self._exchange, pair, Channel.TRADES)

    def _trades(self) -> int:
        return sum(int(self._client.xlen(self._key(pair))) for pair in self._pairs)

    def _ready(self) -> subprocess.Popen[bytes]:
        """Start another process; wait until it could take over."""
        process = self._connect()

        def stands_by() -> bool:
            shown: dict[str, str] = self._client.hgetall(self._standing_by)
            return (shown.get("pid"), shown.get("state")) == (str(process.pid), "standby")

        _until(stands_by, "a process stands by")
        return process

    def _connect(self) -> subprocess.Popen[bytes]:
        """Start a process of the connector on the host whose turn it is."""
        host = next(self._turns)
        words = ("run", "--config", str(self._config))
        return self._start("bridge", *words, within=host.within, TICKBRIDGE_REDIS__URL=host.redis_url)

    def _start(self, module: str, *words: str, within: Sequence[str] = (), **more: str) -> subprocess.Popen[bytes]:
        self._started += 1
        command = [*within, sys.executable, "-m", module, *words]
        with (self._folder / f"{self._started}.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**clean_environment(), **more})
        self._stack.callback(_end, process)
        return process

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self._control}/{path}", data=data, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=_PATIENCE, context=self._tls) as answer:
            return json.load(answer)


def _trade(ident: str, side: str, price: str, size: str, second: int) -> _Trade:
    """What a trade is compared by; one with an id needs no time, which an exchange may round."""
    return ident, side, Decimal(price), Decimal(size), 0 if ident else second


def _from(other: Sequence[Any], those: Sequence[Any]) -> Sequence[Any]:
    """Those, from where the others begin."""
    beginning = other[:_ALIKE]
    return those[next((place for place in range(len(those)) if those[place : place + _ALIKE] == beginning), 0) :]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _until(condition: Callable[[], bool], what: str, every: float = 0.02) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {_PATIENCE:g} s: {what}")
        time.sleep(every)
