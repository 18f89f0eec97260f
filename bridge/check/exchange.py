"""Tries an exchange without Redis: whether it accepts a connector, and which pairs it lists."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from pydantic import ValidationError
from structlog.typing import FilteringBoundLogger

from bridge.config import ConnectorSettings, Settings
from bridge.config.document import dotted
from bridge.config.mistakes import mistakes_of
from bridge.connector.pairs import choose_or_refuse
from bridge.connector.wiring import build_exchange, feed_context, logger_of, rest_client
from bridge.errors import ConfigError, Problem
from bridge.exchange_errors import (
    ErrorKind,
    ExchangeError,
    PairsNotServedError,
    ReportedError,
    RestError,
    UnknownPairError,
)
from bridge.exchanges import exchange_type
from bridge.exchanges.api import ConnectionPlan, ListedPair, Profile, Subscription
from bridge.feed.connection import Connection
from bridge.feed.context import FeedContext
from bridge.feed.discard import Discard
from bridge.model import Control, ControlEvent, Event

__all__ = ["list_pairs", "probe"]

_PATIENCE = 10.0
"""Seconds that a connection has to deliver a frame and to confirm its subscriptions."""


async def probe(settings: Settings, connector: ConnectorSettings) -> list[str]:
    """Try an exchange without Redis: REST discovery, all planned connections, and all polls.

    Returns:
        The findings, in words.

    Raises:
        BridgeError: the exchange is unreachable, refuses (for example the log-in), or does not list a pair.
    """
    log = logger_of(connector)
    exchange = build_exchange(settings, connector)
    found: list[str] = []
    async with rest_client(connector, exchange, None) as rest:
        if connector.patterns:
            pairs = choose_or_refuse(connector, await rest.drive(exchange.list_pairs()))
            found.append(f"{len(pairs) - len(connector.own_pairs)} pairs match {', '.join(connector.patterns)}")
            exchange = build_exchange(settings, connector, pairs)
        if not exchange.pairs and not exchange.profile.account:
            return [*found, "nothing to read: this connector has no pair"]
        found += exchange.unread()
        while True:
            try:
                await rest.drive(exchange.discover(time.time_ns()))
                break
            except UnknownPairError as error:
                exchange.missing[error.pair] = error
        found += exchange.remarks()
        receiver = _RefusalCollector(log)
        context = feed_context(connector, exchange, receiver, rest, None)
        for plan in exchange.plan():
            try:
                seconds = await _try(plan, context)
            except ExchangeError:
                if receiver.key_refused is not None:
                    raise receiver.key_refused from None
                if receiver.login is None:
                    raise
                words = f"the log-in is refused ({receiver.login.words}); are the account's key and secret right?"
                raise ReportedError(exchange.name, words, ErrorKind.LOGIN_REFUSED, topic=plan.name) from None
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
    """Connect until log-in (if any) and subscriptions are confirmed; returns the seconds until the first frame."""
    begun = time.monotonic()
    wake = asyncio.Event()
    connection = Connection(plan, context, wake, hold=False)
    first = 0.0
    try:
        await connection.open()
        while not connection.lost_reason and time.monotonic() - begun < _PATIENCE:
            connection.tick()
            if connection.heard:
                first = first or time.monotonic() - begun
                if connection.subscribed:
                    return first
            wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await wake.wait()
    finally:
        await connection.close()
    what = "the subscriptions were not confirmed" if first else "nothing was received"
    reason = connection.lost_reason or f"connected, but {what} within {_PATIENCE:g} s"
    raise ExchangeError(context.exchange.name, f"{plan.name}: {reason}")


class _RefusalCollector(Discard):
    """Discards events, and remembers what the exchange has refused."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(log)
        self.login: ReportedError | None = None
        self.key_refused: RestError | None = None
        """What REST has said of a key that it does not accept, or that may not do what is asked."""
        self.unknown_markets: list[ReportedError] = []
        self.refused: dict[Subscription, str] = {}
        """Streams that it does not serve, and why."""

    def event(self, event: Event) -> None:
        if isinstance(event, Control) and event.event is ControlEvent.DOWN:
            self.refused[Subscription(event.channel, event.subject)] = event.reason

    def fault(self, error: ExchangeError) -> None:
        if isinstance(error, RestError) and error.kind is ErrorKind.REST_LOGIN_REFUSED:
            self.key_refused = error
        if not isinstance(error, ReportedError):
            return
        if error.kind is ErrorKind.LOGIN_REFUSED:
            self.login = error
        elif error.kind is ErrorKind.UNKNOWN_MARKET:
            self.unknown_markets.append(error)


async def list_pairs(exchange: str, rest_url: str | None, ca_file: Path | None) -> list[ListedPair]:
    """The pairs that an exchange lists.

    Raises:
        ConfigError: there is no such exchange, or the address cannot be used.
        RestError: the exchange is unreachable, or has no list.
    """
    try:
        connector = ConnectorSettings(
            name="pairs", exchange=exchange, pairs=("A-B",), channels=(), rest_url=rest_url, ca_file=ca_file
        )
    except ValidationError as error:
        problems = [Problem(f"--{dotted(place).replace('_', '-')}", *rest) for place, *rest in mistakes_of(error)]
        raise ConfigError(problems, "arguments") from None
    asked = exchange_type(exchange)(Profile((), frozenset(), rest_url=rest_url))
    async with rest_client(connector, asked, None) as rest:
        return await rest.drive(asked.list_pairs())
