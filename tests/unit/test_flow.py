from __future__ import annotations

import pytest

from bridge.feed.flow import FlowControl

SECOND = 1_000_000_000


class Socket:
    def __init__(self):
        self.reading = True
        self.calls = 0

    def pause_reading(self):
        assert self.reading, "uvloop refuses to pause twice"
        self.reading = False
        self.calls += 1

    def resume_reading(self):
        assert not self.reading
        self.reading = True
        self.calls += 1


class Clock:
    now = 100 * SECOND

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def flow(clock):
    return FlowControl(clock)


def test_all_sockets_are_paused_while_anybody_holds(flow):
    first, second, one, other = Socket(), Socket(), object(), object()
    flow.add(first)
    flow.hold(one)
    flow.hold(other)
    flow.hold(one)
    flow.add(second)
    assert (first.reading, second.reading, flow.held, flow.pauses) == (False, False, True, 1)
    flow.release(one)
    flow.release(one)
    assert not first.reading
    flow.release(other)
    assert (first.reading, second.reading, flow.held) == (True, True, False)
    assert (first.calls, second.calls) == (2, 2)


def test_who_never_held_releases_nothing(flow):
    socket, one = Socket(), object()
    flow.add(socket)
    flow.hold(one)
    flow.release(object())
    assert not socket.reading


def test_a_socket_that_is_given_up_is_read_again(flow):
    """Its closing handshake, and the end of the connection, must be seen."""
    socket, one = Socket(), object()
    flow.add(socket)
    flow.hold(one)
    flow.discard(socket)
    flow.discard(socket)
    assert socket.reading
    flow.release(one)
    assert socket.calls == 2


def test_paused_time_is_told_for_any_stretch(flow, clock):
    holder = object()
    for start, end in ((10, 12), (20, 25)):
        clock.now = start * SECOND
        flow.hold(holder)
        clock.now = end * SECOND
        flow.release(holder)
    clock.now = 30 * SECOND
    assert [flow.paused_since(start * SECOND) / SECOND for start in (0, 11, 12, 22, 25, 30)] == [7, 6, 5, 3, 0, 0]
    assert flow.seconds == 7
    flow.hold(holder)
    clock.now = 33 * SECOND
    assert [flow.paused_since(start * SECOND) / SECOND for start in (0, 24, 31)] == [10, 4, 2]
    assert flow.seconds == 10


def test_a_clock_that_goes_back_takes_nothing_off(flow, clock):
    holder = object()
    flow.hold(holder)
    clock.now -= 50 * SECOND
    assert flow.paused_since(0) == 0
    flow.release(holder)
    assert (flow.seconds, flow.paused_since(0)) == (0, 0)
