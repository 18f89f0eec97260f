"""Checks whether a Redis server is reachable and suitable, and says what to do if it is not."""

from __future__ import annotations

from typing import Any, cast

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.sentinel import SentinelConnectionPool

from bridge.config import RedisSettings
from bridge.errors import RedisUnavailableError
from bridge.redis.connections import may_end_connections
from bridge.redis.errors import explained, refuse_replica
from bridge.redis.topology import Kind, masters

__all__ = ["probe_redis"]

_OLDEST = (6, 2)
_OF_A_BATCH = (("MULTI",), ("XADD", "any", "*", "field", "value"), ("EXEC",))
"""The commands of a batch of entries, with arguments."""
_WITHOUT_RIGHTS = (
    "Redis' default user may not run MULTI and XADD, so after a restart Redis may drop batches from its append-only"
    " file; keep the user off but with its rights: ACL SETUSER default off resetpass allkeys allchannels +@all"
)


async def probe_redis(settings: RedisSettings) -> list[str]:
    """Check the server's version, role and eviction policy; returns the findings, in words.

    Raises:
        RedisUnavailableError: the server is unreachable, refuses this client, or is not suitable.
    """
    topology = settings.topology
    client = topology.client(
        socket_connect_timeout=settings.connect_timeout, socket_timeout=settings.reply_timeout, decode_responses=True
    )
    try:
        with explained(settings.address, settings.plain_url):
            return await _inspect(settings, client)
    finally:
        await client.aclose()


async def _inspect(settings: RedisSettings, client: Redis) -> list[str]:
    topology = settings.topology
    await client.ping()
    try:
        if topology.kind is Kind.CLUSTER:
            return await _cluster_findings(settings, client)
        info = await client.info()
    except exceptions.NoPermissionError:
        return ["version unknown: this user may not run INFO"]
    found = [*_findings(settings, info), *await _lost_at_restart(client, info)]
    if topology.kind is Kind.SENTINEL:
        found.append(await _master(client, topology.master))
    return found


async def _lost_at_restart(client: Redis, info: dict[str, Any]) -> list[str]:
    """Whether Redis would skip batches when it loads its append-only file; empty if this user may not ask.

    It loads the file as its ``default`` user, and skips transactions for which that user has no rights (at least Redis
    up to 8.2 and Valkey up to 9.1).
    """
    if not info.get("aof_enabled"):
        return []
    try:
        answers = [await _dryrun(client, *command) for command in _OF_A_BATCH]
    except exceptions.ResponseError:  # not allowed, or not supported by this version
        return []
    if all(answer in ("OK", b"OK") for answer in answers):
        return []
    return [_WITHOUT_RIGHTS]


async def _dryrun(client: Any, *command: str) -> object:
    return await client.execute_command("ACL", "DRYRUN", "default", *command)


async def _master(client: Redis, name: str) -> str:
    pool = cast("SentinelConnectionPool", client.connection_pool)
    host, port = await pool.get_master_address()  # type: ignore[no-untyped-call]
    return f"the Sentinels' master {name} is {host}:{port}"


async def _cluster_findings(settings: RedisSettings, client: Redis) -> list[str]:
    """The findings of all masters, without duplicates."""
    infos = await masters(client)
    found = dict.fromkeys(line for info in infos for line in _findings(settings, info))
    noun = "master" if len(infos) == 1 else "masters"
    refused = await may_end_connections(client)
    words = f"this user may not close the connections of a hanging predecessor ({refused}); see tickbridge acl"
    return [*found, f"a Cluster of {len(infos)} {noun}", *([words] if refused else [])]


def _findings(settings: RedisSettings, info: dict[str, Any]) -> list[str]:
    version = str(info.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if len(numbers) == len(_OLDEST) and numbers < _OLDEST:
        raise RedisUnavailableError(settings.address, f"version {version} is too old; 6.2 or newer is required")
    refuse_replica(settings.address, info)
    if info.get("redis_mode") == "cluster" and settings.topology.kind is Kind.SERVER:
        raise RedisUnavailableError(
            settings.address,
            "this is one node of a Cluster; use redis+cluster:// instead of redis:// to use all nodes",
        )
    product = f"Valkey {info['valkey_version']}" if "valkey_version" in info else f"Redis {version}"
    found = [product]
    policy = info.get("maxmemory_policy", "noeviction")
    limit, used = (int(info.get(name) or 0) for name in ("maxmemory", "used_memory"))
    keeps_all = policy in ("noeviction", "")
    # What Redis does not count: buffers of replicas and of the append-only file.
    if limit and keeps_all and used - int(info.get("mem_not_counted_for_evict") or 0) > limit:
        words = f"its memory is full, and it takes no entries: {used:,} bytes are used, and maxmemory is {limit:,}"
        raise RedisUnavailableError(settings.address, f"{words}; raise maxmemory, or delete what is not needed")
    if limit and not keeps_all:
        found.append(
            f"maxmemory-policy is {policy}: under memory pressure whole streams may be deleted; use noeviction"
        )
    return found
