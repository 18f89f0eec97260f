"""Whether somebody else changes our streams: adds entries, deletes some, deletes the key, puts another thing in its place.

A stream's length tells. What was added to it is known, and what was trimmed, so its length is, too: it is asked for once
a second, in the pipeline with the entries, where it costs Redis next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import hiredis
from msgspec import Struct

from bridge.publish.connection import RedisConnection, Reply
from bridge.publish.stream import Stream, StreamId
from bridge.publish.wire import command

__all__ = ["Disturbance", "Watch", "count_trimmed", "examine"]

_MOST_LOOKS = 500
"""Streams that are looked at in one round; more take turns."""
_FLUSHED_AGAIN = 30.0
_EXAMINED_AT_ONCE = 8
"""Streams whose ends are read in one request: a book begins with a snapshot, which may be a megabyte."""

Looks = Sequence[tuple[Stream, int]]
"""Streams whose length was asked for, and the number that each was at."""


class Disturbance(Struct):
    """What somebody else did to a stream, in words, and how many entries are gone by it; no words: nothing that harms."""

    stream: Stream
    reason: str
    deleted: int = 0
    added: int = 0


class Watch:
    """Takes turns in looking at the streams, and judges what the looks say."""

    def __init__(self) -> None:
        self.rounds = 0
        """How often looks were answered."""
        self._turn = 0
        self._denied = False
        """Whether Redis doesn't let this user ask: then nothing is watched."""
        self._flushed = float("-inf")
        self._refused: set[Stream] = set()

    def next(self, streams: Sequence[Stream]) -> list[Stream]:
        """Whom to look at now."""
        if self._denied or not streams:
            return []
        start = self._turn % len(streams)
        self._turn = start + _MOST_LOOKS
        turn = [*streams[start : start + _MOST_LOOKS], *streams[: max(0, start + _MOST_LOOKS - len(streams))]]
        return [stream for stream in turn[: len(streams)] if not stream.blocked]

    def is_news(self, stream: Stream) -> bool:
        """Whether a stream was readable when it was looked at last."""
        known = stream in self._refused
        self._refused.add(stream)
        return not known

    def judge(self, looks: Looks, lengths: Sequence[Reply]) -> list[tuple[Stream, str]]:
        """Take the answers to a batch's looks, its trimming accounted for; returns the streams that aren't as we left them.

        With each: the refusal, where another thing is in the stream's place; else nothing.
        """
        self.rounds += bool(looks)
        changed = []
        for (stream, seq), reply in zip(looks, lengths, strict=True):
            if isinstance(reply, hiredis.ReplyError):
                self._denied = self._denied or str(reply).startswith("NOPERM")
                if str(reply).startswith("WRONGTYPE"):
                    changed.append((stream, str(reply)))
                continue
            self._refused.discard(stream)
            if isinstance(reply, int) and stream.gone is None:
                stream.gone = seq - reply
            elif reply != seq - (stream.gone or 0):
                changed.append((stream, ""))
        return changed

    def flushed(self, looks: Looks, lengths: Sequence[Reply], now: float) -> bool:
        """Whether all the streams that were looked at have shrunk at once: not somebody's single deed, as it seems.

        ``now`` in seconds; not said again at once, for if it was somebody, it would lead nowhere.
        """
        filled = [
            (seq - stream.gone, reply)
            for (stream, seq), reply in zip(looks, lengths, strict=True)
            if stream.gone is not None and seq > stream.gone and isinstance(reply, int)
        ]
        if len(filled) <= 1 or any(reply >= due for due, reply in filled) or now - self._flushed < _FLUSHED_AGAIN:
            return False
        self._flushed = now
        return True


def count_trimmed(trimmed: Iterable[tuple[Stream, Reply]]) -> None:
    """Count what was trimmed of which stream; how much isn't known where Redis didn't say."""
    for stream, reply in trimmed:
        if stream.gone is not None:
            stream.gone = stream.gone + reply if isinstance(reply, int) else None


async def examine(connection: RedisConnection, streams: Sequence[Stream]) -> list[Disturbance]:
    """See what became of streams that aren't as we left them; nothing of ours may be on its way.

    Their expected length, and the time of their next entry, are by what is there afterwards.

    Raises:
        ConnectionError: the connection broke.
    """
    found = []
    for start in range(0, len(streams), _EXAMINED_AT_ONCE):
        some = streams[start : start + _EXAMINED_AT_ONCE]
        asked = [
            text
            for stream in some
            for text in (
                command("XLEN", stream.key),
                command("XRANGE", stream.key, "-", "+", "COUNT", 1),
                command("XREVRANGE", stream.key, "+", "-", "COUNT", 1),
            )
        ]
        replies = await connection.request(asked)
        for stream, length, first, last in zip(some, replies[::3], replies[1::3], replies[2::3], strict=True):
            if isinstance(length, int) and isinstance(first, list) and isinstance(last, list):
                found.append(_compare(stream, length, first, last))
    return found


def _compare(stream: Stream, length: int, first: list[Reply], last: list[Reply]) -> Disturbance:
    ours = StreamId(stream.ms, stream.seq)
    expected = stream.seq - stream.gone if stream.gone is not None else length
    newest = _id_of(last[0]) if last else StreamId()
    oldest = _id_of(first[0]) if first else StreamId()
    stream.gone = stream.seq - length
    if newest > ours:
        # Our next entry has to lie above it.
        stream.ms = max(stream.ms, newest.ms + (newest.seq > stream.seq))
    if length > expected or newest > ours:
        added = max(length - expected, 1)
        return Disturbance(
            stream, f"somebody else wrote to this stream: {_entries(added)}, up to {newest}", added=added
        )
    deleted = expected - length
    rest = newest == ours and oldest.seq == stream.seq - length + 1
    if rest and not (stream.is_book and _field(first[0], b"type") != b"snapshot"):
        # Trimmed from its old end, as we do ourselves: readers see that as such, and nothing hangs in the air.
        stream.oldest = max(stream.oldest, oldest)
        return Disturbance(stream, "", deleted=deleted)
    return Disturbance(stream, f"somebody else deleted from this stream: {_entries(deleted)}", deleted=deleted)


def _entries(count: int) -> str:
    return f"{count} entr{'y' if count == 1 else 'ies'}"


def _id_of(entry: object) -> StreamId:
    assert isinstance(entry, list)
    return StreamId.parse(entry[0])


def _field(entry: object, name: bytes) -> bytes:
    assert isinstance(entry, list)
    fields = dict(zip(entry[1][::2], entry[1][1::2], strict=False))
    return bytes(fields.get(name, b""))
