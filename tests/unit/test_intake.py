from __future__ import annotations

import asyncio

import pytest

from bridge.feed.flow import FlowControl
from bridge.feed.intake import FRAME_COST, WORK_PER_TURN, Intake
from tests.unit.publishing import until


class Socket:
    """uvloop refuses to pause what is paused."""

    reading = True

    def pause_reading(self):
        assert self.reading
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        self.reading = True


class Rig:
    """A connection's intake, as the connection uses it."""

    def __init__(self):
        self.flow = FlowControl()
        self.socket = Socket()
        self.understood = []
        self.turns = []
        self.intake = Intake(self.flow, self.understand)

    def understand(self, data, recv):
        self.understood.append(recv)
        self.on_frame()

    def on_frame(self):
        """For a test to change."""

    def read(self, numbers):
        """Frames that one read of the socket brings."""
        for number in numbers:
            intake = self.intake
            intake.work += FRAME_COST
            if self.flow.held or intake.frames or (intake.work > WORK_PER_TURN and intake.exhausted()):
                intake.frames.append((b"", number))
            else:
                self.understand(b"", number)

    def come(self, *numbers):
        self.intake.frames.extend((b"", number) for number in numbers)


@pytest.fixture
async def rig():
    return Rig()


async def test_what_was_read_comes_first_then_the_socket_is_read(rig):
    rig.intake.opened(rig.socket)
    rig.flow.hold(rig)
    rig.come(*range(1000))
    assert not rig.socket.reading
    rig.flow.release(rig)
    assert (rig.understood, rig.socket.reading) == ([], False)
    await until(lambda: rig.socket.reading)
    assert rig.understood == list(range(1000))


async def test_the_loop_gets_its_turn_in_between(rig):
    rig.flow.hold(rig)
    rig.come(*range(1000))
    rig.flow.release(rig)
    seen = []
    while len(rig.understood) < 1000:
        await asyncio.sleep(0)
        seen.append(len(rig.understood))
    assert len(seen) >= 4


async def test_a_hold_stops_it_halfway(rig):
    rig.intake.opened(rig.socket)
    rig.on_frame = lambda: rig.flow.hold(rig) if len(rig.understood) == 10 else None
    rig.flow.hold(rig)
    rig.come(*range(20))
    rig.flow.release(rig)
    await until(lambda: len(rig.understood) == 10)
    rig.flow.release(rig)
    await until(lambda: rig.socket.reading)
    assert rig.understood == list(range(20))


async def test_a_hold_at_the_last_frame_leaves_the_socket_paused(rig):
    rig.intake.opened(rig.socket)
    rig.on_frame = lambda: rig.flow.hold(rig)
    rig.flow.hold(rig)
    rig.come(1)
    rig.flow.release(rig)
    await until(lambda: rig.understood)
    await asyncio.sleep(0)
    assert not rig.socket.reading


async def test_a_socket_opened_while_the_feed_is_held_is_paused(rig):
    rig.flow.hold(rig)
    rig.intake.opened(rig.socket)
    assert not rig.socket.reading
    rig.intake.close()
    assert rig.socket.reading


async def test_what_one_turn_brings_beyond_its_share_is_understood_in_later_ones(rig):
    rig.intake.opened(rig.socket)
    rig.read(range(20_000))
    assert 1000 < len(rig.understood) < 10_000
    assert not rig.socket.reading, "a loop that reads on for as long as anything comes would read on"
    seen = []
    while not rig.socket.reading:
        await asyncio.sleep(0)
        seen.append(len(rig.understood))
    assert len(seen) > 10
    assert rig.understood == list(range(20_000))


async def test_many_turns_that_bring_little_each_are_no_burst(rig):
    rig.intake.opened(rig.socket)
    for start in range(0, 20_000, 100):
        rig.read(range(start, start + 100))
        assert len(rig.understood) == start + 100
        await asyncio.sleep(0)
    assert rig.socket.reading


async def test_large_frames_are_a_burst_sooner(rig):
    rig.intake.opened(rig.socket)
    rig.intake.work = 10**6
    rig.read([1])
    rig.intake.work = 10**6
    rig.read([2])
    assert (rig.understood, rig.socket.reading) == ([1], False)
    await until(lambda: rig.socket.reading)
    assert rig.understood == [1, 2]


async def test_a_hold_outlasts_the_turn(rig):
    rig.intake.opened(rig.socket)
    rig.read(range(20_000))
    rig.flow.hold(rig)
    before = len(rig.understood)
    for _ in range(5):
        await asyncio.sleep(0)
    assert (len(rig.understood), rig.socket.reading) == (before, False)
    rig.flow.release(rig)
    await until(lambda: rig.socket.reading)
    assert rig.understood == list(range(20_000))


async def test_a_connection_that_is_closed_in_such_a_turn_is_read_on(rig):
    """Its end must be seen, whoever holds the feed by then."""
    rig.intake.opened(rig.socket)
    rig.read(range(20_000))
    rig.intake.close()
    rig.flow.hold(rig)
    assert rig.socket.reading
    await asyncio.sleep(0)
    assert rig.socket.reading
