"""Processes that end with their test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Run
from tests.e2e.harness import Process


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start a command of ours; what still runs at the test's end is killed."""
    started: list[Process] = []

    def start(*arguments: str, module: str = "bridge", **env: str) -> Process:
        process = Process(tmp_path / f"process-{len(started)}.log", *arguments, module=module, **env)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
