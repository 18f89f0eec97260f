"""What a topic counts, remembers and says, at the limits of each rule."""

from __future__ import annotations

import pytest
from msgspec import structs

from bridge.model import Channel, Control, ControlEvent, Fill, Position
from bridge.sequencer import identified
from tests.unit.core import PAIR, SECOND, T0, Rig, balance, delta, fill, order, quote, snapshot, trade

MILLISECOND = 1_000_000


def ids(rig: Rig) -> list[str]:
    return [event.fill_id if isinstance(event, Fill) else event.id for event in rig.sink.data]


class TestState:
    def test_it_is_down_before_anything_was_said_and_then_as_said(self):
        rig = Rig(Channel.TRADES)
        seen = [rig.topic.state]
        for step in (
            lambda: rig.topic.go_live(T0),
            lambda: rig.topic.stale(T0, "silent"),
            lambda: rig.topic.go_live(T0),
            lambda: rig.topic.down(T0, "cut"),
            lambda: rig.topic.stop(T0),
        ):
            step()
            seen.append(rig.topic.state)
        assert seen == ["down", "live", "stale", "live", "down", "stop"]

    def test_stop_is_said_once(self):
        rig = Rig(Channel.BOOK)
        rig.topic.go_live(T0)
        rig.topic.stop(T0)
        rig.topic.stop(T0)
        assert rig.sink.said() == ["live", "stop"]
        assert (rig.topic.live, rig.topic.reason) == (False, "the connector ends")

    @pytest.mark.parametrize("channel", list(Channel))
    def test_it_is_live_only_when_all_its_connections_stand(self, channel):
        rig = Rig(channel)
        rig.topic.may_live = lambda: False
        rig.topic.go_live(T0)
        assert (rig.topic.live, rig.sink.said()) == (False, [])
        rig.topic.may_live = lambda: True
        rig.topic.go_live(T0)
        assert (rig.topic.live, rig.sink.said()) == (True, ["live"])

    def test_a_seed_that_ended_keeps_its_reason(self):
        rig = Rig(Channel.TRADES)
        rig.topic.seed([Control(PAIR, None, T0, Channel.TRADES, ControlEvent.DOWN, "halted")], T0)
        assert (rig.topic.state, rig.topic.reason) == ("down", "halted")

    @pytest.mark.parametrize(
        ("before", "said"),
        [
            ("live", ["live", "gap"]),
            ("down", ["live", "down", "down"]),
            ("stale", ["live", "stale", "stale"]),
            ("stop", ["live", "stop"]),
        ],
    )
    def test_a_foreign_hand_is_said_as_the_state_asks(self, before, said):
        rig = Rig(Channel.TRADES)
        rig.topic.go_live(T0)
        if before == "stop":
            rig.topic.stop(T0)
        elif before != "live":
            getattr(rig.topic, before)(T0, "why")
        rig.topic.disturbed(T0 + 1, "somebody else", 3)
        assert rig.sink.said() == said
        if before == "live":
            assert (rig.sink.events[-1].count, rig.sink.events[-1].recv) == (3, T0 + 1)

    def test_a_gap_without_a_count_is_said_once_until_an_event_comes(self):
        rig = Rig(Channel.TRADES)
        rig.topic.accept(trade(1, "a"))
        rig.topic.gap(T0, "x")
        rig.topic.gap(T0, "x")
        rig.topic.gap(T0, "x", 2)
        rig.topic.accept(trade(2, "b"))
        rig.topic.gap(T0, "x")
        assert rig.sink.said() == ["live", "trade", "gap", "gap", "trade", "gap"]
        assert rig.topic.gaps == 4

    def test_a_control_entry_has_the_streams_name_and_its_own_time(self):
        rig = Rig(Channel.QUOTES)
        rig.topic.down(T0 + 7, "cut")
        assert rig.sink.events == [Control(PAIR, None, T0 + 7, Channel.QUOTES, ControlEvent.DOWN, "cut", None)]

    def test_another_reason_is_written_as_it_is(self):
        rig = Rig(Channel.QUOTES)
        for reason in ("one", "one", "two", "one"):
            rig.topic.gap(T0, reason, 1)
        assert [event.reason for event in rig.sink.events] == ["one", "one", "two", "one"]


class TestLags:
    """The exchange's time is held against receipt only for what is told as it happens."""

    @pytest.mark.parametrize(
        ("channel", "make"),
        [
            (Channel.TRADES, lambda ts, recv: _timed(trade(0, str(ts)), ts, recv)),
            (Channel.QUOTES, lambda ts, recv: _timed(quote(str(ts), "9"), ts, recv)),
            (Channel.BOOK, lambda ts, recv: _timed(snapshot(xseq=str(ts)), ts, recv)),
        ],
    )
    def test_from_the_first_time_on_that_counts(self, channel, make):
        rig = _timing(channel, T0)
        for ts in (None, T0 - 1, T0, T0 + 5):
            rig.topic.accept(make(ts, T0 + 20))
        assert list(rig.topic.lags) == [20, 15]
        assert (rig.topic.received, rig.topic.last) == (4, T0 + 20)

    def test_a_replayed_trade_says_nothing(self):
        rig = _timing(Channel.TRADES, T0)
        rig.topic.accept(structs.replace(trade(1, "a"), replay=True))
        rig.topic.accept(trade(2, "b"))
        assert len(rig.topic.lags) == 1

    def test_a_book_that_only_says_its_state_again_says_nothing(self):
        rig = _timing(Channel.BOOK, T0)
        for xseq in ("5", "5", "6"):
            rig.topic.accept(_timed(snapshot(xseq=xseq), T0, T0 + 3))
        assert list(rig.topic.lags) == [3, 3]

    @pytest.mark.parametrize("channel", [Channel.BALANCES, Channel.FILLS])
    def test_what_rest_says_says_nothing(self, channel):
        rig = _timing(channel, T0)
        event = _timed(balance("EUR", "1") if channel is Channel.BALANCES else fill("a"), T0, T0 + 3)
        rig.topic.restate([event], T0, T0 + 4)
        assert (len(rig.sink.data), list(rig.topic.lags), rig.topic.lags_from) == (1, [], T0)


def _timed(event, ts, recv):
    return structs.replace(event, ts=ts, recv=recv)


def _timing(channel: Channel, since: int) -> Rig:
    rig = Rig(channel)
    rig.topic.lags = type(rig.topic.lags)(maxlen=100)
    rig.topic.lags_from = since
    return rig


class TestBookCounts:
    def test_snapshots_that_mend_are_counted_and_the_first_and_the_fresh_are_not(self):
        rig = Rig(Channel.BOOK)
        seen = []
        for step in ("snapshot", "snapshot", "gap", "snapshot", "down", "snapshot"):
            rig.topic.accept(snapshot()) if step == "snapshot" else getattr(rig.topic, step)(T0, "why")
            seen.append((rig.topic.resyncs, rig.topic.awaiting))
        assert seen == [(0, False), (0, False), (0, True), (1, False), (1, True), (2, False)]

    def test_deltas_that_continue_nothing_are_counted_until_they_are_declared(self):
        rig = Rig(Channel.BOOK)
        rig.topic.accept(delta(T0 + 1))
        rig.topic.accept(delta(T0 + 2))
        assert (rig.topic.undeclared, rig.topic.last, rig.topic.received) == (2, T0 + 2, 2)
        rig.topic.accept(snapshot(T0 + 3))
        assert rig.topic.undeclared == 0
        [lost] = [e for e in rig.sink.events if isinstance(e, Control) and e.event is ControlEvent.LOST]
        assert (lost.count, lost.recv, lost.reason) == (2, T0 + 3, "deltas without a snapshot to continue")

    def test_a_delta_without_a_number_before_it_continues_whatever_there_is(self):
        rig = Rig(Channel.BOOK)
        rig.topic.accept(snapshot(xseq="5"))
        rig.topic.accept(delta(xseq="7"))
        rig.topic.accept(delta(xseq="8", prev="7"))
        assert rig.sink.said() == ["live", "snapshot", "delta", "delta"]

    def test_a_gap_with_a_count_is_said_again(self):
        rig = Rig(Channel.BOOK)
        rig.topic.accept(snapshot())
        rig.topic.gap(T0, "x")
        rig.topic.gap(T0, "x", 2)
        assert rig.sink.said() == ["live", "snapshot", "gap", "gap"]
        assert rig.topic.gaps == 2

    @pytest.mark.parametrize(("entries", "asked"), [(2046, 1), (2048, 0), (2049, 0)])
    def test_a_fresh_snapshot_is_asked_for_beyond_half_of_what_is_kept(self, entries, asked):
        rig = Rig(Channel.BOOK, entries=entries)
        rig.topic.accept(snapshot())
        for _ in range(1024):
            rig.topic.accept(delta())
        assert rig.resynced == [(PAIR, "the last snapshot is old")] * asked

    @pytest.mark.parametrize(("after", "asked"), [(50 * SECOND, 0), (50 * SECOND + 1000, 1)])
    def test_a_fresh_snapshot_is_asked_for_beyond_half_the_age(self, after, asked):
        rig = Rig(Channel.BOOK, age=100)
        rig.topic.accept(snapshot())
        for _ in range(1024):
            rig.topic.accept(delta(recv=T0 + after))
        assert len(rig.resynced) == asked

    def test_each_snapshot_begins_the_count_anew(self):
        rig = Rig(Channel.BOOK, entries=3000)
        for _ in range(3):
            rig.topic.accept(snapshot())
            for _ in range(1023):
                rig.topic.accept(delta())
        assert rig.resynced == []


class TestIds:
    def test_a_generation_of_ids_is_forgotten_after_two_turns(self, monkeypatch):
        monkeypatch.setattr(identified, "_REMEMBERED", 3)
        rig = Rig(Channel.TRADES)
        for number in range(1, 6):
            rig.topic.accept(trade(number, str(number)))
        rig.topic.accept(trade(1, "1"))  # of the generation before
        rig.topic.accept(trade(5, "5"))
        assert (rig.topic.repeated, rig.topic.received) == (2, 5)
        rig.topic.accept(trade(6, "6"))  # turns
        rig.topic.accept(trade(1, "1"))
        rig.topic.accept(trade(4, "4"))
        assert ids(rig) == ["1", "2", "3", "4", "5", "6", "1"]

    @pytest.mark.parametrize(("after", "known"), [(600 * SECOND - 1, True), (600 * SECOND, False)])
    def test_fills_are_remembered_for_ten_minutes(self, monkeypatch, after, known):
        monkeypatch.setattr(identified, "_REMEMBERED", 2)
        rig = Rig(Channel.FILLS)
        rig.topic.seed([fill("0")], T0)
        rig.topic.accept(fill("1", T0 + after))
        rig.topic.accept(fill("2", T0 + 2 * after))
        rig.topic.accept(fill("3", T0 + 2 * after))
        rig.topic.accept(fill("0", T0 + 2 * after))
        assert rig.topic.repeated == known

    def test_fills_have_a_limit_however_fast_they_come(self, monkeypatch):
        monkeypatch.setattr(identified, "_REMEMBERED", 2)
        monkeypatch.setattr(identified, "_MOST_REMEMBERED", 4)
        rig = Rig(Channel.FILLS)
        rig.topic.seed([fill("0")], T0)
        for number in range(1, 9):
            rig.topic.accept(fill(str(number)))
        assert len(rig.topic._new) + len(rig.topic._old) <= 8
        rig.topic.accept(fill("0"))
        assert ids(rig)[-1] == "0", "forgotten"
        rig.topic.accept(fill("8"))
        assert rig.topic.repeated == 1

    def test_a_seed_knows_contents_as_well_as_ids(self):
        rig = Rig(Channel.TRADES)
        rig.topic.seed([trade(1), trade(2)], T0)
        rig.topic.reopened(0)
        for number in (1, 2, 3):
            rig.topic.accept(trade(number))
        assert (rig.topic.repeated, rig.topic.received) == (2, 1)


class TestBeside:
    """Without ids, two connections side by side: each copy of a trade is taken away once."""

    def test_the_other_connections_copy_is_a_repeat_however_late(self):
        for late in (SECOND, SECOND + 1, 60 * SECOND):
            rig = Rig(Channel.TRADES)
            rig.topic.accept(trade(0, recv=T0))
            rig.topic.reopened(T0)
            rig.topic.accept(trade(0, recv=T0 + late))
            assert rig.topic.repeated == 1, late

    def test_without_a_time_it_is_one_within_a_second_and_later_it_is_not(self):
        for late, repeated in ((SECOND, 1), (SECOND + 1, 0)):
            rig = Rig(Channel.TRADES)
            rig.topic.accept(structs.replace(trade(0, recv=T0), ts=None))
            rig.topic.reopened(T0)
            rig.topic.accept(structs.replace(trade(0, recv=T0 + late), ts=None))
            assert rig.topic.repeated == repeated, late

    def test_what_came_before_the_second_connection_is_no_copy_of_its(self):
        rig = Rig(Channel.TRADES)
        rig.topic.accept(trade(0, recv=T0))
        rig.topic.accept(trade(1, recv=T0 + 2))
        rig.topic.reopened(T0 + 2)
        assert [recv for recv, _ in rig.topic._beside] == [T0 + 2]

    def test_of_like_trades_the_first_at_about_the_same_time_is_meant(self):
        rig = Rig(Channel.TRADES)
        for at in (0, 100, 110, 200):
            rig.topic.accept(trade(0, recv=T0 + at * MILLISECOND))
        rig.topic.reopened(T0)
        rig.topic.accept(trade(0, recv=T0 + 120 * MILLISECOND))
        assert [recv - T0 for recv, _ in rig.topic._beside] == [110 * MILLISECOND, 200 * MILLISECOND]

    def test_else_the_nearest(self):
        rig = Rig(Channel.TRADES)
        for at in (0, 100, 200):
            rig.topic.accept(trade(0, recv=T0 + at * MILLISECOND))
        rig.topic.reopened(T0)
        rig.topic.accept(trade(0, recv=T0 + 140 * MILLISECOND))
        assert [recv - T0 for recv, _ in rig.topic._beside] == [200 * MILLISECOND]


class TestHistory:
    """Some exchanges begin a connection with the trades before it."""

    def test_the_first_new_trade_ends_it(self):
        rig = Rig(Channel.TRADES)
        for number in (1, 2, 3):
            rig.topic.accept(trade(number))
        rig.topic.reopened(0)
        for number in (2, 3, 4):
            rig.topic.accept(trade(number))
        rig.topic.accept(trade(1))  # the history is over: this is a trade like another one before
        assert (rig.topic.repeated, rig.topic.received) == (2, 5)

    @pytest.mark.parametrize(("clean", "repeated"), [(1, 1), (2, 0)])
    def test_after_connections_without_one_a_like_trade_of_the_newest_second_is_new(self, clean, repeated):
        rig = Rig(Channel.TRADES)
        for number in range(clean):
            rig.topic.accept(trade(number))
            rig.topic.reopened(0)
        rig.topic.accept(trade(clean))
        rig.topic.reopened(0)
        rig.topic.accept(trade(clean))
        assert rig.topic.repeated == repeated


class TestRestated:
    def test_what_the_answer_does_not_cover_is_left_as_it_is(self):
        rig = Rig(Channel.ORDERS)
        rig.topic.accept(order("a"))
        rig.topic.accept(order("b"))
        later = T0 + SECOND
        rig.topic.restate([], later, later, covers=lambda known: known.order_id == "a")
        assert [(e.order_id, e.status, e.ts) for e in rig.sink.data[2:]] == [("a", "", None)]

    def test_a_position_that_is_gone_is_flat_once(self):
        rig = Rig(Channel.POSITIONS)
        rig.topic.accept(Position("main", None, T0, "BTC-PERP", "long", "1", "10", "11", "1"))
        for number in (1, 2):
            rig.topic.restate([], T0 + number * SECOND, T0 + number * SECOND)
        assert rig.sink.data[1:] == [Position("main", None, T0 + SECOND, "BTC-PERP", "", "0", "", "", "", None)]

    def test_a_position_in_contracts_is_flat_in_contracts(self):
        rig = Rig(Channel.POSITIONS)
        rig.topic.accept(Position("main", None, T0, "BTC-PERP", "long", "1", "10", "11", "1", "5"))
        rig.topic.restate([], T0 + SECOND, T0 + SECOND)
        assert rig.sink.data[1].contracts == "0"

    def test_at_the_very_time_of_the_question_what_was_told_is_newer(self):
        rig = Rig(Channel.BALANCES)
        rig.topic.accept(balance("EUR", "90", T0))
        rig.topic.restate([balance("EUR", "100", T0)], T0, T0 + SECOND)
        rig.topic.restate([], T0, T0 + SECOND)
        assert [e.available for e in rig.sink.data] == ["90"]

    def test_a_repeated_state_makes_the_stream_live_and_is_an_event(self):
        rig = Rig(Channel.QUOTES)
        rig.topic.accept(quote("1", "2"))
        rig.topic.down(T0, "cut")
        rig.topic.reopened(0)
        rig.topic.accept(quote("1", "2", T0 + 9))
        assert (rig.topic.live, rig.topic.last, rig.topic.repeated, rig.topic.received) == (True, T0 + 9, 1, 1)

    @pytest.mark.parametrize(("late", "repeated"), [(SECOND, 1), (SECOND + 1, 0)])
    def test_a_state_of_two_connections_is_a_repeat_within_a_second(self, late, repeated):
        rig = Rig(Channel.QUOTES)
        rig.topic.accept(quote("1", "9", T0))
        rig.topic.accept(quote("2", "9", T0))
        rig.topic.reopened(T0)
        rig.topic.accept(quote("1", "9", T0 + late))
        assert rig.topic.repeated == repeated

    def test_a_takeover_long_after_the_last_state_remembers_nothing_beside(self):
        rig = Rig(Channel.QUOTES)
        rig.topic.accept(quote("1", "9", T0))
        rig.topic.reopened(T0 + 1)
        assert not rig.topic._beside
        assert not rig.topic._before
