"""The HTTP server of a consumer service: ``/metrics``, ``/livez``, ``/readyz``, ``/status``, and its own pages."""

from __future__ import annotations

import argparse
import asyncio
import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from typing import Any, NamedTuple, Protocol

from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from redis.asyncio import Redis

from bridge.entries import textual
from bridge.printable import printable
from bridge.process.exposition import Source as MetricsSource
from bridge.process.output import dropped_lines
from bridge.process.requests import Hosts
from bridge.process.serving import HttpServer, ProcessMetrics, Pulse, overall
from bridge.redis.errors import FAILURES
from consumers.connection import Where, topology_of
from consumers.items import split_id
from consumers.reader import Row

__all__ = ["HttpAddress", "Monitor", "Source", "http_address"]

_EVERY = 5.0
"""Seconds between two measurements of the reader's lag."""
_MEASURE_TIMEOUT = 5.0
_MAX_NAMED = 20

Labels = tuple[str, ...]


class HttpAddress(NamedTuple):
    """Where to serve (``port`` ``None``: nowhere). If ``explicit``, it is an error if the address is not available.

    ``hosts`` are further names of this process, ``old_names`` whether metrics have those of the earlier 0.1.0, too.
    """

    host: str
    port: int | None
    explicit: bool
    hosts: tuple[str, ...] = ()
    old_names: bool = True


def http_address(text: str) -> HttpAddress:
    """Parse ``HOST:PORT``, ``PORT`` or ``off``.

    Raises:
        argparse.ArgumentTypeError: it is none of these.
    """
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or os.environ.get("TICKBRIDGE_HTTP__HOST") or "127.0.0.1"
    if port.lower() == "off":
        return HttpAddress(host, None, explicit=True)
    if not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT (port 0: any free port), a port, or off")
    return HttpAddress(host, int(port), explicit=True)


class Source(Protocol):
    """What reads streams: a `Reader`, or what has the same attributes."""

    @property
    def redis(self) -> Redis: ...

    @property
    def streams(self) -> list[str]: ...

    @property
    def outages(self) -> int: ...

    @property
    def trouble(self) -> str: ...

    def rows(self) -> list[Row]: ...


class Monitor:
    """Reports the state of a reader, and measures its lag.

    ``writes`` returns the number of writes of the service, ``trouble`` why Redis does not accept them (empty while it
    does), and ``degraded`` which of its books or wallets are not in order. ``unwritten`` returns why it cannot write
    elsewhere, such as to a full disk.
    """

    def __init__(
        self,
        service: str,
        reader: Source,
        where: Where,
        writes: Callable[[], int],
        trouble: Callable[[], str] = lambda: "",
        *,
        degraded: Callable[[], list[str]] = list,
        unwritten: Callable[[], str] = lambda: "",
    ) -> None:
        self._service = service
        self._reader = reader
        self._url = topology_of(where).address
        self._writes = writes
        self._unwritten = trouble
        self._degraded = degraded
        self._unwritten_elsewhere = unwritten
        self._pulse = Pulse()
        self._behind: dict[str, tuple[int, float]] = {}
        """Key → lag of the reader, in entries and in seconds."""
        self._trouble = ""
        self.version = _version()

    async def run(
        self,
        address: HttpAddress,
        routes: Sequence[web.RouteDef] = (),
        *,
        middlewares: Sequence[Middleware] = (),
        collectors: Sequence[MetricsSource] = (),
        words: str = "metrics and health at",
    ) -> None:
        """Serve and measure, endlessly; without an address, do nothing. ``words`` introduce the URL in the first line.

        Raises:
            OSError: the address was given explicitly and is not available.
        """
        if address.port is None:
            return
        server = HttpServer(
            self._pulse,
            [self, ProcessMetrics(self.version, self._pulse, "consumer_"), *collectors],
            missing=self.missing,
            status=self.status,
            degraded=self.degraded,
            routes=routes,
            middlewares=middlewares,
            hosts=None if middlewares else Hosts(address.hosts, address.host),
            old_names=address.old_names,
        )
        async with server:
            try:
                url = await server.start(address.host, address.port)
            except OSError as error:
                where = f"{address.host} port {address.port}"
                reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
                if address.explicit or error.errno != errno.EADDRINUSE:
                    raise OSError(f"--http: {where}: {reason}; give a free one, 0 for any, or off") from None
                self._say(f"{where} is taken: running without metrics and health pages; --http 0 takes a free port")
                return
            self._say(f"{words} {url}")
            while True:
                await self.measure()
                await asyncio.sleep(_EVERY)

    async def measure(self) -> None:
        """Measure the lag of each stream, and whether Redis answers."""
        keys = self._reader.streams
        try:
            async with asyncio.timeout(_MEASURE_TIMEOUT):
                if not keys:
                    await self._reader.redis.ping()
                # Not XINFO: it also returns the oldest entry, which for a book is a whole snapshot.
                pipe = self._reader.redis.pipeline(transaction=False)
                for key in keys:
                    pipe.xrevrange(key, count=1)
                newest: list[Any] = await pipe.execute(raise_on_error=False)
        except FAILURES as error:  # monitoring must not end the service
            self._trouble = str(error) or "no answer"
            return
        # A key that holds something else must not affect the other streams.
        refused = [answer for answer in newest if isinstance(answer, Exception)]
        self._trouble = str(refused[0]) if refused and len(refused) == len(keys) else ""
        positions = {row.key: row.id for row in self._reader.rows()}
        self._behind = {
            key: _between(positions[key], entries[0][0] if entries else "")
            for key, entries in zip(keys, newest, strict=True)
            if key in positions and not isinstance(entries, Exception)
        }

    def missing(self) -> list[str]:
        """What prevents the service from working."""
        trouble, elsewhere = self._redis_trouble(), self._unwritten_elsewhere()
        return [*([f"Redis at {self._url}: {trouble}"] if trouble else []), *([elsewhere] if elsewhere else [])]

    def _redis_trouble(self) -> str:
        return self._trouble or self._reader.trouble or self._unwritten()

    def degraded(self) -> list[str]:
        """What is not in order although the service works, such as invalid books."""
        found = self._degraded()
        return found if len(found) <= _MAX_NAMED else [*found[:_MAX_NAMED], f"and {len(found) - _MAX_NAMED} more"]

    async def status(self) -> Callable[[], object]:
        """Copy what the status page says; the result makes plain data of it."""
        missing, degraded = self.missing(), self.degraded()
        rows = [{**row._asdict(), "missing": dict(row.missing)} for row in self._reader.rows()]
        for row in rows:
            row["lag_entries"], row["lag_seconds"] = self._behind.get(row["key"], (None, None))
        whole = {
            "service": self._service,
            "version": self.version,
            "pid": os.getpid(),
            "state": overall(missing, degraded),
            "ready": not missing,
            "missing": missing,
            "degraded": degraded,
            "redis": self._url,
            "outages": self._reader.outages,
            "output": {"dropped_lines": dropped_lines()},
            "writes": self._writes(),
            "streams": rows,
        }
        return partial(textual, whole)

    async def snapshot(self) -> Callable[[], Iterable[Metric]]:
        """All metrics except those of the process."""
        return partial(
            self._families, list(self._reader.rows()), self._behind, self._writes(), not self._redis_trouble()
        )

    def _families(
        self, rows: Sequence[Row], lags: Mapping[str, tuple[int, float]], writes: int, up: bool
    ) -> Iterable[Metric]:
        read, missing = Counter[Labels](), Counter[Labels]()
        behind, late = Counter[Labels](), dict[Labels, float]()
        streams = Counter[Labels]()
        for row in rows:
            labels = (self._service, row.exchange, row.channel)
            streams[labels] += 1
            read[labels] += row.read
            for kind in ("hole", "trimmed", "reset", "undecodable"):
                missing[*labels, kind] += row.missing[kind]
            if row.key in lags:
                entries, seconds = lags[row.key]
                behind[labels] += entries
                late[labels] = max(seconds, late.get(labels, 0.0))
        names = ["service", "exchange", "channel"]
        yield _filled(CounterMetricFamily("tickbridge_consumer_entries_read", "Entries read.", labels=names), read)
        words = "Times that something was missing or could not be read."
        yield _filled(CounterMetricFamily("tickbridge_consumer_gaps", words, labels=[*names, "kind"]), missing)
        yield _filled(GaugeMetricFamily("tickbridge_consumer_streams", "Streams being read.", labels=names), streams)
        words = "Entries that the streams are ahead of the reader."
        yield _filled(GaugeMetricFamily("tickbridge_consumer_lag_entries", words, labels=names), behind)
        words = "Time from the reader's position to the stream's newest entry; the worst stream."
        yield _filled(GaugeMetricFamily("tickbridge_consumer_lag_seconds", words, labels=names), late)
        words = "Writes of what the service keeps in Redis."
        own = (self._service,)
        yield _filled(CounterMetricFamily("tickbridge_consumer_writes", words, labels=names[:1]), {own: writes})
        words = "1 while Redis answers."
        yield _filled(GaugeMetricFamily("tickbridge_consumer_redis_up", words, labels=names[:1]), {own: up})

    def _say(self, words: str) -> None:
        if sys.stderr is not None:
            print(printable(f"{self._service}: {words}"), file=sys.stderr)


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: dict[Labels, Any] | Counter[Labels]
) -> CounterMetricFamily | GaugeMetricFamily:
    for labels, value in sorted(values.items()):
        family.add_metric(labels, float(value))
    return family


def _between(position: str, newest: str) -> tuple[int, float]:
    if not newest:
        return 0, 0.0
    (ms, seq), (newest_ms, newest_seq) = split_id(position), split_id(newest)
    entries = max(0, newest_seq - seq)
    # Before its first entry, the reader has no position in time.
    return entries, max(0, newest_ms - ms) / 1000 if entries and ms else 0.0


def _version() -> str:
    try:
        return metadata.version("tickbridge")
    except metadata.PackageNotFoundError:
        return "unknown"
