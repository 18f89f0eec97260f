"""The streams of a tail: finds them, keeps a position in each, and reads; a bad stream does not affect the others."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct
from redis import Redis, exceptions
from redis.crc import key_slot

from bridge.errors import ConfigError, Problem, RedisUnavailableError
from bridge.keys import Keys
from bridge.printable import printable
from bridge.redis.errors import AWAY
from bridge.suggestions import did_you_mean
from bridge.tail.selection import Selection, text_of
from bridge.tail.start import NOW, START

__all__ = ["Found", "Streams"]

_BLOCK_MS = 1000
_POLL = 0.1
"""Seconds between two reads in a Cluster, where a blocking read of one slot would delay the others."""
_PAGE = 200
_LOOK = 1.0
_RETRY_AFTER = 30.0
"""Seconds after which a stream that this user may not read is retried."""
_CHECK = 5.0
"""Seconds without an entry after which a stream is checked: it may have been recreated with smaller IDs."""
_BEGIN = b"0-0"


class Found(Struct, frozen=True):
    """One entry: the key of its stream, its ID, and its raw fields."""

    key: bytes
    id: bytes
    fields: dict[bytes, bytes]


class Streams:
    """``look`` finds the selected streams, ``read`` waits for entries; ``say`` is called with messages to the user.

    ``redis`` returns bytes. ``start`` is `NOW`, `START` or an entry ID; streams that appear later are read from their
    start, so that nothing is missed.
    """

    def __init__(
        self, redis: Redis, keys: Keys, selection: Selection, *, start: str, address: str, say: Callable[[str], None]
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._selection = selection
        self._start = start
        self._address = address
        self._say = say
        self._positions: dict[bytes, bytes] = {}
        self._there: set[bytes] = set()
        """Streams that existed at the last look."""
        self._existing: set[bytes] = set()
        """Streams whose position is an entry that existed."""
        self._reported: set[bytes] = set()
        self._refused: dict[bytes, float] = {}
        """Streams that this user may not read, and when to retry them."""
        self._moved: dict[bytes, float] = {}
        """When the last entry arrived, or the stream was checked."""
        self._may_scan = True
        self._first = True
        self._looked = float("-inf")

    def look(self) -> None:
        """Find new streams, and notice deleted ones; at most once a second.

        Raises:
            ConfigError: a key that was given is not a stream.
            RedisUnavailableError: this user may read none of the selected streams.
        """
        if time.monotonic() - self._looked < _LOOK:
            return
        now = time.monotonic()
        self._check_named()
        candidates = dict.fromkeys(key for key in self._names() if self._selection.admits(key))
        new = [key for key in candidates if key not in self._positions and self._refused.get(key, 0.0) <= now]
        self._add(new)
        self._notice_deleted()
        self._notice_recreated(now)
        if not self._positions and self._refused and not self._may_wait():
            raise RedisUnavailableError(self._address, "this user may read none of these streams")
        if self._first and not self._positions:
            self._say(f"no such streams yet; waiting for them{self._hint()}")
        self._first = False
        self._looked = time.monotonic()

    def read(self, count: int | None) -> list[Found]:
        """The next entries by time, at most ``count`` per stream; empty if none arrived for a second."""
        page = _PAGE if count is None else min(_PAGE, count)
        if not self._positions:
            time.sleep(_LOOK)
            return []
        try:
            replies = self._read_all(page)
        except exceptions.ResponseError as error:
            if not self._drop_unreadable():
                raise RedisUnavailableError(self._address, str(error)) from None
            return []
        found = [Found(key, entry_id, fields or {}) for key, entries in replies for entry_id, fields in entries]
        found.sort(key=lambda entry: int(entry.id.partition(b"-")[0]))
        return found

    def shown(self, entry: Found) -> None:
        """Record that an entry was shown; reading continues after it."""
        self._positions[entry.key] = entry.id
        self._there.add(entry.key)
        self._existing.add(entry.key)
        self._moved[entry.key] = time.monotonic()

    def _check_named(self) -> None:
        other = [key for key in self._selection.exact if self._first and not self._selection.admits(key)]
        if other:
            words = "does not belong to the selected exchange and pair"
            raise ConfigError([Problem(printable(text_of(key)), words) for key in other], "arguments")

    # --- finding -------------------------------------------------------------------------------------------------

    def _names(self) -> Iterator[bytes]:
        selection = self._selection
        yield from selection.exact
        for pattern in selection.patterns if self._may_scan else ():
            try:
                yield from self._redis.scan_iter(match=pattern, count=1000, _type="stream")
            except exceptions.NoPermissionError:
                self._may_scan = False
                self._say("this user may not list keys: the patterns are matched against the catalogs that it may read")
                break
        if selection.everything:
            yield from self._listed()
        elif not self._may_scan:
            yield from (key for key in self._listed() if selection.matches(key))

    def _listed(self) -> Iterator[bytes]:
        """All streams of the catalogs that this user may read, and the rejects of their exchanges."""
        refused = []
        exchanges = set(self._selection.exchanges)
        for catalog in (self._keys.catalog(), self._keys.accounts_catalog()):
            try:
                names: Any = self._redis.hkeys(catalog)
            except exceptions.ResponseError as error:  # NOPERM, or the key holds something else
                refused.append(str(error))
                continue
            yield from names
            exchanges.update(stream.exchange for stream in map(self._keys.parse, map(text_of, names)) if stream)
        if len(refused) > 1:
            raise RedisUnavailableError(self._address, refused[0])
        for exchange in sorted(exchanges):
            yield self._keys.rejects(exchange).encode()

    def _add(self, keys: Sequence[bytes]) -> None:
        if not keys:
            return
        ends = self._newest(keys) if self._start == NOW and self._first else [None] * len(keys)
        for key, kind, end in zip(keys, self._ask("type", keys), ends, strict=True):
            named = key in self._selection.exact
            error = next((each for each in (kind, end) if isinstance(each, exceptions.ResponseError)), None)
            if isinstance(error, exceptions.NoPermissionError):
                self._refuse(key, named=named)
            elif kind not in (b"stream", b"none"):
                self._not_a_stream(key, text_of(kind) if isinstance(kind, bytes) else str(kind), named=named)
            elif error is not None:
                raise error
            elif kind == b"stream" or named:
                self._set_position(key, end, there=kind == b"stream")

    def _set_position(self, key: bytes, end: Any, *, there: bool) -> None:
        """Determine where to start reading."""
        position = _BEGIN if self._start in (NOW, START) else self._start.encode()
        if end:
            position = end
            self._existing.add(key)
        self._positions[key] = position
        self._moved[key] = time.monotonic()
        self._refused.pop(key, None)
        if there:
            self._there.add(key)
        elif self._first:  # reported after the position is set: later entries are new
            name = text_of(key)
            hint = "" if ":" in name else f" (for the streams of a pair: --pair {name})"
            self._say(f"{name}: no such stream yet; waiting for it{hint}")

    def _hint(self) -> str:
        """Suggestions from the catalogs for unknown exchanges and pairs."""
        streams = [stream for stream in map(self._keys.parse, map(text_of, self._listed())) if stream]
        known = {
            "--exchange": (self._selection.exchanges, {stream.exchange for stream in streams}),
            "--pair": (self._selection.pairs, {stream.subject for stream in streams if stream.public}),
        }
        hints = [
            f"{option} {name}: {hint}"
            for option, (asked, names) in known.items()
            for name in sorted(asked - names)
            if (hint := did_you_mean(name, sorted(names)))
        ]
        return f" ({'; '.join(hints)})" if self._selection.everything and hints else ""

    def _refuse(self, key: bytes, *, named: bool) -> None:
        self._refused[key] = time.monotonic() + _RETRY_AFTER
        if named and key not in self._reported:
            self._reported.add(key)
            self._say(f"{text_of(key)}: this user may not read it")

    def _not_a_stream(self, key: bytes, kind: str, *, named: bool) -> None:
        if named and self._first:
            raise ConfigError([Problem(printable(text_of(key)), f"is a {kind}, not a stream")], "arguments")
        if key not in self._reported and named:
            self._reported.add(key)
            self._say(f"{text_of(key)}: is a {kind} now, not a stream; waiting for one")

    def _may_wait(self) -> bool:
        """Whether selected streams may still appear."""
        return any(key not in self._refused for key in self._selection.exact) or bool(self._selection.patterns)

    # --- what becomes of streams ---------------------------------------------------------------------------------

    def _notice_deleted(self) -> None:
        keys = list(self._there)
        for key, there in zip(keys, self._ask("exists", keys), strict=True):
            if there == 0:
                self._there.discard(key)
                self._from_the_start(key, "was deleted; a new stream under this key is shown from its start")

    def _notice_recreated(self, now: float) -> None:
        """A stream that was recreated between two checks may have smaller IDs than the last one shown."""
        keys = [key for key in self._there & self._existing if now - self._moved[key] > _CHECK]
        for key, newest in zip(keys, self._newest(keys), strict=True):
            self._moved[key] = now
            if isinstance(newest, bytes) and _number(newest) < _number(self._positions[key]):
                self._compare(key)

    def _compare(self, key: bytes) -> None:
        try:
            info: Any = self._redis.xinfo_stream(key)
        except exceptions.ResponseError:
            return  # deleted in the meantime
        if _number(info["last-generated-id"]) < _number(self._positions[key]):  # else its newest entry was only deleted
            self._from_the_start(key, "was deleted and recreated; it is shown from its start")

    def _from_the_start(self, key: bytes, words: str) -> None:
        self._positions[key] = _BEGIN
        self._existing.discard(key)
        self._say(f"{text_of(key)}: {words}")

    def _drop_unreadable(self) -> bool:
        """A key that is not a stream, or may not be read, fails the whole read: find it, and continue without it."""
        keys = list(self._positions)
        dropped = False
        for key, kind in zip(keys, self._ask("type", keys), strict=True):
            if kind in (b"stream", b"none"):
                continue
            dropped = True
            del self._positions[key]
            self._there.discard(key)
            self._existing.discard(key)
            if isinstance(kind, exceptions.NoPermissionError):
                self._refuse(key, named=True)
            else:
                self._not_a_stream(key, text_of(kind) if isinstance(kind, bytes) else str(kind), named=True)
        return dropped

    # --- Redis ---------------------------------------------------------------------------------------------------

    def _read_all(self, page: int) -> list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]:
        reply: Any
        if not hasattr(self._redis, "get_node_from_key"):
            streams: Any = dict(self._positions)
            reply = self._redis.xread(streams, count=page, block=_BLOCK_MS)
            return _by_stream(reply)
        # In a Cluster, a command is for one slot, and a blocking one would delay the others.
        found = []
        for together in _by_slot(self._positions):
            reply = self._redis.xread(together, count=page)
            found += _by_stream(reply)
        if not found:
            time.sleep(_POLL)
        return found

    def _newest(self, keys: Sequence[bytes]) -> list[Any]:
        """The ID of the newest entry of each stream, ``None`` without one, or the error."""
        # Not XINFO: it also returns the oldest entry, which for a book is a whole snapshot.
        answers = self._ask("xrevrange", keys, count=1)
        return [answer[0][0] if isinstance(answer, list) and answer else answer or None for answer in answers]

    def _ask(self, command: str, keys: Iterable[bytes], **options: Any) -> list[Any]:
        """The answer to a command for each key, or its error.

        Raises:
            redis.exceptions.RedisError, OSError: Redis does not answer at all.
        """
        pipe: Any = self._redis.pipeline(transaction=False)
        for key in keys:
            getattr(pipe, command)(key, **options)
        answers: list[Any] = pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, AWAY):
                raise answer
        return answers


def _number(entry_id: bytes) -> tuple[int, int]:
    ms, _, seq = entry_id.partition(b"-")
    return int(ms), int(seq or 0)


def _by_stream(reply: Any) -> list[tuple[bytes, list[Any]]]:
    """The answer to ``XREAD`` as (key, entries), for RESP2 and RESP3 (a map of nested lists)."""
    if not isinstance(reply, dict):
        return [(key, entries) for key, entries in reply or ()]
    nested = [(key, entries) for key, entries in reply.items() if entries]
    return [(key, entries[0] if isinstance(entries[0], list) else entries) for key, entries in nested]


def _by_slot(places: dict[bytes, bytes]) -> list[dict[Any, Any]]:
    slots: dict[int, dict[Any, Any]] = {}
    for key, place in places.items():
        slots.setdefault(key_slot(key), {})[key] = place
    return list(slots.values())
