"""The batch that is on its way: taken from the queue, packed, sent, and accounted for when Redis has taken all of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from msgspec import Struct

from bridge.clock import CLOCK
from bridge.publish.batch import Run, pack
from bridge.publish.blocking import BlockedStreams
from bridge.publish.connection import RedisConnection, Reply
from bridge.publish.fence import Fence
from bridge.publish.ledger import Ledger
from bridge.publish.limit import BatchLimit
from bridge.publish.pressure import Pressure
from bridge.publish.queue import Queue
from bridge.publish.repairs import Repairs
from bridge.publish.stream import Stream, StreamId
from bridge.publish.transfer import Transfer
from bridge.publish.upkeep import Upkeep

__all__ = ["BatchSender", "Findings"]


class Findings(Struct):
    """What the looks of a batch have found."""

    changed: list[Stream]
    """Streams that aren't as long as we left them."""
    refused: list[str]
    """Another thing is in a stream's place, in words; such streams are blocked, and each is said once."""
    emptied: bool


class BatchSender:
    """Sends one batch at a time; the hot path of a pipeline, whose parts it shares."""

    def __init__(
        self,
        queue: Queue,
        ledger: Ledger,
        blocked: BlockedStreams,
        upkeep: Upkeep,
        *,
        repairs: Repairs,
        pressure: Pressure,
    ) -> None:
        self._queue = queue
        self._ledger = ledger
        self._blocked = blocked
        self._upkeep = upkeep
        self._repairs = repairs
        self._pressure = pressure
        self._loop = asyncio.get_running_loop()
        self._limit = BatchLimit()
        self.transfer: Transfer | None = None
        """What is on its way."""
        self.in_doubt: list[Run] = []
        """What was on its way when the connection broke."""
        self.fruitless = 0
        """Connections in a row that broke before Redis had taken anything."""

    @property
    def entries(self) -> int:
        """Entries that are on their way, or were when the connection broke."""
        return self.transfer.batch.entries if self.transfer else sum(len(entries) for _, entries, _ in self.in_doubt)

    @property
    def more(self) -> bool:
        """Whether there is anything to send."""
        return bool(self._queue) or self._blocked.due

    @property
    def pressing_bytes(self) -> int:
        """What the entries that Redis could take count for in the budget."""
        return self._queue.pressing_bytes + (self.transfer.batch.bytes if self.transfer else 0)

    def send(self, connection: RedisConnection, fence: Fence | None, done: Callable[[list[Reply]], None]) -> None:
        """Send the next batch, if there is anything to send; ``done`` gets the replies."""
        limit, upkeep = self._limit, self._upkeep
        most = 1 if self._repairs.refused else limit.entries  # one alone shows whether Redis takes anything again
        runs = self._blocked.next_trial(most, limit.bytes) if self._blocked.due else []
        runs = runs or self._queue.take(most, limit.bytes)
        if not (runs or upkeep.due):
            return
        now = CLOCK.now()
        batch = pack(runs, upkeep.clock.milliseconds(now), upkeep.clock.lead(CLOCK.shift))
        if upkeep.due or batch.trims:
            upkeep.add_to(batch, self._loop.time(), now)
        transfer = self.transfer = Transfer.of(batch, self._repairs.mode, fence)
        payload = "".join(transfer.texts()).encode("latin-1")
        batch.commands.clear()
        connection.send(payload, transfer.expected, done, queued=transfer.queued)

    def taken(self, replies: list[Reply]) -> Findings | None:
        """Redis has taken all of the batch; returns what its looks have found, if they found anything."""
        transfer = self.transfer
        assert transfer is not None
        self.transfer = None
        batch = transfer.batch
        self._limit.passed()
        if batch.entries:
            self._ledger.acknowledge(batch.runs)
            self.fruitless = 0
            self._repairs.taken()
            if self._blocked.tried:
                self._blocked.accepted()
            if self._pressure.engaged:
                self._pressure.eased(self.pressing_bytes)
        if batch.asked_time:
            self._upkeep.clock.told(replies[-1], batch.asked_time, CLOCK.now())
        return self._compare(transfer, replies) if batch.looks or batch.trims else None

    def broke(self, *, timed_out: bool) -> None:
        """The connection broke: what was on its way is in doubt.

        ``timed_out``: we have broken it off, so it was no entry at which the server hung up.
        """
        transfer, self.transfer = self.transfer, None
        if transfer is None:
            return
        batch = transfer.batch
        if batch.entries:
            self.fruitless += 1
            self._limit.broke(batch.entries, batch.bytes)
            self._blocked.broke([] if timed_out else batch.runs)
        self.in_doubt += batch.runs
        for stream, _ in batch.trims:
            stream.gone = None  # how much was trimmed isn't heard

    def put_back(self, stream: Stream) -> None:
        """What is in doubt of this stream waits again, and gets the same IDs, so that what has arrived is known by them."""
        mine = [run for run in self.in_doubt if run[0] is stream]
        if mine:
            first = mine[0][1][0]
            stream.set_back(StreamId(first.ms, first.seq - 1))
            self.in_doubt = [run for run in self.in_doubt if run[0] is not stream]
            self._queue.put_back(mine)

    def _compare(self, transfer: Transfer, replies: list[Reply]) -> Findings | None:
        outcome, looks, watch = transfer.outcome(replies), transfer.batch.looks, self._upkeep.watch
        self._upkeep.trimmed(transfer.batch.trims, outcome.trims, self._loop.time())
        findings = Findings([], [], watch.flushed(looks, outcome.looks, self._loop.time()))
        for stream, refusal in watch.judge(looks, outcome.looks):
            if not refusal:
                findings.changed.append(stream)
                continue
            if watch.is_news(stream):
                findings.refused.append(f"{stream.key}: {refusal}")
            self._queue.block(stream, refusal)
        return findings if findings.changed or findings.refused or findings.emptied else None
