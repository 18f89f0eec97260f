"""One Redis node: a connection, the batch that is on its way, and a state.

One batch is on its way at a time, and all that comes meanwhile goes out in the next one. There is no timer: an idle pipeline
adds one round trip, a busy one makes large batches. An entry gets its ID when its batch is packed, and keeps it until Redis
has taken it, so Redis itself refuses what it already has.

The hot path (`flush`, `_settled`) runs in callbacks of the event loop, and only in the state `FLOWING`. All that waits for
anything runs in one task, which goes from state to state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

from structlog.typing import FilteringBoundLogger

from bridge.errors import DisplacedError, RedisUnavailableError
from bridge.publish.batch import Run
from bridge.publish.blocking import BlockedStreams
from bridge.publish.connection import RedisConnection, Reply
from bridge.publish.events import PublisherEvents, Totals
from bridge.publish.fence import Fence
from bridge.publish.ledger import Ledger
from bridge.publish.pressure import Pressure
from bridge.publish.queue import Queue
from bridge.publish.recovery import open_fence, recover
from bridge.publish.repairs import Repairs
from bridge.publish.sender import BatchSender, Findings
from bridge.publish.state import State, may_follow
from bridge.publish.stream import Stream
from bridge.publish.transfer import Mode, Transfer
from bridge.publish.upkeep import Upkeep
from bridge.redis.topology import Address

__all__ = ["RedisPipeline"]

_FRUITLESS = 16
"""Connections in a row that took nothing, after which there is a pause before the next one."""

Work = Callable[[RedisConnection], Coroutine[Any, Any, None]]


class RedisPipeline:
    """Publishes the streams of its queue to one node.

    ``mode`` is `Mode.ATOMIC` on one server, where ``fence`` guards every batch, and `Mode.BY_SLOT` in a Cluster.
    ``standing_by``: hold what is put until `may_write`.
    """

    def __init__(
        self,
        backoff: Callable[[], Iterator[float]],
        events: PublisherEvents,
        totals: Totals,
        pressure: Pressure,
        *,
        mode: Mode,
        fence: Fence | None,
        standing_by: bool,
        log: FilteringBoundLogger,
    ) -> None:
        self.connect: Callable[[], Awaitable[RedisConnection]]
        """Makes a connection; set before it runs."""
        self._backoff = backoff
        self._events = events
        self.pressure = pressure
        self._fence = fence
        self._log = log
        self._loop = asyncio.get_running_loop()
        self.queue = Queue()
        self.ledger = Ledger(self.queue, events, totals)
        self.blocked = BlockedStreams(self.queue, events, totals, log)
        self.upkeep = Upkeep(self.queue, events, log)
        self._repairs = Repairs(self.ledger, self.blocked, self.upkeep, mode=mode, backoff=backoff, log=log)
        self.sender = BatchSender(
            self.queue, self.ledger, self.blocked, self.upkeep, repairs=self._repairs, pressure=pressure
        )
        self.state = State.AWAY
        self.scheduled = False
        """Whether the loop is about to call `flush`."""
        self._may_write = asyncio.Event()
        if not standing_by:
            self._may_write.set()
        self._connection: RedisConnection | None = None
        self._recovering: RedisConnection | None = None
        """The one over which Redis is brought up to date, before anything flows."""
        self._work: asyncio.Future[Work] = self._loop.create_future()
        """What the task has to do before anything more can flow."""
        self._fault: asyncio.Future[None] = self._loop.create_future()
        self._emptied = False
        self._idle = asyncio.Event()

    # --- what others see, and tell it ----------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a connection, and Redis is up to date."""
        return self._connection is not None

    @property
    def waiting(self) -> int:
        """Entries that are not acknowledged."""
        return self.queue.waiting + self.sender.entries

    @property
    def busy(self) -> bool:
        """Whether anything is left that Redis would take."""
        return self.state is not State.DISPLACED and bool(self.queue or self.sender.entries)

    def stand_by(self) -> None:
        """Write nothing more until `may_write`; a batch that is on its way is still counted."""
        self._may_write.clear()
        if self.state is State.FLOWING:
            self._enter(State.STANDING_BY)
        if self._recovering:
            self._recovering.abort("this process may not write now")

    def may_write(self, fence: Fence | None) -> None:
        """This process may write, behind this fence."""
        changed, self._fence = fence != self._fence, fence
        self._may_write.set()
        if changed:
            self.reconnect("the fence is another one now")
        elif self._connection and self.state is State.STANDING_BY:
            self._enter(State.FLOWING)
            self.flush()

    def displace(self) -> None:
        """Another process has taken this one's place: write nothing more, ever."""
        if self.state is not State.DISPLACED:
            self._enter(State.DISPLACED)
        self.reconnect("another process has taken this one's place")
        self._idle.set()

    def renew(self, reason: str) -> None:
        """Connect again: the server seems to have been emptied, and is brought up to date then."""
        self._emptied = True
        self.reconnect(reason)

    def reconnect(self, reason: str) -> None:
        """Give the connection up, if there is one, and make another."""
        for connection in (self._connection, self._recovering):
            if connection:
                connection.abort(reason)

    def follow_master(self, address: Address) -> None:
        """The master is at this address now: give up a connection to another server."""
        for connection in (self._connection, self._recovering):
            if connection and connection.peer != address:
                connection.abort("the Sentinels name another master")

    async def drained(self) -> None:
        """Wait until all is acknowledged that Redis takes."""
        while self.busy:  # `_idle` only says that it may not be
            self._idle.clear()
            await self._idle.wait()

    def release(self, stream: Stream) -> list[Run]:
        """Give a stream away, with what waits of it; returns what Redis has acknowledged of it of late.

        Only while there is no connection. What was on its way gets the same IDs again, so that whatever has arrived is known.
        """
        assert self._connection is None
        self.sender.put_back(stream)
        self.ledger.write_off()
        self.queue.remove(stream)
        self.blocked.forget(stream)
        self._idle.set()
        return self.ledger.history.without(stream)

    def forget(self, stream: Stream) -> None:
        """Write a stream no more, of which nothing is on its way."""
        self.ledger.history.without(stream)
        self.queue.remove(stream)
        self.blocked.forget(stream)
        self.upkeep.forget(stream)
        self._idle.set()

    def adopt(self, stream: Stream, acknowledged: Sequence[Run]) -> None:
        """Take a stream from another node's pipeline; Redis is asked first how far it is."""
        self.ledger.history.add(acknowledged)
        self.queue.add(stream)
        self.reconnect("streams of another node have come to this one")

    def look_around(self, now: int, *, trials: bool) -> None:
        """Trim what is due, look at the streams, and, with ``trials``, whether blocked ones are taken; once a second, ``now`` by the steady clock (ns)."""
        if self.state is State.FLOWING:
            if trials:
                self.blocked.start_trials()
            self.upkeep.start_round(now)
            self.flush()

    # --- the hot path --------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send the next batch, if none is on its way."""
        self.scheduled = False
        connection = self._connection
        if self.state is State.FLOWING and self.sender.transfer is None and connection and not connection.lost.done():
            try:
                self.sender.send(connection, self._fence, self._settled)
            except Exception as error:  # noqa: BLE001 - whatever it is: in a callback it would vanish in the loop's log
                self._fail(error)

    def _settled(self, replies: list[Reply]) -> None:
        """The replies of the batch have come."""
        transfer = self.sender.transfer
        if transfer is None:
            return
        try:
            if not transfer.all_taken(replies):
                self._interrupt(partial(self._sort_out, transfer, replies))
                return
            if findings := self.sender.taken(replies):
                self._heed(findings)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
        if self.sender.more:
            self.flush()
        else:
            self._idle.set()

    def _heed(self, findings: Findings) -> None:
        """Somebody else has done something to streams."""
        if findings.refused:
            self._log.error("redis_refused", errors=findings.refused, waiting=self.waiting)
        if findings.emptied:
            self.renew("all streams have shrunk at once: Redis seems to have been emptied")
        elif findings.changed:
            self._interrupt(partial(self._examine, findings.changed))

    def _fail(self, error: Exception) -> None:
        if not self._fault.done():
            self._fault.set_exception(error)

    def _interrupt(self, work: Work) -> None:
        """Let nothing more flow until the task has done this."""
        if self.state is State.DISPLACED:
            return
        self._enter(State.SORTING_OUT)
        if not self._work.done():
            self._work.set_result(work)

    # --- from state to state -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep a connection, for as long as the task lives.

        Raises:
            ExceptionGroup: with what went wrong in it, in whatever part.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._drive(), name="publisher-connection")
            await self._fault

    async def _drive(self) -> None:
        """From connection to connection, until another process takes this one's place."""
        waits = self._backoff()
        while self.state is not State.DISPLACED:
            if not self._may_write.is_set():
                self._enter(State.STANDING_BY)
                await self._may_write.wait()
                self._enter(State.AWAY)
            try:
                connection = await self._open()
            except DisplacedError as error:
                self._displaced(error)
            except (RedisUnavailableError, ConnectionError) as error:
                if not self._allowed:
                    continue
                delay = next(waits)
                self._log.warning("redis_unavailable", error=str(error), retry_in=round(delay, 2), waiting=self.waiting)
                await asyncio.sleep(delay)
            else:
                # Only now: a server that lets one in and can't go on would otherwise be stormed.
                waits = waits if self.sender.fruitless >= _FRUITLESS else self._backoff()
                await self._serve(connection)
                if self.sender.fruitless >= _FRUITLESS:
                    await asyncio.sleep(next(waits))

    async def _open(self) -> RedisConnection:
        """Connect, make sure that this process may write, and bring Redis up to date.

        Raises:
            RedisUnavailableError: the connection can't be made.
            ConnectionError: it broke again, or the server refuses what it has forgotten.
            DisplacedError: another process has taken this one's place.
        """
        connection = await self.connect()
        try:
            if not self._allowed:
                raise ConnectionError("this process may not write now")  # noqa: TRY301
            self._enter(State.RECOVERING)
            await self.upkeep.ask_time(connection)
            self._recovering = connection
            if self._fence:
                await open_fence(connection, self._fence)
            await self._recover(connection)
        except BaseException:
            connection.abort("not usable")
            if self.state is State.RECOVERING:
                self._enter(State.AWAY)
            raise
        finally:
            self._recovering = None
        return connection

    async def _recover(self, connection: RedisConnection) -> None:
        """Send again what the server has forgotten, and see what became of what was on its way."""
        emptied, self._emptied = self._emptied, False
        try:
            found = await recover(
                connection,
                self.queue.streams,
                self.sender.in_doubt,
                self.ledger.history,
                fence=self._fence,
                missing=self.ledger.missing,
                emptied=emptied,
            )
        except BaseException:
            self._emptied = self._emptied or emptied
            raise
        self.sender.in_doubt = []
        if found.verdict:
            self.ledger.apply(found.verdict, keep_ids=True)
            self.upkeep.written_by_others(found.verdict.foreign)
        self.ledger.write_off()
        if found.resent:
            self._log.warning("redis_resent", entries=found.resent)

    async def _serve(self, connection: RedisConnection) -> None:
        """Let entries flow until the connection is lost."""
        self._connection = connection
        self._events.recovered()
        try:
            while True:
                self._work = self._loop.create_future()
                self._go_on()
                await asyncio.wait((self._work, connection.lost), return_when=asyncio.FIRST_COMPLETED)
                if connection.lost.done():
                    raise ConnectionError(connection.lost.result())  # noqa: TRY301 - as if a question had failed
                await self._work.result()(connection)
        except DisplacedError as error:
            self._displaced(error)
        except ConnectionError as error:
            if self.state is not State.DISPLACED:
                self._log.warning("redis_lost", reason=str(error), waiting=self.waiting)
                self._enter(State.AWAY)
        finally:
            self._lost(connection)

    def _go_on(self) -> None:
        if self.state is State.DISPLACED:
            raise ConnectionError("displaced")
        self._enter(State.FLOWING if self._may_write.is_set() else State.STANDING_BY)
        self.flush()
        self._idle.set()

    def _lost(self, connection: RedisConnection) -> None:
        """The connection is gone, and what was on its way is in doubt."""
        connection.abort("closed")
        self._connection = None
        self.sender.broke(timed_out=connection.timed_out)

    def _displaced(self, error: Exception) -> None:
        if self.state is not State.DISPLACED:
            self._enter(State.DISPLACED)
            self._log.error("displaced", reason=str(error), waiting=self.waiting)
            self._events.displaced(str(error))
        self._idle.set()

    @property
    def _allowed(self) -> bool:
        """Whether this process may write."""
        return self.state is not State.DISPLACED and self._may_write.is_set()

    def _enter(self, state: State) -> None:
        if state is not self.state:
            assert may_follow(self.state, state), f"from {self.state} to {state}"
            self._log.debug("pipeline_state", was=str(self.state), now=str(state))
            self.state = state

    # --- what is done while nothing flows ------------------------------------------------------------------------

    async def _sort_out(self, transfer: Transfer, replies: list[Reply], connection: RedisConnection) -> None:
        """Redis refused something of a batch, or the fence has changed."""
        messages = await self._repairs.sort_out(connection, self._fence, transfer, replies)
        self.sender.transfer = None
        if messages and self.state is State.SORTING_OUT:
            self._enter(State.WAITING)
            await self._repairs.wait(connection, self._fence, messages, self.waiting)

    async def _examine(self, changed: list[Stream], connection: RedisConnection) -> None:
        """Somebody else has changed streams: say so in each."""
        await self.upkeep.examine(connection, changed)
