"""What the config says of a connector, made into its exchange, its REST client, and what its connections share."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from structlog.typing import FilteringBoundLogger

from bridge.config import ConnectorSettings, Settings
from bridge.config.connectors import proxies_of, routes_of
from bridge.connector.router import Router
from bridge.errors import ConfigError, Problem
from bridge.exchanges import exchange_type
from bridge.exchanges.api import Credentials, Exchange, Profile
from bridge.feed.context import FeedContext, Receiver
from bridge.feed.exclusive import ExclusiveAccess
from bridge.feed.flow import FlowControl
from bridge.feed.policies import pacer_of, request_budget, send_budget
from bridge.feed.rest import RestClient
from bridge.feed.shared import SharedBudget
from bridge.feed.tap import FeedTap
from bridge.feed.tls import client_context
from bridge.feed.transport import has_picows
from bridge.model import Channel

__all__ = ["bases_of", "build_exchange", "checked_exchange", "feed_context", "logger_of", "rest_client"]

_REST_TIMEOUT = 10.0
_REST_PACE = 0.25
"""Seconds; it is doubled with each call that nobody answers, and only then are calls kept apart at all."""
_INSTALL_FAST = "pip install 'tickbridge[fast]', or transport: auto"


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


def build_exchange(settings: Settings, connector: ConnectorSettings, pairs: tuple[str, ...] | None = None) -> Exchange:
    """The exchange of a connector, with what the config says; ``pairs``, where its patterns have come to some.

    Raises:
        ConfigError: the environment names a proxy for it that is none.
    """
    account = None
    if connector.account is not None:
        a = settings.accounts[connector.account]
        account = Credentials.of(connector.account, a.credentials, subaccounts=a.subaccounts)
    wanted = frozenset(connector.channels)
    derived = wanted & {Channel.BOOK10}
    channels = (wanted - derived) | ({Channel.BOOK} if derived else set())
    profile = Profile(
        connector.own_pairs if pairs is None else pairs,
        channels,
        connector.url,
        connector.rest_url,
        account,
        connector.options,
        derived,
        channels - wanted,
    )
    exchange = exchange_type(connector.exchange)(profile)
    routes_of(connector, exchange.bases)
    return exchange


def bases_of(connector: ConnectorSettings) -> list[str]:
    """The addresses that a connector's connections and REST calls begin with."""
    profile = Profile((), frozenset(), connector.url, connector.rest_url, options=connector.options)
    return exchange_type(connector.exchange)(profile).bases


def feed_context(
    connector: ConnectorSettings,
    exchange: Exchange,
    receiver: Receiver,
    rest: RestClient,
    tap: FeedTap | None,
    *,
    limits: Callable[[str, str], SharedBudget | None] = lambda *_: None,
) -> FeedContext:
    """What all connections of the connector share, the proxies and limits of the config included.

    ``limits`` gives what processes share of one address for one purpose.
    """
    url = connector.url or exchange.url
    ca_file = str(connector.ca_file) if connector.ca_file else None
    return FeedContext(
        exchange=exchange,
        receiver=receiver,
        rest=rest,
        pacer=pacer_of(url, exchange.pace),
        log=logger_of(connector),
        tls=client_context(ca_file),
        library=connector.transport,
        proxies=proxies_of(connector),
        ping=connector.ping_interval or exchange.ping,
        dead=connector.dead_after or exchange.dead,
        silence=dict(connector.silence),
        tap=tap,
        sends=send_budget(url, exchange.sends_per_second),
        attempts=limits(url, "connect"),
        sent=limits(url, "send"),
        flow=receiver.flow if isinstance(receiver, Router) else FlowControl(),
        access=receiver.access if isinstance(receiver, Router) else ExclusiveAccess(),
    )


def rest_client(
    connector: ConnectorSettings, exchange: Exchange, tap: FeedTap | None, shared: SharedBudget | None = None
) -> RestClient:
    """A client, to be entered, for the exchange's REST, through the proxy that the config names."""
    ca_file = str(connector.ca_file) if connector.ca_file else None
    base = exchange.rest_base
    proxy = proxies_of(connector).route(base).proxy
    budget = request_budget(base, exchange.request_weight, _REST_PACE)
    tls = client_context(ca_file)
    return RestClient(exchange.name, base, tls, _REST_TIMEOUT, tap, proxy=proxy, budget=budget, shared=shared)


def logger_of(connector: ConnectorSettings) -> FilteringBoundLogger:
    """The log, each line of it with the exchange and the connector."""
    log: FilteringBoundLogger = structlog.get_logger()
    return log.bind(exchange=connector.exchange, connector=connector.name)
