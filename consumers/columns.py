"""Raw entries as columns of Arrow, without loss.

``ms`` and ``seq`` are the two halves of the ID. Of a stream of ours follow ``type``, ``ts`` and ``recv`` (nanoseconds;
null if empty), then its fields as text, null where an entry has none. What has no column of its own, or does not fit
into it, is in ``extra``: a JSON object of text, null in nearly all rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from bridge.keys import Keys
from consumers.arrays import integer, integers, texts
from consumers.files import arrow, library
from consumers.gaps import Gap
from consumers.page import Page
from consumers.pages import field_names, text_of

__all__ = ["Columns", "gap_table"]

_TIMES = ("ts", "recv")
_OWN = ("ms", "seq", "extra")
_MOST_NAMES = 200
_TEXTS_OF_GAPS = ("event", "reason")


class _Plan(Struct, frozen=True):
    """What becomes of entries with the same names of fields: column → place of its value, and the places of the rest."""

    columns: dict[str, int]
    rest: tuple[int, ...]


class Columns:
    """Turns the pages of one stream into record batches of one ``schema``. ``first`` is the stream's first page.

    A stream that is not of this product has columns for the fields of its first entries.
    """

    def __init__(self, keys: Keys, key: str, first: Page | None = None) -> None:
        self._arrow = arrow()
        self._compute = library("pyarrow.compute")
        names = field_names(keys, key)
        self.ours = bool(names)
        if self.ours:
            names = ("type", *_TIMES, *names)
        elif first is not None:
            found = dict.fromkeys(text_of(name) for flat in first.flats for name in flat[::2])
            names = tuple(name for name in found if name not in _OWN)[:_MOST_NAMES]
        number, text = self._arrow.int64(), self._arrow.string()
        self._times = _TIMES if self.ours else ()
        fields = [("ms", number), ("seq", number)]
        fields += [(name, number if name in self._times else text) for name in names]
        self._names = names
        self.schema: Any = self._arrow.schema([*fields, ("extra", text)], metadata={"tickbridge.key": key})
        self._zero = integer(0)
        self._null = self._arrow.nulls(1, text)[0]
        self._plans: dict[tuple[bytes, ...], _Plan] = {}

    def batch(self, page: Page) -> Any:
        """The rows of a page, as a ``pyarrow.RecordBatch``.

        Raises:
            ValueError: an entry's ID is beyond 63 bits.
        """
        if page.grid is not None:
            grid = page.grid
            plan = self._plan(grid.names)
            if not plan.rest:
                return self._rows(plan, len(page), (grid.ms, grid.seq), grid.values.__getitem__, [])
        names = tuple(page.flats[0][::2])
        values = _same_names(page.flats, names)
        if values is not None:
            return self._listed_rows(names, page.ids, values)
        groups: dict[tuple[bytes, ...], list[int]] = {}
        for row, flat in enumerate(page.flats):
            groups.setdefault(tuple(flat[::2]), []).append(row)
        batches, order = [], []
        for names, rows in groups.items():
            flats = [page.flats[row] for row in rows]
            values = list(zip(*flats, strict=True))[1::2]
            batches.append(self._listed_rows(names, [page.ids[row] for row in rows], values))
            order += rows
        places = sorted(range(len(order)), key=order.__getitem__)
        [batch] = self._arrow.Table.from_batches(batches).take(integers(places)).combine_chunks().to_batches()
        return batch

    def _listed_rows(self, names: tuple[bytes, ...], ids: list[bytes], values: Sequence[Sequence[bytes]]) -> Any:
        plan = self._plan(names)
        rest = [(text_of(names[place]), values[place]) for place in plan.rest]
        return self._rows(plan, len(ids), self._ids(ids), lambda place: self._texts(values[place]), rest)

    def _rows(
        self,
        plan: _Plan,
        count: int,
        ids: tuple[Any, Any],
        text_at: Callable[[int], Any],
        rest: list[tuple[str, Sequence[bytes]]],
    ) -> Any:
        """The rows, of the texts of a field by its place."""
        extra: list[dict[str, str | None]] = [{} for _ in range(count)] if rest else []
        columns: list[Any] = [*ids]
        for name in self._names:
            place = plan.columns.get(name)
            text = None if place is None else text_at(place)
            if name in self._times:
                column, odd = self._integers(text, count)
                if odd:
                    extra = extra or [{} for _ in range(count)]
                    for row, found in odd.items():
                        extra[row][name] = found
            else:
                column = self._arrow.nulls(count, self._arrow.string()) if text is None else text
            columns.append(column)
        more = [_json(row, [(name, of[at]) for name, of in rest]) for at, row in enumerate(extra)]
        columns.append(texts(more) if more else self._arrow.nulls(count, self._arrow.string()))
        return self._arrow.RecordBatch.from_arrays(columns, schema=self.schema)

    def _plan(self, names: tuple[bytes, ...]) -> _Plan:
        made = self._plans.get(names)
        if made is not None:
            return made
        known = set(self._names)
        columns: dict[str, int] = {}
        rest = []
        for place, raw in enumerate(names):
            name = text_of(raw)
            # A time that is there twice has no column: an empty one would be taken for none.
            single = name not in self._times or names.count(raw) == 1
            if name in known and name not in columns and single:
                columns[name] = place
            else:
                rest.append(place)
        plan = _Plan(columns, tuple(rest))
        if len(self._plans) < _MOST_NAMES:
            self._plans[names] = plan
        return plan

    def _ids(self, ids: list[bytes]) -> tuple[Any, Any]:
        halves = b"-".join(ids).split(b"-")
        try:
            ms, seq = (texts(halves[at::2]).cast(self._arrow.int64()) for at in (0, 1))
        except ValueError:
            worst = max(ids, key=lambda entry_id: max(map(int, entry_id.split(b"-"))))
            raise ValueError(f"the entry ID {text_of(worst)} is too large for a table") from None
        return ms, seq

    def _texts(self, raw: Sequence[bytes]) -> Any:
        try:
            return texts(raw)
        except ValueError:
            return texts([text_of(value).encode() for value in raw])

    def _integers(self, text: Any, count: int) -> tuple[Any, dict[int, str | None]]:
        """Times as numbers, null where empty; and by row what is neither (``None``: the entry has no such field)."""
        kind = self._arrow.int64()
        if text is None:
            return self._arrow.nulls(count, kind), dict.fromkeys(range(count))
        lengths = self._compute.binary_length(text)
        shortest, longest = self._compute.min_max(lengths).as_py().values()
        if not longest:
            return self._arrow.nulls(count, kind), {}
        full = text if shortest else self._compute.if_else(self._compute.equal(lengths, self._zero), self._null, text)
        try:
            column = full.cast(kind)
            # As the bridge writes them: not 007, which is the same number.
            if column.cast(text.type).equals(full):
                return column, {}
        except ValueError:
            pass
        numbers = []
        odd: dict[int, str | None] = {}
        for row, value in enumerate(text.to_pylist()):
            plain = value.isascii() and value.isdigit() and len(value) <= 19 and (value == "0" or value[:1] != "0")
            plain = plain and int(value) < 2**63
            numbers.append(int(value) if plain else None)
            if value and not plain:
                odd[row] = value
        return integers(numbers), odd


def gap_table(gaps: Sequence[Gap]) -> Any:
    """A table of gaps, with the fields of `Gap`."""
    columns = {}
    for name in ("ms", "seq", "event", "count", "reason", "recv"):
        values = [getattr(gap, name) for gap in gaps]
        columns[name] = texts([value.encode() for value in values]) if name in _TEXTS_OF_GAPS else integers(values)
    return arrow().table(columns)


def _same_names(flats: list[list[bytes]], names: tuple[bytes, ...]) -> list[tuple[bytes, ...]] | None:
    """The values by field, if all entries have these fields in this order; else ``None``."""
    try:
        columns = list(zip(*flats, strict=True))
    except ValueError:
        return None
    count = len(flats)
    if any(column.count(name) != count for name, column in zip(names, columns[::2], strict=True)):
        return None
    return columns[1::2]


def _json(odd: dict[str, str | None], rest: list[tuple[str, bytes]]) -> bytes | None:
    """Names and values as an object; a name may be there twice, as in the entry."""
    pairs = [*odd.items(), *((name, text_of(value)) for name, value in rest)]
    if not pairs:
        return None
    encode = msgspec.json.encode
    return b"{" + b",".join(encode(name) + b":" + encode(value) for name, value in pairs) + b"}"
