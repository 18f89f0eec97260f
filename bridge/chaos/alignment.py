"""Lays the events of a stream over those of the exchange where neither has a name: by content and order."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Sequence

__all__ = ["align"]

_LOOK_AHEAD = 8
_MOST_CANDIDATES = 50


def align(mine: Sequence[Hashable | None], true: Sequence[Hashable]) -> list[int | None]:
    """For each of ``mine``, its place in ``true``, in ascending order; ``None`` where it has none.

    ``None`` in ``mine`` is a place at which events may be missing. Of several places that an event could have, it gets
    the one after which the next events agree best, the first of these.
    """
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place, key in enumerate(true):
        places[key].append(place)
    found: list[int | None] = []
    last = -1
    for at, key in enumerate(mine):
        if key is None:
            found.append(None)
            continue
        known = places.get(key, [])
        start = bisect_right(known, last)
        ahead = known[start : start + _MOST_CANDIDATES]
        if not ahead:
            found.append(None)
            continue
        last = ahead[0]
        # Where it goes on right after the one before, or has one place alone, there is nothing to choose.
        if len(ahead) > 1 and not (found and found[-1] is not None and last == found[-1] + 1):
            last = max(ahead, key=lambda place: _agreement(mine, at, true, place))
        found.append(last)
    return found


def _agreement(mine: Sequence[Hashable | None], at: int, true: Sequence[Hashable], place: int) -> int:
    """How many of the next events are the same, up to the next place at which some may be missing."""
    count = 0
    while (
        count < _LOOK_AHEAD
        and at + count < len(mine)
        and place + count < len(true)
        and mine[at + count] == true[place + count]
    ):
        count += 1
    return count
