from __future__ import annotations

import logging
import os

import hypothesis
import pytest
import structlog

from bridge.config import connectors
from bridge.redaction import forget_secrets
from tests.unit.config_helpers import Config, Registry
from tests.unit.lines import scripted
from tests.unit.piped import Piped

# On a busy machine an example may take long without anything being wrong. CI tries the same examples every time, so
# that what fails there is the change; elsewhere there are new ones in each run.
hypothesis.settings.register_profile("tickbridge", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("tickbridge")


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A way to load configs for the two exchanges of ``config_helpers``."""
    monkeypatch.setattr(connectors, "registry", Registry)
    return Config(tmp_path)


@pytest.fixture
def own_logs():
    """The test may configure logs and register secrets; afterwards both are as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    forget_secrets()
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
async def piped():
    return Piped()


@pytest.fixture
async def line():
    async with scripted(lambda _: b"OK") as (made, _):
        yield made
