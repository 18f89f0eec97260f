"""What of a connector doesn't work as it should, in words that name it: for ``/readyz``, where a connector is ready all the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bridge.feed.link import Link
from bridge.sequencer import BookTopic, Topic

__all__ = ["degraded"]

_MOST_NAMED = 10
_MOST_LINES = 20


def degraded(links: Sequence[Link], topics: Iterable[Topic], buffered: float) -> list[str]:
    """A line for each connection that isn't up, and for each cause that keeps streams from being live, with the streams.

    ``buffered`` is the share (0 to 1) of the buffer that is taken by what waits for Redis.
    """
    lines = [f"connection {link.plan.name} is down" for link in links if not link.up]
    lines += [
        f"connection {link.plan.name}: not every subscription is confirmed"
        for link in links
        if link.up and not link.serving
    ]
    causes: defaultdict[str, list[str]] = defaultdict(list)
    for topic in topics:
        cause = _cause(topic)
        if cause:
            causes[cause].append(f"{topic.channel} of {topic.subject}")
    lines += [f"{cause}: {_few(streams)}" for cause, streams in causes.items()]
    if buffered > 0.5:
        lines.append(f"Redis: the buffer of what waits is {buffered:.0%} full")
    return lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more"]


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
    left = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {left} more" if left > 0 else "")
