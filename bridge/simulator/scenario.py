"""What the demo and chaos runs do with an exchange: settings of the connector, and faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from msgspec import Struct, field

__all__ = ["Scenario", "ScenarioFault"]


class ScenarioFault(Struct, frozen=True):
    """A fault, in words and as the body of ``POST /sim/faults``."""

    words: str
    fault: dict[str, object]


class Scenario(Struct, frozen=True):
    """What the demo and chaos runs do with an exchange.

    ``faults`` yields faults for pairs endlessly; one is injected every few seconds. Losses that no client could notice
    (a public trade of an exchange that numbers nothing) are not among them. ``connector`` are settings of the connector,
    so that what it polls arrives within a short demo; ``connector_with_faults`` replaces them if faults are injected, so
    that it also notices them in time. ``simulate`` are arguments of ``tickbridge simulate``.

    ``chaos`` draws one of everything that can go wrong, each as the bodies of ``POST /sim/faults`` (``after`` in a later
    one is counted from the first). Of what no client could notice, only what the journal lists as left out is among it.
    """

    faults: Callable[[Sequence[str]], Iterator[ScenarioFault]]
    chaos: Callable[[Random, Sequence[str]], list[tuple[dict[str, Any], ...]]]
    connector: Mapping[str, Any] = field(default_factory=dict)
    connector_with_faults: Mapping[str, Any] = field(default_factory=dict)
    simulate: tuple[str, ...] = ()
