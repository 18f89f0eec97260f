"""The states of a lease as a table: each state against each event."""

from __future__ import annotations

import asyncio

import pytest

from bridge.redis.holding import Holding, LeaseState, clock

FREE, HELD, LAPSED, LOST = LeaseState
PATIENCE = 2.0


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Seen:
    """A lease in some state, by a clock of the test's, and the transitions that it tells of from then on."""

    def __init__(self, state: LeaseState) -> None:
        self.clock = Clock()
        self.holding = Holding(PATIENCE, self.clock)
        self.changes: list[tuple[LeaseState, LeaseState]] = []
        if state is not FREE:
            self.holding.taken(self.clock.now)
        if state is LAPSED:
            self.clock.now += PATIENCE + 0.1
            self.holding.look()
        if state is LOST:
            self.holding.displaced()
        assert self.holding.state is state
        self.holding.changed = lambda *change: self.changes.append(change)

    def take(self) -> None:
        self.holding.taken(self.clock.now)

    def renew(self) -> None:
        self.holding.renewed(self.clock.now)

    def renew_late(self) -> None:
        """The reply comes when the renewal has run out already."""
        sent = self.clock.now
        self.clock.now += PATIENCE + 0.1
        self.holding.renewed(sent)

    def wait(self) -> None:
        self.clock.now += PATIENCE
        self.holding.look()

    def wait_longer(self) -> None:
        self.clock.now += PATIENCE + 0.001
        self.holding.look()

    def displace(self) -> None:
        self.holding.displaced()

    def give_back(self) -> None:
        self.holding.given_back()


TABLE = {
    "take": {FREE: HELD, HELD: HELD, LAPSED: LAPSED, LOST: LOST},
    "renew": {FREE: FREE, HELD: HELD, LAPSED: HELD, LOST: LOST},
    "renew_late": {FREE: FREE, HELD: LAPSED, LAPSED: LAPSED, LOST: LOST},
    "wait": {FREE: FREE, HELD: HELD, LAPSED: LAPSED, LOST: LOST},
    "wait_longer": {FREE: FREE, HELD: LAPSED, LAPSED: LAPSED, LOST: LOST},
    "displace": {FREE: LOST, HELD: LOST, LAPSED: LOST, LOST: LOST},
    "give_back": {FREE: FREE, HELD: FREE, LAPSED: FREE, LOST: LOST},
}


@pytest.mark.parametrize("event", TABLE)
@pytest.mark.parametrize("before", LeaseState)
def test_a_transition(before: LeaseState, event: str) -> None:
    seen = Seen(before)
    getattr(seen, event)()
    after = TABLE[event][before]
    assert seen.holding.state is after
    assert seen.changes == ([] if before is after else [(before, after)])


def test_a_renewal_counts_from_when_it_was_sent() -> None:
    seen = Seen(HELD)
    sent = seen.clock.now
    seen.clock.now += 1.5
    seen.holding.renewed(sent)
    seen.clock.now += 0.6
    assert seen.holding.look() is LAPSED


def test_an_older_renewal_takes_nothing_from_a_newer_one() -> None:
    seen = Seen(HELD)
    seen.clock.now += 1.5
    seen.holding.renewed(seen.clock.now)
    seen.holding.renewed(seen.clock.now - 1.5)
    seen.clock.now += 1.5
    assert seen.holding.look() is HELD


def test_one_that_was_given_back_can_be_taken_again() -> None:
    seen = Seen(HELD)
    seen.give_back()
    seen.take()
    assert seen.holding.state is HELD


def test_the_clock_goes_on() -> None:
    first = clock()
    assert clock() >= first


async def test_a_process_that_was_stopped_looks_before_it_does_anything_else() -> None:
    """What was to be done in the loop's next round finds the lease lapsed already, whatever came first."""
    loop = asyncio.get_running_loop()
    holding = Holding(0.4, loop.time)
    holding.taken(loop.time())
    watching = asyncio.create_task(holding.watch())
    await asyncio.sleep(0)
    states: list[LeaseState] = []
    stopped = asyncio.Event()

    def blocked() -> None:
        end = loop.time() + 0.5
        while loop.time() < end:
            pass
        # As bytes that have come would have it done: in the next round of the loop.
        loop.call_soon(lambda: loop.call_soon(lambda: (states.append(holding.state), stopped.set())))

    loop.call_soon(blocked)
    await stopped.wait()
    assert states == [LAPSED]
    watching.cancel()
    await asyncio.wait([watching])
