"""What processes behind one client address let each other know about the requests they send; here only its form."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

__all__ = ["FREE", "SharedBudget", "Turn"]


class Turn(Struct, frozen=True):
    """Whether a request may go.

    ``held`` is how long the exchange wants no request from anybody (seconds); ``full``, how long until there may be
    room in the budget. Zero in both: it may go, and is counted.
    """

    held: float = 0.0
    full: float = 0.0


FREE = Turn()


class SharedBudget(Protocol):
    """The part of a `RequestBudget` that other processes see. Where they can't be reached, each goes by its own count."""

    async def take(self, weight: int, limit: tuple[int, float] | None) -> Turn:
        """Count a request of this weight, if there is room; ``limit`` is a weight, and seconds that it is counted over."""

    async def refused(self, seconds: float) -> None:
        """The exchange wants no request for so long: nobody sends one, and then the whole budget is available again."""
