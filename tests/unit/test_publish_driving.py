"""How a pipeline goes from connection to connection: how long it waits, and when it ends."""

from __future__ import annotations

import asyncio

import pytest

from bridge.errors import DisplacedError, RedisUnavailableError
from bridge.publish.state import State
from tests.patience import PATIENCE
from tests.unit.piped import FENCE, Piped, soon

AWAY, BROKEN = RedisUnavailableError("server", "no answer"), ConnectionError("cut")


class Driven(Piped):
    """A pipeline whose connections go as is written; what it waits is noted, as the series and its how manieth."""

    def __init__(self, steps, *, standing_by=False, seconds=0.0):
        self.waits = []
        self.series = 0
        self.steps = list(steps)
        self.opened = 0
        self.parked = asyncio.Event()
        super().__init__(self.backoff, standing_by=standing_by)
        self.seconds = seconds
        self.pipeline._open, self.pipeline._serve = self.open, self.serve

    def backoff(self):
        mine, self.series = self.series, self.series + 1

        def waits():
            for number in range(99):
                self.waits.append((mine, number))
                yield self.seconds

        return waits()

    async def open(self):
        self.opened += 1
        if not self.steps:
            self.parked.set()
            await asyncio.Event().wait()
        step = self.steps.pop(0)
        if callable(step):
            step = step()
        if isinstance(step, Exception):
            raise step
        return step

    async def serve(self, fruitless):
        self.pipeline.sender.fruitless = fruitless

    async def until_the_end(self):
        """Let it go through all the steps; returns whether it ends by itself."""
        driving, parked = asyncio.create_task(self.pipeline._drive()), asyncio.create_task(self.parked.wait())
        async with asyncio.timeout(PATIENCE):
            await asyncio.wait({driving, parked}, return_when=asyncio.FIRST_COMPLETED)
        parked.cancel()
        if driving.done():
            await driving
            return True
        driving.cancel()
        return False


DRIVES = {
    # how connections go (a number: how many have been of no use in a row by its end): which waits are taken
    "away": ([AWAY, AWAY, BROKEN], [(0, 0), (0, 1), (0, 2)]),
    "away, of use, away": ([AWAY, AWAY, 0, AWAY], [(0, 0), (0, 1), (1, 0)]),
    "of use again and again": ([0, 0, 0], []),
    "of no use": ([1, 2, 14, 15], []),
    "of no use sixteen times": ([15, 16, 17, 18], [(2, 0), (2, 1), (2, 2)]),
    "of no use, of use": ([15, 16, 0, AWAY, 0, AWAY], [(2, 0), (2, 1), (3, 0)]),
}


@pytest.mark.parametrize("case", DRIVES)
async def test_how_long_it_waits_before_it_connects_again(case):
    steps, waits = DRIVES[case]
    driven = Driven(steps)
    assert not await driven.until_the_end()
    assert driven.waits == waits
    assert driven.opened == len(steps) + 1
    errors = [line["error"] for line in driven.said("redis_unavailable")]
    assert errors == [str(step) for step in steps if isinstance(step, Exception)]


@pytest.mark.parametrize("step", [AWAY, BROKEN, 16])
async def test_it_does_wait(step):
    driven = Driven([step, 0, 0], seconds=3600.0)
    driving = asyncio.create_task(driven.pipeline._drive())
    await soon()
    assert (driven.opened, len(driven.waits)) == (1, 1)
    driving.cancel()


async def test_what_the_log_says_of_a_wait_is_rounded():
    driven = Driven([AWAY], seconds=0.016)
    await driven.until_the_end()
    assert [line["retry_in"] for line in driven.said("redis_unavailable")] == [0.02]


@pytest.mark.parametrize("error", [AWAY, BROKEN])
async def test_who_stands_by_meanwhile_waits_for_the_right_and_for_nothing_else(error):
    def loses_the_right():
        driven.pipeline.stand_by()
        return error

    driven = Driven([loses_the_right, 0])
    driving = asyncio.create_task(driven.pipeline._drive())
    await soon()
    assert (driven.pipeline.state, driven.opened, driven.waits) == (State.STANDING_BY, 1, [])
    assert driven.said("redis_unavailable") == []
    driven.pipeline.may_write(FENCE)
    async with asyncio.timeout(PATIENCE):
        await driven.parked.wait()
    assert driven.states == ["standing by", "away"]
    driving.cancel()


async def test_who_stands_by_makes_no_connection():
    driven = Driven([0], standing_by=True)
    driving = asyncio.create_task(driven.pipeline._drive())
    await soon()
    assert (driven.opened, driven.states) == (0, ["standing by"])
    driven.pipeline.may_write(FENCE)
    async with asyncio.timeout(PATIENCE):
        await driven.parked.wait()
    assert (driven.opened, driven.states) == (2, ["standing by", "away"])
    driving.cancel()


@pytest.mark.parametrize("how", ["redis says so", "the lease says so"])
async def test_who_is_displaced_connects_no_more(how):
    def displaced():
        if how == "redis says so":
            return DisplacedError("test")
        driven.pipeline.displace()
        return BROKEN

    driven = Driven([displaced, 0])
    assert await driven.until_the_end()
    assert (driven.opened, driven.waits, driven.pipeline.state) == (1, [], State.DISPLACED)
    assert len(driven.events.displacements) == (how == "redis says so")
    assert driven.said("redis_unavailable") == []
