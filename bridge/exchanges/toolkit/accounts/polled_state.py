"""An account's state where most of it comes by REST only: each channel is asked for by itself, at intervals and when wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Flow, Output, Said, Session, Subscription
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.private import PrivateState, Step
from bridge.exchanges.toolkit.rest.rest import TimedRest
from bridge.exchanges.toolkit.timing.schedule import Schedule
from bridge.model import Channel

__all__ = ["PolledState"]

_GATHER, _APART = 0.3, 1.5
"""Seconds: after something has happened, more of which may follow; between two fetches, so that those who trade without
a pause stay within some thousand calls an hour."""


class PolledState(PrivateState):
    """Fetches what is due; a stream is ``live`` once its channel was answered, and ``down`` where that fails.

    Args:
        session, exchange, account, memory: as `PrivateState`.
        rest: the calls.
        syncs: channel → the conversation that asks for it, and the seconds between two; in the order in which they are held.
        told: the channel that the connection serves: REST failing is no reason for it to be ``down``.
        failed: what else a failure means, before that.
    """

    def __init__(
        self,
        session: Session,
        exchange: str,
        account: str,
        memory: AccountMemory,
        *,
        rest: TimedRest[Any],
        syncs: Mapping[Channel, tuple[Step, float]],
        told: Channel,
        failed: Callable[[RestError], list[Output]],
    ) -> None:
        super().__init__(session, exchange, account, memory, steps=self._due_steps, failed=self._not_answered)
        self._rest = rest
        self._syncs = syncs
        self._told_channel = told
        self._failed_too = failed
        self._schedule = Schedule({name: every for name, (_, every) in syncs.items()}, gather=_GATHER, apart=_APART)
        self._pending = dict.fromkeys(syncs)
        """What is wanted and not asked for yet; at first everything."""
        self._refused: set[Channel] = set()
        self.heard = 0
        """When the session heard something last (ns)."""

    def at(self, now: int) -> int:
        """When something came last, over the connection or by REST: nothing that follows is older."""
        return max(now, self._rest.recv, self.heard)

    def soon(self, channel: Channel, now: int, after: float | None = None) -> None:
        """Something has happened to what this channel tells: ask for it soon, or ``after`` so many seconds."""
        self._schedule.want(channel, now, after)

    def want(self, now: int) -> None:
        """Something was missed, of any channel."""
        self._pending.update(dict.fromkeys(self._syncs))
        super().want(now)

    def tick(self, now: int) -> list[Output]:
        """Begin a fetch of what is due; while another one is awaited after a failure, it goes with that one."""
        due = [] if self._fetching else self._schedule.due(now)
        self._pending.update({Channel(name): None for name in due})
        out = super().tick(now)
        return out or (self.begin(now) if due and self.idle else [])

    def missed(self, now: int, reason: str) -> list[Output]:
        """Messages of the connection are missing: a ``gap`` of each stream that is live, and everything is asked for."""
        self.want(now)
        return [
            gap for channel in self._syncs if channel not in self._refused for gap in self.gap(channel, now, reason)
        ]

    def refuse(self, channel: Channel, error: RestError, now: int) -> list[Output]:
        """REST refuses this channel: it isn't asked for again over this connection."""
        self._refused.add(channel)
        return [Said(error, f"no {channel}"), *self._session.dead([self._stream(channel)], self.at(now), str(error))]

    def _stream(self, channel: Channel) -> Subscription:
        return Subscription(channel, self._account)

    def _due_steps(self) -> list[Step]:
        return [partial(self._step, channel) for channel in self._syncs if channel in self._pending]

    def _step(self, channel: Channel, now: int) -> Flow[list[Output]]:
        found: list[Output] = []
        self._pending.pop(channel, None)  # before it is asked for: what is missed meanwhile is not in the answer
        if channel not in self._refused:
            try:
                found = yield from self._syncs[channel][0](now)
            except BaseException:
                self._pending[channel] = None
                raise
        if channel in self._refused:
            return found
        return [*self._session.lively([self._stream(channel)], self.at(now)), *found]

    def _not_answered(self, error: RestError) -> list[Output]:
        lost = self._pending.keys() - self._refused - {self._told_channel}
        down = [self._stream(channel) for channel in self._syncs if channel in lost]
        return [*self._failed_too(error), *self._session.dead(down, self.at(0), str(error))]
