"""Tickbridge as what carries the messages: ``tickbridge run`` with a config file, nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks.machine import Server
from benchmarks.trial import NAMESPACE, Load, python
from bridge.keys import Keys

__all__ = ["EVERY_SETUP", "SETUPS", "Tickbridge"]

_BEAT = 1.0
_STUCK = 60.0
_COUNTS = ("received", "published", "lost", "gaps", "rejected", "waiting")


class Tickbridge(Struct):
    """A connector on one transport and one event loop; ``http`` is a port for its pages."""

    transport: str
    loop: str
    short: str = ""
    http: int = 0

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"Tickbridge, {self.short or f'{self.transport} on {self.loop}'}"

    def command(self, server: Server, load: Load, port: int, directory: Path) -> list[str]:
        config = directory / "bench.yaml"
        config.write_text(json.dumps(self._config(server, load, port)))
        return python("bridge", "run", "--config", str(config))

    def keys(self, load: Load) -> list[str]:
        keys = Keys(NAMESPACE)
        return [keys.stream("coinbase", pair, channel) for pair in load.pairs for channel in load.channels]

    def entries(self, load: Load) -> tuple[int, int]:
        rows = load.rows()
        return len(self.keys(load)) + load.books, rows["trades"] + rows["books"] + 2 * rows["ticker"]

    def prove(self, server: Server, load: Load) -> dict[str, str]:
        expected = self.entries(load)[1] + load.books
        deadline = time.monotonic() + _STUCK
        while (beat := self.beat(server)) and time.monotonic() < deadline:
            if int(beat.get("published", 0)) >= expected:
                break
            time.sleep(_BEAT / 20)
        counts = {name: int(beat[name]) for name in _COUNTS}
        assert counts == {**dict.fromkeys(_COUNTS, 0), "received": expected, "published": expected}, counts
        return beat

    def beat(self, server: Server) -> dict[str, str]:
        """The connector's heartbeat."""
        found: dict[str, str] = server.client.hgetall(Keys(NAMESPACE).connector("bench"))  # type: ignore[assignment]
        return found

    def _config(self, server: Server, load: Load, port: int) -> dict[str, Any]:
        connector = {
            "name": "bench",
            "exchange": "coinbase",
            "pairs": list(load.pairs),
            "channels": [str(channel) for channel in load.channels],
            "url": f"ws://127.0.0.1:{port}",
            "transport": self.transport,
            "latency_limit": "off",  # recorded times are months old
        }
        return {
            "redis": {"url": server.url},
            "namespace": NAMESPACE,
            "loop": self.loop,
            "log": {"level": "warning"},
            "http": {"port": self.http or "off"},
            "heartbeat": {"interval": _BEAT, "ttl": 5 * _BEAT},
            "retention": {str(channel): {"max_entries": 100_000_000, "max_age": "24h"} for channel in load.channels},
            "connectors": [connector],
        }


SETUPS = (Tickbridge("websockets", "asyncio", "websockets"), Tickbridge("picows", "uvloop", "fast"))
"""As it is installed, and with the extra ``fast``."""
EVERY_SETUP = tuple(
    Tickbridge(transport, loop) for transport in ("websockets", "picows") for loop in ("asyncio", "uvloop")
)
