"""A connector's entries in the catalogs: public streams in one hash, streams of accounts in another.

A user that may read only the first does not learn which accounts exist.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from bridge.keys import Keys, StreamKey
from bridge.model import ControlEvent
from bridge.redis.errors import about
from bridge.redis.lease import Lease

__all__ = ["Catalog", "Writer"]

Texts = dict[str, bytes]
"""Stream key → its entry, as JSON."""
_LOOKED_AT = 50
"""Entries of a catalog that are looked at each time."""


class Writer(Struct, frozen=True):
    """The process that wrote a stream's entry, and the state of the stream by it."""

    instance: str
    state: str

    @property
    def ended(self) -> bool:
        """Whether it writes the stream no more: it has ended, or goes on with others."""
        return self.state == ControlEvent.STOP


class _Of(Struct):
    """Of an entry: the process that wrote it."""

    instance: str = ""


class Catalog:
    """Writes a connector's entries under its ``lease``, and reads those of others; ``client`` decodes responses."""

    def __init__(self, client: Redis, keys: Keys, lease: Lease) -> None:
        self._client = client
        self._keys = keys
        self._lease = lease
        self._shown: defaultdict[str, Texts] = defaultdict(dict)
        """What was written: catalog → its entries."""
        self._looked: defaultdict[str, int] = defaultdict(int)
        """How many entries of a catalog have been looked at."""
        self._forgotten = False
        """Whether a catalog was found deleted, which has not been returned to the caller."""

    async def show(self, entries: Mapping[str, Mapping[str, object]]) -> bool:
        """Write the entries (stream key → content) that have changed, and those that Redis was found to have lost.

        A failover may lose the newest ones alone, so each time some others are looked at, in turn.

        Returns:
            Whether Redis had lost a catalog, and so probably everything; all entries are then written again.

        Raises:
            DisplacedError: another process has taken over the connector.
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        wanted: defaultdict[str, Texts] = defaultdict(dict)
        for key, entry in entries.items():
            wanted[self._of(key)][key] = msgspec.json.encode(entry)
        for catalog, texts in wanted.items():
            await self._show(catalog, texts)
        forgotten, self._forgotten = self._forgotten, False
        return forgotten

    async def owners(self, streams: Sequence[str]) -> dict[str, dict[str, Writer]]:
        """The writers of these streams: connector → stream → who wrote its entry."""
        asked: defaultdict[str, list[str]] = defaultdict(list)
        for key in streams:
            asked[self._of(key)].append(key)
        owners: dict[str, dict[str, Writer]] = {}
        for catalog, keys in asked.items():
            with about(catalog):
                entries = await self._client.hmget(catalog, keys)
            for key, entry in zip(keys, entries, strict=True):
                with suppress(msgspec.MsgspecError, KeyError, TypeError):
                    said = msgspec.json.decode(entry or "")
                    writer = Writer(said.get("instance", ""), said.get("state", ""))
                    owners.setdefault(said["connector"], {})[key] = writer
        return owners

    async def pairs(self, exchange: str, connector: str) -> set[str]:
        """The pairs of this exchange whose streams the connector was the last to write."""
        catalog = self._keys.catalog()
        with about(catalog):
            names: list[str] = await self._client.hkeys(catalog)  # type: ignore[assignment]
        parsed = {name: stream for name in names if (stream := self._keys.parse(name)) and stream.exchange == exchange}
        owned = (await self.owners(list(parsed))).get(connector, {})
        return {parsed[name].subject for name in owned}

    async def subaccounts(self, exchange: str) -> list[StreamKey]:
        """The streams of sub-accounts at this exchange, of all connectors."""
        catalog = self._keys.accounts_catalog()
        with about(catalog):
            names: list[str] = await self._client.hkeys(catalog)  # type: ignore[assignment]
        streams = map(self._keys.parse, names)
        return [stream for stream in streams if stream and stream.exchange == exchange and "/" in stream.subject]

    async def separate(self) -> None:
        """Move streams of accounts that an earlier version wrote to the public catalog to that of accounts.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py; ``NoPermissionError`` without the right to it.
        """
        public, accounts = self._keys.catalog(), self._keys.accounts_catalog()
        with about(public):
            names: list[str] = await self._client.hkeys(public)  # type: ignore[assignment]
        private = [name for name in names if self._of(name) == accounts]
        if not private:
            return
        for name, entry in zip(private, await self._client.hmget(public, private), strict=True):
            if entry is not None:
                # An existing entry is newer. The hashes may be on two nodes, so this is not a transaction.
                await self._client.hsetnx(accounts, name, entry)
        await self._client.hdel(public, *private)

    def _of(self, key: str) -> str:
        stream = self._keys.parse(key)
        return self._keys.catalog_of(stream.channel) if stream else self._keys.catalog()

    async def _show(self, catalog: str, texts: Texts) -> None:
        shown = self._shown[catalog]
        known = self._next(catalog)
        changed = {key: text for key, text in texts.items() if shown.get(key) != text}
        # In one transaction: data lost between a read and a write would go unnoticed.
        there, *_ = await self._lease.write(catalog, partial(_read_and_write, catalog, known, changed))
        found = dict(zip(known, there, strict=False))
        lost = [key for key, text in found.items() if self._is_lost(text, shown[key])]
        shown.update(changed)
        if not lost:
            return
        for key in lost:
            shown.pop(key, None)
        if set(found.values()) == {None}:
            self._forgotten = True
            shown.clear()
        again = {key: text for key, text in texts.items() if key not in shown}
        if again:
            await self._lease.write(catalog, partial(_read_and_write, catalog, [], again))
            shown.update(again)

    def _is_lost(self, found: str | None, shown: bytes) -> bool:
        """Whether an entry is missing, or one that this process has changed since; another process may have taken it over."""
        if found is None:
            return True
        if found.encode() == shown:
            return False
        try:
            return msgspec.json.decode(found, type=_Of).instance == self._lease.instance
        except msgspec.MsgspecError:
            return True

    def _next(self, catalog: str) -> list[str]:
        """The entries whose turn it is to be looked at."""
        keys = list(self._shown[catalog])
        begin = self._looked[catalog] % max(1, len(keys))
        found = keys[begin : begin + _LOOKED_AT]
        self._looked[catalog] = begin + len(found)
        return found


def _read_and_write(catalog: str, known: list[str], entries: Texts, pipe: Pipeline) -> None:
    pipe.hmget(catalog, known or [""])
    if entries:
        pipe.hset(catalog, mapping=entries)  # type: ignore[arg-type]
