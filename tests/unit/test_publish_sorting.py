"""What became of entries: which replies mean what, and what is asked to find it out."""

from __future__ import annotations

import hiredis
import pytest

from bridge.model import Channel
from bridge.publish import sorting as module
from bridge.publish.batch import command_of
from bridge.publish.pending import CONTROL, Lost
from bridge.publish.sorting import DOUBTFUL, in_parts, last_ids, sort_out, standing
from bridge.publish.stream import StreamId
from bridge.publish.wire import command
from tests.unit.core import stream
from tests.unit.lines import HANG_UP, MS, line_to, numbered, requests, run_of, scripted, seqs

OOM = hiredis.ReplyError("OOM command not allowed when used memory > 'maxmemory'.")
READONLY = hiredis.ReplyError("READONLY You can't write against a read only replica.")
LOADING = hiredis.ReplyError("LOADING Redis is loading the dataset in memory")
TYPE = hiredis.ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")
SIZE = hiredis.ReplyError("ERR max request size exceeded")
NO_RIGHT = hiredis.ReplyError("NOPERM this user has no permissions")
TAKEN = b"1-1"


def streams(*bases):
    return [stream(Channel.TRADES, f"{base}-EUR") for base in bases]


async def decide(runs, replies, cause=""):
    """Sort out replies that leave no question."""
    async with scripted(lambda _: HANG_UP) as (line, asked):
        verdict = await sort_out(line, runs, replies, cause)
    assert asked == []
    return verdict


# --- by the replies alone ------------------------------------------------------------------------------------------


async def test_a_place_that_is_closed_is_lost_with_all_it_stood_for():
    where, other = streams("A", "B")
    declared = where.lost_entry(MS * 10**6, 5, "before")
    lost = Lost(declared.recv, declared.body, declared.kind, MS + 3, 3, declared.count, declared.loss)
    rows = [numbered(1), numbered(2, CONTROL), lost, numbered(4), numbered(5), numbered(6)]
    where.flying, where.controls, where.declared = 6, 2, 5
    where.ms, where.seq, where.gone, other.gone = MS + 6, 6, 3, 7
    other.flying = 1
    replies = [OOM, OOM, OOM, TAKEN, OOM, OOM, TAKEN]
    verdict = await decide([run_of(where, *rows), run_of(other, numbered(1))], replies)
    assert verdict.holes == {where: (sum(row.weight for row in rows[:3]), 1 + 0 + 5)}
    assert seqs(verdict.accepted) == {"A-EUR": [4], "B-EUR": [1]}
    assert seqs(verdict.again) == {"A-EUR": [5, 6]}
    assert [size for _, _, size in verdict.again] == [rows[4].weight + rows[5].weight]
    assert (where.flying, where.controls, where.declared, where.backlog) == (3, 0, 0, 3)
    assert (where.ms, where.seq) == (MS + 5, 4), "before the first that goes again"
    assert (where.gone, other.gone) == (None, 7)
    assert (verdict.confirmed, verdict.foreign) == (0, set())


BLAME = {
    # replies to one entry each of A, B and C, and what else is known: what the server says, and who is blocked
    "all taken": ([TAKEN, TAKEN, TAKEN], "", [], ""),
    "one stream": ([TAKEN, TYPE, TAKEN], "", [], "B"),
    "each in its own words": ([TYPE, SIZE, NO_RIGHT], "", [], "ABC"),
    "two of three in the same words": ([SIZE, SIZE, TAKEN], "", [], "AB"),
    "all in the same words": ([SIZE, SIZE, SIZE], "", [SIZE], ""),
    "all but those that are not applied": ([SIZE, SIZE, None], "", [], "AB"),
    "the server, and a stream besides": ([TYPE, OOM, OOM], "", [OOM], ""),
    "the server in different words": ([READONLY, OOM, READONLY], "", [OOM, READONLY], ""),
    "a cause": ([None, None, None], "EXECABORT", ["EXECABORT"], ""),
    "a cause, and a stream besides": ([None, TYPE, None], "EXECABORT", ["EXECABORT"], ""),
}


@pytest.mark.parametrize("case", BLAME)
async def test_whom_a_refusal_concerns(case):
    replies, cause, server, blocked = BLAME[case]
    every = streams("A", "B", "C")
    verdict = await decide([run_of(one, numbered(1)) for one in every], replies, cause)
    assert verdict.server == [str(text) for text in server]
    assert "".join(sorted(one.subject[0] for one in verdict.blocked)) == blocked


async def test_a_refusal_of_a_single_stream_is_its_own():
    [one] = streams("A")
    rows = [numbered(1), numbered(2), numbered(3), numbered(4)]
    verdict = await decide([run_of(one, *rows)], [None, SIZE, TYPE, None])
    assert (verdict.server, verdict.blocked) == ([], {one: (str(SIZE), rows[1])})


async def test_who_has_lost_the_entry_already_is_not_blocked():
    """Behind it Redis took another one: the stream is taken."""
    [one] = streams("A")
    verdict = await decide([run_of(one, numbered(1), numbered(2))], [SIZE, TAKEN])
    assert (verdict.blocked, list(verdict.holes)) == ({}, [one])


# --- what the server has -------------------------------------------------------------------------------------------

STANDS = {
    # what there is at the entry's ID: whether it counts as accepted
    "ours": (command_of, True),
    "a smaller text": (lambda one, entry: command_of(one, numbered(4, price="0")), False),
    "a larger text": (lambda one, entry: command_of(one, numbered(4, price="2")), False),
    "nothing": (lambda one, entry: command("XADD", one.key, f"{MS + 5}-1", "who", "else"), False),
    "nothing, but it would be trimmed": (lambda one, entry: setattr(one, "cut", StreamId(0, 5)), True),
    "another thing": (lambda one, entry: command("SET", one.key, "a string"), False),
    "another thing, and it would be trimmed": (lambda one, entry: setattr(one, "cut", StreamId(MS + 5, 0)), True),
}


@pytest.mark.parametrize("case", STANDS)
async def test_what_is_refused_as_too_small_is_looked_at(redis_server, case):
    prepare, stands = STANDS[case]
    [one] = streams("A")
    one.ms, one.seq, one.gone = MS + 4, 4, 0
    entry = numbered(4)
    async with line_to(redis_server) as line:
        if done := prepare(one, entry):
            await line.request([done])
        assert await standing(line, [(one, entry)]) == [stands]
        verdict = await sort_out(line, [run_of(one, entry)], [DOUBTFUL])
    assert verdict.confirmed == stands
    assert (seqs(verdict.accepted), seqs(verdict.again)) == (({"A-EUR": [4]}, {}) if stands else ({}, {"A-EUR": [4]}))
    assert verdict.foreign == (set() if stands else {one})
    assert (one.seq, one.gone) == ((4, 0) if stands else (3, None))
    assert (verdict.server, verdict.blocked) == ([], {}), "nobody is to blame"


@pytest.mark.parametrize(
    ("last", "ms"),
    [((90, 9), 100), ((100, 4), 100), ((100, 5), 100), ((100, 6), 101), ((105, 3), 105), ((105, 6), 106)],
)
def test_the_next_id_lies_above_what_somebody_else_wrote(last, ms):
    [one] = streams("A")
    one.ms, one.seq = 100, 5
    module._step_over(one, StreamId(*last))
    assert (one.ms, one.seq, one.conflicts) == (ms, 5, 1)


async def test_foreign_entries_are_stepped_over_in_their_streams_alone(redis_server):
    one, other = streams("A", "B")
    for where in (one, other):
        where.ms, where.seq = MS + 2, 2
    runs = [run_of(one, numbered(1), numbered(2)), run_of(other, numbered(2))]
    async with line_to(redis_server) as line:
        await line.request([command("XADD", one.key, f"{MS + 9}-0", "who", "else"), command_of(other, runs[1][1][0])])
        verdict = await sort_out(line, runs, [DOUBTFUL] * 3)
    assert verdict.foreign == {one}
    assert verdict.confirmed == 1
    assert [(where.ms - MS, where.seq, where.conflicts) for where in (one, other)] == [(9, 0, 1), (2, 2, 0)]


async def test_a_break_between_the_questions_changes_nothing():
    [one] = streams("A")
    one.ms, one.seq, one.gone = MS + 2, 2, 0
    for hangs_up in ("XRANGE", "XREVRANGE", "XINFO"):
        async with scripted(lambda words, end=hangs_up: HANG_UP if words[0] == end else []) as (line, asked):
            with pytest.raises(ConnectionError):
                await sort_out(line, [run_of(one, numbered(1), numbered(2))], [DOUBTFUL, OOM])
        assert asked[-1][0] == hangs_up
        assert (one.ms, one.seq, one.gone, one.conflicts) == (MS + 2, 2, 0, 0)


# --- how much is asked at once -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "more", "sizes"),
    [(2, 0, [2, 2, 2]), (2, -1, [2, 2, 2]), (2, 1, [3, 3]), (5, 0, [5, 1]), (6, 1, [6]), (0, 1, [1] * 6)],
)
def test_entries_are_asked_for_in_parts(monkeypatch, weights, more, sizes):
    """Of so many entries' bytes, and some more."""
    [one] = streams("A")
    rows = [(one, numbered(seq)) for seq in range(1, 7)]
    [weight] = {entry.weight for _, entry in rows}
    monkeypatch.setattr(module, "_AT_ONCE", weights * weight + more)
    parts = list(in_parts(rows))
    assert [len(part) for part in parts] == sizes
    assert [pair for part in parts for pair in part] == rows


async def test_large_entries_are_looked_at_some_at_a_time(redis_server):
    [one] = streams("A")
    rows = [(one, numbered(seq, ident="x" * 100_000)) for seq in range(1, 5)]
    async with line_to(redis_server) as line:
        await line.request([command_of(*row) for row in rows])
        asked = requests(line)
        assert await standing(line, rows) == [True] * 4
    assert [len(some) for some in asked] == [3, 1]


async def test_how_far_streams_are(redis_server):
    """Of a few at a time the last entry alone: in a book it may be a snapshot of a megabyte."""
    full = streams(*"ABCDEFGHIJ")
    absent, empty, wrong = streams("K", "L", "M")
    every = [absent, empty, *full, wrong]
    async with line_to(redis_server) as line:
        for number, one in enumerate(full, 2):
            await line.request([command_of(one, numbered(seq)) for seq in (1, number)])
        await line.request([command_of(empty, numbered(4)), command("XTRIM", empty.key, "MAXLEN", "=", 0)])
        await line.request([command("SET", wrong.key, "a string")])
        asked = requests(line)
        found = await last_ids(line, every)
    assert found == {
        **{one: StreamId(MS + number, number) for number, one in enumerate(full, 2)},
        absent: StreamId(),
        empty: StreamId(MS + 4, 4),
    }
    assert asked == [
        [["XREVRANGE", one.key, "+", "-", "COUNT", "1"] for one in every[:8]],
        [["XREVRANGE", one.key, "+", "-", "COUNT", "1"] for one in every[8:]],
        [["XINFO", "STREAM", one.key] for one in (absent, empty)],
    ]


@pytest.mark.parametrize("command_", ["XREVRANGE", "XINFO"])
@pytest.mark.parametrize(("refusal", "known"), [(LOADING, False), (READONLY, False), (NO_RIGHT, True), (TYPE, True)])
async def test_a_server_that_cannot_tell_is_left_and_one_that_will_not_is_not(command_, refusal, known):
    every = streams("A", "B")

    def answer(words):
        if every[1].key in words:
            return [[b"5-5", []]]
        return refusal if words[0] == command_ else []

    async with scripted(answer) as (line, _):
        if known:
            assert await last_ids(line, every) == {every[1]: StreamId(5, 5)}
            assert not line.lost.done()
            return
        with pytest.raises(ConnectionError, match=str(refusal)[:7]):
            await last_ids(line, every)
        assert line.lost.result() == "the server can't tell how far the streams are"
