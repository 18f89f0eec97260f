from __future__ import annotations

import gc
import sys

import pytest

from bridge.process.loops import run_async
from bridge.process.starting import quick_imports


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
