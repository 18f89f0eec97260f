"""Parses Redis URLs and checks all of their options, before anything is connected.

``redis-py`` is not used for this: it passes unknown options to a constructor, which then fails, ignores databases that
are not numbers, and treats brackets differently depending on the version of Python.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

from msgspec import Struct

from bridge.pem import check_certificate, check_key
from bridge.urls import Url, host_and_port

__all__ = ["SCHEMES", "Address", "Kind", "RedisUrl", "RedisUrlError", "passwords_of", "safe_url"]

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")

Address = tuple[str, int]

_REDIS_PORT, _SENTINEL_PORT = 6379, 26379
_ENCODED = "a password's special characters must be percent-encoded: @ is %40, : %3A, / %2F, ? %3F, # %23, % %25"
_LOOKS_ALIKE = 0.55
_NOT_IN_CLUSTER = ("ssl_password", "ssl_ca_path")


class Kind(StrEnum):
    """The kind of topology."""

    SERVER = "server"
    SENTINEL = "sentinel"
    CLUSTER = "cluster"


class RedisUrlError(ValueError):
    """A wrong Redis URL; ``mistake`` and ``hint`` (may be empty) quote no user, password or host."""

    def __init__(self, mistake: str, hint: str = "") -> None:
        self.mistake = mistake
        self.hint = hint
        super().__init__(f"{mistake} ({hint})" if hint else mistake)


class RedisUrl(Struct, frozen=True):
    """A parsed URL; ``options`` are for connections, ``sentinel_options`` for connections to Sentinels."""

    kind: Kind
    tls: bool
    nodes: tuple[Address, ...]
    """The server, the Sentinels, or nodes of the Cluster; empty for a socket."""
    path: str
    """The path of the socket, or empty."""
    master: str
    """The master's name at the Sentinels."""
    options: dict[str, Any]
    sentinel_options: dict[str, Any]

    @classmethod
    def of(cls, text: str) -> RedisUrl:
        """Parse a URL.

        Raises:
            RedisUrlError: it is not a Redis URL, or one of its options is wrong.
        """
        url = Url.of(text.strip())
        scheme, _, kind_name = url.scheme.partition("+")
        if url.scheme not in SCHEMES:
            raise RedisUrlError(
                "should start with redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster://"
            )
        if url.fragment is not None:
            raise RedisUrlError(
                "should not contain '#'", "a password's special characters must be percent-encoded: '#' is %23"
            )
        if "@" in url.path and scheme != "unix":
            raise RedisUrlError("has an '@' after its host", _ENCODED)
        kind = Kind(kind_name or Kind.SERVER)
        tls = scheme == "rediss"
        options, theirs = _options(url, kind, tls=tls)
        master, path = "", ""
        nodes: tuple[Address, ...] = ()
        if scheme == "unix":
            path = _socket(url)
        else:
            nodes = _nodes(url, kind)
            master = _database(url, kind, options)
        return cls(kind, tls, nodes, path, master, options, theirs)


def passwords_of(text: str) -> list[str]:
    """The passwords in a Redis URL, percent-decoded: of the server, the Sentinels and the TLS key."""
    url = Url.of(text.strip())
    found = [unquote(url.password)] if url.password else []
    secret = ("password", "sentinel_password", "ssl_password")
    return found + [value for name, value in parse_qsl(url.query) if name in secret]


def safe_url(text: str) -> str:
    """The URL without user, password and query, for messages."""
    url = Url.of(text.strip())
    hosts, path = url.hosts, url.path
    if "@" in path and url.scheme != "unix":
        # The password is not percent-encoded, and what looks like the host is a part of it.
        hosts, _, path = path.rpartition("@")[2].partition("/")
        path = f"/{path}" if path else ""
    elif url.user is None and "@" in text:
        try:
            for host in hosts.split(","):
                host_and_port(host, 0)
        except ValueError:
            hosts = "***"
    return f"{url.scheme}://{hosts}{path}"


def _nodes(url: Url, kind: Kind) -> tuple[Address, ...]:
    several = kind is not Kind.SERVER
    default = _SENTINEL_PORT if kind is Kind.SENTINEL else _REDIS_PORT
    hosts = url.hosts.split(",") if several else [url.hosts]
    if not several and not url.hosts:
        raise RedisUrlError("should name a host: redis://127.0.0.1:6379/0")
    if not several and "," in url.hosts:
        raise RedisUrlError(
            "should name one host", "several: redis+sentinel://HOST,HOST/MASTER or redis+cluster://HOST,HOST"
        )
    try:
        return tuple(host_and_port(host, default) for host in hosts)
    except ValueError as error:
        # Instead of the port there may be a password, cut off by a '/', '?' or '#' in it.
        cut = url.user is None and "port" in str(error) and not url.hosts.rpartition(":")[2].isdecimal()
        hint = _ENCODED if cut else "several hosts are written HOST:PORT,HOST:PORT" if several else ""
        raise RedisUrlError(str(error), hint) from None


def _socket(url: Url) -> str:
    path = unquote(url.path)
    if url.hosts or not path.strip("/"):
        raise RedisUrlError("should name a socket: unix:///run/redis.sock?db=0")
    return path


def _database(url: Url, kind: Kind, options: dict[str, Any]) -> str:
    """Add the database to the options; returns the master's name for Sentinels."""
    path = unquote(url.path).strip("/")
    master = ""
    if kind is Kind.SENTINEL:
        master, _, path = path.partition("/")
        if not master or (path and not _is_number(path)):
            raise RedisUrlError("should name the master: redis+sentinel://HOST:26379,HOST:26379/MASTER")
    elif kind is Kind.CLUSTER:
        if path not in ("", "0") or options.pop("db", 0) != 0:
            raise RedisUrlError("should not have a database number: a Cluster has only one database")
        return master
    if path and not _is_number(path):
        raise RedisUrlError("should end in a database number: redis://127.0.0.1:6379/0")
    if path:
        options.setdefault("db", int(path))  # the option takes precedence, as in other clients
    return master


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _options(url: Url, kind: Kind, *, tls: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The converted options of the query, with user and password, and the options for Sentinels."""
    options: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    user, password = url.credentials
    options |= {name: value for name, value in (("username", user), ("password", password)) if value}
    seen: set[str] = set()
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        if name in seen:
            raise RedisUrlError(f"has the option {name!r} twice" if name in _KNOWN else "has an option twice")
        seen.add(name)
        convert = _KNOWN.get(name)
        if convert is None:
            raise RedisUrlError(*_unknown(name, in_password="@" in url.query))
        if name in ("username", "password") and name in options:
            raise RedisUrlError(f"has a {name} before its host and one in its options")
        if name.startswith("sentinel_") and kind is not Kind.SENTINEL:
            raise RedisUrlError(f"has the option {name!r}, which is valid only in a redis+sentinel:// URL")
        if name in _NOT_IN_CLUSTER and kind is Kind.CLUSTER:
            raise RedisUrlError(f"has the option {name!r}, which is not supported for a Cluster")
        if name.startswith("ssl_") and not tls:
            raise RedisUrlError(f"has the option {name!r}, which is valid only in a rediss:// URL")
        try:
            converted = convert(value)
        except ValueError as error:
            raise RedisUrlError(f"has a wrong option: {name} {error}") from None
        if name.startswith("sentinel_"):
            theirs[name.removeprefix("sentinel_")] = converted
        elif convert is not _unused:
            options[name] = converted
    if "ssl_keyfile" in options and "ssl_certfile" in options:
        try:
            check_key(options["ssl_keyfile"], options["ssl_certfile"])
        except ValueError as error:
            raise RedisUrlError(f"has a wrong option: ssl_keyfile names a file that {error}") from None
    return options, theirs


def _unknown(name: str, *, in_password: bool) -> tuple[str, str]:
    """Mistake and hint for an unknown option, which may also be a part of a password."""
    if in_password or not name.isascii() or not name.replace("_", "").isalnum() or len(name) > 40:
        return "has something after its '?' that is not an option", _ENCODED
    wanted = [known for known, convert in _KNOWN.items() if convert is not _unused]
    near = difflib.get_close_matches(name.lower(), wanted, n=1, cutoff=_LOOKS_ALIKE)
    ends = [known for known in wanted if known.endswith(f"_{name.lower()}")]
    best = ends or near
    return f"has an unknown option {name!r}", f"did you mean {best[0]!r}?" if best else f"known: {', '.join(wanted)}"


def _text(value: str) -> str:
    if not value:
        raise ValueError("should not be empty")
    return value


def _name(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("should be a name without blanks")
    return value


def _whole(least: int) -> Callable[[str], int]:
    def convert(value: str) -> int:
        if not _is_number(value) or int(value) < least:
            raise ValueError(f"should be a whole number, {least} or more")
        return int(value)

    return convert


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e6:
        raise ValueError("should be seconds, more than 0")
    return seconds


def _flag(value: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
    found = words.get(value.lower())
    if found is None:
        raise ValueError("should be true or false")
    return found


def _protocol(value: str) -> int:
    if value not in ("2", "3"):
        raise ValueError("should be 2 or 3")
    return int(value)


def _verification(value: str) -> str:
    if value not in ("required", "optional", "none"):
        raise ValueError("should be required, optional or none")
    return value


def _file(value: str) -> str:
    try:
        with Path(_text(value)).open("rb"):
            return value
    except OSError as error:
        raise ValueError(f"names a file that cannot be read: {error.strerror or type(error).__name__}") from None


def _certificate(value: str) -> str:
    path = _file(value)
    try:
        check_certificate(path)
    except ValueError as error:
        raise ValueError(f"names a file that {error}") from None
    return path


def _unused(value: str) -> str:
    """Ignore an option of other programs that concerns only their use of ``redis-py``."""
    return value


_KNOWN: dict[str, Callable[[str], Any]] = {
    "db": _whole(0),
    "username": _text,
    "password": _text,
    "protocol": _protocol,
    "client_name": _name,
    "socket_timeout": _seconds,
    "socket_connect_timeout": _seconds,
    "socket_keepalive": _flag,
    "health_check_interval": _whole(0),
    "ssl_ca_certs": _certificate,
    "ssl_ca_path": _text,
    "ssl_certfile": _certificate,
    "ssl_keyfile": _file,
    "ssl_password": _text,
    "ssl_cert_reqs": _verification,
    "ssl_check_hostname": _flag,
    "ssl_ciphers": _text,
    "sentinel_username": _text,
    "sentinel_password": _text,
    "decode_responses": _unused,
    "encoding": _unused,
    "encoding_errors": _unused,
    "legacy_responses": _unused,
    "max_connections": _unused,
    "retry_on_timeout": _unused,
}
