"""A reader of all streams whose names match patterns, including those that the catalog lists later.

async with PatternReader(url, {"md:{coinbase:*}:trades": Position.NOW, "coinbase:*-USD book": Position.SNAPSHOT}) as reader:
async for item in reader: ...
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Self

from msgspec import Struct
from redis import exceptions

from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from bridge.redis.errors import refuses_key
from consumers.connection import Where
from consumers.reader import Position, Reader, Start

__all__ = ["Pattern", "PatternReader"]

_log = logging.getLogger(__name__)

_WILD = "*?["


class Pattern(Struct, frozen=True):
    """Which streams: ``*``, ``?`` and ``[…]`` are as in a shell.

    ``text`` is a pattern for the key, without the namespace (``md:{coinbase:*}:trades``); or for exchange and pair, or
    account, and the channel (``coinbase:*-USD book``, ``*:BTC-USD *``, ``limitlex:main* fills``,
    ``*:BTC-USD candles:1m``; ``candles`` are those of all intervals).
    """

    text: str

    @classmethod
    def of(cls, text: str) -> Pattern:
        """A checked pattern.

        Raises:
            ValueError: it has neither form, or its channel does not exist.
        """
        name, space, channel = text.partition(" ")
        if not space:
            if not text.startswith(("md:{", "acct:{", *_WILD)):
                raise ValueError(
                    f"{text!r} is not a pattern of streams: write md:{{EXCHANGE:*-USD}}:trades, or EXCHANGE:*-USD trades"
                )
        elif ":" not in name or not any(fnmatchcase(one, channel.partition(":")[0]) for one in Channel):
            raise ValueError(f"{text!r} is not EXCHANGE:PAIR CHANNEL; channels are {', '.join(Channel)}")
        return cls(text)

    def matches(self, stream: StreamKey) -> bool:
        """Whether it matches this stream."""
        name, space, channel = self.text.partition(" ")
        if not space:
            return fnmatchcase(Keys().of(stream), name)
        fits = fnmatchcase(stream.channel, channel) or fnmatchcase(stream.suffix, channel)
        return fits and fnmatchcase(f"{stream.exchange}:{stream.subject}", name)


class PatternReader(Reader):
    """A `Reader` of all streams of the catalogs that match one of ``patterns``, a mapping from pattern to where to start.

    The catalogs are looked at in ``__aenter__`` and then every ``every`` seconds while items are awaited. The first
    pattern that matches counts. A stream that is listed later and would start at ``Position.NOW`` is read from its
    start: all of it is new. A pattern that starts at ``Position.SNAPSHOT`` must match only books.
    ``streams`` and all other arguments are those of `Reader`.
    """

    def __init__(
        self,
        url: Where,
        patterns: Mapping[str, Start],
        streams: Mapping[str, Start] | None = None,
        *,
        every: float = 2.0,
        namespace: str = "",
        **options: Any,
    ) -> None:
        self._patterns = [(Pattern.of(text), start) for text, start in patterns.items()]
        super().__init__(url, streams, namespace=namespace, **options)
        self._every = every
        self._due = 0.0
        """When the catalogs are looked at next, on the loop's clock; 0: they never were."""
        self._reported: set[str] = set()
        """Keys that Redis refuses to read, so that each is reported once."""

    async def __aenter__(self) -> Self:
        """Connect, look at the catalogs, and determine where each stream starts: from here on nothing is missed.

        Raises:
            RedisUnavailableError: Redis does not answer, or refuses this client.
            ValueError: a start that is not valid for its stream.
        """
        await super().__aenter__()
        try:
            await self._look()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def _step(self) -> None:
        if asyncio.get_running_loop().time() >= self._due:
            await self._look()
        await super()._step()

    def _idle_for(self) -> float | None:
        waits = (super()._idle_for(), max(0.0, self._due - asyncio.get_running_loop().time()))
        return min(wait for wait in waits if wait is not None)

    async def _look(self) -> None:
        """Add the streams that match and are not read yet. May be cancelled and repeated."""
        first = not self._due
        for catalog in (self._keys.catalog(), self._keys.accounts_catalog()):
            for key in sorted(await self._listed(catalog)):
                stream = self._keys.parse(key)
                if stream is None or key in self._positions:
                    continue
                start = next((start for pattern, start in self._patterns if pattern.matches(stream)), None)
                if start is not None:
                    await self._add(key, Position.START if start == Position.NOW and not first else start)
        self._due = asyncio.get_running_loop().time() + self._every

    async def _add(self, key: str, start: Start) -> None:
        try:
            await self.add(key, start)
        except exceptions.ResponseError as error:
            if not refuses_key(error):
                raise
            self._report_refused(key, error)  # the next look tries again
        else:
            self._reported.discard(key)

    async def _listed(self, catalog: str) -> list[str]:
        """The keys of a catalog; none if Redis refuses it: a public reader may not read the accounts' one."""
        try:
            found: Any = await self._outages.outlive(partial(self._redis.hkeys, catalog))
        except exceptions.ResponseError as error:
            if not refuses_key(error):
                raise
            self._report_refused(catalog, error)
            return []
        self._reported.discard(catalog)
        return list(found)

    def _report_refused(self, key: str, error: Exception) -> None:
        if key not in self._reported:
            self._reported.add(key)
            _log.warning("%s cannot be read, tried again every %g s: %s", key, self._every, error)
