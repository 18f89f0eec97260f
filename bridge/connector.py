"""A connector: one exchange's feed, its streams, and what it shows of itself, put together and kept running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from bridge.config import ConnectorSettings, Settings
from bridge.errors import BridgeError, ConfigError, ExchangeError, LoginRefusedError, Problem, RestError
from bridge.exchanges import exchange_type
from bridge.exchanges.base import ConnectionPlan, Credentials, Exchange, Profile
from bridge.feed.clock import ClockKeeper
from bridge.feed.connection import Connection, FeedContext, Receiver
from bridge.feed.discard import Discard
from bridge.feed.link import Link
from bridge.feed.policies import Pacer, backoff
from bridge.feed.poller import Poller
from bridge.feed.rest import RestClient
from bridge.feed.tap import FeedTap
from bridge.feed.tls import client_context
from bridge.feed.transport import has_picows
from bridge.monitor import Monitor
from bridge.report import Report
from bridge.router import Router
from bridge.store import Store

__all__ = ["probe", "record", "run"]

_REST_TIMEOUT = 10.0
_INSTALL_FAST = "pip install 'tickbridge[fast]', or transport: auto"
_CLOSING = 2.5
"""Seconds that sockets get for their closing handshakes."""
_CANCEL_AGAIN = 0.5
_ONE_SIGNAL = 0.1
"""Seconds within which two signals are one: ``timeout`` and shells signal the process and then its whole group."""


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
        UnknownPairError: an exchange doesn't list a pair.
    """
    stop = asyncio.Event()
    _on_signals(stop)
    async with Monitor(settings.http, [connector.name for connector in connectors]) as monitor:
        watching = asyncio.create_task(watch(monitor.begun), name="watch") if watch else None
        try:
            async with asyncio.TaskGroup() as group:
                for connector in connectors:
                    work = _run_one(settings, connector, stop, monitor)
                    group.create_task(work, name=f"connector-{connector.name}")
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            if watching:
                watching.cancel()


async def _run_one(settings: Settings, connector: ConnectorSettings, stop: asyncio.Event, monitor: Monitor) -> None:
    log = _log(connector)
    if connector.transport == "picows" and not has_picows():
        problem = Problem(f"connectors.{connector.name}.transport", "picows is not installed", _INSTALL_FAST)
        raise ConfigError([problem])
    exchange = build_exchange(settings, connector)
    exchange.check()
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store(settings, connector.name, exchange.name, log))
        router = Router(exchange, connector, store, settings, log)
        monitor.add(router.report)
        await router.open()
        rest = await stack.enter_async_context(_rest(connector, exchange, None))
        context = _context(connector, exchange, router, rest, None)
        ending = asyncio.create_task(stop.wait(), name=f"{connector.name}-stop")
        async with asyncio.TaskGroup() as group:
            works = router.background()
            if connector.rest_url or not connector.url:  # else REST is another exchange's than the WebSocket
                works.append(("clock", ClockKeeper(router.latency.clock, context).run()))
            else:
                router.latency.clock.settled = True
            background = [group.create_task(work, name=f"{connector.name}-{what}") for what, work in works]
            feed = group.create_task(_feed(context, router), name=f"{connector.name}-feed")
            log.info("started", pairs=connector.own_pairs, channels=[str(channel) for channel in connector.channels])
            await asyncio.wait((ending, feed, router.failed), return_when=asyncio.FIRST_COMPLETED)
            deadline = time.monotonic() + settings.shutdown_timeout
            await _end([feed], _CLOSING)
            try:
                await router.finish(max(deadline - time.monotonic(), 0.1))
            finally:
                await _end([*background, ending], _CANCEL_AGAIN)
        if router.failed.done():
            router.failed.result()
        if not feed.cancelled():
            feed.result()
        log.info("stopped", **router.report.counts(), errors=dict(router.report.errors))


async def _end(tasks: Sequence[asyncio.Task[Any]], patience: float) -> None:
    """Cancel tasks until they have ended; once isn't enough where a library swallows it (redis-py on Python 3.11)."""
    waiting: set[asyncio.Task[Any]] = {task for task in tasks if not task.done()}
    while waiting:
        for task in waiting:
            task.cancel()
        _, waiting = await asyncio.wait(waiting, timeout=patience)


async def record(settings: Settings, connectors: Sequence[ConnectorSettings], tap: FeedTap) -> None:
    """Run the connectors' feeds without Redis, with a tap on their sockets, until cancelled."""
    async with asyncio.TaskGroup() as group:
        for connector in connectors:
            group.create_task(_record_one(settings, connector, tap), name=f"record-{connector.name}")


async def _record_one(settings: Settings, connector: ConnectorSettings, tap: FeedTap) -> None:
    log = _log(connector)
    exchange = build_exchange(settings, connector)
    receiver = Discard(log)
    async with _rest(connector, exchange, tap) as rest:
        await _feed(_context(connector, exchange, receiver, rest, tap), receiver)


async def probe(settings: Settings, connector: ConnectorSettings) -> list[str]:
    """Try the exchange: REST discovery, one connection of each kind, and what is polled; without Redis.

    Returns:
        What was found, in words.

    Raises:
        BridgeError: the exchange is out of reach, refuses (the log-in, say), or doesn't list a pair.
    """
    log = _log(connector)
    exchange = build_exchange(settings, connector)
    found: list[str] = []
    if not exchange.subscriptions():
        return ["nothing to read: no pair is this shard's"]
    async with _rest(connector, exchange, None) as rest:
        await rest.drive(exchange.discover(time.time_ns()))
        receiver = _Listening(log)
        context = _context(connector, exchange, receiver, rest, None)
        for plan in exchange.plan():
            try:
                seconds = await _try(plan, context)
            except ExchangeError:
                if receiver.login is None:
                    raise
                words = f"the log-in is refused ({receiver.login.words}); are the account's key and secret right?"
                raise LoginRefusedError(exchange.name, words, topic=plan.name) from None
            found.append(f"{plan.name}: first frame after {seconds:.2f} s")
        for poll in exchange.polls():
            await rest.drive(poll.flow(time.time_ns()))
            found.append(f"{poll.name}: answers")
    return found


async def _try(plan: ConnectionPlan, context: FeedContext) -> float:
    """Seconds until the first frame, once the log-in, where there is one, and the subscriptions stand."""
    begun = time.monotonic()
    wake = asyncio.Event()
    connection = Connection(plan, context, wake, hold=False)
    first = 0.0
    try:
        await connection.open()
        while not connection.lost_reason and time.monotonic() - begun < _REST_TIMEOUT:
            connection.tick()
            if connection.frames:
                first = first or time.monotonic() - begun
                if connection.subscribed:
                    return first
            wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await wake.wait()
    finally:
        await connection.close()
    what = "the subscriptions did not stand" if first else "nothing came"
    reason = connection.lost_reason or f"connected, but {what} within {_REST_TIMEOUT:g} s"
    raise ExchangeError(context.exchange.name, f"{plan.name}: {reason}")


class _Listening(Discard):
    """Remembers that the exchange has refused a log-in."""

    login: LoginRefusedError | None = None

    def fault(self, error: ExchangeError) -> None:
        if isinstance(error, LoginRefusedError):
            self.login = error


def build_exchange(settings: Settings, connector: ConnectorSettings) -> Exchange:
    """The exchange of a connector, with what the config says."""
    account = None
    if connector.account is not None:
        a = settings.accounts[connector.account]
        account = Credentials(connector.account, a.key, a.secret, a.subaccounts)
    profile = Profile(
        connector.own_pairs,
        frozenset(connector.channels),
        connector.url,
        connector.rest_url,
        account,
        connector.options,
    )
    return exchange_type(connector.exchange)(profile)


async def _feed(context: FeedContext, receiver: Router | Discard) -> None:
    """Discover, plan, and keep every connection of the plan alive."""
    if not context.exchange.subscriptions():
        context.log.warning("nothing_to_read")
        await asyncio.Event().wait()
    waits = backoff(context.random)
    while True:
        try:
            await context.rest.drive(context.exchange.discover(context.now()))
            break
        except RestError as error:
            receiver.fault(error)
            receiver.down(context.exchange.subscriptions(), str(error))
            delay = max(next(waits), error.retry_after or 0.0)
            context.log.warning("discovery_failed", error=str(error), retry_in=round(delay, 2))
            await asyncio.sleep(delay)
    links = [Link(plan, context) for plan in context.exchange.plan()]
    receiver.links = links
    async with asyncio.TaskGroup() as group:
        for link in links:
            group.create_task(link.run(), name=f"link-{link.plan.name}")
        for poll in context.exchange.polls():
            group.create_task(Poller(poll, context).run(), name=f"poll-{poll.name}")


def _context(
    connector: ConnectorSettings,
    exchange: Exchange,
    receiver: Receiver,
    rest: RestClient,
    tap: FeedTap | None,
) -> FeedContext:
    ca_file = str(connector.ca_file) if connector.ca_file else None
    return FeedContext(
        exchange=exchange,
        receiver=receiver,
        rest=rest,
        pacer=Pacer(exchange.pace, time.monotonic),
        log=_log(connector),
        tls=client_context(ca_file),
        library=connector.transport,
        ping=connector.ping_interval or exchange.ping,
        dead=connector.dead_after or exchange.dead,
        silence=dict(connector.silence),
        tap=tap,
    )


def _log(connector: ConnectorSettings) -> structlog.typing.FilteringBoundLogger:
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return log.bind(exchange=connector.exchange, connector=connector.name)


def _rest(connector: ConnectorSettings, exchange: Exchange, tap: FeedTap | None) -> RestClient:
    ca_file = str(connector.ca_file) if connector.ca_file else None
    base = connector.rest_url or exchange.rest_url
    return RestClient(exchange.name, base, client_context(ca_file), _REST_TIMEOUT, tap)


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    first = 0.0

    def handle(number: int) -> None:
        nonlocal first
        if stop.is_set():
            if loop.time() - first > _ONE_SIGNAL:
                os._exit(128 + number)
            return
        first = loop.time()
        structlog.get_logger().info("stopping", signal=signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)


def _first(failures: BaseExceptionGroup) -> BaseException:
    """The error to show: one of ours before any other, the group taken apart."""
    flat: list[BaseException] = []
    waiting: list[BaseException] = [failures]
    while waiting:
        failure = waiting.pop()
        if isinstance(failure, BaseExceptionGroup):
            waiting += failure.exceptions
        else:
            flat.append(failure)
    return next((failure for failure in flat if isinstance(failure, BridgeError)), flat[0])
