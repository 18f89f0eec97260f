"""What a connector's report asks of a standby, and what does not work in a connector that is ready, for ``/readyz``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from bridge.feed.supervisor import FeedSupervisor
from bridge.sequencer import BookTopic, Topic, Window

__all__ = ["NOT_SETTLED", "Waiting", "degraded", "unusable"]

NOT_SETTLED = "the standby has just connected: a takeover now might leave gaps"
_MAX_NAMED = 10
_MAX_LINES = 20


class Waiting(Protocol):
    """A connector that stands by for another process."""

    window: Window
    looked: float
    """When it last saw the writer's heartbeat change, on the monotonic clock."""
    writer: str
    waits: bool

    @property
    def settled(self) -> bool:
        """Whether it has been connected for long enough to continue the streams without a gap."""


def unusable(topics: Collection[Topic]) -> list[str]:
    """Why no stream can be written; empty if one can."""
    found = []
    if topics and all(topic.stream.blocked for topic in topics):
        found.append(f"Redis refuses every stream: {next(iter(topics)).stream.blocked}")
    if topics and not any(topic.live for topic in topics):
        found.append("no subscription is live")
    return found


def degraded(supervisors: Sequence[FeedSupervisor], topics: Iterable[Topic], buffered: float) -> list[str]:
    """A line for each connection that is not up, and for each reason why streams are not live, with the streams.

    ``buffered`` is the fraction (0 to 1) of the buffer that is in use.
    """
    lines = [f"connection {supervisor.plan.name} is down" for supervisor in supervisors if not supervisor.up]
    lines += [
        f"connection {supervisor.plan.name}: not every subscription is confirmed"
        for supervisor in supervisors
        if supervisor.up and not supervisor.serving
    ]
    causes: defaultdict[str, list[str]] = defaultdict(list)
    for topic in topics:
        cause = _cause(topic)
        if cause:
            causes[cause].append(f"{topic.channel} of {topic.subject}")
    lines += [f"{cause}: {_few(streams)}" for cause, streams in causes.items()]
    if buffered > 0.5:
        lines.append(f"Redis: the buffer is {buffered:.0%} full")
    return lines if len(lines) <= _MAX_LINES else [*lines[:_MAX_LINES], f"and {len(lines) - _MAX_LINES} more"]


def _cause(topic: Topic) -> str:
    if topic.stream.blocked:
        return f"Redis refuses the stream ({topic.stream.blocked})"
    if not topic.live:
        if not topic.said:
            return "not subscribed yet"
        return f"{topic.state} ({topic.reason})" if topic.reason else str(topic.state)
    if isinstance(topic, BookTopic) and topic.awaiting:
        return f"waiting for a snapshot ({topic.reason})" if topic.reason else "waiting for a snapshot"
    return ""


def _few(names: Sequence[str]) -> str:
    left = len(names) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {left} more" if left > 0 else "")
