"""Streams as tables: Arrow, and from there Polars or pandas.

    from consumers import frames

    table = frames.read("md:{coinbase:BTC-USD}:trades", "1786309548000", redis="redis://127.0.0.1:6379/0")
    frames.to_polars(frames.decimals(table, ["price", "size"]))

The columns are those of an exported file: ``ms`` and ``seq`` (the halves of the ID), ``type``, ``ts`` and ``recv`` as
numbers, the other fields as text, and ``extra``. A table is read into memory as a whole; `batches` reads in parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from bridge.keys import Keys
from bridge.redis.errors import about, explained
from consumers.columns import Columns, gap_table
from consumers.connection import Where, topology_of
from consumers.files import arrow, library
from consumers.gaps import Gap, GapFinder
from consumers.items import split_id
from consumers.pages import Page, field_names, most_per_page, open_client, pages

__all__ = ["Bound", "batches", "decimals", "gaps", "read", "to_pandas", "to_polars"]

_URL = "redis://127.0.0.1:6379/0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PRECISION, _SCALE = 38, 18

Bound = str | int | datetime | None
"""A place in a stream: an entry ID, a time in milliseconds since the epoch, a datetime (with a time zone), or none."""


def read(key: str, start: Bound = None, end: Bound = None, *, redis: Where = _URL, namespace: str = "") -> Any:
    """The entries from ``start`` to ``end``, both included, as a ``pyarrow.Table``; a bare time means all of its millisecond.

    Raises:
        MissingLibraryError: pyarrow is not installed.
        RedisUnavailableError: Redis is unreachable, or refuses to read this key.
        ValueError: a bound is none, or the namespace is not that of the key.
    """
    parts = list(batches(key, start, end, redis=redis, namespace=namespace))
    schema = parts[0].schema if parts else Columns(Keys(namespace), key).schema
    return arrow().Table.from_batches(parts, schema=schema)


def batches(
    key: str, start: Bound = None, end: Bound = None, *, redis: Where = _URL, namespace: str = ""
) -> Iterator[Any]:
    """The same in parts of some thousand rows, as ``pyarrow.RecordBatch``."""
    arrow()
    columns = None
    for page in _pages(key, start, end, redis, namespace):
        columns = columns or Columns(Keys(namespace), key, page)
        yield columns.batch(page)


def gaps(key: str, start: Bound = None, end: Bound = None, *, redis: Where = _URL, namespace: str = "") -> Any:
    """What is missing between ``start`` and ``end``, as a ``pyarrow.Table``: control entries, and holes in ``seq``."""
    arrow()
    finder = GapFinder("", lambda _: False, counted=bool(field_names(Keys(namespace), key)))
    found: list[Gap] = []
    for page in _pages(key, start, end, redis, namespace):
        found += finder.take(page)
    return gap_table(found)


def decimals(table: Any, names: Sequence[str], precision: int = _PRECISION, scale: int = _SCALE) -> Any:
    """The table with these columns of text as decimals (``decimal128``); empty becomes null.

    Raises:
        ValueError: there is no such column, or a value has more digits than fit; nothing is rounded.
    """
    pa = arrow()
    compute = library("pyarrow.compute")
    for name in names:
        place = table.schema.get_field_index(name)
        if place < 0:
            raise ValueError(f"there is no column {name!r}; there are {', '.join(table.column_names)}")
        text = table.column(place)
        text = compute.if_else(compute.equal(text, ""), None, text)
        try:
            exact = text.cast(pa.decimal128(precision, scale))
        except pa.ArrowInvalid as error:
            raise ValueError(
                f"{name} does not fit into decimals of {precision} digits, {scale} of them after the point: {error}"
            ) from None
        table = table.set_column(place, name, exact)
    return table


def to_polars(table: Any) -> Any:
    """A ``polars.DataFrame``.

    Raises:
        MissingLibraryError: Polars is not installed.
    """
    return library("polars", "").from_arrow(table)


def to_pandas(table: Any) -> Any:
    """A ``pandas.DataFrame`` whose columns keep their types: whole numbers stay whole beside nulls.

    Raises:
        MissingLibraryError: pandas is not installed.
    """
    return table.to_pandas(types_mapper=library("pandas", "").ArrowDtype)


def _pages(key: str, start: Bound, end: Bound, redis: Where, namespace: str) -> Iterator[Page]:
    first, last = _bound(start, "-"), _bound(end, "+")
    topology = topology_of(redis)
    keys = Keys(namespace)
    with explained(topology.address), closing(open_client(topology, "tickbridge-frames")) as client, about(key):
        yield from pages(client, key, _before(first), last, most=most_per_page(keys, key))


def _bound(bound: Bound, otherwise: str) -> str:
    if bound is None:
        return otherwise
    if isinstance(bound, datetime):
        if bound.tzinfo is None:
            raise ValueError(f"{bound} has no time zone")
        bound = (bound - _EPOCH) // (datetime.resolution * 1000)
    text = str(bound)
    split_id(text)  # raises if it is none
    return text


def _before(first: str) -> str:
    """The ID after which ``first`` is the next possible one; ``""``: there is none before it."""
    if first == "-":
        return ""
    ms, seq = split_id(first)
    return f"{ms}-{seq - 1}" if seq else f"{ms - 1}-{2**64 - 1}" if ms else ""
