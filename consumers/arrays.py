"""Values of Python as ``pyarrow`` arrays, made of their bytes.

pyarrow could do this itself, but it imports pandas for it, where that is installed: half a second of a core, as much as a
hundred thousand rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from consumers.files import arrow

__all__ = ["integer", "integers", "text", "texts"]


def texts(values: Sequence[bytes | None]) -> Any:
    """UTF-8 as an array of text.

    Raises:
        ValueError: it is not UTF-8.
    """
    pa = arrow()
    parts = [value or b"" for value in values] if None in values else values
    offsets = array("i", accumulate(map(len, parts), initial=0))  # type: ignore[arg-type]
    content = b"".join(parts)  # type: ignore[arg-type]
    buffers = [_validity(values), pa.py_buffer(offsets), pa.py_buffer(content)]
    made = pa.Array.from_buffers(pa.string(), len(values), buffers)
    if not content.isascii():
        made.validate(full=True)
    return made


def integers(values: Sequence[int | None]) -> Any:
    """Numbers as an array of 64 bits.

    Raises:
        OverflowError: one is larger.
    """
    pa = arrow()
    numbers = array("q", [value or 0 for value in values])
    return pa.Array.from_buffers(pa.int64(), len(values), [_validity(values), pa.py_buffer(numbers)])


def text(value: str) -> Any:
    """A text that arrays can be compared with."""
    return texts([value.encode()])[0]


def integer(value: int) -> Any:
    """A number that arrays can be compared with."""
    return integers([value])[0]


def _validity(values: Sequence[object]) -> Any:
    """The bitmap of what is there; ``None`` if everything is."""
    if None not in values:
        return None
    bits = "".join("0" if value is None else "1" for value in reversed(values))
    return arrow().py_buffer(int(bits, 2).to_bytes(-(-len(values) // 8), "little"))
