"""Chooses the proxy for an address: a connector's ``proxy`` setting, or the usual environment variables."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from msgspec import Struct

from bridge.urls import Url, host_and_port, is_loopback, written_host

__all__ = ["Proxies", "Proxy", "Route", "environment_secrets"]

_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_SCHEMES = "http://, https://, socks5://, socks5h://, socks4:// or socks4a://"
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_VARIABLES = {
    "https": ("https_proxy", "all_proxy"),
    "wss": ("https_proxy", "all_proxy"),
    "http": ("http_proxy", "all_proxy"),
    "ws": ("http_proxy", "all_proxy"),
}

_NAMES = frozenset(name for names in _VARIABLES.values() for name in names)


class Proxy(Struct, frozen=True):
    """A proxy; its representation shows neither user nor password."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""
    source: str = ""
    """Where it is set: a variable, or a setting."""

    @classmethod
    def of(cls, text: str, source: str = "") -> Self:
        """Parse a proxy's URL; without a scheme it is an HTTP proxy, like in ``curl``.

        Raises:
            ValueError: it is not valid. The message quotes nothing of it.
        """
        text = text.strip()
        url = Url.of(text if "://" in text else f"http://{text}")
        port = _PORTS.get(url.scheme)
        if port is None:
            raise ValueError(f"should start with {_SCHEMES}")
        if url.path not in ("", "/") or url.query or url.fragment is not None:
            raise ValueError(
                "should end with HOST:PORT; in a password, special characters must be percent-encoded: / is %2F, ? %3F, # %23"
            )
        host, port = host_and_port(url.hosts, port)
        user, password = url.credentials
        if any(not sign.isprintable() for sign in user + password):
            raise ValueError("should have no control characters in its user and password")
        if url.scheme.startswith("socks5") and max(len(user.encode()), len(password.encode())) > 255:
            raise ValueError("should have a user and a password of at most 255 bytes for SOCKS5")
        return cls(url.scheme, host, port, user, password, source)

    def __repr__(self) -> str:
        return f"Proxy({self.address!r}, source={self.source!r})"

    __str__ = __repr__

    @property
    def address(self) -> str:
        """The URL without user and password, for messages."""
        return f"{self.scheme}://{written_host(self.host)}:{self.port}"

    @property
    def shown(self) -> str:
        """The address, and where it is set."""
        return f"{self.address} ({self.source})" if self.source else self.address

    @property
    def basic(self) -> str:
        """User and password, as in the header ``Proxy-Authorization``."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> list[str]:
        """The secrets, which must not appear in logs."""
        return [self.password, self.basic] if self.password else []


class Route(Struct, frozen=True):
    """The route to an address: through ``proxy``, or directly; ``reason`` says why a proxy that is set is not used."""

    proxy: Proxy | None = None
    reason: str = ""


def environment_secrets(environment: Mapping[str, str]) -> list[str]:
    """The secrets of the proxies in the environment, which must not appear in logs."""
    found: list[str] = []
    for name, value in environment.items():
        if name.lower() in _NAMES:
            with suppress(ValueError):
                found += Proxy.of(value).secrets
    return found


class Proxies:
    """The configured proxies, for any address.

    A ``fixed`` proxy is used for all addresses, including loopback. Otherwise the environment decides (``HTTPS_PROXY``,
    ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, also in lower case, which takes precedence); a proxy from the environment
    is never used for loopback.
    """

    def __init__(self, environment: Mapping[str, str], fixed: Proxy | None = None, *, off: bool = False) -> None:
        self._fixed = fixed
        self._off = off
        self._environment = {} if off or fixed else environment
        self._exceptions = self._variable("no_proxy")[1].replace(",", " ").split()

    @classmethod
    def none(cls) -> Self:
        """No proxy for any address."""
        return cls({}, off=True)

    def route(self, url: str) -> Route:
        """The route to a URL (``wss``, ``https``, ``ws`` or ``http``).

        Raises:
            ValueError: the proxy in the environment is not valid; the message begins with the name of the variable.
        """
        if self._fixed is not None:
            return Route(self._fixed)
        if self._off:
            return Route(reason="switched off")
        parts = Url.of(url)
        for variable in _VARIABLES.get(parts.scheme, ()):
            name, value = self._variable(variable)
            if not value:
                continue
            host, port = host_and_port(parts.hosts, _DEFAULT_PORTS[parts.scheme])
            if is_loopback(host):
                return Route(reason="loopback is never reached through a proxy of the environment's")
            if _excepted(self._exceptions, host, port):
                return Route(reason=f"NO_PROXY excepts {host}")
            try:
                return Route(Proxy.of(value, name))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
        return Route()

    def _variable(self, name: str) -> tuple[str, str]:
        """The variable's name as it is written, and its value; a lower-case variable counts even if it is empty."""
        for spelling in (name, name.upper()):
            value = self._environment.get(spelling)
            if value is not None:
                return spelling, value.strip()
        return name.upper(), ""


def _excepted(exceptions: list[str], host: str, port: int) -> bool:
    """Whether ``NO_PROXY`` names the host.

    Each item is ``*``, a domain (including its subdomains, with or without a leading dot or ``*.``), an address, or a
    network (``10.0.0.0/8``); all except networks may have a port.
    """
    host = host.lower().rstrip(".").partition("%")[0]
    return any(_names(item.lower(), host, port) for item in exceptions)


def _names(item: str, host: str, port: int) -> bool:
    if item == "*":
        return True
    if _network(item) is not None:
        return _within(host, item)
    try:
        domain, only = host_and_port(item.removeprefix("*"), port)
    except ValueError:
        return False
    domain = domain.strip(".")
    if only != port or not domain:
        return False
    if _network(host) is not None:
        return _within(host, domain)
    return host == domain or host.endswith(f".{domain}")


def _within(host: str, network: str) -> bool:
    """Whether the host is an address that equals the item or is in its network."""
    found, wanted = _network(host), _network(network)
    return found is not None and wanted is not None and found.network_address in wanted


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
