"""The simulated LMEX."""

from __future__ import annotations

from bridge.simulator.lmex.exchange import Lmex
from bridge.simulator.lmex.markets import DEFAULT_PAIRS, market_config, pair_spec
from bridge.simulator.lmex.scenario import SCENARIO

__all__ = ["DEFAULT_PAIRS", "SCENARIO", "Lmex", "market_config", "pair_spec"]
