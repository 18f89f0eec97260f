"""Exchanges that speak the real protocols over real sockets, fed by one small matching market, with faults on request."""

from __future__ import annotations

from bridge.simulator.config import DEFAULT_PAIRS, LimitlexConfig, SimulatorConfig
from bridge.simulator.faults import Fault
from bridge.simulator.simulator import EXCHANGES, Simulator, Urls
from bridge.simulator.specs import AccountSpec, MarketConfig, PairSpec, market_config, pair_spec

__all__ = [
    "DEFAULT_PAIRS",
    "EXCHANGES",
    "AccountSpec",
    "Fault",
    "LimitlexConfig",
    "MarketConfig",
    "PairSpec",
    "Simulator",
    "SimulatorConfig",
    "Urls",
    "market_config",
    "pair_spec",
]
