"""What becomes of entries, in sums: the queue, the history, the totals and the streams' own counts stay in step."""

from __future__ import annotations

import pytest

from bridge.model import Channel
from bridge.publish.batch import flat
from bridge.publish.events import Totals
from bridge.publish.ledger import Ledger
from bridge.publish.pending import CONTROL, LOST
from bridge.publish.queue import Queue
from bridge.publish.sorting import Verdict
from tests.unit.core import T0, stream
from tests.unit.lines import numbered, run_of
from tests.unit.publishing import Events


class Books:
    """A ledger with a stream, some of whose entries are on their way."""

    def __init__(self, flying=0):
        self.queue, self.events, self.totals = Queue(), Events(), Totals()
        self.ledger = Ledger(self.queue, self.events, self.totals)
        self.stream = stream(Channel.TRADES)
        self.queue.add(self.stream)
        self.rows = [numbered(seq) for seq in range(1, flying + 1)]
        self.stream.flying = flying
        self.totals.bytes = 10_000

    @property
    def waits(self):
        return [entry.count if entry.kind == LOST else entry.seq for entry in self.stream.waiting]

    @property
    def lost(self):
        """What waits as the first thing: how many, why, and its bytes."""
        entry = self.stream.waiting[0]
        return entry.count, entry.loss, entry.weight


@pytest.fixture
def books():
    return Books(4)


def test_what_is_acknowledged_is_counted_and_remembered(books):
    first, second, *_ = books.rows
    control = numbered(3, CONTROL)
    lost = books.stream.lost_entry(T0, 7, "Redis was away")
    books.stream.controls, books.stream.flying = 2, 4
    runs = [run_of(books.stream, first, control), run_of(books.stream, lost, second)]
    books.ledger.acknowledge(runs)
    assert books.totals.bytes == 10_000 - sum(size for _, _, size in runs)
    assert (books.totals.published, books.totals.lost) == (2, 7)
    assert books.totals.latency.count == 2
    assert [entry.seq for _, entry in flat(books.ledger.history.after({books.stream: 0}))] == [1, 3, 2]
    assert (books.stream.published, books.stream.flying, books.stream.controls) == (2, 0, 0)


@pytest.mark.parametrize(("keep_ids", "waits"), [(True, [2, 3, 4]), (False, [0, 0, 0])])
def test_what_was_not_accepted_waits_again(books, keep_ids, waits):
    first, *others = books.rows
    verdict = Verdict(
        accepted=[run_of(books.stream, first)],
        again=[run_of(books.stream, *others[:2]), run_of(books.stream, others[2])],
        confirmed=1,
    )
    books.ledger.apply(verdict, keep_ids=keep_ids)
    assert list(books.stream.waiting) == others
    assert books.waits == waits
    assert (books.totals.published, books.totals.confirmed) == (1, 1)
    assert books.totals.bytes == 10_000 - first.weight, "what waits counts as before"
    assert (books.stream.flying, books.stream.bytes) == (0, sum(entry.weight for entry in others))
    assert books.queue
    assert books.events.drops == []


@pytest.mark.parametrize(("keep_ids", "waits"), [(True, [2, 4, 9]), (False, [9, 0, 0])])
def test_what_is_lost_is_declared_behind_what_keeps_its_number(books, keep_ids, waits):
    verdict = Verdict(again=[run_of(books.stream, books.rows[1], books.rows[3])], holes={books.stream: (500, 9)})
    books.ledger.apply(verdict, keep_ids=keep_ids)
    assert books.waits == waits
    [declared] = [entry for entry in books.stream.waiting if entry.kind == LOST]
    assert (declared.count, declared.loss) == (9, "entry_refused")
    assert books.totals.bytes == 10_000 - 500 + declared.weight
    assert (books.stream.controls, books.stream.declared) == (1, 9)
    assert books.events.drops == [books.stream]


def test_a_loss_alone_is_something_to_send():
    books = Books()
    books.ledger.apply(Verdict(holes={books.stream: (500, 9)}), keep_ids=False)
    assert books.queue
    assert books.lost[:2] == (9, "entry_refused")


def test_what_redis_has_lost_is_written_off_once(books):
    other = stream(Channel.TRADES, "ETH-EUR")
    books.queue.add(other)
    books.totals.published = books.stream.published = 20
    books.ledger.missing.update({other: 0, books.stream: 5})
    for _ in range(2):
        books.ledger.write_off()
        assert (books.totals.published, books.stream.published, other.published) == (15, 15, 0)
        count, loss, weight = books.lost
        assert (count, loss) == (5, "redis_forgot")
        assert books.totals.bytes == 10_000 + weight
        assert (len(books.stream.waiting), len(other.waiting)) == (1, 0)
        assert books.events.drops == [books.stream]
    assert books.queue
    assert not books.ledger.missing


def test_what_is_declared_by_others_goes_behind_all_that_waits(books):
    books.queue.put_back([run_of(books.stream, *books.rows)])
    books.ledger.put_last(books.stream, T0, 3, "too many events before it was opened")
    assert books.waits == [1, 2, 3, 4, 3]
    declared = books.stream.waiting[-1]
    assert (declared.recv, declared.loss) == (T0, "stream_not_open")
    assert books.totals.bytes == 10_000 + declared.weight
    assert books.stream.bytes == sum(entry.weight for entry in books.stream.waiting)


def test_what_is_declared_by_others_is_something_to_send():
    books = Books()
    books.ledger.put_last(books.stream, T0, 3, "why")
    assert books.queue
    assert books.events.drops == []
