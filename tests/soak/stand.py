"""A simulated LMEX, a Redis, a connector, a recorder and both consumers, each a process, and ways to disturb them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import redis
import yaml

from tests.e2e.harness import Process, eventually, fetch
from tests.servers import RedisServer
from tests.soak.schedule import Happening

__all__ = ["DEAD_AFTER", "Stand"]

DEAD_AFTER = 3.0
"""Seconds of silence after which the connector gives a connection up."""

_REDIS_PAUSE = 3.0
_PATIENCE = 60.0


class Stand:
    """All that a run consists of, in one directory."""

    def __init__(self, directory: Path, *, seed: int, rate: float, activity: float) -> None:
        self.directory = directory
        self.journal = directory / "journal.jsonl"
        self.recording = directory / "recording.jsonl.zst"
        self.server = RedisServer(directory / "redis", appendonly=True)
        self.absent: list[tuple[float, float]] = []
        """When no connector could run, in seconds since the epoch: nobody could mark anything then."""
        self.happened: dict[str, int] = {}
        self._stack = contextlib.ExitStack()
        self._seed, self._rate, self._activity = seed, rate, activity
        self._logs = 0

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.server.start()
        self._stack.callback(self.server.kill)
        self.client = redis.Redis.from_url(self.server.url, decode_responses=True)
        self._stack.callback(self.client.close)
        written = self.directory / "simulated.yaml"
        self.simulator = self.run(
            *("simulate", "lmex", "--port", "0", "--seed", str(self._seed), "--rate", f"{self._rate:g}"),
            *("--activity", f"{self._activity:g}", "--session-end", "error", "--journal", str(self.journal)),
            *("--redis-url", self.server.url, "--write-config", str(written)),
        )
        self.simulator.wait_for("ready")
        config: dict[str, Any] = yaml.safe_load(written.read_text())
        connector = config["connectors"][0]
        connector |= {"options": {"balances_interval": "2s"}, "silence": {"book": "4s"}}
        connector |= {"ping_interval": 1, "dead_after": DEAD_AFTER}
        config |= {"redis": {"url": self.server.url, "reply_timeout": "2s"}, "log": {"level": "debug"}}
        self.config = self.directory / "run.yaml"
        self.config.write_text(yaml.safe_dump(config))
        self.control = f"{connector['rest_url']}/sim"
        self.pairs: list[str] = connector["pairs"]
        account = config["accounts"]["main"]
        self.secret = Path(account["api_secret_file"]).read_text().strip()
        self.api_key = account["api_key"]
        self.connector = self.run("run", "--config", str(self.config))
        self.recorder = self.run("record", "--config", str(self.config), "--out", str(self.recording))
        redis_url = ("--redis", self.server.url)
        self.wallets = self.run(*redis_url, module="consumers.wallets")
        self.books = self.run(*redis_url, module="consumers.books")
        eventually(lambda: all(self.client.exists(f"md:{{lmex:{p}}}:book:snapshot") for p in self.pairs), "books flow")
        eventually(lambda: self.client.hget("acct:{lmex:main}:wallet", "state:positions") == "live", "the account")

    def run(self, *arguments: str, module: str = "bridge") -> Process:
        """Start a command of ours; it ends with the stand."""
        self._logs += 1
        process = Process(self.directory / f"{self._logs:02}-{module}-{arguments[0]}.log", *arguments, module=module)
        self._stack.callback(process.kill)
        return process

    def let(self, happening: Happening) -> None:
        """Let something happen; an outage is over when this returns."""
        self.happened[happening.name] = self.happened.get(happening.name, 0) + 1
        if happening.name == "kill":
            self._kill()
        elif happening.name == "redis_pause":
            os.kill(self.server.pid, signal.SIGSTOP)
            time.sleep(_REDIS_PAUSE)
            os.kill(self.server.pid, signal.SIGCONT)
        elif happening.name == "redis_kill":
            self.server.kill()
            time.sleep(1)
            self.server.start()
        else:
            fetch(f"{self.control}/faults", {"fault": happening.name, **happening.fields})
        if happening.then:
            time.sleep(2)
            self.let(happening.then)

    def settle(self) -> None:
        """End all faults, hold the market, and wait until nothing changes any more that could be told by a stream."""
        fetch(f"{self.control}/faults", {"fault": "clear"})
        # What was left out of private messages shows with a new connection only.
        fetch(f"{self.control}/faults", {"fault": "cut", "sockets": "private"})
        eventually(lambda: self.heartbeat().get("state") == "live", "all connections", _PATIENCE)
        fetch(f"{self.control}/pause", {})

    def heartbeat(self) -> dict[str, str]:
        found: dict[str, str] = self.client.hgetall("bridge:connector:lmex")
        return found

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = fetch(f"{self.control}/state")
        return found

    def account(self) -> dict[str, Any]:
        found: dict[str, Any] = fetch(f"{self.control}/account?account=main")
        return found

    def coins(self) -> dict[str, Decimal]:
        """Pair → base coins per contract."""
        found = {pair: fetch(f"{self.control}/book?pair={pair}&levels=1") for pair in self.pairs}
        return {pair: Decimal(book["contract_size"]) for pair, book in found.items() if "contract_size" in book}

    def book(self, pair: str) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
        """The true book, in base coins."""
        found = fetch(f"{self.control}/book?pair={pair}")
        coins = Decimal(found.get("contract_size") or 1)
        bids, asks = ({Decimal(p): Decimal(s) * coins for p, s in found[side]} for side in ("bids", "asks"))
        return bids, asks

    def files(self) -> Iterator[Path]:
        """Everything on disk that could be shown to somebody: logs, the recording, what Redis has saved.

        Not the config with its file of the secret, nor the simulator's own journal.
        """
        private = {self.directory / "run.yaml", self.directory / "simulated.yaml"}
        for path in self.directory.rglob("*"):
            if path.is_file() and path.suffix != ".secret" and path not in private:
                yield path

    def told(self) -> Iterator[Path]:
        """Those of them that even the API key has no place in: the simulator tells it at its start."""
        return (path for path in self.files() if path != self.simulator.log)

    def _kill(self) -> None:
        begun = time.time()
        self.connector.kill()
        self.connector = self.run("run", "--config", str(self.config))
        self.connector.wait_for('"started"')
        # Until its connections stand; what they miss before that, they mark by being `down` from the start on.
        eventually(lambda: self.heartbeat().get("pid") == str(self.connector.pid), "the new connector")
        self.absent.append((begun, time.time()))
