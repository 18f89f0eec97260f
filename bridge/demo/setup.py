"""Starts the demo's processes: server, simulated exchanges, connectors and consumers, each as a user would run it."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct
from pydantic import ValidationError
from redis.exceptions import RedisError

from bridge.check.redis import probe_redis
from bridge.config import RedisSettings
from bridge.config.mistakes import mistakes_of
from bridge.demo.cleanup import remove_keys
from bridge.demo.control import Control
from bridge.demo.embedded import find_server, server_command
from bridge.demo.guardian import remove
from bridge.demo.processes import ChildProcess, Processes, python_module
from bridge.demo.recorded import RECORDED, kind_of, replay_speed
from bridge.demo.settings import DemoSettings
from bridge.demo.simulated import EXCHANGE, control_url, is_ready, start_simulation, suggested
from bridge.demo.starting import start_on_free_port
from bridge.demo.venue import Venue
from bridge.errors import ConfigError, Problem
from bridge.files import make_folder
from bridge.keys import Keys
from bridge.simulator import exchange_named
from consumers.connection import make_client, safe_url

__all__ = ["Setup", "is_free", "set_up", "start_server", "try_server"]

_SERVER, _CLIENT = 0, 2


class Setup(Struct):
    """The running demo.

    ``keep``: whether to keep a temporary directory at the end; ``page``: where its streams are shown in a browser.
    """

    directory: Path
    redis_url: str
    keys: Keys
    processes: Processes
    venues: list[Venue]
    keep: bool = False
    page: str = ""

    @property
    def redis_address(self) -> str:
        """The URL without its password."""
        return safe_url(self.redis_url)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which consumers find the streams."""
        return {"TICKBRIDGE_REDIS__URL": self.redis_url, "TICKBRIDGE_NAMESPACE": self.keys.namespace}


@asynccontextmanager
async def set_up(settings: DemoSettings, notify: Callable[[str], None]) -> AsyncIterator[Setup]:
    """Start everything except the reader; leaving the block ends everything.

    A temporary directory is removed at the end unless the block failed or set ``keep``; keys and configs are removed
    from it in any case.

    Raises:
        ConfigError: the given directory cannot be used.
        BridgeError: there is no server, Redis is unreachable, or a process does not start.
    """
    directory = _directory(settings.directory)
    async with AsyncExitStack() as stack:
        setup: Setup | None = None

        kept = settings.directory is not None

        def decide(_: type[BaseException] | None, error: BaseException | None, __: object) -> None:
            nonlocal kept
            failed = isinstance(error, Exception) and any(directory.iterdir())
            if not kept and (failed or (setup and setup.keep)):
                kept = True
                processes.keep_logs()
                if failed:
                    notify(f"logs and data are kept in {directory}")

        # Usually the guardian does this, but it may not have been started.
        stack.callback(lambda: None if kept else remove(directory))
        namespace = ""
        if settings.redis is not None:
            await try_server(settings.redis)
            namespace = f"demo-{secrets.token_hex(3)}"
            stack.push_async_callback(remove_keys, settings.redis, namespace)
        processes = await stack.enter_async_context(Processes(directory, notify, temporary=settings.directory is None))
        stack.push(decide)
        if settings.redis is not None:
            processes.remember_keys(settings.redis, namespace)
        url = settings.redis or await start_server(processes, directory)
        keys = Keys(namespace)
        venues = await _start_simulators(processes, settings, directory, stack)
        for venue in venues:
            _write_config(venue, url, namespace, settings)
            command = python_module("bridge", "run", "--config", str(venue.config))
            connector = await processes.start(venue.connector, command, {"NO_COLOR": "1"}, rank=_CLIENT)
            connector.free = partial(is_free, url, keys.connector(venue.exchange))
        setup = Setup(directory, url, keys, processes, venues)
        for name in ("books", "wallets"):
            await processes.start(name, python_module(f"consumers.{name}"), setup.environment, rank=_CLIENT)
        yield setup


def _directory(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="tickbridge-demo-"))
    make_folder(wanted, "--dir", "demo")
    if any(wanted.iterdir()):
        problem = Problem("--dir", f"{wanted} is not empty", "give a new or empty directory")
        raise ConfigError([problem], "demo")
    return wanted.resolve()


async def try_server(url: str, source: str = "demo") -> None:
    """Check that this server can be used; ``source`` names the command in messages.

    Raises:
        ConfigError: the URL is not valid.
        RedisUnavailableError: the server is unreachable, refuses this client, or is not suitable.
    """
    try:
        settings = RedisSettings(url=url)
    except ValidationError as error:
        problems = [Problem("--redis", message, hint) for _, message, hint in mistakes_of(error)]
        raise ConfigError(problems, source) from None
    await probe_redis(settings)


async def start_server(processes: Processes, directory: Path, *, durable: bool = True) -> str:
    """Start a server on a free port; returns its URL, once it answers. ``durable``: it keeps its data on the disk.

    Raises:
        ServerMissingError: there is no server on this machine.
        ProcessFailedError: it does not start.
    """
    binary = find_server()
    data = directory / "redis"
    data.mkdir(exist_ok=True)

    async def start(port: int) -> ChildProcess:
        return await processes.start("redis", server_command(binary, port, data, durable=durable), rank=_SERVER)

    _, port = await start_on_free_port(start, answers)
    return f"redis://127.0.0.1:{port}/0"


async def answers(child: ChildProcess, port: int) -> bool:
    client = make_client(f"redis://127.0.0.1:{port}/0")
    try:
        # Another process may have taken the port: the answer must come from ours.
        return bool((await client.info("server"))["process_id"] == child.pid)
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


async def _start_simulators(
    processes: Processes, settings: DemoSettings, directory: Path, stack: AsyncExitStack
) -> list[Venue]:
    """Start a simulator for each exchange; ``stack`` closes their control clients."""
    async with asyncio.TaskGroup() as group:
        starting = [
            group.create_task(_start_simulator(processes, settings, directory, exchange)) for exchange in settings.pairs
        ]
    venues = []
    for exchange, started in zip(settings.pairs, starting, strict=True):
        simulator = started.result()
        control = await stack.enter_async_context(Control(control_url(simulator)))
        written = suggested(directory, exchange)
        account = yaml.safe_load(written.read_text(encoding="utf-8"))["connectors"][0].get("account", "")
        venue = Venue(
            exchange=exchange,
            pairs=settings.pairs[exchange],
            account=account,
            kind=kind_of(exchange),
            config=directory / f"{exchange}.yaml",
            control=control,
            simulator=simulator.name,
            connector=_process_name("connector", exchange, settings),
        )
        venues.append(venue)
    return venues


async def _start_simulator(
    processes: Processes, settings: DemoSettings, directory: Path, exchange: str
) -> ChildProcess:
    """Start a simulator, or the replay of a recording, and wait until it is ready.

    Its port is fixed and the connector's config written once, so that it can be restarted.
    """
    if exchange in RECORDED:
        child, _ = await start_on_free_port(partial(_start_replay, processes, settings, directory, exchange), is_ready)
        return child
    options = {
        "--pairs": ",".join(settings.pairs[exchange]),
        "--seed": str(settings.seed),
        "--rate": f"{settings.rate:g}",
    }
    name = _process_name("simulator", exchange, settings)
    child, _ = await start_simulation(processes, name, exchange, directory, options)
    return child


async def _start_replay(
    processes: Processes, settings: DemoSettings, directory: Path, exchange: str, port: int
) -> ChildProcess:
    """Play the recording of an exchange, over and over."""
    pairs = settings.pairs[exchange]
    connector = {"name": exchange, "exchange": exchange, "pairs": list(pairs)}
    connector |= {"url": f"ws://127.0.0.1:{port}", "rest_url": f"http://127.0.0.1:{port}"}
    suggested(directory, exchange).write_text(yaml.safe_dump({"connectors": [connector]}), encoding="utf-8")
    words = (str(RECORDED[exchange]), "--port", str(port), "--speed", f"{replay_speed(exchange):g}", "--close")
    command = python_module("bridge", "replay", *words, "--compare", f"{exchange}:{','.join(pairs)}")
    return await processes.start(_process_name("replay", exchange, settings), command, rank=EXCHANGE)


def _process_name(kind: str, exchange: str, settings: DemoSettings) -> str:
    """The name of a process; with a single exchange, its kind is enough."""
    return kind if len(settings.pairs) == 1 else f"{kind}-{exchange}"


def _write_config(venue: Venue, url: str, namespace: str, settings: DemoSettings) -> None:
    """Write the connector's config; it may contain the password of Redis."""
    written = suggested(venue.config.parent, venue.exchange)
    config: dict[str, Any] = yaml.safe_load(written.read_text(encoding="utf-8"))
    config |= {
        "redis": {"url": url},
        "namespace": namespace,
        "heartbeat": {"interval": "500ms", "ttl": "3s"},
        "shutdown_timeout": "3s",
    }
    if not venue.recorded:
        scenario = exchange_named(venue.exchange).scenario
        config["connectors"][0] |= scenario.connector_with_faults if settings.faults else scenario.connector
    venue.config.touch(mode=0o600)
    venue.config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


async def is_free(url: str, key: str) -> bool:
    """Whether the connector may be restarted: the heartbeat of a killed one has expired.

    Until then, the user who killed it has time to restart it.
    """
    client = make_client(url)
    try:
        return not await client.exists(key)
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()
