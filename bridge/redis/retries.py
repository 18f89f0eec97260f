"""Waiting times between retries of calls to Redis."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

__all__ = ["retries"]


def retries(first: float = 0.05, cap: float = 2.0, rand: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait before each retry: 0, then doubling from ``first`` to ``cap``, times a random 0.5 to 1.

    The jitter is applied after the cap, so that many clients stay spread out however long an outage lasts.
    """
    yield 0.0
    step = first
    while True:
        yield min(step, cap) * (0.5 + rand() / 2)
        step = min(cap, step * 2)
