from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from bridge.process.loops import run_async
from bridge.process.starting import quick_imports
from tests.environment import clean_environment


def printed(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_logs_come_without_rich_which_can_be_imported_all_the_same():
    code = """
import sys
from bridge.process.starting import quick_imports
with quick_imports():
    from bridge.process.logs import configure_logging
    print("rich" in sys.modules, "structlog" in sys.modules)
    import rich.console
import inspect, structlog
print(structlog.dev.rich, rich.console.Console.__name__, "def get_logger" in inspect.getsource(structlog._config))
"""
    assert printed(code).split("\n") == ["False True", "None Console True"]


def test_what_has_been_imported_stays():
    code = """
import sys
import rich
from bridge.process.starting import quick_imports
before = list(sys.meta_path)
with quick_imports():
    import structlog
print(sys.modules["rich"] is rich, sys.meta_path == before)
"""
    assert printed(code) == "True True"


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
