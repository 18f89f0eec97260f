"""The registry of simulated exchanges. No other file names an exchange.

To add an exchange, add an import and an entry here.
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
"""Name → exchange; the first is the default of the demo."""

OWN_FAULTS: Mapping[str, OwnFault] = {name: fault for each in _ALL for name, fault in each.faults.items()}
"""The faults that only some exchanges have; faults with the same name are the same."""


def exchange_named(name: str) -> SimulatedExchange:
    """The exchange with this name.

    Raises:
        ConfigError: there is no such exchange.
    """
    if name not in EXCHANGES:
        problem = Problem("exchange", f"no simulator for {name!r}", f"known: {', '.join(EXCHANGES)}")
        raise ConfigError([problem], "simulate")
    return EXCHANGES[name]
