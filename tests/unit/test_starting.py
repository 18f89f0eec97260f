from __future__ import annotations

import gc
import sys

import pytest

from bridge.process.loops import run_async
from bridge.process.starting import quick_imports
from consumers.service import serve


def test_garbage_is_collected_as_usual_once_a_loop_runs_and_afterwards():
    usual = gc.get_threshold()

    async def threshold() -> tuple[int, int, int]:
        return gc.get_threshold()

    with quick_imports():
        assert gc.get_threshold()[0] > usual[0]
        assert run_async(threshold()) == usual
    assert gc.get_threshold() == usual
    with pytest.raises(SystemExit), quick_imports():
        sys.exit()
    assert gc.get_threshold() == usual


def test_a_consumer_collects_garbage_rarely() -> None:
    usual = gc.get_threshold()
    found: list[int] = []

    async def main() -> None:
        found.append(gc.get_threshold()[0])

    try:
        with quick_imports():
            assert serve("books", main) == 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*usual)
    assert found == [20_000]


def test_what_is_loaded_is_not_looked_at_again_once_a_loop_runs() -> None:
    """A full collection over all of it would stop whatever runs for up to 300 ms."""
    gc.unfreeze()
    before = len(gc.get_objects())

    async def looked_at() -> int:
        return len(gc.get_objects())

    try:
        assert run_async(looked_at()) < before / 10
    finally:
        gc.unfreeze()
