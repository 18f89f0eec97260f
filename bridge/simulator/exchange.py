"""What the package of an exchange exports: one object with all that there is to know of it."""

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

    ``dialect`` speaks its protocol. ``options`` is a frozen struct of what the protocol leaves open, with defaults (see
    ``bridge.simulator.options``). ``pairs`` are the usual ones; ``market`` makes a market of pairs by name and settings
    of ``MarketConfig``. ``faults`` are those that it alone has, by name. ``scenario`` is what the demo does with it.
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
