"""A few things that go wrong at an exchange while the demo runs, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from bridge.demo.control import AWAY
from bridge.demo.venue import Venue
from bridge.simulator import exchange_named

__all__ = ["EVERY", "make_trouble"]

EVERY = 3.0
"""Seconds from one to the next."""
_FIRST_AFTER = 2.0


async def make_trouble(venue: Venue, tell: Callable[[str], None], later: float) -> None:
    """Strike every few seconds, endlessly; ``later``: seconds by which to begin later."""
    await asyncio.sleep(_FIRST_AFTER + later)
    for trouble in exchange_named(venue.exchange).scenario.troubles(venue.pairs):
        with suppress(*AWAY):
            await venue.control.fault(**trouble.fault)
            tell(f"fault: {trouble.words} ({venue.exchange})")
        await asyncio.sleep(EVERY)
