"""Builds candles from the streams of trades, with exact decimals, as streams of their own.

    python -m consumers.candles                             one-minute candles of all pairs of the catalog
    python -m consumers.candles BTC-EUR --interval 1m 1h    these pairs, these intervals
    python -m consumers.candles --quiet                     prints nothing

A candle of ``md:{<exchange>:<pair>}:candles:1m`` has the ID ``<end>-<number>``: the end of its bar in milliseconds, and
the number of the bar since the epoch. The ID follows from the bar alone, and Redis refuses one that is not above the
last. So the service can be killed at any time, and two of them may run: no candle is written twice, and none is left out.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
from redis.exceptions import ResponseError

from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from bridge.printable import printable, printable_json
from bridge.redis.errors import FAILURES, explain, refuses_key
from consumers.bars import ClosedBar, Interval
from consumers.books import pair_name
from consumers.candle_catalog import CandleCatalog
from consumers.candle_clock import CandleClock
from consumers.candle_series import Series, read_series
from consumers.candle_writer import CandleWriter
from consumers.monitor import Monitor
from consumers.notices import Notices
from consumers.positions import Position
from consumers.reader import Reader
from consumers.service import Parser, discover, run_as_command, say, serve, to_terminal

__all__ = ["DESCRIPTION", "HTTP_PORT", "Candles", "add_options", "main", "start"]

HTTP_PORT = 9111
"""Default port of metrics and health checks."""
DESCRIPTION = "Builds candles from the streams of trades, with exact decimals, as streams of their own."
_EVERY = 1.0
"""Seconds between two looks at the clock."""
_LOOK_EVERY = 10
"""The same, between two looks for candles that Redis has lost."""
_KEEP = 100_000
_LISTED_EVERY = 5.0
"""Seconds between two heartbeats; it expires after three of them."""
_LAST_WORDS = 2.0
"""Seconds that the service has at its end to say so in the catalog."""


class Candles:
    """The candles of ``pairs`` (``BTC-EUR``, or with the exchange in front; none: of all pairs), of each interval.

    ``grace`` (seconds) is how long after its end a bar waits for late trades; ``keep`` is the length of each stream.
    """

    def __init__(
        self,
        reader: Reader,
        keys: Keys,
        intervals: list[Interval],
        pairs: list[str] | None = None,
        exchange: str | None = None,
        *,
        grace: float,
        keep: int,
        writer: CandleWriter,
    ) -> None:
        self.series: dict[str, list[Series]] = {}
        """Key of the trades → their series, one for each interval."""
        self._reader = reader
        self._keys = keys
        self._intervals = intervals
        self._pairs = set(pairs or ())
        self._exchange = exchange
        self._grace = int(grace * 1_000_000_000)
        self._keep = keep
        self._writer = writer
        self._clock = CandleClock(reader.redis, keys)

    async def start(self) -> None:
        """Read the pairs that are given with their exchange at once, even if the catalog does not list them."""
        for name in sorted(self._pairs):
            exchange, _, pair = name.rpartition(":")
            if exchange or self._exchange:
                stream = StreamKey(exchange or str(self._exchange), pair, Channel.TRADES)
                with suppress(ValueError):  # `found` says so, and tries again
                    await self._read(self._keys.stream(stream.exchange, pair, Channel.TRADES), stream)

    async def found(self, key: str, stream: StreamKey) -> None:
        """Read a stream of the catalog if it is one of wanted trades.

        Raises:
            ValueError: the key of an interval's candles holds something else; the other intervals are made.
        """
        named = {stream.subject, f"{stream.exchange}:{stream.subject}"} & self._pairs
        wanted = (named or not self._pairs) and self._exchange in (None, stream.exchange)
        if stream.channel is Channel.TRADES and wanted:
            await self._read(key, stream)

    def missing(self, streams: Mapping[str, StreamKey]) -> tuple[set[str], set[str]]:
        """The wanted pairs that have no trades in the catalog, and those that have."""
        found = [one for one in streams.values() if one.channel is Channel.TRADES]
        there = {f"{one.exchange}:{one.subject}" for one in found if self._exchange in (None, one.exchange)}
        read = {self._keys.parse(key) for key, entry_id in self._reader.cursors.items() if entry_id != "0-0"}
        named = there | {f"{one.exchange}:{one.subject}" for one in read if one}
        named |= {name.partition(":")[2] for name in named}
        return ({""} if not self._pairs and not named else self._pairs - named), there

    async def follow(self) -> None:
        """Take the trades and write the candles, endlessly."""
        async for batch in self._reader.batches():
            for item in batch:
                for series in self.series[item.key]:
                    self._writer.add(series, series.bars.take(item))
            await self._reader.outlive(self._writer.write)

    async def keep_time(self, every: float = _EVERY) -> None:
        """Close the bars of quiet pairs, as time passes, and look whether Redis still has what was written."""
        for turn in itertools.count(1):
            await asyncio.sleep(every)
            await self._reader.outlive(self.close_due)
            if turn % _LOOK_EVERY == 0:
                await self._reader.outlive(self._writer.look)
            await self._reader.outlive(self._writer.write)

    async def close_due(self) -> None:
        """Close the bars that ended before a moment up to which all trades are known to be taken."""
        known = await self._clock.known_until([key for key in self.series if key in self._reader.cursors])
        taken = self._reader.cursors
        for key, ms in known.items():
            if taken.get(key) == self._clock.newest[key]:
                for series in self.series[key]:
                    self._writer.add(series, series.bars.advance(ms))

    async def keep_listed(self, catalog: CandleCatalog, notices: Notices, every: float = _LISTED_EVERY) -> None:
        """Keep the streams that have candles in the catalog, endlessly; at the end, say there that they have stopped.

        Where Redis refuses that, candles are made all the same, and it is tried again.
        """
        about = f"{self._keys.catalog()}, for candles"
        try:
            while True:
                try:
                    await self._reader.outlive(lambda: catalog.show(sorted(self._writer.there), self._writer.refused))
                except ResponseError as error:
                    if not refuses_key(error):
                        raise
                    notices.report_problem(about, explain(error, ""))
                else:
                    notices.clear_problem(about)
                await asyncio.sleep(every)
        finally:
            with suppress(TimeoutError, *FAILURES):  # then the heartbeat expires
                async with asyncio.timeout(_LAST_WORDS):
                    await catalog.stop()

    def degraded(self) -> list[str]:
        """Streams of candles that cannot be written, and trades that came after their candle."""
        late = [
            f"{series.key}: {series.bars.late} trades came after their candle was written"
            for all_of_it in self.series.values()
            for series in all_of_it
            if series.bars.late
        ]
        return [*self._writer.refused.values(), *late]

    async def _read(self, key: str, stream: StreamKey) -> None:
        made = {series.interval for series in self.series.get(key, ())}
        if len(made) == len(self._intervals):
            return
        found: list[Series] = []
        refused: list[str] = []
        for interval in self._intervals:
            try:
                found.append(
                    await read_series(
                        self._reader.redis, self._keys, stream, interval, grace=self._grace, keep=self._keep
                    )
                )
            except ValueError as error:
                refused.append(str(error))
        if not made.issuperset(series.interval for series in found):
            await self._begin(key, found)
        if refused:
            raise ValueError("; ".join(refused))

    async def _begin(self, key: str, found: list[Series]) -> None:
        """Make these candles of a pair; those that were made before continue where their streams end, as after a start."""
        self._writer.there.update(series.key for series in found if series.begin != (0, 0))
        begin = min((series.begin for series in found), default=(0, 0))
        self.series[key] = found
        self._reader.remove(key)
        try:
            await self._reader.add(key, "{}-{}".format(*begin) if begin != (0, 0) else Position.START)
        except BaseException:
            del self.series[key]
            raise


def as_text(series: Series, candle: ClosedBar) -> str:
    """A candle as a line: name, interval, time, prices, volume, and why it is incomplete."""
    of = candle.fields
    opened = _time(int(of["open_ts"]))
    prices = " ".join(of[name] or "-" for name in ("open", "high", "low", "close"))
    reason = f" ({of['reason']})" if of["reason"] else ""
    return printable(
        f"{series.name:21} {series.interval.name:>4} {opened} {prices} volume {of['volume'] or '-'}{reason}"
    )


def as_json(series: Series, candle: ClosedBar) -> str:
    """A candle as a row of JSON: the key, the ID, and the fields of its entry."""
    row = {"key": series.key, "entry_id": candle.id, **candle.fields}
    return printable_json(msgspec.json.encode(row))


def _time(ns: int) -> str:
    try:
        return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(ns)  # beyond the years that Python knows


async def run(args: Namespace) -> None:
    """Run the service until it is cancelled."""
    keys = Keys(args.namespace)
    text = as_json if args.json or not to_terminal() else as_text
    async with Reader(args.redis, namespace=args.namespace) as reader:
        written = (lambda *_: None) if args.quiet else (lambda series, candle: say(text(series, candle)))
        writer = CandleWriter(reader.redis, keep=args.keep, written=written)
        candles = Candles(
            reader, keys, args.interval, args.pairs, args.exchange, grace=args.grace, keep=args.keep, writer=writer
        )
        notices = Notices("candles")
        await candles.start()
        async with asyncio.TaskGroup() as group:
            found = discover(
                reader.redis,
                keys,
                candles.found,
                names=(keys.catalog(),),
                notices=notices,
                writer="connector with trades",
                missing=candles.missing,
            )
            group.create_task(candles.follow(), name="read")
            group.create_task(candles.keep_time(), name="clock")
            group.create_task(found, name="catalog")
            group.create_task(candles.keep_listed(CandleCatalog(reader.redis, keys), notices), name="listing")
            monitor = Monitor(
                "candles",
                reader,
                args.redis,
                lambda: writer.writes,
                lambda: writer.trouble,
                degraded=lambda: [*notices.problems(), *candles.degraded()],
            )
            group.create_task(monitor.run(args.http), name="http")


def interval(text: str) -> Interval:
    """An interval.

    Raises:
        argparse.ArgumentTypeError: it is not one.
    """
    try:
        return Interval.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def add_options(parser: Parser) -> None:
    """Add the options of this service."""
    parser.add_argument(
        "pairs", nargs="*", metavar="PAIR", type=pair_name, help="BTC-EUR, or EXCHANGE:BTC-EUR (default: all)"
    )
    parser.add_argument(
        "--interval",
        nargs="+",
        action="extend",
        type=interval,
        default=[],
        metavar="TIME",
        help="length of a candle, or several: 1s 5m 1h 1d (default: 1m)",
    )
    parser.add_argument(
        "--grace",
        type=float,
        default=2.0,
        metavar="S",
        help="seconds for which a candle waits for late trades after its end (default: 2)",
    )
    parser.add_argument(
        "--keep", type=int, default=_KEEP, metavar="N", help=f"candles to keep in each stream (default: {_KEEP})"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing; the candles are still written")


def start(parser: Parser, args: Namespace) -> int:
    """Run with these arguments; returns the exit code."""
    if not 0 <= args.grace <= 3_600:  # so that NaN is none
        parser.error("--grace must be from 0 to 3600 seconds")
    if args.keep < 1:
        parser.error("--keep must be above zero")
    args.interval = list(dict.fromkeys(args.interval)) or [Interval.parse("1m")]
    return serve("candles", lambda: run(args))


def main(argv: list[str] | None = None) -> int:
    """Run from the command line; returns the exit code."""
    parser = Parser("candles", DESCRIPTION, http_port=HTTP_PORT)
    add_options(parser)
    return start(parser, parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(run_as_command("candles", main))
