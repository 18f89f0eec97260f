"""How long a test waits for what must come."""

from __future__ import annotations

__all__ = ["PATIENCE"]

PATIENCE = 180.0
"""Seconds after which a test takes something for hung. It measures nothing: a busy machine may take long."""
