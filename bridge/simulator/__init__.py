"""Simulated exchanges: the real protocols over real sockets, with a small matching market, and faults on request.

``registry`` lists the exchanges; each is a package that exports one ``SimulatedExchange``. Imports run downwards:
``simulator`` (ports and TLS), ``control`` (its paths), ``simulation`` (market, dialect, faults), a dialect, then sockets
and market, which do not import each other.
"""

from __future__ import annotations

from bridge.simulator.config import SimulatorConfig
from bridge.simulator.faults import Fault
from bridge.simulator.registry import EXCHANGES, exchange_named
from bridge.simulator.simulator import Simulator, Urls
from bridge.simulator.specs import AccountSpec, MarketConfig, PairSpec, market_config, pair_spec

__all__ = [
    "EXCHANGES",
    "AccountSpec",
    "Fault",
    "MarketConfig",
    "PairSpec",
    "Simulator",
    "SimulatorConfig",
    "Urls",
    "exchange_named",
    "market_config",
    "pair_spec",
]
