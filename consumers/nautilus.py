"""Writes trades, quotes and candles once more, in the form that NautilusTrader reads as external streams.

    python -m consumers.nautilus                                   all trades, quotes and candles of the catalog
    python -m consumers.nautilus '*:BTC-USD trades'                those that match

Of ``md:{<exchange>:<pair>}:trades`` it makes ``nautilus:{<exchange>:<pair>}:trades``, whose entries have the same IDs. So
it goes on where the stream ends, and Redis refuses what is there already: it can be killed at any time, and two may run.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Mapping
from typing import Any

from redis.exceptions import ResponseError

from bridge.keys import Keys, StreamKey
from bridge.model import Control
from bridge.printable import printable
from bridge.redis.errors import refuses_key, said
from consumers.items import Entry, Item
from consumers.monitor import Monitor
from consumers.nautilus_messages import CHANNELS, Message, NotForNautilusError, message
from consumers.notices import Notices
from consumers.patterns import Pattern
from consumers.positions import Position
from consumers.reader import Reader
from consumers.service import Parser, discover, note, run_as_command, serve

__all__ = ["DESCRIPTION", "HTTP_PORT", "Republisher", "add_options", "main", "start"]

HTTP_PORT = 9114
"""Default port of metrics and health checks."""
DESCRIPTION = "Writes trades, quotes and candles in the form that NautilusTrader reads."
_NOT_ABOVE = "equal or smaller than the target stream top item"
_KEEP = 100_000


class Republisher:
    """The streams that match one of ``wanted`` (none: all), of ``exchange`` (``None``: of all), each kept ``keep`` long."""

    def __init__(
        self, reader: Reader, keys: Keys, wanted: list[Pattern], exchange: str | None = None, *, keep: int = _KEEP
    ) -> None:
        self.writes = 0
        """Messages written."""
        self.refused: dict[str, str] = {}
        """Streams that cannot be written, with the error."""
        self.left_out: dict[str, Counter[str]] = {}
        """Stream → why an event of it has no form there → how many."""
        self._reader = reader
        self._keys = keys
        self._wanted = wanted
        self._exchange = exchange
        self._keep = keep
        self._followed: set[str] = set()
        self._copied: set[str] = set()
        """Those that have a copy."""

    async def found(self, key: str, stream: StreamKey) -> None:
        """Follow a stream of the catalog, if it is wanted, from where its copy ends; one without a copy, from now on."""
        fits = not self._wanted or any(pattern.matches(stream) for pattern in self._wanted)
        mine = stream.channel in CHANNELS and fits and self._exchange in (None, stream.exchange)
        if mine and key not in self._followed:
            copy = self._keys.nautilus(stream)
            # Undecoded: payloads are not text.
            client: Any = self._reader.redis
            last = await client.execute_command("XREVRANGE", copy, "+", "-", "COUNT", 1, NEVER_DECODE=[])
            await self._reader.add(key, last[0][0].decode() if last else Position.NOW)
            self._followed.add(key)
            if last:
                self._copied.add(key)
            self.refused.pop(copy, None)

    def missing(self, streams: Mapping[str, StreamKey]) -> tuple[set[str], set[str]]:
        """Whether there is nothing to follow yet, and the streams that exist."""
        return (set() if self._reader.cursors else {""}), set(streams)

    async def follow(self) -> None:
        """Write what comes, endlessly."""
        outages = self._reader.outages
        async for read in self._reader.batches():
            batch = read
            if self._reader.outages != outages:
                outages = self._reader.outages
                self._follow_again()
                batch = [item for item in read if item.key in self._followed]
            waiting: dict[str, list[tuple[str, Message]]] = {}
            streams = {item.key: item.stream for item in batch}
            for item in batch:
                made = self._message(item)
                if made is not None and isinstance(item, Entry):
                    waiting.setdefault(item.key, []).append((item.id, made))
            for key, messages in waiting.items():
                await self._write(key, self._keys.nautilus(streams[key]), messages)

    def _follow_again(self) -> None:
        """A failover may have taken messages back: go on from where each copy ends, as after a start."""
        for key in self._followed & self._copied:
            self._reader.remove(key)
            self._followed.discard(key)

    def degraded(self) -> list[str]:
        """Streams that cannot be written, and how much was left out."""
        left = [f"{key}: {sum(why.values())} left out ({', '.join(why)})" for key, why in sorted(self.left_out.items())]
        return [*(f"{key}: {words}" for key, words in sorted(self.refused.items())), *left]

    def _message(self, item: Item) -> Message | None:
        if not isinstance(item, Entry):
            # NautilusTrader has no word for what is missing.
            self._tell(f"{item.key}: {type(item).__name__}")
            return None
        if isinstance(item.event, Control):
            self._tell(f"{item.key}: {item.event.event} {item.event.reason}")
        try:
            return message(item.stream, item.id, item.event)
        except NotForNautilusError as error:
            self.left_out.setdefault(item.key, Counter())[str(error)] += 1
            return None

    async def _write(self, key: str, copy: str, messages: list[tuple[str, Message]]) -> None:
        try:
            self.writes += await self._reader.outlive(lambda: self._add(copy, messages))
            self._copied.add(key)
        except ResponseError as error:
            if not refuses_key(error):
                raise
            # Followed again as soon as the copy can be read, from its end, so that nothing is left out.
            self.refused[copy] = said(error)
            self._reader.remove(key)
            self._followed.discard(key)

    async def _add(self, key: str, messages: list[tuple[str, Message]]) -> int:
        """Write these messages, all of them or none; returns how many are new. It may be repeated."""
        async with self._reader.redis.pipeline(transaction=True) as pipe:
            for entry_id, made in messages:
                fields: dict[Any, Any] = {"topic": made.topic, "payload": made.payload}
                pipe.xadd(key, fields, id=entry_id, maxlen=self._keep, approximate=True)
            replies: list[Any] = await pipe.execute(raise_on_error=False)
        wrong = [reply for reply in replies if isinstance(reply, Exception) and _NOT_ABOVE not in str(reply)]
        if wrong:
            raise wrong[0]
        return sum(not isinstance(reply, Exception) for reply in replies)

    @staticmethod
    def _tell(line: str) -> None:
        note(f"nautilus: {line}")


async def run(args: Namespace) -> None:
    """Run the service until it is cancelled."""
    keys = Keys(args.namespace)
    async with Reader(args.redis, namespace=args.namespace) as reader:
        copies = Republisher(reader, keys, args.streams, args.exchange, keep=args.keep)
        notices = Notices("nautilus")
        async with asyncio.TaskGroup() as group:
            found = discover(
                reader.redis,
                keys,
                copies.found,
                names=(keys.catalog(),),
                notices=notices,
                writer="connector with trades or quotes",
                missing=copies.missing,
            )
            group.create_task(copies.follow(), name="read")
            group.create_task(found, name="catalog")
            monitor = Monitor(
                "nautilus",
                reader,
                args.redis,
                lambda: copies.writes,
                degraded=lambda: [*notices.problems(), *copies.degraded()],
            )
            group.create_task(monitor.run(args.http), name="http")


def pattern(text: str) -> Pattern:
    """A pattern of streams.

    Raises:
        argparse.ArgumentTypeError: it is not one.
    """
    try:
        return Pattern.of(text)
    except ValueError as error:
        raise ArgumentTypeError(printable(str(error))) from None


def add_options(parser: Parser) -> None:
    """Add the options of this service."""
    parser.add_argument(
        "streams",
        nargs="*",
        metavar="PATTERN",
        type=pattern,
        help="'md:{*:BTC-USD}:trades', '*:BTC-USD quotes' (default: all trades, quotes and candles)",
    )
    parser.add_argument(
        "--keep", type=int, default=_KEEP, metavar="N", help=f"messages to keep in each stream (default: {_KEEP})"
    )


def start(parser: Parser, args: Namespace) -> int:
    """Run with these arguments; returns the exit code."""
    if args.keep < 1:
        parser.error("--keep must be above zero")
    return serve("nautilus", lambda: run(args))


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = Parser("nautilus", DESCRIPTION, http_port=HTTP_PORT)
    add_options(parser)
    return start(parser, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(run_as_command("nautilus", main))
