"""Keeps one planned connection alive: reconnects, replaces without a break, watches for silence."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from bridge.errors import BridgeError
from bridge.exchange_errors import ExchangeError, HandshakeError, RestError
from bridge.exchanges.api import ConnectionPlan, Pause, Subscription
from bridge.exchanges.toolkit.values.numbers import SECOND
from bridge.feed.connection import Connection
from bridge.feed.context import FeedContext
from bridge.feed.pauses import Pauses
from bridge.feed.policies import Damper, backoff, look_every
from bridge.model import PUBLIC_CHANNELS, Channel, Control, ControlEvent
from bridge.printable import LONGEST_ERROR
from bridge.redaction import presentable

__all__ = ["FeedSupervisor"]

_REPLACEMENT_LIMIT = 20.0
"""Seconds that a replacement may take to be ready."""
_PROVEN = 60.0
"""Seconds after which a connection was a good one, whatever it brought: the next one may follow at once."""
_BRIEF = 2.0
"""Seconds below which a connection was none that worked: a server that greets, or sends data, and hangs up would be
stormed. Between the two, the wait is no longer than the connection has stood."""
_BEFORE_EXPIRY = 0.2
"""Share of a connection's lifetime before its expiry at which it is replaced, up to a minute."""


class FeedSupervisor:
    """One connection of the plan, for as long as the connector lives."""

    def __init__(self, plan: ConnectionPlan, context: FeedContext) -> None:
        self.plan = plan
        self._context = context
        public = {stream.subject for stream in plan.subscriptions if stream.channel in PUBLIC_CHANNELS}
        self._log = context.log.bind(connection=plan.name, **({"pair": public.pop()} if len(public) == 1 else {}))
        self._wake = asyncio.Event()
        self._exclusive = context.exchange.exclusive(plan.subscriptions)
        self._streams = list(plan.subscriptions)
        self._active: Connection | None = None
        self._replacement: Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._replacement_since = 0.0
        self._replace_at = 0.0
        self._replace_waits: Iterator[float] = self._waits()
        self._called = Damper(context.random)
        self._look_every = look_every(context.dead)
        self._newest: dict[Subscription, tuple[int, int]] = {}
        """When each stream's newest event came, as it says and as it is counted (ns)."""
        self._pauses = Pauses()
        self._ending: set[asyncio.Task[None]] = set()
        """Goodbyes that are being said."""
        self.lost: Counter[str] = Counter()
        """Connections lost, and attempts that failed, by kind."""
        self.replacements = 0
        self.up = False

    @property
    def reconnects(self) -> int:
        """Connections lost and opened again; failed attempts count."""
        return self.lost.total()

    @property
    def frames(self) -> int:
        return self._active.frames if self._active else 0

    @property
    def frame_age(self) -> float | None:
        """Seconds since the last frame; ``None`` while there is no connection."""
        return self._active.frame_age if self._active else None

    @property
    def serving(self) -> bool:
        """Whether a connection is up, and its subscriptions stand."""
        return self.up and self._active is not None and self._active.subscribed

    @property
    def streams(self) -> list[Subscription]:
        """What the connection feeds, the streams included that it has adopted."""
        return list(self._streams)

    def adopt(self, stream: Subscription) -> None:
        """A stream that only showed up later (a sub-account's) belongs to this connection."""
        if stream not in self._streams:
            self._streams.append(stream)

    def resync(self, subject: str, reason: str) -> None:
        """Have a fresh book of this pair fetched."""
        if self._active:
            self._active.resync(subject, reason)

    def replace(self, reason: str) -> None:
        """Have a fresh connection take over from the one that there is."""
        if self._active:
            self._active.replace_reason = reason
            self._wake.set()

    def revise(self, plan: ConnectionPlan) -> None:
        """Serve fewer streams, by this plan: a fresh connection takes over, and those that stay miss nothing."""
        left = {stream for stream in self.plan.subscriptions if stream not in plan.subscriptions}
        self.plan = plan
        self._streams = [stream for stream in self._streams if stream not in left]
        self._wake.set()

    async def run(self) -> None:
        """Connect, serve, connect again; ends only by cancellation, or by a user's mistake."""
        waits = self._waits()
        first = True
        try:
            while True:
                connection = self._connection(hold=False)
                least = stood = 0.0
                try:
                    self._context.receiver.opened(self._streams, 0)
                    await connection.open()
                except (HandshakeError, RestError) as error:
                    self._context.receiver.fault(error)
                    reason, kind = str(error), str(error.kind)
                    least = error.retry_after or 0.0
                else:
                    self._active, self.up = connection, True
                    self._log.info("connected", again=not first)
                    begun = self._context.monotonic()
                    reason = await self._serve(connection)
                    stood = self._context.monotonic() - begun
                    kind, least = self._active.lost_kind, self._active.lost_wait
                was_open = self.up
                self._context.receiver.down(self._streams, reason)
                self._drop()
                first = first and not was_open
                self.lost[kind] += 1
                if stood < _BRIEF:
                    self._context.pacer.failed()
                if stood >= _PROVEN:
                    waits = self._waits()
                wait = next(waits)
                least = max(least, self._pauses.wait(self._streams, self._context.now()))
                delay = max(least, wait if stood < _BRIEF else min(wait, stood))
                if was_open:
                    self._log.warning("connection_lost", kind=kind, reason=reason, retry_in=round(delay, 2))
                else:
                    self._log.warning("connect_failed", kind=kind, reason=reason, retry_in=round(delay, 2))
                await asyncio.sleep(delay)
        finally:
            self._drop()
            if self._ending:
                await asyncio.wait(self._ending)

    async def _serve(self, connection: Connection) -> str:
        """Serve until the connection is lost and no replacement stands ready; the reason it was lost for."""
        expiry_from = self._context.now()
        rotate_at = self._rotation()
        while True:
            self._wake.clear()
            if connection.lost_reason and not (self._replacement and self._replacement.ready):
                return connection.lost_reason
            connection.tick()
            if connection.stood >= _BRIEF:
                self._context.pacer.worked()
            self._watch_pauses(connection)
            self._watch_silence(connection)
            reason = connection.replace_reason if self._may_replace(connection) else ""
            if (
                not reason
                and rotate_at is not None
                and not connection.resting
                and self._context.monotonic() >= rotate_at
            ):
                reason = "the connection is old enough"
            if not reason and self._expiring(connection, expiry_from):
                reason = "the token expires"
            if not reason and connection.plan is not self.plan:
                reason = "pairs have left"
            if reason and self._exclusive:  # a second one beside it might end it, or be refused
                connection.lost(reason, "session")
                continue
            if reason:
                self._begin_replacement(reason)
            if self._replacement and self._replacement_done():
                connection = self._take_over(connection)
                expiry_from = self._context.now()
                rotate_at = self._rotation()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._look_every):  # `wait_for` can swallow a cancellation on Python 3.11
                    await self._wake.wait()

    def _waits(self) -> Iterator[float]:
        return backoff(self._context.random)

    def _rotation(self) -> float | None:
        """When to replace the connection for its age; spread, so that pairs don't do it all at once."""
        if self.plan.rotate is None:
            return None
        return self._context.monotonic() + self.plan.rotate * self._context.random.uniform(0.8, 1.0)

    def _expiring(self, connection: Connection, since: int) -> bool:
        if connection.expires is None or connection.expires <= since:
            return False  # expired before it was used, and yet taken: our clocks differ, a new one would be no better
        lifetime = connection.expires - since
        margin = min(60 * SECOND, int(lifetime * _BEFORE_EXPIRY))
        return self._context.now() >= connection.expires - margin

    def _connection(self, *, hold: bool) -> Connection:
        connection = Connection(self.plan, self._context, self._wake, hold=hold)
        connection.announce = self._pause
        return connection

    def _pause(self, pause: Pause) -> None:
        """The exchange has announced that some streams will be silent."""
        now = self._context.now()
        streams = [stream for stream in self._streams if pause.subjects is None or stream.subject in pause.subjects]
        if pause.until is None or pause.until > now:
            self._context.receiver.down(streams, pause.reason)
            pairs = sorted({stream.subject for stream in streams})
            self._log.warning("paused", reason=presentable(pause.reason, LONGEST_ERROR), pairs=pairs)
        self._pauses.begin(streams, pause.until, now)

    def _watch_pauses(self, connection: Connection) -> None:
        """The streams of a pause that is over are live, and their books are asked for."""
        now = self._context.now()
        for stream in self._pauses.end(now, self._context.receiver.last):
            self._log.info("pause_over", pair=stream.subject, channel=str(stream.channel))
            if connection.refuses(stream):
                continue
            self._context.receiver.event(Control(stream.subject, None, now, stream.channel, ControlEvent.LIVE))
            if stream.channel is Channel.BOOK:
                connection.resync(stream.subject, "the pause is over")
        connection.resting = self._pauses.cover(self._streams)

    def _watch_silence(self, connection: Connection) -> None:
        """Silence beyond the channel's limit, and a book that stands still while its pair trades."""
        context = self._context
        now = context.now()
        exchange = context.exchange
        for stream in self._streams:
            if stream in self._pauses:
                continue
            limit = context.silence.get(stream.channel, exchange.silence.get(stream.channel))
            last = max(context.receiver.last(stream), connection.opened_at, self._pauses.resumed(stream))
            reason = ""
            since = self._quiet_since(stream, last, now)
            if limit is not None and now - since > limit * SECOND + context.flow.paused_since(since):
                reason = f"no event for {limit:g} s"
            elif stream.channel is Channel.BOOK and exchange.frozen_book is not None:
                traded = context.receiver.last(Subscription(Channel.TRADES, stream.subject))
                if traded > last + exchange.frozen_book * SECOND:
                    reason = f"the book stands still while trades came for {exchange.frozen_book:g} s"
            if reason and context.receiver.stale(stream, reason):
                self._log.warning("stale", pair=stream.subject, channel=str(stream.channel), reason=reason)
                if stream.channel is Channel.BOOK:
                    connection.resync(stream.subject, reason)
                else:
                    connection.replace_reason = reason

    def _quiet_since(self, stream: Subscription, last: int, now: int) -> int:
        """When the newest event came; what seems to be of the future came when it was first seen."""
        known = self._newest.get(stream)
        if known is None or known[0] != last:
            known = self._newest[stream] = (last, min(last, now))
        return known[1]

    def _may_replace(self, connection: Connection) -> bool:
        """Whether it is time to heed a session that calls for a replacement: ever later, while the next one does, too."""
        now = self._context.monotonic()
        idle = self._replacement is None and now >= self._replace_at
        return bool(connection.replace_reason) and idle and self._called.heed(now)

    def _begin_replacement(self, reason: str) -> None:
        now = self._context.monotonic()
        if self._replacement or now < self._replace_at:
            return
        self._log.info("replacing_connection", reason=reason)
        self._replace_at = now + next(self._replace_waits)
        self._replacement = self._connection(hold=True)
        self._replacement_since = now
        self._opening = asyncio.create_task(
            self._open_replacement(self._replacement), name=f"{self.plan.name}-replacement"
        )

    async def _open_replacement(self, replacement: Connection) -> None:
        try:
            await replacement.open()
        except BridgeError as error:
            if isinstance(error, ExchangeError):
                self._context.receiver.fault(error)
            self._context.pacer.failed()
            replacement.lost(str(error))

    def _replacement_done(self) -> bool:
        """Whether the replacement can take over; one that failed or takes too long is given up here."""
        replacement, opening = self._replacement, self._opening
        if replacement is None or opening is None:
            return False
        replacement.tick()
        reason = replacement.lost_reason
        if not reason and self._context.monotonic() - self._replacement_since > _REPLACEMENT_LIMIT:
            reason = f"not ready within {_REPLACEMENT_LIMIT:g} s"
        if reason:
            self._replacement = None
            self._opening = None
            opening.cancel()
            self._end(replacement)
            self._log.warning("replacement_failed", reason=reason)
            return False
        return opening.done() and replacement.ready

    def _take_over(self, old: Connection) -> Connection:
        new = self._replacement
        assert new is not None
        self._replacement = None
        self._replace_waits = self._waits()
        self._replace_at = self._context.monotonic() + 1.0
        self._active = new
        self.replacements += 1
        old.replace_reason = ""
        self._context.receiver.opened(self._streams, new.opened_at)
        old.mute()
        new.release()
        self._end(old)
        return new

    def _end(self, connection: Connection) -> None:
        """Close a connection that is needed no more, beside what goes on."""
        ending = asyncio.create_task(connection.close(), name=f"{self.plan.name}-close")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _drop(self) -> None:
        """Give up all there is."""
        self.up = False
        if self._opening:
            self._opening.cancel()
        for connection in (self._active, self._replacement):
            if connection:
                connection.mute()
                self._end(connection)
        self._active = self._replacement = self._opening = None
