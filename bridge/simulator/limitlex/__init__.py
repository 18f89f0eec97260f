"""The simulated Limitlex."""

from __future__ import annotations

from bridge.simulator.exchange import SimulatedExchange
from bridge.simulator.limitlex.exchange import Limitlex
from bridge.simulator.limitlex.options import LimitlexConfig
from bridge.simulator.limitlex.scenario import SCENARIO
from bridge.simulator.specs import market_config

__all__ = ["LIMITLEX"]

LIMITLEX = SimulatedExchange(
    "limitlex",
    dialect=Limitlex,
    options=LimitlexConfig,
    pairs=("BTC-EUR", "ETH-EUR", "LTC-EUR"),
    market=market_config,
    scenario=SCENARIO,
)
