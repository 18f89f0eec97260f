"""The exchanges that can be simulated: a line to import each, and a line here. No other file names one.

Whoever adds an exchange adds these two lines.
"""

from __future__ import annotations

from collections.abc import Mapping

from bridge.errors import ConfigError, Problem
from bridge.simulator.exchange import SimulatedExchange
from bridge.simulator.faults import OwnFault
from bridge.simulator.limitlex import LIMITLEX
from bridge.simulator.lmex import LMEX

__all__ = ["EXCHANGES", "OWN_FAULTS", "exchange_named"]

_ALL = (
    LIMITLEX,
    LMEX,
)

EXCHANGES: Mapping[str, SimulatedExchange] = {exchange.name: exchange for exchange in _ALL}
"""Name → exchange; the first is the demo's, unless it is told otherwise."""

OWN_FAULTS: Mapping[str, OwnFault] = {name: fault for each in _ALL for name, fault in each.faults.items()}
"""The faults that only some exchanges have; of the same name, they are the same."""


def exchange_named(name: str) -> SimulatedExchange:
    """The exchange of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in EXCHANGES:
        problem = Problem("exchange", f"no simulator for {name!r}", f"known: {', '.join(EXCHANGES)}")
        raise ConfigError([problem], "simulate")
    return EXCHANGES[name]
