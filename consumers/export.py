"""Writes a stream into a file, and what is missing in it into another one beside it."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from msgspec import Struct
from redis import Redis

from bridge.keys import Keys
from consumers.files import stream_path
from consumers.gaps import Gap, GapFinder
from consumers.pages import field_names, most_per_page, pages
from consumers.sinks import open_sink, write_gaps

__all__ = ["Exported", "export", "is_oldest", "paths"]


class Exported(Struct, frozen=True):
    """What was written: the file of the entries, and how many of them and of gaps there are."""

    path: Path
    rows: int
    gaps: int


def paths(folder: Path, keys: Keys, key: str, form: str) -> tuple[Path, Path]:
    """The files of a stream: its entries, and its gaps."""
    path = folder / stream_path(keys, key)
    return path.with_name(f"{path.name}.{form}"), path.with_name(f"{path.name}.gaps.{form}")


def export(
    client: Redis, keys: Keys, key: str, *, after: str, end: str, folder: Path, form: str, fresh: bool = False
) -> Exported:
    """Write the entries after the ID ``after`` (``""``: all) up to ``end``; ``form`` is one of ``sinks.FORMATS``.

    With ``fresh``, no file is replaced.

    Raises:
        MissingLibraryError: pyarrow is not installed, and ``form`` needs it.
        FilesError: a file cannot be written, or is there and ``fresh``.
        redis.exceptions.RedisError, OSError: any error of redis-py.
    """
    path, beside = paths(folder, keys, key, form)
    found = pages(client, key, after, end, most=most_per_page(keys, key), columns=form != "jsonl")
    first = next(found, None)
    finder = GapFinder(after, lambda before: is_oldest(client, key, before), counted=bool(field_names(keys, key)))
    gaps: list[Gap] = []
    rows = 0
    with open_sink(path, form, keys, key, first, fresh=fresh) as sink:
        for page in chain([first] if first else [], found):
            gaps += finder.take(page)
            rows += len(page)
            sink.write(page)
    write_gaps(beside, form, gaps, fresh=fresh)
    return Exported(path, rows, len(gaps))


def is_oldest(client: Redis, key: str, entry_id: str) -> bool:
    """Whether a stream has no entry before this one.

    Raises:
        redis.exceptions.RedisError, OSError: any error of redis-py.
    """
    return not client.xrevrange(key, f"({entry_id}", "-", count=1)
