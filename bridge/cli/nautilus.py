"""``tickbridge nautilus``: the same as ``python -m consumers.nautilus``."""

from __future__ import annotations

from typing import Any

from bridge.cli.consumer import add_consumer
from consumers import nautilus

__all__ = ["add_parser"]


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    add_consumer(subparsers, "nautilus", nautilus)
