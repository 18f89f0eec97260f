"""What the exchange lists of a connector's pairs, looked at from time to time, and shown in their hashes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Exchange, ListedPair
from bridge.feed.context import FeedContext
from bridge.redis.errors import AWAY, FAILURES, explain
from bridge.redis.instruments import InstrumentHashes

__all__ = ["Instruments", "lists_pairs"]

_LOOK_EVERY = 300.0
"""Seconds between two looks at the list: of the largest exchange it is more than a megabyte."""
_AGAIN = 15.0
"""Seconds until the next attempt, where REST or Redis has failed."""
UNLISTED = "unlisted"
"""The status of a pair that was listed, and is no more."""


def lists_pairs(exchange: Exchange) -> bool:
    """Whether the exchange has a list of its pairs."""
    return type(exchange).list_pairs is not Exchange.list_pairs


class Instruments:
    """Keeps the instrument hashes of the connector's pairs: each is written when the exchange's list says something new.

    ``pairs`` gives those that the connector reads at present.
    """

    def __init__(self, context: FeedContext, hashes: InstrumentHashes, pairs: Callable[[], Collection[str]]) -> None:
        self._context = context
        self._hashes = hashes
        self._pairs = pairs
        self._trouble = ""
        """What the log was told last; empty after a success."""

    async def run(self) -> None:
        """Look at the list and write what has changed, endlessly.

        Raises:
            DisplacedError: another process has taken over the connector.
        """
        while True:
            pause = _LOOK_EVERY if await self.look() else _AGAIN
            await asyncio.sleep(pause * self._context.random.uniform(0.8, 1.2))

    async def look(self) -> bool:
        """Look at the list, and write what is new; whether all of that worked.

        Raises:
            DisplacedError: another process has taken over the connector.
        """
        trouble = ""
        if not (pairs := self._pairs()):
            return True
        try:
            listed = await self._context.rest.drive(self._context.exchange.list_pairs())
        except RestError as error:
            trouble = str(error)
        else:
            known = {pair.pair: pair for pair in listed}
            for pair in pairs:
                try:
                    await self._show(pair, known)
                except AWAY:
                    return False  # the log has that already
                except FAILURES as error:
                    trouble = explain(error, "")
        if trouble and trouble != self._trouble:
            self._context.log.warning("instruments_failed", error=trouble)
        self._trouble = trouble
        return not trouble

    async def _show(self, pair: str, known: Mapping[str, ListedPair]) -> None:
        if pair in known:
            await self._hashes.show(pair, known[pair].fields)
        else:
            await self._hashes.show(pair, {"status": UNLISTED}, only_known=True)
