"""Which streams and connectors have changed their state between two looks."""

from __future__ import annotations

from msgspec import Struct

from bridge.overview.look import Overview

__all__ = ["Change", "Changes"]

CONNECTOR = "connector"
"""What the name of a connector has where that of a stream has its channel."""


class Change(Struct, frozen=True):
    """A stream (exchange, pair or account, channel) or a connector (exchange, name, ``connector``) has a new state.

    ``was`` is empty if it is new.
    """

    name: tuple[str, str, str]
    state: str
    was: str

    def __str__(self) -> str:
        return f"{' '.join(self.name)}: {self.state}" + (f", was {self.was}" if self.was else "")


class Changes:
    """Compares each look with the one before; ``quiet``: the first look has no changes."""

    def __init__(self, *, quiet: bool = True) -> None:
        self._known: dict[tuple[str, str, str], str] = {}
        self._quiet = quiet

    def of(self, overview: Overview) -> list[Change]:
        """What has changed since the last call."""
        states = {(row.exchange, row.name, CONNECTOR): row.state for row in overview.connectors.values()}
        states |= {row.name: row.state for row in overview.streams.values()}
        before, self._known = self._known, states
        if self._quiet:
            self._quiet = False
            return []
        return [
            Change(name, state, before.get(name, "")) for name, state in states.items() if before.get(name) != state
        ]
