"""Maps and explains the errors of redis-py, in one place.

They become one of two errors: `RedisUnavailableError` (Redis is unreachable or refuses this client) and
`RedisRefusedError` (Redis refuses a command).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from redis import exceptions
from redis.asyncio.sentinel import MasterNotFoundError
from redis.sentinel import MasterNotFoundError as SyncMasterNotFoundError

from bridge.errors import RedisRefusedError, RedisUnavailableError

__all__ = [
    "AWAY",
    "FAILURES",
    "about",
    "explain",
    "explained",
    "is_passing",
    "is_wrong_type",
    "refuse_replica",
    "refuses_client",
    "refuses_key",
    "said",
]

FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
"""All errors that a call of ``redis-py`` raises when a command fails."""

AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.ClusterError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.RedisClusterException,
    OSError,
)
"""What a call raises while Redis is unreachable, loading or failing over, or while slots move; a retry may succeed.

This includes ``ClusterError``: redis-py sends ``ASKING`` and the command over two connections of a pool, and gives up if
other commands use that pool while a slot moves.
"""

_FULL = ("OOM ", "command not allowed when used memory", "MISCONF ", "NOREPLICAS ")
"""Errors of a server that accepts no writes for now: no memory, disk or replica (redis-py removes the word OOM)."""
_OF_A_KEY = ("WRONGTYPE", "NOPERM")
_OF_THE_CLIENT = (exceptions.AuthenticationError, exceptions.AuthorizationError)

_ABOUT = "key: "
_NO_ANSWER = "no answer in time; is the address right, and is there a firewall in between?"
_SILENT = (exceptions.TimeoutError, TimeoutError)
_NO_MASTER = "no reachable Sentinel has a live master of this name; are the addresses, the password and the name right?"
_MEANINGS: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.AuthenticationError, "wrong user or password, or a password is required ({text})"),
    (exceptions.NoPermissionError, "this user lacks a permission: {text}"),
    (MasterNotFoundError, _NO_MASTER),
    (SyncMasterNotFoundError, _NO_MASTER),
    (exceptions.MovedError, "this is one node of a Cluster; use redis+cluster:// instead of redis:// ({text})"),
    (exceptions.ReadOnlyError, "this is a read-only replica; use its master ({text})"),
    (exceptions.BusyLoadingError, "is still loading its data; try again in a moment"),
    (
        ssl.SSLCertVerificationError,
        "its TLS certificate is not trusted; set redis.ca_file to the CA certificate that signed it ({text})",
    ),
    (ssl.SSLError, "the TLS handshake failed; does the server use TLS on this port? redis:// is without TLS ({text})"),
    (ConnectionRefusedError, "the connection was refused; is the server running, and is the port right?"),
    (FileNotFoundError, "there is no such socket; is the server running?"),
    (exceptions.InvalidResponse, "its answer is not in the Redis protocol; is this the right port? ({text})"),
    (exceptions.TimeoutError, _NO_ANSWER),
    (TimeoutError, _NO_ANSWER),
)


@contextmanager
def explained(address: str, url: str = "") -> Iterator[None]:
    """Turn errors of redis-py into ours, with an explanation.

    Args:
        address: the server's name in messages.
        url: its URL, if it is not the address; not shown.

    Raises:
        RedisUnavailableError: Redis is unreachable, accepts no writes for now, or refuses this client.
        RedisRefusedError: it refuses this command.
    """
    try:
        yield
    except FAILURES as error:
        kind = RedisRefusedError if _refuses_command(error) else RedisUnavailableError
        raise kind(address, explain(error, url or address)) from None


def refuse_replica(address: str, info: Mapping[str, Any]) -> None:
    """Refuse a server that says of itself, in INFO, that it is a replica.

    Raises:
        RedisUnavailableError: it does; names the master.
    """
    if info.get("role") in ("slave", "replica"):
        master = f"{info.get('master_host')}:{info.get('master_port')}"
        raise RedisUnavailableError(address, f"this is a read-only replica; use its master {master}")


@contextmanager
def about(key: str) -> Iterator[None]:
    """Let `explain` name the key of a command if Redis refuses the command because of it."""
    try:
        yield
    except exceptions.ResponseError as error:
        error.add_note(f"{_ABOUT}{key}")
        raise


def explain(error: BaseException, url: str) -> str:
    """Explain an error and what to do about it; ``url`` is not shown."""
    text = said(error)
    key = next((note.removeprefix(_ABOUT) for note in getattr(error, "__notes__", ()) if note.startswith(_ABOUT)), "")
    if key and is_wrong_type(error):
        return f"the key {key} has the wrong type; rename or delete it ({text})"
    if key and refuses_key(error):
        return f"this user has no right to the key {key}: {text}; `tickbridge acl` prints the required rights"
    for kind, meaning in _MEANINGS:
        if _caused_by(error, kind):
            # A server without TLS takes the handshake for a command, and silently waits for the rest.
            tls = issubclass(kind, _SILENT) and url.startswith("rediss")
            return meaning.format(text=text) + (" does the server use TLS on this port?" if tls else "")
    if "closed by server" in text or _caused_by(error, ConnectionResetError):
        other = "redis://" if url.startswith("rediss") else "rediss://"
        return f"the server closes the connection; does it want {other}? ({text})"
    return text


def said(error: BaseException) -> str:
    """What the server said: in the error of a pipeline, its words come after the whole command."""
    _, pipeline, words = str(error).rpartition(" caused error: ")
    text = words.strip("()\"',") if pipeline else str(error).strip()
    return text or type(error).__name__


def is_passing(error: BaseException) -> bool:
    """Whether a retry may succeed: Redis is unreachable, or accepts no writes for now."""
    if refuses_client(error):
        return False
    return isinstance(error, AWAY) or (isinstance(error, exceptions.ResponseError) and said(error).startswith(_FULL))


def refuses_client(error: BaseException) -> bool:
    """Whether Redis refuses this client, so that waiting would not help."""
    return isinstance(error, _OF_THE_CLIENT)


def refuses_key(error: BaseException) -> bool:
    """Whether Redis refuses a command because of its key, which has the wrong type or may not be accessed."""
    # (redis-py removes the word NOPERM.)
    return isinstance(error, exceptions.NoPermissionError) or (
        isinstance(error, exceptions.ResponseError) and said(error).startswith(_OF_A_KEY)
    )


def is_wrong_type(error: BaseException) -> bool:
    """Whether a key has the wrong type."""
    return isinstance(error, exceptions.ResponseError) and said(error).startswith("WRONGTYPE")


def _refuses_command(error: BaseException) -> bool:
    return isinstance(error, exceptions.ResponseError) and not is_passing(error)


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
