"""Whether a process still has connections to Redis: a server knows at once that those of a dead one are closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from redis.asyncio import Redis, RedisCluster
from redis.exceptions import ResponseError

from bridge.redis.connections import ask_node, nodes_of
from bridge.redis.errors import FAILURES

__all__ = ["Connected"]

_Rows = list[dict[str, str]]


class _Seen(Struct):
    """IDs of connections to one server: the process's, and one's own, by which the server is known again."""

    theirs: list[str]
    own: list[str]


class Connected:
    """Looks at the connections of the process that writes, by their names in ``CLIENT LIST``.

    Args:
        client: returns text.
        name: gives the name that all connections of an instance have.
        own: this process's instance.
        refused: is told once, and why, if this user may not look.
    """

    def __init__(self, client: Redis, name: Callable[[str], str], own: str, refused: Callable[[str], None]) -> None:
        self._client = client
        self._name = name
        self._own = name(own)
        self._refused = refused
        self._off = False
        self._instance = ""
        self._seen: dict[str, _Seen] = {}
        """What was last seen, by the node's name; empty for a single server."""

    async def ended(self, instance: str) -> bool:
        """Whether the process had connections, and has none any more.

        Always false for a process whose connections have not been seen, since Redis was last connected to, or cannot be.

        Raises:
            redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError: a single server does not answer.
        """
        if self._off or not instance:
            return False
        if instance != self._instance:
            self._instance = instance
            self._seen.clear()
        try:
            found = [await self._has(node) for node in nodes_of(self._client)]
        except ResponseError as error:
            self._off = True
            self._refused(str(error))
            return False
        except FAILURES:
            if isinstance(self._client, RedisCluster):
                return False
            raise
        return False in found and True not in found

    async def _has(self, node: Any) -> bool | None:
        """Whether it has connections to this server; ``None`` if it had none there before either."""
        if node is not None and node.server_type != "primary":
            return None
        place = "" if node is None else node.name
        seen = self._seen.get(place)
        if seen:
            theirs, own = self._sort(await ask_node(self._client, node, "CLIENT LIST", "ID", *seen.own, *seen.theirs))
            if theirs and own:
                return True
            if not own:  # another server, or the same one after a restart: its IDs say nothing
                seen = None
        theirs, own = self._sort(await ask_node(self._client, node, "CLIENT LIST", "TYPE", "normal"))
        if theirs:
            self._seen[place] = _Seen(theirs, own)
        elif seen is None:
            self._seen.pop(place, None)
        return bool(theirs) if theirs or seen else None

    def _sort(self, rows: _Rows) -> tuple[list[str], list[str]]:
        """The IDs of the process's connections among these, and those of one's own."""
        name = self._name(self._instance)
        theirs = [row["id"] for row in rows if row.get("name") == name]
        own = [row["id"] for row in rows if row.get("name") == self._own]
        return theirs, own
