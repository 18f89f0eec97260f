"""A connector's right to write: renewed by heartbeats, and the publisher sends only while it is held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from structlog.typing import FilteringBoundLogger

from bridge.config import HeartbeatSettings
from bridge.errors import AlreadyRunningError, DisplacedError
from bridge.feed.exclusive import ExclusiveAccess
from bridge.observe.report import Report
from bridge.publish.fence import Fence
from bridge.redis.errors import FAILURES
from bridge.redis.holding import LeaseState
from bridge.redis.presence import Presence

__all__ = ["Leaseholder"]


_TAKEN_WITHIN = 2.0
"""Seconds that a process which stands by may take to have the lease."""
_PASSED_ON = "the exchange allows the account one connection, which another process takes over"
_NOT_RENEWED = (
    "the exchange allows the account one connection, and a standby may have taken it over while Redis was away"
)


class _Publisher(Protocol):
    def stand_by(self) -> None: ...

    def may_write(self, fence: Fence | None = None) -> None: ...

    def renew(self, reason: str) -> None: ...

    async def drained(self) -> None: ...


class Leaseholder:
    """Keeps one connector's lease, and what it shows of itself.

    ``failed`` hears of what the connector can't go on after; the ``publisher`` is one that stands by. ``access`` is to the
    connections that only the writer may have. ``has_standby``: whether another process may be standing by.
    """

    def __init__(
        self,
        presence: Presence,
        publisher: _Publisher,
        report: Report,
        beats: HeartbeatSettings,
        failed: Callable[[BaseException], None],
        *,
        access: ExclusiveAccess,
        log: FilteringBoundLogger,
        has_standby: bool = False,
    ) -> None:
        self.has_standby = has_standby
        """Whether another process may be standing by."""
        self._presence = presence
        self._publisher = publisher
        self._report = report
        self._beats = beats
        self._failed = failed
        self._access = access
        self._log = log
        self._looking: asyncio.Task[None] | None = None
        self._beating = asyncio.Lock()
        self.wanted = asyncio.Event()
        """A process that stands by is to have the lease."""
        self.displaced = asyncio.Event()
        """Another process has taken this one's place: nothing is written any more, not even that it ends."""
        presence.lease.holding.changed = self._changed

    def suspect(self, reason: str) -> None:
        """A connection to Redis has found that another process writes these streams now: look who, and end."""
        self._log.debug("fence_changed", reason=reason)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._presence.lease.assure(), name="lease-look")
            self._looking.add_done_callback(self._looked)

    @asynccontextmanager
    async def kept(self, fields: Mapping[str, Any]) -> AsyncIterator[None]:
        """Renew the lease, if it is held, while streams are opened: that takes long where an account has many orders."""
        keeping = asyncio.create_task(self._keep(fields), name="claim")
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def _keep(self, fields: Mapping[str, Any]) -> None:
        while self._presence.lease.holding.state is not LeaseState.FREE:
            await asyncio.sleep(self._beats.interval)
            try:
                await self._presence.beat(fields)
            except FAILURES as error:
                self._log.debug("heartbeat_failed", error=str(error))
            except AlreadyRunningError as error:
                self._failed(error)
                return

    async def run(self, before: Callable[[], None]) -> None:
        """Heartbeat and catalog at the configured interval, for as long as the task lives; ``before`` each, a call.

        Raises:
            DisplacedError: another process has taken this one's place.
        """
        while True:
            before()
            try:
                async with self._beating:
                    passed_on = self._presence.lease.holding.state is LeaseState.FREE
                    if not passed_on:
                        await self._presence.beat(self._report.heartbeat())
                if passed_on:
                    await asyncio.Event().wait()  # the connector ends
                if self.has_standby:
                    await self._look_at_standby()
                # The catalog may be with another node, which must not cost the heartbeat its life when it hangs.
                async with asyncio.timeout(self._beats.ttl / 2):
                    forgotten = await self.show()
                if forgotten:
                    self._publisher.renew("Redis has forgotten the catalog")
                self._report.beaten()
            except FAILURES as error:
                self._report.beaten(error)
                self._log.debug("heartbeat_failed", error=str(error))
            await asyncio.sleep(self._beats.interval)

    def took_over(self, pause: float) -> None:
        """This process writes in another one's place, which had written nothing for so many seconds."""
        self._report.takeovers.took_over(pause)

    async def _look_at_standby(self) -> None:
        shown = await self._presence.standby()
        self._report.takeovers.standby_ready = self._presence.is_ready(shown)
        if self._presence.is_wanted(shown):
            self.wanted.set()

    async def pass_on(self, patience: float) -> bool:
        """Let the process that stands by have the lease, once all is written; whether this process has given it away.

        If nobody takes it, this process takes it again. Where Redis fails in between, it is nobody's: this process has no
        right to write, and has to begin again as any other.
        """
        if not self.has_standby or self._presence.lease.holding.state is not LeaseState.HELD:
            return False
        try:
            async with asyncio.timeout(patience):
                await self._beating.acquire()  # no heartbeat may follow
        except TimeoutError:
            return False
        passed_on = False
        try:
            passed_on = await self._pass_on(patience)
            return passed_on
        finally:
            self._beating.release()
            if not passed_on:
                self._access.allow(_PASSED_ON)

    async def _pass_on(self, patience: float) -> bool:
        presence, lease = self._presence, self._presence.lease
        try:
            async with asyncio.timeout(patience):
                if not presence.is_ready(await presence.standby()):
                    return False
                self._access.withhold(_PASSED_ON)
                await self._access.closed()  # before the other process opens its own
                await self._publisher.drained()
        except (TimeoutError, *FAILURES):
            return False
        self._publisher.stand_by()
        try:
            async with asyncio.timeout(patience):
                await presence.leave()
                if await presence.has_successor(_TAKEN_WITHIN):
                    self._log.info("handed_over")
                    return True
                await presence.claim(
                    [topic.stream.key for topic in self._report.topics.values()], self._report.heartbeat()
                )
        except AlreadyRunningError:
            return True  # it was late
        except (TimeoutError, *FAILURES) as error:
            self._log.warning("not_handed_over", error=str(error) or "no answer in time")
        if lease.holding.state is LeaseState.HELD:
            self._publisher.may_write(Fence(lease.key, lease.token, lease.name))
        return lease.holding.state is LeaseState.FREE

    async def show(self) -> bool:
        """Write what has changed of the catalog, if the lease is held; whether Redis had forgotten it."""
        if self._presence.lease.holding.state is LeaseState.FREE:
            return False
        forgotten = await self._presence.show(self._report.catalog())
        self._report.shown()
        return forgotten

    def _changed(self, before: LeaseState, after: LeaseState) -> None:
        """Entries go out while the lease is held, and at no other time."""
        lease = self._presence.lease
        self._report.takeovers.writes = after is LeaseState.HELD
        if after is LeaseState.HELD:
            self._access.allow(_NOT_RENEWED)
            self._publisher.may_write(Fence(lease.key, lease.token, lease.name))
        elif after is LeaseState.LAPSED and self._report.takeovers.standby_ready:
            # The two would end each other's connection by turns, for as long as this process cannot see who writes.
            self._access.withhold(_NOT_RENEWED)
        if after is LeaseState.LOST or (after is LeaseState.LAPSED and not lease.ends_connections):
            # In a Cluster the node that has the heartbeat may be away alone: nobody can take the lease without it, and
            # whoever takes it later ends all connections first.
            self._publisher.stand_by()
        if after is LeaseState.LAPSED:
            self._log.warning("lease_lapsed", seconds=round(lease.holding.patience, 2))
        elif after is LeaseState.HELD and before is LeaseState.LAPSED:
            self._log.info("lease_renewed")
        elif after is LeaseState.LOST:
            self.displaced.set()
            self._log.error("lease_lost")

    def _looked(self, task: asyncio.Task[None]) -> None:
        """Whatever was found: the publisher writes nothing more, so the connector ends."""
        if not task.cancelled():
            error = task.exception()
            self._failed(error if isinstance(error, AlreadyRunningError) else DisplacedError(self._presence.lease.name))
