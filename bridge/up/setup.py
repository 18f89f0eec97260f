"""Starts what ``tickbridge up`` consists of: server, recordings, connectors, books; each as a user would run it."""

from __future__ import annotations

import fcntl
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import yaml
from msgspec import Struct, field

from bridge.connector.supervisor import first_of
from bridge.demo.gateway import start_gateway
from bridge.demo.guardian import remove
from bridge.demo.processes import ChildProcess, Processes, ProcessFailedError, python_module, tail
from bridge.demo.recorded import RECORDED, replay_speed
from bridge.demo.setup import is_free, start_server, try_server
from bridge.demo.starting import start_on_free_port
from bridge.errors import ConfigError, Problem
from bridge.exchanges import exchange_type
from bridge.files import make_folder
from bridge.keys import Keys
from bridge.up.markets import Markets
from consumers.connection import safe_url

__all__ = ["UpSettings", "UpSetup", "set_up"]

_OWNER = "tickbridge up"
_EXCHANGE, _CLIENT = 1, 2
"""When processes end: those of a higher rank first, the server last."""
_SERVES = re.compile(r"^ws://\S+ serves ", re.MULTILINE)
_LOGS = {"NO_COLOR": "1", "TICKBRIDGE_LOG__FORMAT": "console"}


class UpSettings(Struct, frozen=True):
    """The options of ``tickbridge up``. ``duration`` is in seconds, ``None``: until it is ended.

    ``recordings`` are played in place of these exchanges. Without ``redis`` there is an embedded server; it keeps its
    data in ``keep``, or nowhere.
    """

    markets: Markets
    channels: tuple[str, ...] = ()
    duration: float | None = None
    recordings: dict[str, Path] = {}
    redis: str | None = None
    namespace: str = ""
    keep: Path | None = None
    live: bool = False


class UpSetup(Struct):
    """What runs. ``addresses`` says where things are, by name, in the order in which it is printed."""

    url: str
    keys: Keys
    processes: Processes
    directory: Path
    addresses: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def set_up(settings: UpSettings, notify: Callable[[str], None]) -> AsyncIterator[UpSetup]:
    """Start everything; leaving the block ends everything. Without ``keep``, nothing is left, except after a failure.

    Raises:
        ConfigError: the directory or the server's URL cannot be used.
        BridgeError: there is no server, Redis is unreachable, or a process does not start.
    """
    if settings.redis is not None:
        await try_server(settings.redis, "up")
    temporary = settings.keep is None
    directory = _directory(settings.keep)
    async with AsyncExitStack() as stack:
        if settings.keep is not None:
            stack.enter_context(_lock(directory))
            for log in directory.glob("*.log"):
                log.unlink()
        failed = False

        def leave() -> None:
            if temporary and not failed:
                remove(directory)

        stack.callback(leave)  # usually the guardian does this, but it may not have been started
        processes = await stack.enter_async_context(Processes(directory, notify, temporary=temporary, owner=_OWNER))
        try:
            yield await _start(settings, processes, directory)
        except Exception as error:
            failed = isinstance(first_of(error), ProcessFailedError)
            if failed and temporary:
                processes.keep_logs()
            raise


async def _start(settings: UpSettings, processes: Processes, directory: Path) -> UpSetup:
    url = settings.redis or await start_server(processes, directory, durable=settings.keep is not None)
    keys = Keys(settings.namespace)
    urls = {}
    for exchange, file in settings.recordings.items():
        urls[exchange] = await _start_replay(processes, exchange, file)
    config = directory / "up.yaml"
    _write_config(config, settings, url, urls)
    command = python_module("bridge", "run", "--config", str(config))
    connector = await processes.start("connector", command, _LOGS, rank=_CLIENT)
    connector.free = partial(is_free, url, keys.connector(next(iter(settings.markets))))
    env = {"TICKBRIDGE_REDIS__URL": url, "TICKBRIDGE_NAMESPACE": settings.namespace}
    await processes.start("books", python_module("consumers.books"), env, rank=_CLIENT)
    setup = UpSetup(url, keys, processes, directory)
    setup.addresses["page"] = await start_gateway(processes, env)
    setup.addresses["redis"] = safe_url(url) + f"  namespace {settings.namespace}" * bool(settings.namespace)
    setup.addresses["config"] = str(config)
    setup.addresses["logs"] = str(directory)
    return setup


def _directory(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="tickbridge-up-"))
    make_folder(keep, "--keep", "up")
    foreign = next((each.name for each in keep.iterdir() if not _is_ours(each)), None)
    if foreign:
        problem = Problem("--keep", f"{keep} has other files, such as {foreign}", "give a directory of its own")
        raise ConfigError([problem], "up")
    return keep.resolve()


def _is_ours(path: Path) -> bool:
    return path.name in ("redis", "up.yaml", "up.lock") or path.suffix == ".log"


def _lock(directory: Path) -> IO[str]:
    """Have the directory for this process alone: two servers would ruin each other's data."""
    file = (directory / "up.lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        problem = Problem(
            "--keep", f"{directory} is in use by another tickbridge up", "end that one, or choose another place"
        )
        raise ConfigError([problem], "up") from None
    return file


async def _start_replay(processes: Processes, exchange: str, file: Path) -> dict[str, str]:
    """Play a recording, over and over; returns the URLs for the connector."""
    speed = replay_speed(exchange) if RECORDED.get(exchange) == file else 1.0

    async def start(port: int) -> ChildProcess:
        words = (str(file), "--port", str(port), "--speed", f"{speed:g}", "--close")
        return await processes.start(f"replay-{exchange}", python_module("bridge", "replay", *words), rank=_EXCHANGE)

    async def ready(child: ChildProcess, _: int) -> bool:
        return bool(_SERVES.search(tail(child.log)))

    _, port = await start_on_free_port(start, ready)
    return {"url": f"ws://127.0.0.1:{port}", "rest_url": f"http://127.0.0.1:{port}"}


def _write_config(path: Path, settings: UpSettings, url: str, urls: dict[str, dict[str, str]]) -> None:
    """Write the connectors' config; it may contain the password of Redis."""
    connectors: list[dict[str, Any]] = [
        {
            "name": exchange,
            "exchange": exchange,
            "pairs": list(pairs),
            **({"channels": _offered(exchange, settings.channels)} if settings.channels else {}),
            **urls.get(exchange, {}),
        }
        for exchange, pairs in settings.markets.items()
    ]
    config = {"redis": {"url": url}, "namespace": settings.namespace, "connectors": connectors}
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def _offered(exchange: str, channels: tuple[str, ...]) -> list[str]:
    """Those of the channels that this exchange has."""
    offered = {str(channel) for channel in exchange_type(exchange).channels}
    return [name for name in channels if name in offered]
