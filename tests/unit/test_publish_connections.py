"""What a pipeline does with a connection, from its beginning to its end."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from types import SimpleNamespace

import pytest

from bridge.errors import DisplacedError
from bridge.publish import pipeline as module
from bridge.publish.publisher import OneServer
from bridge.publish.recovery import Recovered
from bridge.publish.sorting import Verdict
from bridge.publish.state import State
from tests.patience import PATIENCE
from tests.unit.lines import fresh, numbered, run_of
from tests.unit.piped import FENCE, Piped, end_of, soon

BROKEN = ConnectionError("cut")


# --- from its beginning ------------------------------------------------------------------------------


class Opened(Piped):
    """A pipeline that makes one connection; what is done over it is noted. ``meanwhile`` happens at a step, and may return an error."""

    def __init__(self, line, *, fence=FENCE, at="", meanwhile=None):
        super().__init__(fence=fence)
        self.line = line
        self.done = []
        self.at = at
        self.meanwhile = meanwhile
        self.pipeline.connect = partial(self.step, "connect")
        self.pipeline.upkeep.ask_time = partial(self.step, "ask_time")
        self.pipeline._recover = partial(self.step, "recover")

    async def step(self, name, *_):
        self.done.append((name, str(self.pipeline.state), self.pipeline._recovering is self.line))
        if name == self.at and (error := self.meanwhile()):
            raise error
        return self.line


@pytest.mark.parametrize("fence", [FENCE, None])
async def test_a_connection_is_made_and_brought_up_to_date(monkeypatch, line, fence):
    opened = Opened(line, fence=fence)
    monkeypatch.setattr(module, "open_fence", partial(opened.step, "fence"))
    assert await opened.pipeline._open() is line
    expected = [
        ("connect", "away", False),
        ("ask_time", "recovering", False),
        ("fence", "recovering", True),
        ("recover", "recovering", True),
    ]
    assert opened.done == [step for step in expected if fence or step[0] != "fence"]
    assert (opened.pipeline._recovering, end_of(line)) == (None, "")


@pytest.mark.parametrize("step", ["ask_time", "fence", "recover"])
@pytest.mark.parametrize("error", [BROKEN, DisplacedError("test"), asyncio.CancelledError()])
@pytest.mark.parametrize("displaced", [False, True])
async def test_a_connection_that_is_of_no_use_is_closed(monkeypatch, line, step, error, displaced):
    def meanwhile():
        if displaced:
            opened.pipeline.state = State.DISPLACED
        return error

    opened = Opened(line, at=step, meanwhile=meanwhile)
    monkeypatch.setattr(module, "open_fence", partial(opened.step, "fence"))
    with pytest.raises(type(error)):
        await opened.pipeline._open()
    assert end_of(line) == "not usable"
    assert opened.pipeline.state is (State.DISPLACED if displaced else State.AWAY)
    assert opened.pipeline._recovering is None


@pytest.mark.parametrize(("event", "state"), [("stand_by", State.AWAY), ("displace", State.DISPLACED)])
async def test_who_may_not_write_any_more_once_connected_asks_nothing(line, event, state):
    opened = Opened(line, at="connect")
    opened.meanwhile = getattr(opened.pipeline, event)
    with pytest.raises(ConnectionError, match="this process may not write now"):
        await opened.pipeline._open()
    assert end_of(line) == "not usable"
    assert opened.done == [("connect", "away", False)]
    assert opened.pipeline.state is state


async def test_what_was_found_out_is_accounted_for(monkeypatch, line, piped):
    pipeline = piped.pipeline
    piped.stream.flying = 2
    accepted, again = numbered(1), numbered(2)
    verdict = Verdict(accepted=[run_of(piped.stream, accepted)], again=[run_of(piped.stream, again)])
    verdict.foreign = {piped.stream}
    in_doubt = pipeline.sender.in_doubt = [run_of(piped.stream, accepted, again)]
    pipeline.ledger.missing[piped.stream] = 4
    asked = []

    async def recover(*what, **more):
        asked.append((what, more))
        return Recovered(resent=3, verdict=verdict) if len(asked) == 1 else Recovered()

    monkeypatch.setattr(module, "recover", recover)
    await pipeline._recover(line)
    assert asked[0] == (
        (line, [piped.stream], in_doubt, pipeline.ledger.history),
        {"fence": FENCE, "missing": pipeline.ledger.missing, "emptied": False},
    )
    assert [entry.seq or entry.count for entry in piped.stream.waiting] == [2, 4], "with its number"
    assert (pipeline.sender.in_doubt, piped.stream.published) == ([], 1 - 4)
    assert [stream for stream, *_ in piped.events.disturbances] == [piped.stream]
    await pipeline._recover(line)
    assert [line["entries"] for line in piped.said("redis_resent")] == [3]
    assert len(piped.stream.waiting) == 2


EMPTIED = [
    # whether it is said before, how bringing Redis up to date ends, and whether that knows of it
    (False, None, False),
    (True, None, True),
    (False, None, False),
    (True, BROKEN, True),
    (False, BROKEN, True),
    (False, asyncio.CancelledError(), True),
    (False, None, True),
    (False, BROKEN, False),
    (False, None, False),
]


async def test_that_redis_was_emptied_is_known_until_it_is_dealt_with(monkeypatch, line, piped):
    asked = []

    async def recover(*_, emptied, **__):
        asked.append(emptied)
        if error := EMPTIED[len(asked) - 1][1]:
            raise error
        return Recovered()

    monkeypatch.setattr(module, "recover", recover)
    for said, _, _ in EMPTIED:
        if said:
            piped.pipeline.renew("why")
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await piped.pipeline._recover(line)
    assert asked == [known for *_, known in EMPTIED]


# --- to its end --------------------------------------------------------------------------------------


@pytest.fixture
async def served(piped, line):
    """A pipeline at a connection's beginning."""
    piped.pipeline.state = State.RECOVERING
    serving = asyncio.create_task(piped.pipeline._serve(line))
    await soon()
    yield SimpleNamespace(piped=piped, pipeline=piped.pipeline, line=line, serving=serving)
    serving.cancel()


async def test_once_connected_entries_flow(served):
    assert (served.pipeline.state, served.pipeline.connected) == (State.FLOWING, True)
    assert served.piped.events.recoveries == 1
    assert served.piped.sent == [(served.line, FENCE, served.pipeline._settled)]
    assert served.pipeline._idle.is_set(), "all that was in doubt may have been there"


async def test_once_connected_who_stands_by_holds_everything(line):
    piped = Piped(standing_by=True)
    piped.pipeline.state = State.RECOVERING
    serving = asyncio.create_task(piped.pipeline._serve(line))
    await soon()
    assert (piped.pipeline.state, piped.sent, piped.pipeline.connected) == (State.STANDING_BY, [], True)
    serving.cancel()


async def test_each_work_is_done_once_and_then_entries_flow_again(served):
    done = []

    async def work(number, connection):
        assert (connection, served.pipeline.state) == (served.line, State.SORTING_OUT)
        done.append(number)

    for number in (1, 2, 3):
        served.pipeline._interrupt(partial(work, number))
        assert served.pipeline.state is State.SORTING_OUT
        await soon()
        assert served.pipeline.state is State.FLOWING
    assert done == [1, 2, 3]
    assert len(served.piped.sent) == 4


@pytest.mark.parametrize("timed_out", [True, False])
async def test_a_lost_connection(served, timed_out):
    broke = []
    served.pipeline.sender.broke = lambda **how: broke.append(how)
    served.line.timed_out = timed_out
    served.line.abort("cut")
    async with asyncio.timeout(PATIENCE):
        await served.serving
    assert (served.pipeline.state, served.pipeline.connected) == (State.AWAY, False)
    assert broke == [{"timed_out": timed_out}]
    assert [line["reason"] for line in served.piped.said("redis_lost")] == ["cut"]


async def test_work_at_which_the_connection_is_lost(served):
    async def work(_):
        raise ConnectionError("cut")

    served.pipeline._interrupt(work)
    async with asyncio.timeout(PATIENCE):
        await served.serving
    assert (served.pipeline.state, end_of(served.line)) == (State.AWAY, "closed")


async def test_work_that_waits_for_a_lost_connection_is_not_begun(served):
    begun = []

    async def work(_):
        begun.append(1)

    served.pipeline._interrupt(work)
    served.line.abort("cut")
    async with asyncio.timeout(PATIENCE):
        await served.serving
    assert begun == []


@pytest.mark.parametrize("how", ["by the fence", "by the lease", "by the lease, while something is sorted out"])
async def test_displaced_while_connected(served, how):
    pipeline = served.pipeline

    async def work(_):
        if how == "by the fence":
            raise DisplacedError("test")
        pipeline.displace()

    if how == "by the lease":
        pipeline.displace()
    else:
        pipeline._interrupt(work)
    async with asyncio.timeout(PATIENCE):
        await served.serving
    assert (pipeline.state, pipeline.connected) == (State.DISPLACED, False)
    assert end_of(served.line) == ("closed" if how == "by the fence" else "another process has taken this one's place")
    assert len(served.piped.events.displacements) == (how == "by the fence")
    assert served.piped.said("redis_lost") == []
    assert len(served.piped.sent) == 1, "nothing was sent since"


async def test_a_connection_that_is_needed_no_more_is_closed(served):
    served.serving.cancel()
    await asyncio.wait([served.serving])
    assert (served.pipeline.connected, end_of(served.line)) == (False, "closed")


@pytest.mark.parametrize("messages", [[], ["OOM no"]])
@pytest.mark.parametrize("state", [State.SORTING_OUT, State.DISPLACED])
async def test_what_follows_when_a_batch_was_sorted_out(piped, line, messages, state):
    pipeline = piped.pipeline
    pipeline.state = State.SORTING_OUT
    transfer = pipeline.sender.transfer = object()
    piped.put(fresh(1))
    pipeline.sender.in_doubt = []
    waited = []

    async def sort_out(*what):
        assert what == (line, FENCE, transfer, [b"a reply"])
        pipeline.state = state
        return messages

    async def wait(*what):
        waited.append((what, pipeline.state))

    pipeline._repairs.sort_out, pipeline._repairs.wait = sort_out, wait
    await pipeline._sort_out(transfer, [b"a reply"], line)
    waits = messages and state is State.SORTING_OUT
    assert waited == ([((line, FENCE, messages, 1), State.WAITING)] if waits else [])
    assert pipeline.state is (State.WAITING if waits else state)
    assert pipeline.sender.transfer is None


async def test_streams_that_were_changed_are_examined(piped, line):
    examined = []

    async def examine(*what):
        examined.append(what)

    piped.pipeline.upkeep.examine = examine
    await piped.pipeline._examine([piped.stream], line)
    assert examined == [(line, [piped.stream])]


@pytest.mark.parametrize(("peer", "left"), [(("h", 1), False), (("h", 2), True)])
async def test_a_connection_to_a_master_that_was_replaced_is_left(line, piped, peer, left):
    pipeline = piped.pipeline
    nodes = OneServer(None)
    nodes.set_up(lambda: pipeline)
    line.peer = peer
    pipeline._connection = line
    nodes.follow_master(("h", 1))
    assert line.lost.done() is left
