"""After a (re)connect: who may write, how far the streams are in Redis, and what has to go again.

Entries that were on their way when the connection broke are looked for. Those that are there count as accepted; the others
wait again in their old places, and keep their IDs: a connection that was given up may still have them on their way, and
whichever comes first, Redis refuses the other. Entries that were acknowledged and are gone (a failover, a restart without
its last second) go in again under their IDs, as far back as they are remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import hiredis
from msgspec import Struct

from bridge.errors import DisplacedError
from bridge.publish.batch import History, Run, command_of, flat
from bridge.publish.connection import RedisConnection, Reply
from bridge.publish.fence import Fence, FenceState
from bridge.publish.pending import Pending
from bridge.publish.sorting import DOUBTFUL, TOO_SMALL, Verdict, concerns_server, in_parts, last_ids, sort_out, standing
from bridge.publish.stream import Stream, StreamId
from bridge.publish.transfer import EXEC, MULTI
from bridge.publish.wire import command

__all__ = ["Recovered", "open_fence", "recover", "transact"]

_FIRST_AT_ONCE = 8


class Recovered(Struct):
    """What was done after a reconnect."""

    resent: int = 0
    """Entries that Redis had forgotten and has again, and those that had not arrived and are about to go."""
    verdict: Verdict | None = None
    """What became of the entries that were on their way."""


async def open_fence(connection: RedisConnection, fence: Fence) -> None:
    """Watch the fence and make sure that it is ours, so that the next transaction is guarded by it.

    Raises:
        DisplacedError: it holds another token.
        ConnectionError: the connection broke, or Redis refuses the question.
    """
    for _ in range(2):
        _, reply = await connection.request(fence.watch)
        state = check(connection, fence, reply)
        if state is FenceState.OURS:
            return
        # Redis was emptied. Whoever sets it first has it: the exchange is guarded by the WATCH.
        await connection.request(fence.restore)
    connection.abort("the fence can't be set")
    raise ConnectionError(f"the fence {fence.key} can't be set")


def check(connection: RedisConnection, fence: Fence, reply: object) -> FenceState:
    """`OURS`, or `MISSING`.

    Raises:
        DisplacedError: it holds another token.
        ConnectionError: Redis doesn't let us read it.
    """
    state = fence.judge(reply)
    if state is FenceState.FOREIGN:
        raise DisplacedError(fence.connector)
    if state is FenceState.UNREADABLE:
        connection.abort("the fence can't be read")
        raise ConnectionError(f"the fence {fence.key} can't be read: {reply}")
    return state


async def transact(
    connection: RedisConnection, fence: Fence | None, commands: Sequence[str]
) -> list[Reply] | hiredis.ReplyError:
    """Have commands applied all together, behind the fence; returns their replies, or why none was applied.

    Raises:
        DisplacedError: another process has taken this one's place; nothing was applied.
        ConnectionError: the connection broke, or the fence is gone.
    """
    watch = fence.watch if fence else []
    replies = await connection.request([MULTI, *commands, EXEC, *watch])
    if fence and check(connection, fence, replies[-1]) is FenceState.MISSING:
        connection.abort("Redis has lost the fence")
        raise ConnectionError("Redis has lost the fence")
    result = replies[len(commands) + 1]
    if isinstance(result, list):
        return result
    refusals = (reply for reply in replies if isinstance(reply, hiredis.ReplyError))
    return next(refusals, hiredis.ReplyError("EXECABORT the transaction was not applied"))


async def recover(
    connection: RedisConnection,
    streams: Sequence[Stream],
    in_doubt: Sequence[Run],
    history: History,
    *,
    fence: Fence | None,
    missing: Counter[Stream],
    emptied: bool = False,
) -> Recovered:
    """Bring Redis up to where the streams are, and see what became of the entries that are in doubt.

    ``missing`` takes, per stream, the acknowledged entries that Redis has lost and nobody remembers; each is counted once,
    whatever happens to the connection. ``emptied``: Redis was flushed while entries went in, so that a stream may lack its
    beginning and not its end.

    Raises:
        DisplacedError: another process has taken this one's place.
        ConnectionError: the connection broke again; this can be called again.
    """
    result = Recovered()
    tails = await last_ids(connection, streams)
    if emptied:
        await _look_at_beginnings(connection, streams, missing)
    doubtful: dict[Stream, int] = {}
    for stream, entries, _ in in_doubt:
        doubtful[stream] = doubtful.get(stream, 0) + len(entries)
    behind = {
        stream: last.seq
        for stream, last in tails.items()
        if last.seq < stream.seq - doubtful.get(stream, 0) and last.ms <= stream.ms
    }
    again = history.after(behind)
    _count_missing(behind, again, doubtful, missing)
    for stream in (*behind, *missing):
        stream.gone = None  # how long it has to be isn't known any more
    await _restore(connection, fence, again, result, missing)
    if in_doubt:
        above = {stream: tails.get(stream, StreamId()) for stream in doubtful}
        replies = [
            DOUBTFUL if StreamId(entry.ms, entry.seq) <= above[stream] else None for stream, entry in flat(in_doubt)
        ]
        result.verdict = await sort_out(connection, in_doubt, replies)
        result.resent += sum(len(entries) for _, entries, _ in result.verdict.again)
    return result


async def _look_at_beginnings(connection: RedisConnection, streams: Sequence[Stream], missing: Counter[Stream]) -> None:
    for start in range(0, len(streams), _FIRST_AT_ONCE):
        some = streams[start : start + _FIRST_AT_ONCE]
        replies = await connection.request([command("XRANGE", s.key, "-", "+", "COUNT", 1) for s in some])
        for stream, reply in zip(some, replies, strict=True):
            if isinstance(reply, list) and reply:
                [[ident, _]] = reply
                first = StreamId.parse(ident)
                missing[stream] += stream.write_off(stream.oldest.seq, first.seq)
                if first.seq > stream.oldest.seq:
                    stream.oldest = first


def _count_missing(
    behind: Mapping[Stream, int], again: Sequence[Run], doubtful: Mapping[Stream, int], missing: Counter[Stream]
) -> None:
    """Acknowledged entries between what Redis has and what is remembered are lost."""
    first = {stream: entries[0].seq for stream, entries, _ in again}
    for stream, last_seq in behind.items():
        begin = first.get(stream, stream.seq - doubtful.get(stream, 0) + 1)
        missing[stream] += stream.write_off(max(last_seq + 1, stream.oldest.seq), begin)
        if last_seq < stream.oldest.seq:
            stream.oldest = StreamId(stream.oldest.ms, begin)


async def _restore(
    connection: RedisConnection, fence: Fence | None, runs: Sequence[Run], result: Recovered, missing: Counter[Stream]
) -> None:
    """Send entries again that were acknowledged, stream by stream, and count those that don't get in."""
    for stream, entries, _ in runs:
        for some in in_parts((stream, entry) for entry in entries):
            replies = await transact(connection, fence, [command_of(stream, entry) for _, entry in some])
            if isinstance(replies, hiredis.ReplyError):
                text = str(replies)
                if concerns_server(text):
                    # Were later entries let in first, these never could be: better to wait until all can go.
                    connection.abort("the server can't take back what it has forgotten")
                    raise ConnectionError(f"entries that Redis has forgotten are refused: {text}")
                replies = [replies] * len(some)
            result.resent += len(some)
            missing[stream] += await _count_refused(connection, some, replies)


async def _count_refused(
    connection: RedisConnection, pairs: Sequence[tuple[Stream, Pending]], replies: Sequence[Reply]
) -> int:
    """How many of the entries are not in Redis, though they were sent again."""
    doubtful: list[tuple[Stream, Pending]] = []
    lost = 0
    for pair, reply in zip(pairs, replies, strict=True):
        if isinstance(reply, hiredis.ReplyError):
            if TOO_SMALL in str(reply):
                doubtful.append(pair)
            else:
                lost += 1
    return lost + (await standing(connection, doubtful)).count(False)
