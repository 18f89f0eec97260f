"""Renders metrics for Prometheus without holding up the event loop.

A source is asked in two steps. ``snapshot`` copies its figures in the loop, a few at a time; what it returns makes metrics
of them, in a thread. The text is kept for a second: a further scrape costs nothing.
"""

from __future__ import annotations

import asyncio
import gc
import gzip
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol, TypeVar

from prometheus_client import ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

__all__ = ["PREFIX", "SINCE_0_1", "Exposition", "Page", "Source", "gently", "old_name"]

T = TypeVar("T")

PREFIX = "tickbridge_"
"""Of all metrics that are ours."""
SINCE_0_1 = frozenset({f"{PREFIX}group_lag_entries", f"{PREFIX}group_pending_entries"})
"""Metrics that the earlier 0.1.0 did not have, and so without an old name."""

_OTHER_ROOMS = ("consumer_", "gateway_")
_KEPT = 1.0
"""Seconds for which a text is given again."""
_LINES = 50
"""Rows or lines that are worked on before the event loop gets its turn: a fraction of a millisecond."""
_PAUSE = 0.000_05
"""Seconds that the thread sleeps then. Without a real sleep, it would take the interpreter back before the loop wakes up."""
_FAST = 1
"""Level of compression: much for little."""

Later = Callable[[], Iterable[Metric]]


class Source(Protocol):
    """Has metrics. ``snapshot`` runs in the event loop and must not hold it up; its result is called in a thread."""

    async def snapshot(self) -> Later: ...


class Page(NamedTuple):
    """A page of metrics, plain and compressed."""

    plain: bytes
    compressed: bytes


def gently(items: Iterable[T]) -> Iterator[T]:
    """Go through items in a thread, and let the event loop have the interpreter from time to time."""
    for place, item in enumerate(items, 1):
        yield item
        if not place % _LINES:
            time.sleep(_PAUSE)


def old_name(name: str) -> str:
    """The name that a metric had in the earlier 0.1.0; empty if it is new, or not ours."""
    if not name.startswith(PREFIX) or name in SINCE_0_1:
        return ""
    rest = name.removeprefix(PREFIX)
    return rest if rest.startswith(_OTHER_ROOMS) else f"bridge_{rest}"


class Exposition:
    """The text of all sources and of the process itself; with ``old_names``, our metrics also under their old names."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        old_names: bool = True,
        kept: float = _KEPT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = sources
        self._old_names = old_names
        self._kept = kept
        self._clock = clock
        self._process = ProcessCollector(registry=None)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._rendering: asyncio.Task[Page] | None = None
        self._begun = 0.0

    async def page(self) -> Page:
        """The metrics as they are now, or were at most a second ago.

        Requests that come while it is rendered get the same text, and one that is broken off does not stop the others.
        """
        now, rendering = self._clock(), self._rendering
        if rendering is None or (rendering.done() and (_failed(rendering) or now - self._begun >= self._kept)):
            self._begun = now
            self._rendering = rendering = asyncio.create_task(self._render(), name="metrics")
        return await asyncio.shield(rendering)

    async def aside(self, work: Callable[[], Any]) -> Any:
        """Do other work of a page in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def aclose(self) -> None:
        """Render no more. A thread that is still at work ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._rendering and not self._rendering.done():
            self._rendering.cancel()
            with suppress(asyncio.CancelledError):
                await self._rendering

    async def _render(self) -> Page:
        taken = [await source.snapshot() for source in self._sources]
        page: Page = await self.aside(lambda: self._page(taken))
        return page

    def _page(self, taken: Sequence[Later]) -> Page:
        with _no_collection():
            text = self._text(taken)
        return Page(text, gzip.compress(text, _FAST))  # without the interpreter

    def _text(self, taken: Sequence[Later]) -> bytes:
        parts = []
        for make in (*taken, self._process.collect):
            for metric in make():
                metric.samples = _Unhurried(metric.samples)
                text = generate_latest(_Only(metric))
                parts.append(text)
                old = old_name(metric.name) if self._old_names else ""
                if old:
                    parts.append(_renamed(text, metric.name, old))
                time.sleep(_PAUSE)
        return b"".join(parts)


def _failed(task: asyncio.Task[Page]) -> bool:
    return task.cancelled() or task.exception() is not None


@contextmanager
def _no_collection() -> Iterator[None]:
    """Have nothing looked for in cycles meanwhile: a thousand series are many objects that live for a moment.

    Python would look through all objects of the process again and again, and hold up the event loop each time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Only(Collector):
    """One metric, as `generate_latest` wants it."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return (self._metric,)


class _Unhurried(list[Any]):
    """Samples that are gone through `gently`."""

    def __iter__(self) -> Iterator[Any]:
        return gently(super().__iter__())


def _renamed(text: bytes, name: str, old: str) -> bytes:
    """A rendered metric under another name. Line ends in labels are escaped, so that only names begin a line."""
    head, kind, samples = text.split(b"\n", 2)
    new, before = name.encode(), old.encode()
    shown = head.split(b" ", 3)[2].decode()  # of a counter, with _total
    head = f"# HELP {old}{shown.removeprefix(name)} Old name of {shown}; use that one.".encode()
    kind = kind.replace(b"# TYPE " + new, b"# TYPE " + before, 1)
    samples = (b"\n" + samples).replace(b"\n" + new, b"\n" + before)
    return b"\n".join((head, kind)) + samples
