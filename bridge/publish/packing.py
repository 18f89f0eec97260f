"""Gives a batch its numbers, and makes the commands of it."""

from __future__ import annotations

from bridge.publish.buffer import CONTROL, DATA, WIDE, Pending
from bridge.publish.recovery import Batch
from bridge.publish.stream import Stream, StreamId
from bridge.publish.wire import LENGTHS

__all__ = ["pack"]


def pack(entries: list[Pending], now_ms: int | None, sent: float, lead: int = 0) -> Batch:
    """Number the entries: an ``XADD`` for each, and behind them the trimming that is due at ``now_ms``.

    ``now_ms`` is Redis' time (``None``: unknown), ``sent`` the loop's; ``lead`` (ns) is what IDs have to be ahead of the
    times of receipt, which are by the steady clock.
    """
    commands: list[str] = []
    append = commands.append
    due: list[Stream] = []
    for entry in entries:
        stream = entry.stream
        ms = (entry.recv + lead) // 1_000_000
        if ms < stream.ms:  # noqa: PLR1730 - max() costs a call for every entry
            ms = stream.ms
        stream.ms = entry.ms = ms
        stream.seq = entry.seq = seq = stream.seq + 1
        ident = f"{ms}-{seq}"
        kind = entry.kind
        if kind == DATA:
            before = stream.data_head
        elif kind == CONTROL:
            before = stream.control_head
        elif kind == WIDE:
            before = stream.wide_head
        else:
            before = stream.data_head
            stream.snapshots.append(StreamId(ms, seq))
        append(f"{before}${LENGTHS[len(ident)]}\r\n{ident}\r\n{entry.body}")
        if seq >= stream.next_trim:
            due.append(stream)
    batch = Batch(entries, commands, sent)
    for stream in due:
        batch.add_trimming(stream, stream.trim(now_ms))
    return batch
