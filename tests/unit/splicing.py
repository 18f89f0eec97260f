"""A topic of a connector that stands by, and what it writes when it takes over."""

from __future__ import annotations

from typing import Any

from bridge.model import Channel, Control
from bridge.publish.stream import Retention, Stream
from bridge.sequencer import Topic, Window, succeed, topic_type

S = 1_000_000_000
START = 1_000 * S


class Sink:
    def __init__(self) -> None:
        self.entries: list[Any] = []

    def put(self, stream: Stream, event: Any) -> None:
        self.entries.append(event)

    def declare_lost(self, stream: Stream, recv: int, count: int, reason: str) -> None:
        self.entries.append(("lost", count))


class Standby:
    """A topic that puts its entries into a window, as a connector's that stands by."""

    def __init__(self, channel: Channel, *, most: int = 10_000_000) -> None:
        self.stream = Stream(f"md:{{x:A-B}}:{channel}", channel, "A-B", Retention(1_000, 1e6))
        self.window = Window(most)
        self.window.add(self.stream)
        self.topic: Topic = topic_type(channel)(self.stream, self.window, lambda *_: None)
        self.sink = Sink()

    def take(self, *events: Any) -> None:
        for event in events:
            self.topic.accept(event)

    def succeed(
        self, written: list[Any], *, alive: int, now: int, down: bool = False, reread: bool = False
    ) -> list[Any]:
        """What it writes, data as they are and control events by name."""
        held = self.window.release(self.stream)
        succeed(self.topic, self.sink, held, written, alive=alive, now=now, down=down, reread=reread)
        return self.said()

    def said(self) -> list[Any]:
        return [str(event.event) if isinstance(event, Control) else event for event in self.sink.entries]
