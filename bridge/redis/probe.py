"""Whether a Redis server is there, lets us in and is able to do the work; and if not, what to do about it."""

from __future__ import annotations

import ssl
from typing import Any, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError, SentinelConnectionPool

from bridge.config import RedisSettings
from bridge.errors import RedisUnavailableError
from bridge.redis.connections import may_end_connections
from bridge.redis.topology import FAILURES, Kind, masters

__all__ = ["explain", "probe_redis"]

_OLDEST = (6, 2)

_NO_ANSWER = "no answer in time; is the address right, and does a firewall stand between?"
_SILENT = (exceptions.TimeoutError, TimeoutError)
_MEANINGS: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.AuthenticationError, "wrong user or password, or none where one is needed ({text})"),
    (exceptions.NoPermissionError, "this user lacks a permission: {text}"),
    (
        MasterNotFoundError,
        "no Sentinel that answers has a live master of this name; are their addresses, their password and the name right?",
    ),
    (exceptions.MovedError, "this is one node of a Cluster; write redis+cluster:// in place of redis:// ({text})"),
    (exceptions.BusyLoadingError, "is still loading its data; try again in a moment"),
    (
        ssl.SSLCertVerificationError,
        "its TLS certificate is not trusted; give redis.ca_file the authority that signed it ({text})",
    ),
    (ssl.SSLError, "the TLS handshake failed; does the server speak TLS on this port? plain is redis:// ({text})"),
    (ConnectionRefusedError, "the connection is refused; is the server running, and is the port right?"),
    (FileNotFoundError, "there is no such socket; is the server running?"),
    (exceptions.TimeoutError, _NO_ANSWER),
    (TimeoutError, _NO_ANSWER),
)


async def probe_redis(settings: RedisSettings) -> list[str]:
    """Ping the server and look at its version, role and eviction policy; returns what is worth knowing, in words.

    Raises:
        RedisUnavailableError: it can't be reached, doesn't let us in, or can't serve as a server of streams.
    """
    topology = settings.topology
    client = topology.client(
        socket_connect_timeout=settings.connect_timeout, socket_timeout=settings.reply_timeout, decode_responses=True
    )
    try:
        await client.ping()
        try:
            if topology.kind is Kind.CLUSTER:
                return await _cluster_findings(settings, client)
            info = await client.info()
        except exceptions.NoPermissionError:
            return ["its version is unknown: this user may not run INFO"]
        if topology.kind is Kind.SENTINEL:
            return [*_findings(settings, info), await _master(client, topology.master)]
    except FAILURES as error:
        raise RedisUnavailableError(settings.address, explain(error, settings.plain_url)) from error
    finally:
        await client.aclose()
    return _findings(settings, info)


async def _master(client: Redis, name: str) -> str:
    pool = cast("SentinelConnectionPool", client.connection_pool)
    host, port = await pool.get_master_address()  # type: ignore[no-untyped-call]
    return f"the Sentinels' master {name} is {host}:{port}"


async def _cluster_findings(settings: RedisSettings, client: Redis) -> list[str]:
    """What all masters say, each thing once."""
    infos = await masters(client)
    found = dict.fromkeys(line for info in infos for line in _findings(settings, info))
    noun = "master" if len(infos) == 1 else "masters"
    refused = await may_end_connections(client)
    words = f"this user may not end the connections of a predecessor that hangs ({refused}); see tickbridge acl"
    return [*found, f"a Cluster of {len(infos)} {noun}", *([words] if refused else [])]


def _findings(settings: RedisSettings, info: dict[str, Any]) -> list[str]:
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if len(numbers) == len(_OLDEST) and numbers < _OLDEST:
        raise RedisUnavailableError(settings.address, f"version {version} is too old; 6.2 is the oldest that will do")
    if info.get("role") in ("slave", "replica"):
        raise RedisUnavailableError(
            settings.address,
            f"this is a read-only replica; name its master {info.get('master_host')}:{info.get('master_port')}",
        )
    if info.get("redis_mode") == "cluster" and settings.topology.kind is Kind.SERVER:
        raise RedisUnavailableError(
            settings.address,
            "this is one node of a Cluster; write redis+cluster:// in place of redis:// to use them all",
        )
    product = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    found = [product]
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory") and policy not in ("noeviction", ""):
        found.append(f"maxmemory-policy is {policy}: under memory pressure whole streams may vanish; use noeviction")
    return found


def explain(error: BaseException, url: str) -> str:
    """What a failure to connect means, and what to do about it; ``url`` is not shown."""
    text = str(error) or type(error).__name__
    for kind, meaning in _MEANINGS:
        if _caused_by(error, kind):
            # A server without TLS waits in silence for the rest of what it takes for a command.
            tls = issubclass(kind, _SILENT) and url.startswith("rediss")
            return meaning.format(text=text) + (" does the server speak TLS on this port?" if tls else "")
    if "closed by server" in text or _caused_by(error, ConnectionResetError):
        other = "redis://" if url.startswith("rediss") else "rediss://"
        return f"the server closes the connection; does it want {other}? ({text})"
    return text


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
