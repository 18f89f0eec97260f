"""The simulated Limitlex."""

from __future__ import annotations

from bridge.simulator.limitlex.exchange import Limitlex

__all__ = ["Limitlex"]
