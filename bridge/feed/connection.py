"""One WebSocket with its session, from opening to the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bridge.clock import CLOCK
from bridge.errors import BridgeError
from bridge.exchange_errors import ErrorKind, ExchangeError, FrameError, HandshakeError
from bridge.exchanges.api import (
    ConnectionPlan,
    Fetch,
    Output,
    Pause,
    Reconnect,
    Reject,
    Replace,
    Restated,
    Said,
    Send,
    Session,
    Subscription,
    Unknown,
    Warn,
)
from bridge.feed.context import FeedContext
from bridge.feed.intake import FRAME_COST, WORK_PER_TURN, Intake
from bridge.feed.outbox import Outbox
from bridge.feed.policies import Watchdog
from bridge.feed.sockets import Socket
from bridge.feed.transport import connect
from bridge.model import BookDelta, BookSnapshot, Channel, Event
from bridge.printable import LONGEST_ERROR
from bridge.redaction import presentable

__all__ = ["LOST_KINDS", "Connection"]

LOST_KINDS = ("closed", "silent", "session", "failed")
"""Why an open connection is lost: the other side, a silence, the session's verdict, a bug."""

_OPEN_TIMEOUT = 10.0
_QUIET_READY = 3.0
"""Seconds after which a replacement that got nothing yet takes over, where it need not have a book."""
_MOST_QUEUED = 1.0
"""Seconds of messages that may wait to be sent when a connection is opened: exchanges want to hear from it soon."""
_MOST_HELD = 100_000
"""Events that a replacement may hold back before it has taken over; beyond, it is given up."""


class Connection:
    """A socket that a session speaks over; it is the socket's `Handler`.

    The session's outputs are taken in their order: events go to the receiver, actions are done. With ``hold``,
    events and fetched states are kept back until `release`: a replacement warms up beside the connection it replaces.
    """

    def __init__(self, plan: ConnectionPlan, context: FeedContext, wake: asyncio.Event, *, hold: bool) -> None:
        self.plan = plan
        self._context = context
        self._wake = wake
        self._session: Session = plan.session()
        self._receive = self._session.receive
        self._now = context.now
        self._tap = context.tap
        self._holding = hold
        self._emit: Callable[[Event], None] = self._hold if hold else context.receiver.event
        self._held: list[Event | Restated] = []
        self._outbox = Outbox(
            plan.name, context.sends, context.sent, context.tap, lambda work: self._start(work, "send")
        )
        self._doing: dict[type[Output], Callable[[Any], None]] = {
            Send: self._outbox.put,
            Fetch: self._fetch,
            Reconnect: self._reconnect,
            Replace: self._replace,
            Pause: lambda pause: self.announce(pause),  # noqa: PLW0108 - whoever takes them is named later
            Reject: self._reject,
            Said: self._said,
            Unknown: self._unknown,
            Warn: self._warn,
            Restated: self._restated,
        }
        """How each kind of action is done."""
        self._socket: Socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetches: set[asyncio.Task[None]] = set()
        """Those of them that hold a conversation over REST."""
        self._flow = context.flow
        self._intake = Intake(context.flow, self._understand)
        self._watchdog = Watchdog(context.ping, context.dead, context.monotonic())
        self._last_recv = 0
        self._shown = ""
        """The address, until the tap knows of it."""
        self.opened_at = 0
        """When it was opened (ns)."""
        self._continues = context.exchange.book.snapshot == "rest"
        """Whether the deltas of its books continue those of the connection before."""
        self._no_book = {s.subject for s in plan.subscriptions if s.channel is Channel.BOOK and not self._continues}
        """Pairs whose snapshot has not come yet."""
        self.frames = self._noted = 0
        self._muted = False
        self.lost_reason = ""
        self.lost_kind = ""
        """One of `LOST_KINDS`."""
        self.lost_wait = 0.0
        """Least seconds before the next attempt, where the session wants to wait, or the exchange's closing frame says so."""
        self.replace_reason = ""
        """Why the session wants to be replaced, until somebody has seen to it."""
        self.announce: Callable[[Pause], None] = lambda _: None
        """Takes the pauses that the exchange announces."""
        self.resting = False
        """Whether silence is no fault at present."""

    @property
    def expires(self) -> int | None:
        return self._session.expires

    @property
    def subscribed(self) -> bool:
        """Whether its subscriptions stand, as far as the session can tell."""
        return self._session.ready

    def refuses(self, stream: Subscription) -> bool:
        """Whether the exchange has refused this stream."""
        return self._session.refuses(stream)

    @property
    def heard(self) -> bool:
        """Whether a frame has come, or none need come."""
        return self.frames > 0 or (self._session.quiet and self.opened_at > 0)

    @property
    def frame_age(self) -> float:
        """Seconds since the last frame."""
        return self._watchdog.age(self._context.monotonic())

    @property
    def stood(self) -> float:
        """For how many seconds it has been open; 0 before it is."""
        return (self._context.now() - self.opened_at) / 1e9 if self.opened_at else 0.0

    @property
    def ready(self) -> bool:
        """Whether a replacement has what it needs to take over."""
        if not self._session.ready:
            return False
        if not self._continues and any(stream.channel is Channel.BOOK for stream in self.plan.subscriptions):
            return not self._no_book.difference(self._session.unserved)
        return self.frames > 0 or self.stood > _QUIET_READY

    async def open(self) -> None:
        """Find the way, connect, subscribe.

        Raises:
            HandshakeError: the exchange refuses, or nobody answers.
            RestError: the exchange gives no token.
        """
        context = self._context
        await context.pacer.turn(context.attempts)
        if context.sends is not None:
            await context.sends.room(_MOST_QUEUED)
        target = await context.rest.drive(self._session.open(context.now()))
        # Before the socket is open: its first frames may come with the same packet as the handshake's answer.
        self.opened_at = context.now()
        self._watchdog.seen(context.monotonic())
        try:
            self._socket = await connect(
                context.exchange.name,
                target.url,
                target.headers,
                self,
                tls=context.tls,
                open_timeout=_OPEN_TIMEOUT,
                library=context.library,
                proxy=context.proxies.route(target.url).proxy if context.proxies else None,
            )
        except HandshakeError as error:
            raise await self._hold_back(error) from None
        self._intake.opened(self._socket)
        self._outbox.opened(self._socket)
        self._announce()
        self._take(self._session.connected(context.now()))

    def release(self) -> None:
        """Take over from the connection before: what was held back goes out, then everything directly."""
        held, self._held, self._holding = self._held, [], False
        self._emit = self._context.receiver.event
        fresh: set[str] = set()
        for event in held:
            if isinstance(event, Restated):
                self._context.receiver.restated(event)
                continue
            if isinstance(event, BookSnapshot):
                fresh.add(event.subject)
            elif isinstance(event, BookDelta) and event.subject not in fresh and not self._continues:
                continue  # of before its snapshot: the connection before has brought it
            self._emit(event)

    def mute(self) -> None:
        """Let nothing more out: another connection has taken over, or none will.

        What REST has said is true, whoever asked, and isn't asked for again: a state that is held back goes out.
        """
        self._muted = True
        self._intake.frames.clear()
        held, self._held = self._held, []
        for state in held:
            if isinstance(state, Restated):
                self._context.receiver.restated(state)
        if self._fetches:
            for fetch in self._fetches.difference((asyncio.current_task(),)):
                fetch.cancel()

    def frame(self, data: bytes) -> None:
        """A message came (`Handler`)."""
        self.received([data])

    def received(self, messages: list[bytes]) -> None:
        """Messages came with one read (`Handler`): they were received at one time."""
        recv = self._now()
        intake, flow, understand = self._intake, self._flow, self._understand
        for place, data in enumerate(messages):
            if self._muted:
                return
            intake.work += len(data) + FRAME_COST
            if flow.held or intake.frames or (intake.work > WORK_PER_TURN and intake.exhausted()):
                intake.frames.extend([(left, recv) for left in messages[place:]])
                return
            understand(data, recv)

    def _understand(self, data: bytes, recv: int) -> None:
        self._last_recv = recv
        self.frames += 1
        try:
            outputs = self._receive(data, recv)
        except FrameError as error:
            self._context.receiver.rejected(self.plan.name, error, recv)
            outputs = self._session.rejected(recv)
        except Exception as bug:
            failure = FrameError(self._context.exchange.name, data, f"{type(bug).__name__}: {bug}")
            self._context.receiver.rejected(self.plan.name, failure, recv)
            self._context.log.exception("session_failed", connection=self.plan.name)
            outputs = self._session.failed(recv)
        if self._tap:
            self._announce()
            self._tap.received(self.plan.name, data, recv / 1e9)
        try:
            self._take(outputs)
        except Exception as bug:
            # Whatever it was, the streams must not go on as if nothing were missing.
            self._context.log.exception("events_failed", connection=self.plan.name)
            self.lost(f"the events of a frame could not be taken: {type(bug).__name__}: {bug}", "failed")
        if self._held:
            self._warm(outputs)

    def pong(self) -> None:
        """A ping was answered (`Handler`)."""
        self._watchdog.seen(self._context.monotonic())

    def lost(self, reason: str, kind: str = "closed", *, code: int = 0) -> None:
        """The socket is gone (`Handler`)."""
        if self._muted:
            return
        reason = presentable(reason, LONGEST_ERROR)
        if kind == "closed":
            self._intake.flush()  # it came before the end
        self.lost_reason, self.lost_kind = self.lost_reason or reason, self.lost_kind or kind
        self.lost_wait = max(self.lost_wait, self._context.exchange.close_wait(code) or 0.0)
        self.mute()  # what may still come before the supervisor has seen it would follow a hole
        if self._tap:
            self._tap.closed(self.plan.name, reason, CLOCK.now() / 1e9)
        self._wake.set()

    def tick(self) -> None:
        """Look at the time: the session's own limits, pings, a silent peer."""
        self._note_frames()
        if self._holding:
            return
        self._take(self._session.tick(self._context.now()))
        verdict = self._watchdog.check(self._context.monotonic())
        if verdict == "dead":
            self.lost(f"no frame for {self._context.dead:g} s", "silent")
        elif verdict == "ping" and self._socket:
            self._start(self._socket.ping(), "ping")

    def resync(self, subject: str, reason: str) -> None:
        """Have the session fetch a fresh book of this pair."""
        self._take(self._session.resync(subject, self._context.now(), reason))

    async def close(self) -> None:
        """End it, with a goodbye where somebody may hear it: that takes two seconds at most."""
        for task in self._tasks:
            task.cancel()
        self._outbox.close()
        self._intake.close()
        if self._socket and self.lost_reason:
            self._socket.abort()
        elif self._socket:
            await self._socket.close()

    def _note_frames(self) -> None:
        """Tell the watchdog of frames, once per tick instead of once per frame; who isn't read can't be heard."""
        if self.frames != self._noted or self._flow.held or self.resting:
            self._noted = self.frames
            self._watchdog.seen(self._context.monotonic())

    def _announce(self) -> None:
        """Tell the tap of the connection, once; the first frame may come before the connecting call returns."""
        if self._tap and self._shown:
            self._tap.connected(self.plan.name, self._shown, CLOCK.now() / 1e9)
            self._shown = ""

    def _hold(self, event: Event) -> None:
        self._held.append(event)

    def _warm(self, outputs: Sequence[Output]) -> None:
        if self._no_book:
            self._no_book -= {event.subject for event in outputs if isinstance(event, BookSnapshot)}
        if self.ready:
            self._wake.set()
        if len(self._held) > _MOST_HELD:
            self.lost(f"a replacement held back {_MOST_HELD} events and was not ready")

    def _take(self, outputs: Sequence[Output]) -> None:
        """Take what the session hands out, in its order."""
        emit, doing = self._emit, self._doing
        for output in outputs:
            do = doing.get(output.__class__)
            if do is None:
                emit(output)  # type: ignore[arg-type]  # what is no action is an event
            else:
                do(output)

    def _fetch(self, action: Fetch) -> None:
        task = self._start(self._converse(action), action.what)
        self._fetches.add(task)
        task.add_done_callback(self._fetches.discard)

    def _restated(self, state: Restated) -> None:
        if self._holding:
            self._held.append(state)
        elif not self._muted:
            self._context.receiver.restated(state)

    def _reconnect(self, action: Reconnect) -> None:
        self.lost_wait = max(self.lost_wait, action.wait)
        self.lost(action.reason, "session")

    def _replace(self, action: Replace) -> None:
        self.replace_reason = action.reason
        self._wake.set()

    def _reject(self, action: Reject) -> None:
        self._context.receiver.rejected(self.plan.name, action.error, self._last_recv)

    def _unknown(self, action: Unknown) -> None:
        self._context.receiver.unknown(action.kind)

    def _warn(self, action: Warn) -> None:
        self._context.log.warning("exchange_says", connection=self.plan.name, message=action.message)

    def _said(self, action: Said) -> None:
        """An error of the exchange's: a line of the log, and a count."""
        error = action.error
        self._context.receiver.fault(error)
        more: dict[str, Any] = {"code": error.code, "topic": error.topic, "retry_after": error.retry_after}
        more["consequence"] = action.consequence
        more = {name: value for name, value in more.items() if value not in (None, "")} | {"message": error.message}
        self._context.log.warning("exchange_error", connection=self.plan.name, kind=error.kind, **more)

    async def _hold_back(self, error: HandshakeError) -> HandshakeError:
        """The refusal may be for all connections from here, and last longer if one of them tries again."""
        wait = self._context.exchange.handshake_wait(error.status)
        if wait is None:
            return error
        self._context.pacer.hold(wait)
        if self._context.attempts is not None:
            await self._context.attempts.refused(wait)
        least = max(wait, error.retry_after or 0.0)
        return HandshakeError(error.exchange, error.status, error.message, least, kind=ErrorKind.BLOCKED)

    async def _converse(self, action: Fetch) -> None:
        context = self._context
        try:
            self._take(await context.rest.drive(action.flow) or ())
        except BridgeError as error:
            if isinstance(error, ExchangeError):
                context.receiver.fault(error)
            context.log.warning("fetch_failed", connection=self.plan.name, what=action.what, error=str(error))
        except Exception:
            context.log.exception("session_failed", connection=self.plan.name)

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"{self.plan.name}-{what}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
