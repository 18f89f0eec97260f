"""``tickbridge tail``: shows entries of any stream as they arrive, as text or as JSON lines."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

from bridge.cli import values
from bridge.cli.common import add_config_option
from bridge.keys import Keys, checked_namespace

if TYPE_CHECKING:
    from redis import Redis

    from bridge.config import Settings
    from bridge.tail.lines import Show
    from bridge.tail.streams import Found, Streams

__all__ = ["add_parser", "entry_types", "run"]

_REPLY_TIMEOUT = 11.0
"""Seconds; longer than a read waits for entries."""
_CONNECT_TIMEOUT = 5.0


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "tail",
        help="show entries as they arrive",
        description="Shows the entries of streams as they arrive: as readable text on a terminal, otherwise as one JSON "
        "object per line with key, entry_id and the fields of the entry, all as text.",
    )
    parser.add_argument(
        "keys",
        nargs="*",
        metavar="KEY",
        help="stream keys, or patterns such as '*:trades' (default: all streams of the catalogs, and the rejects)",
    )
    parser.add_argument("--redis", metavar="URL", help="Redis URL, as redis.url in a config (default: the config's)")
    add_config_option(parser, required=False)
    parser.add_argument("--namespace", type=checked_namespace, help="prefix of all keys (default: the config's)")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="WHERE",
        type=values.place,
        default="now",
        help="now (default), start, how long ago (5m), a time of day (10:30), a date and time "
        "(2026-11-28T10:30, or with Z or +01:00), or an entry ID to read after",
    )
    parser.add_argument(
        "--exchange",
        metavar="NAME",
        action="append",
        type=values.some_words,
        default=[],
        help="only streams of these exchanges: NAME,NAME …",
    )
    parser.add_argument(
        "--pair",
        metavar="PAIR",
        action="append",
        type=values.some_words,
        default=[],
        help="only market data of these pairs: PAIR,PAIR …",
    )
    parser.add_argument(
        "--type",
        dest="types",
        metavar="TYPE",
        action="append",
        type=_types,
        default=[],
        help="only entries of these types, such as control or trade,quote",
    )
    parser.add_argument("--count", type=values.count_above_zero, metavar="N", help="end after N entries")
    parser.add_argument("--json", action="store_true", help="print JSON lines, even on a terminal")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print entries until ``--count`` are shown, a signal arrives, or the reader of the output is gone.

    Raises:
        ConfigError: a mistake in the config or the arguments.
        RedisUnavailableError: Redis does not answer, or refuses this client.
        OutputError: the output cannot be written.
        BrokenPipeError: the reader of the output is gone.
    """
    from bridge.cli.common import load
    from bridge.tail.lines import JsonLines, Lines
    from bridge.tail.output import Output, note
    from bridge.tail.selection import Selection
    from bridge.tail.streams import Streams

    output = Output()
    settings = load(args.config)
    keys = Keys(settings.namespace if args.namespace is None else args.namespace)
    exchanges, pairs, types = (
        [name for names in given for name in names] for given in (args.exchange, args.pair, args.types)
    )
    redis, address = _connect(args.redis, settings)
    show = JsonLines() if args.json or not sys.stdout.isatty() else Lines(keys)
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell without job control has its background jobs ignore SIGINT
        signal.signal(number, _end)
    selection = Selection(keys, args.keys, [name.lower() for name in exchanges], [name.upper() for name in pairs])
    try:
        with redis:
            streams = Streams(redis, keys, selection, start=args.start, address=address, say=note)
            _Tail(streams, show, output.write, frozenset(types), address).follow(args.count)
    except KeyboardInterrupt:
        pass  # the usual end of a tail
    return 0


def _end(number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def entry_types() -> tuple[str, ...]:
    """The types of entries."""
    from bridge.model import DATA_EVENTS, Control

    kinds: tuple[Any, ...] = (*DATA_EVENTS, Control)
    return tuple(str(kind.__struct_config__.tag) for kind in kinds)


def _types(text: str) -> tuple[str, ...]:
    from bridge.suggestions import did_you_mean

    known = entry_types()
    names = values.some_words(text)
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known) or f"known: {', '.join(known)}"
            raise argparse.ArgumentTypeError(f"{name!r} is not a type of entry ({hint})")
    return names


def _connect(url: str | None, settings: Settings) -> tuple[Redis, str]:
    """A connected client, and the name of its server for messages.

    Raises:
        ConfigError: the URL is not valid.
        RedisUnavailableError: Redis does not answer, or refuses this client.
    """
    from bridge.errors import ConfigError, Problem
    from bridge.redis.errors import explained
    from bridge.redis.topology import RedisUrlError, Topology

    try:
        topology = Topology(url) if url else settings.redis.topology
    except RedisUrlError as error:
        raise ConfigError([Problem("--redis", error.mistake, error.hint)], "arguments") from None
    with explained(topology.address):
        redis = topology.sync_client(
            # Keys and fields of other programs may be anything, so they stay bytes until they are shown.
            decode_responses=False,
            socket_timeout=_REPLY_TIMEOUT,
            socket_connect_timeout=_CONNECT_TIMEOUT,
            client_name="tickbridge-tail",
        )
        try:
            redis.ping()
        except BaseException:
            redis.close()
            raise
    return redis, topology.address


class _Tail:
    """Reads and prints entries, and continues after outages of Redis."""

    def __init__(self, streams: Streams, show: Show, write: Any, types: frozenset[str], address: str) -> None:
        self._streams = streams
        self._show = show
        self._write = write
        self._types = frozenset(name.encode() for name in types)
        self._address = address

    def follow(self, count: int | None) -> None:
        """Continue until ``count`` entries are shown.

        Raises:
            RedisUnavailableError: Redis refuses this client.
        """
        from bridge.redis.errors import FAILURES, explain, explained, is_passing
        from bridge.redis.retries import retries
        from bridge.tail.output import note

        failures = 0
        waits = retries()
        while count is None or count > 0:
            try:
                self._streams.look()
                found = self._streams.read(count if not self._types else None)
            except FAILURES as error:
                if not is_passing(error):
                    with explained(self._address):
                        raise
                failures += 1
                if failures == 1:
                    note(f"Redis at {self._address} is unreachable, waiting: {explain(error, self._address)}")
                    waits = retries()
                time.sleep(next(waits))
                continue
            if failures:
                note(f"Redis at {self._address} is back")
                failures = 0
            count = self._take(found, count)

    def _take(self, found: list[Found], count: int | None) -> int | None:
        shown: list[Found] = []
        for entry in found:
            if count is not None and len(shown) >= count:
                break
            self._streams.shown(entry)
            if not self._types or entry.fields.get(b"type") in self._types:
                shown.append(entry)
        if shown:
            self._write(self._show(shown))
        return count if count is None else count - len(shown)
