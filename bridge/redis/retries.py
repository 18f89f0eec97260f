"""How long to wait before Redis is asked again."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

__all__ = ["retries"]


def retries(first: float = 0.05, cap: float = 2.0, rand: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait before each retry: none, then doubling from ``first`` to ``cap``, each between a half and the whole.

    The jitter comes after the cap, so that a crowd of clients stays spread out however long an outage lasts.
    """
    yield 0.0
    step = first
    while True:
        yield min(step, cap) * (0.5 + rand() / 2)
        step = min(cap, step * 2)
