"""Raw entries of a stream, page by page, with a client that has no event loop: for files and tables."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from typing import Any

from redis import Redis

from bridge.keys import Keys
from bridge.model import BOOKS, events_of
from bridge.redis.topology import Topology
from consumers.connection import Where, topology_of
from consumers.page import Page
from consumers.raw_replies import RawReplies

__all__ = [
    "Page",
    "field_names",
    "last_id",
    "most_per_page",
    "open_client",
    "pages",
    "text_of",
    "uncollected",
]

_FIRST, _MOST, _MOST_OF_BOOKS = 100, 4_000, 1_000
"""Entries of a page: of the first one, and at most. A snapshot of a book may have a megabyte."""
_SIZE = 4 << 20
"""Bytes that a page should have, estimated from a sample of its entries."""
_SAMPLE = 16
_REPLY_TIMEOUT = 60.0
_CONNECT_TIMEOUT = 5.0


def open_client(where: Where, name: str) -> Redis:
    """A client whose replies are bytes. It never repeats a command by itself (except that of a Cluster)."""
    topology: Topology = topology_of(where)
    return topology.sync_client(
        decode_responses=False,
        socket_timeout=_REPLY_TIMEOUT,
        socket_connect_timeout=_CONNECT_TIMEOUT,
        client_name=name,
    )


def text_of(raw: bytes) -> str:
    r"""A value as text; bytes that are not UTF-8 become ``\xff``."""
    return raw.decode("utf-8", "backslashreplace")


def last_id(client: Redis, key: str) -> str:
    """The ID of the stream's last entry; ``""`` if it has none.

    Raises:
        redis.exceptions.RedisError, OSError: any error of redis-py.
    """
    # Not XINFO: it also returns the oldest entry, which for a book is a whole snapshot.
    reply: Any = client.xrevrange(key, count=1)
    return text_of(reply[0][0]) if reply else ""


def pages(client: Redis, key: str, after: str, end: str, *, most: int = _MOST, columns: bool = True) -> Iterator[Page]:
    """The entries after the ID ``after`` (``""``: from the first) up to ``end``; ``most`` is the size of a page.

    With ``columns``, pages are made for tables: they have a grid, where that is possible.

    Raises:
        redis.exceptions.RedisError, OSError: any error of redis-py.
    """
    raw = RawReplies(_server_of(client, key)) if columns else None
    count = min(_FIRST, most)
    start = f"({after}" if after else "-"
    while True:
        with uncollected():
            page = raw.ask(key, start, end, count) if raw else None
            if page is None:
                page = _asked(client, key, start, end, count)
        if not len(page):
            return
        yield page
        if len(page) < count:
            return
        start = f"({text_of(page.id(-1))}"
        size = max(1, page.size // len(page)) if page.size else _size_of_one(page.flats)
        count = max(1, min(most, 2 * count, _SIZE // size))


def _asked(client: Redis, key: str, start: str, end: str, count: int) -> Page:
    _want_raw(client)
    reply: Any = client.execute_command("XRANGE", key, start, end, "COUNT", count)  # type: ignore[no-untyped-call]
    ids, flats = [entry[0] for entry in reply], [entry[1] for entry in reply]
    if flats and isinstance(flats[0], dict):  # a node of a Cluster that was not known before
        flats = [[part for pair in fields.items() for part in pair] for fields in flats]
    return Page(ids, flats)


def _server_of(client: Redis, key: str) -> Redis:
    """The client of the server that has this key."""
    find: Any = getattr(client, "get_node_from_key", None)
    node: Any = find(key) if find else None
    return node.redis_connection or client if node is not None else client


def field_names(keys: Keys, key: str) -> tuple[str, ...]:
    """The fields that the entries of a stream may have, after ``type``, ``ts`` and ``recv``; none: the stream is not ours."""
    stream = keys.parse(key)
    if stream is None:
        return ()
    kinds = events_of(stream.channel)
    return tuple(dict.fromkeys(name for kind in kinds for name in (*kind.WIRE, *getattr(kind, "MORE", ()))))


def most_per_page(keys: Keys, key: str) -> int:
    """How many entries of a stream are read at once, at most."""
    stream = keys.parse(key)
    return _MOST_OF_BOOKS if stream is not None and stream.channel in BOOKS else _MOST


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, which would walk the thousands of new lists of a reply again and again."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _size_of_one(flats: list[list[bytes]]) -> int:
    """About how many bytes an entry has."""
    step = max(1, len(flats) // _SAMPLE)
    sample = flats[::step]
    return max(1, sum(len(part) for flat in sample for part in flat) // len(sample))


def _want_raw(client: Redis) -> None:
    """Have ``XRANGE`` answered as the server does: redis-py would make a dictionary of every entry."""
    nodes: Any = client.get_nodes() if hasattr(client, "get_nodes") else None
    for one in [node.redis_connection for node in nodes] if nodes else [client]:
        if one is not None:
            one.set_response_callback("XRANGE", _as_it_is)


def _as_it_is(reply: Any, **_: Any) -> Any:
    return reply
