"""Reads catalogs, heartbeats and the ends of streams.

One look costs a few commands, however many streams there are. The ends of streams are read only on request: an entry of
a book may be large.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from bridge.keys import Keys, StreamKey
from bridge.overview.rows import ConnectorRow, StreamRow, Tail, entry_of, state_of
from bridge.printable import LONGEST_CODE, cut
from bridge.redis.errors import AWAY, about, explain, is_wrong_type
from consumers.items import split_id

__all__ = ["WINDOW", "Overview"]

WINDOW = 10.0
"""Seconds over which rates are measured."""
_PAGE = 100
"""Streams whose ends are read at once."""
_LONGEST_ID = 45
_BEATS = 6
"""Heartbeats of which a rate is made."""


class _Beat(NamedTuple):
    instance: str
    at: int
    published: int


class Overview:
    """What is known of all streams and connectors of a namespace; ``redis`` decodes replies.

    ``now`` returns nanoseconds since the epoch.
    """

    def __init__(self, redis: Redis, keys: Keys, now: Callable[[], int] = time.time_ns) -> None:
        self._redis = redis
        self._keys = keys
        self._now = now
        self.streams: dict[str, StreamRow] = {}
        """By key, in the order of their names."""
        self.connectors: dict[str, ConnectorRow] = {}
        self.tails: dict[str, Tail] = {}
        self.rates: dict[str, float] = {}
        """By connector: entries that it publishes per second."""
        self.notes: list[str] = []
        """What could not be read, in words."""
        self._beats: dict[str, deque[_Beat]] = {}

    async def look(self) -> None:
        """Read the catalogs and the heartbeats.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        notes: list[str] = []
        entries = await self._entries(notes)
        names = dict.fromkeys(name for _, entry in entries.values() if (name := entry.get("connector")))
        beats, unreadable = await self._heartbeats(list(names), notes)
        standbys = await self._standbys(names)
        services = await self._services([entry for _, entry in entries.values()])
        streams = []
        for key, (stream, entry) in entries.items():
            name = entry.get("connector", "")
            beat = beats.get(name, {}) if name else services.get(entry.get("instance", ""), {})
            state = state_of(entry, None if name in unreadable else beat)
            streams.append(StreamRow(key, stream, state, name, entry))
        streams.sort(key=lambda row: row.name)
        exchanges = {row.connector: row.stream.exchange for row in streams if row.connector}
        self.streams = {row.key: row for row in streams}
        self.connectors = {
            name: ConnectorRow(
                name, exchanges[name], beats.get(name, {}), name not in unreadable, standbys.get(name, {})
            )
            for name in sorted(names)
        }
        self.tails = {key: tail for key, tail in self.tails.items() if key in self.streams}
        self._count(beats)
        self.notes = notes

    def _count(self, beats: dict[str, dict[str, str]]) -> None:
        """Compute rates out of the last heartbeats of each process."""
        self._beats = {name: self._beats.get(name) or deque(maxlen=_BEATS) for name in beats}
        self.rates = {}
        for name, fields in beats.items():
            known, beat = self._beats[name], _beat(fields)
            if beat is None:
                continue
            if known and known[-1].instance != beat.instance:
                known.clear()
            if not known or known[-1].at < beat.at:
                known.append(beat)
            seconds = (known[-1].at - known[0].at) / 1e9
            self.rates[name] = (known[-1].published - known[0].published) / seconds if seconds > 0 else 0.0

    async def look_at(self, keys: Iterable[str]) -> None:
        """Read the ends of these streams, a hundred at a time.

        Raises:
            redis.exceptions.RedisError, OSError: Redis does not answer.
        """
        wanted = list(keys)
        for start in range(0, len(wanted), _PAGE):
            page = wanted[start : start + _PAGE]
            since = self._now() // 1_000_000 - int(WINDOW * 1000)
            pipe = self._redis.pipeline(transaction=False)
            for key in page:
                # Not XINFO: it also returns the oldest entry, which for a book is a whole snapshot.
                pipe.xrevrange(key, count=1)
                pipe.xrange(key, min=str(since), count=1)
            answers: list[Any] = await pipe.execute(raise_on_error=False)
            for key, newest, first in zip(page, answers[::2], answers[1::2], strict=True):
                self.tails[key] = _tail(newest, first)

    def age(self, key: str) -> float | None:
        """Seconds since the last entry of a stream; ``None`` if it is unknown."""
        tail = self.tails.get(key)
        return max(0, self._now() // 1_000_000 - tail.ms) / 1000 if tail and tail.last_id else None

    async def _entries(self, notes: list[str]) -> dict[str, tuple[StreamKey, dict[str, str]]]:
        """Stream key → its parts, and what a catalog says of it."""
        public, accounts = self._keys.catalog(), self._keys.accounts_catalog()
        found: dict[str, tuple[StreamKey, dict[str, str]]] = {}
        for name in (public, accounts):
            try:
                with about(name):
                    said: Any = await self._redis.hgetall(name)
            except NoPermissionError:
                if name == public:
                    raise
                notes.append(f"this user may not read {name}: streams of accounts are not shown")
                continue
            foreign = 0
            for key, text in said.items():
                stream = self._keys.parse(key)
                if stream is None:
                    foreign += 1
                else:
                    found[key] = stream, entry_of(text)
            if foreign:
                notes.append(f"{name} has {foreign} fields that are not keys of streams")
        return found

    async def _heartbeats(
        self, names: Sequence[str], notes: list[str]
    ) -> tuple[dict[str, dict[str, str]], frozenset[str]]:
        """The heartbeats that are there, and the names of connectors whose heartbeats this user may not read."""
        pipe = self._redis.pipeline(transaction=False)
        for name in names:
            pipe.hgetall(self._keys.connector(name))
        beats: dict[str, dict[str, str]] = {}
        unreadable: list[str] = []
        for name, answer in zip(names, await pipe.execute(raise_on_error=False) if names else [], strict=True):
            if isinstance(answer, AWAY):
                raise answer
            if isinstance(answer, NoPermissionError):
                unreadable.append(name)
            elif isinstance(answer, Exception):
                notes.append(f"{self._keys.connector(cut(name, LONGEST_CODE))}: {explain(answer, '')}")
            else:
                beats[name] = answer
        if unreadable:
            notes.append(f"this user may not read {len(unreadable)} heartbeats: states are as the catalog has them")
        return beats, frozenset(unreadable)

    async def _services(self, entries: Iterable[Mapping[str, str]]) -> dict[str, dict[str, str] | None]:
        """The heartbeats of services that the catalog names, by process; ``None`` if this user may not read them."""
        named = sorted({entry.get("instance", "") for entry in entries if entry.get("service")})
        pipe = self._redis.pipeline(transaction=False)
        for name in named:
            pipe.exists(self._keys.service(name))
        found: dict[str, dict[str, str] | None] = {}
        for name, answer in zip(named, await pipe.execute(raise_on_error=False) if named else [], strict=True):
            if isinstance(answer, AWAY):
                raise answer
            found[name] = None if isinstance(answer, Exception) else {"instance": name} if answer else {}
        return found

    async def _standbys(self, names: Iterable[str]) -> dict[str, dict[str, str]]:
        """What the processes show that stand by; without those that cannot be read."""
        wanted = list(names)
        pipe = self._redis.pipeline(transaction=False)
        for name in wanted:
            pipe.hgetall(self._keys.standby(name))
        answers = await pipe.execute(raise_on_error=False) if wanted else []
        return {name: answer for name, answer in zip(wanted, answers, strict=True) if isinstance(answer, dict)}


def _tail(newest: Any, first: Any) -> Tail:
    """The end of a stream by the answers to its two commands.

    Raises:
        redis.exceptions.RedisError, OSError: Redis does not answer.
    """
    for answer in (newest, first):
        if isinstance(answer, AWAY):
            raise answer
        if isinstance(answer, Exception):
            return Tail(trouble=_why(answer))
    if not newest:
        return Tail()
    last_id = str(newest[0][0])[:_LONGEST_ID]
    ms, seq = split_id(last_id)
    since = split_id(str(first[0][0]))[1] if first else seq + 1
    return Tail(last_id, ms, seq, max(0, seq - since + 1) / WINDOW)


def _why(error: Exception) -> str:
    if is_wrong_type(error):
        return "its key is not a stream"
    return "this user may not read it" if isinstance(error, NoPermissionError) else explain(error, "")


def _beat(fields: Mapping[str, str]) -> _Beat | None:
    """What rates are made of; ``None`` if the hash is not a heartbeat."""
    with suppress(KeyError, ValueError):
        return _Beat(fields["instance"], int(fields.get("steady") or fields["at"]), int(fields["published"]))
    return None
