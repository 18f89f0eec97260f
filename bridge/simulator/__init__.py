"""Exchanges that speak the real protocols over real sockets, fed by one small matching market, with faults on request."""

from __future__ import annotations

from bridge.simulator.config import DEFAULT_PAIRS, LimitlexConfig, LmexConfig, SimulatorConfig
from bridge.simulator.faults import Fault
from bridge.simulator.registry import EXCHANGES, exchange_named
from bridge.simulator.simulator import Simulator, Urls
from bridge.simulator.specs import AccountSpec, MarketConfig, PairSpec, market_config, pair_spec

__all__ = [
    "DEFAULT_PAIRS",
    "EXCHANGES",
    "AccountSpec",
    "Fault",
    "LimitlexConfig",
    "LmexConfig",
    "MarketConfig",
    "PairSpec",
    "Simulator",
    "SimulatorConfig",
    "Urls",
    "exchange_named",
    "market_config",
    "pair_spec",
]
