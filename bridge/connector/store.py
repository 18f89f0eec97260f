"""The Redis side of a connector: its publisher, its client for everything else, and its streams' standing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from types import TracebackType
from typing import Self

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError
from structlog.typing import FilteringBoundLogger

from bridge.config import Settings
from bridge.connector.limits import RedisLimits
from bridge.connector.opening import Tail, continue_stream, open_stream
from bridge.errors import RedisUnavailableError
from bridge.exchanges.api import Subscription
from bridge.feed.shared import SharedBudget
from bridge.keys import Keys
from bridge.model import Channel, ControlEvent
from bridge.publish.cluster import ClusterNodes
from bridge.publish.connection import RedisConnection, open_connection
from bridge.publish.pending import Budget
from bridge.publish.publisher import Nodes, OneServer, Publisher, PublisherEvents
from bridge.publish.stream import Retention, Stream
from bridge.redis.connected import Connected
from bridge.redis.connections import connection_name, end_connections
from bridge.redis.errors import explain, explained, refuse_replica
from bridge.redis.lease import Lease, new_instance
from bridge.redis.presence import Presence
from bridge.redis.retries import retries
from bridge.redis.rivals import PATIENCE
from bridge.redis.sentinels import SentinelPool
from bridge.redis.topology import Address, Kind, Slots, slot_of

__all__ = ["Store"]

_RETRY_FIRST = 0.1
_RETRY_CAP = 2.0
_LAPSES_AFTER = PATIENCE - 0.5
"""Intervals of the heartbeat after which a lease that was not renewed has lapsed: before anybody else takes it."""


class Store:
    """Everything that a connector has in Redis; a context manager around its connections."""

    def __init__(self, settings: Settings, name: str, exchange: str, log: FilteringBoundLogger) -> None:
        self._settings = settings
        self._name = name
        self._exchange = exchange
        self._log = log
        self.keys = Keys(settings.namespace)
        self._topology = settings.redis.topology
        self._instance = new_instance()
        self._connections = connection_name(settings.namespace, name, self._instance)
        self.client = self._client()
        """For what is only read; in a Cluster it asks again by itself."""
        cluster = self._topology.kind is Kind.CLUSTER
        # Else both have the same connections: of two sets, one may be to a master that was replaced and does not know it.
        # Who took a lease by the one, and read with the other how far the streams are, would leave a hole in them.
        self._writer = self._client(repeats=False) if cluster else self.client
        self._slots = Slots(self._topology, self.client) if cluster else None
        heartbeat = settings.heartbeat
        patience = min(_LAPSES_AFTER * heartbeat.interval, heartbeat.ttl)
        self.lease = Lease(self._writer, self.keys, name, patience, self._instance)
        """Whether this process may write."""
        self.presence = Presence(self.client, self.lease, self.keys, exchange, heartbeat)
        named = partial(connection_name, settings.namespace, name)
        self._connected = Connected(self.client, named, self._instance, self._not_seen)

    def _not_seen(self, error: str) -> None:
        self._log.warning("writer_connections_not_seen", error=error)

    def _client(self, *, repeats: bool = True) -> Redis:
        return self._topology.client(
            repeats=repeats,
            decode_responses=True,
            client_name=self._connections,
            socket_connect_timeout=self._settings.redis.connect_timeout,
            socket_timeout=self._settings.redis.reply_timeout,
        )

    async def __aenter__(self) -> Self:
        """Check that Redis is there.

        Raises:
            RedisUnavailableError: it isn't, for as long as ``redis.connect_timeout``.
        """
        deadline = asyncio.get_running_loop().time() + self._settings.redis.connect_timeout
        for delay in self._retries():
            try:
                await self._look()
                break
            except RedisUnavailableError:
                if asyncio.get_running_loop().time() + delay >= deadline:
                    await self._close()
                    raise
                await asyncio.sleep(delay)
        return self

    async def _look(self) -> None:
        address = None
        if self._slots:
            with self.explained():
                await self._slots.refresh()
            address = self._slots.owner(slot_of(self.keys.catalog()))
        connection = await self.connection(address)
        connection.abort("only a look")
        if self._topology.kind is Kind.SERVER:
            with self.explained(), suppress(NoPermissionError):
                refuse_replica(self._settings.redis.address, await self.client.info("replication"))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await self.client.aclose()
        await self._writer.aclose()

    def publisher(self, events: PublisherEvents) -> Publisher:
        """A publisher on a connection of its own, or on one for each master of a Cluster."""
        settings = self._settings
        budget = Budget(settings.buffer.max_bytes, settings.buffer.max_age)
        nodes: Nodes
        if self._slots is None:
            nodes = server = OneServer(self.connection_to_write)
            if isinstance(self.client.connection_pool, SentinelPool):
                self.client.connection_pool.moved = server.follow_master
        else:
            nodes = ClusterNodes(self._slots, self.connection_to_write, address=settings.redis.address, log=self._log)
        publisher = Publisher(nodes, self._retries, events, budget=budget, standing_by=True, log=self._log)
        self.presence.ids_ahead = lambda: publisher.ids_ahead
        return publisher

    async def connection_to_write(self, address: Address | None = None) -> RedisConnection:
        """A new raw connection, as `connection`, of a process that has its lease still.

        The connection has its name already. So either the lease is looked at after a takeover, or a takeover finds the
        connection and ends it.

        Raises:
            DisplacedError: it has not.
            RedisUnavailableError: the connection can't be made.
        """
        connection = await self.connection(address)
        try:
            with self.explained():
                await self.lease.assure()
        except BaseException:
            connection.abort("not usable")
            raise
        return connection

    async def connection(self, address: Address | None = None) -> RedisConnection:
        """A new raw connection; in a Cluster to the node at ``address``.

        Raises:
            RedisUnavailableError: it can't be made.
        """
        redis = self._settings.redis
        name = f"{self._connections}:publisher"
        shown = redis.address if address is None else "{}:{}".format(*address)
        try:
            return await open_connection(
                self._topology,
                name,
                redis.connect_timeout,
                shown,
                address=address,
                reply_timeout=redis.reply_timeout,
            )
        except RedisUnavailableError as error:
            if error.__cause__ is None:
                raise
            raise RedisUnavailableError(shown, explain(error.__cause__, redis.plain_url)) from None

    def stream(self, channel: Channel, subject: str) -> Stream:
        """A stream of this connector's, not yet opened."""
        limits = self._settings.retention.of(channel)
        key = self.keys.stream(self._exchange, subject, channel)
        return Stream(key, channel, subject, Retention(limits.max_entries, limits.max_age))

    def limits(self, url: str, purpose: str = "") -> SharedBudget | None:
        """What this process and others tell each other about requests to ``url``; ``None`` where they aren't to.

        ``purpose`` tells apart what is counted by itself: attempts to connect, messages; empty: REST.
        """
        share = self._settings.share_limits
        if not share:
            return None
        name = share if isinstance(share, str) else ""
        return RedisLimits(self._writer, self.keys, url, name=name, purpose=purpose, log=self._log)

    async def pairs(self) -> set[str]:
        """The pairs that this connector has written before, as the catalog has them.

        Raises:
            RedisUnavailableError: Redis is out of reach.
        """
        with self.explained():
            return await self.presence.catalog.pairs(self._exchange, self._name)

    async def subaccounts(self) -> list[Subscription]:
        """Streams of sub-accounts on this connector's exchange, as the catalog has them from earlier.

        Raises:
            RedisUnavailableError: Redis is out of reach.
        """
        with self.explained():
            try:
                keys = await self.presence.catalog.subaccounts(self._exchange)
            except NoPermissionError as error:  # the rights of an earlier version: each is opened by its next event
                self._log.warning("subaccounts_not_known", error=str(error))
                return []
        return [Subscription(key.channel, key.subject) for key in keys]

    async def open(self, stream: Stream) -> Tail:
        """Set a stream to go on where Redis has it; returns what it holds already.

        Raises:
            RedisUnavailableError: Redis is out of reach, or the key is no stream.
        """
        with self.explained():
            return await open_stream(self.client, self.keys, stream, self._settings.redis.address)

    async def claim(self, streams: Sequence[str], fields: Mapping[str, str | int | float]) -> None:
        """Take the connector's name and these streams.

        Raises:
            AlreadyRunningError: somebody else has them.
            RedisUnavailableError: Redis is out of reach.
        """
        with self.explained():
            try:
                await self.presence.catalog.separate()
            except NoPermissionError as error:  # the rights of an earlier version: another connector may have more
                self._log.warning("catalog_not_separated", error=str(error))
            await self._end_connections(await self.presence.claim(streams, fields))

    async def succeed(
        self,
        streams: Callable[[], Sequence[str]],
        fields: Callable[[], Mapping[str, str | int | float]],
        seen: Callable[[Mapping[str, str]], None],
        *,
        by_connections: bool,
    ) -> list[str]:
        """Wait until the process that has the name is gone, and take its place; see `Presence.succeed`.

        ``by_connections``: that it has no connections to Redis any more is enough; else its heartbeat counts.

        Raises:
            AlreadyRunningError: another connector writes these streams.
            RedisUnavailableError: Redis is out of reach.
        """
        with self.explained():
            return await self.presence.succeed(streams, fields, seen, self._connected if by_connections else None)

    async def end_predecessors(self, names: Sequence[str]) -> None:
        """End the connections of earlier processes of these connectors.

        Raises:
            RedisUnavailableError: Redis is out of reach.
        """
        with self.explained():
            await self._end_connections(names)

    async def go_on(self, stream: Stream, back: int, since: int | None = None) -> Tail:
        """Set a stream to go on where another process has left it; returns what it got in the last ``back`` ns of that.

        With ``since`` (ns), also what it got from then on.

        Raises:
            RedisUnavailableError: Redis is out of reach, or the key is no stream.
        """
        with self.explained():
            return await continue_stream(
                self.client, self.keys, stream, self._settings.redis.address, back=back, since=since
            )

    async def is_down(self, stream: Stream) -> bool:
        """Whether the catalog says that a stream was not live at the last heartbeat of the process that wrote it.

        Raises:
            RedisUnavailableError: Redis is out of reach.
        """
        with self.explained():
            owners = await self.presence.catalog.owners([stream.key])
        return any(writer.state not in ("", ControlEvent.LIVE) for each in owners.values() for writer in each.values())

    async def claim_more(self, streams: Sequence[str]) -> None:
        """Take further streams.

        Raises:
            AlreadyRunningError: somebody else has one of them.
            RedisUnavailableError: Redis is out of reach.
        """
        with self.explained():
            if names := await self.presence.claim_more(streams):
                await self._end_connections(names)

    async def _end_connections(self, names: Sequence[str]) -> None:
        """End those of earlier processes of these connectors; in a Cluster nothing else keeps them from writing."""
        cluster = self._slots is not None
        ended = await end_connections(self.client, self._settings.namespace, names, self._instance, probe=cluster)
        if ended.count:
            self._log.warning("predecessor_ended", connections=ended.count)
        self.lease.ends_connections = cluster and not ended.refused
        if ended.refused and cluster:
            self._log.warning("predecessor_not_ended", error=ended.refused)

    def explained(self) -> AbstractContextManager[None]:
        """Turn errors of redis-py into ours, with an explanation."""
        redis = self._settings.redis
        return explained(redis.address, redis.plain_url)

    def _retries(self) -> Iterator[float]:
        return retries(_RETRY_FIRST, _RETRY_CAP)
