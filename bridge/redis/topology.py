"""Redis topologies: one server, the master that Sentinels report, or a Cluster; and ``redis-py`` clients for each.

    redis://[user:password@]host[:6379][/db]                          one server; unix:///path?db=0
    redis+sentinel://[user:password@]host[:26379][,host…]/master[/db]  the master of this name
    redis+cluster://[user:password@]host[:6379][,host…]               any nodes of a Cluster

``rediss`` instead of ``redis`` means TLS, also to Sentinels. `bridge.redis.url` has the options after a ``?``.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any, cast

import redis
from redis import exceptions
from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ConstantBackoff, NoBackoff
from redis.cluster import ClusterNode as SyncClusterNode
from redis.crc import key_slot
from redis.retry import Retry as SyncRetry
from redis.sentinel import Sentinel as SyncSentinel

from bridge.redis.sentinels import SentinelPool, SyncSentinelPool
from bridge.redis.url import Address, Kind, RedisUrl, RedisUrlError, safe_url

__all__ = [
    "Address",
    "Kind",
    "RedisUrlError",
    "Slots",
    "Topology",
    "by_stream",
    "flat_map",
    "masters",
    "safe_url",
    "slot_of",
]

_CONNECT_TIMEOUT = 5.0
_CLUSTER_RETRIES = 3
_CLUSTER_PAUSE = 0.1


def _no_maintenance() -> dict[str, Any]:
    """Disable maintenance notifications of newer versions of redis-py, which need a further right."""
    if "maint_notifications_config" not in inspect.signature(ConnectionPool.__init__).parameters:
        return {}
    from redis.maint_notifications import MaintNotificationsConfig  # noqa: PLC0415 - older versions have no such module

    return {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}


_NO_MAINTENANCE = _no_maintenance()


def slot_of(key: str) -> int:
    """The hash slot of a key, which depends on the part in braces."""
    return key_slot(key.encode())


async def masters(client: Redis, section: str | None = None) -> list[dict[str, Any]]:
    """The reply to ``INFO`` of the server, or of each master of the Cluster.

    Raises:
        redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: any error of redis-py.
    """
    sections = (section,) if section else ()
    if not isinstance(client, RedisCluster):
        return [await client.info(*sections)]
    # The reply of a single node has no node name.
    infos: dict[str, Any] = await client.info(*sections, target_nodes=RedisCluster.PRIMARIES)
    return list(infos.values()) if all(isinstance(info, dict) for info in infos.values()) else [infos]


def by_stream(reply: Any) -> list[tuple[str, list[Any]]]:
    """The reply to ``XREAD`` or ``XREADGROUP`` as (key, entries), whatever the protocol and client."""
    if isinstance(reply, dict):
        # With RESP3, redis-py wraps the entries in another list.
        nested = ((key, entries) for key, entries in reply.items())
        return [(key, entries[0] if len(entries) == 1 and _is_page(entries[0]) else entries) for key, entries in nested]
    return [(key, entries) for key, entries in reply or ()]


def _is_page(entries: Any) -> bool:
    """Whether this is a list of entries rather than an entry, which begins with its ID."""
    return isinstance(entries, list) and (not entries or not isinstance(entries[0], str | bytes))


def flat_map(reply: Any) -> Any:
    """Convert a RESP3 map, or a list of maps, to the flat lists of names and values of RESP2."""
    if isinstance(reply, dict):
        return [part for pair in reply.items() for part in pair]
    return [flat_map(row) for row in reply] if isinstance(reply, list) and _has_maps(reply) else reply


def _has_maps(reply: list[Any]) -> bool:
    return any(isinstance(row, dict) for row in reply)


class Topology:
    """A parsed URL with the certificate files for TLS; makes clients and pools.

    Raises:
        RedisUrlError: it is not a Redis URL. The message quotes no user, password or host.
    """

    def __init__(
        self, url: str, *, ca_file: str | None = None, cert_file: str | None = None, key_file: str | None = None
    ) -> None:
        parts = RedisUrl.of(url)
        self.kind = parts.kind
        self.tls = parts.tls
        self.address = safe_url(url)
        """The URL without secrets, for messages."""
        self.master = parts.master
        """The master's name at the Sentinels."""
        self.nodes: list[Address] = list(parts.nodes)
        """The server (empty for a socket), the Sentinels, or nodes of the Cluster."""
        self._path = parts.path
        self._sentinel_options = parts.sentinel_options
        self._options = dict(parts.options)
        if self.tls:
            files = {"ssl_ca_certs": ca_file, "ssl_certfile": cert_file, "ssl_keyfile": key_file}
            self._options.update({name: path for name, path in files.items() if path})
        self.resp3 = self._options.get("protocol") == 3
        """Whether the server uses RESP3, which has maps and push messages."""

    def __repr__(self) -> str:
        return f"Topology({self.address!r})"

    def client(self, *, repeats: bool = True, **options: Any) -> Redis:
        """A client that never repeats a command to a single server by itself.

        In a Cluster it is a ``RedisCluster``, which has the same commands. It follows slots that move and, unless
        ``repeats`` is false, repeats commands that a node did not answer.
        """
        if self.kind is Kind.CLUSTER:
            return cast("Redis", self._cluster_client(options, _CLUSTER_RETRIES if repeats else 0))
        return Redis.from_pool(self.pool(**options))

    def pool(self, address: Address | None = None, *, blocks: float = 0.0, **options: Any) -> ConnectionPool:
        """A pool of connections to the server, to the master that Sentinels report, or to a node of the Cluster.

        ``blocks`` is the minimum socket timeout in seconds, whatever the ``socket_timeout`` of the URL is.
        """
        merged = self._merged(options, blocks)
        if self.kind is Kind.SENTINEL:
            if self.tls:
                merged["ssl"] = True
            sentinel = Sentinel(self.nodes, sentinel_kwargs=self._for_sentinels(merged))  # type: ignore[no-untyped-call]
            for client in sentinel.sentinels:
                _cancellable(client.connection_pool)
            return _cancellable(SentinelPool(self.master, sentinel, **merged))
        if self._path:
            return _cancellable(ConnectionPool(connection_class=UnixDomainSocketConnection, path=self._path, **merged))
        host, port = address or self.nodes[0]
        kind = SSLConnection if self.tls else Connection
        return _cancellable(ConnectionPool(connection_class=kind, host=host, port=port, **merged))

    def sync_client(self, *, blocks: float = 0.0, **options: Any) -> redis.Redis:
        """Like ``client``, for code without an event loop; ``blocks`` is as in ``pool``."""
        merged = {**self._merged(options, blocks), "retry": SyncRetry(NoBackoff(), 0)}
        if self.kind is Kind.SERVER:
            return redis.Redis.from_pool(self._sync_pool(merged))
        if self.tls:
            merged["ssl"] = True
        if self.kind is Kind.SENTINEL:
            sentinel = SyncSentinel(self.nodes, sentinel_kwargs=self._for_sentinels(merged))  # type: ignore[no-untyped-call]
            return redis.Redis.from_pool(SyncSentinelPool(self.master, sentinel, **merged))
        merged["retry"] = SyncRetry(ConstantBackoff(_CLUSTER_PAUSE), _CLUSTER_RETRIES)
        nodes = [SyncClusterNode(host, port) for host, port in self.nodes]  # type: ignore[no-untyped-call]
        return cast("redis.Redis", redis.RedisCluster(startup_nodes=nodes, **_without_db(merged)))

    def _sync_pool(self, merged: dict[str, Any]) -> redis.ConnectionPool:
        if self._path:
            return redis.ConnectionPool(connection_class=redis.UnixDomainSocketConnection, path=self._path, **merged)
        host, port = self.nodes[0]
        kind = redis.SSLConnection if self.tls else redis.Connection
        return redis.ConnectionPool(connection_class=kind, host=host, port=port, **merged)

    def _cluster_client(self, options: dict[str, Any], retries: int) -> RedisCluster:
        merged = self._merged(options)
        merged["retry"] = Retry(ConstantBackoff(_CLUSTER_PAUSE), retries)
        nodes = [ClusterNode(host, port) for host, port in self.nodes]
        client = RedisCluster(startup_nodes=nodes, ssl=self.tls, **_without_db(merged))
        # There is no other way to choose the class of its connections.
        kind = _cancellable_class(client.connection_kwargs["connection_class"])
        client.connection_kwargs["connection_class"] = kind
        for node in client.nodes_manager.startup_nodes.values():
            node.connection_class = kind
        return client

    def _merged(self, options: dict[str, Any], blocks: float = 0.0) -> dict[str, Any]:
        merged = {"retry": Retry(NoBackoff(), 0), "protocol": 2, **_NO_MAINTENANCE, **options, **self._options}
        if "client_name" in options:
            # Connections of a predecessor are found by name, so the URL must not change the name.
            merged["client_name"] = options["client_name"]
        if blocks:
            merged["socket_timeout"] = max(blocks, merged.get("socket_timeout") or 0.0)
        return merged

    def _for_sentinels(self, merged: dict[str, Any]) -> dict[str, Any]:
        """The options of connections to Sentinels; each gets a share of the timeout, because one may be dead."""
        timeout = merged.get("socket_connect_timeout") or _CONNECT_TIMEOUT
        share = timeout / (len(self.nodes) + 1)
        names = [name for name in merged if name.startswith("ssl")]
        return {
            **{name: merged[name] for name in (*names, *_NO_MAINTENANCE, "protocol", "retry")},
            **self._sentinel_options,
            "socket_connect_timeout": share,
            "socket_timeout": share,
        }


class Slots:
    """The owners of hash slots in a Cluster, found with ``client``, a ``RedisCluster``."""

    def __init__(self, topology: Topology, client: Redis) -> None:
        self._topology = topology
        self._client = cast("RedisCluster", client)

    async def refresh(self) -> None:
        """Ask the Cluster.

        Raises:
            redis.exceptions.RedisClusterException, redis.exceptions.RedisError, OSError: no node answers.
        """
        nodes = self._client.nodes_manager
        if nodes.slots_cache:
            # redis-py knows only the last addresses of the nodes; all of them may have changed behind the given names.
            seeds = [ClusterNode(host, port, **self._client.connection_kwargs) for host, port in self._topology.nodes]
            for seed in seeds:
                nodes.startup_nodes.setdefault(seed.name, seed)
            await nodes.initialize()
        else:
            await self._client.initialize()

    def owner(self, slot: int) -> Address | None:
        """The master that has the slot; ``None`` if there is none or it is not known."""
        nodes = self._client.nodes_manager.slots_cache.get(slot)
        return (nodes[0].host, int(nodes[0].port)) if nodes else None


class _Cancellable:
    """A mixin for redis-py's connections that sends without ``asyncio.wait_for``.

    On Python 3.11, ``wait_for`` swallows a cancellation that arrives as the write completes, so that a service under load
    would never end. It also costs a task for each command. Its errors are those of redis-py, which asks the next Sentinel
    after no others.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except TimeoutError:
            raise exceptions.TimeoutError("Timeout writing to socket") from None
        except RuntimeError as error:  # uvloop refuses a transport that has just been closed
            raise exceptions.ConnectionError(str(error)) from None
        finally:
            self.socket_timeout = limit


def _cancellable_class(kind: type[AbstractConnection]) -> type[Any]:
    return type("CancellableConnection", (_Cancellable, kind), {})


def _cancellable(pool: ConnectionPool) -> ConnectionPool:
    # The pool has chosen the class: TCP, TLS, Unix socket, or Sentinel.
    pool.connection_class = _cancellable_class(pool.connection_class)
    return pool


def _without_db(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "db"}
