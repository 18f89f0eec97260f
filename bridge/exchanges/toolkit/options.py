"""Types of exchanges' options."""

from __future__ import annotations

from pydantic import BeforeValidator

__all__ = ["FROM_TEXT"]


def _number(value: object) -> object:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


FROM_TEXT = BeforeValidator(_number)
"""For whole numbers: variables of the environment are text."""
