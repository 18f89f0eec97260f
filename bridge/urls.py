"""Parses URLs, in the same way in every version of Python.

``urllib`` refuses some URLs that are valid here (several hosts, one of them an IPv6 address in brackets), and its rules
differ between versions.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Self
from urllib.parse import unquote

from msgspec import Struct

__all__ = ["Url", "host_and_port", "is_loopback", "written_host"]

_PARTS = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?([^/?#]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
_PORT = re.compile(r"[0-9]{1,5}")
_NO_HOST = re.compile(r"[\s\[\]/?#@,\\]")


class Url(Struct, frozen=True):
    """The parts of a URL as they are written; ``user``, ``password`` and ``fragment`` may be ``None``.

    ``hosts`` is the part between ``@`` and the path: one or several hosts with their ports.
    """

    scheme: str
    """In lower case; empty if there is no ``://``."""
    user: str | None
    password: str | None
    hosts: str
    path: str
    query: str
    fragment: str | None

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse a URL; never fails."""
        match = _PARTS.fullmatch(text)
        assert match is not None  # the last part takes everything
        scheme, authority, path, query, fragment = match.groups()
        account, at, hosts = authority.rpartition("@")
        user, colon, password = account.partition(":")
        return cls(
            (scheme or "").lower(),
            user if at else None,
            password if colon else None,
            hosts,
            path,
            query or "",
            fragment,
        )

    @property
    def credentials(self) -> tuple[str, str]:
        """User and password, percent-decoded; empty if missing."""
        return unquote(self.user or ""), unquote(self.password or "")


def host_and_port(text: str, default: int) -> tuple[str, int]:
    """Parse ``HOST[:PORT]``; returns the host, without brackets and with its zone (``fe80::1%eth0``), and the port.

    Raises:
        ValueError: it is not a host with a port. The message quotes nothing of it.
    """
    host, port = text, ""
    bracketed = text.startswith("[")
    if bracketed:
        inside, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ValueError("should name a host; write an IPv6 address in brackets: [::1]:6379")
        host, port = unquote(inside), rest[1:]
        _check_ipv6(host)
        given = bool(rest)
    else:
        host, colon, port = text.partition(":")
        given = bool(colon)
        if ":" in port:
            raise ValueError("should have an IPv6 address in brackets: [::1]:6379")
        host = unquote(host)
        if not host or _NO_HOST.search(host):
            raise ValueError("should name a host")
    if not given:
        return host, default
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        raise ValueError("should have a port from 1 to 65535")
    return host, int(port)


def written_host(host: str) -> str:
    """The host as in a URL: an IPv6 address is in brackets."""
    return f"[{host}]" if ":" in host else host


def is_loopback(host: str) -> bool:
    """Whether the host is this machine: ``localhost``, or a loopback address."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _check_ipv6(host: str) -> None:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError("should have an IPv6 address between its brackets") from None
