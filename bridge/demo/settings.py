"""The options of the demo."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

__all__ = ["DemoSettings"]


class DemoSettings(Struct, frozen=True):
    """The options of ``tickbridge demo``.

    ``pairs`` maps an exchange to its pairs; ``duration`` is in seconds (``None``: until it is ended), ``rate`` per second
    and exchange.
    """

    pairs: dict[str, tuple[str, ...]]
    duration: float | None = None
    rate: float = 200.0
    seed: int = 1
    redis: str | None = None
    directory: Path | None = None
    live: bool = False
    faults: bool = False
    picture: Path | None = None
    settle: float = 45.0
    """Seconds that the streams may take at the end to catch up with the exchange."""
