"""Sets the demo up: directory, server, simulated exchanges, connectors, consumers, each as a user would run it."""

from __future__ import annotations

import asyncio
import re
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct
from pydantic import ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.check.redis import probe_redis
from bridge.config import RedisSettings
from bridge.config.mistakes import mistakes_of
from bridge.demo.control import Control
from bridge.demo.embedded import find_server, free_port, server_command
from bridge.demo.guardian import remove
from bridge.demo.leftovers import remove_keys
from bridge.demo.parts import Part, PartFailedError, Parts, python_module
from bridge.demo.settings import DemoSettings
from bridge.demo.venue import Venue
from bridge.errors import ConfigError, Problem
from bridge.keys import Keys
from bridge.simulator import exchange_named
from consumers.connection import make_client, safe_url

__all__ = ["Stage", "set_up"]

_PORTS = 5
"""How many ports are tried."""
_START_SECONDS = 60.0
_LOOK_EVERY = 0.05
_CONTROL = re.compile(r"^control +(\S+)$", re.MULTILINE)
_READY = re.compile(r"^ready", re.MULTILINE)
_SERVER, _EXCHANGE, _CLIENT = range(3)


class Stage(Struct):
    """The running demo: where everything is. ``keep``: whether a temporary directory stays there at the end."""

    directory: Path
    redis_url: str
    keys: Keys
    parts: Parts
    venues: list[Venue]
    keep: bool = False

    @property
    def redis_address(self) -> str:
        """The URL without its password."""
        return safe_url(self.redis_url)


@asynccontextmanager
async def set_up(settings: DemoSettings, tell: Callable[[str], None]) -> AsyncIterator[Stage]:
    """Start everything but leave the watching to the caller; leaving the block ends it all.

    A temporary directory is removed at the end unless the block failed, or says that it is to be kept; keys and configs
    don't stay in it.

    Raises:
        ConfigError: the directory given can't be used.
        BridgeError: no server, Redis out of reach, or a part that doesn't start.
    """
    directory = _directory(settings.directory)
    async with AsyncExitStack() as stack:
        stage: Stage | None = None

        kept = settings.directory is not None

        def decide(_: type[BaseException] | None, error: BaseException | None, __: object) -> None:
            nonlocal kept
            failed = isinstance(error, Exception) and any(directory.iterdir())
            if not kept and (failed or (stage and stage.keep)):
                kept = True
                parts.keep_logs()
                if failed:
                    tell(f"logs and data are kept in {directory}")

        # Usually the guardian has done it; it may not have been started.
        stack.callback(lambda: None if kept else remove(directory))
        namespace = ""
        if settings.redis is not None:
            await _try_server(settings.redis)
            namespace = f"demo-{secrets.token_hex(3)}"
            stack.push_async_callback(remove_keys, settings.redis, namespace)
        parts = await stack.enter_async_context(Parts(directory, tell, temporary=settings.directory is None))
        stack.push(decide)
        if settings.redis is not None:
            parts.remember_keys(settings.redis, namespace)
        url = settings.redis or await _start_server(parts, directory)
        keys = Keys(namespace)
        venues = await _start_simulators(parts, settings, directory, stack)
        for venue in venues:
            _write_config(venue, url, namespace, settings)
            command = python_module("bridge", "run", "--config", str(venue.config))
            connector = await parts.start(venue.connector, command, {"NO_COLOR": "1"}, rank=_CLIENT)
            connector.free = partial(_is_free, url, keys.connector(venue.exchange))
        env = {"TICKBRIDGE_REDIS__URL": url, "TICKBRIDGE_NAMESPACE": namespace}
        for name in ("books", "wallets"):
            await parts.start(name, python_module(f"consumers.{name}"), env, rank=_CLIENT)
        stage = Stage(directory, url, keys, parts, venues)
        yield stage


def _directory(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="tickbridge-demo-"))
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        inhabited = any(wanted.iterdir())
    except OSError as error:
        raise ConfigError([Problem("--dir", f"{wanted}: {error.strerror}", "choose another place")], "demo") from None
    if inhabited:
        problem = Problem("--dir", f"{wanted} is not empty", "give a new or empty directory")
        raise ConfigError([problem], "demo")
    return wanted.resolve()


async def _try_server(url: str) -> None:
    try:
        settings = RedisSettings(url=url)
    except ValidationError as error:
        problems = [Problem("--redis", message, hint) for _, message, hint in mistakes_of(error)]
        raise ConfigError(problems, "demo") from None
    await probe_redis(settings)


async def _start_server(parts: Parts, directory: Path) -> str:
    binary = find_server()
    data = directory / "redis"
    data.mkdir()
    for left in reversed(range(_PORTS)):
        port = free_port()
        part = await parts.start("redis", server_command(binary, port, data), rank=_SERVER)
        url = f"redis://127.0.0.1:{port}/0"
        client = make_client(url)
        try:
            await _wait(part, partial(_answers, client, part))
            break
        except PartFailedError as error:
            if not (left and _lost_its_port(error)):
                raise
        finally:
            await client.aclose()
    return url


def _lost_its_port(error: PartFailedError) -> bool:
    """Whether another process has taken the port between the moment when it was found free and the part's start."""
    return " in use" in error.tail.lower()


async def _answers(client: Redis, part: Part) -> bool:
    with suppress(RedisError, OSError):
        # Another process may have taken the port in the meantime: the answer must be ours.
        return bool((await client.info("server"))["process_id"] == part.pid)
    return False


async def _start_simulators(
    parts: Parts, settings: DemoSettings, directory: Path, stack: AsyncExitStack
) -> list[Venue]:
    """One for each exchange, side by side; ``stack`` closes what asks them."""
    for exchange in settings.pairs:
        await _start_simulator(parts, settings, directory, exchange)
    venues = []
    for exchange in settings.pairs:
        name = _part_name("simulator", exchange, settings)
        restart = partial(_start_simulator, parts, settings, directory, exchange)
        control = await stack.enter_async_context(Control(await _control_url(parts[name], restart)))
        suggested = _suggested(directory, exchange)
        account = yaml.safe_load(suggested.read_text(encoding="utf-8"))["connectors"][0]["account"]
        venue = Venue(
            exchange=exchange,
            pairs=settings.pairs[exchange],
            account=account,
            config=directory / f"{exchange}.yaml",
            control=control,
            simulator=name,
            connector=_part_name("connector", exchange, settings),
        )
        venues.append(venue)
    return venues


async def _start_simulator(parts: Parts, settings: DemoSettings, directory: Path, exchange: str) -> Part:
    # Its port is fixed, and the connector's config written once, so that it can be started again.
    options = {
        "--port": str(free_port()),
        "--pairs": ",".join(settings.pairs[exchange]),
        "--seed": str(settings.seed),
        "--rate": f"{settings.rate:g}",
        "--key-dir": str(directory / "keys" / exchange),
        "--write-config": str(_suggested(directory, exchange)),
    }
    words = [word for pair in options.items() for word in pair]
    words += exchange_named(exchange).scenario.simulate
    command = python_module("bridge", "simulate", exchange, *words)
    return await parts.start(_part_name("simulator", exchange, settings), command, rank=_EXCHANGE)


async def _control_url(part: Part, restart: Callable[[], Awaitable[Part]]) -> str:
    """Where a simulator's control is, once it is ready."""

    async def ready() -> bool:
        return bool(_READY.search(part.log.read_text(encoding="utf-8")))

    for left in reversed(range(_PORTS)):
        try:
            await _wait(part, ready)
            break
        except PartFailedError as error:
            if not (left and _lost_its_port(error)):
                raise
        part = await restart()
    found = _CONTROL.search(part.log.read_text(encoding="utf-8"))
    if found is None:
        raise PartFailedError(part.name, "didn't say where its control is", part.log)
    return found[1]


def _part_name(kind: str, exchange: str, settings: DemoSettings) -> str:
    """Of one exchange the kind says it all."""
    return kind if len(settings.pairs) == 1 else f"{kind}-{exchange}"


def _suggested(directory: Path, exchange: str) -> Path:
    """The connector's config as the simulator suggests it."""
    return directory / f"{exchange}.suggested.yaml"


def _write_config(venue: Venue, url: str, namespace: str, settings: DemoSettings) -> None:
    """The simulator's own suggestion, with what the demo adds; it may hold Redis's password."""
    suggested = _suggested(venue.config.parent, venue.exchange)
    config: dict[str, Any] = yaml.safe_load(suggested.read_text(encoding="utf-8"))
    config |= {
        "redis": {"url": url},
        "namespace": namespace,
        "heartbeat": {"interval": "500ms", "ttl": "3s"},
        "shutdown_timeout": "3s",
    }
    scenario = exchange_named(venue.exchange).scenario
    config["connectors"][0] |= scenario.troubled if settings.faults else scenario.connector
    venue.config.touch(mode=0o600)
    venue.config.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


async def _is_free(url: str, key: str) -> bool:
    """Whether the connector's place is free: the heartbeat of a killed one stands for its last seconds.

    That leaves whoever killed it the time to start it again.
    """
    client = make_client(url)
    try:
        return not await client.exists(key)
    except (RedisError, OSError):
        return False
    finally:
        await client.aclose()


async def _wait(part: Part, ready: Callable[[], Any]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not await ready():
        if not part.running:
            assert part.process
            raise PartFailedError(part.name, f"ended with exit code {part.process.returncode}", part.log)
        if time.monotonic() > deadline:
            raise PartFailedError(part.name, f"was not ready within {_START_SECONDS:g} s", part.log)
        await asyncio.sleep(_LOOK_EVERY)
