"""After a (re)connect, step by step: the fence, transactions, how far Redis is, and what goes again."""

from __future__ import annotations

import itertools
from collections import Counter

import hiredis
import pytest

from bridge.errors import DisplacedError
from bridge.model import Channel
from bridge.publish.batch import History, command_of
from bridge.publish.fence import Fence, FenceState
from bridge.publish.recovery import check, open_fence, recover, transact
from bridge.publish.stream import StreamId
from bridge.publish.wire import command
from tests.unit.core import stream
from tests.unit.lines import HANG_UP, MS, line_to, numbered, requests, run_of, scripted, seqs
from tests.unit.publishing import raw

FENCE = Fence("fence", "3-aaaa", "test")
SET = command("SET", "k", "v")
PUSH = command("LPUSH", "k", "v")
NONSENSE = command("NONSENSE")


# --- the fence -----------------------------------------------------------------------------------------------------

FOUND = {
    # what the key holds: what is asked, and how it ends
    "ours": ("3-aaaa", ["WATCH GET"], ""),
    "nothing": (None, ["WATCH GET", "MULTI SET EXEC", "WATCH GET"], ""),
    "an older token": ("2-zzzz", ["WATCH GET", "MULTI SET EXEC", "WATCH GET"], ""),
    "another one of the same number": ("3-bbbb", ["WATCH GET"], "another process"),
    "a newer one": ("4-aaaa", ["WATCH GET"], "another process"),
}


@pytest.mark.parametrize("case", FOUND)
async def test_who_may_write(redis_server, case):
    token, expected, end = FOUND[case]
    with raw(redis_server) as client:
        if token:
            client.set(FENCE.key, token)
        async with line_to(redis_server) as line:
            asked = requests(line)
            if end:
                with pytest.raises(DisplacedError, match=end):
                    await open_fence(line, FENCE)
                assert client.get(FENCE.key) == token
            else:
                await open_fence(line, FENCE)
                assert client.get(FENCE.key) == FENCE.token
                assert await transact(line, FENCE, [SET]) == [b"OK"], "it is watched"
            assert [" ".join(words[0] for words in some) for some in asked[: len(expected)]] == expected
            assert not line.lost.done()


async def test_a_fence_that_cannot_be_set_is_tried_twice():
    async with scripted(lambda words: None if words[0] in ("GET", "EXEC") else b"OK") as (line, asked):
        with pytest.raises(ConnectionError, match="the fence fence can't be set"):
            await open_fence(line, FENCE)
        assert line.lost.result() == "the fence can't be set"
    assert [words[0] for words in asked] == ["WATCH", "GET", "MULTI", "SET", "EXEC"] * 2


async def test_a_fence_that_cannot_be_read(redis_server):
    async with line_to(redis_server) as line:
        await line.request([command("LPUSH", FENCE.key, "no token")])
        with pytest.raises(ConnectionError, match="the fence fence can't be read: WRONGTYPE"):
            await open_fence(line, FENCE)
        assert line.lost.result() == "the fence can't be read"
        assert check(line, FENCE, b"3-aaaa") is FenceState.OURS
        assert check(line, FENCE, None) is FenceState.MISSING


# --- transactions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fence", [FENCE, None])
@pytest.mark.parametrize(
    ("commands", "found"),
    [
        ([SET], [b"OK"]),
        ([SET, PUSH, SET], [b"OK", "WRONGTYPE", b"OK"]),
        ([NONSENSE, SET], "ERR unknown command"),
        ([SET, NONSENSE], "ERR unknown command"),
        ([SET, SET, NONSENSE, SET], "ERR unknown command"),
    ],
)
async def test_all_or_nothing(redis_server, fence, commands, found):
    async with line_to(redis_server) as line:
        await line.request([command("SET", FENCE.key, FENCE.token), *FENCE.watch])
        result = await transact(line, fence, commands)
        if isinstance(found, str):
            assert isinstance(result, hiredis.ReplyError)
            assert str(result).startswith(found)
        else:
            texts = [reply if isinstance(reply, bytes) else str(reply).split()[0] for reply in result]
            assert texts == found
        assert not line.lost.done()


@pytest.mark.parametrize(
    ("executed", "text"),
    [
        (hiredis.ReplyError("OOM command not allowed"), "OOM command not allowed"),
        (None, "EXECABORT the transaction was not applied"),
    ],
)
async def test_why_a_transaction_was_not_applied(executed, text):
    answers = {"MULTI": b"OK", "SET": b"QUEUED", "EXEC": executed}
    async with scripted(lambda words: answers[words[0]]) as (line, _):
        result = await transact(line, None, [SET, SET])
    assert isinstance(result, hiredis.ReplyError)
    assert str(result) == text


@pytest.mark.parametrize(
    ("token", "error", "end"),
    [
        (b"4-bbbb", DisplacedError, ""),
        (None, ConnectionError, "Redis has lost the fence"),
        (b"2-bbbb", ConnectionError, "Redis has lost the fence"),
        (hiredis.ReplyError("NOPERM no"), ConnectionError, "the fence can't be read"),
    ],
)
async def test_behind_a_transaction_the_fence_is_looked_at(token, error, end):
    answers = {"MULTI": b"OK", "SET": b"QUEUED", "EXEC": [b"OK"], "WATCH": b"OK", "GET": token}
    async with scripted(lambda words: answers[words[0]]) as (line, _):
        with pytest.raises(error):
            await transact(line, FENCE, [SET])
        assert (line.lost.result() if line.lost.done() else "") == end


# --- how far Redis is ----------------------------------------------------------------------------------------------


class Case:
    """A stream whose publisher is at number 12, and which Redis has up to some number."""

    def __init__(self, base="A", last=12):
        self.stream = stream(Channel.TRADES, f"{base}-EUR")
        self.rows = {seq: numbered(seq) for seq in range(1, last + 1)}
        self.stream.ms, self.stream.seq, self.stream.oldest, self.stream.gone = MS + last, last, StreamId(MS, 1), 0
        self.history = History()
        self.missing = Counter()

    def runs(self, *numbers):
        return [run_of(self.stream, *(self.rows[number] for number in numbers))] if numbers else []

    async def there(self, line, *numbers):
        await line.request([command_of(self.stream, self.rows[number]) for number in numbers])

    async def recover(self, line, in_doubt=(), **more):
        return await recover(line, [self.stream], in_doubt, self.history, fence=None, missing=self.missing, **more)

    def ids(self, server):
        with raw(server) as client:
            return [StreamId.parse(ident).seq for ident, fields in client.xrange(self.stream.key) if "id" in fields]


BEHIND = {
    # Redis has, in doubt, remembered, first that may be there: what goes again, what is missing, and the first then
    "all is there": ((12,), (), (9, 10, 11, 12), 1, (), 0, 1),
    "the last is gone": ((11,), (), (9, 10, 11, 12), 1, (12,), 0, 1),
    "some are gone": ((9,), (), (6, 7, 8, 9, 10, 11, 12), 1, (10, 11, 12), 0, 1),
    "more than is remembered": ((7,), (), (11, 12), 1, (11, 12), 3, 1),
    "nothing is remembered": ((7,), (), (), 1, (), 5, 1),
    "all is gone": ((), (), (11, 12), 1, (11, 12), 10, 11),
    "all is gone, of which some was trimmed": ((), (), (11, 12), 5, (11, 12), 6, 11),
    "the first that is left is the last": ((7,), (), (11, 12), 7, (11, 12), 3, 7),
    "the first that should be left is gone": ((7,), (), (11, 12), 8, (11, 12), 3, 11),
    "trimmed beyond it, and gone": ((7,), (), (), 10, (), 3, 13),
    "in doubt, and not there": ((9,), (10, 11, 12), (8, 9), 1, (), 0, 1),
    "in doubt, and one before is gone": ((8,), (10, 11, 12), (8, 9), 1, (9,), 0, 1),
    "in doubt, and what was before is not remembered": ((7,), (10, 11, 12), (), 1, (), 2, 1),
    "in doubt, and there": ((9, 10, 11, 12), (10, 11, 12), (9,), 1, (), 0, 1),
}


@pytest.mark.parametrize("case", BEHIND)
async def test_what_goes_again(redis_server, case):
    has, doubt, remembered, oldest, again, missing, first = BEHIND[case]
    one, at_ease = Case(), Case("B")
    one.stream.oldest = StreamId(MS, oldest)
    one.history.add(one.runs(*remembered))
    in_doubt = [run for number in doubt for run in one.runs(number)]
    async with line_to(redis_server) as line:
        await one.there(line, *has)
        await at_ease.there(line, 12)
        found = await recover(
            line, [at_ease.stream, one.stream], in_doubt, one.history, fence=None, missing=one.missing
        )
        await one.recover(line, in_doubt)  # and once more, as after a break at the very end
    assert one.ids(redis_server) == [*has, *again]
    waits = [number for number in doubt if number not in has]
    assert found.resent == len(again) + len(waits)
    assert one.missing.total() == missing, "counted once"
    assert set(+one.missing) <= {one.stream}
    assert one.stream.oldest == StreamId(MS, first)
    assert (one.stream.gone, at_ease.stream.gone) == (None if again or missing else 0, 0)
    assert (found.verdict is not None) == bool(doubt)
    if found.verdict:
        assert seqs(found.verdict.again) == ({"A-EUR": waits} if waits else {})
        assert found.verdict.confirmed == len(doubt) - len(waits)
    assert one.stream.seq == 12 - len(waits)


async def test_what_is_in_doubt_is_looked_for(redis_server):
    """Up to the last that is there; what is above it was not taken."""
    one = Case()
    async with line_to(redis_server) as line:
        await one.there(line, 9, 10, 11)
        found = await one.recover(line, one.runs(10, 11, 12))
    assert found.verdict.confirmed == 2
    assert (seqs(found.verdict.accepted), seqs(found.verdict.again)) == ({"A-EUR": [10, 11]}, {"A-EUR": [12]})
    assert (found.resent, found.verdict.holes, one.stream.seq) == (1, {}, 11)


async def test_a_stream_that_cannot_be_read_waits_with_what_is_in_doubt(redis_server):
    one = Case()
    async with line_to(redis_server) as line:
        await line.request([command("SET", one.stream.key, "a string")])
        found = await one.recover(line, one.runs(11, 12))
    assert seqs(found.verdict.again) == {"A-EUR": [11, 12]}
    assert (found.resent, one.missing.total(), one.stream.gone) == (2, 0, 0)


@pytest.mark.parametrize(("ms", "behind"), [(11, True), (12, True), (13, False)])
async def test_somebody_elses_entry_above_ours_is_no_sign_that_ours_are_gone(redis_server, ms, behind):
    one = Case()
    async with line_to(redis_server) as line:
        await line.request([command("XADD", one.stream.key, f"{MS + ms}-1", "who", "else")])
        found = await one.recover(line)
    assert (one.missing.total(), one.stream.gone) == ((11, None) if behind else (0, 0))
    assert found.resent == 0


async def test_nothing_more_is_asked_than_has_to_be(redis_server):
    one = Case()
    async with line_to(redis_server) as line:
        await one.there(line, 12)
        asked = requests(line)
        found = await one.recover(line)
    assert [[words[0] for words in some] for some in asked] == [["XREVRANGE"]]
    assert (found.resent, found.verdict, one.missing) == (0, None, {})


# --- a server that was emptied meanwhile ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has", "oldest", "missing", "first"),
    [
        ((5, 12), (0, 1), 4, (5, 5)),
        ((5, 12), (0, 3), 2, (5, 5)),
        ((5, 12), (0, 5), 0, (0, 5)),
        ((5, 12), (0, 7), 0, (0, 7)),
        ((), (0, 7), 6, (0, 13)),
    ],
)
async def test_a_stream_that_lacks_its_beginning(redis_server, has, oldest, missing, first):
    one = Case()
    one.stream.oldest = StreamId(MS + oldest[0], oldest[1])
    async with line_to(redis_server) as line:
        await one.there(line, *has)
        await one.recover(line, emptied=True)
        await one.recover(line, emptied=True)
    assert one.missing.total() == missing
    assert one.stream.oldest == StreamId(MS + first[0], first[1])
    assert one.stream.gone is None, "it is learned anew"


async def test_beginnings_are_looked_at_some_at_a_time(redis_server):
    """Of each the first entry alone; a key of another type has none."""
    every = [Case(base) for base in "ABCDEFGHIJ"]
    missing = Counter()
    async with line_to(redis_server) as line:
        for number, one in enumerate(every[:9], 1):
            await one.there(line, number, number + 1, 12)
        await line.request([command("SET", every[9].stream.key, "a string")])
        asked = requests(line)
        streams = [one.stream for one in every]
        await recover(line, streams, [], History(), fence=None, missing=missing, emptied=True)
    looks = [some for some in asked if some[0][0] == "XRANGE"]
    assert looks == [
        [["XRANGE", one.key, "-", "+", "COUNT", "1"] for one in streams[:8]],
        [["XRANGE", one.key, "-", "+", "COUNT", "1"] for one in streams[8:]],
    ]
    assert [missing[one] for one in streams] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]


# --- what was acknowledged and is gone -----------------------------------------------------------------------------


async def test_large_entries_go_again_some_at_a_time(redis_server):
    one = Case()
    for seq in range(9, 13):
        one.rows[seq] = numbered(seq, ident="x" * 100_000)
    one.history.add(one.runs(9, 10, 11, 12))
    async with line_to(redis_server) as line:
        await one.there(line, 8)
        asked = requests(line)
        found = await one.recover(line)
    assert [sum(words[0] == "XADD" for words in some) for some in asked] == [0, 3, 1]
    assert (found.resent, one.missing.total(), one.ids(redis_server)) == (4, 0, [8, 9, 10, 11, 12])


async def test_what_is_kept_out_is_missing_and_what_is_there_is_not(redis_server):
    """Somebody has written in between: of those below it, one stands there and two don't."""
    one = Case()
    one.history.add(one.runs(7, 8, 9, 10, 11, 12))
    one.rows[12].ms = one.stream.ms = MS + 20
    async with line_to(redis_server) as line:
        await one.there(line, 7)
        await line.request([command("XADD", one.stream.key, f"{MS + 9}-6", "who", "else")])
        found = await one.recover(line)
    assert one.ids(redis_server) == [7, 9, 10, 11, 12]
    assert (found.resent, one.missing.total()) == (6, 1)


async def test_entries_for_which_the_right_is_missing_are_missing(redis_server):
    one = Case()
    one.history.add(one.runs(10, 11, 12))
    with raw(redis_server) as client:
        client.execute_command("ACL", "SETUSER", "few", "on", ">p", "~*", "+@all", "-xadd")
        try:
            async with line_to(redis_server) as line:
                await one.there(line, 9)
            async with line_to(redis_server, redis_server.url.replace("//", "//few:p@")) as line:
                found = await one.recover(line)
                assert not line.lost.done()
        finally:
            client.execute_command("ACL", "DELUSER", "few")
    assert (found.resent, one.missing.total()) == (3, 3)


async def test_a_server_that_takes_nothing_back_is_left(redis_server):
    """Let in before them, later entries would close their places."""
    one = Case()
    one.history.add(one.runs(10, 11, 12))
    with raw(redis_server) as client:
        async with line_to(redis_server) as line:
            await one.there(line, 9)
            client.config_set("maxmemory", 1)
            try:
                with pytest.raises(ConnectionError, match="entries that Redis has forgotten are refused: OOM"):
                    await one.recover(line)
            finally:
                client.config_set("maxmemory", 0)
            assert line.lost.result() == "the server can't take back what it has forgotten"
        async with line_to(redis_server) as line:
            await one.recover(line)
    assert (one.missing.total(), one.ids(redis_server)) == (0, [9, 10, 11, 12])


async def test_what_is_missing_is_counted_once_whatever_breaks():
    """The connection breaks at each of the questions in turn."""
    one = Case()
    one.history.add(one.runs(11, 12))
    one.stream.written_off = 4
    for breaks_at in itertools.count(1):
        asked_so_far = itertools.count(1)

        def answer(words, end=breaks_at, number=asked_so_far):
            if next(number) == end:
                return HANG_UP
            if words[0] == "XREVRANGE":
                return [[f"{MS + 6}-6".encode(), []]]
            if words[0] == "XRANGE":
                return [[f"{MS + 5}-5".encode(), []]]
            return [b"OK", b"OK"] if words[0] == "EXEC" else b"OK"

        async with scripted(answer) as (line, _):
            try:
                found = await one.recover(line, emptied=True)
            except ConnectionError:
                continue
        break
    assert breaks_at == 7
    assert one.missing == {one.stream: 4}, "7 to 10; 5 and 6 are there, and up to 4 is declared"
    assert found.resent == 2
