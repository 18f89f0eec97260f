"""How late events come: the exchange's time of each against the time of its receipt, per channel.

Topics note the bare difference of each event; here it is corrected by the offset of the exchange's clock, counted over a
rotating window and in all, and held against the limit.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from bridge.clock import CLOCK
from bridge.entries import textual
from bridge.feed.clock import Clock, Offset
from bridge.latency import NEVER, Histogram
from bridge.model import Channel

__all__ = ["ChannelLatency", "FeedLatency", "Timed"]

_MOST_WAITING = 65_536
"""Differences of a channel that are kept between two looks; of more, the newest are taken for all."""
_PARTS = 6
_COARSE = 1_000_000_000
"""Resolution (ns) of a clock from which on its differences are no latency."""
_IN_A_ROW = 3
"""Parts of the window, of those with events, that have to be late one after the other."""
_BACK = 0.8
"""Share of the limit below which it is well again."""
_INTERVAL = 0.5
_REMIND = 300.0


class Timed(Protocol):
    """A topic, as far as it notes how late its events are."""

    lags: deque[int]
    lags_from: int


class ChannelLatency:
    """One channel's latency; all times are nanoseconds."""

    def __init__(self, resolution: int) -> None:
        self.resolution = resolution
        self.waiting: deque[int] = deque(maxlen=_MOST_WAITING)
        """Receipt less the exchange's time of each event, not yet corrected: topics append to it."""
        self.total = Histogram()
        """All since the process began."""
        self.high_since: float | None = None
        """Since when it has been above the limit (monotonic seconds)."""
        self.reminded = 0.0
        self._parts: deque[Histogram] = deque([Histogram()], maxlen=_PARTS)
        self._late: deque[bool] = deque(maxlen=_IN_A_ROW)

    @property
    def telling(self) -> bool:
        """Whether the exchange's times are fine enough to be shown as latency: whole seconds say nothing."""
        return self.resolution < _COARSE

    def digest(self, shift: int) -> None:
        """Count what has come since the last time, each with ``shift`` added."""
        if self.waiting:
            lags = list(self.waiting)
            self.waiting.clear()
            self._parts[-1].add(lags, shift)
            self.total.add(lags, shift)

    def rotate(self, limit: float | None) -> None:
        """Begin the next part of the window; ``limit`` (ns) is what the one that ends is held against."""
        half = self._parts[-1].percentile(0.5)
        if half is not None and limit is not None:
            self._late.append(half > limit)
        self._parts.append(Histogram())

    def window(self) -> Histogram:
        """All of about the last minute."""
        merged = Histogram()
        for part in self._parts:
            if part.count:
                merged.merge(part)
        return merged

    @property
    def stays_late(self) -> bool:
        """Whether several parts of the window in a row were late: more than one burst."""
        return len(self._late) == _IN_A_ROW and all(self._late)


class FeedLatency:
    """The latency of a connector's feed. ``limit`` and ``window`` are seconds; ``timed`` is that of the exchange."""

    def __init__(
        self,
        timed: Mapping[Channel, int],
        log: FilteringBoundLogger,
        *,
        limit: float | None,
        window: float,
        now: Callable[[], int] = CLOCK.now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = Clock()
        self.channels = {channel: ChannelLatency(resolution) for channel, resolution in timed.items()}
        self._log = log
        self._limit = limit
        self._part = window / _PARTS
        self._now = now
        self._monotonic = monotonic
        self._rotate_at = monotonic() + self._part
        self._opened: dict[int, tuple[Timed, int]] = {}
        """Topics of these channels, and since when they have their connections."""

    @property
    def offset(self) -> Offset | None:
        """The exchange's clock against the one that the bridge measures by."""
        return self.clock.offset(self._now())

    @property
    def host_offset(self) -> Offset | None:
        """The exchange's clock against this host's, which may have been set."""
        offset = self.offset
        return Offset(offset.ns - CLOCK.shift, offset.error) if offset else None

    def opened(self, name: Channel, topic: Timed, at: int) -> None:
        """A topic has a new connection since ``at`` (ns): what happened before is history, and not late."""
        channel = self.channels.get(name)
        if channel is not None:
            self._opened[id(topic)] = (topic, at)
            topic.lags = channel.waiting
            topic.lags_from = self._since(at, self.offset)

    def forget(self, topic: Timed) -> None:
        """A topic is read no more."""
        self._opened.pop(id(topic), None)

    def heartbeat(self) -> dict[str, str | float]:
        """What the heartbeat says of it; empty where nothing is known."""
        offset, figures = self.host_offset, self.figures()
        return {
            "clock_offset_ms": round(offset.ns / 1e6, 3) if offset else "",
            "clock_error_ms": round(offset.error / 1e6, 3) if offset else "",
            "latency": msgspec.json.encode(textual(figures)).decode() if figures else "",
        }

    async def run(self) -> None:
        """Look twice a second, for as long as the task lives."""
        while True:
            self.look()
            await asyncio.sleep(min(_INTERVAL, self._part))

    def look(self) -> None:
        """Count what has come, and warn where it is late."""
        offset = self.offset
        for topic, at in self._opened.values():
            topic.lags_from = self._since(at, offset)
        now = self._monotonic()
        rotate = now >= self._rotate_at
        if rotate:
            self._rotate_at = now + self._part
        for name, channel in self.channels.items():
            channel.digest(offset.ns if offset else 0)
            if rotate:
                limit = None
                if self._limit is not None and offset is not None:
                    limit = self._limit * 1e9 + offset.error + channel.resolution
                channel.rotate(limit)
                if limit is not None:
                    self._judge(name, channel, limit, now)

    def figures(self) -> dict[str, dict[str, float | int]]:
        """The window's percentiles, maximum and count of each channel that had events with fine enough times."""
        found = {}
        for name, channel in self.channels.items():
            window = channel.window() if channel.telling else None
            if window is not None and window.count:
                found[str(name)] = _figures(window)
        return found

    def _since(self, opened: int, offset: Offset | None) -> int:
        """The exchange's time (ns) from which on a connection's events count."""
        if not self.clock.settled:
            return NEVER
        return opened + (offset.ns if offset else 0)

    def _judge(self, name: Channel, channel: ChannelLatency, limit: float, now: float) -> None:
        window = channel.window()
        half = window.percentile(0.5)
        if half is None:
            return
        if channel.high_since is None:
            if channel.stays_late and half > limit:
                channel.high_since = channel.reminded = now
                self._say("latency_high", name, window)
        elif half < limit * _BACK:
            self._say("latency_normal", name, window, seconds=round(now - channel.high_since, 1))
            channel.high_since = None
        elif now - channel.reminded >= _REMIND:
            channel.reminded = now
            self._say("latency_high", name, window, seconds=round(now - channel.high_since, 1))

    def _say(self, event: str, name: Channel, window: Histogram, **more: float) -> None:
        offset = self.offset
        assert self._limit is not None
        fields = {
            "channel": str(name),
            **_figures(window),
            "limit_ms": self._limit * 1000,
            "clock_error_ms": round(offset.error / 1e6, 3) if offset else None,
            **more,
        }
        if event == "latency_high":
            self._log.warning("latency_high", **fields)
        else:
            self._log.info("latency_normal", **fields)


def _figures(window: Histogram) -> dict[str, float | int]:
    def ms(ns: int | None) -> float:
        return round((ns or 0) / 1e6, 3)

    return {
        "p50_ms": ms(window.percentile(0.5)),
        "p99_ms": ms(window.percentile(0.99)),
        "max_ms": ms(window.most),
        "count": window.count,
    }
