"""While a connector's sockets are not read, its books are not found wrong."""

from __future__ import annotations

import asyncio

from bridge.clock import CLOCK
from bridge.exchanges.api import BestPrices, Subscription
from bridge.model import BookSnapshot, Channel
from tests.patience import PATIENCE
from tests.unit.routers import opened

PAIR = "BTC-EUR"
MISMATCH = 0.5
"""Seconds for which a book may differ from the best prices told beside it."""


async def looked_at(router, seconds):
    """Let the connector look at its books for so long; returns whether this one is still taken for right."""
    topic = router._topics[Subscription(Channel.BOOK, PAIR)]
    watching = asyncio.create_task(router._books.watch())
    try:
        async with asyncio.timeout(seconds):
            while topic.whole:
                await asyncio.sleep(0.01)
    except TimeoutError:
        return True
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    return False


async def test_a_difference_counts_from_when_they_are_read_again(redis_server, tmp_path):
    options = {"mismatch": MISMATCH}
    async with opened(redis_server, tmp_path, channels=["book"], options=options) as router:
        now = CLOCK.now()
        router.event(BookSnapshot(PAIR, None, now, "", [("10", "1")], [("11", "1")]))
        router.event(BestPrices(PAIR, None, now, "10.5", "11"))
        router.flow.hold(router)
        assert await looked_at(router, 3 * MISMATCH)
        router.flow.release(router)
        assert not await looked_at(router, PATIENCE)
