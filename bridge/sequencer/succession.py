"""A topic whose connector stood by goes on with the stream that another connector has left."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from bridge.model import Control, ControlEvent, Event
from bridge.publish.stream import Stream
from bridge.sequencer.books import BookTopic
from bridge.sequencer.identified import is_history, oldest_kept
from bridge.sequencer.splice import MARGIN, Identity, Splice, delay, splice
from bridge.sequencer.topic import Sink, Topic
from bridge.sequencer.window import Held

__all__ = ["OVERLAP", "succeed"]

OVERLAP = 4_000_000_000
"""How much of a stream is laid over what was received (ns before its newest entry), so that they meet."""
_NO_STATE = (ControlEvent.GAP, ControlEvent.LOST)
"""Control events that don't say whether the stream is live."""
_CUT_OFF = "the connector was cut off, and its standby is not connected"
_UNCLEAR = "the connector was cut off, and its standby cannot know what is missing"
_NO_BOOK = "the connector was cut off, and its standby has no whole book"


def succeed(
    topic: Topic,
    sink: Sink,
    held: Held,
    written: Sequence[Event],
    *,
    alive: int,
    now: int,
    reread: bool = False,
    down: bool = False,
) -> bool:
    """Publish what the stream lacks, and go on from there.

    Args:
        topic: has put everything into the window so far.
        sink: takes the entries from now on.
        held: what the window has of the stream.
        written: the stream's newest events, those of the last `OVERLAP` at least, oldest first.
        alive: until when (ns) the other connector has written everything.
        now: the time (ns).
        reread: whether ``written`` goes further back, because the exchange has said again what happened before.
        down: whether the stream is known to be down, if ``written`` does not say so.

    Returns:
        Whether that is all; not if a book has to be asked for.
    """
    topic.sink = sink
    before: Sequence[Event] = ()
    seen = held.seen
    if reread:
        before, written = _apart(written, seen)
    ours = received = [event for event in written if not isinstance(event, Control)]
    of_before = [event for event in before if not isinstance(event, Control)]
    again = {topic.identity(event) for event in of_before}
    oldest = oldest_kept([*before, *written])
    data = [
        event
        for event in held.events
        if not (isinstance(event, Control) or topic.identity(event) in again or is_history(event, oldest))
    ]
    begun = held.let_go
    late, first = delay(ours, data, topic.identity) if topic.each_counts else (0, 0)
    if abs(late) > MARGIN:  # one of the connectors was slow: then the order tells more than the time
        ours = [structs.replace(event, recv=event.recv + late) for event in ours]
        alive += min(late, 0)
        begun = max(begun, first)
    newest = ours[-1].recv if ours else 0
    # What came long before the newest event that both have is written: both get events in the exchange's order.
    begun = max(begun, min(newest, seen or newest) - OVERLAP + 2 * MARGIN)
    tail = received if topic.each_counts else ()
    data = [event for event in data if event.recv >= begun or _is_since(event, tail, topic.identity)]
    found = splice(ours, data, topic.identity, begun)
    if topic.each_counts and found.last < 0:  # the standby's connection hangs, or is down, and will bring all since
        found.ahead = _to_come([*of_before, *ours], held, topic.identity)
    # Where the newest event says all, what the standby's connections have been through says nothing.
    cut = _cut(data, found, received, alive, topic.identity) if topic.each_counts else now
    said, later = _state_at(held, cut)
    live = said is not None and said.event is ControlEvent.LIVE
    stream_is_live = _is_live([*before, *written], down=down)
    out = _Out(topic, sink)
    if live and not stream_is_live:
        out.say(now, ControlEvent.LIVE)
    elif not live and (stream_is_live or not written):
        out.say(now, ControlEvent.DOWN, (said.reason if said else "") or topic.reason or _CUT_OFF)
    if isinstance(topic, BookTopic):
        # Of deltas there is no record: the copy has them all.
        topic.withheld += held.received
        return _go_on_with_book(topic, out, later, now)
    unseen = found.last < 0 and said is not None and said.recv > alive - MARGIN
    apart = found.last < 0 and bool(data) and data[0].recv <= newest
    gone = _is_gone(held.last, ours, newest, topic.identity)
    missing = topic.each_counts and (found.unclear or unseen or apart or gone)
    if live and stream_is_live and missing:
        out.say(now, ControlEvent.GAP, _UNCLEAR)
    topic.take_up([*before, *ours], found.ahead, now)
    topic.withheld += held.received - len(found.fresh)
    fresh = {id(data[place]) for place in found.fresh}
    due = {id(event) for event in later} | fresh
    for event in held.events:
        if id(event) in due:
            out.put(event)
    return True


def _cut(data: Sequence[Event], found: Splice, written: Sequence[Event], alive: int, identity: Identity) -> int:
    """From when on (ns) the stream has what the standby's connections have been through; ``written``: as the writer received it.

    While the writer lived it wrote everything, unless Redis has lost that: then the standby's own is all that there is. An
    event that both have may have been fetched by the standby long after the writer received it.
    """
    at = {identity(event): event.recv for event in written}
    common = max((min(event.recv, at[what]) for event in data if (what := identity(event)) in at), default=0)
    again = [data[place].recv for place in found.fresh if common < data[place].recv <= alive]
    return min(again) if again else max(alive, common)


def _is_gone(last: Event | None, written: Sequence[Event], newest: int, identity: Identity) -> bool:
    """Whether the newest event that was let go should be among the written ones, and is not: Redis has lost it.

    One that happened earlier, and was told again after a reconnect, may have been written before them.
    """
    if last is None or identity(last) in map(identity, written):
        return False
    happened = last.recv if last.ts is None else min(last.recv, last.ts)
    return last.recv > newest + MARGIN or happened > newest - OVERLAP + 2 * MARGIN


def _is_since(event: Event, written: Sequence[Event], identity: Identity) -> bool:
    """Whether an event with an id has happened since the first of the written ones: then it would be among them."""
    if not written or identity(event)[0] == ():
        return False
    return min(event.recv, event.recv if event.ts is None else event.ts) > written[0].recv + MARGIN


def _to_come(written: Sequence[Event], held: Held, identity: Identity) -> list[Event]:
    """What is written behind the last event that the standby has too; if it has none of them, what is since its newest.

    When it received them says little: a process that was frozen gets at once what came long before.
    """
    known = {identity(event) for event in held.events if not isinstance(event, Control)}
    both = (place for place in reversed(range(len(written))) if identity(written[place]) in known)
    last = next(both, None)
    if last is None:
        return [event for event in written if event.recv > held.seen - MARGIN]
    return list(written[last + 1 :])


def _apart(written: Sequence[Event], seen: int) -> tuple[Sequence[Event], Sequence[Event]]:
    """What a stream got before the last `OVERLAP` before its newest data, or before ``seen`` (ns), and what it got since."""
    newest = max((event.recv for event in written if not isinstance(event, Control)), default=0)
    newest = min(newest, seen or newest)
    place = next((place for place, event in enumerate(written) if event.recv >= newest - OVERLAP), 0)
    return written[:place], written[place:]


def _go_on_with_book(topic: BookTopic, out: _Out, later: Sequence[Control], now: int) -> bool:
    """A whole copy is published as a snapshot, so that nothing is missing; else the book is asked for."""
    for event in later:
        out.put(event)
    if not topic.live or topic.restore(now):
        return True
    out.say(now, ControlEvent.GAP, _NO_BOOK)
    topic.broken()
    return False


def _state_at(held: Held, cut: int) -> tuple[Control | None, list[Control]]:
    """The control event that said last, by a moment (ns), whether the stream is live; and those that come later."""
    said, later = held.said, []
    for event in held.events:
        if isinstance(event, Control):
            if event.recv > cut:
                later.append(event)
            elif event.event not in _NO_STATE:
                said = event
    return said, later


def _is_live(written: Sequence[Event], *, down: bool) -> bool:
    """Whether a stream says that it is live, by its newest events, oldest first.

    An account may have several connections, of which one is down: then its streams have data, and are not live.
    """
    for event in reversed(written):
        if isinstance(event, Control) and event.event not in _NO_STATE:
            return event.event is ControlEvent.LIVE
    return not down and any(not isinstance(event, Control) for event in written)


class _Out:
    """Writes entries that the topic has made already, or that are about it."""

    def __init__(self, topic: Topic, sink: Sink) -> None:
        self._topic = topic
        self._sink = sink
        self._stream: Stream = topic.stream

    def say(self, now: int, event: ControlEvent, reason: str = "") -> None:
        topic = self._topic
        self.put(Control(topic.subject, None, now, topic.channel, event, reason))

    def put(self, event: Event) -> None:
        if not isinstance(event, Control):
            self._sink.put(self._stream, event)
        elif event.event is ControlEvent.LOST:
            self._topic.withheld -= event.count or 0
            self._sink.declare_lost(self._stream, event.recv, event.count or 0, event.reason)
        else:
            self._topic.said, self._topic.reason = event.event, event.reason
            self._sink.put(self._stream, event)
