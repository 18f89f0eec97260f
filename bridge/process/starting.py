"""When commands collect garbage: little while they start, and rarely what has no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["DRAWING", "READING", "collect_as_usual", "collect_rarely", "quick_imports"]

_USUAL = gc.get_threshold()
_RARELY = 100_000
"""Objects made between two collections. Importing a connector makes half a million, of which nearly all stay."""

READING = 20_000, 20, 20
"""Objects more than before until the youngest are looked at, and how often until the older ones are."""
DRAWING = 1_000, 5, 2_000
"""The same where many objects are made that stay for a moment: little at a time, and the oldest hardly ever."""


@contextmanager
def quick_imports() -> Iterator[None]:
    """Inside, little garbage is collected, until `collect_as_usual`."""
    gc.set_threshold(_RARELY)
    try:
        yield
    finally:
        collect_as_usual()


def collect_as_usual() -> None:
    """Collect garbage as Python does by default, for whatever runs long, but among what is made from now on.

    What is loaded stays: each full collection would walk over all of it, and stop the process for up to 300 ms.
    """
    gc.freeze()
    gc.set_threshold(*_USUAL)


def collect_rarely(thresholds: tuple[int, int, int] = READING) -> None:
    """Have the collector look less often: what readers have in memory has no cycles, and is looked at in vain."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds)
