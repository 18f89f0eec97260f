from __future__ import annotations

import hypothesis
import pytest

from bridge.config import catalogue
from tests.unit.config_helpers import Config, Registry

# On a busy machine an example may take long without anything being wrong.
hypothesis.settings.register_profile("tickbridge", deadline=None)
hypothesis.settings.load_profile("tickbridge")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A way to load configs for the two exchanges of ``config_helpers``."""
    monkeypatch.setattr(catalogue, "registry", Registry)
    return Config(tmp_path)
