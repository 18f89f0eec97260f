"""A connector: one exchange's feed, its streams, and what it shows of itself, put together and kept running."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from msgspec import structs
from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from bridge.config import ConnectorSettings, Settings
from bridge.config.document import dotted
from bridge.config.problems import mistakes_of
from bridge.config.proxy import proxies_of, routes_of
from bridge.errors import (
    ConfigError,
    ExchangeError,
    LoginRefusedError,
    PairsNotServedError,
    Problem,
    RedisUnavailableError,
    RestError,
    UnknownMarketError,
    UnknownPairError,
)
from bridge.exchanges import exchange_type
from bridge.exchanges.base import ConnectionPlan, Credentials, Exchange, ListedPair, Profile, Subscription
from bridge.feed.clock import ClockKeeper
from bridge.feed.connection import Connection, FeedContext, Receiver
from bridge.feed.discard import Discard
from bridge.feed.flow import FlowControl
from bridge.feed.link import Link
from bridge.feed.policies import Pacer, backoff, send_budget
from bridge.feed.poller import Poller
from bridge.feed.rest import RestClient
from bridge.feed.tap import FeedTap
from bridge.feed.tls import client_context
from bridge.feed.transport import has_picows
from bridge.lifecycle import end_on_signals, end_tasks, names_of_tasks
from bridge.model import Control, ControlEvent, Event
from bridge.monitor import Monitor
from bridge.report import Report
from bridge.router import Router
from bridge.store import Store
from bridge.supervisor import Supervisor, first_of

__all__ = ["build_exchange", "checked_exchange", "list_pairs", "probe", "record", "run", "urls_of"]

_REST_TIMEOUT = 10.0
_PAIR_AGAIN = 60.0
"""Seconds between two looks at whether a pair is listed by now."""
_INSTALL_FAST = "pip install 'tickbridge[fast]', or transport: auto"
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
        works = {one.name: partial(_run_one, settings, one, stop, monitor) for one in connectors}
        try:
            await Supervisor(stop, monitor.fail).run(works)
        finally:
            if watching:
                watching.cancel()


async def _run_one(settings: Settings, connector: ConnectorSettings, stop: asyncio.Event, monitor: Monitor) -> None:
    log = _log(connector)
    exchange = checked_exchange(settings, connector)
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(Store(settings, connector.name, exchange.name, log))
        router = Router(exchange, connector, store, settings, log)
        monitor.add(router.report)
        await router.open()
        rest = await stack.enter_async_context(_rest(connector, exchange, None))
        context = _context(connector, exchange, router, rest, None)
        works = router.background()
        if connector.rest_url or not connector.url:  # else REST is another exchange's than the WebSocket
            works.append(("clock", ClockKeeper(router.latency.clock, context).run()))
        else:
            router.latency.clock.settled = True
        # No task group: that would wait for a task that swallows its cancellation, for ever.
        background = [asyncio.create_task(work, name=f"{connector.name}-{what}") for what, work in works]
        for task in background:
            task.add_done_callback(partial(_fail_by, router.failed))
        ending = asyncio.create_task(stop.wait(), name=f"{connector.name}-stop")
        feed = asyncio.create_task(_feed(context, router), name=f"{connector.name}-feed")
        feed.add_done_callback(partial(_fail_by, router.failed))
        try:
            log.info("started", pairs=connector.own_pairs, channels=[str(channel) for channel in connector.channels])
            await asyncio.wait((ending, router.failed), return_when=asyncio.FIRST_COMPLETED)
            deadline = time.monotonic() + settings.shutdown_timeout
            await _end([feed], _CLOSING)
            # Whatever it was that failed: the streams say that the connector has ended.
            await router.finish(max(deadline - time.monotonic(), 0.1))
        except RedisUnavailableError:
            # Where it failed, the cause says more than what could not be written because of it.
            if not router.failed.done():
                raise
        finally:
            await _end([feed, *background, ending])
        if router.failed.done():
            router.failed.result()
        log.info("stopped", **router.report.counts(), errors=dict(router.report.errors))


def _fail_by(failed: asyncio.Future[None], task: asyncio.Task[None]) -> None:
    """A connector can't go on without any of its tasks."""
    if not task.cancelled() and (error := task.exception()) and not failed.done():
        failed.set_exception(first_of(error))


async def _end(tasks: Sequence[asyncio.Task[Any]], patience: float = _CANCEL_AGAIN) -> None:
    """Cancel tasks, and wait for their ends; one that doesn't end is named and left behind."""
    left = await end_tasks(tasks, patience)
    if left:
        structlog.get_logger().error("tasks_left", tasks=sorted(task.get_name() for task in left))


def checked_exchange(settings: Settings, connector: ConnectorSettings) -> Exchange:
    """The exchange of a connector that can work, as far as this machine alone can tell.

    Raises:
        ConfigError: what is asked for is not installed, or a secret is no key that can sign.
    """
    if connector.transport == "picows" and not has_picows():
        problem = Problem(f"connectors.{connector.name}.transport", "picows is not installed", _INSTALL_FAST)
        raise ConfigError([problem])
    exchange = build_exchange(settings, connector)
    exchange.check()
    return exchange


async def record(settings: Settings, connectors: Sequence[ConnectorSettings], tap: FeedTap) -> None:
    """Run the connectors' feeds without Redis, with a tap on their sockets, until cancelled.

    Raises:
        ExchangeError, ConnectorsFailedError: one, or some of several, failed; also when cancelled afterwards.
    """
    works = {one.name: partial(_record_one, settings, one, tap) for one in connectors}
    # What the tap raises concerns the recording, and so all of them.
    await Supervisor(asyncio.Event(), contained=ExchangeError).run(works)


async def _record_one(settings: Settings, connector: ConnectorSettings, tap: FeedTap) -> None:
    log = _log(connector)
    exchange = build_exchange(settings, connector)
    receiver = Discard(log)
    async with _rest(connector, exchange, tap) as rest:
        await _feed(_context(connector, exchange, receiver, rest, tap), receiver)


async def list_pairs(exchange: str, rest_url: str | None, ca_file: Path | None) -> list[ListedPair]:
    """The pairs that an exchange lists.

    Raises:
        ConfigError: there is no such exchange, or the address can't be used.
        RestError: the exchange is out of reach, or has no list.
    """
    try:
        connector = ConnectorSettings(
            name="pairs", exchange=exchange, pairs=("A-B",), channels=(), rest_url=rest_url, ca_file=ca_file
        )
    except ValidationError as error:
        problems = [Problem(f"--{dotted(place).replace('_', '-')}", *rest) for place, *rest in mistakes_of(error)]
        raise ConfigError(problems, "arguments") from None
    asked = exchange_type(exchange)(Profile((), frozenset(), rest_url=rest_url))
    async with _rest(connector, asked, None) as rest:
        return await rest.drive(asked.list_pairs())


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
        while True:
            try:
                await rest.drive(exchange.discover(time.time_ns()))
                break
            except UnknownPairError as error:
                exchange.missing[error.pair] = error
        found += exchange.remarks()
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
    found += [f"{stream.channel} of {stream.subject} is not served: {why}" for stream, why in receiver.refused.items()]
    unknown = {error.pair: error for error in exchange.unlisted()}
    mistakes: list[ExchangeError] = [*unknown.values(), *receiver.unknown_markets]
    if mistakes:
        raise PairsNotServedError(exchange.name, mistakes, found)
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
    """Remembers what the exchange has refused."""

    def __init__(self, log: structlog.typing.FilteringBoundLogger) -> None:
        super().__init__(log)
        self.login: LoginRefusedError | None = None
        self.unknown_markets: list[UnknownMarketError] = []
        self.refused: dict[Subscription, str] = {}
        """Streams that it doesn't serve, and why."""

    def event(self, event: Event) -> None:
        if isinstance(event, Control) and event.event is ControlEvent.DOWN:
            self.refused[Subscription(event.channel, event.subject)] = event.reason

    def fault(self, error: ExchangeError) -> None:
        if isinstance(error, LoginRefusedError):
            self.login = error
        elif isinstance(error, UnknownMarketError):
            self.unknown_markets.append(error)


def build_exchange(settings: Settings, connector: ConnectorSettings) -> Exchange:
    """The exchange of a connector, with what the config says.

    Raises:
        ConfigError: the environment names a proxy for it that is none.
    """
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
    kind = exchange_type(connector.exchange)
    routes_of(connector, urls_of(kind, connector))
    return kind(profile)


def urls_of(kind: type[Exchange], connector: ConnectorSettings) -> list[str]:
    """Where a connector goes: the bases of its WebSockets and of REST."""
    return [connector.url or kind.url, connector.rest_url or kind.rest_url]


async def _feed(context: FeedContext, receiver: Router | Discard) -> None:
    """Discover, plan, and keep every connection of the plan alive."""
    if not context.exchange.subscriptions():
        context.log.warning("nothing_to_read")
        await asyncio.Event().wait()
    await _discover(context, receiver)
    links = [Link(plan, context) for plan in context.exchange.plan()]
    receiver.links = links
    async with asyncio.TaskGroup() as group:
        _start(group, links, context)
        for error in context.exchange.missing.values():
            group.create_task(_wait_for_pair(group, context, receiver, error.pair), name=f"pair-{error.pair}")


def _start(group: asyncio.TaskGroup, links: Sequence[Link], context: FeedContext) -> None:
    for link in links:
        group.create_task(link.run(), name=f"link-{link.plan.name}")
    for poll in context.exchange.polls():
        group.create_task(Poller(poll, context).run(), name=f"poll-{poll.name}")


async def _discover(context: FeedContext, receiver: Router | Discard) -> None:
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


async def _wait_for_pair(group: asyncio.TaskGroup, context: FeedContext, receiver: Router | Discard, pair: str) -> None:
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
    links = [Link(plan, late) for plan in plans]
    receiver.links = [*receiver.links, *links]
    _start(group, links, late)


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
        proxies=proxies_of(connector),
        ping=connector.ping_interval or exchange.ping,
        dead=connector.dead_after or exchange.dead,
        silence=dict(connector.silence),
        tap=tap,
        sends=send_budget(connector.url or exchange.url, exchange.sends_per_second),
        flow=receiver.flow if isinstance(receiver, Router) else FlowControl(),
    )


def _log(connector: ConnectorSettings) -> FilteringBoundLogger:
    log: FilteringBoundLogger = structlog.get_logger()
    return log.bind(exchange=connector.exchange, connector=connector.name)


def _rest(connector: ConnectorSettings, exchange: Exchange, tap: FeedTap | None) -> RestClient:
    ca_file = str(connector.ca_file) if connector.ca_file else None
    base = connector.rest_url or exchange.rest_url
    proxy = proxies_of(connector).route(base).proxy
    return RestClient(exchange.name, base, client_context(ca_file), _REST_TIMEOUT, tap, proxy=proxy)


def _on_signals(stop: asyncio.Event, patience: float) -> None:
    loop = asyncio.get_running_loop()
    log = structlog.get_logger()

    def begin(number: signal.Signals) -> None:
        log.info("stopping", signal=number.name)
        stop.set()

    def late() -> None:
        log.error("not_ended", seconds=patience, tasks=names_of_tasks(loop))

    end_on_signals(begin, patience, late)
