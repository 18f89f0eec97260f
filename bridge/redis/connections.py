"""The Redis connections of a connector's processes: their names, and how to close those of a predecessor."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ResponseError

from bridge.redis.errors import FAILURES

__all__ = ["Ended", "ask_node", "connection_name", "end_connections", "may_end_connections", "nodes_of"]

_INSTANCE = re.compile(r"[0-9a-f]{12}")
_NO_CONNECTION = (1 << 62) - 1
"""An ID that no connection has."""


class Ended(Struct):
    """The result: how many connections were closed, and why others could not be, if any."""

    count: int = 0
    refused: str = ""


def connection_name(namespace: str, connector: str, instance: str) -> str:
    """The name in ``CLIENT LIST``: ``tickbridge:limitlex:5f0c9a1be27d``, after the namespace if there is one."""
    return f"{_prefix(namespace, connector)}{instance}"


async def end_connections(
    client: Redis, namespace: str, connectors: Collection[str], instance: str, *, probe: bool = False
) -> Ended:
    """Close all connections of these connectors' processes, except those of ``instance``, on every node.

    Call it when the fences hold this process's token, so that processes that connect later see it. With ``probe``, also
    find out whether this user may close connections if there are none.

    Raises:
        redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: a master does not answer.
    """
    ended = Ended()
    prefixes = [_prefix(namespace, connector) for connector in connectors]
    for node in nodes_of(client):
        try:
            for ident in _strangers(await ask_node(client, node, "CLIENT LIST", "TYPE", "normal"), prefixes, instance):
                ended.count += int(await ask_node(client, node, "CLIENT KILL", "ID", ident))
            if probe:
                await ask_node(client, node, "CLIENT KILL", "ID", _NO_CONNECTION)
        except ResponseError as error:
            ended.refused = str(error)
        except FAILURES:
            # Nothing is written over a connection to a replica.
            if node is None or node.server_type == "primary":
                raise
    return ended


async def may_end_connections(client: Redis) -> str:
    """Why this user may not close connections; empty if it may.

    Raises:
        redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: a master does not answer.
    """
    return (await end_connections(client, "", [], "", probe=True)).refused


def _prefix(namespace: str, connector: str) -> str:
    return f"{namespace}:tickbridge:{connector}:" if namespace else f"tickbridge:{connector}:"


def nodes_of(client: Any) -> list[Any]:
    """The nodes of a Cluster; a single server is ``None``."""
    return client.get_nodes() if isinstance(client, RedisCluster) else [None]


async def ask_node(client: Any, node: Any, *command: object) -> Any:
    """What one of these nodes answers."""
    target: dict[str, Any] = {} if node is None else {"target_nodes": node}
    return await client.execute_command(*command, **target)


def _strangers(rows: list[dict[str, str]], prefixes: list[str], instance: str) -> list[str]:
    """The IDs of connections that have the name of another process, in the same database if that is known."""
    own = {row.get("db") for row in rows if instance and f":{instance}" in row.get("name", "")}
    found = []
    for row in rows:
        name = row.get("name", "")
        for prefix in prefixes:
            other = _INSTANCE.match(name, len(prefix)) if name.startswith(prefix) else None
            if other and other[0] != instance and (not own or row.get("db") in own):
                found.append(row["id"])
    return found
