"""The fault plan: which fault strikes what, when, and for how long. It follows from seed, duration and kinds alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from msgspec import Struct

from bridge.errors import ConfigError, Problem
from bridge.simulator import EXCHANGES
from bridge.suggestions import did_you_mean

__all__ = ["KINDS", "READERS", "SHAPES", "SIDES", "Kind", "PlannedFault", "checked_kinds", "make_plan"]

SIDES = ("a", "b")
"""The two processes of each connector; which of them writes changes."""
SHAPES = ("single", "cluster", "sentinel")
"""What Redis may be in a run."""
READERS = ("books", "wallets")
_PAUSE = (1.5, 3.5)
"""Seconds between two faults."""
_STEPS = (-2 * 3600, -30, -2, 2, 30, 30 * 3600)
"""Seconds by which a clock is set: a correction, a summer time, a board that comes back without a battery."""
_LAST = 2.0
"""Seconds before the end of the plan in which no fault begins."""

Bodies = tuple[dict[str, Any], ...]


class PlannedFault(Struct, frozen=True):
    """One fault: ``at`` seconds after the start, for ``seconds`` (0: it is over at once).

    ``bodies`` are what a simulated exchange is asked for (``POST /sim/faults``), or by how many seconds a clock is set.
    """

    at: float
    kind: str
    target: str
    seconds: float = 0.0
    bodies: Bodies = ()

    def __str__(self) -> str:
        words = [f"{self.at:7.1f} s  {self.kind:<15} {self.target}"]
        words += [f"for {self.seconds:.1f} s"] * bool(self.seconds)
        words += [" ".join(f"{name}={value}" for name, value in body.items()) for body in self.bodies]
        return "  ".join(words)


class Kind(Struct, frozen=True):
    """What a kind of fault does, in ``words``; ``draw`` makes one: target, seconds, bodies.

    ``needs`` are the shapes of Redis that it works with (empty: all).
    """

    words: str
    draw: Callable[[Random], tuple[str, float, Bodies]]
    needs: tuple[str, ...] = ()

    @property
    def requirement(self) -> str:
        """The options that it needs, for messages."""
        return " or ".join(f"--redis {shape}" for shape in self.needs)


def _of(
    targets: Sequence[str], shortest: float = 0.0, longest: float = 0.0
) -> Callable[[Random], tuple[str, float, Bodies]]:
    def draw(random: Random) -> tuple[str, float, Bodies]:
        seconds = round(random.uniform(shortest, longest), 1) if longest else 0.0
        return random.choice(targets), seconds, ()

    return draw


def _clock(random: Random) -> tuple[str, float, Bodies]:
    target, seconds, _ = _of(_SOME, 2, 10)(random)
    return target, seconds, ({"ahead": random.choice(_STEPS)},)


def _at_exchange(random: Random) -> tuple[str, float, Bodies]:
    exchange = EXCHANGES[random.choice(list(EXCHANGES))]
    pairs = [pair.name for pair in exchange.market_of().pairs]
    return exchange.name, 0.0, random.choice(exchange.scenario.chaos(random, pairs))


_EXCHANGES = tuple(EXCHANGES)
_ONE = tuple(f"{name} {role}" for name in _EXCHANGES for role in ("writer", "standby"))
_SOME = tuple(f"{name} {role}" for name in _EXCHANGES for role in ("writer", "standby", "both"))
_LINKS = (
    *(f"{name}-{side} to {end}" for name in _EXCHANGES for side in SIDES for end in ("exchange", "redis")),
    *(f"{name} to redis" for name in READERS),
)
_REDIS = tuple(f"redis {number}" for number in range(3))

KINDS: Mapping[str, Kind] = {
    "kill": Kind("kill -9 of the writer, the standby, or both", _of(_SOME)),
    "pause": Kind("SIGSTOP of the writer, the standby, or both, then SIGCONT", _of(_SOME, 1, 8)),
    "handover": Kind("the writer is asked to hand over to its standby", _of(_EXCHANGES)),
    "cut": Kind("all TCP connections between two parts are reset", _of(_LINKS)),
    "refuse": Kind("the same, and none can be opened", _of(_LINKS, 1, 6)),
    "hold": Kind("nothing gets through between two parts, then everything does", _of(_LINKS, 1, 8)),
    "block-logs": Kind("nobody reads the logs of a process", _of(_ONE, 2, 8)),
    "kill-reader": Kind("kill -9 of a consumer", _of(READERS)),
    "pause-reader": Kind("a consumer does not read (SIGSTOP)", _of(READERS, 2, 8)),
    "exchange": Kind("a fault of the simulated exchange", _at_exchange),
    "pause-exchange": Kind("the exchange hangs (SIGSTOP)", _of(_EXCHANGES, 1, 5)),
    "pause-redis": Kind("Redis hangs (SIGSTOP)", _of(_REDIS, 1, 5)),
    "kill-redis": Kind("kill -9 of Redis (of a master), which starts again with its data", _of(_REDIS)),
    "wipe-redis": Kind("kill -9 of Redis, which starts again without data", _of(_REDIS[:1]), ("single",)),
    "clock": Kind("the clock of the writer's host, the standby's, or both is set, and later set right", _clock),
    "fill-redis": Kind("maxmemory is reached", _of(_REDIS[:1], 1, 5)),
    "failover": Kind("a replica takes its master's place", _of(_REDIS), ("cluster", "sentinel")),
    "move-slot": Kind("a slot moves to another master, with its streams", _of(_REDIS), ("cluster",)),
}
"""Name → kind of fault."""


def checked_kinds(wanted: Sequence[str], available: Sequence[str]) -> tuple[str, ...]:
    """The kinds that are wanted (none: all that are available), in the order of ``KINDS``.

    Raises:
        ConfigError: one does not exist, or is not available here.
    """
    problems = []
    for name in wanted:
        if name not in KINDS:
            problems.append(Problem("--kinds", f"{name!r} is not a kind of fault", did_you_mean(name, tuple(KINDS))))
        elif name not in available:
            problems.append(Problem("--kinds", f"{name} is not possible here", f"it needs {KINDS[name].requirement}"))
    if problems:
        raise ConfigError(problems, "chaos")
    return tuple(name for name in KINDS if name in (wanted or available))


def make_plan(seed: int, duration: float, kinds: Sequence[str]) -> list[PlannedFault]:
    """The faults of a run of ``duration`` seconds: all kinds in a random order, then in another one, and so on."""
    random = Random(seed)  # noqa: S311 - the same seed has to give the same plan
    order = _endlessly(random, kinds)
    plan, at = [], random.uniform(*_PAUSE)
    while at < duration - _LAST:
        kind = next(order)
        target, seconds, bodies = KINDS[kind].draw(random)
        plan.append(PlannedFault(round(at, 1), kind, target, seconds, bodies))
        at += random.uniform(*_PAUSE)
    return plan


def _endlessly(random: Random, kinds: Sequence[str]) -> Iterator[str]:
    while True:
        yield from random.sample(kinds, len(kinds))
