"""The states of a pipeline, and which may follow which."""

from __future__ import annotations

from enum import Enum

__all__ = ["State", "may_follow"]


class State(Enum):
    """Where a pipeline is."""

    AWAY = "away"
    """There is no connection: it is being made, or waited for."""
    RECOVERING = "recovering"
    """Connected; Redis is asked how far the streams are, and is brought up to date."""
    FLOWING = "flowing"
    """Batches go as entries come."""
    SORTING_OUT = "sorting out"
    """Something was refused, or changed by somebody else: Redis is asked what it has."""
    WAITING = "waiting"
    """Redis takes nothing at the moment, and says so: a pause before it is tried again."""
    STANDING_BY = "standing by"
    """This process may not write yet, or not now: entries are held."""
    DISPLACED = "displaced"
    """Another process writes in this one's place. This is the end."""

    def __str__(self) -> str:
        return self.value


_CONNECTED = {State.AWAY, State.DISPLACED}
_NEXT: dict[State, set[State]] = {
    State.AWAY: {State.RECOVERING, State.STANDING_BY, State.DISPLACED},
    State.RECOVERING: {State.FLOWING, State.STANDING_BY, *_CONNECTED},
    State.FLOWING: {State.SORTING_OUT, State.STANDING_BY, *_CONNECTED},
    State.SORTING_OUT: {State.FLOWING, State.WAITING, State.STANDING_BY, *_CONNECTED},
    State.WAITING: {State.FLOWING, State.STANDING_BY, *_CONNECTED},
    State.STANDING_BY: {State.FLOWING, State.SORTING_OUT, *_CONNECTED},
    State.DISPLACED: set(),
}


def may_follow(state: State, following: State) -> bool:
    """Whether a pipeline may go from one state to the other."""
    return following in _NEXT[state]
