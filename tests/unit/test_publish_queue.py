"""What waits for a node, taken in turns; batches, their limit, and what is remembered of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Channel
from bridge.publish.batch import History, command_of, flat, grouped, pack, settle
from bridge.publish.limit import BatchLimit
from bridge.publish.pending import CONTROL, DATA, OVERHEAD, SNAPSHOT, WIDE, WIDER, Pending
from bridge.publish.queue import Queue
from bridge.publish.stream import StreamId
from tests.unit.core import SECOND, T0, stream

BODY = "x" * 100
WEIGHT = 100 + OVERHEAD


def put(queue, where, count=1, body=BODY, recv=T0):
    made = [Pending(recv, body, DATA) for _ in range(count)]
    where.waiting.extend(made)
    where.bytes += sum(entry.weight for entry in made)
    queue.wake(where)
    return made


@pytest.fixture
def queue():
    return Queue()


@pytest.fixture
def two(queue):
    made = [stream(Channel.TRADES), stream(Channel.TRADES, "ETH-EUR")]
    for one in made:
        queue.add(one)
    return made


def counts(runs):
    return [(run[0].subject, len(run[1])) for run in runs]


def test_an_empty_queue_gives_nothing(queue, two):
    assert not queue
    assert queue.take(10, 1000) == []
    assert queue.waiting == 0


def test_all_that_fits_goes_at_once(queue, two):
    put(queue, two[0], 3)
    put(queue, two[1], 2)
    assert queue.waiting == 5
    runs = queue.take(100, 10**6)
    assert counts(runs) == [("BTC-EUR", 3), ("ETH-EUR", 2)]
    assert [run[2] for run in runs] == [3 * WEIGHT, 2 * WEIGHT]
    assert (two[0].bytes, two[0].flying, two[1].flying) == (0, 3, 2)
    assert not queue


def test_a_batch_has_so_many_entries_at_the_most(queue, two):
    put(queue, two[0], 3)
    assert counts(queue.take(2, 10**6)) == [("BTC-EUR", 2)]
    assert two[0].bytes == WEIGHT
    assert counts(queue.take(2, 10**6)) == [("BTC-EUR", 1)]


def test_streams_take_turns(queue, two):
    put(queue, two[0], 1000)
    put(queue, two[1], 70)
    assert counts(queue.take(200, 10**6)) == [("BTC-EUR", 100), ("ETH-EUR", 70), ("BTC-EUR", 30)]
    assert counts(queue.take(100, 10**6)) == [("BTC-EUR", 100)]


def test_a_batch_has_so_many_bytes_at_the_most(queue, two):
    put(queue, two[0], 5)
    assert counts(queue.take(10, 3 * WEIGHT)) == [("BTC-EUR", 3)]
    assert counts(queue.take(10, 2 * WEIGHT - 1)) == [("BTC-EUR", 1)]


def test_an_entry_that_is_larger_than_a_batch_goes_alone(queue, two):
    put(queue, two[0], 2)
    put(queue, two[1], 2)
    assert counts(queue.take(10, 1)) == [("BTC-EUR", 1)]
    assert counts(queue.take(10, WEIGHT + 1)) == [("ETH-EUR", 1)], "the other one's turn"
    assert queue.waiting == 2


def test_what_is_put_back_is_first_again(queue, two):
    first = put(queue, two[0], 4)
    runs = queue.take(2, 10**6)
    queue.put_back(runs)
    assert (two[0].flying, two[0].bytes) == (0, 4 * WEIGHT)
    assert [entry for _, entry in flat(queue.take(10, 10**6))] == first


def test_several_runs_of_a_stream_are_put_back_in_their_order(queue, two):
    first = put(queue, two[0], 4)
    runs = [*queue.take(1, 10**6), *queue.take(1, 10**6)]
    queue.put_back(runs)
    assert list(two[0].waiting) == first


def test_a_blocked_stream_holds_up_nobody(queue, two):
    put(queue, two[0], 2)
    put(queue, two[1], 2)
    queue.block(two[0], "WRONGTYPE")
    put(queue, two[0], 1)
    assert counts(queue.take(10, 10**6)) == [("ETH-EUR", 2)]
    assert not queue
    assert queue.pressing_bytes == 0
    assert counts(queue.take_first(two[0], 1, 10**6)) == [("BTC-EUR", 1)]
    assert two[0].flying == 1
    queue.unblock(two[0])
    assert queue.pressing_bytes == 2 * WEIGHT
    assert counts(queue.take(10, 10**6)) == [("BTC-EUR", 2)]


def test_a_trial_takes_one_at_least(queue, two):
    queue.block(two[0], "no")
    assert queue.take_first(two[0], 5, 10**6) == []
    put(queue, two[0], 3)
    assert counts(queue.take_first(two[0], 2, 1)) == [("BTC-EUR", 1)]
    assert counts(queue.take_first(two[0], 5, 10**6)) == [("BTC-EUR", 2)]
    assert two[0].bytes == 0


def test_a_stream_that_leaves_takes_its_entries_along(queue, two):
    put(queue, two[0], 2)
    queue.remove(two[0])
    assert not queue
    other = Queue()
    other.add(two[0])
    assert counts(other.take(10, 10**6)) == [("BTC-EUR", 2)]


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 300), st.integers(1, 400)), max_size=20),
    st.lists(st.tuples(st.integers(1, 300), st.integers(1, 200_000)), min_size=1, max_size=20),
)
def test_whatever_is_taken(puts, takes):
    """Nothing is missing, nothing twice, in order, and no batch is larger than asked for but for a single entry."""
    queue, streams, truth = Queue(), [stream(Channel.TRADES), stream(Channel.TRADES, "ETH-EUR")], ([], [])
    for one in streams:
        queue.add(one)
    for which, count, size in puts:
        truth[which].extend(put(queue, streams[which], count, "x" * size))
    taken = ([], [])
    for most, most_bytes in [*takes, *[(10**6, 10**9)] * 2]:
        runs = queue.take(most, most_bytes)
        entries = list(flat(runs))
        assert len(entries) <= most
        assert sum(run[2] for run in runs) == sum(entry.weight for _, entry in entries)
        assert sum(run[2] for run in runs) <= most_bytes or len(entries) == 1
        for one, entry in entries:
            taken[streams.index(one)].append(entry)
    assert [list(map(id, some)) for some in taken] == [list(map(id, some)) for some in truth]
    assert [one.bytes for one in streams] == [0, 0]


# --- batches -------------------------------------------------------------------------------------------------------


def test_numbers_go_on_and_time_never_goes_back():
    trades = stream(Channel.TRADES)
    trades.resume(StreamId(T0 // 10**6 + 500, 41), StreamId(0, 1))
    entries = [Pending(T0 + after * 10**6, "", DATA) for after in (0, 700, 600)]
    batch = pack([(trades, entries, 0)], 0)
    base = T0 // 10**6
    assert [(entry.ms - base, entry.seq) for entry in entries] == [(500, 42), (700, 43), (700, 44)]
    assert (trades.ms, trades.seq, batch.entries) == (base + 700, 44, 3)
    assert batch.commands == [command_of(trades, entry) for entry in entries]


def test_each_kind_has_its_head():
    trades, book = stream(Channel.TRADES), stream(Channel.BOOK)
    kinds = [DATA, WIDE, WIDER, CONTROL]
    batch = pack([(trades, [Pending(T0, "", kind) for kind in kinds], 0)], 0)
    heads = [trades.data_head, trades.wide_head, trades.wider_head, trades.control_head]
    assert [text.partition("$1")[0] for text in batch.commands] == [head.partition("$1")[0] for head in heads]
    assert [text.startswith(head) for text, head in zip(batch.commands, heads, strict=True)] == [True] * 4
    assert batch.commands == [command_of(trades, entry) for _, entry in flat(batch.runs)]
    pack([(book, [Pending(T0, "", kind) for kind in (DATA, SNAPSHOT, CONTROL, SNAPSHOT)], 0)], 0)
    assert [ident.seq for ident in book.snapshots] == [2, 4]


def test_trimming_goes_behind_the_entries_once_for_each_stream():
    trades = stream(Channel.TRADES, entries=100)
    trades.resume(StreamId(1, 199), StreamId(T0 // 10**6, 100))
    runs = [(trades, [Pending(T0, "", DATA)], 0), (trades, [Pending(T0, "", DATA)], 0)]
    trades.next_trim = 200
    batch = pack(runs, T0 // 10**6)
    assert (batch.entries, len(batch.trims), len(batch.commands)) == (2, 1, 3)
    assert "XTRIM" in batch.commands[-1]
    batch.drop_trimming()
    assert (batch.trims, len(batch.commands)) == ([], 2)


def test_what_is_acknowledged_counts_for_its_stream():
    trades = stream(Channel.TRADES)
    entries = [Pending(T0 + n * SECOND, "", DATA) for n in range(3)]
    trades.flying = 3
    assert settle([(trades, entries, 0)]) == ([T0, T0 + SECOND, T0 + 2 * SECOND], 0)
    assert (trades.published, trades.flying, trades.backlog) == (3, 0, 0)
    trades.flying, trades.controls = 2, 1
    assert settle([(trades, [Pending(T0, "", CONTROL), entries[0]], 0)]) == ([T0], 0)
    assert (trades.published, trades.controls, trades.backlog) == (4, 0, 0)


def test_a_limit_halves_what_broke_and_comes_back():
    limit = BatchLimit(1000, 100_000)
    limit.broke(1000, 60_000)
    assert (limit.entries, limit.bytes) == (500, 30_000)
    limit.broke(7, 999)
    assert (limit.entries, limit.bytes) == (3, 499)
    for _ in range(12):
        limit.broke(1, 1)
    assert (limit.entries, limit.bytes) == (1, 1)
    limit.passed()
    assert (limit.entries, limit.bytes) == (2, 2)
    for _ in range(20):
        limit.passed()
    assert (limit.entries, limit.bytes) == (1000, 100_000)


# --- history -------------------------------------------------------------------------------------------------------


def run(where, first, count, body=BODY):
    entries = [Pending(T0, body, DATA, 1, seq) for seq in range(first, first + count)]
    return (where, entries, sum(entry.weight for entry in entries))


def remembered(history, where, after=0):
    return [entry.seq for _, entry in flat(history.after({where: after}))]


def test_history_forgets_the_oldest():
    history, trades = History(10 * WEIGHT), stream(Channel.TRADES)
    for first in (1, 5, 9):
        history.add([run(trades, first, 4)])
        assert history.bytes <= 10 * WEIGHT
    assert remembered(history, trades) == list(range(5, 13))
    assert remembered(history, trades, 10) == [11, 12]
    assert history.after({}) == []


def test_history_keeps_the_newest_of_a_batch_that_is_larger_than_all_of_it():
    history, trades = History(3 * WEIGHT), stream(Channel.TRADES)
    history.add([run(trades, 1, 10)])
    assert remembered(history, trades) == [8, 9, 10]
    assert history.bytes == 3 * WEIGHT
    history.add([run(trades, 11, 1, "x" * 10_000)])
    assert (remembered(history, trades), history.bytes) == ([], 0), "else there would be a hole"


def test_history_of_a_stream_can_be_given_away():
    history, trades, other = History(), stream(Channel.TRADES), stream(Channel.TRADES, "ETH-EUR")
    history.add([run(trades, 1, 2), run(other, 1, 3), run(trades, 3, 1)])
    given = history.without(trades)
    assert [(where, [entry.seq for entry in entries]) for where, entries, _ in given] == [(trades, [1, 2, 3])]
    assert (remembered(history, trades), remembered(history, other)) == ([], [1, 2, 3])
    assert history.bytes == 3 * WEIGHT


def test_grouped_keeps_the_order_of_each_stream():
    trades, other = stream(Channel.TRADES), stream(Channel.TRADES, "ETH-EUR")
    a, b, c = (Pending(T0, "x" * n, DATA) for n in range(3))
    assert grouped([(trades, a), (other, b), (trades, c)]) == [
        (trades, [a, c], a.weight + c.weight),
        (other, [b], b.weight),
    ]
