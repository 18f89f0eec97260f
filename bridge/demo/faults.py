"""Injects the faults of an exchange's scenario while the demo runs, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from bridge.demo.control import UNREACHABLE
from bridge.demo.venue import Venue
from bridge.simulator import exchange_named

__all__ = ["FAULT_INTERVAL", "inject_faults"]

FAULT_INTERVAL = 3.0
"""Seconds between two faults."""
_FIRST_AFTER = 2.0


async def inject_faults(venue: Venue, notify: Callable[[str], None], later: float) -> None:
    """Inject a fault every few seconds, endlessly; the first one ``later`` seconds later than usual."""
    if venue.recorded:
        return
    await asyncio.sleep(_FIRST_AFTER + later)
    for fault in exchange_named(venue.exchange).scenario.faults(venue.pairs):
        with suppress(*UNREACHABLE):
            await venue.control.fault(**fault.fault)
            notify(f"fault: {fault.words} ({venue.exchange})")
        await asyncio.sleep(FAULT_INTERVAL)
