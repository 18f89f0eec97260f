"""Where two records of one feed continue each other: what a stream holds, and what another connector has received.

Both are parts of what the exchange sent, without a hole, and end at different places. What tells events apart divides them
into groups: each trade with an id is one; so are all trades without ids, in their order, and all states of one order. In
each group the records are laid over each other where they agree. What is received beyond the written continues the stream;
what is written beyond the received will come again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from itertools import islice

from msgspec import Struct, field

from bridge.model import Event

__all__ = ["MARGIN", "Identity", "Splice", "delay", "splice"]

Identity = Callable[[Event], tuple[Hashable, Hashable]]
"""The group of an event, and what tells it from others of the group."""
_SURE = 8
"""Events in a row that agree, after which the records agree, although they differ further back."""
MARGIN = 1_000_000_000
"""Nanoseconds by which the clocks and connections of two connectors may differ."""


class Splice(Struct):
    """How what was received continues what is written."""

    fresh: set[int] = field(default_factory=set)
    """Which of the received events are not written: their places."""
    ahead: list[Event] = field(default_factory=list)
    """Written events that are still to be received."""
    last: int = -1
    """The place of the last received event that is written; -1 if none is."""
    unclear: bool = False
    """Whether the records of some group differ, so that something may be missing."""


def delay(written: Sequence[Event], received: Sequence[Event], identity: Identity) -> tuple[int, int]:
    """By how much later (ns) the newest written events were received here; and when the first of the written ones was.

    Only events that each record has once are compared; 0 and 0 if there are none.
    """
    mine, theirs = _once(received, identity), _once(written, identity)
    both = sorted((theirs[what], recv) for what, recv in mine.items() if what in theirs)
    if not both:
        return 0, 0
    newest = sorted(recv - before for before, recv in both[-_SURE:])
    return newest[len(newest) // 2], min(recv for _, recv in both)


def _once(events: Sequence[Event], identity: Identity) -> dict[Hashable, int]:
    """When those were received of which there is one."""
    times: dict[Hashable, int] = {}
    again = set()
    for event in events:
        what = identity(event)
        if what in times:
            again.add(what)
        times[what] = event.recv
    return {what: recv for what, recv in times.items() if what not in again}


def splice(written: Sequence[Event], received: Sequence[Event], identity: Identity, since: int) -> Splice:
    """Lay two records over each other, oldest first; ``since`` (ns) is when what was received begins."""
    result = Splice()
    before: defaultdict[Hashable, list[Event]] = defaultdict(list)
    for event in written:
        before[identity(event)[0]].append(event)
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for place, event in enumerate(received):
        groups[identity(event)[0]].append(place)
    for group, places in groups.items():
        theirs = before.pop(group, [])
        mine = [received[place] for place in places]
        offset = _offset(theirs, mine, identity) if theirs else 0
        if offset is not None:
            common = max(len(theirs) - offset, 0)
            result.fresh.update(places[common:])
            result.last = max(result.last, *places[:common], -1)
            result.ahead += theirs[len(mine) + offset :]
        else:  # they differ: what was received later than all that is written is news
            newest = theirs[-1].recv
            known = _last_written(theirs[-1], mine, identity)
            result.fresh.update(place for place in places[known + 1 :] if received[place].recv > newest)
            result.last = max(result.last, *places[: known + 1], -1)
            result.unclear = result.unclear or newest > since + MARGIN
    result.ahead += [event for events in before.values() for event in events if event.recv > since + MARGIN]
    return result


def _last_written(newest: Event, received: Sequence[Event], identity: Identity) -> int:
    """Where the newest written event is among the received ones, by its content and time; -1 if it is not there."""
    what = identity(newest)
    alike = [
        place
        for place, event in enumerate(received)
        if identity(event) == what and abs(event.recv - newest.recv) <= MARGIN
    ]
    return min(alike, key=lambda place: abs(received[place].recv - newest.recv), default=-1)


def _offset(written: Sequence[Event], received: Sequence[Event], identity: Identity) -> int | None:
    """At which place of the written the received begins (negative: before its first); ``None`` where they don't meet."""
    mine, theirs = [identity(event)[1] for event in received], [identity(event)[1] for event in written]
    ends = [len(theirs) - 1 - place for place, content in enumerate(mine) if content == theirs[-1]]
    ends += [place - len(mine) + 1 for place, content in enumerate(theirs) if content == mine[-1]]
    found: list[tuple[int, int, bool]] = []
    """Length, offset, and whether the records agree wherever they overlap."""
    for offset in dict.fromkeys(ends):
        length, end = _agreeing(theirs, mine, offset)
        found.append((length, offset, end))
    whole = [candidate for candidate in found if candidate[2]]
    sure = whole or [candidate for candidate in found if candidate[0] >= _SURE]
    if not sure:
        return None
    longest = max(sure)[0]

    def apart(candidate: tuple[int, int, bool]) -> int:
        end = min(len(received), len(written) - candidate[1]) - 1
        return abs(received[end].recv - written[end + candidate[1]].recv)

    # Where many events are alike, several places fit: then they agree best where they came at the same time.
    return min((one for one in sure if 2 * one[0] >= longest), key=apart)[1]


def _agreeing(theirs: Sequence[Hashable], mine: Sequence[Hashable], offset: int) -> tuple[int, bool]:
    """How many events agree, from the last that overlap backwards; and whether all that overlap do."""
    end = min(len(mine), len(theirs) - offset)
    begin = max(0, -offset)
    pairs = zip(
        islice(reversed(mine), len(mine) - end, None),
        islice(reversed(theirs), len(theirs) - end - offset, None),
        strict=False,
    )
    length = 0
    for one, other in pairs:
        if one != other:
            return length, False
        length += 1
    return length, length == end - begin
