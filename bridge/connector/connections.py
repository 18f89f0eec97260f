"""All connections of a connector: those of its plan, and those of pairs that join later; pairs may also leave.

A pair that joins gets connections of its own, so that no other is disturbed. A pair that leaves ends its connection, or
the connection is replaced by one without it, while it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from typing import Any, Protocol

from msgspec import structs

from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import ConnectionPlan, Exchange, Poll
from bridge.feed.context import FeedContext, Receiver
from bridge.feed.policies import backoff
from bridge.feed.poller import Poller
from bridge.feed.supervisor import FeedSupervisor
from bridge.model import PUBLIC_CHANNELS, Control, ControlEvent

__all__ = ["Connections", "FeedReceiver"]

_PAIR_AGAIN = 60.0
"""Seconds between two looks at whether a pair is listed by now."""


class FeedReceiver(Receiver, Protocol):
    """Takes what the connections bring, and knows them."""

    supervisors: list[FeedSupervisor]


class _Part:
    """Pairs that came together: their exchange, and what runs for them."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.supervisors: dict[FeedSupervisor, asyncio.Task[None]] = {}
        self.exclusive: list[asyncio.Task[None]] = []
        """What serves the connections that an account may have only once."""
        self.polls: dict[str, tuple[Poll, asyncio.Task[None]]] = {}
        self.waits: dict[str, asyncio.Task[None]] = {}
        """Pairs that aren't listed, and what waits for them."""

    def cancel(self) -> None:
        polls = [task for _, task in self.polls.values()]
        for task in (*self.exclusive, *self.supervisors.values(), *polls, *self.waits.values()):
            task.cancel()


class Connections:
    """The connections of one connector; ``context`` has the exchange that it starts with."""

    def __init__(self, context: FeedContext, receiver: FeedReceiver) -> None:
        self._context = context
        self._receiver = receiver
        self._parts: list[_Part] = []
        self._group = asyncio.TaskGroup()
        self._ready = asyncio.Event()

    async def run(self) -> None:
        """Discover, plan, and keep every connection alive; ends only by cancellation, or by a mistake."""
        if not self._context.exchange.subscriptions():
            reasons = self._context.exchange.unread() or ["this connector has no pair"]
            self._context.log.warning("nothing_to_read", reasons=reasons)
        async with self._group:
            self._ready.set()
            await self._begin(self._context.exchange)
            await asyncio.Event().wait()

    async def add(self, pairs: Sequence[str]) -> None:
        """Serve further pairs, over connections of their own; their streams are open."""
        await self._ready.wait()
        exchange = self._context.exchange.beside(pairs)
        self._start(self._begin(exchange, pairs[0]), f"join-{pairs[0]}")

    def remove(self, pairs: Collection[str]) -> None:
        """Serve these pairs no more; others that share their connections stay connected."""
        for part in list(self._parts):
            gone = [pair for pair in part.exchange.profile.pairs if pair in pairs]
            if gone:
                self._shrink(part, gone)
        self._show()

    # -------------------------------------------------------------------------------------------------------------

    async def _begin(self, exchange: Exchange, suffix: str = "", *, discovered: bool = False) -> None:
        part = _Part(exchange)
        self._parts.append(part)
        context = structs.replace(self._context, exchange=exchange)
        if not discovered:
            await self._discover(context)
        if part not in self._parts:
            return  # its pairs have left meanwhile
        plans = exchange.plan()
        if suffix:
            plans = [structs.replace(plan, name=f"{plan.name}:{suffix}") for plan in plans]
        for plan in plans:
            if exchange.exclusive(plan.subscriptions):
                part.exclusive.append(self._start(self._serve_exclusively(plan, part, context), f"turn-{plan.name}"))
            else:
                self._serve(plan, part, context)
        self._show()
        self._poll(part)
        for pair in exchange.missing:
            part.waits[pair] = self._start(self._wait_for(pair, part), f"pair-{pair}")

    def _serve(self, plan: ConnectionPlan, part: _Part, context: FeedContext) -> FeedSupervisor:
        supervisor = FeedSupervisor(plan, context)
        part.supervisors[supervisor] = self._start(supervisor.run(), f"feed-{plan.name}")
        return supervisor

    async def _serve_exclusively(self, plan: ConnectionPlan, part: _Part, context: FeedContext) -> None:
        """Serve a plan whose connection an account may have only once, for as long as this process may have it."""
        access, log = context.access, context.log.bind(connection=plan.name)
        while True:
            if access.withheld_for:
                log.info("connection_withheld", reason=access.withheld_for)
            await access.allowed()
            with access.used():
                supervisor = self._serve(plan, part, context)
                self._show()
                await access.withheld()
                serving = part.supervisors.pop(supervisor)
                serving.cancel()
                await asyncio.wait([serving])
                self._show()
                self._receiver.down(supervisor.streams, access.withheld_for)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        return self._group.create_task(work, name=name)

    def _poll(self, part: _Part) -> None:
        """Run what the exchange polls; a poll for pairs of which some have left begins again without them."""
        context = structs.replace(self._context, exchange=part.exchange)
        wanted = {poll.name: poll for poll in part.exchange.polls()}
        for name, (poll, task) in list(part.polls.items()):
            if name not in wanted or wanted[name].streams != poll.streams:
                task.cancel()
                del part.polls[name]
        for name in wanted.keys() - part.polls.keys():
            part.polls[name] = (wanted[name], self._start(Poller(wanted[name], context).run(), f"poll-{name}"))

    def _show(self) -> None:
        exchange = self._context.exchange
        exchange.joined = [part.exchange for part in self._parts if part.supervisors and part.exchange is not exchange]
        self._receiver.supervisors = [supervisor for part in self._parts for supervisor in part.supervisors]

    async def _discover(self, context: FeedContext) -> None:
        """Have the exchange find out what it must know; a pair that it doesn't list is ``down``, and left out."""
        exchange, receiver = context.exchange, self._receiver
        waits = backoff(context.random)
        while exchange.subscriptions():
            try:
                await context.rest.drive(exchange.discover(context.now()))
            except UnknownPairError as error:
                if error.pair not in exchange.profile.pairs:
                    continue  # it has left meanwhile
                exchange.missing[error.pair] = error
                receiver.fault(error)
                for stream in exchange.subscriptions():
                    if stream.subject == error.pair:
                        down = Control(error.pair, None, context.now(), stream.channel, ControlEvent.DOWN, str(error))
                        receiver.event(down)
                context.log.warning("pair_not_listed", pair=error.pair, error=str(error))
            except RestError as error:
                receiver.fault(error)
                receiver.down(exchange.subscriptions(), str(error))
                delay = max(next(waits), error.retry_after or 0.0)
                context.log.warning("discovery_failed", error=str(error), retry_in=round(delay, 2))
                await asyncio.sleep(delay)
            else:
                return

    async def _wait_for(self, pair: str, part: _Part) -> None:
        """Ask for a pair that isn't listed about once a minute, by an exchange of its own; serve it once it is."""
        context = self._context
        exchange = part.exchange.beside([pair])
        while True:
            await asyncio.sleep(_PAIR_AGAIN * context.random.uniform(0.8, 1.2))
            try:
                await context.rest.drive(exchange.discover(context.now()))
                break
            except (UnknownPairError, RestError):
                continue
        context.log.info("pair_listed", pair=pair)
        part.waits.pop(pair, None)
        part.exchange.profile = _without(part.exchange, [pair])
        await self._begin(exchange, pair, discovered=True)

    def _shrink(self, part: _Part, gone: Sequence[str]) -> None:
        exchange = part.exchange
        exchange.profile = _without(exchange, gone)
        for pair in gone:
            if wait := part.waits.pop(pair, None):
                wait.cancel()
            exchange.missing.pop(pair, None)
        if not exchange.subscriptions():
            part.cancel()
            self._parts.remove(part)
            return
        for supervisor, task in list(part.supervisors.items()):
            plan = supervisor.plan
            left = tuple(stream for stream in plan.subscriptions if stream.subject not in gone)
            if not left and plan.subscriptions:
                task.cancel()
                del part.supervisors[supervisor]
            elif len(left) < len(plan.subscriptions):
                smaller = _plan_of(exchange, plan, frozenset(left))
                if smaller is not None:
                    supervisor.revise(smaller)
        if part.polls:
            self._poll(part)


def _without(exchange: Exchange, gone: Collection[str]) -> Any:
    profile = exchange.profile
    return structs.replace(profile, pairs=tuple(pair for pair in profile.pairs if pair not in gone))


def _plan_of(exchange: Exchange, old: ConnectionPlan, streams: frozenset[Any]) -> ConnectionPlan | None:
    """The plan of a connection for these streams; ``None`` if the exchange would share them out in another way.

    Then the connection goes on with what it has, and what comes for a pair that has left is passed over.
    """
    profile = exchange.profile
    pairs = tuple(p for p in profile.pairs if any(s.subject == p and s.channel in PUBLIC_CHANNELS for s in streams))
    exchange.profile = structs.replace(profile, pairs=pairs)
    try:
        plans = exchange.plan()
    finally:
        exchange.profile = profile
    for plan in plans:
        if frozenset(plan.subscriptions) == streams:
            return structs.replace(plan, name=old.name)
    return None
