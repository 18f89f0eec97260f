"""How Redis fails: what redis-py raises, told apart and put into words in one place.

Two of our errors come out of it: `RedisUnavailableError`, Redis is out of reach or doesn't let this client in, and
`RedisRefusedError`, it answers and refuses what it was told.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

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
    "refuses_client",
    "refuses_key",
    "said",
]

FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
"""Everything that a call of ``redis-py`` raises when Redis doesn't do what it is told."""

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
"""What a call raises while Redis is away, loading, or failing over, or while slots move: it may succeed in a moment.

``ClusterError`` among them: redis-py sends ``ASKING`` and the command over two connections of a pool. Where others use
that pool too, a slot on its way is looked for to and fro until it gives up.
"""

_FULL = ("OOM ", "command not allowed when used memory", "MISCONF ", "NOREPLICAS ")
"""How a server says that it takes no writes for now: no memory, no disk, no replica (redis-py cuts the word OOM off)."""
_OF_A_KEY = ("WRONGTYPE", "NOPERM")
_OF_THE_CLIENT = (exceptions.AuthenticationError, exceptions.AuthorizationError)

_ABOUT = "key: "
_NO_ANSWER = "no answer in time; is the address right, and does a firewall stand between?"
_SILENT = (exceptions.TimeoutError, TimeoutError)
_NO_MASTER = (
    "no Sentinel that answers has a live master of this name; are their addresses, their password and the name right?"
)
_MEANINGS: tuple[tuple[type[BaseException], str], ...] = (
    (exceptions.AuthenticationError, "wrong user or password, or none where one is needed ({text})"),
    (exceptions.NoPermissionError, "this user lacks a permission: {text}"),
    (MasterNotFoundError, _NO_MASTER),
    (SyncMasterNotFoundError, _NO_MASTER),
    (exceptions.MovedError, "this is one node of a Cluster; use redis+cluster:// instead of redis:// ({text})"),
    (exceptions.BusyLoadingError, "is still loading its data; try again in a moment"),
    (
        ssl.SSLCertVerificationError,
        "its TLS certificate is not trusted; give redis.ca_file the authority that signed it ({text})",
    ),
    (ssl.SSLError, "the TLS handshake failed; does the server speak TLS on this port? plain is redis:// ({text})"),
    (ConnectionRefusedError, "the connection is refused; is the server running, and is the port right?"),
    (FileNotFoundError, "there is no such socket; is the server running?"),
    (exceptions.InvalidResponse, "its answer is not the Redis protocol; is this the right port? ({text})"),
    (exceptions.TimeoutError, _NO_ANSWER),
    (TimeoutError, _NO_ANSWER),
)


@contextmanager
def explained(address: str, url: str = "") -> Iterator[None]:
    """Turn what redis-py raises into ours, with words that help.

    Args:
        address: what messages call the server.
        url: where it is, if that isn't the address; not shown.

    Raises:
        RedisUnavailableError: Redis is out of reach, takes nothing for now, or doesn't let this client in.
        RedisRefusedError: it refuses this very command.
    """
    try:
        yield
    except FAILURES as error:
        kind = RedisRefusedError if _refuses_command(error) else RedisUnavailableError
        raise kind(address, explain(error, url or address)) from None


@contextmanager
def about(key: str) -> Iterator[None]:
    """Have `explain` name the key that a command is about, if Redis refuses it because of that."""
    try:
        yield
    except exceptions.ResponseError as error:
        error.add_note(f"{_ABOUT}{key}")
        raise


def explain(error: BaseException, url: str) -> str:
    """What a failure means, and what to do about it; ``url`` is not shown."""
    text = said(error)
    key = next((note.removeprefix(_ABOUT) for note in getattr(error, "__notes__", ()) if note.startswith(_ABOUT)), "")
    if key and is_wrong_type(error):
        return f"the key {key} holds something else than it should; move it away ({text})"
    if key and refuses_key(error):
        return f"this user lacks a right to the key {key}: {text}; `tickbridge acl` prints those that are needed"
    for kind, meaning in _MEANINGS:
        if _caused_by(error, kind):
            # A server without TLS waits in silence for the rest of what it takes for a command.
            tls = issubclass(kind, _SILENT) and url.startswith("rediss")
            return meaning.format(text=text) + (" does the server speak TLS on this port?" if tls else "")
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
    """Whether a call that raised this may succeed in a moment: Redis is away, or takes no writes for now."""
    if refuses_client(error):
        return False
    return isinstance(error, AWAY) or (isinstance(error, exceptions.ResponseError) and said(error).startswith(_FULL))


def refuses_client(error: BaseException) -> bool:
    """Whether Redis doesn't let this client in: waiting would not help."""
    return isinstance(error, _OF_THE_CLIENT)


def refuses_key(error: BaseException) -> bool:
    """Whether Redis refuses a command for one key that it is about: the key holds something else, or may not be read."""
    # (redis-py cuts the word NOPERM off.)
    return isinstance(error, exceptions.NoPermissionError) or (
        isinstance(error, exceptions.ResponseError) and said(error).startswith(_OF_A_KEY)
    )


def is_wrong_type(error: BaseException) -> bool:
    """Whether a key holds something else than what it is taken for."""
    return isinstance(error, exceptions.ResponseError) and said(error).startswith("WRONGTYPE")


def _refuses_command(error: BaseException) -> bool:
    return isinstance(error, exceptions.ResponseError) and not is_passing(error)


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
