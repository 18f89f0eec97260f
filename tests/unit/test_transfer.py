"""How a batch goes over the wire, and what its replies say of each command; against what a real server answers."""

from __future__ import annotations

import itertools

import hiredis
import pytest

from bridge.model import Channel
from bridge.publish.batch import pack
from bridge.publish.connection import open_connection
from bridge.publish.fence import Fence, FenceState
from bridge.publish.pending import DATA, Pending
from bridge.publish.sorting import concerns_server, sort_out
from bridge.publish.stream import StreamId
from bridge.publish.transfer import DIVIDED, EXEC, MULTI, Mode, Transfer, refused
from bridge.publish.wire import command, render
from tests.unit.core import SECOND, T0, stream, trade
from tests.unit.publishing import raw

FENCE = Fence("fence", "1-a", "test")
OOM = hiredis.ReplyError("OOM command not allowed when used memory > 'maxmemory'.")
ABORT = hiredis.ReplyError("EXECABORT Transaction discarded because of previous errors.")
TYPE = hiredis.ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")
Q = b"QUEUED"


def batch(*counts, trims=0, looks=0):
    """So many trades of each of several streams."""
    runs = []
    for number, count in enumerate(counts):
        where = stream(Channel.TRADES, f"P{number}-EUR")
        entries = [Pending(T0 + n * SECOND, render(trade(n, str(n))), DATA) for n in range(count)]
        runs.append((where, entries, sum(entry.weight for entry in entries)))
    made = pack(runs, 0)
    for where, _, _ in runs[:trims]:
        made.add_trimming(where, [command("XTRIM", where.key, "MAXLEN", "=", 1)])
    for where, _, _ in runs[:looks]:
        made.add_look(where)
    return made


def names(transfer):
    return [text.split("\r\n")[2] for text in transfer.texts()]


def test_a_batch_to_one_server_is_one_transaction():
    transfer = Transfer.of(batch(2, 1, trims=1, looks=2), Mode.ATOMIC, FENCE)
    assert names(transfer) == [
        "MULTI", "XADD", "XADD", "XADD", "XTRIM", "EXEC", "WATCH", "GET", "XLEN", "XLEN",
    ]  # fmt: skip
    assert transfer.expected == 10
    assert (transfer.alone, transfer.units, transfer.queued) == (0, [4], 4)


def test_without_a_fence_nothing_is_watched():
    transfer = Transfer.of(batch(1), Mode.ATOMIC, None)
    assert names(transfer) == ["MULTI", "XADD", "EXEC"]
    assert transfer.expected == 3


def test_a_batch_of_nothing_but_looks_is_no_transaction():
    transfer = Transfer.of(batch(0, looks=1), Mode.ATOMIC, FENCE)
    assert names(transfer) == ["WATCH", "GET", "XLEN"]
    assert transfer.expected == 3
    assert transfer.all_taken([b"OK", b"1-a", 0])
    assert transfer.outcome([b"OK", b"1-a", 0]).looks == [0]


def test_to_a_cluster_the_only_entry_of_a_stream_goes_by_itself():
    transfer = Transfer.of(batch(1, 1, trims=1, looks=1), Mode.BY_SLOT, None)
    assert names(transfer) == ["XADD", "XADD", "XTRIM", "XLEN"]
    assert (transfer.expected, transfer.queued) == (4, 0)
    assert transfer.all_taken([b"1-1", b"1-1", 1, OOM]), "a look that is refused is no refusal of the batch"
    assert not transfer.all_taken([b"1-1", OOM, 1, 1])
    assert not transfer.all_taken([b"1-1", b"1-1", OOM, 1])
    outcome = transfer.outcome([b"1-1", OOM, 1, 7])
    assert (outcome.entries, outcome.trims, outcome.looks, outcome.cause) == ([b"1-1", OOM], [1], [7], "")


def test_several_of_a_stream_go_in_a_transaction_with_their_slot():
    made = batch(2, 1, 3, trims=1)
    double, single, triple = (run[0] for run in made.runs)
    book = stream(Channel.BOOK, double.subject)
    more = pack([(book, [Pending(T0, render(trade(0, "0")), DATA)], 0)], 0)
    made.runs += more.runs
    made.commands[made.entries : made.entries] = more.commands
    made.entries += 1
    transfer = Transfer.of(made, Mode.BY_SLOT, None)
    assert (transfer.alone, transfer.units, transfer.queued) == (1, [3, 3], 0)
    assert names(transfer) == [
        "XADD", "MULTI", "XADD", "XADD", "XADD", "EXEC", "MULTI", "XADD", "XADD", "XADD", "EXEC", "XTRIM",
    ]  # fmt: skip
    assert [run[0] for run in made.runs] == [single, double, book, triple]
    keys = [text.split("\r\n")[4] for text in transfer.texts() if "XADD" in text]
    assert keys == [where.key for where, entries, _ in made.runs for _ in entries]
    assert len(transfer.texts()) == transfer.expected == 12
    taken = [b"1-1", b"OK", Q, Q, Q, [b"1-1", b"1-2", b"1-1"], b"OK", Q, Q, Q, [b"1-1", b"1-2", b"1-3"], 4]
    assert transfer.all_taken(taken)
    for place in (0, 11):
        assert not transfer.all_taken([*taken[:place], OOM, *taken[place + 1 :]])
    for place in (5, 10):
        assert not transfer.all_taken([*taken[:place], [b"1-1", b"1-2", TYPE], *taken[place + 1 :]])
    aborted = [b"1-1", b"OK", Q, OOM, Q, ABORT, b"OK", Q, Q, Q, [b"1-1", b"1-2", b"1-3"], 4]
    assert not transfer.all_taken(aborted)
    outcome = transfer.outcome(aborted)
    assert (outcome.entries, outcome.trims) == ([b"1-1", None, OOM, None, b"1-1", b"1-2", b"1-3"], [4])
    for words in ("ASK 5 127.0.0.1:7001", "TRYAGAIN Multiple keys request during rehashing of slot"):
        moving = [*taken[:10], hiredis.ReplyError(words), 4]
        assert not transfer.all_taken(moving)
        outcome = transfer.outcome(moving)
        assert (outcome.entries[-3:], outcome.cause) == ([DIVIDED] * 3, ""), words
    outcome = transfer.outcome([*taken[:10], OOM, 4])
    assert (outcome.entries[-3:], outcome.cause) == ([None] * 3, str(OOM))


def test_a_stream_that_had_two_turns_is_in_one_transaction():
    made = batch(1, 1, 1)
    first, second, third = made.runs
    again = pack([(first[0], [Pending(T0 + SECOND, render(trade(1, "1")), DATA)], 0)], 0)
    made.runs += again.runs
    made.commands += again.commands
    made.entries += 1
    transfer = Transfer.of(made, Mode.BY_SLOT, None)
    assert (transfer.alone, transfer.units) == (2, [2])
    assert [run[0] for run in made.runs] == [second[0], third[0], first[0], first[0]]
    assert [entry.seq for _, entries, _ in made.runs for entry in entries] == [1, 1, 1, 2]


def test_a_batch_whose_first_command_begins_a_transaction_says_so():
    assert Transfer.of(batch(2, 3), Mode.BY_SLOT, None).queued == 2


SHAPES = list(itertools.product([(0,), (1,), (3,), (2, 5), (1, 1, 4)], [0, 1], [0, 1], [False, True]))
"""Entries of each stream; whether streams are trimmed, looked at, and the time is asked for."""


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("fence", [FENCE, None])
def test_each_reply_finds_what_it_answers(mode, fence):
    """Whatever a batch consists of: as many replies as are expected, and each where it belongs."""
    for counts, trims, looks, timed in SHAPES:
        made = batch(*counts, trims=trims * len(counts), looks=looks * len(counts))
        made.asked_time = int(timed)
        transfer = Transfer.of(made, mode, fence)
        own = [b"%d-1" % number for number in range(made.entries)] + [1000 + n for n in range(len(made.trims))]
        rest = iter(own)
        replies = [next(rest) for _ in range(transfer.alone)]
        for unit in transfer.units:
            replies += [b"OK", *[Q] * unit, [next(rest) for _ in range(unit)]]
        replies += [*rest, *([b"OK", b"1-a"] if fence else []), *(2000 + n for n in range(len(made.looks)))]
        replies += [[1, 2]] * timed
        shape = (counts, trims, looks, timed)
        assert transfer.expected == len(replies) == len(transfer.texts()), shape
        assert transfer.all_taken(replies), shape
        outcome = transfer.outcome(replies)
        assert outcome.entries + outcome.trims == own, shape
        assert (len(outcome.entries), outcome.looks) == (made.entries, [2000 + n for n in range(len(made.looks))]), (
            shape
        )
        assert (outcome.fence, outcome.cause) == (FenceState.OURS, ""), shape
        for index in range(len(replies)) if not transfer.units else ():
            refused_one = [*replies[:index], OOM, *replies[index + 1 :]]
            concerns = index < len(own) or (fence is not None and index == len(own) + 1)
            assert transfer.all_taken(refused_one) is not concerns, (*shape, index)


@pytest.mark.parametrize("fence", [FENCE, None])
def test_what_the_replies_to_a_transaction_mean(fence):
    transfer = Transfer.of(batch(2, trims=1, looks=1), Mode.ATOMIC, fence)
    behind = [b"OK", b"1-a"] if fence else []
    taken = [b"OK", Q, Q, Q, [b"1-1", b"1-2", 5], *behind, 9]
    assert transfer.all_taken(taken)
    outcome = transfer.outcome(taken)
    assert (outcome.entries, outcome.trims, outcome.looks) == ([b"1-1", b"1-2"], [5], [9])
    # One of them failed when it was applied.
    failed = [b"OK", Q, Q, Q, [b"1-1", TYPE, 5], *behind, 9]
    assert not transfer.all_taken(failed)
    assert transfer.outcome(failed).entries == [b"1-1", TYPE]
    # One of them was refused: none was applied.
    aborted = [b"OK", Q, OOM, Q, ABORT, *behind, 9]
    assert not transfer.all_taken(aborted)
    outcome = transfer.outcome(aborted)
    assert (outcome.entries, outcome.trims, outcome.looks, outcome.cause) == ([None, OOM], [None], [9], "")
    # The whole was refused.
    outcome = transfer.outcome([b"OK", Q, Q, Q, OOM, *behind, 9])
    assert (outcome.entries, outcome.trims, outcome.cause) == ([None, None], [None], str(OOM))
    # Something in front of Redis refused one, and Redis applied the others.
    partly = [b"OK", Q, TYPE, Q, [b"1-1", 5], *behind, 9]
    assert not transfer.all_taken(partly)
    assert transfer.outcome(partly).entries == [b"1-1", TYPE]
    assert transfer.outcome(partly).trims == [5]


def test_what_the_fence_says_decides_about_the_next_batch():
    transfer = Transfer.of(batch(1, looks=1), Mode.ATOMIC, FENCE)
    for found, state in ((b"1-a", FenceState.OURS), (b"2-b", FenceState.FOREIGN), (None, FenceState.MISSING)):
        replies = [b"OK", Q, [b"1-1"], b"OK", found, 9]
        assert transfer.all_taken(replies) is (state is FenceState.OURS)
        assert transfer.outcome(replies).fence is state
        tripped = [b"OK", Q, None, b"OK", found, 9]
        assert not transfer.all_taken(tripped)
        assert transfer.outcome(tripped).entries == [None]
        assert transfer.outcome(tripped).cause == ""


def test_refusals_that_concern_the_server():
    for text in (
        str(OOM),
        "LOADING x",
        "READONLY y",
        "MISCONF z",
        "CLUSTERDOWN",
        "NOREPLICAS",
        str(ABORT),
        "MOVED 1 a",
    ):
        assert concerns_server(text), text
    for text in (str(TYPE), "NOPERM this user", "ERR whatever", "an OOM"):
        assert not concerns_server(text), text
    assert (refused(OOM), refused(b"OOM"), refused(None)) == (str(OOM), "", "")


async def test_a_real_server_answers_so(any_server):
    """Applied, refused as a whole, and stopped by the fence."""
    connection = await open_connection(any_server.url, "test", 5.0)
    with raw(any_server) as client:
        client.set(FENCE.key, FENCE.token)
        assert (await connection.request(FENCE.watch))[1] == b"1-a"
        made = batch(2, trims=1, looks=1)
        transfer = Transfer.of(made, Mode.ATOMIC, FENCE)
        replies = await connection.request(transfer.texts())
        assert transfer.all_taken(replies)
        client.config_set("maxmemory", 1)
        again = Transfer.of(batch(3), Mode.ATOMIC, FENCE)
        replies = await connection.request(again.texts())
        client.config_set("maxmemory", 0)
        outcome = again.outcome(replies)
        assert [refused(reply)[:3] for reply in outcome.entries] == ["OOM"] * 3
        client.set(FENCE.key, "2-b")
        replies = await connection.request(again.texts())
        assert again.outcome(replies).entries == [None] * 3
        assert again.outcome(replies).fence is FenceState.FOREIGN
        assert client.xlen(made.runs[0][0].key) == 1
    connection.abort("done")


# --- what becomes of the entries -----------------------------------------------------------------------------------


async def decide(server, made, replies, cause=""):
    connection = await open_connection(server.url, "test", 5.0)
    try:
        return await sort_out(connection, made.runs, replies, cause)
    finally:
        connection.abort("done")


def seqs(runs):
    return [[entry.seq for entry in entries] for _, entries, _ in runs]


async def test_what_was_not_applied_goes_again_under_its_numbers(redis_server):
    made = batch(2, 1)
    first = made.runs[0][0]
    verdict = await decide(redis_server, made, [None, None, None], str(ABORT))
    assert (seqs(verdict.again), verdict.accepted, verdict.server) == ([[1, 2], [1]], [], [str(ABORT)])
    assert (first.seq, first.ms) == (0, T0 // 10**6)
    assert verdict.blocked == {}


async def test_who_is_refused_alone_is_blocked_alone(redis_server):
    made = batch(3, 1)
    verdict = await decide(redis_server, made, [None, TYPE, TYPE, None])
    assert verdict.blocked == {made.runs[0][0]: (str(TYPE), made.runs[0][1][1])}
    assert (seqs(verdict.again), verdict.server) == ([[1, 2, 3], [1]], [])


async def test_the_same_words_for_all_streams_concern_the_server(redis_server):
    words = hiredis.ReplyError("ERR closed for maintenance")
    verdict = await decide(redis_server, batch(1, 1), [words, words])
    assert (verdict.server, verdict.blocked) == ([str(words)], {})
    verdict = await decide(redis_server, batch(1, 1, 1), [words, words, None])
    assert (verdict.server, len(verdict.blocked)) == ([], 2)


async def test_what_was_refused_before_one_that_was_accepted_is_lost(redis_server):
    """By something in front of Redis, say: its place is closed for good."""
    made = batch(4)
    [(where, entries, _)] = made.runs
    where.flying = 4
    verdict = await decide(redis_server, made, [b"1-1", OOM, b"1-3", OOM])
    assert seqs(verdict.accepted) == [[1, 3]]
    assert seqs(verdict.again) == [[4]]
    assert verdict.holes == {where: (entries[1].weight, 1)}
    assert (where.seq, where.flying, verdict.server) == (3, 3, [str(OOM)])


async def test_too_small_is_looked_at_before_it_is_believed(any_server):
    """Ours are confirmed; what isn't there was kept out by somebody else, and goes above what they wrote."""
    made = batch(3)
    [(where, entries, _)] = made.runs
    doubt = hiredis.ReplyError("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    with raw(any_server) as client:
        client.delete(where.key)
        client.xadd(where.key, {"type": "trade", "id": "theirs"}, id=f"{entries[0].ms}-1")
        client.execute_command(*_words(made.commands[1]))
        client.xadd(where.key, {"who": "else"}, id=f"{entries[2].ms + 5}-9")
    verdict = await decide(any_server, made, [doubt] * 3)
    assert (seqs(verdict.accepted), verdict.confirmed) == ([[2]], 1)
    assert seqs(verdict.again) == [[3]]
    assert verdict.holes == {where: (entries[0].weight, 1)}
    assert verdict.foreign == {where}
    assert StreamId(where.ms, where.seq + 1) > StreamId(entries[2].ms + 5, 9)
    assert (where.seq, where.conflicts) == (2, 1)


def _words(text):
    return text.split("\r\n")[2::2]


def test_the_words_of_a_transaction():
    assert (MULTI, EXEC) == ("*1\r\n$5\r\nMULTI\r\n", "*1\r\n$4\r\nEXEC\r\n")
