"""Replies to ``XRANGE`` as columns, cut out of the bytes of the socket without a Python object for each value.

Most pages of a stream are regular: every entry has the same fields in the same order. Then every entry has the same
number of lines in the protocol, and a value's place follows from the places of all line ends. What is assumed is checked
for every entry: all that is the same in every entry, byte by byte, and of each value that its announced length is that of
its line. What is not regular (another set of fields, a line feed in a value, text beyond ASCII) makes no grid, and is
parsed in the ordinary way.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from consumers.files import arrow, library

__all__ = ["PAD", "Grid", "parse_grid"]

PAD = 64
"""Bytes behind the reply that the buffer must have."""
_LF, _CR, _DASH, _ZERO = 10, 13, 45, 48
_LONGEST_COUNT = 9
_HEAD = 4
"""Lines of an entry before its fields: ``*2``, the length of the ID, the ID, the number of texts. A field has four."""


class Grid(Struct, frozen=True):
    """A page of entries: the names of the fields that all of them have, and by field the values as ``pyarrow`` text.

    ``ms`` and ``seq`` are the halves of the IDs.
    """

    names: tuple[bytes, ...]
    ms: Any
    seq: Any
    values: tuple[Any, ...]

    def cut(self, begin: int, stop: int) -> Grid:
        """The rows from ``begin`` to before ``stop``."""
        count = stop - begin
        values = tuple(of.slice(begin, count) for of in self.values)
        return Grid(self.names, self.ms.slice(begin, count), self.seq.slice(begin, count), values)


def parse_grid(raw: bytes, end: int) -> Grid | None:
    """The reply in ``raw``, which ends before ``end``; ``None`` if its entries are not regular, or it is not complete.

    ``raw`` has `PAD` bytes more after the end.
    """
    lines = _Lines.of(raw, end)
    if lines is None:
        return None
    texts = [lines.text_after(0, b"*2\r\n")]
    names = []
    before = b"*%d\r\n" % (2 * lines.fields)
    for field in range(lines.fields):
        name = lines.first(_HEAD + 4 * field + 1)
        texts.append(lines.text_after(_HEAD + 4 * field - (field == 0), before + b"$%d\r\n%s\r\n" % (len(name), name)))
        names.append(name)
        before = b""
        if texts[-1] is None:
            return None
    if texts[0] is None:
        return None
    halves = lines.halves(texts[0])
    if halves is None:
        return None
    return Grid(tuple(names), *halves, tuple(lines.column(*text) for text in texts[1:] if text))


class _Lines:
    """The lines of a page whose entries have the same number of them; ``ends`` has a row per line, of where it ends."""

    def __init__(self, raw: bytes, data: Any, ends: Any, fields: int) -> None:
        self._np = library("numpy")
        self._pa = arrow()
        self._raw = raw
        self._data = data
        self._ends = ends
        self.fields = fields

    @classmethod
    def of(cls, raw: bytes, end: int) -> _Lines | None:
        """The lines of the reply, if all of its entries have the same number of them."""
        np = library("numpy")
        data = np.frombuffer(raw, np.uint8)
        reply = data[:end]
        ends = np.flatnonzero(reply == _LF)
        if len(ends) < 2 or ends[-1] != end - 1 or raw[:1] != b"*" or int(reply.max()) > 127:
            return None
        head, mark = raw[1 : int(ends[0]) - 1], raw[int(ends[0]) - 1]
        count = int(head) if mark == _CR and head.isdigit() and len(head) <= _LONGEST_COUNT else 0
        stride, rest = divmod(len(ends) - 1, count) if count else (0, 1)
        if rest or stride <= _HEAD or stride % 4:
            return None
        # Before the first line of an entry comes the last one of the entry before.
        table = np.empty((stride + 1, count), ends.dtype)
        table[1:] = ends[1:].reshape(count, stride).T
        table[0] = ends[:-1:stride]
        return cls(raw, data, table, (stride - _HEAD) // 4)

    def first(self, line: int) -> bytes:
        """This line of the first entry."""
        return self._raw[int(self._ends[line, 0]) + 1 : int(self._ends[line + 1, 0]) - 1]

    def text_after(self, line: int, constant: bytes) -> tuple[Any, Any] | None:
        """Where the text is, and how long, that follows after ``constant``; ``None`` if one of the entries differs.

        ``constant`` is the lines from ``line`` on; the next one announces the text's length.
        """
        data = self._data
        head = line + constant.count(b"\n")
        starts = self._ends[head + 1] + 1
        stops = self._ends[head + 2] - 1
        lengths = stops - starts
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < 0 or not (data[stops] == _CR).all():
            return None
        if shortest == longest:
            constant += b"$%d\r\n" % shortest
        elif not self._announced(self._ends[head] + 1, self._ends[head + 1] - 1, lengths, longest):
            return None
        begins = self._ends[line] + 1
        if int(begins[-1]) + len(constant) > len(data):
            return None  # no room for it in the last entry
        found = self._blocks(begins, len(constant))
        return (starts, lengths) if found.tobytes() == constant * len(starts) else None

    def column(self, starts: Any, lengths: Any) -> Any:
        """Texts as a ``pyarrow`` array."""
        np, pa = self._np, self._pa
        offsets = np.zeros(len(starts) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        shortest, longest = int(lengths.min()), int(lengths.max())
        content: Any
        if longest == 0:
            content = b""
        elif shortest == longest:
            content = self._blocks(starts, longest)
        elif longest <= PAD:
            blocks = self._blocks(starts, longest).view(np.uint8).reshape(-1, longest)
            content = blocks[np.arange(longest) < lengths[:, None]]
        else:
            raw, stops = self._raw, (starts + lengths).tolist()
            content = b"".join([raw[start:stop] for start, stop in zip(starts.tolist(), stops, strict=True)])
        return pa.Array.from_buffers(pa.string(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(content)])

    def halves(self, text: tuple[Any, Any]) -> tuple[Any, Any] | None:
        """The IDs as ``ms`` and ``seq``; ``None`` if a table cannot have them."""
        starts, lengths = text
        dash = self._raw.find(b"-", int(starts[0])) - int(starts[0])
        if not 0 < dash < int(lengths.min()) - 1 or not (self._data[starts + dash] == _DASH).all():
            return None
        integer = self._pa.int64()
        try:
            ms = self.column(starts, self._np.full(len(starts), dash)).cast(integer)
            return ms, self.column(starts + dash + 1, lengths - dash - 1).cast(integer)
        except ValueError:
            return None  # beyond 63 bits

    def _announced(self, starts: Any, stops: Any, lengths: Any, longest: int) -> bool:
        """Whether the lines from ``starts`` to ``stops`` are a ``$`` and these lengths."""
        np, data = self._np, self._data
        powers = 10 ** np.arange(1, 10)
        digits = 1 + np.searchsorted(powers, lengths, side="right")
        if longest >= powers[-1] or not ((stops - starts == digits + 1).all() and (data[stops] == _CR).all()):
            return False
        if not (data[starts] == ord("$")).all():
            return False
        rest = lengths
        for place in range(len(str(longest))):
            rest, digit = np.divmod(rest, 10)
            at = stops - 1 - place
            if not ((data[at] == digit + _ZERO) | (place >= digits)).all():
                return False
        return True

    def _blocks(self, starts: Any, size: int) -> Any:
        """``size`` bytes from each of these places on."""
        places = len(self._data) - size + 1
        return self._np.ndarray((places,), f"V{size}", self._raw, strides=(1,))[starts]
