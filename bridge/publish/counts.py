"""What becomes of each stream's events, counted: published, declared lost, waiting."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bridge.publish.buffer import CONTROL, Pending
from bridge.publish.stream import Stream

__all__ = ["backlog", "settle"]


def settle(entries: Sequence[Pending]) -> tuple[list[int], int]:
    """Count acknowledged entries for their streams; returns when the data among them came (ns), and the events declared lost."""
    received: list[int] = []
    append = received.append
    lost = 0
    for entry in entries:
        if entry.kind != CONTROL:
            append(entry.recv)
            entry.stream.published += 1
        elif entry.lost:
            lost += entry.lost
            entry.stream.lost[entry.loss] += entry.lost
    return received, lost


def backlog(entries: Sequence[Pending]) -> Counter[Stream]:
    """Per stream, the events that wait: those with an entry, and dropped ones whose `lost` entry is among these."""
    waiting = Counter([entry.stream for entry in entries if entry.kind != CONTROL])
    for entry in entries:
        if entry.lost:
            waiting[entry.stream] += entry.lost
    return waiting
