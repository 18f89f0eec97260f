"""Keeps order books, shows their best levels, and keeps the late-join hashes up to date.

    python -m consumers.books                              all pairs of the catalog, including new ones
    python -m consumers.books limitlex:BTC-EUR ETH-EUR     these pairs (ETH-EUR: at every exchange)
    python -m consumers.books --http :8080 --quiet         HTTP only: /books, /books/limitlex/BTC-EUR?depth=10

Its core is a few lines: the items of a ``Reader`` go to one ``BookKeeper`` per pair.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from bridge.keys import Keys, StreamKey
from bridge.model import BOOKS, Channel
from bridge.printable import printable, printable_json
from bridge.redis.errors import FAILURES, is_passing, refuses_key, said
from consumers.keeper import BookKeeper
from consumers.monitor import Monitor
from consumers.notices import Notices
from consumers.reader import Position, Reader
from consumers.service import Parser, discover, run_as_command, say, serve, to_terminal

__all__ = ["DESCRIPTION", "HTTP_PORT", "BookKeeper", "Books", "add_options", "main", "start"]

_NAME, _SIDE = 21, 26
"""Columns of a book's name and of its bids; with usual names and numbers, a line has at most 80."""
_FIRST_READ = 2.0
"""Seconds after the start in which a book without any entry is not shown as invalid."""
HTTP_PORT = 9109
"""Default port of metrics and health checks."""
DESCRIPTION = "Keeps order books, shows their best levels, keeps the late-join hashes up to date."


class Books:
    """Books by (exchange, pair). ``pairs`` are ``BTC-EUR`` or ``limitlex:BTC-EUR``; without any, all pairs are read.

    ``channel`` is ``book``, or ``book10`` for the ten best levels, which have no late-join hashes.
    """

    def __init__(
        self,
        reader: Reader,
        keys: Keys,
        pairs: list[str] | None = None,
        exchange: str | None = None,
        *,
        channel: Channel = Channel.BOOK,
    ) -> None:
        self.keepers: dict[tuple[str, str], BookKeeper] = {}
        self.changed: set[tuple[str, str]] = set()
        self.writes = 0
        """Late-join hashes written."""
        self.trouble = ""
        """Why Redis does not accept them; empty while it does."""
        self._reader = reader
        self._keys = keys
        self._pairs = set(pairs or ())
        self._exchange = exchange
        self._channel = channel

    async def start(self) -> None:
        """Read the pairs that are given with their exchange at once, even if the catalog does not list them."""
        for name in sorted(self._pairs):
            exchange, _, pair = name.rpartition(":")
            if exchange or self._exchange:
                stream = StreamKey(exchange or str(self._exchange), pair, self._channel)
                await self._read(self._keys.stream(stream.exchange, pair, self._channel), stream)

    async def found(self, key: str, stream: StreamKey) -> None:
        """Read a stream of the catalog if it is a wanted book."""
        named = {stream.subject, f"{stream.exchange}:{stream.subject}"} & self._pairs
        wanted = (named or not self._pairs) and self._exchange in (None, stream.exchange)
        if stream.channel is self._channel and wanted:
            await self._read(key, stream)

    def missing(self, streams: Mapping[str, StreamKey]) -> tuple[set[str], set[str]]:
        """The wanted pairs that have no book in the catalog, and the books that exist."""
        books = [stream for stream in streams.values() if stream.channel is self._channel]
        books = [stream for stream in books if self._exchange in (None, stream.exchange)]
        there = {f"{stream.exchange}:{stream.subject}" for stream in books}
        read = {f"{exchange}:{pair}" for (exchange, pair), keeper in self.keepers.items() if keeper.id}
        named = there | read | {name.partition(":")[2] for name in there | read}
        return ({""} if not self._pairs and not named else self._pairs - named), there

    async def follow(self) -> None:
        """Keep the books up to date, endlessly."""
        async for batch in self._reader.batches():
            for item in batch:
                name = (item.stream.exchange, item.stream.subject)
                self.keepers[name].take(item)
                self.changed.add(name)

    async def keep_hashes(self, every: float) -> None:
        """Every ``every`` seconds, write the late-join hash of each book that has changed; of large books less often."""
        while True:
            await asyncio.sleep(every)
            await self.keep_hashes_once(every)

    async def keep_hashes_once(self, every: float = 0.0) -> None:
        """Write the late-join hashes that are due, of the books that have changed since the last write."""
        if self._channel is not Channel.BOOK:
            return  # the hash of a pair is that of its whole book
        trouble = ""
        now = time.monotonic()
        for keeper in list(self.keepers.values()):
            if not keeper.due(now, every):
                continue
            try:
                self.writes += await keeper.keep(self._reader.redis, self._keys, now)
            except FAILURES as error:
                words = said(error)
                if refuses_key(error):
                    # The key holds something else, or may not be written: the other hashes are still written.
                    trouble = f"{self._keys.snapshot(keeper.stream.exchange, keeper.stream.subject)}: {words}"
                    continue
                if not is_passing(error):
                    raise
                self.trouble = words
                return  # the next round writes the newest books
        self.trouble = trouble

    def invalid(self) -> list[str]:
        """The invalid books, with the reason of each."""
        return [
            f"book of {exchange}:{pair}: {keeper.reason}"
            for (exchange, pair), keeper in sorted(self.keepers.items())
            if not keeper.valid
        ]

    async def _read(self, key: str, stream: StreamKey) -> None:
        name = (stream.exchange, stream.subject)
        if name not in self.keepers:
            self.keepers[name] = BookKeeper(stream)
            self.changed.add(name)
            await self._reader.add(key, Position.SNAPSHOT)


def describe(keeper: BookKeeper, depth: int | None) -> dict[str, Any]:
    """A book as printed and served JSON; levels are ``[price, size]``, best first."""
    bids, asks = keeper.top(depth)
    return {
        "exchange": keeper.stream.exchange,
        "pair": keeper.stream.subject,
        "valid": keeper.valid,
        "reason": keeper.reason,
        "id": keeper.id,
        "recv": str(keeper.recv) if keeper.recv else "",
        "bids": bids,
        "asks": asks,
    }


def as_text(keeper: BookKeeper, depth: int) -> str:
    """The best levels, one per line of at most 80 columns: ``limitlex:BTC-EUR   0.5 @ 7994.20 | 7994.50 @ 1.134``."""
    name = printable(f"{keeper.stream.exchange}:{keeper.stream.subject}")
    if not keeper.valid:
        return f"{name:{_NAME}} invalid: {printable(keeper.reason)}"
    bids, asks = keeper.top(depth)
    lines = []
    for row in range(max(1, len(bids), len(asks))):
        bid = printable(f"{bids[row][1]} @ {bids[row][0]}") if row < len(bids) else "-"
        ask = printable(f"{asks[row][0]} @ {asks[row][1]}") if row < len(asks) else "-"
        lines.append(f"{name if row == 0 else '':{_NAME}} {bid:>{_SIDE}} | {ask}")
    return "\n".join(lines)


async def show(books: Books, depth: int, interval: float, *, as_json: bool) -> None:
    """Print every book once, then those that change, each at most once per ``interval`` (seconds)."""
    shown: dict[tuple[str, str], object] = {}
    begun = time.monotonic()
    while True:
        changed, books.changed = books.changed, set()
        if time.monotonic() - begun < _FIRST_READ:
            books.changed = {name for name in changed if not books.keepers[name].id}
            changed -= books.changed
        for name in sorted(changed):
            keeper = books.keepers[name]
            state = (keeper.top(depth), keeper.reason)
            if shown.get(name) != state:
                shown[name] = state
                line = (
                    printable_json(msgspec.json.encode(describe(keeper, depth))) if as_json else as_text(keeper, depth)
                )
                say(line)
        await asyncio.sleep(interval)


def pages(books: Books) -> list[web.RouteDef]:
    """``GET /books`` lists the books with their best levels; ``GET /books/{exchange}/{pair}?depth=N`` gives one."""

    def answer(body: object, status: int = 200) -> web.Response:
        return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")

    async def listing(_: web.Request) -> web.Response:
        return answer([describe(keeper, 1) for _, keeper in sorted(books.keepers.items())])

    async def one(request: web.Request) -> web.Response:
        keeper = books.keepers.get((request.match_info["exchange"], request.match_info["pair"]))
        if keeper is None:
            return answer({"error": "no such book; /books lists them"}, 404)
        depth = request.query.get("depth", "")
        if depth and not (depth.isascii() and depth.isdigit()):
            return answer({"error": f"depth must be a whole number, not {depth!r}"}, 400)
        return answer(describe(keeper, int(depth) if depth else None))

    return [web.get("/books", listing), web.get("/books/{exchange}/{pair}", one)]


async def run(args: Namespace) -> None:
    """Run the service until it is cancelled; then write the hashes once more."""
    keys = Keys(args.namespace)
    async with Reader(args.redis, namespace=args.namespace, count=200) as reader:
        books = Books(reader, keys, args.pairs, args.exchange, channel=Channel(args.channel))
        await books.start()
        try:
            public = (keys.catalog(),)
            notices = Notices("books")
            found = discover(
                reader.redis,
                keys,
                books.found,
                names=public,
                notices=notices,
                writer="connector with order books",
                missing=books.missing,
            )
            async with asyncio.TaskGroup() as group:
                group.create_task(books.follow(), name="read")
                group.create_task(found, name="catalog")
                group.create_task(books.keep_hashes(args.every), name="late-join hashes")
                monitor = Monitor(
                    "books",
                    reader,
                    args.redis,
                    lambda: books.writes,
                    lambda: books.trouble,
                    degraded=lambda: [*notices.problems(), *books.invalid()],
                )
                group.create_task(monitor.run(args.http, pages(books)), name="http")
                if not args.quiet:
                    as_json = args.json or not to_terminal()
                    group.create_task(show(books, args.top, args.interval, as_json=as_json), name="show")
        finally:
            await books.keep_hashes_once()


def pair_name(text: str) -> str:
    """Normalise a pair: ``limitlex:btc-eur`` becomes ``limitlex:BTC-EUR``.

    Raises:
        argparse.ArgumentTypeError: it is not a pair.
    """
    exchange, colon, pair = text.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]*", exchange) or not re.fullmatch(r"[^\s:{}]+-[^\s:{}]+", pair):
        raise ArgumentTypeError(f"{text!r} is not a pair; write BTC-EUR, or limitlex:BTC-EUR")
    return f"{exchange.lower()}{colon}{pair.upper()}"


def add_options(parser: Parser) -> None:
    """Add the options of this service."""
    parser.add_argument(
        "pairs", nargs="*", metavar="PAIR", type=pair_name, help="BTC-EUR or limitlex:BTC-EUR (default: all)"
    )
    parser.add_argument(
        "--channel",
        choices=[str(channel) for channel in sorted(BOOKS)],
        default=str(Channel.BOOK),
        metavar="CHANNEL",
        help="book, or book10: the ten best levels, which have no late-join hashes (default: book)",
    )
    parser.add_argument("--top", type=int, default=1, metavar="N", help="levels per side to print (default: 1)")
    parser.add_argument(
        "--interval", type=float, default=0.2, metavar="S", help="seconds between two lines of a book (default: 0.2)"
    )
    parser.add_argument(
        "--every",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds between two writes of a late-join hash (default: 1)",
    )
    parser.add_argument("--quiet", action="store_true", help="print no books; they are still served at /books")


def start(parser: Parser, args: Namespace) -> int:
    """Run with these arguments; returns the exit code."""
    if not (args.top >= 1 and args.interval > 0 and args.every > 0):  # so that NaN is none
        parser.error("--top, --interval and --every must be above zero")
    return serve("books", lambda: run(args))


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = Parser("books", DESCRIPTION, http_port=HTTP_PORT)
    add_options(parser)
    return start(parser, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(run_as_command("books", main))
