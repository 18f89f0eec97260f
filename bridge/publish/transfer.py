"""How a batch goes over the wire, and what its replies say of each command.

On one server a batch is a transaction: Redis takes all of it, or, if it refuses a single command (out of memory, no right,
an entry that is too large), nothing. So no later entry of a stream can be accepted behind a refused one, which would close
its place for good. In a Cluster a transaction works within one slot: there a batch is a plain pipeline, and a transaction
for each slot only while the server is refusing things.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from itertools import islice

import hiredis
from msgspec import Struct

from bridge.publish.batch import Batch, Run
from bridge.publish.connection import Reply
from bridge.publish.fence import Fence, FenceState
from bridge.publish.stream import Stream
from bridge.publish.wire import command

__all__ = ["Mode", "Outcome", "Transfer", "refused"]

MULTI, EXEC = command("MULTI"), command("EXEC")


class Mode(Enum):
    """Which commands of a batch stand or fall together."""

    ATOMIC = auto()
    """All of them."""
    BY_SLOT = auto()
    """Those of a hash slot."""
    PLAIN = auto()
    """Each one is on its own."""


class Outcome(Struct):
    """The replies of a batch, sorted: one for each entry, each trimming, each look.

    A reply of an entry or a trimming is ``None`` where the command was not applied, because another one of its transaction was
    refused, or because the fence has changed. ``cause`` then says why, where no command's own reply does.
    """

    entries: list[Reply]
    trims: list[Reply]
    looks: list[Reply]
    fence: FenceState = FenceState.OURS
    cause: str = ""


class Transfer(Struct):
    """A batch made ready for sending."""

    batch: Batch
    mode: Mode
    fence: Fence | None
    units: list[int]
    """How many commands each transaction has."""

    @classmethod
    def of(cls, batch: Batch, mode: Mode, fence: Fence | None) -> Transfer:
        """``fence`` must have been watched and read behind the last batch; it is again behind this one."""
        count = len(batch.commands)
        if mode is Mode.ATOMIC:
            units = [count] if count else []
        elif mode is Mode.BY_SLOT:
            units = _group_by_slot(batch)
        else:
            units = []
        return cls(batch, mode, fence, units)

    def texts(self) -> list[str]:
        """The commands in the order in which they are sent."""
        commands = self.batch.commands
        if self.units:
            rest = iter(commands)
            commands = [text for unit in self.units for text in (MULTI, *islice(rest, unit), EXEC)]
        return [*commands, *(self.fence.watch if self.fence else ()), *self.batch.questions]

    @property
    def expected(self) -> int:
        """How many replies come."""
        own = self.batch.entries + len(self.batch.trims)
        return own + 2 * len(self.units) + (2 if self.fence else 0) + self.batch.asked

    def all_taken(self, replies: Sequence[Reply]) -> bool:
        """Whether nothing was refused, without looking at each reply; what this can't tell it takes for a refusal."""
        if self.fence:
            at = len(replies) - self.batch.asked - 1
            if self.fence.judge(replies[at]) is not FenceState.OURS:
                return False
        if not self.units:
            own = replies[: self.batch.entries + len(self.batch.trims)]
            return hiredis.ReplyError not in set(map(type, own))
        if len(self.units) > 1:
            return False
        [count] = self.units
        results = replies[count + 1]
        complete = isinstance(results, list) and len(results) == count
        return complete and hiredis.ReplyError not in set(map(type, results))  # type: ignore[arg-type]

    def outcome(self, replies: Sequence[Reply]) -> Outcome:
        """What became of each command."""
        start = len(replies) - self.batch.asked
        asked = list(replies[start : start + len(self.batch.looks)])
        fence, cause = FenceState.OURS, ""
        if self.fence:
            fence = self.fence.judge(replies[start - 1])
        results: list[Reply] = []
        if not self.units:
            results = list(replies[: self.batch.entries + len(self.batch.trims)])
        start = 0
        for unit in self.units:
            queued, executed = replies[start + 1 : start + 1 + unit], replies[start + 1 + unit]
            if isinstance(executed, list):
                # What was refused and didn't end the transaction was refused by something in front of Redis.
                rest = iter(executed)
                results += [reply if isinstance(reply, hiredis.ReplyError) else next(rest, None) for reply in queued]
            else:
                refusals = [reply if isinstance(reply, hiredis.ReplyError) else None for reply in queued]
                if isinstance(executed, hiredis.ReplyError) and not any(refusals):
                    cause = str(executed)
                results += refusals
            start += unit + 2
        entries = self.batch.entries
        return Outcome(results[:entries], results[entries:], asked, fence, cause)


def refused(reply: Reply) -> str:
    """The text of a refusal, empty for any other reply."""
    return str(reply) if isinstance(reply, hiredis.ReplyError) else ""


def _group_by_slot(batch: Batch) -> list[int]:
    """Bring the commands of each slot together, and count them: the streams of a slot have their hash tag in common."""
    groups: dict[str, list[tuple[Run, list[str]]]] = {}
    rest = iter(batch.commands)
    for run in batch.runs:
        groups.setdefault(_tag(run[0]), []).append((run, list(islice(rest, len(run[1])))))
    batch.runs = [run for group in groups.values() for run, _ in group]
    entries = [[text for _, texts in group for text in texts] for group in groups.values()]
    trims = list(rest)
    batch.commands = [text for texts in entries for text in texts] + trims
    # Trimming is no part of them: it goes by itself.
    return [*map(len, entries), *(1 for _ in trims)]


def _tag(stream: Stream) -> str:
    return stream.key.partition("{")[2].partition("}")[0]
