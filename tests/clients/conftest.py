"""The built clients, and the simulated exchange of the end-to-end tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.building import built_go, built_typescript
from tests.e2e.conftest import bench, own_bench, run, simulate
from tests.e2e.test_redis_connections import secure_server

__all__ = ["bench", "go", "own_bench", "run", "secure_server", "simulate", "typescript"]


@pytest.fixture(scope="session")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_typescript(tmp_path_factory)


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_go(tmp_path_factory)
