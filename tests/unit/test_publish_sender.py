"""The batch on its way: what goes into it, and what is done when it was taken, or the connection broke."""

from __future__ import annotations

import pytest

from bridge.clock import CLOCK
from bridge.publish.batch import flat
from bridge.publish.fence import Fence
from bridge.publish.stream import StreamId
from bridge.publish.transfer import Mode
from bridge.publish.wire import command
from tests.unit.lines import HANG_UP, MS, Parts, fresh, line_to, numbered, run_of, scripted
from tests.unit.publishing import raw

FENCE = Fence("fence", "3-aaaa", "test")


@pytest.fixture
async def line(redis_server):
    async with line_to(redis_server) as made:
        yield made


def sends(line):
    """What is sent from here on: how many replies are expected, and how many commands are known to be queued."""
    found = []
    send = line.send

    def noted(payload, expected, done, *, queued=0):
        found.append((expected, queued))
        send(payload, expected, done, queued=queued)

    line.send = noted
    return found


def batch(parts):
    """Subjects and counts of what is on its way."""
    return [(where.subject[0], len(entries)) for where, entries, _ in parts.sender.transfer.batch.runs]


# --- what goes -----------------------------------------------------------------------------------------------------


async def test_nothing_to_send_is_not_sent(line):
    parts = Parts()
    parts.stream("A")
    sent = sends(line)
    assert await parts.send(line) == []
    assert (sent, parts.sender.transfer, parts.sender.more) == ([], None, False)
    assert (parts.sender.entries, parts.sender.pressing_bytes, parts.sender.fruitless) == (0, 0, 0)


async def test_the_figures_of_a_batch_on_its_way(line):
    parts = Parts()
    one = parts.stream("A")
    weight = sum(entry.weight for entry in parts.put(one, 3))
    assert (parts.sender.entries, parts.sender.more, parts.sender.pressing_bytes) == (0, True, weight)
    await parts.send(line)
    assert (parts.sender.entries, parts.sender.more, parts.sender.pressing_bytes) == (3, False, weight)
    parts.put(one, 3)
    assert (parts.sender.entries, parts.sender.more, parts.sender.pressing_bytes) == (3, True, 2 * weight)
    parts.sender.broke(timed_out=False)
    assert (parts.sender.entries, parts.sender.transfer, parts.sender.pressing_bytes) == (3, None, weight)
    parts.sender.broke(timed_out=False)
    assert (parts.sender.entries, parts.sender.fruitless) == (3, 1), "nothing more was on its way"


async def test_one_alone_shows_whether_redis_takes_anything_again(line):
    parts = Parts()
    parts.put(parts.stream("A"), 4)
    parts.repairs._waits = iter(())
    sizes = []
    while parts.sender.more:
        replies = await parts.send(line)
        sizes += batch(parts)
        parts.sender.taken(replies)
    assert sizes == [("A", 1), ("A", 3)]


async def test_a_trial_goes_alone(line):
    parts = Parts()
    blocked, other = parts.stream("A"), parts.stream("B")
    parts.put(blocked, 3)
    parts.queue.block(blocked, "no")
    assert not parts.sender.more
    parts.blocked.start_trials()
    assert parts.sender.more
    parts.put(other, 2)
    sizes = []
    while parts.sender.more:
        replies = await parts.send(line)
        sizes.append(batch(parts))
        parts.sender.taken(replies)
        assert (blocked.blocked, parts.blocked.tried) == ("", None)
    assert sizes == [[("A", 1)], [("B", 2), ("A", 2)]]


async def test_a_trial_of_which_nothing_is_left_leaves_the_others_their_turn(line):
    parts = Parts()
    blocked, other = parts.stream("A"), parts.stream("B")
    parts.queue.block(blocked, "no")
    parts.blocked.start_trials()
    parts.queue.unblock(blocked)
    parts.put(other, 2)
    await parts.send(line)
    assert batch(parts) == [("B", 2)]


SENT = [
    # mode, entries of each stream, trimming, looks: how many replies are expected, and how many acknowledgements first
    (Mode.ATOMIC, (3,), 0, 0, (5, 3)),
    (Mode.ATOMIC, (2, 1), 2, 1, (8, 5)),
    (Mode.ATOMIC, (), 0, 2, (2, 0)),
    (Mode.BY_SLOT, (2, 1), 2, 1, (8, 0)),
    (Mode.BY_SLOT, (1, 4), 0, 1, (8, 0)),
    (Mode.BY_SLOT, (4, 2), 0, 1, (11, 4)),
]


@pytest.mark.parametrize(("fence", "behind"), [(None, 0), (FENCE, 2)])
@pytest.mark.parametrize("case", SENT)
async def test_how_it_is_sent(line, fence, behind, case):
    """The first transaction's acknowledgements are compared as a whole: their number is known."""
    mode, counts, trims, looks, (expected, queued) = case
    parts = Parts(mode)
    streams = [parts.stream(base) for base in "AB"]
    for one, count in zip(streams, counts, strict=False):
        parts.put(one, count)
    parts.upkeep.trims = [(streams[0], command("XTRIM", streams[0].key, "MAXLEN", "=", 100))] * trims
    parts.upkeep.looks = streams[:looks]
    sent = sends(line)
    replies = await parts.send(line, fence)
    assert sent == [(expected + behind, queued)]
    assert len(replies) == expected + behind
    assert parts.sender.transfer.batch.commands == [], "they aren't needed any more"
    assert not parts.upkeep.due


@pytest.mark.parametrize("allowed", [True, False])
async def test_trimming_goes_along_unless_redis_has_refused_it(line, allowed):
    parts = Parts()
    one = parts.stream("A", entries=2)
    if not allowed:
        parts.upkeep._no_trimming_until = float("inf")
    parts.put(one, 5)
    replies = await parts.send(line)
    assert len(parts.sender.transfer.batch.trims) == allowed
    assert parts.sender.taken(replies) is None
    assert one.gone == (3 if allowed else 0)


# --- what was taken ------------------------------------------------------------------------------------------------


async def test_what_was_taken_is_counted(line):
    parts = Parts()
    one = parts.stream("A")
    parts.put(one, 3)
    parts.sender.fruitless = 5
    parts.sender._limit.broke(8, 8000)
    assert parts.sender.taken(await parts.send(line)) is None
    assert (parts.totals.published, parts.totals.bytes, one.published, one.flying) == (3, 0, 3, 0)
    assert (parts.sender.transfer, parts.sender.fruitless, parts.sender._limit.entries) == (None, 0, 8)


async def test_answers_to_questions_alone_say_nothing_of_entries(line):
    parts = Parts()
    one = parts.stream("A")
    parts.repairs._waits = iter(())
    parts.sender.fruitless = 5
    parts.pressure.exceeded(0.0)
    parts.upkeep.looks = [one]
    assert parts.sender.taken(await parts.send(line)) is None
    assert (parts.repairs.refused, parts.sender.fruitless, parts.told) == (True, 5, ["hold"])
    assert parts.upkeep.watch.rounds == 1


async def test_the_time_is_asked_for_behind_all_else(line):
    parts = Parts()
    parts.put(parts.stream("A"), 1)
    parts.upkeep.start_round(CLOCK.now())
    parts.sender.taken(await parts.send(line))
    now = CLOCK.now()
    assert abs(parts.upkeep.clock.milliseconds(now) - now // 10**6) < 60_000
    assert parts.upkeep.watch.rounds == 1


async def test_the_feed_is_released_when_little_is_left(line):
    parts = Parts()
    one = parts.stream("A")
    parts.put(one, 2)
    parts.pressure.exceeded(0.0)
    replies = await parts.send(line)
    parts.put(one, 9)
    parts.sender.taken(replies)
    assert parts.told == ["hold"]
    parts.sender.taken(await parts.send(line))
    assert parts.told == ["hold", "release"]


@pytest.mark.parametrize("turned", [False, True])
async def test_what_looks_find(redis_server, line, turned):
    parts = Parts()
    longer, other, same = (parts.stream(base) for base in "ABC")
    with raw(redis_server) as client:
        client.xadd(longer.key, {"who": "else"})
        client.set(other.key, "a string")
    looks = [longer, same, other]
    parts.upkeep.looks = looks[::-1] if turned else looks
    found = parts.sender.taken(await parts.send(line))
    assert (found.changed, found.emptied) == ([longer], False)
    [refusal] = found.refused
    assert refusal.startswith(f"{other.key}: WRONGTYPE")
    assert [bool(one.blocked) for one in (longer, other, same)] == [False, True, False]
    for again, news in (([other], None), ([longer], [longer]), ([same], None)):
        parts.upkeep.looks = again
        found = parts.sender.taken(await parts.send(line))
        assert (found and found.changed) == news
        assert not found or found.refused == []


async def test_another_thing_in_a_streams_place_is_found_alone(redis_server, line):
    parts = Parts()
    one = parts.stream("A")
    with raw(redis_server) as client:
        client.set(one.key, "a string")
    parts.upkeep.looks = [one]
    found = parts.sender.taken(await parts.send(line))
    assert (found.changed, len(found.refused), found.emptied) == ([], 1, False)


async def test_a_server_that_was_emptied_is_found(line):
    parts = Parts()
    streams = [parts.stream(base) for base in "AB"]
    for one in streams:
        one.seq = 5
    parts.upkeep.looks = streams
    found = parts.sender.taken(await parts.send(line))
    assert (found.changed, found.refused, found.emptied) == (streams, [], True)


# --- what broke ----------------------------------------------------------------------------------------------------


async def test_what_broke_is_in_doubt():
    parts = Parts()
    one, other = parts.stream("A", entries=2), parts.stream("B")
    first = [*parts.put(one, 5), *parts.put(other, 3)]
    async with scripted(lambda _: HANG_UP) as (line, _):
        parts.sender.send(line, None, None)
    parts.sender.broke(timed_out=False)
    assert [entry for _, entry in flat(parts.sender.in_doubt)] == first
    assert (parts.sender.fruitless, parts.sender._limit.entries) == (1, 4)
    assert (one.gone, other.gone) == (None, 0), "how much was trimmed isn't heard"
    second = parts.put(other, 1)
    async with scripted(lambda _: HANG_UP) as (line, _):
        parts.sender.send(line, None, None)
    parts.sender.broke(timed_out=False)
    assert [entry for _, entry in flat(parts.sender.in_doubt)] == [*first, *second]
    assert (parts.sender.fruitless, parts.sender.entries) == (2, 9)


async def test_questions_that_break_are_no_batch_that_broke():
    parts = Parts()
    parts.upkeep.looks = [parts.stream("A")]
    async with scripted(lambda _: HANG_UP) as (line, _):
        parts.sender.send(line, None, None)
        parts.sender.broke(timed_out=False)
    assert (parts.sender.fruitless, parts.sender.in_doubt, parts.sender._limit.entries) == (0, [], 4096)


@pytest.mark.parametrize("timed_out", [False, True])
async def test_an_entry_alone_is_suspected_unless_we_hung_up(timed_out):
    parts = Parts()
    one = parts.stream("A")
    parts.put(one, 1)
    for _ in range(3):
        async with scripted(lambda _: HANG_UP) as (line, _):
            parts.sender.send(line, None, None)
            parts.sender.broke(timed_out=timed_out)
        runs, parts.sender.in_doubt = parts.sender.in_doubt, []
        parts.queue.put_back(runs)
    assert bool(one.blocked) is not timed_out


async def test_what_is_in_doubt_of_a_stream_gets_the_same_numbers():
    parts = Parts()
    one, other = parts.stream("A"), parts.stream("B")
    one.ms, one.seq, one.flying, other.flying = MS + 8, 8, 3, 1
    mine, others = [numbered(6), numbered(7), numbered(8)], [numbered(3)]
    parts.sender.in_doubt = [run_of(one, *mine[:2]), run_of(other, *others), run_of(one, mine[2])]
    waits = fresh(9)
    one.waiting.append(waits)
    for _ in range(2):
        parts.sender.put_back(one)
        assert list(one.waiting) == [*mine, waits]
        assert (one.ms, one.seq, one.flying) == (MS + 6, 5, 0)
        assert parts.sender.in_doubt == [run_of(other, *others)]
    assert (parts.sender.entries, other.flying) == (1, 1)
    assert StreamId(mine[0].ms, mine[0].seq) == StreamId(MS + 6, 6)
