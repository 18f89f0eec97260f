"""These tests need CCXT, whose pins clash with those of the other development packages: it has an environment of its own."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

__all__ = ["needs_ccxt"]

needs_ccxt = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra tickbridge[ccxt] is not installed")
