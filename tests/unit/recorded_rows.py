"""The rows of a recording, read by other means than the product's."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard


def rows(path: Path) -> Iterator[Any]:
    if path.suffix == ".zst":
        with path.open("rb") as raw:
            yield from map(json.loads, io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), "utf-8"))
    else:
        with path.open() as lines:
            yield from map(json.loads, lines)
