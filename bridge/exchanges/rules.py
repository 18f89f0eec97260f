"""What the connector holds an exchange's order books to, by a book of its own."""

from __future__ import annotations

from msgspec import Struct

__all__ = ["BookRules"]


class BookRules(Struct, frozen=True):
    """How a book is checked and mended; every exchange's deltas that name their predecessor are checked for that, too.

    Such an exchange's sessions only say what came. A book that breaks (a hole in the chain, best prices that cross, a
    frame that can't be understood, no snapshot in time) has a ``gap``, and is asked for again: over its connection
    (`Session.resync`), after ``attempts`` within a minute over a fresh one, and then ever more rarely.
    """

    attempts: int = 3
    patience: float = 30.0
    """Seconds that a snapshot may take."""
