"""REST as exchanges see it: what they ask, what they are answered, and conversations of both, without any I/O."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from math import inf
from typing import TypeVar

from msgspec import Struct, field

__all__ = ["Decaying", "Flow", "HttpRequest", "HttpResponse"]

T = TypeVar("T")


class HttpRequest(Struct, frozen=True):
    """A REST call; ``path`` is appended to the exchange's REST base.

    ``shown`` is the path without what must be seen nowhere, in errors and recordings: a signature or a token in its
    query. Empty: there is no such thing in it. ``weight`` is what it counts for in `Exchange.request_weight`; one
    of none waits for no other. ``base`` is where it goes, if that isn't the exchange's REST base: an exchange may have several hosts.
    """

    method: str
    path: str
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    shown: str = ""
    weight: int = 1
    base: str = ""

    @property
    def safe_path(self) -> str:
        """The path for errors, logs and recordings."""
        return self.shown or self.path


class HttpResponse(Struct, frozen=True):
    """The answer to an `HttpRequest`, received at ``recv`` (ns); header names in lower case."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    recv: int = 0


class Decaying(tuple[int, float]):
    """An `Exchange.request_weight` of an exchange that counts down evenly: all of the weight within these seconds."""

    __slots__ = ()

    def counted(self, spent: Sequence[tuple[float, float]], at: float) -> float:
        """What the exchange has counted at this time; ``spent`` says when which weight was spent, oldest first."""
        most, seconds = self
        count, last = 0.0, -inf
        for then, weight in [*spent, (at, 0)]:
            count = max(0.0, count - (then - last) * most / seconds) + weight
            last = then
        return count

    def full_until(self, spent: Sequence[tuple[float, float]], weight: float) -> float:
        """Until when there is no room for this weight after what was spent; zero if there is, whenever it comes."""
        most, seconds = self
        last = spent[-1][0] if spent else 0.0
        over = self.counted(spent, last) + min(weight, most) - most
        return last + over * seconds / most if over > 0 else 0.0


Flow = Generator[HttpRequest, HttpResponse, T]
"""A conversation over REST that ends in a ``T``; raises `RestError` where the exchange refuses."""
