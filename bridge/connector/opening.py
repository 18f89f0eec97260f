"""Opening streams: where each one stands in Redis, and what its newest entries were."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from bridge.clock import CLOCK
from bridge.entries import UnknownKindError, decode
from bridge.errors import RedisUnavailableError
from bridge.keys import Keys, StreamKey
from bridge.model import Channel, ControlEvent, Event, Fill
from bridge.publish.stream import Stream, StreamId

__all__ = ["Tail", "continue_stream", "open_stream"]

Row = tuple[str, dict[str, str]]
"""An entry's ID, and its fields."""

_TAIL = {
    Channel.TRADES: 2_000,
    Channel.FILLS: 2_000,
    Channel.ORDERS: 2_000,
    Channel.BALANCES: 500,
    Channel.POSITIONS: 500,
}
"""How many of the newest entries are read at least, to recognise what an exchange repeats."""
_PAGE = 1_000
_DAY = 24 * 3600 * 1_000
_BEFORE = 5 * 60 * 1_000
"""Milliseconds before the newest fill from which on all fills are read back: more than any history overlaps."""
_MOST_BACK = 50_000
"""Entries that are read back of a stream of fills; some 30 MB for a moment."""
_STANDING = {
    Channel.ORDERS: ("order_id", "status", frozenset({"filled", "cancelled", "rejected", ""})),
    Channel.POSITIONS: ("pair", "side", frozenset({""})),
}
"""What tells one order or position from another; and the field, with its values, that says that it is over."""
_MOST_STANDING = 50_000
_TAIL_ELSEWHERE = 20
_TAIL_BOOK = 1
_TAIL_LEFT = 100
"""How many are read at first of a stream that another connector has left."""
_TAIL_FOREIGN = 200
"""How many are read where the newest ones are not ours, to find where our numbering stands."""


class Tail(Struct, frozen=True):
    """What a stream holds already: ``events``, oldest first, and since when (ns) it has had no others.

    ``since`` is 0 where they go back to the stream's first entry. Open orders and positions from before are among them.
    ``times`` are those in the events' IDs (ms).
    """

    events: list[Event]
    since: int
    times: list[int] = []


async def open_stream(client: Redis, keys: Keys, stream: Stream, address: str) -> Tail:
    """Set the stream to go on where Redis has it.

    Args:
        client: decodes responses to text.
        keys: of the namespace the stream is in.
        stream: gets its numbering.
        address: Redis's, for messages.

    Returns:
        The stream's newest events; entries that are not ours are left out. Fills go back by time (`_read_back`), orders
        and positions to the oldest one that is open.

    Raises:
        RedisUnavailableError: the key is not a stream, or this user may not read it.
    """
    now_ms = CLOCK.now() // 1_000_000
    count = _TAIL_BOOK if stream.is_book else _TAIL.get(stream.channel, _TAIL_ELSEWHERE)
    parsed = keys.parse(stream.key)
    standing: list[Row] = []
    try:
        rows = await _newest(client, stream, parsed, count)
        if not rows:
            return await _resume_empty(client, stream)
        whole = len(rows) < count
        if stream.channel is Channel.FILLS and not whole:
            await _read_back(client, stream.key, parsed, rows, now_ms)
        if stream.channel in _STANDING and not whole:
            standing = await _standing(client, stream, rows[-1][0])
        return await _resume(client, stream, parsed, rows, standing)
    except ResponseError as error:
        raise RedisUnavailableError(address, f"{stream.key}: {error}") from None


async def continue_stream(
    client: Redis, keys: Keys, stream: Stream, address: str, *, back: int, since: int | None = None
) -> Tail:
    """Set the stream to go on where another connector has left it in Redis, as `open_stream` does.

    Returns:
        What the stream got in the last ``back`` ns before its newest entry, and from ``since`` (ns) on, by the IDs; of a book,
        what shows whether it is live.

    Raises:
        RedisUnavailableError: the key is not a stream, or this user may not read it.
    """
    parsed = keys.parse(stream.key)
    count = _TAIL_BOOK if stream.is_book else _TAIL_LEFT
    try:
        rows = await _newest(client, stream, parsed, count)
        if not rows:
            return await _resume_empty(client, stream)
        tail = rows[-1:]
        begin = _received(rows[0]) - back
        begin = begin if since is None else min(begin, since)
        while tail and len(rows) < _MOST_BACK and _goes_on(stream, tail[-1], begin):
            tail = await client.xrevrange(stream.key, max=f"({tail[-1][0]}", count=2 * len(rows))  # type: ignore[assignment]
            rows += tail
        return await _resume(client, stream, parsed, rows, [])
    except ResponseError as error:
        raise RedisUnavailableError(address, f"{stream.key}: {error}") from None


def _goes_on(stream: Stream, row: Row, since: int) -> bool:
    """Whether to read further back than this entry."""
    if stream.is_book:  # whose data says that it is live
        return row[1].get("event") in (ControlEvent.GAP, ControlEvent.LOST)
    return _received(row) >= since


def _received(row: Row) -> int:
    """When an entry's event was received (ns), by its ID: ``recv`` is by a clock that may have been set meanwhile."""
    return StreamId.parse(row[0]).ms * 1_000_000


async def _newest(client: Redis, stream: Stream, parsed: StreamKey | None, count: int) -> list[Row]:
    """The newest entries; more, where those are not ours."""
    rows: list[Row] = await client.xrevrange(stream.key, count=count)  # type: ignore[assignment]
    if len(rows) == count < _TAIL_FOREIGN and not any(_event(parsed, fields) for _, fields in rows):
        rows = await client.xrevrange(stream.key, count=_TAIL_FOREIGN)  # type: ignore[assignment]
    return rows


async def _resume(
    client: Redis, stream: Stream, parsed: StreamKey | None, rows: list[Row], standing: list[Row]
) -> Tail:
    """Set the stream to go on after the newest of these rows (newest first), and take their events."""
    length = int(await client.xlen(stream.key))
    first = await _first(client, stream, CLOCK.now() // 1_000_000)
    last, begun = StreamId.parse(rows[0][0]), StreamId.parse(rows[-1][0])
    events: list[Event] = []
    times: list[int] = []
    newest_ours: StreamId | None = None
    for ident, fields in [*rows, *standing]:
        event = _event(parsed, fields)
        if event is not None:
            events.append(event)
            times.append(StreamId.parse(ident).ms)
        if event is not None or _of_another_version(parsed, ident, fields):
            newest_ours = newest_ours or StreamId.parse(ident)
    if newest_ours and newest_ours != last:
        # Somebody else has written the newest entry: our count goes on behind it.
        last = StreamId(last.ms + (last.seq > newest_ours.seq), newest_ours.seq)
    stream.resume(last, first or StreamId(0, max(last.seq - length + 1, 1)))
    stream.gone = last.seq - length
    return Tail(events[::-1], 0 if begun.seq <= 1 else begun.ms * 1_000_000, times[::-1])


async def _resume_empty(client: Redis, stream: Stream) -> Tail:
    """Of an empty stream only ``XINFO STREAM`` says how far it was; the answer is short then."""
    try:
        info: dict[str, Any] = await client.xinfo_stream(stream.key)
    except ResponseError as error:
        if "no such key" not in str(error):
            raise
        last = StreamId()
    else:
        last = StreamId.parse(info["last-generated-id"])
    stream.resume(last, StreamId(0, last.seq + 1))
    stream.gone = last.seq
    return Tail([], 0 if last.seq <= 1 else last.ms * 1_000_000)


async def _first(client: Redis, stream: Stream, now_ms: int) -> StreamId | None:
    """The stream's first ID.

    A book begins with a full snapshot, which isn't read for that: ``None`` where nothing in it is older than twice its age
    limit. Its beginning then counts as new, so it may be cut by age later than it could be, by that limit at most.
    """
    until = str(max(now_ms - int(2000 * stream.retention.max_age), 0)) if stream.is_book else "+"
    rows: list[Row] = await client.xrange(stream.key, max=until, count=1)  # type: ignore[assignment]
    return StreamId.parse(rows[0][0]) if rows else None


async def _read_back(client: Redis, key: str, parsed: StreamKey | None, rows: list[Row], now_ms: int) -> None:
    """Add pages to the newest rows, until all fills are there that a history by REST may hold again.

    Such a history begins some time before the newest fill that is known, or a day ago; of an account that trades in two
    markets, one may have had none for long. What is further back than the bound isn't asked for (`Exchange.recall`).
    """
    newest = 0
    looked = 0
    while len(rows) < _MOST_BACK:
        for _, fields in rows[looked:]:
            event = _event(parsed, fields)
            if isinstance(event, Fill):
                newest = max(newest, min(event.recv if event.ts is None else event.ts, event.recv) // 1_000_000)
        looked = len(rows)
        oldest = StreamId.parse(rows[-1][0])
        if oldest.seq <= 1 or (newest and oldest.ms < min(newest, now_ms - _DAY) - _BEFORE):
            return
        page: list[Row] = await client.xrevrange(key, max=f"({oldest}", count=_PAGE)  # type: ignore[assignment]
        if not page:
            return
        rows += page


async def _standing(client: Redis, stream: Stream, before: str) -> list[Row]:
    """The newest entry of each order that is open, or position that is held, of those before an ID; newest first.

    The whole stream is read, in pages, because nothing else tells how old the oldest open order is; only what is open is
    kept of it.
    """
    key, name, over = _STANDING[stream.channel]
    found: dict[str, Row] = {}
    begin = "-"
    while True:
        page: list[Row] = await client.xrange(stream.key, min=begin, max=f"({before}", count=_PAGE)  # type: ignore[assignment]
        for row in page:
            ident = row[1].get(key, "")
            found.pop(ident, None)
            if ident and row[1].get(name, "") not in over:
                found[ident] = row
                if len(found) > _MOST_STANDING:
                    del found[next(iter(found))]
        if len(page) < _PAGE:
            return list(reversed(found.values()))
        begin = f"({page[-1][0]}"


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
