"""A stream, the looks at its length, and Redis' clock: pure, at the limits of each rule."""

from __future__ import annotations

import hiredis
import pytest

from bridge.model import Channel
from bridge.publish.clock import RedisClock
from bridge.publish.pending import DATA, Pending
from bridge.publish.stream import StreamId
from bridge.publish.watch import Watch, _compare, count_trimmed
from bridge.publish.wire import command
from tests.unit.core import SECOND, T0, stream

MILLISECOND = 1_000_000


def entry(number: int) -> Pending:
    return Pending(T0 + number, "x", DATA)


class TestStream:
    def test_what_is_written_off_is_counted_once(self):
        one = stream(Channel.TRADES)
        assert [one.write_off(*span) for span in ((3, 6), (3, 6), (1, 8), (8, 9), (20, 10))] == [3, 0, 2, 1, 0]
        assert one.written_off == 9

    def test_an_entry_goes_behind_those_that_have_numbers(self):
        one = stream(Channel.TRADES)
        rows = [entry(n) for n in range(4)]
        rows[0].seq, rows[1].seq = 1, 2
        one.waiting.extend([rows[0], rows[1], rows[3]])
        one.put_behind_numbered(rows[2])
        assert list(one.waiting) == rows

    @pytest.mark.parametrize(("entries", "step"), [(5, 5), (100, 100), (1999, 100), (4000, 200), (1_000_000, 10_000)])
    def test_how_often_it_is_trimmed(self, entries, step):
        one = stream(Channel.TRADES, entries=entries)
        one.resume(StreamId(5, 7), StreamId(1, 1))
        assert (one.step, one.next_trim) == (step, 7 + step)

    def test_by_count_just_what_is_kept_stays(self):
        one = stream(Channel.TRADES, entries=10, age=1e9)
        one.resume(StreamId(50, 10), StreamId(1, 1))
        assert one.trim(None) == []
        one.seq = 11
        assert one.trim(None) == [command("XTRIM", one.key, "MAXLEN", "=", 10)]
        assert (one.oldest, one.next_trim) == (StreamId(1, 2), 21)
        assert [one.was_trimmed(60, seq) for seq in (1, 2)] == [True, False]

    def test_by_age_with_a_hundredth_of_slack(self):
        one = stream(Channel.TRADES, age=100)
        one.resume(StreamId(500_000, 10), StreamId(300_000, 1))
        assert one.trim(401_000) == []
        assert one.trim(401_001) == [command("XTRIM", one.key, "MINID", "=", "301001-0")]
        assert one.oldest == StreamId(301_001, 1)
        assert [one.was_trimmed(ms, 5) for ms in (301_000, 301_001)] == [True, False]

    def test_numbers_set_back_keep_the_snapshots_that_are_there(self):
        one = stream(Channel.BOOK)
        one.snapshots.extend([StreamId(1, 1), StreamId(2, 5), StreamId(3, 6)])
        one.set_back(StreamId(2, 5))
        assert (list(one.snapshots), one.ms, one.seq) == ([StreamId(1, 1), StreamId(2, 5)], 2, 5)


class TestWatch:
    def test_streams_take_turns(self, monkeypatch):
        monkeypatch.setattr("bridge.publish.watch._MOST_LOOKS", 2)
        rows = [stream(Channel.TRADES, subject) for subject in ("A-B", "C-D", "E-F")]
        watch = Watch()
        turns = [[rows.index(one) for one in watch.next(rows)] for _ in range(4)]
        assert turns == [[0, 1], [2, 0], [1, 2], [0, 1]]
        rows[1].blocked = "no"
        assert [rows.index(one) for one in Watch().next(rows)] == [0]
        assert Watch().next([]) == []

    def test_few_streams_are_looked_at_once_each(self):
        rows = [stream(Channel.TRADES, subject) for subject in ("A-B", "C-D")]
        watch = Watch()
        assert [watch.next(rows) for _ in range(2)] == [rows, rows]

    def test_a_length_is_learned_and_then_held_against_what_is_due(self):
        one, watch = stream(Channel.TRADES), Watch()
        assert watch.judge([(one, 10)], [7]) == []
        assert one.gone == 3
        assert watch.judge([(one, 12)], [9]) == []
        assert watch.judge([(one, 12)], [8]) == [(one, "")]
        assert watch.judge([(one, 12)], [10]) == [(one, "")]
        watch.judge([], [])
        assert watch.rounds == 4

    def test_a_refusal_ends_the_watch_and_a_wrong_type_is_news_once(self):
        one, watch = stream(Channel.TRADES), Watch()
        wrong = hiredis.ReplyError("WRONGTYPE it is a string")
        assert watch.judge([(one, 1)], [wrong]) == [(one, "WRONGTYPE it is a string")]
        assert [watch.is_news(one), watch.is_news(one)] == [True, False]
        watch.judge([(one, 1)], [1])
        assert watch.is_news(one)
        assert watch.next([one]) == [one]
        assert watch.judge([(one, 1)], [hiredis.ReplyError("NOPERM no")]) == []
        assert watch.next([one]) == []

    @pytest.mark.parametrize(
        ("replies", "flushed"), [([0, 0], True), ([4, 3], True), ([4, 5], False), ([0, None], False), ([0, 9], False)]
    )
    def test_all_that_shrink_at_once_were_flushed(self, replies, flushed):
        rows = [stream(Channel.TRADES, subject) for subject in ("A-B", "C-D")]
        for one in rows:
            one.gone = 0
        looks = [(one, 5) for one in rows]
        watch = Watch()
        assert watch.flushed(looks, replies, 100.0) is flushed
        assert watch.flushed(looks, replies, 129.9) is False
        assert watch.flushed(looks, replies, 130.0) is flushed

    def test_what_was_trimmed_is_accounted_for(self):
        one, two, three = (stream(Channel.TRADES, subject) for subject in ("A-B", "C-D", "E-F"))
        one.gone, two.gone = 1, 1
        count_trimmed([(one, 4), (two, None), (three, 4)])
        assert (one.gone, two.gone, three.gone) == (5, None, None)

    def test_nothing_that_was_trimmed_is_missing(self):
        one, watch = stream(Channel.TRADES), Watch()
        one.gone = 0
        assert watch.judge([(one, 5)], [5]) == []

    def test_each_look_has_its_answer(self):
        one, watch = stream(Channel.TRADES), Watch()
        for judge in (watch.judge, lambda looks, answers: watch.flushed(looks, answers, 0.0)):
            with pytest.raises(ValueError, match="shorter"):
                judge([(one, 5), (one, 5)], [5])

    def test_what_is_empty_or_alone_was_not_flushed(self):
        one, two, watch = stream(Channel.TRADES, "A-B"), stream(Channel.TRADES, "C-D"), Watch()
        one.gone, two.gone = 0, 5
        assert not watch.flushed([], [], 0.0)
        assert not watch.flushed([(one, 5), (two, 5)], [0, 0], 0.0)
        two.gone = 4
        assert watch.flushed([(one, 5), (two, 5)], [0, 0], 0.0)

    @pytest.mark.parametrize(("newest", "ms"), [(b"100-7", 101), (b"105-3", 105), (b"105-5", 105), (b"105-6", 106)])
    def test_the_next_id_lies_above_what_somebody_else_wrote(self, newest, ms):
        one = stream(Channel.TRADES)
        one.ms, one.seq, one.gone = 100, 5, 0
        found = _compare(one, 6, [[b"90-1", []]], [[newest, []]])
        assert (one.ms, found.added, one.gone) == (ms, 1, -1)

    @pytest.mark.parametrize(
        ("length", "newest", "added"), [(12, b"105-3", 7), (5, b"105-3", 1), (2, b"105-3", 1), (7, b"100-5", 2)]
    )
    def test_how_many_somebody_else_wrote(self, length, newest, added):
        one = stream(Channel.TRADES)
        one.ms, one.seq, one.gone = 100, 5, 0
        found = _compare(one, length, [[b"90-1", []]], [[newest, []]])
        entries = "1 entry" if added == 1 else f"{added} entries"
        assert found.reason == f"somebody else wrote to this stream: {entries}, up to {newest.decode()}"
        assert (found.added, found.deleted, one.gone) == (added, 0, 5 - length)

    @pytest.mark.parametrize(
        ("oldest", "newest", "harm"),
        [
            (b"95-3", b"100-5", False),
            (b"90-2", b"100-5", True),
            (b"96-4", b"100-5", True),
            (b"95-3", b"99-4", True),
            (b"80-1", b"90-3", True),
        ],
    )
    def test_only_what_is_missing_at_the_old_end_was_trimmed(self, oldest, newest, harm):
        one = stream(Channel.TRADES)
        one.ms, one.seq, one.gone, one.oldest = 100, 5, 0, StreamId(90, 2)
        found = _compare(one, 3, [[oldest, [b"type", b"trade"]]], [[newest, []]])
        assert (bool(found.reason), found.deleted, one.gone) == (harm, 2, 2)
        assert one.oldest == (StreamId(90, 2) if harm else StreamId(95, 3))

    @pytest.mark.parametrize(("first", "harm"), [(b"snapshot", False), (b"delta", True), (b"trade", True), (b"", True)])
    def test_a_book_that_was_trimmed_has_to_begin_with_a_snapshot(self, first, harm):
        one = stream(Channel.BOOK)
        one.ms, one.seq, one.gone = 100, 5, 0
        fields = [b"ts", b"7", b"type", first, b"recv", b"8"] if first else [b"who", b"snapshot"]
        assert bool(_compare(one, 3, [[b"95-3", fields]], [[b"100-5", []]]).reason) is harm

    def test_a_length_that_was_not_known_is_taken_as_it_is(self):
        one = stream(Channel.TRADES)
        one.ms, one.seq = 100, 5
        found = _compare(one, 3, [[b"95-3", []]], [[b"100-5", []]])
        assert (found.reason, found.added, found.deleted, one.gone) == ("", 0, 0, 2)


class TestClock:
    def answer(self, clock: RedisClock, now: int, ahead: int, took: int = 0) -> None:
        shown = now + took // 2 + ahead
        clock.told([shown // SECOND, shown % SECOND // 1000], now, now + took)

    @pytest.mark.parametrize(("took", "known"), [(5 * SECOND, True), (5 * SECOND + 2, False)])
    def test_an_answer_within_five_seconds_says_the_time(self, took, known):
        clock = RedisClock()
        self.answer(clock, T0, 0, took)
        assert (clock.milliseconds(T0) is not None) is known

    @pytest.mark.parametrize("took", [0, 2 * SECOND])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_clocks_a_second_apart_are_the_same_and_half_of_what_an_answer_took(self, took, sign):
        apart = sign * (SECOND + took // 2)
        for more, followed in ((0, True), (sign * MILLISECOND, False)):
            clock = RedisClock()
            self.answer(clock, T0, 0)
            self.answer(clock, T0, apart + more, took)
            assert clock.milliseconds(T0) == (T0 + (apart if followed else 0)) // MILLISECOND

    @pytest.mark.parametrize(("after", "followed"), [(300 * SECOND - 1000, False), (300 * SECOND, True)])
    def test_another_time_is_believed_after_five_minutes(self, after, followed):
        clock = RedisClock()
        self.answer(clock, T0, 0)
        self.answer(clock, T0 + SECOND, 60 * SECOND)
        self.answer(clock, T0 + SECOND + after, 60 * SECOND)
        assert clock.milliseconds(T0) == (T0 + (60 * SECOND if followed else 0)) // MILLISECOND

    @pytest.mark.parametrize(("apart", "lead"), [(SECOND, 5), (SECOND + 1, SECOND + 6)])
    def test_ids_have_the_hosts_time_within_a_second_of_redis(self, apart, lead):
        clock = RedisClock()
        clock._ahead = 5 + apart
        assert clock.lead(5) == lead
