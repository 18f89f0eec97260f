"""Where the pages of a stream are written to: Parquet, CSV, JSON lines. A file is there whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import msgspec
from msgspec import structs

from bridge.keys import Keys
from bridge.printable import printable_json
from consumers.columns import Columns, gap_table
from consumers.files import arrow, atomic, library
from consumers.gaps import Gap
from consumers.pages import Page, text_of

__all__ = ["FORMATS", "ParquetFile", "Sink", "open_sink", "parquet_file", "write_gaps"]

FORMATS = ("parquet", "csv", "jsonl")
_ROWS, _BYTES = 1 << 17, 32 << 20
"""A row group is written when it has so many rows, or takes so much memory."""
_REPETITIVE = ("type", "side", "price", "size", "event", "reason", "currency", "pair", "status", "kind", "state")
"""Columns whose values repeat, so that a dictionary makes the file smaller."""
_LEVEL = 3


class Sink(Protocol):
    """Takes the pages of a stream."""

    def write(self, page: Page) -> None:
        """Write a page.

        Raises:
            OSError: it cannot be written.
        """


class ParquetFile:
    """Writes record batches of one schema into row groups of limited size."""

    def __init__(self, file: BinaryIO, schema: Any) -> None:
        names = schema.names
        whole = {name: "DELTA_BINARY_PACKED" for name in ("ms", "seq", "ts", "recv") if _is_integer(schema, name)}
        self._arrow = arrow()
        self._writer: Any = library("pyarrow.parquet").ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=_LEVEL,
            use_dictionary=[name for name in names if name in _REPETITIVE],
            column_encoding=whole,
            write_statistics=["ms", "seq", *(name for name in ("ts", "recv") if name in whole)],
        )
        self._schema = schema
        self._waiting: list[Any] = []
        self._rows = self._bytes = 0

    def write(self, batch: Any) -> None:
        """Write a batch, or keep it for the next row group.

        Raises:
            OSError: it cannot be written.
        """
        self._waiting.append(batch)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if self._rows >= _ROWS or self._bytes >= _BYTES:
            self._flush()

    def close(self, metadata: dict[str, str]) -> None:
        """Write what waits, and the end of the file.

        Raises:
            OSError: it cannot be written.
        """
        self._flush()
        self._writer.add_key_value_metadata(metadata)
        self._writer.close()

    def abandon(self) -> None:
        """Close it without an end; the file is of no use."""
        with contextlib.suppress(Exception):
            self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            table = self._arrow.Table.from_batches(self._waiting, schema=self._schema)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._waiting, self._rows, self._bytes = [], 0, 0


@contextlib.contextmanager
def parquet_file(
    path: Path, schema: Any, metadata: dict[str, str], named: Callable[[], Path] = Path, *, fresh: bool = False
) -> Iterator[ParquetFile]:
    """A Parquet file; ``metadata``, which may be filled until the end, is put into it; ``named`` and ``fresh`` as in `files.atomic`.

    Raises:
        FilesError: it cannot be written.
    """
    with atomic(path, named, fresh=fresh) as temporary, temporary.open("wb") as raw:
        file = ParquetFile(raw, schema)
        try:
            yield file
            file.close(metadata)
        except BaseException:
            file.abandon()
            raise


@contextlib.contextmanager
def open_sink(
    path: Path, form: str, keys: Keys, key: str, first: Page | None, *, fresh: bool = False
) -> Iterator[Sink]:
    """A file for the pages of a stream; ``first`` is the first of them; ``fresh`` as in `files.atomic`.

    Raises:
        FilesError: it cannot be written.
    """
    if form == "jsonl":
        with atomic(path, fresh=fresh) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as lines:
            yield _Lines(lines.write, key)
        return
    columns = Columns(keys, key, first)
    if form == "parquet":
        with parquet_file(path, columns.schema, {}, fresh=fresh) as file:
            yield _Batches(columns, file.write)
        return
    write = library("pyarrow.csv").CSVWriter
    with atomic(path, fresh=fresh) as temporary, temporary.open("wb") as raw, write(raw, columns.schema) as table:
        yield _Batches(columns, table.write_batch)


def write_gaps(path: Path, form: str, gaps: Sequence[Gap], *, fresh: bool = False) -> None:
    """Write a table of gaps; ``fresh`` as in `files.atomic`.

    Raises:
        FilesError: it cannot be written.
    """
    if form == "jsonl":
        with atomic(path, fresh=fresh) as temporary:
            rows = (msgspec.json.encode(structs.asdict(gap)) for gap in gaps)
            temporary.write_text("".join(printable_json(row) + "\n" for row in rows), encoding="utf-8")
        return
    table = gap_table(gaps)
    if form == "parquet":
        with parquet_file(path, table.schema, {}, fresh=fresh) as file:
            for batch in table.to_batches():
                file.write(batch)
        return
    with atomic(path, fresh=fresh) as temporary, temporary.open("wb") as raw:
        library("pyarrow.csv").write_csv(table, raw)


class _Batches:
    def __init__(self, columns: Columns, write: Callable[[Any], None]) -> None:
        self._columns = columns
        self._write = write

    def write(self, page: Page) -> None:
        self._write(self._columns.batch(page))


class _Lines:
    """As ``tickbridge tail --json`` prints them: ``key``, ``entry_id``, then the fields, all as text."""

    _OURS = ("key", "entry_id")

    def __init__(self, write: Callable[[str], object], key: str) -> None:
        self._write = write
        self._head = f'{{"key":{_text(key)},"entry_id":'

    def write(self, page: Page) -> None:
        lines = []
        for entry_id, flat in zip(page.ids, page.flats, strict=True):
            pairs = [
                f"{_text(f'field:{name}' if name in self._OURS else name)}:{_text(text_of(value))}"
                for name, value in zip(map(text_of, flat[::2]), flat[1::2], strict=True)
            ]
            lines.append(",".join([f"{self._head}{_text(text_of(entry_id))}", *pairs]) + "}\n")
        self._write("".join(lines))


def _text(text: str) -> str:
    return printable_json(msgspec.json.encode(text))


def _is_integer(schema: Any, name: str) -> bool:
    return name in schema.names and str(schema.field(name).type) == "int64"
