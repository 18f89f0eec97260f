"""Running the product as its users do: commands as processes, the simulator's control, streams read with plain redis-py."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import redis
import yaml

from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.preloaded import start

__all__ = ["Process", "Simulated", "book_of", "eventually", "fetch", "sequences", "trades_of"]

T = TypeVar("T")


def eventually(look: Callable[[], T], what: str, patience: float = PATIENCE) -> T:
    """Look until what is seen is true; returns it."""
    deadline = time.monotonic() + patience
    while True:
        try:
            seen = look()
        except (redis.ConnectionError, redis.BusyLoadingError, urllib.error.URLError, ConnectionError):
            seen = None  # type: ignore[assignment]
        if seen:
            return seen
        if time.monotonic() > deadline:
            msg = f"waited {patience:g} s in vain for: {what}"
            raise AssertionError(msg)
        time.sleep(0.02)  # between two looks, not instead of one


def fetch(url: str, body: dict[str, Any] | None = None) -> Any:
    """GET, or POST with a JSON body."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)


class Process:
    """A command of ours, its output in a file; ``within`` begins the command line, and becomes it in the same process."""

    def __init__(
        self, log: Path, *arguments: str, module: str = "bridge", within: Sequence[str] = (), **env: str
    ) -> None:
        self.log = log
        # No two tests fight over the default port; an empty value leaves a variable out.
        environment = clean_environment(**{"TICKBRIDGE_HTTP__PORT": "off", **env})
        with log.open("ab") as out:
            self._popen = start(module, *arguments, output=out, env=environment, within=within)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def output(self) -> str:
        return self.log.read_text()

    def wait_for(self, text: str, patience: float = PATIENCE) -> str:
        """Wait until its output holds this text; the whole output."""

        def look() -> str:
            if self._popen.poll() is not None and text not in self.output:
                msg = f"it ended with {self._popen.returncode}:\n{self.output}"
                raise AssertionError(msg)
            return self.output if text in self.output else ""

        return eventually(look, f"{text!r} in {self.log}", patience)

    def ended(self, patience: float = PATIENCE) -> int:
        """Wait for its end; the exit code."""
        try:
            return self._popen.wait(patience)
        except subprocess.TimeoutExpired:
            msg = f"it goes on after {patience:g} s:\n{self.output}"
            raise AssertionError(msg) from None

    def stop(self) -> int:
        """SIGTERM, and wait; the exit code."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
        return self.ended()

    def kill(self) -> None:
        """SIGKILL: no goodbyes."""
        self._popen.kill()
        self._popen.wait(PATIENCE)

    def send(self, number: int) -> None:
        self._popen.send_signal(number)


class Simulated:
    """A simulated Limitlex in its own process, and a config for it."""

    def __init__(self, directory: Path, redis_url: str, *arguments: str, rate: int = 300) -> None:
        self._written = directory / "simulated.yaml"
        command = ["simulate", "limitlex", "--port", "0", "--rate", str(rate), "--write-config", str(self._written)]
        self.process = Process(directory / "simulator.log", *command, "--redis-url", redis_url, *arguments)
        self.process.wait_for("ready")
        self.config: dict[str, Any] = yaml.safe_load(self._written.read_text())
        rest = self.config["connectors"][0]["rest_url"]
        self.control = rest.removesuffix("/api") + "/sim"
        self.pairs: list[str] = self.config["connectors"][0]["pairs"]

    def write(self, path: Path, **connector: Any) -> Path:
        """Write the config, with some of the connector's settings changed."""
        self.config["connectors"][0].update(connector)
        path.write_text(yaml.safe_dump(self.config))
        return path

    def pause(self) -> None:
        """Hold the market still; all messages of what happened are on their way."""
        fetch(f"{self.control}/pause", {})

    def resume(self) -> None:
        fetch(f"{self.control}/resume", {})

    def fault(self, name: str, **fields: Any) -> None:
        fetch(f"{self.control}/faults", {"fault": name, **fields})

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = fetch(f"{self.control}/state")
        return state

    def book(self, pair: str) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
        """The true book: price → size of bids and asks."""
        book = fetch(f"{self.control}/book?pair={pair}")
        return _numbers(book["bids"]), _numbers(book["asks"])

    def trades(self, pair: str) -> list[tuple[str, str, str, int]]:
        """All trades so far: side, price, size, second."""
        rows = fetch(f"{self.control}/trades?pair={pair}")["trades"]
        return [(row["side"], row["price"], row["size"], int(row["time"])) for row in rows]

    def account(self, name: str) -> dict[str, dict[str, Any]]:
        """Wallets, open orders and fills, by the subject of their streams."""
        found = fetch(f"{self.control}/account?account={name}")
        subs = found.pop("subaccounts")
        return {name: found, **{f"{name}/{sub['uuid']}": sub for sub in subs.values()}}


def _numbers(levels: Iterable[Iterable[str]]) -> dict[Decimal, Decimal]:
    return {Decimal(price): Decimal(size) for price, size in levels}


def book_of(
    entries: list[tuple[str, dict[str, str]]],
) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] | None:
    """The book that plain entries say, by the contract's words alone; ``None`` while it is invalid."""
    sides: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] | None = None
    for _, fields in entries:
        if fields["type"] == "control":
            sides = None
        elif fields["type"] == "snapshot":
            sides = tuple(_numbers(level.split(":") for level in fields[name].split()) for name in ("bids", "asks"))  # type: ignore[assignment]
        elif sides is not None:
            for side, name in zip(sides, ("bids", "asks"), strict=True):
                for price, size in (level.split(":") for level in fields[name].split()):
                    if Decimal(size):
                        side[Decimal(price)] = Decimal(size)
                    else:
                        side.pop(Decimal(price), None)
    return sides


def sequences(client: redis.Redis, pattern: str = "*}:*") -> dict[str, list[int]]:
    """The ``seq`` half of every entry's ID, per data stream."""
    keys = sorted(key for key in client.scan_iter(pattern, _type="stream") if "bridge:" not in key)
    return {key: [int(ident.split("-")[1]) for ident, _ in client.xrange(key)] for key in keys}


def trades_of(client: redis.Redis, exchange: str, pair: str) -> list[tuple[str, str, str, int]]:
    """The trades of a stream: side, price, size, second."""
    rows = client.xrange(f"md:{{{exchange}:{pair}}}:trades")
    return [(f["side"], f["price"], f["size"], int(f["ts"]) // 1_000_000_000) for _, f in rows if f["type"] == "trade"]
