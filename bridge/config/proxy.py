"""The proxy of a connector, as the configuration says it, or else the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from bridge.config.models import ConnectorSettings
from bridge.errors import ConfigError, Problem
from bridge.proxies import Proxies, Proxy, Route

__all__ = ["proxies_of", "routes_of"]


def proxies_of(connector: ConnectorSettings, environment: Mapping[str, str] = os.environ) -> Proxies:
    """The proxies that a connector's addresses are reached through."""
    if connector.proxy is None:
        return Proxies(environment)
    text = connector.proxy.get_secret_value()
    return Proxies({}, Proxy.of(text, f"connectors.{connector.name}.proxy")) if text else Proxies.none()


def routes_of(
    connector: ConnectorSettings, urls: Sequence[str], environment: Mapping[str, str] = os.environ
) -> list[Route]:
    """The way to each of these URLs.

    Raises:
        ConfigError: a variable of the environment holds no proxy's URL.
    """
    proxies = proxies_of(connector, environment)
    try:
        return [proxies.route(url) for url in urls]
    except ValueError as error:
        variable, _, message = str(error).partition(": ")
        raise ConfigError([Problem(variable, message)], "environment") from None
