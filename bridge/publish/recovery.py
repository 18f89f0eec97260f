"""What to do when Redis refused something, or came back after it was away.

The rules: an entry that stands in Redis under its ID with its content was accepted, whatever the reply said. An entry
that was refused goes in again, unless a later one of its stream is in already: then its place is closed for good, and a
`lost` entry declares it. Entries that were acknowledged and are gone (a failover, a restart without its last second)
go in again under their IDs, as far back as they are remembered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import hiredis
from msgspec import Struct, field

from bridge.publish.buffer import CONTROL, Pending
from bridge.publish.line import Line, Reply
from bridge.publish.stream import Stream, StreamId
from bridge.publish.wire import command

__all__ = ["Batch", "History", "Recovered", "Refusal", "recover", "sort_out"]

_TOO_SMALL = "equal or smaller than the target stream top item"
_NO_KEY = "no such key"
_OF_THE_STREAM = ("WRONGTYPE", "NOPERM")
"""Refusals that concern one key; all others concern the whole server."""
_RECONNECT = ("READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "NOAUTH")
_NO_ANSWER = (*_RECONNECT, "LOADING", "TRYAGAIN", "ASK")
"""Replies that don't tell where a stream stands, and may be others in a moment."""
_HISTORY_BYTES = 4 * 1024 * 1024


class Batch(Struct):
    """A pipeline: the entries, the commands (first one per entry, then trimming, time, looks), and the loop's time of sending."""

    entries: list[Pending]
    commands: list[str]
    sent: float
    trims: list[Stream] = field(default_factory=list)
    """Whose streams the trimming is."""
    looks: list[tuple[Stream, int]] = field(default_factory=list)
    """Streams whose length is asked for, and the number that each is at by then."""
    asked_time: int = 0
    """When Redis' time is asked for with it (ns); 0: it isn't."""

    def add_trimming(self, stream: Stream, commands: list[str]) -> None:
        """Behind the entries."""
        self.trims += [stream] * len(commands)
        self.commands += commands

    def add_look(self, stream: Stream) -> None:
        """Behind all else; of a stream at the number that it is at now."""
        self.looks.append((stream, stream.seq))
        self.commands.append(command("XLEN", stream.key))

    def ask_time(self, now: int) -> None:
        """Behind the trimming, before the looks."""
        self.asked_time = now
        self.commands.append(command("TIME"))

    def time_of(self, replies: list[Reply]) -> Reply:
        """The reply to the question for the time."""
        return replies[len(self.commands) - len(self.looks) - 1]

    def without_looks(self, replies: list[Reply]) -> list[Reply]:
        """The replies to the entries and the trimming."""
        beside = len(self.looks) + bool(self.asked_time)
        return replies[: len(replies) - beside] if beside else replies

    def only(self, entries: Iterable[Pending]) -> Batch:
        """The batch with these of its entries only, and without the trimming and the looks."""
        wanted = set(map(id, entries))
        for stream in self.trims:
            stream.gone = None  # how much it trims isn't heard
        pairs = [pair for pair in zip(self.entries, self.commands, strict=False) if id(pair[0]) in wanted]
        return Batch([entry for entry, _ in pairs], [text for _, text in pairs], self.sent)


class History:
    """The newest acknowledged batches, for a server that forgets; bounded by bytes."""

    def __init__(self, most: int = _HISTORY_BYTES) -> None:
        self._batches: deque[tuple[int, Batch]] = deque()
        self._most = most
        self._bytes = 0

    def add(self, batch: Batch) -> None:
        """Remember an acknowledged batch."""
        size = sum(map(len, batch.commands))
        self._batches.append((size, batch))
        self._bytes += size
        while self._bytes > self._most and len(self._batches) > 1:
            self._bytes -= self._batches.popleft()[0]

    def after(self, last: dict[Stream, int]) -> Batch:
        """The remembered entries of these streams with a ``seq`` above the given one, in order."""
        found = Batch([], [], 0.0)
        for _, batch in self._batches:
            for entry, text in zip(batch.entries, batch.commands, strict=False):
                if entry.seq > last.get(entry.stream, entry.seq):
                    found.entries.append(entry)
                    found.commands.append(text)
        return found


class Refusal(Struct):
    """The outcome of a batch of which something was refused."""

    accepted: list[Pending] = field(default_factory=list)
    again: list[Pending] = field(default_factory=list)
    """To be sent again with new numbers, in order."""
    holes: dict[Stream, int] = field(default_factory=dict)
    """Per stream, the events whose place is closed."""
    weight: dict[Stream, int] = field(default_factory=dict)
    """What those events counted for in the buffer's budget."""
    messages: list[str] = field(default_factory=list)
    """What the server said, each once."""
    confirmed: int = 0
    """Entries that were refused because they stood there already."""
    reconnect: bool = False
    foreign: set[Stream] = field(default_factory=set)
    """Streams that somebody else has written to."""


class Recovered(Struct):
    """What was done after a reconnect."""

    resent: int = 0
    missing: dict[Stream, int] = field(default_factory=dict)
    """Per stream, acknowledged entries that the server has lost and nobody remembers."""
    refusal: Refusal | None = None


async def recover(
    line: Line, streams: Sequence[Stream], in_flight: Batch | None, history: History, *, emptied: bool = False
) -> Recovered:
    """Bring the server up to where the streams stand.

    ``emptied``: it was flushed while entries went in, so that a stream may lack its beginning and not its end.

    Raises:
        ConnectionError: the connection broke again; nothing is changed, and this can be called anew.
    """
    result = Recovered()
    unacknowledged: dict[Stream, int] = {}
    for entry in in_flight.entries if in_flight else ():
        unacknowledged[entry.stream] = unacknowledged.get(entry.stream, 0) + 1
    replies = await line.request([command("XINFO", "STREAM", stream.key) for stream in streams])
    behind: dict[Stream, int] = {}
    _must_tell(line, replies)
    for stream, reply in zip(streams, replies, strict=True):
        if isinstance(reply, hiredis.ReplyError) and _NO_KEY not in str(reply):
            continue  # no stream any more, or not ours to see: the next entry will tell
        last = last_id(reply)
        if emptied and (first_left := _first_id(reply)) is not None and first_left.seq > stream.oldest.seq:
            result.missing[stream] = first_left.seq - stream.oldest.seq
            stream.oldest = first_left
        acknowledged = stream.seq - unacknowledged.get(stream, 0)
        if last.seq < acknowledged and last.ms <= stream.ms:
            behind[stream] = last.seq
    again = history.after(behind)
    first: dict[Stream, int] = {}
    for entry in again.entries:
        first.setdefault(entry.stream, entry.seq)
    for stream, last_seq in behind.items():
        acknowledged = stream.seq - unacknowledged.get(stream, 0)
        gone = first.get(stream, acknowledged + 1) - 1 - max(last_seq, stream.oldest.seq - 1)
        if gone > 0:
            result.missing[stream] = gone
        if last_seq < stream.oldest.seq:
            stream.oldest = StreamId(stream.oldest.ms, first.get(stream, acknowledged + 1))
    await _restore(line, again, result)
    # Of these it isn't known any more how long they have to be.
    for stream in (*behind, *result.missing, *(in_flight.trims if in_flight else ())):
        stream.gone = None
    if in_flight:
        replies = await line.request(in_flight.commands)
        result.resent += len(in_flight.entries)
        result.refusal = await sort_out(line, in_flight, replies)
    return result


def _must_tell(line: Line, replies: Sequence[Reply]) -> None:
    """Go no further without knowing where the streams stand: entries that are let in later would close their holes.

    Raises:
        ConnectionError: the server (a node that is just taking over, say) can't tell yet.
    """
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_NO_ANSWER):
            line.abort("the server can't tell where the streams stand")
            raise ConnectionError(f"it can't be asked where the streams stand: {reply}")


async def _restore(line: Line, again: Batch, result: Recovered) -> None:
    """Send entries again that were acknowledged, and count those that don't get in."""
    replies = await line.request(again.commands)
    result.resent = len(replies)
    doubtful: list[Pending] = []
    for entry, reply in zip(again.entries, replies, strict=True):
        if not isinstance(reply, hiredis.ReplyError):
            continue
        text = str(reply)
        if _TOO_SMALL in text:
            doubtful.append(entry)
        elif text.startswith(_OF_THE_STREAM):
            result.missing[entry.stream] = result.missing.get(entry.stream, 0) + 1
        else:
            # Were later entries let in first, these never could be: better to wait until all can go.
            line.abort("the server can't take back what it has forgotten")
            raise ConnectionError(f"entries that Redis has forgotten are refused: {text}")
    for entry, stands in zip(doubtful, await _standing(line, doubtful), strict=True):
        if not stands:
            result.missing[entry.stream] = result.missing.get(entry.stream, 0) + 1


async def sort_out(line: Line, batch: Batch, replies: list[Reply]) -> Refusal:
    """Tell for each entry of a batch whether it stands in Redis, goes again, or is lost.

    Raises:
        ConnectionError: the connection broke; nothing is changed.
    """
    result = Refusal()
    refused: dict[int, str] = {}
    doubtful: list[int] = []
    for index, reply in enumerate(replies[: len(batch.entries)]):
        if isinstance(reply, hiredis.ReplyError):
            text = str(reply)
            if _TOO_SMALL in text:
                doubtful.append(index)
            else:
                refused[index] = text
    standing = await _standing(line, [batch.entries[index] for index in doubtful])
    for index, stands in zip(doubtful, standing, strict=True):
        if stands:
            result.confirmed += 1
        else:
            refused[index] = f"{batch.entries[index].stream.key}: somebody else writes to this stream"
    foreign = {batch.entries[index].stream for index in doubtful if index in refused}
    last_ids = await _last_ids(line, foreign)
    # All questions are answered: from here on nothing can fail halfway.
    _split(batch, refused, result)
    _step_over(last_ids)
    result.foreign = foreign
    for stream in (*foreign, *result.holes):
        stream.gone = None
    result.messages = sorted(set(refused.values()))
    result.reconnect = any(text.startswith(_RECONNECT) for text in refused.values())
    return result


def _split(batch: Batch, refused: dict[int, str], result: Refusal) -> None:
    """Sort the entries, and set each stream's numbering back to its last accepted entry."""
    accepted_later: set[Stream] = set()
    set_back: dict[Stream, StreamId] = {}
    for index in range(len(batch.entries) - 1, -1, -1):
        entry = batch.entries[index]
        stream = entry.stream
        if index not in refused:
            accepted_later.add(stream)
            result.accepted.append(entry)
        elif stream in accepted_later:
            count = entry.lost or int(entry.kind != CONTROL)
            result.holes[stream] = result.holes.get(stream, 0) + count
            result.weight[stream] = result.weight.get(stream, 0) + entry.weight
        else:
            result.again.append(entry)
            set_back[stream] = StreamId(entry.ms, entry.seq - 1)
            if refused[index].startswith(_OF_THE_STREAM):
                stream.blocked = refused[index]
    result.accepted.reverse()
    result.again.reverse()
    for stream, last in set_back.items():
        stream.set_back(last)


async def _standing(line: Line, entries: list[Pending]) -> list[bool]:
    """Whether each entry stands in Redis, under its ID and with its content, or stood there until it was trimmed."""
    commands = [command("XRANGE", e.stream.key, f"{e.ms}-{e.seq}", f"{e.ms}-{e.seq}") for e in entries]
    replies = await line.request(commands)
    return [_is_ours(entry, reply) for entry, reply in zip(entries, replies, strict=True)]


def _is_ours(entry: Pending, reply: Reply) -> bool:
    if not isinstance(reply, list) or not reply:
        return entry.stream.was_trimmed(entry.ms, entry.seq)
    fields = reply[0][1]
    return _body(fields) == entry.body


def _body(fields: Sequence[bytes]) -> str:
    return "".join(f"${len(text)}\r\n{text.decode('latin-1')}\r\n" for text in fields)


async def _last_ids(line: Line, streams: set[Stream]) -> dict[Stream, StreamId]:
    ordered = list(streams)
    replies = await line.request([command("XINFO", "STREAM", stream.key) for stream in ordered])
    return {stream: last_id(reply) for stream, reply in zip(ordered, replies, strict=True)}


def _step_over(last_ids: dict[Stream, StreamId]) -> None:
    """Let the next IDs of these streams lie above what somebody else has written there; ``seq`` goes on."""
    for stream, last in last_ids.items():
        stream.ms = max(stream.ms, last.ms + (last.seq > stream.seq))
        stream.conflicts += 1


def _first_id(reply: Reply) -> StreamId | None:
    """``first-entry``'s ID out of the answer to ``XINFO STREAM``; ``None`` where there is none."""
    if not isinstance(reply, list):
        return None
    entry = dict(zip(reply[::2], reply[1::2], strict=False)).get(b"first-entry")
    return StreamId.parse(entry[0]) if entry else None


def last_id(reply: Reply) -> StreamId:
    """``last-generated-id`` out of the answer to ``XINFO STREAM``; ``0-0`` for a stream that isn't there."""
    if isinstance(reply, list):
        fields = dict(zip(reply[::2], reply[1::2], strict=False))
        return StreamId.parse(fields[b"last-generated-id"])
    return StreamId()
