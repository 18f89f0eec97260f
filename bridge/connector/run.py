"""A connector: one exchange's feed, its streams, and what it shows of itself, put together and kept running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import structlog
from msgspec import structs

from bridge.config import ConnectorSettings, Settings
from bridge.connector.instruments import Instruments, lists_pairs
from bridge.connector.recorder import Recorder
from bridge.connector.router import Router
from bridge.connector.store import Store
from bridge.connector.supervisor import Supervisor, first_of
from bridge.connector.wiring import build_exchange, checked_exchange, feed_context, logger_of, rest_client
from bridge.errors import DisplacedError, RedisUnavailableError, TaskEndedError
from bridge.exchange_errors import ExchangeError, RestError, UnknownPairError
from bridge.feed.clock import ClockKeeper, watch_host_clock
from bridge.feed.context import FeedContext
from bridge.feed.policies import backoff
from bridge.feed.poller import Poller
from bridge.feed.supervisor import FeedSupervisor
from bridge.feed.tap import FeedTap
from bridge.model import Control, ControlEvent
from bridge.observe.monitor import Monitor
from bridge.observe.report import Report
from bridge.process.lifecycle import end_on_signals, end_tasks, names_of_tasks
from bridge.process.logs import flush_repeats

__all__ = ["record", "run"]

_MAY_END = "clock"
"""The task that ends by itself: where an exchange has no clock to be read."""
_PAIR_AGAIN = 60.0
"""Seconds between two looks at whether a pair is listed by now."""
_CLOSING = 2.5
"""Seconds that sockets get for their closing handshakes."""
_CANCEL_AGAIN = 0.5
_GRACE = 1.0
"""Seconds beyond ``shutdown_timeout`` after which the process ends, whatever doesn't."""


async def run(
    settings: Settings,
    connectors: Sequence[ConnectorSettings],
    watch: Callable[[Callable[[], Sequence[Report]]], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Run connectors until SIGTERM or SIGINT, then end within ``shutdown_timeout``; a second signal ends at once.

    ``watch`` runs beside them: it is given what gives the reports of the connectors that have begun.

    Raises:
        AlreadyRunningError: another process has one of these names or streams.
        PortUnavailableError: the port that was set for metrics and health is taken.
        RedisUnavailableError: Redis is out of reach at the start, or at the end with entries left over.
        ConnectorsFailedError: of several connectors some failed by any of these, and the others went on to the end.
    """
    stop = asyncio.Event()
    _on_signals(stop, settings.shutdown_timeout + _GRACE)
    exchanges = {connector.name: connector.exchange for connector in connectors}
    async with Monitor(settings.http, exchanges) as monitor:
        watching = asyncio.create_task(watch(monitor.begun), name="watch") if watch else None
        if watching:
            watching.add_done_callback(_say_if_failed)
        works = {one.name: partial(_run_one, settings, one, stop, monitor) for one in connectors}
        try:
            await Supervisor(stop, monitor.fail).run(works)
        finally:
            if watching:
                watching.cancel()


async def _run_one(settings: Settings, connector: ConnectorSettings, stop: asyncio.Event, monitor: Monitor) -> None:
    log = logger_of(connector)
    exchange = checked_exchange(settings, connector)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store(settings, connector.name, exchange.name, log))
        router = Router(exchange, connector, store, settings, log)
        monitor.add(router.report)
        await router.open()
        rest = await stack.enter_async_context(rest_client(connector, exchange, None, store.limits(exchange.rest_base)))
        context = feed_context(connector, exchange, router, rest, None)
        works = router.background()
        works.append(("host-clock", watch_host_clock(context, router.latency.clock)))
        if connector.rest_url or not connector.url:  # else REST is another exchange's than the WebSocket
            works.append((_MAY_END, ClockKeeper(router.latency.clock, context).run()))
            if connector.own_pairs and lists_pairs(exchange):
                works.append(("instruments", Instruments(context, store.presence.instruments).run()))
        else:
            router.latency.clock.settled = True
        works.append(("feed", _feed(context, router)))
        # No task group: that would wait for a task that swallows its cancellation, for ever.
        tasks = {what: asyncio.create_task(work, name=f"{connector.name}-{what}") for what, work in works}
        for what, task in tasks.items():
            task.add_done_callback(partial(_fail_by, router.failed, may_end=what == _MAY_END))
        ending = asyncio.create_task(stop.wait(), name=f"{connector.name}-stop")
        try:
            log.info("started", pairs=connector.own_pairs, channels=[str(channel) for channel in connector.channels])
            await asyncio.wait((ending, router.failed), return_when=asyncio.FIRST_COMPLETED)
            deadline = time.monotonic() + settings.shutdown_timeout
            await _end([tasks["feed"]], _CLOSING)
            # Whatever it was that failed: the streams say that the connector has ended.
            await router.finish(max(deadline - time.monotonic(), 0.1))
        except RedisUnavailableError:
            # Where it failed, the cause says more than what could not be written because of it.
            if not router.failed.done():
                raise
        finally:
            await _end([*tasks.values(), ending])
        if router.failed.done():
            router.failed.result()
        if router.holder.displaced.is_set():
            raise DisplacedError(connector.name)
        flush_repeats()
        log.info("stopped", **router.report.counts(), errors=dict(router.report.errors))


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
    exchange = build_exchange(settings, connector)
    receiver = Recorder(exchange, log)
    async with rest_client(connector, exchange, tap) as rest:
        watching = asyncio.create_task(receiver.books.watch(), name=f"{connector.name}-books")
        try:
            await _feed(feed_context(connector, exchange, receiver, rest, tap), receiver)
        finally:
            watching.cancel()


async def _feed(context: FeedContext, receiver: Router | Recorder) -> None:
    """Discover, plan, and keep every connection of the plan alive."""
    if not context.exchange.subscriptions():
        context.log.warning("nothing_to_read")
        await asyncio.Event().wait()
    await _discover(context, receiver)
    supervisors = [FeedSupervisor(plan, context) for plan in context.exchange.plan()]
    receiver.supervisors = supervisors
    async with asyncio.TaskGroup() as group:
        _start(group, supervisors, context)
        for error in context.exchange.missing.values():
            group.create_task(_wait_for_pair(group, context, receiver, error.pair), name=f"pair-{error.pair}")


def _start(group: asyncio.TaskGroup, supervisors: Sequence[FeedSupervisor], context: FeedContext) -> None:
    for supervisor in supervisors:
        group.create_task(supervisor.run(), name=f"feed-{supervisor.plan.name}")
    for poll in context.exchange.polls():
        group.create_task(Poller(poll, context).run(), name=f"poll-{poll.name}")


async def _discover(context: FeedContext, receiver: Router | Recorder) -> None:
    """Have the exchange find out what it must know; a pair that it doesn't list is ``down``, and left out."""
    exchange = context.exchange
    waits = backoff(context.random)
    while True:
        try:
            await context.rest.drive(exchange.discover(context.now()))
        except UnknownPairError as error:
            exchange.missing[error.pair] = error
            receiver.fault(error)
            for stream in exchange.subscriptions():
                if stream.subject == error.pair:
                    reason = str(error)
                    receiver.event(Control(error.pair, None, context.now(), stream.channel, ControlEvent.DOWN, reason))
            context.log.warning("pair_not_listed", pair=error.pair, error=str(error))
        except RestError as error:
            receiver.fault(error)
            receiver.down(exchange.subscriptions(), str(error))
            delay = max(next(waits), error.retry_after or 0.0)
            context.log.warning("discovery_failed", error=str(error), retry_in=round(delay, 2))
            await asyncio.sleep(delay)
        else:
            return


async def _wait_for_pair(
    group: asyncio.TaskGroup, context: FeedContext, receiver: Router | Recorder, pair: str
) -> None:
    """Ask for a pair that isn't listed about once a minute, by an exchange of its own; serve it once it is."""
    profile = structs.replace(context.exchange.profile, pairs=(pair,), account=None)
    exchange = type(context.exchange)(profile)
    while True:
        await asyncio.sleep(_PAIR_AGAIN * context.random.uniform(0.8, 1.2))
        try:
            await context.rest.drive(exchange.discover(context.now()))
            break
        except (UnknownPairError, RestError):
            continue
    context.log.info("pair_listed", pair=pair)
    late = structs.replace(context, exchange=exchange)
    plans = [structs.replace(plan, name=f"{plan.name}:{pair}") for plan in exchange.plan()]
    supervisors = [FeedSupervisor(plan, late) for plan in plans]
    receiver.supervisors = [*receiver.supervisors, *supervisors]
    _start(group, supervisors, late)


def _on_signals(stop: asyncio.Event, patience: float) -> None:
    loop = asyncio.get_running_loop()
    log = structlog.get_logger()

    def begin(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        stop.set()

    def late() -> None:
        log.error("not_ended", seconds=patience, tasks=names_of_tasks(loop))

    end_on_signals(begin, patience, late)
