"""Which proxy leads to an address: what a connector's ``proxy`` says, or the environment as other programs read it."""

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
    """A proxy; printing it shows neither user nor password."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""
    source: str = ""
    """Where it is set: a variable, or a setting."""

    @classmethod
    def of(cls, text: str, source: str = "") -> Self:
        """Take a proxy's URL apart; one without a scheme is an HTTP proxy, as ``curl`` has it.

        Raises:
            ValueError: it is none. The message quotes nothing of it.
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
        """Fit for messages."""
        return f"{self.scheme}://{written_host(self.host)}:{self.port}"

    @property
    def shown(self) -> str:
        """The address and where it is set."""
        return f"{self.address} ({self.source})" if self.source else self.address

    @property
    def basic(self) -> str:
        """User and password as the header ``Proxy-Authorization`` has them."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> list[str]:
        """What must show in no log."""
        return [self.password, self.basic] if self.password else []


class Route(Struct, frozen=True):
    """How to get to an address: through ``proxy``, or straight there; ``reason`` says why no proxy that is set is used."""

    proxy: Proxy | None = None
    reason: str = ""


def environment_secrets(environment: Mapping[str, str]) -> list[str]:
    """What must show in no log of the proxies that the environment names."""
    found: list[str] = []
    for name, value in environment.items():
        if name.lower() in _NAMES:
            with suppress(ValueError):
                found += Proxy.of(value).secrets
    return found


class Proxies:
    """The proxies that there are, for addresses still to come.

    A ``fixed`` one is for all of them, loopback too. Without one it is as the environment says (``HTTPS_PROXY``,
    ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, and in lower case, which goes first); loopback is never reached through
    a proxy of the environment's.
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
        """The way to a URL (``wss``, ``https``, ``ws`` or ``http``).

        Raises:
            ValueError: the environment's proxy for it is no proxy's URL; the message begins with the variable's name.
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
        """Its name as it is written, and its value; a lower-case one counts even where it is empty."""
        for spelling in (name, name.upper()):
            value = self._environment.get(spelling)
            if value is not None:
                return spelling, value.strip()
        return name.upper(), ""


def _excepted(exceptions: list[str], host: str, port: int) -> bool:
    """Whether ``NO_PROXY`` names the host.

    Each of its items is ``*``, a domain (with all below it, with or without a dot or ``*.`` before it), an address, or a
    network (``10.0.0.0/8``); all but networks may have a port.
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
    """Whether both are addresses, and the one is the other, or in it."""
    found, wanted = _network(host), _network(network)
    return found is not None and wanted is not None and found.network_address in wanted


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
