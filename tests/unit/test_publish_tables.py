"""The pure parts of the publisher, at the limits of each rule."""

from __future__ import annotations

import gc
from itertools import accumulate

import pytest

from bridge.clock import CLOCK
from bridge.model import Channel, Control, ControlEvent
from bridge.publish.batch import Batch, History, command_of, pack, settle
from bridge.publish.limit import BatchLimit
from bridge.publish.pending import CONTROL, DATA, LOSSES, LOST, SNAPSHOT, WIDE, WIDER, Budget, Pending, lost_entry
from bridge.publish.pressure import Pressure
from bridge.publish.queue import Queue
from bridge.publish.shedding import collapse, drop_first, drop_oldest
from bridge.publish.stream import Stream, StreamId
from bridge.publish.wire import command, render
from tests.unit.core import SECOND, T0, stream

MILLISECOND = 1_000_000


def entry(number: int = 0, kind: int = DATA, size: int = 100) -> Pending:
    """Weighs ``size`` more than the fixed part."""
    return Pending(T0 + number, "x" * size, kind)


def fill(target: Stream, *entries: Pending) -> None:
    target.waiting.extend(entries)
    target.bytes += sum(one.weight for one in entries)
    target.controls += sum(one.kind >= CONTROL for one in entries)


class TestPending:
    def test_a_new_entry_has_no_number_and_a_weight_in_the_budget(self):
        one = entry()
        assert (one.ms, one.seq, one.weight) == (0, 0, 300)
        assert (Budget().max_bytes, Budget().max_age) == (64 << 20, 300.0)
        with pytest.raises(AttributeError):
            Budget().max_bytes = 1

    def test_entries_cost_the_garbage_collector_nothing(self):
        """There may be a hundred thousand of them, and each would have a header for it."""
        for one in (entry(), lost_entry("A-B", Channel.TRADES, T0, 5, "why")):
            assert not gc.is_tracked(one)
            assert not type(one).__struct_config__.gc

    @pytest.mark.parametrize("shift", [0, 7 * SECOND])
    @pytest.mark.parametrize("reason", LOSSES)
    def test_what_is_lost_is_said_with_the_hosts_time_and_one_word(self, monkeypatch, reason, shift):
        monkeypatch.setattr(CLOCK, "shift", shift)
        one = lost_entry("A-B", Channel.TRADES, T0, 5, f"{reason} something")
        said = Control("A-B", None, T0 + shift, Channel.TRADES, ControlEvent.LOST, f"{reason} something", 5)
        assert (one.recv, one.body, one.kind) == (T0, render(said), LOST)
        assert (one.count, one.loss) == (5, LOSSES[reason])
        assert lost_entry("A-B", Channel.TRADES, T0, 5, f"for {reason}").loss == "other"


class TestLimit:
    def test_what_broke_is_halved_down_to_one_and_comes_back_to_the_most(self):
        limit = BatchLimit(100, 1000)
        seen = []
        for step in ((40, 600), (1, 1), None, None, (200, 5000), *[None] * 12):
            limit.broke(*step) if step else limit.passed()
            seen.append((limit.entries, limit.bytes))
        assert seen[:6] == [(20, 300), (1, 1), (2, 2), (4, 4), (4, 4), (8, 8)]
        assert seen[-1] == (100, 1000)

    def test_at_first_a_batch_may_have_4096_entries_and_a_mebibyte(self):
        assert (BatchLimit().entries, BatchLimit().bytes) == (4096, 1 << 20)

    def test_each_limit_comes_back_alone(self):
        limit = BatchLimit(100, 1000)
        limit.broke(200, 600)
        limit.passed()
        assert (limit.entries, limit.bytes) == (100, 600)
        limit.passed()
        assert (limit.entries, limit.bytes) == (100, 1000)


class TestPressure:
    @pytest.fixture
    def told(self):
        return []

    @pytest.fixture
    def pressure(self, told):
        return Pressure(8000, lambda: told.append("hold"), lambda: told.append("release"))

    def test_states(self, pressure, told):
        """Limit, whether it is held and engaged, and what was called, step by step."""
        seen = []
        for step in (
            lambda: pressure.eased(9999),
            lambda: pressure.exceeded(10.0),
            lambda: pressure.exceeded(11.0),
            lambda: pressure.eased(501),
            lambda: pressure.check(14.9),
            lambda: pressure.check(15.0),
            pressure.release,
            lambda: pressure.eased(9999),
            lambda: pressure.exceeded(20.0),
            lambda: pressure.eased(500),
            lambda: pressure.check(99.0),
        ):
            step()
            seen.append((pressure.limit, pressure.held, pressure.engaged, len(told)))
        held, free, let_go = (8000, True, True), (2000, False, False), (8000, False, True)
        assert seen == [
            (*free, 0), (*held, 1), (*held, 1), (*held, 1), (*held, 1), (*let_go, 2), (*let_go, 2), (*free, 2),
            (*held, 3), (*free, 4), (*free, 4),
        ]  # fmt: skip
        assert told == ["hold", "release"] * 2

    def test_a_large_budget_is_held_at_two_mebibytes(self):
        assert Pressure(1 << 40, list, list).limit == 2 * 1024 * 1024


class TestQueue:
    def test_a_share_is_a_part_of_the_batch_and_64_at_least(self):
        for most, expected in ((100, [64, 36]), (200, [100, 100]), (129, [64, 64, 1])):
            queue, streams = Queue(), [stream(Channel.TRADES, subject) for subject in ("A-B", "C-D")]
            for one in streams:
                fill(one, *(entry(n) for n in range(150)))
                queue.add(one)
            runs = queue.take(most, 1 << 30)
            assert [len(entries) for _, entries, _ in runs] == expected
            assert [(one.bytes, one.flying) for one in streams] == [
                ((150 - taken) * 300, taken)
                for taken in (sum(len(e) for s, e, _ in runs if s is one) for one in streams)
            ]

    def test_what_does_not_fit_waits_in_front(self):
        queue, (one, two) = Queue(), (stream(Channel.TRADES, "A-B"), stream(Channel.TRADES, "C-D"))
        fill(one, entry(1))
        fill(two, entry(2), entry(3))
        queue.add(one)
        queue.add(two)
        assert [len(entries) for _, entries, _ in queue.take(10, 300)] == [1]
        assert [s for s, _, _ in queue.take(10, 600)] == [two]
        assert not queue

    def test_exactly_what_fits_goes(self):
        queue, one = Queue(), stream(Channel.TRADES)
        fill(one, *(entry(n) for n in range(4)))
        queue.add(one)
        [(_, entries, size)] = queue.take(10, 600)
        assert (len(entries), size, one.bytes, one.flying) == (2, 600, 600, 2)
        assert [len(entries) for _, entries, _ in queue.take(10, 599)] == [1]

    def test_what_presses_is_what_could_be_sent(self):
        queue, (one, two) = Queue(), (stream(Channel.TRADES, "A-B"), stream(Channel.TRADES, "C-D"))
        for number, target in enumerate((one, two)):
            fill(target, entry(number))
            queue.add(target)
        queue.block(two, "no")
        assert (queue.waiting, queue.pressing_bytes, bool(queue)) == (2, 300, True)
        queue.block(one, "no")
        assert (queue.waiting, queue.pressing_bytes, bool(queue)) == (2, 0, False)
        queue.unblock(two)
        assert (two.blocked, two.ready, queue.pressing_bytes) == ("", True, 300)

    def test_a_trial_of_what_fits_keeps_the_books(self):
        queue, one = Queue(), stream(Channel.TRADES)
        fill(one, *(entry(n) for n in range(4)))
        queue.add(one)
        queue.block(one, "no")
        [(_, entries, size)] = queue.take_first(one, 3, 600)
        assert (len(entries), size, one.bytes, one.flying) == (2, 600, 600, 2)
        [(_, entries, size)] = queue.take_first(one, 1, 1 << 30)
        assert (len(entries), one.flying) == (1, 3)
        queue.put_back([(one, entries, size)])
        assert (len(one.waiting), one.bytes, one.flying, one.ready) == (2, 600, 2, False)


class TestBatch:
    def test_bytes_and_questions(self):
        one = stream(Channel.TRADES)
        one.seq = 7
        batch = Batch([(one, [], 300), (one, [], 200)], [], 0)
        assert (batch.bytes, batch.asked, batch.questions) == (500, 0, [])
        batch.add_look(one)
        assert (batch.asked, batch.looks) == (1, [(one, 7)])
        batch.asked_time = 5
        assert (batch.asked, batch.questions) == (2, [command("XLEN", one.key), command("TIME")])

    def test_trimming_can_be_left_out_again(self):
        one = stream(Channel.TRADES, entries=1)
        batch = pack([(one, [entry(n) for n in range(3)], 900)], None)
        assert (len(batch.commands), len(batch.trims), batch.entries) == (4, 1, 3)
        batch.drop_trimming()
        assert (len(batch.commands), batch.trims) == (3, [])

    def test_a_lead_is_in_the_ids_and_time_never_goes_back(self):
        one = stream(Channel.TRADES)
        rows = [entry(0), entry(5 * MILLISECOND), entry(2 * MILLISECOND)]
        pack([(one, rows, 0)], None, lead=3 * MILLISECOND)
        begin = T0 // MILLISECOND
        assert [(row.ms - begin, row.seq) for row in rows] == [(3, 1), (8, 2), (8, 3)]
        assert (one.ms - begin, one.seq) == (8, 3)

    @pytest.mark.parametrize("lead", [0, 3])
    @pytest.mark.parametrize(("at", "ms"), [(-1, 7), (0, 7), (5_999_999, 7), (7_999_999, 7), (8_000_000, 8)])
    def test_an_id_is_of_the_streams_last_millisecond_until_a_later_one_begins(self, at, ms, lead):
        one, begin = stream(Channel.TRADES), T0 // MILLISECOND + lead
        one.ms = begin + 7
        row = entry(at)
        pack([(one, [row], 0)], None, lead=lead * MILLISECOND)
        assert row.ms - begin == ms

    @pytest.mark.parametrize("last", [0, 8, 98, 9_998])
    def test_each_command_is_as_if_it_were_the_only_one(self, last: int):
        one = stream(Channel.BOOK)
        one.ms, one.seq = T0 // MILLISECOND, last
        kinds = [DATA, DATA, CONTROL, CONTROL, DATA, SNAPSHOT, SNAPSHOT, WIDE, DATA, WIDER, LOST, DATA]
        steps = [0, 1, 1, 1, MILLISECOND, 0, 0, 0, 2 * MILLISECOND, 0, 0, 5]
        rows = [entry(at, kind) for at, kind in zip(accumulate(steps), kinds, strict=True)]
        batch = pack([(one, rows, 0)], None)
        assert [row.seq for row in rows] == list(range(last + 1, last + 1 + len(rows)))
        heads = {CONTROL: one.control_head, LOST: one.control_head, WIDE: one.wide_head, WIDER: one.wider_head}
        for text, row in zip(batch.commands, rows, strict=True):
            ident = f"{row.ms}-{row.seq}"
            assert text == f"{heads.get(row.kind, one.data_head)}${len(ident)}\r\n{ident}\r\n{row.body}"
            assert text == command_of(one, row)

    def test_snapshots_are_noted_by_their_ids(self):
        one = stream(Channel.BOOK)
        pack([(one, [entry(0, SNAPSHOT), entry(1), entry(2, CONTROL), entry(MILLISECOND, SNAPSHOT)], 0)], None)
        begin = T0 // MILLISECOND
        assert list(one.snapshots) == [StreamId(begin, 1), StreamId(begin + 1, 4)]

    def test_settling_takes_each_kind_off_its_count(self):
        one = stream(Channel.TRADES)
        lost = lost_entry(one.subject, one.channel, T0, 5, "Redis lost entries")
        one.flying, one.controls, one.declared = 4, 2, 5
        received, events = settle([(one, [entry(1), entry(2, CONTROL), lost, entry(3)], 0)])
        assert (received, events) == ([T0 + 1, T0 + 3], 5)
        assert (one.flying, one.controls, one.declared, one.published) == (0, 0, 0, 2)
        assert one.lost == {"redis_forgot": 5}

    def test_settling_goes_through_all_streams(self):
        one, two = stream(Channel.TRADES, "A-B"), stream(Channel.TRADES, "C-D")
        two.controls = 1
        received, _ = settle([(one, [entry(1)], 0), (two, [entry(2, CONTROL)], 0), (one, [entry(3)], 0)])
        assert (received, one.published, two.published, two.controls) == ([T0 + 1, T0 + 3], 2, 0, 0)


class TestHistory:
    def runs(self, one: Stream, *numbers: int):
        rows = [entry(number) for number in numbers]
        for row, number in zip(rows, numbers, strict=True):
            row.seq = number
        return [(one, rows, 300 * len(rows))]

    def test_just_what_fits_is_kept(self):
        one, history = stream(Channel.TRADES), History(900)
        history.add(self.runs(one, 1, 2))
        history.add(self.runs(one, 3))
        assert history.bytes == 900
        history.add(self.runs(one, 4))
        assert (history.bytes, [row.seq for _, rows, _ in history.after({one: 0}) for row in rows]) == (600, [3, 4])

    def test_a_run_larger_than_all_of_it_leaves_its_newest_alone(self):
        one, history = stream(Channel.TRADES), History(700)
        history.add(self.runs(one, 1))
        history.add(self.runs(one, 2, 3, 4))
        assert (history.bytes, [row.seq for _, rows, _ in history.after({one: 2}) for row in rows]) == (600, [3, 4])

    def test_a_run_that_is_too_large_by_one_entry_loses_that(self):
        one, history = stream(Channel.TRADES), History(899)
        history.add(self.runs(one, 1, 2, 3))
        assert (history.bytes, [row.seq for _, rows, _ in history.after({one: 0}) for row in rows]) == (600, [2, 3])

    def test_four_mebibytes_are_remembered(self):
        one, history = stream(Channel.TRADES), History()
        for _ in range(5):
            history.add([(one, [], 1 << 20)])
        assert history.bytes == 4 << 20

    def test_what_is_given_away_is_gone_and_the_others_stay(self):
        one, two, history = stream(Channel.TRADES, "A-B"), stream(Channel.TRADES, "C-D"), History(9000)
        history.add(self.runs(one, 1, 2) + self.runs(two, 1))
        [(_, rows, _)] = history.without(one)
        assert ([row.seq for row in rows], history.bytes, history.after({one: 0})) == ([1, 2], 300, [])
        assert len(history.after({two: 0})) == 1


class TestShedding:
    def test_of_quotes_the_newest_stays_and_of_a_book_nothing(self):
        for channel, dropped, kept in ((Channel.QUOTES, 2, [3]), (Channel.TICKER, 2, [3]), (Channel.BOOK, 3, [])):
            one = stream(channel)
            fill(one, entry(1), entry(2), entry(3))
            assert collapse(one, "the buffer of 1 MB is full") == {one: dropped}
            assert [row.recv - T0 for row in one.waiting if row.kind == DATA] == kept
            assert (one.declared, one.controls, one.backlog) == (dropped, 1, 3)
            assert one.bytes == sum(row.weight for row in one.waiting)

    def test_the_oldest_first_over_all_until_enough_is_free(self):
        one, two = stream(Channel.TRADES, "A-B"), stream(Channel.TRADES, "C-D")
        fill(one, *(entry(n, size=5000) for n in (1, 4)))
        fill(two, *(entry(n, size=5000) for n in (2, 3)))
        assert drop_oldest([two, one], 1, "why") == {one: 1}
        assert drop_oldest([two, one], 4000, "why") == {two: 1}

    def test_a_control_entry_is_never_given_up(self):
        one = stream(Channel.TRADES)
        fill(one, entry(1, CONTROL), entry(2))
        assert drop_first(one, "why") == {}
        assert len(one.waiting) == 2

    def test_of_other_streams_only_the_first_is_given_up(self):
        one = stream(Channel.TRADES)
        fill(one, entry(1), entry(2))
        one.waiting[0].seq = 9
        assert drop_first(one, "refused by Redis") == {one: 1}
        assert [row.recv - T0 for row in one.waiting] == [1, 2]
        assert one.declared == 1
