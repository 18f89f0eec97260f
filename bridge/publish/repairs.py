"""What a pipeline does while nothing flows, because Redis has refused something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import hiredis
from structlog.typing import FilteringBoundLogger

from bridge.publish.batch import Run, command_of, flat
from bridge.publish.blocking import BlockedStreams
from bridge.publish.connection import RedisConnection, Reply
from bridge.publish.fence import Fence, FenceState
from bridge.publish.ledger import Ledger
from bridge.publish.recovery import check, transact
from bridge.publish.sorting import RECONNECT, sort_out
from bridge.publish.transfer import DIVIDED, Mode, Outcome, Transfer, refused
from bridge.publish.upkeep import Upkeep

__all__ = ["Repairs"]

_FIRST_WAIT = 0.05


class Repairs:
    """Sorts out what became of a batch, and waits while Redis takes nothing."""

    def __init__(
        self,
        ledger: Ledger,
        blocked: BlockedStreams,
        upkeep: Upkeep,
        *,
        mode: Mode,
        backoff: Callable[[], Iterator[float]],
        log: FilteringBoundLogger,
    ) -> None:
        self._ledger = ledger
        self._blocked = blocked
        self._upkeep = upkeep
        self.mode = mode
        """How batches are sent."""
        self._backoff = backoff
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._waits: Iterator[float] | None = None

    @property
    def refused(self) -> bool:
        """Whether Redis has refused everything, and has taken nothing since."""
        return self._waits is not None

    def taken(self) -> None:
        """Redis takes entries."""
        self._waits = None

    async def sort_out(
        self, connection: RedisConnection, fence: Fence | None, transfer: Transfer, replies: list[Reply]
    ) -> list[str]:
        """See what became of a batch; returns why Redis takes nothing at the moment, if it doesn't.

        Raises:
            DisplacedError: another process has taken this one's place.
            ConnectionError: the connection broke; nothing is changed.
        """
        batch, outcome = transfer.batch, transfer.outcome(replies)
        if fence and check(connection, fence, replies[-1 - batch.asked]) is FenceState.MISSING:
            connection.abort("Redis has lost the fence")
            raise ConnectionError("Redis has lost the fence")
        if self.mode is Mode.BY_SLOT:
            await self._follow(connection, transfer, outcome)
        verdict = await sort_out(connection, batch.runs, outcome.entries, outcome.cause)
        self._upkeep.trimmed(batch.trims, outcome.trims, self._loop.time())
        self._ledger.apply(verdict, keep_ids=False)
        self._blocked.tried = None
        self._upkeep.written_by_others(verdict.foreign)
        for stream, (text, culprit) in verdict.blocked.items():
            self._blocked.block(stream, text, culprit)
        return verdict.server

    async def wait(self, connection: RedisConnection, fence: Fence | None, messages: list[str], waiting: int) -> None:
        """Redis takes nothing at the moment: a pause, longer each time. What there is to trim may be what makes room.

        Raises:
            DisplacedError: another process has taken this one's place.
            ConnectionError: the connection broke.
        """
        delay = next(self._waits) if self._waits else _FIRST_WAIT
        self._waits = self._waits or self._backoff()
        self._log.error("redis_refused", errors=messages, retry_in=round(delay, 2), waiting=waiting)
        if self._upkeep.trims and self.mode is Mode.ATOMIC:
            await self._make_room(connection, fence)
        await asyncio.wait([connection.lost], timeout=delay)
        if any(text.startswith(RECONNECT) for text in messages):
            connection.abort("the server can't take writes")

    async def _make_room(self, connection: RedisConnection, fence: Fence | None) -> None:
        """Trim what is due."""
        trims, self._upkeep.trims = self._upkeep.trims, []
        try:
            replies = await transact(connection, fence, [text for _, text in trims])
        except ConnectionError:
            for stream, _ in trims:
                stream.gone = None  # how much was trimmed isn't heard
            raise
        applied = [replies] * len(trims) if isinstance(replies, hiredis.ReplyError) else replies
        self._upkeep.trimmed(trims, applied, self._loop.time())

    async def _follow(self, connection: RedisConnection, transfer: Transfer, outcome: Outcome) -> None:
        """In a Cluster, where a slot is on the move: send again, and where Redis says, what no transaction can hold."""
        texts = [command_of(stream, entry) for stream, entry in flat(transfer.batch.runs)]
        texts += [text for _, text in transfer.batch.trims]
        replies = [*_with_their_streams(transfer.batch.runs, outcome.entries), *outcome.trims]
        divided = [index for index, reply in enumerate(replies) if reply is DIVIDED]
        answers = await connection.request([texts[index] for index in divided])
        for index, answer in zip(divided, answers, strict=True):
            replies[index] = answer
        replies = await connection.follow(texts, replies)
        entries = len(outcome.entries)
        outcome.entries, outcome.trims = replies[:entries], replies[entries:]


def _with_their_streams(runs: Sequence[Run], replies: Sequence[Reply]) -> list[Reply]:
    """Where an entry was answered with ``ASK``, all of its stream that wasn't applied is: it has to follow, in order."""
    pairs = [(stream, reply) for (stream, _), reply in zip(flat(runs), replies, strict=True)]
    asks = {stream: reply for stream, reply in pairs if refused(reply).startswith("ASK")}
    return [asks.get(stream) if reply is None else reply for stream, reply in pairs]
