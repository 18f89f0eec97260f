"""``tickbridge export``: writes streams into files."""

from __future__ import annotations

import argparse
import math
import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from bridge.cli import values
from bridge.cli.common import add_config_option
from bridge.keys import Keys, checked_namespace
from bridge.tail.start import NOW, START

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["add_parser", "run"]

_WORDS = {START: -1, NOW: math.inf}
FORMATS = ("parquet", "csv", "jsonl")


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "export",
        help="write streams into files: Parquet, CSV or JSON lines",
        description="Writes each stream into a file, and a table of what is missing in it into another one beside it. "
        "Parquet and CSV need pyarrow: pip install 'tickbridge[files]'.",
    )
    parser.add_argument("keys", nargs="+", metavar="KEY", help="stream keys, or patterns such as '*:trades'")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, default=Path(), help="folder (default: this one)")
    parser.add_argument("--format", choices=FORMATS, default="parquet", help="of the files (default: parquet)")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="WHERE",
        type=values.place,
        default="start",
        help="start (default), how long ago (5m), a time of day (10:30), a date and time (2026-11-28T10:30, or with Z "
        "or +01:00), or an entry ID to read after",
    )
    parser.add_argument(
        "--to",
        dest="end",
        metavar="WHERE",
        type=values.place,
        default="now",
        help="now (default), or as --from: entries before that time, or up to that entry ID",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    parser.add_argument("--redis", metavar="URL", help="Redis URL, as redis.url in a config (default: the config's)")
    add_config_option(parser, required=False)
    parser.add_argument("--namespace", type=checked_namespace, help="prefix of all keys (default: the config's)")
    parser.set_defaults(func=run)


def run(options: argparse.Namespace) -> int:
    """Write the files; returns the exit code.

    Raises:
        ConfigError: a mistake in the config or the arguments.
        MissingLibraryError: pyarrow is not installed.
        FilesError: a file cannot be written.
        RedisUnavailableError: Redis does not answer, or refuses this client.
    """
    from bridge.cli.common import load
    from bridge.redis.errors import about, explained
    from consumers.export import export
    from consumers.files import arrow
    from consumers.pages import open_client, uncollected

    signal.signal(signal.SIGTERM, _end)  # so that no unfinished file is left
    _check_places(options.start, options.end)
    settings = load(options.config)
    keys = Keys(settings.namespace if options.namespace is None else options.namespace)
    if options.format != "jsonl":
        arrow()
    topology = _topology(options.redis) if options.redis else settings.redis.topology
    # Entries make no cycles, and walking their lists would cost a third of the time.
    with uncollected(), explained(topology.address), closing(open_client(topology, "tickbridge-export")) as client:
        found = _find(client, keys, options.keys)
        _check_files(options, keys, found)
        for key in found:
            with about(key):
                after, end = (_id(where, client, key) for where in (options.start, options.end))
                done = export(
                    client,
                    keys,
                    key,
                    after=after,
                    end=end or "0-0",
                    folder=options.output,
                    form=options.format,
                    fresh=not options.overwrite,
                )
            gaps = f", {done.gaps} {'gap' if done.gaps == 1 else 'gaps'}" if done.gaps else ""
            print(f"{_shown(key)}: {done.rows:,} entries{gaps}: {_shown(str(done.path))}", flush=True)
    return 0


def _check_places(start: str, end: str) -> None:
    """Raises ConfigError if nothing can be between these places."""
    from bridge.errors import ConfigError, Problem

    if _order(start, 0) > _order(end, math.inf):
        raise ConfigError([Problem("--to", "is before --from, so nothing is between them")], "arguments")


def _order(where: str, number: float) -> tuple[float, float]:
    """A place as a number of milliseconds and one of entries, ``number`` if the place has none of its own."""
    if where in _WORDS:
        return _WORDS[where], 0
    ms, _, own = where.partition("-")
    return int(ms), int(own) if own else number


def _id(where: str, client: Redis, key: str) -> str:
    """The ID of the entry at a place; ``""`` before the first."""
    from consumers.pages import last_id

    return last_id(client, key) if where == NOW else "" if where == START else where


def _end(number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def _topology(url: str) -> Any:
    from bridge.errors import ConfigError, Problem
    from bridge.redis.topology import RedisUrlError, Topology

    try:
        return Topology(url)
    except RedisUrlError as error:
        raise ConfigError([Problem("--redis", error.mistake, error.hint)], "arguments") from None


def _find(client: Redis, keys: Keys, wanted: list[str]) -> list[str]:
    """The keys of the streams that are named or match a pattern.

    Raises:
        ConfigError: one is no stream, or nothing matches a pattern.
    """
    from redis import exceptions

    from bridge.errors import ConfigError, Problem
    from bridge.tail.selection import Selection, text_of

    selection = Selection(keys, wanted)
    problems, found = [], []
    for raw in selection.exact:
        kind = text_of(client.type(raw))  # type: ignore[arg-type]
        if kind == "stream":
            found.append(raw)
        else:
            words = "there is no such key" if kind == "none" else f"is a {kind}, not a stream"
            problems.append(Problem(_shown(text_of(raw)), words))
    for pattern in selection.patterns:
        try:
            matching = sorted(client.scan_iter(match=pattern, count=1000, _type="stream"))
        except exceptions.NoPermissionError:
            matching = _listed(client, keys, pattern)
        if not matching:
            problems.append(Problem(_shown(text_of(pattern)), "no stream matches this pattern"))
        found += matching
    if problems:
        raise ConfigError(problems, "arguments")
    return [text_of(raw) for raw in dict.fromkeys(found)]


def _listed(client: Redis, keys: Keys, pattern: bytes) -> list[bytes]:
    """The streams of the catalogs that match, for a user who may not list keys."""
    from redis import exceptions

    from bridge.tail.selection import glob_of, text_of

    glob = glob_of(text_of(pattern))
    found: list[bytes] = []
    for catalog in (keys.catalog(), keys.accounts_catalog()):
        try:
            names: Any = client.hkeys(catalog)
        except exceptions.ResponseError:
            continue  # this user may not read it
        found += [name for name in names if glob.fullmatch(text_of(name)) and client.exists(name)]
    return sorted(found)


def _check_files(options: argparse.Namespace, keys: Keys, found: list[str]) -> None:
    """Raises ConfigError if files are there already."""
    from bridge.errors import ConfigError, Problem
    from consumers.export import paths

    if options.overwrite:
        return
    there = [path for key in found for path in paths(options.output, keys, key, options.format) if path.exists()]
    if there:
        hint = "choose another folder, or replace them with --overwrite"
        raise ConfigError([Problem(_shown(str(path)), "is there already", hint) for path in there], "arguments")


def _shown(text: str) -> str:
    from bridge.printable import printable

    return printable(text)
