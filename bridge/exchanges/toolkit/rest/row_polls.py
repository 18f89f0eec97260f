"""Polls whose answers are rows, each of them an event."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Flow, Poll, Subscription
from bridge.exchanges.toolkit.values.fields import Row
from bridge.exchanges.toolkit.values.row_lists import BAD_ROW, Read, read_rows
from bridge.model import Control, ControlEvent, Event

__all__ = ["row_poll"]


def row_poll(
    name: str,
    exchange: str,
    stream: Subscription,
    interval: float,
    *,
    ask: Callable[[int], Flow[list[Row]]],
    read: Callable[[int], Read],
) -> Poll:
    """A poll of one stream, where a bad row is a ``gap`` of it and harms no other row.

    Args:
        name: of the poll.
        exchange: its name, for errors.
        stream: what it feeds.
        interval: seconds between two polls.
        ask: the rows, at this time (ns).
        read: what a row of this time says.
    """

    def flow(now: int) -> Flow[Sequence[Event]]:
        rows = yield from ask(now)
        found, errors, _ = read_rows(exchange, rows, read(now))
        if errors and not found:
            raise RestError(exchange, name, 200, f"no row can be understood: {errors[0].message}")
        poll.rejects += errors
        gap = Control(stream.subject, None, now, stream.channel, ControlEvent.GAP, BAD_ROW)
        return [*found, gap] if errors else found

    poll = Poll(name, (stream,), interval, flow)
    return poll
