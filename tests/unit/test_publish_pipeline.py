"""What each event does to a pipeline, at once, in each state.

What comes of it in the end, on a real server, is in `test_pipeline_states.py`.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from bridge.errors import DisplacedError
from bridge.model import Channel
from bridge.publish.fence import Fence
from bridge.publish.sender import Findings
from bridge.publish.state import State
from tests.patience import PATIENCE
from tests.unit.core import stream
from tests.unit.lines import fresh, numbered, run_of, scripted
from tests.unit.piped import FENCE, Piped, end_of, soon

NEXT = Fence("fence", "4-aaaa", "test")


@pytest.fixture
async def other_line():
    async with scripted(lambda _: b"OK") as (made, _):
        yield made


# --- what others see -----------------------------------------------------------------------------------------------


async def test_figures(piped, line):
    pipeline = piped.pipeline
    assert (pipeline.connected, pipeline.waiting, pipeline.busy, pipeline.scheduled) == (False, 0, False, False)
    piped.put(fresh(1), fresh(2), fresh(3))
    assert (pipeline.waiting, pipeline.busy) == (3, True)
    pipeline.sender.in_doubt = [run_of(piped.stream, numbered(1), numbered(2), numbered(3))]
    pipeline._connection = line
    assert (pipeline.connected, pipeline.waiting, pipeline.busy) == (True, 6, True)
    pipeline.queue.block(piped.stream, "no")
    assert pipeline.busy, "with what is in doubt"
    pipeline.sender.in_doubt = []
    assert (pipeline.waiting, pipeline.busy) == (3, False)
    pipeline.queue.unblock(piped.stream)
    pipeline.state = State.DISPLACED
    assert not pipeline.busy


@pytest.mark.parametrize("how", ["acknowledged", "displaced by the lease", "displaced by the fence", "given away"])
async def test_who_waits_for_the_end_is_told(piped, how):
    pipeline = piped.pipeline
    pipeline.state = State.FLOWING if how == "acknowledged" else State.AWAY
    piped.put(fresh(1))
    waiting = asyncio.create_task(pipeline.drained())
    pipeline._idle.set()  # for whatever reason: there is something yet
    await soon()
    assert not waiting.done()
    if how == "acknowledged":
        pipeline.queue.take(1, 1 << 30)
        pipeline.sender.transfer = SimpleNamespace(all_taken=lambda _: True)
        pipeline.sender.taken = lambda _: setattr(pipeline.sender, "transfer", None)
        pipeline._settled([])
    elif how == "given away":
        pipeline.release(piped.stream)
    elif how == "displaced by the lease":
        pipeline.displace()
    else:
        pipeline._displaced(DisplacedError("test"))
    async with asyncio.timeout(PATIENCE):
        await waiting


# --- what others tell it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
async def test_stand_by(piped, line, other_line, state):
    pipeline = piped.pipeline
    pipeline.state, pipeline._connection, pipeline._recovering = state, line, other_line
    pipeline.stand_by()
    assert pipeline.state is (State.STANDING_BY if state is State.FLOWING else state)
    assert (end_of(line), end_of(other_line)) == ("", "this process may not write now")
    assert not pipeline._allowed
    pipeline._recovering = None
    pipeline.stand_by()


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("connected", [True, False])
async def test_may_write_behind_the_same_fence(line, state, connected):
    piped = Piped(standing_by=True)
    pipeline = piped.pipeline
    pipeline.state, pipeline._connection = state, line if connected else None
    assert not pipeline._allowed
    pipeline.may_write(FENCE)
    goes_on = state is State.STANDING_BY and connected
    assert pipeline.state is (State.FLOWING if goes_on else state)
    assert piped.sent == ([(line, FENCE, pipeline._settled)] if goes_on else [])
    assert pipeline._allowed is (state is not State.DISPLACED)
    assert end_of(line) == ""


@pytest.mark.parametrize(("before", "after"), [(FENCE, NEXT), (FENCE, None), (None, FENCE)])
async def test_may_write_behind_another_fence(line, other_line, before, after):
    piped = Piped(fence=before, standing_by=True)
    pipeline = piped.pipeline
    pipeline.state, pipeline._connection, pipeline._recovering = State.STANDING_BY, line, other_line
    pipeline.may_write(after)
    assert (pipeline._fence, pipeline.state, pipeline._allowed) == (after, State.STANDING_BY, True)
    assert end_of(line) == end_of(other_line) == "the fence is another one now"
    assert piped.sent == []


@pytest.mark.parametrize("state", State)
async def test_displace(piped, line, other_line, state):
    pipeline = piped.pipeline
    pipeline.state, pipeline._connection, pipeline._recovering = state, line, other_line
    pipeline.displace()
    pipeline.displace()
    assert (pipeline.state, pipeline._allowed) == (State.DISPLACED, False)
    assert end_of(line) == end_of(other_line) == "another process has taken this one's place"
    assert piped.events.displacements == [], "who says so knows it"


async def test_displaced_by_what_redis_says_is_told_once(piped):
    pipeline = piped.pipeline
    for _ in range(2):
        pipeline._displaced(DisplacedError("test"))
    assert pipeline.state is State.DISPLACED
    [reason] = piped.events.displacements
    [said] = piped.said("displaced")
    assert said["reason"] == reason == str(DisplacedError("test"))


async def test_renew(piped, line, other_line):
    pipeline = piped.pipeline
    pipeline.renew("why")
    pipeline._connection, pipeline._recovering = line, other_line
    pipeline.renew("why")
    assert pipeline._emptied
    assert end_of(line) == end_of(other_line) == "why"


async def test_a_stream_goes_to_another_node_with_all_that_is_its_own(line):
    giving, taking = Piped(), Piped()
    moved, stays = giving.stream, stream(Channel.TRADES, "ETH-EUR")
    giving.pipeline.queue.add(stays)
    moved.seq, moved.flying = 6, 1
    giving.pipeline.ledger.history.add([run_of(moved, numbered(4), numbered(5)), run_of(stays, numbered(1))])
    giving.pipeline.sender.in_doubt = [run_of(moved, numbered(6))]
    giving.pipeline.ledger.missing[moved] = 3
    giving.pipeline.blocked.block(moved, "no", numbered(6))
    acknowledged = giving.pipeline.release(moved)
    assert acknowledged == [run_of(moved, numbered(4), numbered(5))]
    assert [entry.seq or entry.count for entry in moved.waiting] == [6, 3]
    assert (moved.seq, giving.pipeline.queue.streams, giving.pipeline.sender.in_doubt) == (5, [stays], [])
    assert giving.pipeline.blocked._cases == {}
    assert giving.events.drops == [moved]
    assert giving.pipeline.ledger.history.after({moved: 0, stays: 0}) == [run_of(stays, numbered(1))]
    taking.pipeline._connection = line
    taking.pipeline.adopt(moved, acknowledged)
    assert end_of(line) == "streams of another node have come to this one"
    assert taking.pipeline.queue.streams[1:] == [moved]
    assert taking.pipeline.ledger.history.after({moved: 0}) == acknowledged
    giving.pipeline._connection = line
    with pytest.raises(AssertionError):
        giving.pipeline.release(stays)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("trials", [True, False])
async def test_looking_around(piped, line, state, trials):
    pipeline = piped.pipeline
    pipeline.state, pipeline._connection = state, line
    piped.stream.blocked = "no"
    pipeline.look_around(5, trials=trials)
    flows = state is State.FLOWING
    assert (pipeline.upkeep.due, pipeline.blocked.due, len(piped.sent)) == (flows, flows and trials, flows)


# --- the hot path --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("obstacle", ["", "a batch is on its way", "no connection", "a lost connection"])
async def test_when_a_batch_goes(piped, line, state, obstacle):
    pipeline = piped.pipeline
    pipeline.state = state
    pipeline.scheduled = True
    pipeline._connection = None if obstacle == "no connection" else line
    pipeline.sender.transfer = object() if obstacle == "a batch is on its way" else None
    if obstacle == "a lost connection":
        line.abort("cut")
    pipeline.flush()
    goes = state is State.FLOWING and not obstacle
    assert piped.sent == ([(line, FENCE, pipeline._settled)] if goes else [])
    assert not pipeline.scheduled
    assert not pipeline._fault.done()


def on_its_way(piped, *, taken=True, findings=None):
    """A batch whose replies say that."""
    pipeline = piped.pipeline
    pipeline.state = State.FLOWING
    transfer = pipeline.sender.transfer = SimpleNamespace(all_taken=lambda _: taken)

    def count(_):
        pipeline.sender.transfer = None
        return findings

    pipeline.sender.taken = count
    return transfer


@pytest.mark.parametrize("more", [True, False])
async def test_a_batch_that_was_taken(piped, line, more):
    pipeline = piped.pipeline
    pipeline._connection = line
    on_its_way(piped)
    if more:
        piped.put(fresh(1))
    pipeline._settled([])
    assert (len(piped.sent), pipeline._idle.is_set()) == (more, not more)
    assert (pipeline.state, pipeline._work.done()) == (State.FLOWING, False)
    assert piped.said("redis_refused") == []


async def test_a_batch_of_which_something_was_not_taken(piped, line):
    pipeline = piped.pipeline
    pipeline._connection = line
    transfer = on_its_way(piped, taken=False)
    piped.put(fresh(1))
    pipeline._settled([b"a reply"])
    assert (pipeline.state, piped.sent, pipeline._idle.is_set()) == (State.SORTING_OUT, [], False)
    work = pipeline._work.result()
    assert (work.func, work.args) == (pipeline._sort_out, (transfer, [b"a reply"]))


async def test_replies_to_a_batch_that_is_no_more(piped):
    pipeline = piped.pipeline
    pipeline.state = State.FLOWING
    pipeline._settled([b"a reply"])
    assert (pipeline.state, pipeline._idle.is_set(), pipeline._fault.done()) == (State.FLOWING, False, False)


@pytest.mark.parametrize("more", [True, False])
async def test_streams_that_were_changed(piped, line, more):
    pipeline = piped.pipeline
    pipeline._connection = line
    on_its_way(piped, findings=Findings([piped.stream], ["what was refused"], emptied=False))
    if more:
        piped.put(fresh(1))
    pipeline._settled([])
    assert (pipeline.state, piped.sent, pipeline._emptied) == (State.SORTING_OUT, [], False)
    assert (pipeline._work.result().func, pipeline._work.result().args) == (pipeline._examine, ([piped.stream],))
    [said] = piped.said("redis_refused")
    assert said["errors"] == ["what was refused"]


async def test_streams_that_are_refused_alone(piped):
    on_its_way(piped, findings=Findings([], ["what was refused"], emptied=False))
    piped.pipeline._settled([])
    assert (piped.pipeline.state, piped.pipeline._work.done()) == (State.FLOWING, False)
    assert len(piped.said("redis_refused")) == 1


async def test_a_server_that_was_emptied(piped, line):
    pipeline = piped.pipeline
    pipeline._connection = line
    on_its_way(piped, findings=Findings([piped.stream], [], emptied=True))
    pipeline._settled([])
    assert (pipeline.state, pipeline._work.done(), pipeline._emptied) == (State.FLOWING, False, True)
    assert end_of(line) == "all streams have shrunk at once: Redis seems to have been emptied"
    assert piped.said("redis_refused") == []


@pytest.mark.parametrize("part", ["send", "taken"])
async def test_a_mistake_is_raised_by_the_task(piped, line, part):
    """A callback's would vanish in the event loop's log."""

    def mistake(*_):
        raise KeyError(part)

    on_its_way(piped)
    setattr(piped.pipeline.sender, part, mistake)
    if part == "send":
        piped.pipeline._connection, piped.pipeline.sender.transfer = line, None
        piped.pipeline.flush()
    else:
        piped.pipeline._settled([])
    with pytest.raises(ExceptionGroup) as caught:
        await piped.pipeline.run()
    assert caught.group_contains(KeyError, match=part)


async def test_the_first_mistake_is_the_one_that_is_raised(piped):
    pipeline = piped.pipeline
    first = KeyError("first")
    pipeline._fail(first)
    pipeline._fail(KeyError("second"))
    with pytest.raises(ExceptionGroup) as caught:
        await pipeline.run()
    assert caught.value.exceptions == (first,)


@pytest.mark.parametrize("state", [State.FLOWING, State.STANDING_BY, State.DISPLACED])
async def test_an_interruption(piped, state):
    pipeline = piped.pipeline
    pipeline.state = state
    pipeline._interrupt("first")
    pipeline._interrupt("second")
    if state is State.DISPLACED:
        assert (pipeline.state, pipeline._work.done()) == (State.DISPLACED, False)
    else:
        assert (pipeline.state, pipeline._work.result()) == (State.SORTING_OUT, "first")
