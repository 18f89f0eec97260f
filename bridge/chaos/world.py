"""Everything that a run consists of: Redis, simulated exchanges, connectors with standbys, consumers, and links between them.

Each process reaches its neighbours through a link of its own, so that any two parts can be cut off from each other.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, field
from redis.asyncio import Redis

from bridge.chaos.clocks import HostClock
from bridge.chaos.collector import Collector
from bridge.chaos.plan import READERS, SIDES
from bridge.chaos.proxy import Proxy
from bridge.chaos.servers import Servers
from bridge.chaos.shapes import start_servers
from bridge.demo.control import Control
from bridge.demo.processes import ChildProcess, Processes, python_module
from bridge.demo.simulated import control_url, start_simulation, suggested
from bridge.keys import Keys
from bridge.redis.errors import FAILURES
from bridge.simulator import EXCHANGES

__all__ = ["DEAD_AFTER", "Venue", "World", "build"]

DEAD_AFTER = 3.0
"""Seconds of silence after which a connector gives a connection up."""
_RATE = 60.0
"""Public messages per second of each exchange."""
_SETTINGS: dict[str, Any] = {"ping_interval": 1, "dead_after": DEAD_AFTER, "standby": True}
_COMMON: dict[str, Any] = {
    # A takeover after two and a half seconds of silence: starting processes may take all of a small machine for one or two.
    "heartbeat": {"interval": "1s", "ttl": "6s"},
    "shutdown_timeout": "6s",
    "log": {"level": "debug"},
    "http": {"port": "off"},
    # So that nothing is trimmed before it is compared.
    "retention": {"book": {"max_entries": 10_000_000, "max_age": "48h"}},
}


class Venue(Struct, frozen=True):
    """A simulated exchange and its connector, which is named after it; ``journal`` is what the exchange did."""

    exchange: str
    pairs: tuple[str, ...]
    account: str
    journal: Path
    simulator: str
    control: Control


class World(Struct):
    """The running parts, by name."""

    directory: Path
    keys: Keys
    servers: Servers
    processes: Processes
    collector: Collector
    venues: dict[str, Venue] = field(default_factory=dict)
    links: dict[str, list[Proxy]] = field(default_factory=dict)
    clocks: dict[str, HostClock] = field(default_factory=dict)
    """Those of the connectors' processes."""

    @property
    def redis(self) -> Redis:
        """Asks Redis directly."""
        return self.servers.client

    @property
    def connectors(self) -> list[ChildProcess]:
        return [self.processes[f"{name}-{side}"] for name in self.venues for side in SIDES]

    @property
    def clients(self) -> list[str]:
        """The names of the connectors' processes and of the consumers."""
        return [*(child.name for child in self.connectors), *READERS]

    async def by_role(self, exchange: str, role: str) -> list[ChildProcess]:
        """The processes of a connector that have this role now: ``writer``, ``standby`` or ``both``."""
        both = [self.processes[f"{exchange}-{side}"] for side in SIDES]
        if role == "both":
            return both
        fields: Any = {}
        with suppress(*FAILURES, TimeoutError):
            fields = await self.redis.hgetall(self.keys.connector(exchange))
        writes = next((child for child in both if str(child.pid) == fields.get("pid")), both[0])
        return [writes] if role == "writer" else [child for child in both if child is not writes]


def send(child: ChildProcess, number: signal.Signals) -> bool:
    """Send a signal; ``False`` if it does not run."""
    if not child.running:
        return False
    try:
        os.kill(child.pid, number)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def build(
    directory: Path,
    shape: str,
    seed: int,
    notify: Callable[[str], None],
    *,
    temporary: bool,
) -> AsyncIterator[World]:
    """Start everything; leaving the block ends everything.

    Raises:
        BridgeError: there is no server, or a process does not start.
    """
    async with AsyncExitStack() as stack:
        processes = await stack.enter_async_context(
            Processes(directory, notify, temporary=temporary, owner="the chaos run")
        )
        servers = await start_servers(shape, processes, directory)
        stack.push_async_callback(servers.client.aclose)
        keys = Keys()
        collector = Collector(servers.client, keys, directory / "streams")
        world = World(directory, keys, servers, processes, collector)
        for exchange in EXCHANGES:
            await _start_venue(world, stack, exchange, seed)
        for name in READERS:
            url, world.links[f"{name} to redis"] = await servers.way(stack)
            environment = {"TICKBRIDGE_REDIS__URL": url, "NO_COLOR": "1"}
            await processes.start(name, python_module(f"consumers.{name}", "--http", "off", "--quiet"), environment)
        yield world


async def _start_venue(world: World, stack: AsyncExitStack, exchange: str, seed: int) -> None:
    directory, journal = world.directory, world.directory / f"{exchange}.journal.jsonl"
    options = {"--seed": str(seed), "--rate": f"{_RATE:g}", "--activity": "0.1", "--journal": str(journal)}
    simulator, port = await start_simulation(world.processes, f"simulator-{exchange}", exchange, directory, options)
    control = await stack.enter_async_context(Control(control_url(simulator)))
    config: dict[str, Any] = yaml.safe_load(suggested(directory, exchange).read_text(encoding="utf-8"))
    connector = config["connectors"][0]
    connector |= {**EXCHANGES[exchange].scenario.connector_with_faults, **_SETTINGS}
    world.venues[exchange] = Venue(
        exchange, tuple(connector["pairs"]), connector.get("account", ""), journal, simulator.name, control
    )
    for side in SIDES:
        name = f"{exchange}-{side}"
        there = await stack.enter_async_context(Proxy(port))
        world.links[f"{name} to exchange"] = [there]
        url, world.links[f"{name} to redis"] = await world.servers.way(stack)
        urls = {word: connector[word].replace(f":{port}", f":{there.port}") for word in ("url", "rest_url")}
        written = {**config, **_COMMON, "redis": {"url": url, "reply_timeout": "2s"}}
        written["connectors"] = [connector | urls]
        path = directory / f"{name}.yaml"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
        clock = world.clocks[name] = HostClock(directory / f"{name}.clock")
        await world.processes.start(name, clock.command("run", "--config", str(path)), {"NO_COLOR": "1"}, piped=True)
