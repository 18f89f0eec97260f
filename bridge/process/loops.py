"""Chooses the event loop of a command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any, TypeVar

from bridge.errors import ConfigError, Problem
from bridge.process.lifecycle import run_loop
from bridge.process.logs import handle_loop_errors
from bridge.process.starting import collect_as_usual

__all__ = ["check_loop", "run_async"]

T = TypeVar("T")


def run_async(main: Coroutine[Any, Any, T], loop: str = "auto") -> T:
    """Run a coroutine on ``auto`` (uvloop if it is installed), ``asyncio`` or ``uvloop``.

    Raises:
        ConfigError: uvloop is requested and not installed.
    """
    try:
        factory = _factory(loop)
    except ConfigError:
        main.close()
        raise
    collect_as_usual()
    return run_loop(main, factory, handle_loop_errors)


def check_loop(loop: str) -> None:
    """Check that this loop is available.

    Raises:
        ConfigError: uvloop is requested and not installed.
    """
    _factory(loop)


def _factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if loop == "asyncio":
        return None
    try:
        uvloop = import_module("uvloop")
    except ImportError:
        if loop == "auto":
            return None
        raise ConfigError(
            [Problem("loop", "uvloop is not installed", "pip install 'tickbridge[fast]', or loop: auto")]
        ) from None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
