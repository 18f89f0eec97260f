"""A quick start of a command: what its imports need not do."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # itself a twentieth of a second
    from importlib.abc import Loader

__all__ = ["collect_as_usual", "quick_imports"]

_USUAL = gc.get_threshold()
_RARELY = 100_000
"""Objects made between two collections. Importing a connector makes half a million, of which nearly all stay."""
_LIBRARY, _UNUSED = "structlog", "rich"
"""The library imports the other one, if it is installed, for a form of tracebacks that is not used here."""


@contextmanager
def quick_imports() -> Iterator[None]:
    """Inside, little garbage is collected, until `collect_as_usual`, and structlog is imported without rich.

    Together this is a tenth of the time in which a connector starts. Whoever needs rich imports it as always.
    """
    finder = _WithoutUnused()
    sys.meta_path.insert(0, finder)
    gc.set_threshold(_RARELY)
    try:
        yield
    finally:
        collect_as_usual()
        sys.meta_path.remove(finder)


def collect_as_usual() -> None:
    """Collect garbage as Python does by default: for whatever runs long."""
    gc.set_threshold(*_USUAL)


class _WithoutUnused:
    """Finds the one library on the path, to load it without the other."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == _LIBRARY else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Masking(spec.loader)  # type: ignore[assignment]  # see above
        return spec


class _Masking:
    """The loader that it is given, while the unused library cannot be imported."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        here: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
        masked = here.setdefault(_UNUSED, None) is None
        try:
            self._loader.exec_module(module)
        finally:
            if masked:
                del here[_UNUSED]
