"""The Parquet files of one stream: where they end, the parts of an hour, and the hour that is made of them.

    md/coinbase/BTC-USD/trades/2026-11-29T08.parquet          the entries of an hour (UTC, by their IDs)
    md/coinbase/BTC-USD/trades/.parts/<first>_<last>.parquet  what is not an hour yet, in order
    md/coinbase/BTC-USD/trades.gaps/2026-11-29T08.parquet     what is missing in that hour, if anything is

Each file is renamed into its place when it is complete. Where the files end is read from the files, so nothing is
written twice or left out if the process is killed at any moment. An hour replaces its parts: first its gaps are written,
then the hour, then its parts are removed; parts that an hour contains already are removed at the next start.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from consumers.columns import Columns
from consumers.files import FilesError, arrow, library, replace
from consumers.gaps import Gap, GapFinder
from consumers.items import split_id
from consumers.page import Page
from consumers.pages import text_of
from consumers.sinks import parquet_file, write_gaps

__all__ = ["HOUR", "ParquetStore", "Part", "StoppedError", "hour_of"]

HOUR = 3_600_000
"""Milliseconds."""
_LAST, _GAPS = "tickbridge.last", "tickbridge.gaps"
_ROWS = 1 << 16
_PART = re.compile(r"([0-9]+-[0-9]+)_([0-9]+-[0-9]+)\.parquet").fullmatch
_HOUR_FILE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2})(?:\.([0-9]+))?\.parquet").fullmatch


class StoppedError(Exception):
    """The process is to end; what was not finished is done again at the next start."""


class Part(NamedTuple):
    """A file with the entries from ``first`` to ``last``, all of one hour."""

    first: tuple[int, int]
    last: tuple[int, int]
    path: Path

    @property
    def hour(self) -> int:
        return self.first[0] // HOUR


def hour_of(entry_id: bytes) -> int:
    """The number of the hour of an entry, since the epoch."""
    return int(entry_id.partition(b"-")[0]) // HOUR


class ParquetStore:
    """The files below ``path``, that of a stream without a suffix. No other process may write them.

    Raises:
        FilesError: they cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._folder = path
        self._parts_folder = path / ".parts"
        self._gaps_folder = path.with_name(f"{path.name}.gaps")
        self.parts: list[Part] = []
        """What is not an hour yet, in order."""
        self.last = ""
        """The ID of the last entry that is in a file; ``""``: none."""
        with _explained(path):
            self._open()

    def add(self, columns: Columns, pages: Iterable[Page], finder: GapFinder) -> list[Gap]:
        """Write these pages, at least one and all of one hour, as a part; returns what is missing in them.

        Raises:
            FilesError: it cannot be written. Then nothing is.
        """
        first = last = b""
        gaps: list[Gap] = []
        metadata: dict[str, str] = {}

        def named() -> Path:
            return Path(f"{text_of(first)}_{text_of(last)}.parquet")

        with parquet_file(self._parts_folder / "part.parquet", columns.schema, metadata, named) as file:
            for page in pages:
                first, last = first or page.id(0), page.id(-1)
                gaps += finder.take(page)
                file.write(columns.batch(page))
            metadata[_LAST] = text_of(last)
            metadata[_GAPS] = msgspec.json.encode(gaps).decode()
        self.parts.append(Part(split_id(text_of(first)), split_id(text_of(last)), self._parts_folder / named()))
        self.last = text_of(last)
        return gaps

    def finish_hour(self, stopped: Callable[[], bool] = lambda: False) -> Path:
        """Make the first hour that has parts one file; returns it.

        Raises:
            FilesError: it cannot be written. Then its parts stay.
            StoppedError: ``stopped`` says so. Then too.
        """
        hour = self.parts[0].hour
        parts = [part for part in self.parts if part.hour == hour]
        with _explained(self._folder):
            path = self._free_path(hour)
            files = [_open_file(part.path) for part in parts]
            gaps = [gap for file in files for gap in msgspec.json.decode(_said(file, _GAPS), type=list[Gap])]
            if gaps:
                write_gaps(self._gaps_folder / path.name, "parquet", gaps)
            if len(parts) == 1:
                replace(parts[0].path, path)
            else:
                schema = arrow().unify_schemas([file.schema_arrow for file in files])
                metadata = {_LAST: _said(files[-1], _LAST), _GAPS: msgspec.json.encode(gaps).decode()}
                with parquet_file(path, schema, metadata) as merged:
                    for batch in _batches(files):
                        if stopped():
                            raise StoppedError
                        merged.write(_fitted(batch, schema))
                for part in parts:
                    part.path.unlink()
        self.parts = self.parts[len(parts) :]
        return path

    def _open(self) -> None:
        names = ((_HOUR_FILE(path.name), path) for path in self._folder.glob("*.parquet"))
        hours = [(match[1], int(match[2] or 1), path) for match, path in names if match]
        if hours:
            self.last = _said(_open_file(max(hours)[2]), _LAST)
        end = split_id(self.last) if self.last else (0, 0)
        for path in self._parts_folder.glob("*.parquet"):
            if match := _PART(path.name):
                part = Part(split_id(match[1]), split_id(match[2]), path)
                if part.last <= end:
                    path.unlink()  # its hour was finished
                else:
                    self.parts.append(part)
        self.parts.sort()
        if self.parts:
            self.last = "{}-{}".format(*self.parts[-1].last)

    def _free_path(self, hour: int) -> Path:
        """A name for this hour; a second file is for entries that came when the first one was finished."""
        name = datetime.fromtimestamp(hour * HOUR // 1000, UTC).strftime("%Y-%m-%dT%H")
        number, path = 1, self._folder / f"{name}.parquet"
        while path.exists():
            number += 1
            path = self._folder / f"{name}.{number}.parquet"
        return path


def _open_file(path: Path) -> Any:
    """A Parquet file of this service.

    Raises:
        FilesError: it is something else.
    """
    try:
        file = library("pyarrow.parquet").ParquetFile(path)
    except (ValueError, EOFError) as error:
        raise FilesError(f"{path}: is not a Parquet file, or is damaged: move it away ({error})") from None
    if _LAST.encode() not in (file.metadata.metadata or {}):
        raise FilesError(f"{path}: was not written by tickbridge parquet: move it away")
    return file


def _said(file: Any, name: str) -> str:
    raw: bytes = (file.metadata.metadata or {}).get(name.encode(), b"[]")
    return raw.decode()


def _batches(files: list[Any]) -> Iterator[Any]:
    for file in files:
        yield from file.iter_batches(_ROWS)


def _fitted(batch: Any, schema: Any) -> Any:
    """The batch with all columns of the schema: a part of an earlier version may have fewer."""
    if batch.schema.names == schema.names:
        return arrow().RecordBatch.from_arrays(batch.columns, schema=schema)
    names = set(batch.schema.names)
    columns = [
        batch.column(field.name) if field.name in names else arrow().nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return arrow().RecordBatch.from_arrays(columns, schema=schema)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FilesError.of(path, error) from None
