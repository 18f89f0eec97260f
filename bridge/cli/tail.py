"""``tickbridge tail``: entries as they come, of any stream, as text for people or JSON lines for programs."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from bridge.cli.common import add_config_option
from bridge.keys import Keys

if TYPE_CHECKING:
    from redis import Redis
    from rich.text import Text

    from bridge.config import Settings

__all__ = ["add_parser", "run"]

_BLOCK_MS = 1000
_LOOK_SECONDS = 1.0
_POLL_SECONDS = 0.1
_PAGE = 200
_GLOB = frozenset("*?[")
_ID_PARTS = (1, 2)

Entries = list[tuple[str, dict[str, str]]]


def add_parser(subparsers: Any) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "tail",
        help="show entries as they come",
        description="Shows the entries of streams as they come: readable on a terminal, one JSON object a line when "
        "piped: key, entry_id, and then the entry's own fields.",
    )
    parser.add_argument(
        "keys",
        nargs="*",
        metavar="KEY",
        help="stream keys, or patterns such as '*:trades' (default: all streams of the catalog, and the rejects)",
    )
    parser.add_argument("--redis", metavar="URL", help="as redis.url of a config (default: the config's)")
    add_config_option(parser, required=False)
    parser.add_argument("--namespace", help="prefix of all keys (default: the config's)")
    parser.add_argument(
        "--from",
        dest="start",
        metavar="WHERE",
        type=_start,
        default="now",
        help="now, start, or an entry ID (or time in ms) to read after (default: now)",
    )
    parser.add_argument("--count", type=_positive, metavar="N", help="end after N entries")
    parser.add_argument("--json", action="store_true", help="JSON lines, also on a terminal")
    parser.set_defaults(func=run)


def run(args: argparse.Namespace) -> int:
    """Print entries until ``--count`` are shown, a signal comes, or nobody reads any more.

    Raises:
        ConfigError: a mistake in the config or the arguments.
        RedisUnavailableError: Redis doesn't answer, or refuses this client.
        BrokenPipeError: whoever read the output has gone.
    """
    from bridge.cli.common import load

    settings = load(args.config)
    redis, address = _connect(args.redis, settings)
    keys = Keys(settings.namespace if args.namespace is None else args.namespace)
    show = _JsonLines() if args.json or not sys.stdout.isatty() else _Lines(keys)
    for number in (signal.SIGTERM, signal.SIGINT):  # a shell without job control has its background jobs ignore SIGINT
        signal.signal(number, _end)
    try:
        with redis:
            _follow(redis, _Streams(redis, keys, args.keys, args.start), show, args.count, address)
    except KeyboardInterrupt:
        pass  # the usual end of a tail
    return 0


def _end(number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt(number)


def _start(text: str) -> str:
    parts = text.split("-")
    if text in ("now", "start") or (
        len(parts) in _ID_PARTS and all(part.isascii() and part.isdigit() for part in parts)
    ):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is neither now, start nor an entry ID such as 1786309548030-7")


def _positive(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")


def _connect(url: str | None, settings: Settings) -> tuple[Redis, str]:
    """A client that answers, and what to call it.

    Raises:
        ConfigError: the URL is none.
        RedisUnavailableError: Redis doesn't answer, or refuses this client.
    """
    from bridge.errors import ConfigError, Problem, RedisUnavailableError
    from bridge.topology import FAILURES, RedisUrlError, Topology

    try:
        topology = Topology(url) if url else settings.redis.topology
        redis = topology.sync_client(
            decode_responses=True,
            encoding_errors="backslashreplace",
            blocks=_BLOCK_MS / 1000 + 10,
            socket_connect_timeout=5,
            client_name="tickbridge-tail",
        )
    except RedisUrlError as error:
        raise ConfigError([Problem("--redis", error.mistake, error.hint)], "arguments") from None
    except FAILURES as error:
        raise RedisUnavailableError(topology.address, str(error)) from None
    try:
        redis.ping()
    except FAILURES as error:
        redis.close()
        raise RedisUnavailableError(topology.address, str(error)) from None
    return redis, topology.address


class _Streams:
    """The streams to read, and where each is: ``places`` = key → last ID seen. ``look`` finds those that are new."""

    def __init__(self, redis: Redis, keys: Keys, wanted: list[str], start: str) -> None:
        self.places: dict[str, str] = {}
        self._redis = redis
        self._keys = keys
        self._start = start
        prefix = f"{keys.namespace}:" if keys.namespace else ""
        named = [name if name.startswith(prefix) else prefix + name for name in wanted]
        self._exact = [name for name in named if not _GLOB & set(name)]
        self._patterns = [name for name in named if _GLOB & set(name)]
        self._first = True

    def look(self) -> None:
        """Take in what is new. Streams that appear later are read from their start, so that nothing is missed.

        Raises:
            ConfigError: a key that was named is no stream.
        """
        for key in self._found():
            if key not in self.places:
                self.places[key] = self._place(key)
        self._first = False

    def _found(self) -> Iterator[str]:
        if self._first:
            yield from map(self._checked, self._exact)
        for pattern in self._patterns:
            yield from self._redis.scan_iter(match=pattern, count=1000, _type="stream")
        if not self._exact and not self._patterns:
            listed: Any = self._redis.hkeys(self._keys.catalog())
            yield from listed
            for stream in map(self._keys.parse, listed):
                if stream is not None:
                    yield self._keys.rejects(stream.exchange)

    def _checked(self, key: str) -> str:
        from bridge.errors import ConfigError, Problem

        kind: Any = self._redis.type(key)
        if kind not in ("stream", "none"):
            raise ConfigError([Problem(key, f"is a {kind}, not a stream")], "arguments")
        if kind == "none":
            if self._start == "now":
                self.places[key] = "0-0"  # settled before it is said: whatever comes from here on is new
            print(f"tickbridge: {key}: no such stream yet; waiting for it", file=sys.stderr)
        return key

    def _place(self, key: str) -> str:
        if self._start not in ("now", "start"):
            return self._start
        if self._start == "start" or not self._first or not self._redis.exists(key):
            return "0-0"
        info: Any = self._redis.xinfo_stream(key)
        return str(info["last-generated-id"])


def _follow(redis: Redis, streams: _Streams, show: Callable[[str, Entries], str], count: int | None, url: str) -> None:
    """Read and print, over outages of Redis too."""
    from redis import exceptions

    from bridge.topology import AWAY

    looked = float("-inf")
    away = 0
    while count is None or count > 0:
        try:
            if time.monotonic() - looked >= _LOOK_SECONDS:
                streams.look()
                looked = time.monotonic()
            replies = _read(redis, streams.places, count)
        except exceptions.AuthenticationError:
            raise
        except AWAY as error:
            if not away:
                print(f"tickbridge: Redis at {url} is away, waiting: {error}", file=sys.stderr)
            away += 1
            time.sleep(min(2.0, 0.05 * 2**away))
            continue
        if away:
            print(f"tickbridge: Redis at {url} is back", file=sys.stderr)
            away = 0
        for key, entries in replies:
            shown = entries if count is None else entries[:count]
            if shown:
                streams.places[key] = shown[-1][0]
                sys.stdout.write(show(key, shown))
                count = count if count is None else count - len(shown)
        sys.stdout.flush()


def _read(redis: Redis, places: Mapping[str, str], count: int | None) -> list[tuple[str, Entries]]:
    if not places:
        time.sleep(min(_LOOK_SECONDS, _BLOCK_MS / 1000))
        return []
    from bridge.topology import by_stream

    page = _PAGE if count is None else min(_PAGE, count)
    if not hasattr(redis, "get_node_from_key"):
        streams: Any = dict(places)
        return by_stream(redis.xread(streams, count=page, block=_BLOCK_MS))
    # In a Cluster a command is for one slot, and one that waits would hold up the others.
    found: list[tuple[str, Entries]] = []
    for together in _by_slot(places):
        found += by_stream(redis.xread(together, count=page))
    if not found:
        time.sleep(_POLL_SECONDS)
    return found


def _by_slot(places: Mapping[str, str]) -> list[dict[Any, Any]]:
    from bridge.topology import slot_of

    slots: dict[int, dict[Any, Any]] = {}
    for key, place in places.items():
        slots.setdefault(slot_of(key), {})[key] = place
    return list(slots.values())


class _JsonLines:
    """One JSON object a line: ``key``, ``entry_id``, then the fields under their own names."""

    def __call__(self, key: str, entries: Entries) -> str:
        import msgspec

        encode = msgspec.json.encode
        return "".join(encode({"key": key, "entry_id": number, **fields}).decode() + "\n" for number, fields in entries)


class _Lines:
    """Aligned, coloured lines: time, stream, number, type, and the fields that say something."""

    _TYPES: Mapping[str, str] = {
        "trade": "bright_white",
        "snapshot": "magenta",
        "delta": "blue",
        "quote": "cyan",
        "ticker": "cyan",
        "control": "bold yellow",
    }
    _VALUES: Mapping[str, str] = {
        "buy": "green",
        "long": "green",
        "live": "green",
        "sell": "red",
        "short": "red",
        "down": "red",
        "gap": "red",
        "lost": "bold red",
        "stale": "red",
    }
    _FIELDS: Mapping[str, str] = {"bids": "green", "bid": "green", "asks": "red", "ask": "red", "error": "red"}
    _MOST = 60

    def __init__(self, keys: Keys) -> None:
        from rich.console import Console

        self._keys = keys
        self._console = Console(soft_wrap=False, highlight=False)
        self._width = 24

    def __call__(self, key: str, entries: Entries) -> str:
        with self._console.capture() as capture:
            for number, fields in entries:
                self._console.print(self._line(key, number, fields), no_wrap=True, overflow="ellipsis", crop=True)
        return capture.get()

    def _line(self, key: str, number: str, fields: Mapping[str, str]) -> Text:
        from rich.text import Text

        ms, _, seq = number.partition("-")
        stream = self._keys.parse(key)
        name = f"{stream.exchange}:{stream.subject} {stream.channel}" if stream else key
        self._width = max(self._width, len(name))
        kind = fields.get("type", "")
        # The bridge's clock, in the reader's own time zone.
        at = datetime.fromtimestamp(int(ms) / 1000).astimezone()
        line = Text(f"{at:%H:%M:%S}.{int(ms) % 1000:03} ", style="dim")
        line.append(f"{name:{self._width}} ", style="default")
        line.append(f"{seq:>8} ", style="dim")
        line.append(f"{_printable(kind):9}", style=self._TYPES.get(kind, "white"))
        for field, value in fields.items():
            if field not in ("type", "ts", "recv") and value:
                line.append(f" {_printable(field)} ", style="dim")
                style = self._FIELDS.get(field) or self._VALUES.get(value, "default")
                text = value if len(value) <= self._MOST or field in ("raw", "error") else value[: self._MOST] + "…"
                line.append(_printable(text), style=style)
        return line


def _printable(text: str) -> str:
    """Without the control characters by which an entry could steer the terminal."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
