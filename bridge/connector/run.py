"""A connector: one exchange's feed, its streams, and what it shows of itself, put together and kept running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from bridge.config import ConnectorSettings, Settings
from bridge.connector.connections import Connections
from bridge.connector.instruments import Instruments, lists_pairs
from bridge.connector.pairs import PairKeeper, expect_listed, first_pairs
from bridge.connector.recorder import Recorder
from bridge.connector.reload import Reloader, WatchedFile
from bridge.connector.router import Router
from bridge.connector.store import Store
from bridge.connector.supervisor import Supervisor, first_of
from bridge.connector.wiring import build_exchange, checked_exchange, feed_context, logger_of, rest_client
from bridge.errors import DisplacedError, RedisUnavailableError, TaskEndedError
from bridge.exchange_errors import ExchangeError
from bridge.feed.clock import ClockKeeper, watch_host_clock
from bridge.feed.rest import RestClient
from bridge.feed.tap import FeedTap
from bridge.observe.monitor import Monitor
from bridge.observe.report import Report
from bridge.process.lifecycle import end_on_signals, end_tasks, names_of_tasks, unless_stopped
from bridge.process.logs import flush_repeats

__all__ = ["record", "run"]

_MAY_END = "clock"
"""The task that ends by itself: where an exchange has no clock to be read."""
_CLOSING = 2.5
"""Seconds that sockets get for their closing handshakes."""
_CANCEL_AGAIN = 0.5
_GRACE = 1.0
"""Seconds beyond ``shutdown_timeout`` after which the process ends, whatever doesn't."""


async def run(
    settings: Settings,
    connectors: Sequence[ConnectorSettings],
    watch: Callable[[Callable[[], Sequence[Report]]], Coroutine[Any, Any, None]] | None = None,
    *,
    reload: Callable[[], Settings] | None = None,
    watched: WatchedFile | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Run connectors until SIGTERM or SIGINT, then end within ``shutdown_timeout``; a second signal ends at once.

    With ``stop``, signals are left alone, and this event ends the connectors as the first signal does. ``watch`` runs beside them: it is given what gives the reports of the connectors that have begun. At SIGHUP, and when
    the content of the file ``watched`` changes, ``reload`` reads the settings again.

    Raises:
        AlreadyRunningError: another process has one of these names or streams.
        PortUnavailableError: the port that was set for metrics and health is taken.
        RedisUnavailableError: Redis is out of reach at the start, or at the end with entries left over.
        ConnectorsFailedError: of several connectors some failed by any of these, and the others went on to the end.
    """
    if stop is None:
        stop = asyncio.Event()
        _on_signals(stop, settings.shutdown_timeout + _GRACE)
    exchanges = {connector.name: connector.exchange for connector in connectors}
    reloader = Reloader(settings, [one.name for one in connectors], reload, watched) if reload else None
    beside: list[asyncio.Task[None]] = []
    async with Monitor(settings.http, exchanges) as monitor:
        if watch:
            beside.append(asyncio.create_task(watch(monitor.begun), name="watch"))
            beside[0].add_done_callback(_say_if_failed)
        if reloader:
            reloader.on_signal(partial(_hung_up, stop))
            beside.append(asyncio.create_task(reloader.run(), name="reload"))
        works = {one.name: partial(_run_one, settings, one, stop, monitor, reloader) for one in connectors}
        try:
            await Supervisor(stop, monitor.fail).run(works)
        finally:
            await end_tasks(beside)


def _hung_up(stop: asyncio.Event) -> None:
    structlog.get_logger().info("stopping", signal="SIGHUP")
    stop.set()


async def _run_one(
    settings: Settings,
    connector: ConnectorSettings,
    stop: asyncio.Event,
    monitor: Monitor,
    reloader: Reloader | None,
) -> None:
    """Run a connector; one whose streams another process has stands by from then on, if both may be there.

    Whether it has handed them over or was displaced. A new process would compute for more than a second before it stands
    by, on a machine that may have been too slow for its writer already.

    Raises:
        DisplacedError: another process has taken its place, and it is no standby, or is to end.
    """
    passed, log = True, logger_of(connector)
    while passed and not stop.is_set():
        try:
            passed = await _run_once(settings, connector, stop, monitor, reloader)
        except DisplacedError as error:
            if not connector.standby or stop.is_set():
                raise
            log.warning("standing_by_again", reason=error.detail)


async def _run_once(
    settings: Settings,
    connector: ConnectorSettings,
    stop: asyncio.Event,
    monitor: Monitor,
    reloader: Reloader | None,
) -> bool:
    """Run a connector until the process ends, or until another process has its streams; whether it is the latter."""
    if reloader:
        connector = reloader.current(connector.name)  # it may have failed, and the config was read again since it began
    log = logger_of(connector)
    exchange = checked_exchange(settings, connector)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store(settings, connector.name, exchange.name, log))
        limits = store.limits(exchange.rest_base)
        rest = await stack.enter_async_context(rest_client(connector, exchange, None, limits))
        pairs = await unless_stopped(stop, _pairs_of(settings, connector, rest, store))
        if pairs is None:
            return False
        exchange = build_exchange(settings, connector, pairs)
        router = Router(exchange, connector, store, settings, log)
        monitor.add(router.report)
        await router.open()
        context = feed_context(connector, exchange, router, rest, None, limits=store.limits)
        connections = Connections(context, router)
        keeper = PairKeeper(connector, pairs, connections, router, context)
        works = router.background()
        works.append(("host-clock", watch_host_clock(context, router.latency.clock)))
        if connector.rest_url or not connector.url:  # else REST is another exchange's than the WebSocket
            works.append((_MAY_END, ClockKeeper(router.latency.clock, context).run()))
            if lists_pairs(exchange):
                instruments = Instruments(
                    context, store.presence.instruments, lambda: () if router.standby else keeper.pairs
                )
                works.append(("instruments", instruments.run()))
        else:
            router.latency.clock.settled = True
        works += [("feed", connections.run()), ("pairs", keeper.run())]
        if reloader:
            reloader.serve(connector, keeper.revise)
        # No task group: that would wait for a task that swallows its cancellation, for ever.
        tasks = {what: asyncio.create_task(work, name=f"{connector.name}-{what}") for what, work in works}
        for what, task in tasks.items():
            task.add_done_callback(partial(_fail_by, router.failed, may_end=what == _MAY_END))
        log.info("started", pairs=pairs, channels=[str(channel) for channel in connector.channels])
        passed = await _until_ended(settings, router, tasks, stop)
        flush_repeats()
        log.info("stopped", **router.report.counts(), errors=dict(router.report.errors))
        return passed


async def _until_ended(
    settings: Settings, router: Router, tasks: Mapping[str, asyncio.Task[None]], stop: asyncio.Event
) -> bool:
    """Wait until a connector is to end, and end it; whether another process goes on with its streams.

    Raises:
        DisplacedError: another process has taken its place.
        BaseException: what one of the tasks failed by.
    """
    passed = False
    try:
        passed = await _until_end(router, stop, settings.shutdown_timeout / 2)
        deadline = time.monotonic() + settings.shutdown_timeout
        await _end([tasks["feed"]], _CLOSING)
        if not passed:
            # Whatever it was that failed: the streams say that the connector has ended.
            await router.finish(max(deadline - time.monotonic(), 0.1))
    except RedisUnavailableError:
        # Where it failed, the cause says more than what could not be written because of it.
        if not router.failed.done():
            raise
    finally:
        await _end([*tasks.values()])
    if router.failed.done() and not passed:
        router.failed.result()
    if router.holder.displaced.is_set() and not passed:
        raise DisplacedError(router.report.name)
    return passed


async def _until_end(router: Router, stop: asyncio.Event, patience: float) -> bool:
    """Wait until a connector is to end; whether another process goes on with its streams by then."""
    holder = router.holder
    while True:
        signals: list[asyncio.Future[Any]] = [asyncio.create_task(event.wait()) for event in (stop, holder.wanted)]
        try:
            await asyncio.wait([*signals, router.failed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in signals:
                waiting.cancel()
        if router.failed.done():
            return False
        holder.wanted.clear()
        if await holder.pass_on(patience):
            return True
        if stop.is_set():
            return False


async def _pairs_of(
    settings: Settings, connector: ConnectorSettings, rest: RestClient, store: Store | None = None
) -> tuple[str, ...]:
    """The pairs to start with.

    Raises:
        ConfigError: more pairs match the patterns than ``max_pairs`` allows, and none of them was written before.
        PairsNotServedError: the exchange does not list all of them, and ``missing_pairs`` is ``error``.
        RedisUnavailableError: Redis was to say which pairs were written before, and is out of reach.
    """
    log = logger_of(connector)
    pairs = await first_pairs(
        connector, build_exchange(settings, connector, ()), rest, log, store.pairs if store else None
    )
    if connector.missing_pairs == "error" and pairs:
        await expect_listed(build_exchange(settings, connector, pairs), rest, log)
    return pairs


def _fail_by(failed: asyncio.Future[None], task: asyncio.Task[None], *, may_end: bool = False) -> None:
    """A connector can't go on without any of its tasks, however it came to its end."""
    if task.cancelled():
        return
    error = task.exception()
    if (error or not may_end) and not failed.done():
        failed.set_exception(first_of(error) if error else TaskEndedError(task.get_name()))


def _say_if_failed(task: asyncio.Task[None]) -> None:
    """Lines on a terminal are not worth a feed; but that there are none any more is to be known."""
    if not task.cancelled() and (error := task.exception()):
        structlog.get_logger().error("progress_failed", error=str(error) or type(error).__name__, exc_info=error)


async def _end(tasks: Sequence[asyncio.Task[Any]], patience: float = _CANCEL_AGAIN) -> None:
    """Cancel tasks, and wait for their ends; one that doesn't end is named and left behind."""
    left = await end_tasks(tasks, patience)
    if left:
        structlog.get_logger().error("tasks_left", tasks=sorted(task.get_name() for task in left))


async def record(settings: Settings, connectors: Sequence[ConnectorSettings], tap: FeedTap) -> None:
    """Run the connectors' feeds without Redis, with a tap on their sockets, until cancelled.

    Raises:
        ExchangeError, ConnectorsFailedError: one, or some of several, failed; also when cancelled afterwards.
    """
    works = {one.name: partial(_record_one, settings, one, tap) for one in connectors}
    # What the tap raises concerns the recording, and so all of them.
    await Supervisor(asyncio.Event(), contained=ExchangeError).run(works)


async def _record_one(settings: Settings, connector: ConnectorSettings, tap: FeedTap) -> None:
    log = logger_of(connector)
    async with rest_client(connector, build_exchange(settings, connector), tap) as rest:
        exchange = build_exchange(settings, connector, await _pairs_of(settings, connector, rest))
        receiver = Recorder(exchange, log)
        watching = asyncio.create_task(receiver.books.watch(), name=f"{connector.name}-books")
        try:
            await Connections(feed_context(connector, exchange, receiver, rest, tap), receiver).run()
        finally:
            watching.cancel()


def _on_signals(stop: asyncio.Event, patience: float) -> None:
    loop = asyncio.get_running_loop()
    log = structlog.get_logger()

    def begin(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        stop.set()

    def late() -> None:
        log.error("not_ended", seconds=patience, tasks=names_of_tasks(loop))

    end_on_signals(begin, patience, late)
