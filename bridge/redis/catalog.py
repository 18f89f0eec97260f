"""A connector's entries of the catalogs: public streams in one hash, accounts' streams in another.

Whoever may read the first doesn't learn from it which accounts there are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

import msgspec
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from bridge.keys import Keys, StreamKey
from bridge.redis.errors import about
from bridge.redis.lease import Lease

__all__ = ["Catalog"]

Texts = dict[str, bytes]
"""Stream key → its entry, as JSON."""


class Catalog:
    """Writes a connector's entries behind its ``lease``, and reads those of others; ``client`` decodes responses."""

    def __init__(self, client: Redis, keys: Keys, lease: Lease) -> None:
        self._client = client
        self._keys = keys
        self._lease = lease
        self._shown: defaultdict[str, Texts] = defaultdict(dict)
        """What was written: catalog → its entries."""
        self._forgotten = False
        """Whether a catalog was found gone, and the caller doesn't know yet."""

    async def show(self, entries: Mapping[str, Mapping[str, object]]) -> bool:
        """Write the entries that have changed; stream key → content.

        Returns:
            Whether Redis had forgotten a catalog, and with it probably everything: then all of it is written again.

        Raises:
            DisplacedError: another process has taken this one's place.
            redis.exceptions.RedisError, OSError: as redis-py has them.
        """
        wanted: defaultdict[str, Texts] = defaultdict(dict)
        for key, entry in entries.items():
            wanted[self._of(key)][key] = msgspec.json.encode(entry)
        for catalog, texts in wanted.items():
            await self._show(catalog, texts)
        forgotten, self._forgotten = self._forgotten, False
        return forgotten

    async def owners(self, streams: Sequence[str]) -> dict[str, dict[str, str]]:
        """Who writes these streams: connector → stream → the instance that wrote its entry."""
        asked: defaultdict[str, list[str]] = defaultdict(list)
        for key in streams:
            asked[self._of(key)].append(key)
        owners: dict[str, dict[str, str]] = {}
        for catalog, keys in asked.items():
            with about(catalog):
                entries = await self._client.hmget(catalog, keys)
            for key, entry in zip(keys, entries, strict=True):
                with suppress(msgspec.MsgspecError, KeyError, TypeError):
                    said = msgspec.json.decode(entry or "")
                    owners.setdefault(said["connector"], {})[key] = said.get("instance", "")
        return owners

    async def subaccounts(self, exchange: str) -> list[StreamKey]:
        """The streams of sub-accounts on this exchange, whoever has written them."""
        catalog = self._keys.accounts_catalog()
        with about(catalog):
            names: list[str] = await self._client.hkeys(catalog)  # type: ignore[assignment]
        streams = map(self._keys.parse, names)
        return [stream for stream in streams if stream and stream.exchange == exchange and "/" in stream.subject]

    async def separate(self) -> None:
        """Move the accounts' streams that an earlier version has written among the public ones to their own catalog.

        Raises:
            redis.exceptions.RedisError, OSError: as redis-py has them; ``NoPermissionError``: this user may not.
        """
        public, accounts = self._keys.catalog(), self._keys.accounts_catalog()
        with about(public):
            names: list[str] = await self._client.hkeys(public)  # type: ignore[assignment]
        private = [name for name in names if self._of(name) == accounts]
        if not private:
            return
        for name, entry in zip(private, await self._client.hmget(public, private), strict=True):
            if entry is not None:
                # What stands there already is newer. The two hashes may be on two nodes, so this is no transaction.
                await self._client.hsetnx(accounts, name, entry)
        await self._client.hdel(public, *private)

    def _of(self, key: str) -> str:
        stream = self._keys.parse(key)
        return self._keys.catalog_of(stream.channel) if stream else self._keys.catalog()

    async def _show(self, catalog: str, texts: Texts) -> None:
        shown = self._shown[catalog]
        known = next(iter(shown), None)
        changed = {key: text for key, text in texts.items() if shown.get(key) != text}
        # In one step: between a look and a write, Redis might forget, and the write would hide it.
        (there,), *_ = await self._lease.write(catalog, partial(_look_and_put, catalog, known or "", changed))
        shown.update(changed)
        if known is not None and there is None:
            self._forgotten = True
            shown.clear()
            await self._lease.write(catalog, partial(_look_and_put, catalog, "", texts))
            shown.update(texts)


def _look_and_put(catalog: str, known: str, entries: Texts, pipe: Pipeline) -> None:
    pipe.hmget(catalog, [known])
    if entries:
        pipe.hset(catalog, mapping=entries)  # type: ignore[arg-type]
