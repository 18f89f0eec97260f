"""Opening streams: where each one stands in Redis, and what its newest entries were."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bridge.entries import UnknownKindError, decode
from bridge.errors import RedisUnavailableError
from bridge.keys import Keys, StreamKey
from bridge.model import Channel, Event
from bridge.publish.stream import Stream, StreamId

__all__ = ["open_stream"]

_TAIL = {
    Channel.TRADES: 2_000,
    Channel.FILLS: 2_000,
    Channel.ORDERS: 2_000,
    Channel.BALANCES: 500,
    Channel.POSITIONS: 500,
}
"""How many of the newest entries are read, to recognise what an exchange repeats."""
_TAIL_ELSEWHERE = 20
_TAIL_BOOK = 1
_TAIL_FOREIGN = 200
"""How many are read where the newest ones are not ours, to find where our numbering stands."""


async def open_stream(client: Redis, keys: Keys, stream: Stream, address: str) -> list[Event]:
    """Set the stream to go on where Redis has it.

    Args:
        client: decodes responses to text.
        keys: of the namespace the stream is in.
        stream: gets its numbering.
        address: Redis's, for messages.

    Returns:
        The stream's newest events, oldest first; entries that are not ours are left out.

    Raises:
        RedisUnavailableError: the key is not a stream, or this user may not read it.
    """
    now_ms = time.time_ns() // 1_000_000
    count = _TAIL_BOOK if stream.is_book else _TAIL.get(stream.channel, _TAIL_ELSEWHERE)
    info: dict[str, Any]
    rows: list[tuple[str, dict[str, str]]]
    parsed = keys.parse(stream.key)
    try:
        info = await client.xinfo_stream(stream.key)
        rows = await client.xrevrange(stream.key, count=count)  # type: ignore[assignment]
        if len(rows) == count < _TAIL_FOREIGN and not any(_event(parsed, fields) for _, fields in rows):
            rows = await client.xrevrange(stream.key, count=_TAIL_FOREIGN)  # type: ignore[assignment]
    except ResponseError as error:
        if "no such key" in str(error):
            stream.resume(StreamId(), StreamId(now_ms, 1))
            stream.gone = 0
            return []
        raise RedisUnavailableError(address, f"{stream.key}: {error}") from None
    events: list[Event] = []
    newest_ours: StreamId | None = None
    for ident, fields in rows:
        event = _event(parsed, fields)
        if event is not None:
            events.append(event)
        if event is not None or _of_another_version(parsed, ident, fields):
            newest_ours = newest_ours or StreamId.parse(ident)
    last = StreamId.parse(info["last-generated-id"])
    first = info.get("first-entry")
    oldest = StreamId.parse(first[0]) if first else StreamId(now_ms, last.seq + 1)
    if rows and newest_ours and newest_ours != last and StreamId.parse(rows[0][0]) == last:
        # Somebody else has written the newest entry: our count goes on behind it.
        last = StreamId(last.ms + (last.seq > newest_ours.seq), newest_ours.seq)
    stream.resume(last, oldest)
    stream.gone = last.seq - int(info["length"])
    events.reverse()
    return events


def _of_another_version(parsed: StreamKey | None, ident: str, fields: dict[str, str]) -> bool:
    """Whether this is a connector's entry, of a type that this version doesn't know; it is numbered as ours are."""
    if parsed is None or StreamId.parse(ident).seq == 0 or not {"ts", "recv"} <= fields.keys():
        return False
    try:
        decode(parsed, [text for pair in fields.items() for text in pair])
    except UnknownKindError:
        return True
    except ValueError:
        pass
    return False


def _event(parsed: StreamKey | None, fields: dict[str, str]) -> Event | None:
    if parsed is None:
        return None
    try:
        return decode(parsed, [text for pair in fields.items() for text in pair])
    except ValueError:
        return None
