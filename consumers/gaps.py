"""What is missing in a stream, found in its raw entries: control entries, holes, what retention has removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from consumers.arrays import integer, text
from consumers.files import library
from consumers.items import split_id
from consumers.page import Page
from consumers.pages import text_of

__all__ = ["Gap", "GapFinder"]

_JUMPS = ("hole", "trimmed", "reset")
_LONGEST = 19
"""Digits of the largest number of 63 bits."""
_LAST_SEQ = 2**64 - 1


class Gap(Struct, frozen=True):
    """A control entry, or entries that are not there.

    ``event`` is that of the control entry, or ``hole`` (entries are gone), ``trimmed`` (retention removed them before
    they were read) or ``reset`` (the stream was created again). ``ms`` and ``seq`` are the ID of the control entry, or
    of the entry after what is missing. ``count`` is how many, if known; ``recv`` is in nanoseconds, if known.
    """

    ms: int
    seq: int
    event: str
    count: int | None = None
    reason: str = ""
    recv: int | None = None


class GapFinder:
    """Looks at all pages of a stream, in order.

    ``after`` is the ID before the first (``""``: none). ``counted`` streams have IDs that count their entries.
    ``is_oldest`` says whether the stream has no entry before an ID, which explains a jump by trimming.
    """

    def __init__(self, after: str, is_oldest: Callable[[str], bool], *, counted: bool) -> None:
        seq = split_id(after)[1] if after else 0
        # Not of a time without a seq, as `0-0` or the last possible ID of a millisecond.
        self._expected = seq + 1 if 0 < seq < _LAST_SEQ else None
        self._is_oldest = is_oldest
        self._counted = counted

    def take(self, page: Page) -> list[Gap]:
        """The gaps in this page, in order."""
        if not self._counted:
            return []
        if page.grid is not None and self._continues(page.grid):
            return []
        found = self._jumps(page)
        found += [
            _control(page.ids[row], flat)
            for row, flat in enumerate(page.flats)
            if flat[1] == b"control" or (flat[0] != b"type" and _type(flat) == b"control")
        ]
        found.sort(key=lambda gap: (gap.ms, gap.seq, gap.event not in _JUMPS))
        return found

    def _continues(self, grid: Any) -> bool:
        """Whether this page follows the one before, without a hole or a control entry; ``False``: look at its entries."""
        first, last, count = grid.seq[0].as_py(), grid.seq[-1].as_py(), len(grid.seq)
        compute = library("pyarrow.compute")
        if self._expected not in (None, first) or grid.names[0] != b"type":
            return False
        if compute.any(compute.equal(grid.values[0], text("control"))).as_py():
            return False
        if (
            last - first != count - 1
            or not compute.all(compute.equal(compute.pairwise_diff(grid.seq), integer(1))).as_py()
        ):
            return False
        self._expected = last + 1
        return True

    def _jumps(self, page: Page) -> list[Gap]:
        seqs = list(map(int, b"-".join(page.ids).split(b"-")[1::2]))
        expected, self._expected = self._expected, seqs[-1] + 1
        if expected is None:
            expected = seqs[0]
        if seqs == list(range(expected, expected + len(seqs))):
            return []
        found = []
        for place, seq in enumerate(seqs):
            if seq != expected:
                entry_id = text_of(page.ids[place])
                kind = "reset" if seq < expected else "hole"
                if kind == "hole" and place == 0 and self._is_oldest(entry_id):
                    kind = "trimmed"
                found.append(Gap(split_id(entry_id)[0], seq, kind, seq - expected if seq > expected else None))
            expected = seq + 1
        return found


def _type(flat: list[bytes]) -> bytes:
    """The type of an entry whose first field is another one, which no connector writes."""
    return dict(zip(flat[::2], flat[1::2], strict=False)).get(b"type", b"")


def _control(entry_id: bytes, flat: list[bytes]) -> Gap:
    ms, seq = split_id(text_of(entry_id))
    fields = dict(zip(flat[::2], flat[1::2], strict=False))
    return Gap(
        ms,
        seq,
        text_of(fields.get(b"event", b"")),
        _whole(fields.get(b"count", b"")),
        text_of(fields.get(b"reason", b"")),
        _whole(fields.get(b"recv", b"")),
    )


def _whole(raw: bytes) -> int | None:
    return int(raw) if raw.isdigit() and len(raw) <= _LONGEST and int(raw) < 2**63 else None
