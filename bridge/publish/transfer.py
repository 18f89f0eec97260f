"""How a batch goes over the wire, and what its replies say of each command.

On one server a batch is a transaction: Redis takes all of it, or, if it refuses a single command (out of memory, no right,
an entry that is too large), nothing. So no later entry of a stream can be accepted behind a refused one, which would close
its place for good. In a Cluster a transaction works within one slot: there a batch has one for each slot of which a stream
has several entries. An entry that is its stream's only one in the batch goes by itself, and so does trimming.
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
from bridge.publish.wire import command

__all__ = ["DIVIDED", "Mode", "Outcome", "Transfer", "refused"]

DIVIDED = hiredis.ReplyError("TRYAGAIN")
"""Stands for the reply of each command of a transaction whose slot is on the move: each is to be sent by itself."""
_MOVING = ("ASK", "TRYAGAIN")
"""What ``EXEC`` is answered then, if the commands were queued."""
MULTI, EXEC = command("MULTI"), command("EXEC")


class Mode(Enum):
    """Which commands of a batch stand or fall together."""

    ATOMIC = auto()
    """All of them."""
    BY_SLOT = auto()
    """At least the entries of each stream."""


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
    """A batch made ready for sending: entries that go by themselves, transactions, and (`Mode.BY_SLOT`) the trimming."""

    batch: Batch
    mode: Mode
    fence: Fence | None
    alone: int
    """How many entries go by themselves."""
    units: list[int]
    """How many commands each transaction has."""

    @classmethod
    def of(cls, batch: Batch, mode: Mode, fence: Fence | None) -> Transfer:
        """``fence`` must have been watched and read behind the last batch; it is again behind this one."""
        if mode is Mode.BY_SLOT:
            return cls(batch, mode, fence, *_group_by_slot(batch))
        count = len(batch.commands)
        return cls(batch, mode, fence, 0, [count] if count else [])

    def texts(self) -> list[str]:
        """The commands in the order in which they are sent."""
        texts = self.batch.commands
        if self.mode is Mode.ATOMIC:
            if texts:
                texts = [MULTI, *texts, EXEC]
        elif self.units:
            rest = iter(texts)
            alone = islice(rest, self.alone)
            units = (text for unit in self.units for text in (MULTI, *islice(rest, unit), EXEC))
            texts = [*alone, *units, *rest]
        if self.fence:
            texts = [*texts, *self.fence.watch]
        return [*texts, *self.batch.questions] if self.batch.asked else texts

    @property
    def expected(self) -> int:
        """How many replies come."""
        own = self.batch.entries + len(self.batch.trims)
        return own + 2 * len(self.units) + (2 if self.fence else 0) + self.batch.asked

    @property
    def queued(self) -> int:
        """With how many commands the transaction begins that is sent first; 0 if none is."""
        return self.units[0] if self.units and not self.alone else 0

    def all_taken(self, replies: Sequence[Reply]) -> bool:
        """Whether nothing was refused, without looking at each reply; what this can't tell it takes for a refusal."""
        end = self._end(replies)
        if self.fence and self.fence.judge(replies[end + 1]) is not FenceState.OURS:
            return False
        start = self.alone
        if start and not _all_accepted(replies[:start]):
            return False
        for unit in self.units:
            results = replies[start + unit + 1]
            if not (isinstance(results, list) and len(results) == unit and _all_accepted(results)):
                return False
            start += unit + 2
        return start == end or _all_accepted(replies[start:end])

    def _end(self, replies: Sequence[Reply]) -> int:
        """Where the replies to entries and trimming end: the fence's follow, and those to the questions."""
        return len(replies) - self.batch.asked - (2 if self.fence else 0)

    def outcome(self, replies: Sequence[Reply]) -> Outcome:
        """What became of each command."""
        end = self._end(replies)
        behind = len(replies) - self.batch.asked
        looks = list(replies[behind : behind + len(self.batch.looks)])
        fence = self.fence.judge(replies[end + 1]) if self.fence else FenceState.OURS
        cause = ""
        start = self.alone
        results = list(replies[:start])
        for unit in self.units:
            queued, executed = replies[start + 1 : start + 1 + unit], replies[start + 1 + unit]
            if isinstance(executed, list):
                # What was refused and didn't end the transaction was refused by something in front of Redis.
                rest = iter(executed)
                results += [reply if isinstance(reply, hiredis.ReplyError) else next(rest, None) for reply in queued]
            else:
                refusals = [reply if isinstance(reply, hiredis.ReplyError) else None for reply in queued]
                if isinstance(executed, hiredis.ReplyError) and not any(refusals):
                    if refused(executed).startswith(_MOVING):
                        refusals = [DIVIDED] * unit
                    else:
                        cause = str(executed)
                results += refusals
            start += unit + 2
        results += replies[start:end]
        entries = self.batch.entries
        return Outcome(results[:entries], results[entries:], looks, fence, cause)


def refused(reply: Reply) -> str:
    """The text of a refusal, empty for any other reply."""
    return str(reply) if isinstance(reply, hiredis.ReplyError) else ""


def _all_accepted(replies: Sequence[Reply]) -> bool:
    return hiredis.ReplyError not in set(map(type, replies))


def _group_by_slot(batch: Batch) -> tuple[int, list[int]]:
    """Bring the entries of each slot together; returns how many go by themselves, first, and how many each transaction has."""
    if batch.entries == len({run[0] for run in batch.runs}):
        return batch.entries, []
    groups: dict[str, list[tuple[Run, list[str]]]] = {}
    commands = iter(batch.commands)
    for run in batch.runs:
        groups.setdefault(run[0].tag, []).append((run, list(islice(commands, len(run[1])))))
    alone: list[tuple[Run, list[str]]] = []
    together: list[tuple[Run, list[str]]] = []
    units = []
    for group in groups.values():
        entries = sum([len(texts) for _, texts in group])
        if entries == len({run[0] for run, _ in group}):
            alone += group
        else:
            together += group
            units.append(entries)
    ordered = alone + together
    batch.runs = [run for run, _ in ordered]
    batch.commands = [text for _, texts in ordered for text in texts] + list(commands)
    return batch.entries - sum(units), units
