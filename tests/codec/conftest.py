"""Processes that end with their test, as in the tests of the product as its users run it."""

from __future__ import annotations

from tests.e2e.conftest import run

__all__ = ["run"]
