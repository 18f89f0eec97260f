"""The simulated Limitlex."""

from __future__ import annotations

from bridge.simulator.limitlex.exchange import Limitlex
from bridge.simulator.limitlex.scenario import SCENARIO

__all__ = ["SCENARIO", "Limitlex"]
