from __future__ import annotations

from textwrap import dedent

import pytest


@pytest.fixture
def config(tmp_path):
    """Writes a config of the default name."""

    def write(text):
        path = tmp_path / "tickbridge.yaml"
        path.write_text(dedent(text))
        return path

    return write
