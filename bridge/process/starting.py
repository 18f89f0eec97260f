"""A quick start of a command: imports collect little garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_as_usual", "quick_imports"]

_USUAL = gc.get_threshold()
_RARELY = 100_000
"""Objects made between two collections. Importing a connector makes half a million, of which nearly all stay."""


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
