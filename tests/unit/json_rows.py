"""Frames of JSON whose data has rows, with other values."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["changed", "row"]


def changed(frame: bytes, **values: Any) -> bytes:
    """The frame with these values in its data (in its first row); ``...`` takes a field out."""
    message = json.loads(frame)
    data = message["data"]
    first = data[0] if isinstance(data, list) else data
    for name, value in values.items():
        if value is ...:
            first.pop(name)
        else:
            first[name] = value
    return json.dumps(message).encode()


def row(frame: bytes, **values: Any) -> dict[str, Any]:
    """The first row of a frame, with other values."""
    found: dict[str, Any] = json.loads(frame)["data"][0]
    return found | values
