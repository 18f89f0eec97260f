from __future__ import annotations

import pytest

from bridge.config import catalogue
from tests.unit.config_helpers import Config, Registry


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A way to load configs for the two exchanges of ``config_helpers``."""
    monkeypatch.setattr(catalogue, "registry", Registry)
    return Config(tmp_path)
