"""How an exchange is played where it lives only for minutes: the connector's settings for that, and what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

__all__ = ["Scenario", "ScenarioFault"]


class ScenarioFault(Struct, frozen=True):
    """One thing that goes wrong: in words, and as ``POST /sim/faults`` takes it."""

    words: str
    fault: dict[str, object]


class Scenario(Struct, frozen=True):
    """What the demo does with an exchange.

    ``faults`` makes endless troubles for pairs, to be struck one every few seconds. No client could tell some losses
    (a public trade of an exchange that numbers nothing): those are not among them. ``connector`` are settings of the
    connector, so that what it asks for only now and then comes in time; ``connector_with_faults`` are further ones, so that it also
    notices in time what goes wrong. ``simulate`` are arguments of ``tickbridge simulate``.
    """

    faults: Callable[[Sequence[str]], Iterator[ScenarioFault]]
    connector: Mapping[str, Any] = field(default_factory=dict)
    connector_with_faults: Mapping[str, Any] = field(default_factory=dict)
    simulate: tuple[str, ...] = ()
