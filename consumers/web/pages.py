"""The JSON pages: streams, connectors, entries, books, wallets, rejects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from redis import exceptions

from bridge.keys import StreamKey
from bridge.model import BOOKS, SCHEMA_VERSION
from bridge.printable import printable
from bridge.redis.errors import refuses_key, said
from consumers.items import Undecodable, Unknown, split_id, to_item
from consumers.keeper import BookKeeper
from consumers.web.activity import Activity
from consumers.web.guard import Guard, json_answer, problem
from consumers.web.hub import Hub, RefusedStreamError
from consumers.web.tokens import Access, NoAccessError, Tokens

__all__ = ["Pages"]

_PROTOCOL = "1"
_MOST_ENTRIES = 500
_MOST_REJECTS = 200
_USUAL = 50
_MOST_BYTES = 2 * 1024 * 1024
_AT_ONCE, _AT_ONCE_OF_BOOK = 100, 8
"""Entries of one read from Redis."""
_READY = 10.0
"""Seconds for a book to be read up to now."""
_LONGEST_QUOTED = 100
_LONGEST_NUMBER = 9

Entries = list[tuple[str, dict[str, str]]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _WrongError(Exception):
    """A request that is answered with a status and words."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Pages:
    """The handlers below ``/api/``."""

    def __init__(
        self,
        hub: Hub,
        activity: Activity,
        guard: Guard,
        tokens: Tokens,
        *,
        version: str,
        limits: dict[str, str],
        simulators: Sequence[str] = (),
    ) -> None:
        self._hub = hub
        self._activity = activity
        self._guard = guard
        self._tokens = tokens
        self._version = version
        self._limits = limits
        self._simulators = list(simulators)
        self._exchange = hub.exchange

    def routes(self) -> list[web.RouteDef]:
        """A route for each page."""
        pages: dict[str, tuple[Callable[[web.Request, Access], Awaitable[web.Response]], frozenset[str]]] = {
            "info": (self._info, frozenset()),
            "streams": (self._streams, frozenset()),
            "connectors": (self._connectors, frozenset()),
            "entries": (self._entries, frozenset({"key", "before", "after", "at", "count"})),
            "book": (self._book, frozenset({"key", "depth"})),
            "wallet": (self._wallet, frozenset({"account"})),
            "rejects": (self._rejects, frozenset({"exchange", "count"})),
        }
        return [web.get(f"/api/{name}", self._answering(page, known)) for name, (page, known) in pages.items()]

    def _answering(
        self, page: Callable[[web.Request, Access], Awaitable[web.Response]], known: frozenset[str]
    ) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            access = self._guard.access(request)
            unknown = sorted(set(request.query) - known - {"token"})
            if unknown:
                there = f"there are {', '.join(sorted(known))}" if known else "there are none"
                return problem(400, f"no parameter {printable(unknown[0], _LONGEST_QUOTED)!r}; {there}")
            try:
                return await page(request, access)
            except _WrongError as error:
                return problem(error.status, str(error))
            except NoAccessError as error:
                return problem(403, str(error))
            except RefusedStreamError as error:
                return problem(503, f"Redis refuses to read this: {error}")
            except exceptions.ResponseError as error:
                if not refuses_key(error):
                    raise
                return problem(503, f"Redis refuses to read this: {said(error)}")

        return answer

    async def _info(self, _: web.Request, access: Access) -> web.Response:
        return json_answer(
            {
                "version": self._version,
                "schema": str(SCHEMA_VERSION),
                "protocol": _PROTOCOL,
                "namespace": self._hub.keys.namespace,
                "tokens": self._tokens.configured,
                "name": access.name,
                "streams": list(access.streams),
                "accounts": list(access.accounts),
                "limits": self._limits,
                "simulators": self._simulators,
            }
        )

    async def _streams(self, _: web.Request, access: Access) -> web.Response:
        activity = self._activity
        rows = [activity.describe(row) for row in activity.rows() if access.allows(row.stream)]
        return json_answer({"now": str(activity.now_ms), "since": str(activity.since_ms), "streams": rows})

    async def _connectors(self, _: web.Request, access: Access) -> web.Response:
        activity = self._activity
        named = {row.listed.get("connector", "") for row in activity.rows() if access.allows(row.stream)}
        rows = []
        for name, exchange in sorted(activity.connectors.items()):
            if name in named:
                beat = activity.beats.get(name)
                row = {"name": name, "exchange": exchange, **(beat or {}), "alive": beat is not None}
                standby = activity.standbys.get(name)
                rows.append({**row, "standby": standby} if standby else row)
        return json_answer({"now": str(activity.now_ms), "connectors": rows})

    async def _entries(self, request: web.Request, access: Access) -> web.Response:
        key, stream = self._stream(request, access)
        count = _number(request, "count", _USUAL, _MOST_ENTRIES)
        given = [name for name in ("before", "after", "at") if name in request.query]
        if len(given) > 1:
            raise _WrongError(400, f"give one of {', '.join(given)}")
        where = given[0] if given else ""
        value = request.query.get(where, "")
        if where:
            _check_position(where, value)
        if where == "after":
            found = await self._forwards(key, stream, f"({value}", count)
        elif where == "at":
            older = await self._backwards(key, stream, f"({value}-0", count // 2)
            newer = await self._forwards(key, stream, f"{value}-0", count - len(older))
            found = older + newer
        else:
            found = await self._backwards(key, stream, f"({value}" if where else "+", count)
        first, last = await self._forwards(key, stream, "-", 1), await self._backwards(key, stream, "+", 1)
        return json_answer(
            {
                "key": key,
                "entries": [_described(key, stream, entry_id, fields) for entry_id, fields in found],
                "first": first[0][0] if first else "",
                "last": last[0][0] if last else "",
            }
        )

    async def _book(self, request: web.Request, access: Access) -> web.Response:
        key, stream = self._stream(request, access)
        depth = _number(request, "depth", 0, 1_000_000)
        if stream.channel not in BOOKS:
            raise _WrongError(400, f"{printable(key, _LONGEST_QUOTED)} is not a book")
        try:
            async with asyncio.timeout(_READY), self._hub.use(key, stream) as feed:
                await feed.ready.wait()
                assert feed.keeper is not None
                return json_answer(_book_of(key, feed.keeper, depth or None))
        except TimeoutError:
            raise _WrongError(503, "the book could not be read up to now in time; try again") from None

    async def _wallet(self, request: web.Request, access: Access) -> web.Response:
        account = request.query.get("account", "")
        exchange, colon, subject = account.partition(":")
        if not (exchange and colon and subject):
            raise _WrongError(400, "account should be EXCHANGE:ACCOUNT")
        if not access.allows_account(exchange, subject) or self._exchange not in (None, exchange):
            raise NoAccessError("this token does not include the account")
        fields: Any = await self._hub.reader.redis.hgetall(self._hub.keys.wallet(exchange, subject))
        if not fields:
            shown = printable(account, _LONGEST_QUOTED)
            raise _WrongError(404, f"there is no wallet of {shown}; does `tickbridge wallets` run?")
        return json_answer({"account": account, "fields": fields})

    async def _rejects(self, request: web.Request, access: Access) -> web.Response:
        exchange = request.query.get("exchange", "")
        if not exchange or self._exchange not in (None, exchange):
            raise _WrongError(400, "exchange should be the name of one")
        count = _number(request, "count", _USUAL, _MOST_REJECTS)
        if not (access.everything or await self._includes_accounts(access, exchange)):
            raise NoAccessError("a rejected frame may be about an account, and this token does not include all of them")
        found: Entries = await self._read(self._hub.keys.rejects(exchange), "+", "-", count, newest_first=True)
        rejects = [{"id": entry_id, "fields": fields} for entry_id, fields in found]
        return json_answer({"exchange": exchange, "rejects": rejects})

    async def _includes_accounts(self, access: Access, exchange: str) -> bool:
        """Whether a token includes every account of an exchange that the catalog lists now; no, if nobody knows."""
        keys = self._hub.keys
        try:
            listed: Any = await self._hub.reader.redis.hgetall(keys.accounts_catalog())
        except exceptions.ResponseError as error:
            if not refuses_key(error):
                raise
            return False
        streams = [keys.parse(key) for key in listed]
        return all(access.allows(stream) for stream in streams if stream and stream.exchange == exchange)

    def _stream(self, request: web.Request, access: Access) -> tuple[str, StreamKey]:
        key = request.query.get("key", "")
        stream = self._hub.keys.parse(key)
        if stream is None or self._exchange not in (None, stream.exchange):
            shown = printable(key, _LONGEST_QUOTED)
            raise _WrongError(400 if not key else 404, f"key should be that of a stream, not {shown!r}")
        access.check(stream)
        return key, stream

    async def _forwards(self, key: str, stream: StreamKey, start: str, count: int) -> Entries:
        """The entries from here on, oldest first."""
        return await self._paged(stream, count, lambda at, some: self._read(key, at or start, "+", some))

    async def _backwards(self, key: str, stream: StreamKey, end: str, count: int) -> Entries:
        """The entries up to here, oldest first."""
        found = await self._paged(
            stream, count, lambda at, some: self._read(key, at or end, "-", some, newest_first=True)
        )
        return found[::-1]

    async def _paged(self, stream: StreamKey, count: int, read: Callable[[str, int], Awaitable[Entries]]) -> Entries:
        """Up to ``count`` entries, or as many as fit into an answer; ``read`` gets where to go on, and how many to read."""
        size, at, found = 0, "", Entries()
        at_once = _AT_ONCE_OF_BOOK if stream.channel in BOOKS else _AT_ONCE
        while len(found) < count and size < _MOST_BYTES:
            some = min(at_once, count - len(found))
            page = await read(at, some)
            for entry_id, fields in page:
                size += sum(map(len, fields.values()))
                if size > _MOST_BYTES and found:
                    break
                found.append((entry_id, fields))
            if len(page) < some:
                break
            at = f"({page[-1][0]}"
        return found

    async def _read(self, key: str, start: str, end: str, count: int, *, newest_first: bool = False) -> Entries:
        if count < 1:
            return []
        redis = self._hub.reader.redis
        found: Any = await (redis.xrevrange if newest_first else redis.xrange)(key, start, end, count)
        return list(found)


def _book_of(key: str, keeper: BookKeeper, depth: int | None) -> dict[str, Any]:
    bids, asks = keeper.top(depth)
    return {
        "key": key,
        "valid": keeper.valid,
        "reason": keeper.reason,
        "id": keeper.id,
        "xseq": keeper.xseq,
        "recv": str(keeper.recv) if keeper.recv else "",
        "bids": bids,
        "asks": asks,
    }


def _described(key: str, stream: StreamKey, entry_id: str, fields: dict[str, str]) -> dict[str, Any]:
    """An entry as it is in Redis, with what is wrong with it."""
    item = to_item(key, stream, entry_id, [part for pair in fields.items() for part in pair])
    error = {"error": item.error} if isinstance(item, Undecodable | Unknown) else {}
    return {"id": entry_id, "fields": fields, **error}


def _check_position(where: str, value: str) -> None:
    try:
        split_id(value)
    except ValueError:
        value = printable(value, _LONGEST_QUOTED)
        raise _WrongError(400, f"{where} should be an entry ID (ms-seq), not {value!r}") from None
    if where == "at" and "-" in value:
        raise _WrongError(400, "at should be a time in milliseconds since the epoch")


def _number(request: web.Request, name: str, usual: int, most: int) -> int:
    text = request.query.get(name, "")
    if not text:
        return usual
    if not (text.isascii() and text.isdigit()) or len(text) > _LONGEST_NUMBER or not 1 <= int(text) <= most:
        raise _WrongError(400, f"{name} should be 1 to {most}, not {printable(text, _LONGEST_QUOTED)!r}")
    return int(text)
