"""What became of entries that Redis has not simply taken: they stand there, go again, or are lost.

The rules: an entry that is in Redis under its ID with its content was accepted, whatever the reply said. An entry that was
not accepted goes again, unless a later one of its stream is in already: then its place is closed for good, and a `lost` entry
declares it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import hiredis
from msgspec import Struct, field

from bridge.publish.batch import Run, flat, grouped
from bridge.publish.connection import RedisConnection, Reply
from bridge.publish.pending import CONTROL, Lost, Pending
from bridge.publish.stream import Stream, StreamId
from bridge.publish.wire import command

__all__ = [
    "DOUBTFUL",
    "RECONNECT",
    "TOO_SMALL",
    "Verdict",
    "concerns_server",
    "in_parts",
    "last_ids",
    "sort_out",
    "standing",
]

TOO_SMALL = "equal or smaller than the target stream top item"
"""In the refusal of an entry whose ID is not above the stream's last."""
DOUBTFUL = hiredis.ReplyError(f"ERR The ID specified in XADD is {TOO_SMALL}")
"""Stands for the reply of an entry of which only this much is known."""
RECONNECT = ("READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "NOAUTH")
"""Refusals after which another server, or another connection, is the one to ask."""
_OF_THE_SERVER = (
    *RECONNECT, "OOM", "MISCONF", "LOADING", "NOREPLICAS", "BUSY", "TRYAGAIN", "ASK", "EXECABORT",
)  # fmt: skip
"""Refusals that concern the whole server; all others concern one stream, or one entry of it."""
_AT_ONCE = 256 * 1024
"""Bytes of entries that are read back, or sent again, in one request."""
_TAILS_AT_ONCE = 8
"""Streams whose last entry is read in one request: for a book it may be a snapshot of a megabyte."""


class Verdict(Struct):
    """The outcome of a batch of which something was not accepted."""

    accepted: list[Run] = field(default_factory=list)
    again: list[Run] = field(default_factory=list)
    """To be sent again, in order."""
    holes: dict[Stream, tuple[int, int]] = field(default_factory=dict)
    """Per stream, what is lost because its place is closed: what it counts for in the budget, and the number of events."""
    confirmed: int = 0
    """Entries that were refused because they were there already."""
    server: list[str] = field(default_factory=list)
    """What the server says that concerns all streams, each text once."""
    blocked: dict[Stream, tuple[str, Pending]] = field(default_factory=dict)
    """Streams that are refused, or an entry of theirs: with what words, and the first such entry."""
    foreign: set[Stream] = field(default_factory=set)
    """Streams that somebody else has written to."""


def concerns_server(text: str) -> bool:
    """Whether a refusal concerns the whole server."""
    return text.startswith(_OF_THE_SERVER)


async def sort_out(
    connection: RedisConnection, runs: Sequence[Run], replies: Sequence[Reply], cause: str = ""
) -> Verdict:
    """Say for each entry whether it is in Redis, goes again, or is lost.

    ``replies``: one for each entry; ``None`` where the command was not applied, for a reason that another reply gives, or
    ``cause``. The numbering of each stream is set back to its last accepted entry.

    Raises:
        ConnectionError: the connection broke; nothing is changed.
    """
    pairs = list(flat(runs))
    refusals: dict[int, str] = {}
    doubtful: list[int] = []
    for index, reply in enumerate(replies):
        if reply is None:
            refusals[index] = ""
        elif isinstance(reply, hiredis.ReplyError):
            if TOO_SMALL in str(reply):
                doubtful.append(index)
            else:
                refusals[index] = str(reply)
    verdict = Verdict()
    stand = await standing(connection, [pairs[index] for index in doubtful])
    for index, stands in zip(doubtful, stand, strict=True):
        if stands:
            verdict.confirmed += 1
        else:
            refusals[index] = ""
            verdict.foreign.add(pairs[index][0])
    tails = await last_ids(connection, list(verdict.foreign))
    # All questions are answered: from here on nothing can fail halfway.
    _split(pairs, refusals, verdict)
    for stream, last in tails.items():
        _step_over(stream, last)
    for stream in (*verdict.foreign, *verdict.holes):
        stream.gone = None
    _classify(pairs, refusals, verdict, cause)
    return verdict


def _split(pairs: Sequence[tuple[Stream, Pending]], refusals: dict[int, str], verdict: Verdict) -> None:
    """Sort the entries, and set each stream's numbering back to its last accepted entry."""
    accepted: list[tuple[Stream, Pending]] = []
    again: list[tuple[Stream, Pending]] = []
    accepted_later: set[Stream] = set()
    set_back: dict[Stream, StreamId] = {}
    holes: dict[Stream, list[int]] = {}
    for index, pair in reversed(list(enumerate(pairs))):
        stream, entry = pair
        if index not in refusals:
            accepted_later.add(stream)
            accepted.append(pair)
        elif stream in accepted_later:
            hole = holes.setdefault(stream, [0, 0])
            hole[0] += entry.weight
            hole[1] += _events(entry)
            _uncount(stream, entry)
        else:
            again.append(pair)
            set_back[stream] = StreamId(entry.ms, entry.seq - 1)
    verdict.accepted = grouped(reversed(accepted))
    verdict.again = grouped(reversed(again))
    verdict.holes = {stream: (size, events) for stream, (size, events) in holes.items()}
    for stream, last in set_back.items():
        stream.set_back(last)


def _events(entry: Pending) -> int:
    return entry.count if isinstance(entry, Lost) else int(entry.kind < CONTROL)


def _uncount(stream: Stream, entry: Pending) -> None:
    """An entry will never be acknowledged."""
    stream.flying -= 1
    if entry.kind >= CONTROL:
        stream.controls -= 1
        stream.declared -= _events(entry)


def _classify(pairs: Sequence[tuple[Stream, Pending]], refusals: dict[int, str], verdict: Verdict, cause: str) -> None:
    """Whom the refusals concern."""
    first: dict[Stream, tuple[str, Pending]] = {}
    for index, text in sorted(refusals.items()):
        if text:
            stream, entry = pairs[index]
            first.setdefault(stream, (text, entry))
    texts = {text for text, _ in first.values()}
    server = {text for text in texts if concerns_server(text)}
    if cause:
        server.add(cause)
    if not server and len(texts) == 1 and 1 < len(first) == len({stream for stream, _ in pairs}):
        # The same words for every stream: whatever they mean, they concern the server.
        server = texts
    verdict.server = sorted(server)
    if not server:
        verdict.blocked = {s: case for s, case in first.items() if s not in verdict.holes}


async def standing(connection: RedisConnection, pairs: Sequence[tuple[Stream, Pending]]) -> list[bool]:
    """Whether each entry is in Redis, under its ID and with its content, or was there until it was trimmed.

    Raises:
        ConnectionError: the connection broke.
    """
    found: list[bool] = []
    for some in in_parts(pairs):
        texts = [command("XRANGE", s.key, f"{e.ms}-{e.seq}", f"{e.ms}-{e.seq}") for s, e in some]
        replies = await connection.request(texts)
        found += [_is_ours(stream, entry, reply) for (stream, entry), reply in zip(some, replies, strict=True)]
    return found


def in_parts(pairs: Iterable[tuple[Stream, Pending]]) -> Iterator[list[tuple[Stream, Pending]]]:
    """Entries, in order, in as many parts as requests are needed."""
    some: list[tuple[Stream, Pending]] = []
    size = 0
    for stream, entry in pairs:
        some.append((stream, entry))
        size += entry.weight
        if size >= _AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _is_ours(stream: Stream, entry: Pending, reply: Reply) -> bool:
    if not isinstance(reply, list) or not reply:
        return stream.was_trimmed(entry.ms, entry.seq)
    [[_, fields]] = reply
    return _body(fields) == entry.body


def _body(fields: Sequence[bytes]) -> str:
    return "".join(f"${len(text)}\r\n{text.decode('latin-1')}\r\n" for text in fields)


async def last_ids(connection: RedisConnection, streams: Sequence[Stream]) -> dict[Stream, StreamId]:
    """The last ID of each stream: of its last entry, or of the last one it had, where it is empty; ``0-0`` where there is none.

    ``XINFO STREAM`` alone would say it too, but its reply holds the stream's first entry and its last one as a whole. A key
    that this user may not read, or that is no stream, is left out: the next entry will tell.

    Raises:
        ConnectionError: the connection broke, or the server can't tell yet: entries that were let in later would close the
            holes of those that are missing.
    """
    found: dict[Stream, StreamId] = {}
    empty: list[Stream] = []
    for start in range(0, len(streams), _TAILS_AT_ONCE):
        some = streams[start : start + _TAILS_AT_ONCE]
        replies = await connection.request([command("XREVRANGE", s.key, "+", "-", "COUNT", 1) for s in some])
        for stream, reply in zip(some, replies, strict=True):
            _must_tell(connection, reply)
            if isinstance(reply, list):
                if reply:
                    [[ident, _]] = reply
                    found[stream] = StreamId.parse(ident)
                else:
                    empty.append(stream)
    # Of an empty stream the answer is short.
    replies = await connection.request([command("XINFO", "STREAM", stream.key) for stream in empty])
    for stream, reply in zip(empty, replies, strict=True):
        _must_tell(connection, reply)
        if isinstance(reply, list):
            found[stream] = StreamId.parse(reply[reply.index(b"last-generated-id") + 1])
        elif "no such key" in str(reply):
            found[stream] = StreamId()
    return found


def _must_tell(connection: RedisConnection, reply: Reply) -> None:
    if isinstance(reply, hiredis.ReplyError) and concerns_server(str(reply)):
        connection.abort("the server can't tell how far the streams are")
        raise ConnectionError(f"it can't be asked how far the streams are: {reply}")


def _step_over(stream: Stream, last: StreamId) -> None:
    """Let the stream's next ID lie above what somebody else has written there; ``seq`` goes on."""
    stream.ms = max(stream.ms, last.ms + (last.seq > stream.seq))
    stream.conflicts += 1
