"""The exchanges that can be simulated: one entry each, and nothing else outside of an exchange's package names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from bridge.errors import ConfigError, Problem
from bridge.simulator import limitlex, lmex
from bridge.simulator.config import DEFAULT_PAIRS, SimulatorConfig
from bridge.simulator.dialect import Core, Dialect
from bridge.simulator.scenario import Scenario
from bridge.simulator.specs import MarketConfig, market_config

__all__ = ["EXCHANGES", "Exchange", "exchange_named"]


class Exchange(Struct, frozen=True):
    """How one is simulated.

    ``dialect`` is its class, ``make`` an instance of it; ``market`` makes a market of pairs by name and settings of
    ``MarketConfig``; ``scenario`` is what the demo does with it.
    """

    dialect: type[Dialect]
    make: Callable[[Core, SimulatorConfig], Dialect]
    market: Callable[..., MarketConfig]
    pairs: tuple[str, ...]
    scenario: Scenario

    def market_of(self, pairs: Any = None, **settings: Any) -> MarketConfig:
        """The market of ``pairs``, or of the usual ones.

        Raises:
            ConfigError: a pair's name or a setting is wrong.
        """
        return self.market(pairs or self.pairs, **settings)


EXCHANGES: Mapping[str, Exchange] = {
    "limitlex": Exchange(
        limitlex.Limitlex,
        lambda core, config: limitlex.Limitlex(core, config.limitlex),
        market_config,
        DEFAULT_PAIRS,
        limitlex.SCENARIO,
    ),
    "lmex": Exchange(
        lmex.Lmex,
        lambda core, config: lmex.Lmex(core, config.lmex),
        lmex.market_config,
        lmex.DEFAULT_PAIRS,
        lmex.SCENARIO,
    ),
}
"""The exchanges that can be simulated."""


def exchange_named(name: str) -> Exchange:
    """The exchange of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in EXCHANGES:
        problem = Problem("exchange", f"no simulator for {name!r}", f"known: {', '.join(EXCHANGES)}")
        raise ConfigError([problem], "simulate")
    return EXCHANGES[name]
