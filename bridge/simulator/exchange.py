"""The object that the package of a simulated exchange exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from bridge.simulator.dialect import Dialect
from bridge.simulator.faults import OwnFault
from bridge.simulator.scenario import Scenario
from bridge.simulator.specs import MarketConfig

__all__ = ["SimulatedExchange"]


class SimulatedExchange(Struct, frozen=True):
    """An exchange that can be simulated.

    ``dialect`` implements its protocol. ``options`` is a frozen struct of protocol options with defaults (see
    ``bridge.simulator.options``). ``pairs`` are the default pairs; ``market`` makes a market from names of pairs and
    settings of ``MarketConfig``. ``faults`` are its own faults, by name. ``scenario`` is what the demo does with it.
    """

    name: str
    dialect: type[Dialect]
    options: type[Struct]
    pairs: tuple[str, ...]
    market: Callable[..., MarketConfig]
    scenario: Scenario
    faults: Mapping[str, OwnFault] = field(default_factory=dict)

    def market_of(self, pairs: Any = None, **settings: Any) -> MarketConfig:
        """The market of ``pairs``, or of the usual ones.

        Raises:
            ConfigError: a pair's name or a setting is wrong.
        """
        return self.market(pairs or self.pairs, **settings)
