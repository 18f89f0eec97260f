"""Where a reader starts in a stream: now, at the start, at an ID, at a saved cursor, at the newest snapshot."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Any

from msgspec import Struct
from redis import exceptions
from redis.asyncio import Redis

from bridge.book import Book
from bridge.entries import parse_levels
from bridge.keys import Keys, StreamKey
from bridge.model import BOOKS, BookSnapshot, Channel
from bridge.redis.errors import is_wrong_type
from consumers.items import Entry, split_id

__all__ = ["Cursor", "Position", "Saved", "Start", "StartPoint", "last_id", "resolve"]

_PAGE = 500
_log = logging.getLogger(__name__)


class Position(StrEnum):
    """``NOW``: only new entries; ``START``: the oldest entry; ``SNAPSHOT``: the newest full book."""

    NOW = "now"
    START = "start"
    SNAPSHOT = "snapshot"


class Saved(Struct, frozen=True):
    """The position that ``Reader.save(name)`` saved; ``otherwise`` if there is none, or if it is not an ID."""

    name: str
    otherwise: Position | str = Position.START


Start = Position | Saved | str
"""Where to start; text is the ID of an entry, and reading starts after it."""


class Cursor(Struct, frozen=True):
    """A position in a stream: after ``id``, where ``next_seq`` is expected (``None``: any)."""

    id: str
    next_seq: int | None


class StartPoint(Struct, frozen=True):
    """Where to continue, and the book of the late-join snapshot if the reader starts from it."""

    cursor: Cursor
    first: Entry | None = None


async def last_id(redis: Redis, key: str) -> str:
    """The last ID that was ever added to the stream; ``0-0`` if the stream does not exist or the key holds something else."""
    try:
        info = await redis.xinfo_stream(key)
    except exceptions.ResponseError as error:
        if "no such key" in str(error).lower() or is_wrong_type(error):
            return "0-0"
        raise
    return str(info["last-generated-id"])


async def resolve(redis: Redis, keys: Keys, key: str, stream: StreamKey, start: Start) -> StartPoint:
    """The position in the stream that ``start`` means at this moment.

    Raises:
        ValueError: ``start`` is not an ID, or the stream has no snapshots.
        redis.exceptions.RedisError: any error of redis-py.
    """
    if isinstance(start, Saved):
        saved = await redis.hget(keys.cursor(start.name), key)
        if saved:
            try:
                return StartPoint(_after(str(saved)))
            except ValueError:
                _log.warning("%s: the position saved as %s is not an entry ID: %.40r", key, start.name, saved)
        start = start.otherwise
    if start == Position.START:
        return StartPoint(Cursor("0-0", None))
    if start == Position.NOW:
        return StartPoint(_after(await last_id(redis, key)))
    if start == Position.SNAPSHOT:
        if stream.channel not in BOOKS:
            msg = f"{key}: only a stream of books has snapshots to start from"
            raise ValueError(msg)
        return await _newest_snapshot(redis, keys, key, stream)
    try:
        seq = split_id(str(start))[1]
    except ValueError:
        msg = f"{start!r} is neither an entry ID (ms-seq) nor {', '.join(Position)}"
        raise ValueError(msg) from None
    # A time without a seq says nothing about which entry comes next.
    return StartPoint(Cursor(str(start), seq + 1 if seq else None))


def _after(entry_id: str) -> Cursor:
    return Cursor(entry_id, split_id(entry_id)[1] + 1)


async def _newest_snapshot(redis: Redis, keys: Keys, key: str, stream: StreamKey) -> StartPoint:
    """Search backwards from the end for the newest snapshot entry, but no further than the late-join hash.

    With a fresh hash, that is one page of a few entries. If neither exists, read from now on, up to the next snapshot.
    """
    end = await last_id(redis, key)
    hashed = await _hashed(redis, keys, key, stream, end) if stream.channel is Channel.BOOK else None
    if end == "0-0":
        return StartPoint(_after(end))
    floor = f"({hashed.id}" if hashed else "-"
    ceiling = "+"
    while True:
        page: Any = await redis.xrevrange(key, ceiling, floor, count=_PAGE)
        for entry_id, fields in page:
            if fields.get("type") == "snapshot":
                ms, seq = split_id(entry_id)
                return StartPoint(Cursor(f"{ms}-{seq - 1}", seq) if seq else Cursor(f"{ms - 1}", None))
        if len(page) < _PAGE:
            break
        ceiling = f"({page[-1][0]}"
    if hashed:
        return StartPoint(Cursor(hashed.id, hashed.seq + 1), hashed)
    return StartPoint(_after(end))


async def _hashed(redis: Redis, keys: Keys, key: str, stream: StreamKey, end: str) -> Entry | None:
    """The book of the late-join hash, if nothing is missing between it and what the stream still holds."""
    try:
        fields: Any = await redis.hgetall(keys.snapshot(stream.exchange, stream.subject))
    except exceptions.ResponseError as error:
        if not is_wrong_type(error):
            raise
        return None  # not a hash: use the snapshots in the stream
    try:
        entry_id = fields["id"]
        ms, seq = split_id(entry_id)
        event = BookSnapshot(
            stream.subject,
            None,
            int(fields["recv"]),
            fields["xseq"],
            parse_levels(fields["bids"]),
            parse_levels(fields["asks"]),
        )
        Book().replace(event.bids, event.asks)  # a book that cannot be kept is worth less than the stream
    except (KeyError, ValueError):
        return None
    if (ms, seq) > split_id(end):
        return None
    # Contiguous if the stream still has the hash's own entry or the next one, or ends at it.
    next_left: Any = await redis.xrange(key, entry_id, "+", count=1)
    next_seq = split_id(next_left[0][0])[1] if next_left else None
    joined = next_left[0][0] == entry_id or next_seq == seq + 1 if next_left else end == entry_id
    return Entry(key, stream, entry_id, seq, event) if joined else None
