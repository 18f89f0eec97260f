"""Where Redis is: one server, the master that Sentinels name, or a Cluster; and clients of ``redis-py`` for each.

    redis://[user:password@]host[:6379][/db]                          one server; unix:///path?db=0
    redis+sentinel://[user:password@]host[:26379][,host…]/master[/db]  the master of this name
    redis+cluster://[user:password@]host[:6379][,host…]               any nodes of a Cluster

``rediss`` in place of ``redis`` is TLS, with Sentinels too. What follows a ``?`` goes to ``redis-py``
(``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile``), but for ``sentinel_username`` and ``sentinel_password``.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis
from redis import exceptions
from redis.asyncio import Connection, ConnectionPool, Redis, RedisCluster, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ConstantBackoff, NoBackoff
from redis.cluster import ClusterNode as SyncClusterNode
from redis.crc import key_slot
from redis.retry import Retry as SyncRetry
from redis.sentinel import Sentinel as SyncSentinel

__all__ = ["AWAY", "FAILURES", "SCHEMES", "Address", "Kind", "Slots", "Topology", "masters", "safe_url", "slot_of"]

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
"""Everything that a call of ``redis-py`` raises when Redis doesn't do what it is told."""

AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.RedisClusterException,
    OSError,
)
"""What a call raises while Redis is away, loading, or failing over, or while slots move: it may succeed in a moment.

``ClusterError`` among them: redis-py sends ``ASKING`` and the command over two connections of a pool. Where others use
that pool too, a slot on its way is looked for to and fro until it gives up.
"""

Address = tuple[str, int]

_REDIS_PORT, _SENTINEL_PORT = 6379, 26379
_CONNECT_TIMEOUT = 5.0
_CLUSTER_RETRIES = 3
_CLUSTER_PAUSE = 0.1


class Kind(StrEnum):
    """What a URL leads to."""

    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


def safe_url(url: str) -> str:
    """The URL without user, password and query, fit for messages."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def slot_of(key: str) -> int:
    """The hash slot of a key: of what stands between its braces."""
    return key_slot(key.encode())


async def masters(client: Redis, section: str | None = None) -> list[dict[str, Any]]:
    """What ``INFO`` says: of the one server, or of each master of the Cluster.

    Raises:
        redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: as redis-py has them.
    """
    sections = (section,) if section else ()
    if not isinstance(client, RedisCluster):
        return [await client.info(*sections)]
    # A single node's answer comes without the node's name.
    infos: dict[str, Any] = await client.info(*sections, target_nodes=RedisCluster.PRIMARIES)
    return list(infos.values()) if all(isinstance(info, dict) for info in infos.values()) else [infos]


class Topology:
    """A URL taken apart, with the files that TLS needs; makes clients and pools for what it leads to.

    Raises:
        ValueError: it is no such URL. The message quotes nothing of it.
    """

    def __init__(
        self, url: str, *, ca_file: str | None = None, cert_file: str | None = None, key_file: str | None = None
    ) -> None:
        scheme, _, kind = urlsplit(url).scheme.partition("+")
        if f"{scheme}{'+' if kind else ''}{kind}" not in SCHEMES:
            raise ValueError(
                "should start with redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster://"
            )
        self.kind = Kind(kind or Kind.SERVER)
        self.tls = scheme == "rediss"
        self.address = safe_url(url)
        """Fit for messages."""
        self.master = ""
        """The name that Sentinels know it by."""
        self.nodes: list[Address] = []
        """Sentinels, or nodes of the Cluster."""
        self._sentinel_options: dict[str, Any] = {}
        self._url = url if self.kind is Kind.SERVER else self._take_apart(url, scheme)
        self._options: dict[str, Any] = {**parse_url(self._url)}
        for name in ("connection_class", "host", "port", "path"):
            self._options.pop(name, None)
        if self.tls:
            files = {"ssl_ca_certs": ca_file, "ssl_certfile": cert_file, "ssl_keyfile": key_file}
            self._options.update({name: path for name, path in files.items() if path})

    def __repr__(self) -> str:
        return f"Topology({self.address!r})"

    def _take_apart(self, url: str, scheme: str) -> str:
        """Find the nodes, and the URL of a single server that says the rest."""
        parts = urlsplit(url)
        user, at, hosts = parts.netloc.rpartition("@")
        default = _SENTINEL_PORT if self.kind is Kind.SENTINEL else _REDIS_PORT
        self.nodes = [_address(host, default) for host in hosts.split(",")]
        path = parts.path
        query = parse_qsl(parts.query, keep_blank_values=True)
        if self.kind is Kind.SENTINEL:
            self.master, _, db = path.strip("/").partition("/")
            if not self.master or (db and not db.isdigit()):
                raise ValueError("should name the master: redis+sentinel://HOST:26379,HOST:26379/MASTER")
            path = f"/{db}"
            prefix = "sentinel_"
            self._sentinel_options = {name.removeprefix(prefix): v for name, v in query if name.startswith(prefix)}
            query = [(name, value) for name, value in query if not name.startswith(prefix)]
            if self._sentinel_options.keys() - {"username", "password"}:
                raise ValueError("of Sentinels it can say sentinel_username and sentinel_password only")
        elif path.strip("/") not in ("", "0"):
            raise ValueError("should hold no database number: a Cluster has only one")
        return urlunsplit((scheme, f"{user}{at}-", path, urlencode(query), ""))

    def client(self, **options: Any) -> Redis:
        """A client that never repeats a command to a single server on its own.

        In a Cluster it is a ``RedisCluster``, which has the same commands; it follows the slots when they move, and
        repeats what a node didn't answer.
        """
        if self.kind is Kind.CLUSTER:
            return cast("Redis", self._cluster_client(options))
        return Redis.from_pool(self.pool(**options))

    def pool(self, address: Address | None = None, **options: Any) -> ConnectionPool:
        """A pool of connections: to the server, to what the Sentinels call the master, or to a node of the Cluster."""
        merged = self._merged(options)
        if self.kind is Kind.SERVER:
            return _cancellable(ConnectionPool.from_url(self._url, **merged))
        if self.kind is Kind.SENTINEL:
            if self.tls:
                merged["ssl"] = True
            sentinel = Sentinel(self.nodes, sentinel_kwargs=self._for_sentinels(merged))  # type: ignore[no-untyped-call]
            return _cancellable(_SentinelPool(self.master, sentinel, **merged))  # type: ignore[no-untyped-call]
        host, port = address or self.nodes[0]
        kind = SSLConnection if self.tls else Connection
        return _cancellable(ConnectionPool(connection_class=kind, host=host, port=port, **merged))

    def sync_client(self, **options: Any) -> redis.Redis:
        """The same as ``client``, for code without an event loop."""
        merged = {**self._merged(options), "retry": SyncRetry(NoBackoff(), 0)}
        if self.kind is Kind.SERVER:
            return redis.Redis.from_url(self._url, **merged)
        if self.tls:
            merged["ssl"] = True
        if self.kind is Kind.SENTINEL:
            sentinel = SyncSentinel(self.nodes, sentinel_kwargs=self._for_sentinels(merged))  # type: ignore[no-untyped-call]
            client: redis.Redis = sentinel.master_for(self.master, **merged)  # type: ignore[no-untyped-call]
            return client
        merged["retry"] = SyncRetry(ConstantBackoff(_CLUSTER_PAUSE), _CLUSTER_RETRIES)
        nodes = [SyncClusterNode(host, port) for host, port in self.nodes]  # type: ignore[no-untyped-call]
        return cast("redis.Redis", redis.RedisCluster(startup_nodes=nodes, **_without_db(merged)))

    def _cluster_client(self, options: dict[str, Any]) -> RedisCluster:
        merged = self._merged(options)
        merged["retry"] = Retry(ConstantBackoff(_CLUSTER_PAUSE), _CLUSTER_RETRIES)
        nodes = [ClusterNode(host, port) for host, port in self.nodes]
        client = RedisCluster(startup_nodes=nodes, ssl=self.tls, **_without_db(merged))
        # The class of its connections can't be chosen otherwise, and the nodes take it from here.
        kind = _cancellable_class(client.connection_kwargs["connection_class"])
        client.connection_kwargs["connection_class"] = kind
        for node in client.nodes_manager.startup_nodes.values():
            node.connection_class = kind
        return client

    def _merged(self, options: dict[str, Any]) -> dict[str, Any]:
        return {"retry": Retry(NoBackoff(), 0), "protocol": 2, **options, **self._options}

    def _for_sentinels(self, merged: dict[str, Any]) -> dict[str, Any]:
        """Options of the connections to Sentinels: each gets its share of the time, for one of them may be dead."""
        timeout = merged.get("socket_connect_timeout") or _CONNECT_TIMEOUT
        share = timeout / (len(self.nodes) + 1)
        names = [name for name in merged if name.startswith("ssl")]
        return {
            **{name: merged[name] for name in (*names, "protocol", "retry")},
            **self._sentinel_options,
            "socket_connect_timeout": share,
            "socket_timeout": share,
        }


class Slots:
    """Which node of a Cluster has which hash slot, as ``client`` (a ``RedisCluster``) finds out."""

    def __init__(self, topology: Topology, client: Redis) -> None:
        self._topology = topology
        self._client = cast("RedisCluster", client)

    async def refresh(self) -> None:
        """Ask the Cluster.

        Raises:
            redis.exceptions.RedisClusterException, redis.exceptions.RedisError, OSError: no node answers as it should.
        """
        nodes = self._client.nodes_manager
        if nodes.slots_cache:
            # redis-py knows the addresses that the nodes last had; all may have others now, under the names given.
            seeds = [ClusterNode(host, port, **self._client.connection_kwargs) for host, port in self._topology.nodes]
            for seed in seeds:
                nodes.startup_nodes.setdefault(seed.name, seed)
            await nodes.initialize()
        else:
            await self._client.initialize()

    def owner(self, slot: int) -> Address | None:
        """The master that has the slot; ``None``: nobody, or not yet known."""
        nodes = self._client.nodes_manager.slots_cache.get(slot)
        return (nodes[0].host, int(nodes[0].port)) if nodes else None


class _SentinelPool(SentinelConnectionPool):
    """A pool that closes its connections to Sentinels too, when it is closed itself."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.aclose()


class _Cancellable:
    """Mixed into redis-py's connections: sends without ``asyncio.wait_for``.

    On Python 3.11 that swallows a cancellation which comes as the write completes, and under load a write always does:
    a service would never end. It also costs a task for each command.
    """

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        limit, self.socket_timeout = self.socket_timeout, None
        try:
            async with asyncio.timeout(limit):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]
        finally:
            self.socket_timeout = limit


def _cancellable_class(kind: type[AbstractConnection]) -> type[Any]:
    return type("CancellableConnection", (_Cancellable, kind), {})


def _cancellable(pool: ConnectionPool) -> ConnectionPool:
    # The pool has chosen the class: TCP, TLS, a Unix socket, or one that asks Sentinels.
    pool.connection_class = _cancellable_class(pool.connection_class)
    return pool


def _without_db(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name != "db"}


def _address(text: str, default: int) -> Address:
    parts = urlsplit(f"//{text}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if not parts.hostname or parts.path or port == 0:
        raise ValueError("should name hosts: HOST:PORT,HOST:PORT")
    return parts.hostname, default if port is None else port
