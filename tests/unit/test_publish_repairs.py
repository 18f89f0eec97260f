"""What is done while nothing flows: a batch is sorted out, a Redis that takes nothing is waited for, a moving slot followed."""

from __future__ import annotations

import asyncio
from itertools import count

import hiredis
import pytest

from bridge.errors import DisplacedError
from bridge.publish.batch import pack
from bridge.publish.fence import Fence
from bridge.publish.transfer import Mode, Transfer
from bridge.publish.wire import command
from tests.patience import PATIENCE
from tests.unit.lines import MS, Parts, line_to, scripted
from tests.unit.publishing import raw

FENCE = Fence("fence", "3-aaaa", "test")
OOM = hiredis.ReplyError("OOM command not allowed when used memory > 'maxmemory'.")
SIZE = hiredis.ReplyError("ERR max request size exceeded")
DOUBT = hiredis.ReplyError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
Q = b"QUEUED"


@pytest.fixture
async def line(redis_server):
    async with line_to(redis_server) as made:
        yield made


def trimming(one, most=1):
    return one, command("XTRIM", one.key, "MAXLEN", "=", most)


def taken_out(parts, *, mode=Mode.ATOMIC, fence=None, trims=(), looks=()):
    """All that waits, as a transfer."""
    batch = pack(parts.queue.take(1000, 1 << 30), None)
    for where, text in trims:
        batch.add_trimming(where, [text])
    for where in looks:
        batch.add_look(where)
    return Transfer.of(batch, mode, fence)


def taken_out_one_by_one(parts, trims):
    """Every command goes by itself."""
    batch = taken_out(parts, trims=trims).batch
    return Transfer(batch, Mode.BY_SLOT, None, batch.entries, [])


# --- waiting -------------------------------------------------------------------------------------------------------


async def test_the_waits_go_on_until_redis_takes_something(line):
    series = []

    def backoff():
        series.append(count())
        return (next(series[-1]) / 1000 + 0.001 for _ in count())

    parts = Parts(backoff=backoff)
    for _ in range(3):
        await parts.repairs.wait(line, None, [str(OOM)], 7)
        assert parts.repairs.refused
    parts.repairs.taken()
    assert not parts.repairs.refused
    await parts.repairs.wait(line, None, [str(OOM)], 7)
    assert [next(one) for one in series] == [2, 0], "after the first refusal there is a wait that isn't theirs"
    lines = parts.said("redis_refused")
    assert [(said["retry_in"], said["errors"], said["waiting"]) for said in lines] == [
        (seconds, [str(OOM)], 7) for seconds in (0.05, 0.0, 0.0, 0.05)
    ]
    assert not line.lost.done()


async def test_what_the_log_says_of_a_wait_is_rounded(line):
    parts = Parts(backoff=lambda: iter([0.016]))
    for _ in range(2):
        await parts.repairs.wait(line, None, [str(OOM)], 7)
    assert [said["retry_in"] for said in parts.said("redis_refused")] == [0.05, 0.02]


async def test_a_connection_that_is_lost_ends_the_wait(line):
    parts = Parts(backoff=lambda: iter([3600.0]))
    await parts.repairs.wait(line, None, [str(OOM)], 1)
    waiting = asyncio.create_task(parts.repairs.wait(line, None, [str(OOM)], 1))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    line.abort("cut")
    async with asyncio.timeout(PATIENCE):
        await waiting


@pytest.mark.parametrize(
    ("messages", "end"),
    [
        (["OOM no"], ""),
        (["READONLY no"], "the server can't take writes"),
        (["MISCONF no", "MOVED 1 a:1"], "the server can't take writes"),
        (["it is not READONLY"], ""),
    ],
)
async def test_who_cannot_take_writes_is_left(line, messages, end):
    await Parts().repairs.wait(line, None, messages, 1)
    assert (line.lost.result() if line.lost.done() else "") == end


@pytest.mark.parametrize("mode", [Mode.ATOMIC, Mode.BY_SLOT])
async def test_room_is_made_by_what_there_is_to_trim(redis_server, line, mode):
    """In a Cluster it goes with the next batch: a transaction is for one slot there."""
    parts = Parts(mode)
    one, other = parts.stream("A"), parts.stream("B")
    with raw(redis_server) as client:
        for number in range(5):
            client.xadd(one.key, {"a": number})
        client.set(other.key, "a string")
        parts.upkeep.trims = trims = [trimming(one), trimming(other)]
        await parts.repairs.wait(line, None, [str(OOM)], 1)
        left = client.xlen(one.key)
    if mode is Mode.BY_SLOT:
        assert (left, parts.upkeep.trims, one.gone) == (5, trims, 0)
    else:
        assert (left, parts.upkeep.trims, one.gone, other.gone) == (1, [], 4, None)
        assert [f"{other.key}: WRONGTYPE" in str(said["errors"]) for said in parts.said("redis_refused")] == [
            False,
            True,
        ]


async def test_trimming_that_is_refused_as_a_whole_is_not_tried_again():
    parts = Parts()
    one, other = parts.stream("A"), parts.stream("B")
    parts.upkeep.trims = [trimming(one), trimming(one), trimming(other)]
    answers = {"MULTI": b"OK", "XTRIM": SIZE, "EXEC": hiredis.ReplyError("EXECABORT no")}
    async with scripted(lambda words: answers[words[0]]) as (line, asked):
        await parts.repairs.wait(line, None, [str(OOM)], 1)
    assert [some[0] for some in asked] == ["MULTI", "XTRIM", "XTRIM", "XTRIM", "EXEC"]
    assert (parts.upkeep.trims, one.gone, other.gone) == ([], None, None)
    assert len(parts.said("redis_refused")) == 2


async def test_trimming_of_which_nothing_is_heard_may_have_been_done(line):
    parts = Parts()
    one, other = parts.stream("A"), parts.stream("B")
    parts.upkeep.trims = [trimming(one)]
    line.abort("cut")
    with pytest.raises(ConnectionError, match="cut"):
        await parts.repairs.wait(line, None, [str(OOM)], 1)
    assert (one.gone, other.gone) == (None, 0)


async def test_trimming_is_behind_the_fence(redis_server, line):
    parts = Parts()
    parts.upkeep.trims = [trimming(parts.stream("A"))]
    with raw(redis_server) as client:
        client.set(FENCE.key, "4-bbbb")
    with pytest.raises(DisplacedError):
        await parts.repairs.wait(line, FENCE, [str(OOM)], 1)


# --- sorting out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "error", "end"),
    [(b"3-aaaa", None, ""), (None, ConnectionError, "Redis has lost the fence"), (b"4-bbbb", DisplacedError, "")],
)
@pytest.mark.parametrize("looks", [0, 1, 3])
async def test_a_batch_that_was_not_applied_is_held_against_the_fence(line, token, error, end, looks):
    parts = Parts()
    one = parts.stream("A")
    entries = parts.put(one, 2)
    transfer = taken_out(parts, fence=FENCE, looks=[one] * looks)
    replies = [b"OK", Q, Q, None, b"OK", token, *[0] * looks]
    if error:
        with pytest.raises(error):
            await parts.repairs.sort_out(line, FENCE, transfer, replies)
        assert list(one.waiting) == [], "nothing is changed"
        assert one.seq == 2
    else:
        assert await parts.repairs.sort_out(line, FENCE, transfer, replies) == []
        assert list(one.waiting) == entries
    assert (line.lost.result() if line.lost.done() else "") == end


async def test_what_is_refused_waits_again_or_is_declared_lost(redis_server, line):
    parts = Parts()
    one, other, foreign = (parts.stream(base) for base in "ABC")
    entries = parts.put(one, 3)
    parts.put(other, 2)
    parts.put(foreign, 1)
    transfer = taken_out_one_by_one(parts, [trimming(one), trimming(one)])
    parts.blocked.tried = other
    with raw(redis_server) as client:
        client.xadd(foreign.key, {"who": "else"}, id=f"{MS + 10}-1")
    replies = [b"1-1", None, None, SIZE, SIZE, DOUBT, 4, None]
    assert await parts.repairs.sort_out(line, None, transfer, replies) == []
    assert list(one.waiting) == entries[1:]
    assert [entry.seq for where in (one, other, foreign) for entry in where.waiting] == [0] * 5
    assert (parts.totals.published, one.published) == (1, 1)
    assert [bool(where.blocked) for where in (one, other, foreign)] == [False, True, False]
    assert parts.blocked._cases[other].culprit is other.waiting[0]
    assert parts.blocked.tried is None
    assert [(where, count) for where, _, count in parts.events.disturbances] == [(foreign, None)]
    assert (one.gone, foreign.gone) == (4, None)
    assert parts.upkeep.trims == [trimming(one)], "what was not applied is due again"


async def test_what_was_tried_and_not_applied_is_not_on_trial_any_more(line):
    parts = Parts()
    one = parts.stream("A")
    parts.put(one, 1)
    transfer = taken_out(parts)
    parts.blocked.tried = one
    assert await parts.repairs.sort_out(line, None, transfer, [b"OK", OOM, hiredis.ReplyError("EXECABORT no")]) == [
        str(OOM)
    ]
    assert parts.blocked.tried is None


# --- slots on the move ---------------------------------------------------------------------------------------------


async def test_a_cluster_that_sends_us_elsewhere_is_followed(redis_server, line):
    """Entry by entry, and so is the trimming; what was refused for another reason is not sent again."""
    parts = Parts(Mode.BY_SLOT)
    one = parts.stream("A")
    parts.put(one, 3)
    transfer = taken_out_one_by_one(parts, [trimming(one, 2)])
    host, port = "127.0.0.1", redis_server.port
    ask = hiredis.ReplyError(f"ASK 77 {host}:{port}")
    went = []

    async def elsewhere(address):
        went.append(address)
        return line

    async with scripted(lambda _: OOM) as (first, _):
        first.elsewhere = elsewhere
        assert await parts.repairs.sort_out(first, None, transfer, [b"1-1", ask, ask, ask]) == []
    assert went == [(host, port)]
    assert (parts.totals.published, one.gone, list(one.waiting)) == (3, 0, [])
    with raw(redis_server) as client:
        assert [ident.partition("-")[2] for ident, _ in client.xrange(one.key)] == ["2", "3"]


async def test_on_one_server_nothing_is_followed(line):
    parts = Parts()
    parts.put(parts.stream("A"), 1)
    transfer = taken_out(parts)
    ask = hiredis.ReplyError("ASK 77 127.0.0.1:1")
    line.elsewhere = None
    line.follow = None
    replies = [b"OK", ask, hiredis.ReplyError("EXECABORT no")]
    assert await parts.repairs.sort_out(line, None, transfer, replies) == [str(ask)]
