"""What a standby's topics would have written: the last events of each stream, until its connector may write."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from msgspec import Struct, field

from bridge.model import Control, ControlEvent, Event
from bridge.publish.stream import Stream

__all__ = ["Held", "Window"]

_LATE = 4_000_000_000
"""Nanoseconds by which an event may be later than the others without having been told again."""
_MOST_LATE = 60_000_000_000
"""Nanoseconds beyond which an event is not late: the exchange's clock is wrong, or a recording is played."""
_EVENT = 200
"""Bytes that a held event takes beside its texts."""
_TEXT = 56
"""Bytes that a text takes beside its characters."""


class Held(Struct):
    """What is held of a stream."""

    events: deque[Event] = field(default_factory=deque)
    """Oldest first; of a book only the control events, since its copy says the rest."""
    said: Control | None = None
    """The newest control event before them that says whether the stream is live."""
    live_since: int = 0
    """When the newest `live` was received (ns)."""
    last: Event | None = None
    """The newest data event before them."""
    received: int = 0
    """Data events that have come, those that are no longer held included."""
    bytes: int = 0
    """What the held events take."""
    begun: int = 0
    """When the stream was added (ns): what it had before is known."""

    @property
    def let_go(self) -> int:
        """When the newest data event before those that are held was received (ns)."""
        return self.last.recv if self.last else 0

    @property
    def seen(self) -> int:
        """Up to when (ns) what the stream got is known: to the newest data event, whether it is held still or not."""
        newest = next((event.recv for event in reversed(self.events) if not isinstance(event, Control)), self.let_go)
        return max(newest, self.begun)


class Window:
    """Holds events in the place of a publisher, ``max_bytes`` at most; the oldest give way."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.bytes = 0
        """What the held events take."""
        self._held: dict[Stream, Held] = {}
        self._order: deque[tuple[Stream, int]] = deque()
        """The stream and the bytes of each held event, oldest first."""

    def add(self, stream: Stream, now: int = 0) -> None:
        """Hold what comes for a stream from ``now`` (ns) on."""
        self._held[stream] = Held(begun=now)

    def give_up(self, stream: Stream) -> bool:
        """Hold nothing more of this stream; always done."""
        self.release(stream)
        return True

    def put(self, stream: Stream, event: Event) -> None:
        """Hold an event."""
        held = self._held[stream]
        if not isinstance(event, Control):
            held.received += 1
            if stream.is_book:
                return
        elif event.event is ControlEvent.LIVE:
            held.live_since = event.recv
        self._keep(stream, held, event)

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        """Hold a `lost` entry; a book's says nothing that its copy doesn't."""
        held = self._held[stream]
        held.received += count
        if not stream.is_book:
            self._keep(
                stream, held, Control(stream.subject, None, recv, stream.channel, ControlEvent.LOST, reason, count)
            )

    def holds(self, stream: Stream) -> bool:
        """Whether what comes for a stream is held here."""
        return stream in self._held

    def withheld(self, stream: Stream) -> int:
        """How many data events have come for a stream, since it was added."""
        held = self._held.get(stream)
        return held.received if held else 0

    @property
    def live_since(self) -> int:
        """When the stream that has been live for the shortest time became live (ns); 0: none has been."""
        return max((held.live_since for held in self._held.values()), default=0)

    def seen(self, stream: Stream) -> int:
        """Up to when (ns) what a stream got is known here; 0: that is not known.

        The newest event may have happened well before it was received: this process or its connection was slow.
        """
        held = self._held.get(stream)
        if held is None:
            return 0
        newest = held.events[-1] if held.events else None
        late = newest.recv - newest.ts if newest and newest.ts is not None else 0
        return held.seen - (late if 0 < late < _MOST_LATE else 0)

    def told_again(self, stream: Stream) -> int:
        """When the earliest of the held data events happened (ns) that came late; 0: none did.

        They came seconds later than the others, by the exchange's time: it has told them again, after a reconnect.
        """
        held = self._held.get(stream)
        lags = {event.ts: event.recv - event.ts for event in (held.events if held else ()) if event.ts is not None}
        usual = min(lags.values(), default=0)
        return min((ts for ts, lag in lags.items() if lag - usual > _LATE), default=0)

    def forget(self, before: int) -> None:
        """Let go of what was received before a moment (ns): the stream has it."""
        while self._order:
            held = self._held.get(self._order[0][0])
            if held and held.events[0].recv >= before:
                return
            self._let_go()

    def release(self, stream: Stream) -> Held:
        """Give a stream's events out, and hold nothing more of it."""
        held = self._held.pop(stream)
        self.bytes -= held.bytes
        return held

    def _keep(self, stream: Stream, held: Held, event: Event) -> None:
        texts: Sequence[str] = [str(getattr(event, name)) for name in event.WIRE]  # type: ignore[attr-defined]
        size = _EVENT + _TEXT * len(texts) + sum(map(len, texts))
        held.events.append(event)
        self._order.append((stream, size))
        held.bytes += size
        self.bytes += size
        while self.bytes > self._max_bytes:
            self._let_go()

    def _let_go(self) -> None:
        stream, size = self._order.popleft()
        held = self._held.get(stream)
        if held is None:
            return  # it was given out
        self.bytes -= size
        held.bytes -= size
        event = held.events.popleft()
        if not isinstance(event, Control):
            held.last = event
        elif event.event not in (ControlEvent.GAP, ControlEvent.LOST):
            held.said = event
