"""Progress lines of long-running commands: one every 30 seconds, on stderr."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from bridge.cli import values

if TYPE_CHECKING:
    from bridge.observe.report import Report
    from bridge.recordings.replay import ReplayServer
    from bridge.recordings.writer import RecordingWriter

__all__ = ["add_progress_options", "record_progress", "replay_progress", "report_progress", "run_progress", "shown"]

_EVERY = 30.0
_UNITS = ("B", "kB", "MB", "GB", "TB")


def add_progress_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--progress``, ``--no-progress`` and ``--progress-every``."""
    parser.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="print a progress line on stderr every 30 seconds (default: only on a terminal)",
    )
    parser.add_argument(
        "--progress-every",
        metavar="TIME",
        type=values.duration,
        default=_EVERY,
        help="interval of progress lines, such as 5s (default: 30s)",
    )


def shown(options: argparse.Namespace) -> bool:
    """Whether to print progress: on a terminal, or if requested."""
    if options.progress is None:
        return sys.stderr is not None and sys.stderr.isatty()
    return bool(options.progress)


async def report_progress(options: argparse.Namespace, line: Callable[[], str]) -> None:
    """Print what ``line`` returns at the chosen interval, until cancelled."""
    while True:
        await asyncio.sleep(options.progress_every)
        if sys.stderr is not None:
            at = datetime.now(UTC).astimezone()
            print(f"{at:%H:%M:%S}  {line()}", file=sys.stderr, flush=True)


def run_progress(reports: Callable[[], Sequence[Report]]) -> Callable[[], str]:
    """The progress line of connectors: what they did since the last line, and their state."""
    begun = _Rates()

    def line() -> str:
        connectors = reports()
        counts: dict[str, int] = {"received": 0, "published": 0, "lost": 0, "gaps": 0, "rejected": 0, "waiting": 0}
        for report in connectors:
            found = report.counts()
            counts = {name: count + found[name] for name, count in counts.items()}
        received, published = begun.per_second(counts["received"], counts["published"])
        supervisors = [supervisor for report in connectors for supervisor in report.supervisors]
        topics = [topic for report in connectors for topic in report.topics.values()]
        up, live = sum(supervisor.up for supervisor in supervisors), sum(topic.live for topic in topics)
        parts = [
            f"up {_clock(begun.elapsed)}",
            f"{received:,.0f} events/s received, {published:,.0f} published",
            ", ".join(f"{name} {counts[name]:,}" for name in ("lost", "gaps", "rejected", "waiting")),
            f"lag {_lag(connectors)}",
            f"{up} of {len(supervisors)} connections up, {live} of {len(topics)} streams live",
        ]
        return "; ".join(parts)

    return line


def record_progress(writer: RecordingWriter, duration: float | None) -> Callable[[], str]:
    """The progress line of a recording: its size, and the remaining time."""
    begun = _Rates()

    def line() -> str:
        (rate,) = begun.per_second(writer.rows)
        try:
            size = _size(writer.path.stat().st_size)
        except OSError:
            size = "gone"
        parts = [f"recording for {_clock(begun.elapsed)}", f"{writer.rows:,} rows ({rate:,.0f}/s)", f"file {size}"]
        if duration is not None:
            parts.append(f"{_clock(max(0.0, duration - begun.elapsed))} left")
        return "; ".join(parts)

    return line


def replay_progress(server: ReplayServer) -> Callable[[], str]:
    """The progress line of a replay: its clients, and the position and remaining time of the slowest."""
    begun = _Rates()

    def line() -> str:
        clients = server.positions()
        (rate,) = begun.per_second(server.frames_sent)
        noun = "client" if len(clients) == 1 else "clients"
        parts = [f"serving for {_clock(begun.elapsed)}", f"{len(clients)} {noun}", f"{rate:,.0f} frames/s"]
        if clients:
            slowest = max(clients, key=lambda client: client.left)
            parts.append(
                f"{slowest.name}: {_clock(slowest.at)} of {_clock(slowest.length)}, {slowest.sent:,} of {slowest.frames:,} frames"
            )
            if server.paced:
                parts.append(f"{_clock(slowest.left)} left")
        return "; ".join(parts)

    return line


class _Rates:
    """Rates since the last line, and the time since the first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = self._last = clock()
        self._before: tuple[int, ...] = ()

    @property
    def elapsed(self) -> float:
        return self._clock() - self._begun

    def per_second(self, *counts: int) -> list[float]:
        now = self._clock()
        seconds = max(now - self._last, 1e-9)
        before = self._before or (0,) * len(counts)
        self._last, self._before = now, counts
        return [(count - past) / seconds for count, past in zip(counts, before, strict=True)]


def _lag(reports: Sequence[Report]) -> str:
    """Median latencies: from the exchange to here (worst channel of the last minute), and from here to Redis."""
    feed = [row["p50_ms"] for report in reports for row in report.latency.figures().values()]
    publish = [report.publisher.latency.percentile(0.5) for report in reports]
    known = [value for value in publish if value is not None]
    parts = [
        *([f"{max(feed):,.0f} ms from the exchange"] if feed else []),
        *([f"{max(known):,.1f} ms to Redis"] if known else []),
    ]
    return ", ".join(parts) or "unknown"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _size(count: float) -> str:
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:,.1f} {_UNITS[unit]}" if unit else f"{count:,.0f} B"
