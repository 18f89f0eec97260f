"""Types of exchanges' own settings."""

from __future__ import annotations

from pydantic import BeforeValidator

__all__ = ["AS_NUMBER"]


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


AS_NUMBER = BeforeValidator(_number)
"""For a choice among whole numbers: variables of the environment are text."""
