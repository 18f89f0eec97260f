"""When commands collect garbage: little while they start, and rarely what has no cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_as_usual", "collect_rarely", "quick_imports"]

_USUAL = gc.get_threshold()
_RARELY = 100_000
"""Objects made between two collections. Importing a connector makes half a million, of which nearly all stay."""

_SERVING = 20_000, 20, 20
"""Objects more than before until the youngest are looked at, and how often until the older ones are."""


@contextmanager
def quick_imports() -> Iterator[None]:
    """Inside, little garbage is collected, until `collect_as_usual`."""
    gc.set_threshold(_RARELY)
    try:
        yield
    finally:
        collect_as_usual()


def collect_as_usual() -> None:
    """Collect garbage as Python does by default: for whatever runs long."""
    gc.set_threshold(*_USUAL)


def collect_rarely() -> None:
    """Have the collector look less often: what readers have in memory has no cycles, and is looked at in vain."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_SERVING)
