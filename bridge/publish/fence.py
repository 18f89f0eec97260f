"""The fence around a publisher's writes: a key that holds the token of the process that may write.

Only a takeover changes the key. A connection watches it, reads it, and sends its next batch as one transaction:

    WATCH fence      GET fence                          once, when the connection is made
    MULTI  XADD …  EXEC      WATCH fence  GET fence     each batch, in one write

The reply to the ``GET`` that travels *behind* a batch decides whether the next batch may be sent at all. If the key changes
after that ``GET`` was answered, Redis itself refuses the next ``EXEC`` (its reply is nil), and nothing of the batch is
applied. ``WATCH`` in front of its own ``MULTI`` would guard nothing: the client would have committed itself to the batch
before it had seen the token.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import cached_property

import hiredis
from msgspec import Struct

from bridge.publish.wire import command
from bridge.redis.tokens import epoch_of

__all__ = ["Fence", "FenceState"]


class FenceState(Enum):
    """What the fence key says of a writer."""

    OURS = auto()
    """It holds our token: the next batch may be sent."""
    FOREIGN = auto()
    """It holds another token: another process has taken over, and we write nothing more."""
    MISSING = auto()
    """Redis has lost it: it doesn't exist, or holds an older token, as after a failover to a replica that lagged behind.

    It may be set again, as long as nobody else has (`Fence.restore`).
    """
    UNREADABLE = auto()
    """Redis refused the question, or the key is of another type."""


class Fence(Struct, frozen=True, dict=True):
    """The fence of one connector: the key, and the token that it holds as long as this process may write.

    In a Cluster there is none: a transaction works within one slot.
    """

    key: str
    token: str
    connector: str
    """The connector's name, for messages."""

    @cached_property
    def watch(self) -> list[str]:
        """``WATCH`` and ``GET``, rendered: two commands, two replies. They go with every batch, and are never changed."""
        return [command("WATCH", self.key), command("GET", self.key)]

    @cached_property
    def _ours(self) -> bytes:
        return self.token.encode()

    @property
    def restore(self) -> list[str]:
        """Put the token back; to be sent after a ``WATCH`` and a ``GET`` that found nothing, which makes it atomic."""
        return [command("MULTI"), command("SET", self.key, self.token), command("EXEC")]

    def judge(self, reply: object) -> FenceState:
        """What the reply to ``GET`` means."""
        if reply == self._ours:
            return FenceState.OURS
        if isinstance(reply, hiredis.ReplyError):
            return FenceState.UNREADABLE
        found = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
        return FenceState.FOREIGN if epoch_of(found) >= epoch_of(self.token) else FenceState.MISSING
