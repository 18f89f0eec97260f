"""The simulated LMEX."""

from __future__ import annotations

from bridge.simulator.exchange import SimulatedExchange
from bridge.simulator.lmex.exchange import Lmex
from bridge.simulator.lmex.faults import FAULTS
from bridge.simulator.lmex.markets import DEFAULT_PAIRS, market_config
from bridge.simulator.lmex.options import LmexConfig
from bridge.simulator.lmex.scenario import SCENARIO

__all__ = ["LMEX"]

LMEX = SimulatedExchange(
    "lmex",
    dialect=Lmex,
    options=LmexConfig,
    pairs=DEFAULT_PAIRS,
    market=market_config,
    scenario=SCENARIO,
    faults=FAULTS,
)
