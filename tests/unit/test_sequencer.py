from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import BOOKS, Channel, Control, ControlEvent
from bridge.sequencer import BookTopic, IdTopic, StateTopic, topic_type
from tests.unit.core import PAIR, SECOND, T0, Rig, balance, delta, quote, snapshot, trade


def test_each_channel_has_its_kind_of_topic():
    kinds = {channel: topic_type(channel) for channel in Channel}
    identified = {Channel.TRADES, Channel.LIQUIDATIONS, Channel.FILLS}
    assert {c for c, kind in kinds.items() if kind is IdTopic} == identified
    assert {c for c, kind in kinds.items() if kind is BookTopic} == BOOKS
    assert {c for c, kind in kinds.items() if kind is StateTopic} == set(Channel) - identified - BOOKS


class TestControl:
    def test_live_comes_once_and_before_the_first_event(self):
        rig = Rig(Channel.TRADES)
        rig.topic.accept(trade(1, "a"))
        rig.topic.go_live(T0)
        rig.topic.control(Control(PAIR, None, T0, Channel.TRADES, ControlEvent.LIVE))
        assert rig.sink.said() == ["live", "trade"]
        assert rig.sink.events[0].recv == T0 + SECOND

    def test_down_is_said_once_and_again_after_live(self):
        rig = Rig(Channel.TRADES)
        rig.topic.go_live(T0)
        rig.topic.down(T0, "cut")
        rig.topic.down(T0, "still cut")
        rig.topic.go_live(T0)
        rig.topic.down(T0, "cut again")
        assert rig.sink.said() == ["live", "down", "live", "down"]
        assert [e.reason for e in rig.sink.events if e.event is ControlEvent.DOWN] == ["cut", "cut again"]

    @pytest.mark.parametrize("standing", ["down", "stop"])
    def test_why_the_exchange_does_not_serve_it_is_said_once(self, standing):
        rig = Rig(Channel.BOOK)
        rig.topic.go_live(T0)
        rig.topic.down(T0, "cut") if standing == "down" else rig.topic.stop(T0)
        for reason in ("no such pair", "no such pair", "no such pair: 2nd time"):
            rig.topic.control(Control(PAIR, None, T0, Channel.BOOK, ControlEvent.DOWN, reason))
            rig.topic.down(T0, "cut again")
        assert rig.sink.said() == ["live", standing, "down"]
        assert rig.topic.reason == "no such pair"
        rig.topic.go_live(T0)
        rig.topic.control(Control(PAIR, None, T0, Channel.BOOK, ControlEvent.DOWN, "halted"))
        assert rig.sink.said() == ["live", standing, "down", "live", "down"]
        assert rig.topic.reason == "halted"

    def test_it_is_said_again_once_it_was_served(self):
        rig = Rig(Channel.BOOK)
        refusal = Control(PAIR, None, T0, Channel.BOOK, ControlEvent.DOWN, "halted")
        for _ in range(2):
            rig.topic.go_live(T0)
            rig.topic.down(T0, "cut")
            rig.topic.control(refusal)
            rig.topic.control(refusal)
        assert rig.sink.said() == ["live", "down", "down"] * 2

    def test_stale_is_said_only_of_what_was_live(self):
        rig = Rig(Channel.BOOK)
        rig.topic.stale(T0, "silent")
        rig.topic.accept(snapshot())
        rig.topic.stale(T0, "silent")
        rig.topic.stale(T0, "still silent")
        rig.topic.accept(delta())
        rig.topic.accept(snapshot())
        assert rig.sink.said() == ["live", "snapshot", "stale", "live", "lost", "snapshot"]

    def test_down_follows_a_gap_and_a_stale(self):
        rig = Rig(Channel.QUOTES)
        rig.topic.accept(quote("1", "2"))
        rig.topic.gap(T0, "lost", 3)
        rig.topic.down(T0, "cut")
        assert rig.sink.said() == ["live", "quote", "gap", "down"]
        assert rig.sink.events[2].count == 3
        assert rig.topic.gaps == 1

    def test_other_control_events_go_through(self):
        rig = Rig(Channel.ORDERS)
        rig.topic.control(Control("main", None, T0, Channel.ORDERS, ControlEvent.GAP, "hole", 2))
        rig.topic.control(Control("main", None, T0, Channel.ORDERS, ControlEvent.LOST, "hm", 1))
        assert rig.sink.said() == ["gap", "lost"]

    def test_after_stop_no_down_is_added(self):
        rig = Rig(Channel.TICKER)
        rig.topic.go_live(T0)
        rig.topic.stop(T0)
        rig.topic.down(T0, "cut")
        assert rig.sink.said() == ["live", "stop"]


class TestSeed:
    @pytest.mark.parametrize("event", [ControlEvent.STOP, ControlEvent.DOWN])
    def test_a_stream_that_ended_properly_says_nothing_more(self, event):
        rig = Rig(Channel.TRADES)
        rig.topic.seed([trade(1, "a"), Control(PAIR, None, T0, Channel.TRADES, event)], T0)
        rig.topic.down(T0, "not connected yet")
        assert rig.sink.said() == []

    @pytest.mark.parametrize(
        "last", [trade(1, "a"), Control(PAIR, None, T0, Channel.TRADES, ControlEvent.LIVE)], ids=["data", "live"]
    )
    def test_a_stream_that_was_cut_off_says_down(self, last):
        rig = Rig(Channel.TRADES)
        rig.topic.seed([last], T0 + 5 * SECOND)
        assert rig.sink.said() == ["down"]
        assert rig.sink.events[0].recv == T0 + 5 * SECOND

    @pytest.mark.parametrize("channel", list(Channel))
    def test_so_of_each_channel(self, channel):
        rig = Rig(channel)
        rig.topic.seed([Control(PAIR, None, T0, channel, ControlEvent.LIVE)], T0)
        assert rig.sink.said() == ["down"]

    def test_an_empty_stream_says_nothing(self):
        rig = Rig(Channel.BOOK)
        rig.topic.seed([], T0)
        assert rig.sink.said() == []

    def test_ids_are_known_across_a_restart(self):
        rig = Rig(Channel.TRADES)
        for number in range(5):
            rig.topic.accept(trade(number, str(number)))
        tail = rig.sink.events[2:]
        again = rig.again(Channel.TRADES)
        again.seed(tail, T0)
        again.reopened(0)
        for number in range(1, 8):
            again.accept(trade(number, str(number)))
        assert [e.id for e in rig.sink.data] == ["0", "1", "2", "3", "4", "5", "6", "7"]
        assert (again.received, again.repeated) == (3, 4)

    def test_states_are_known_across_a_restart(self):
        rig = Rig(Channel.BALANCES)
        rig.topic.accept(balance("EUR", "1"))
        rig.topic.accept(balance("BTC", "2"))
        again = rig.again(Channel.BALANCES)
        again.seed(rig.sink.events, T0)
        again.reopened(0)
        again.accept(balance("EUR", "1"))
        again.accept(balance("BTC", "3"))
        assert [(e.currency, e.available) for e in rig.sink.data] == [("EUR", "1"), ("BTC", "2"), ("BTC", "3")]
        assert again.repeated == 1


class TestBook:
    def test_deltas_wait_for_a_snapshot_and_are_declared(self):
        rig = Rig(Channel.BOOK)
        for _ in range(3):
            rig.topic.accept(delta())
        rig.topic.accept(snapshot())
        rig.topic.accept(delta())
        assert rig.sink.said() == ["live", "lost", "snapshot", "delta"]
        assert rig.sink.lost == 3
        assert rig.topic.received == 5

    @pytest.mark.parametrize("end", ["down", "stop"])
    def test_what_waited_is_declared_at_the_end(self, end):
        rig = Rig(Channel.BOOK)
        rig.topic.accept(delta())
        rig.topic.stop(T0) if end == "stop" else rig.topic.down(T0, "cut")
        assert rig.sink.said() == ["live", "lost", end]

    @pytest.mark.parametrize("event", ["gap", "down", "stale", "broken"])
    def test_nothing_passes_after_a_break_before_the_next_snapshot(self, event):
        rig = Rig(Channel.BOOK)
        rig.topic.accept(snapshot())
        rig.topic.accept(delta())
        getattr(rig.topic, event)(*([] if event == "broken" else [T0, "why"]))
        rig.topic.accept(delta())
        rig.topic.accept(delta())
        assert rig.sink.said().count("delta") == 1
        rig.topic.accept(snapshot())
        rig.topic.accept(delta())
        assert rig.sink.said()[-3:] == ["lost", "snapshot", "delta"]
        assert rig.sink.lost == 2

    def test_a_gap_is_said_once_until_the_next_snapshot(self):
        """Deltas that are of no use don't make it news."""
        rig = Rig(Channel.BOOK)
        rig.topic.accept(snapshot())
        for _ in range(3):
            rig.topic.gap(T0, "a frame could not be understood")
            rig.topic.accept(delta())
        rig.topic.accept(snapshot())
        rig.topic.gap(T0, "a frame could not be understood")
        assert rig.sink.said() == ["live", "snapshot", "gap", "lost", "snapshot", "gap"]
        assert rig.topic.gaps == 4

    def test_without_a_copy_there_is_nothing_to_make_a_snapshot_of(self):
        rig = Rig(Channel.BOOK)
        rig.topic.accept(snapshot())
        rig.topic.broken()
        assert not rig.topic.restore(T0)
        assert rig.sink.said() == ["live", "snapshot"]

    def test_after_a_stop_nothing_continues_what_was_before(self):
        rig = Rig(Channel.BOOK)
        rig.topic.accept(snapshot())
        rig.topic.stop(T0)
        rig.topic.accept(delta())
        assert (rig.sink.said(), rig.topic.undeclared) == (["live", "snapshot", "stop", "live"], 1)

    @pytest.mark.parametrize(("deltas", "asked"), [(1023, 0), (1024, 1), (2047, 1), (2048, 2)])
    def test_while_none_comes_it_is_asked_for_with_every_1024_deltas(self, deltas, asked):
        rig = Rig(Channel.BOOK, entries=2_000)
        rig.topic.accept(snapshot())
        for _ in range(deltas):
            rig.topic.accept(delta())
        assert len(rig.resynced) == asked

    def test_an_old_snapshot_is_renewed_by_count(self):
        rig = Rig(Channel.BOOK, entries=4096)
        rig.topic.accept(snapshot())
        for _ in range(3 * 1024):
            rig.topic.accept(delta())
        assert len(rig.resynced) == 1

    def test_an_old_snapshot_is_renewed_by_age(self):
        rig = Rig(Channel.BOOK, age=100)
        rig.topic.accept(snapshot())
        for _ in range(1024):
            rig.topic.accept(delta(recv=T0 + 51 * SECOND))
        assert len(rig.resynced) == 1


_BOOK_STEPS = st.lists(
    st.sampled_from(["snapshot", "delta", "delta", "delta", "gap", "down", "stale", "broken", "reopened", "restart"]),
    max_size=60,
)


@given(_BOOK_STEPS)
def test_every_book_event_is_published_declared_or_waiting(steps):
    rig = Rig(Channel.BOOK)
    received = 0
    for step in steps:
        if step in {"snapshot", "delta"}:
            rig.topic.accept(snapshot() if step == "snapshot" else delta())
            received += 1
        elif step == "broken":
            rig.topic.broken()
        elif step == "reopened":
            rig.topic.reopened(0)
        elif step == "restart":
            rig.topic.stop(T0)
            tail = rig.sink.events[-1:]
            rig.again(Channel.BOOK).seed(tail, T0)
        else:
            getattr(rig.topic, step)(T0, "why")
        assert received == len(rig.sink.data) + rig.sink.lost + rig.topic._unused
    valid = False
    for said in rig.sink.said():
        if said == "snapshot":
            valid = True
        elif said in {"gap", "down", "stale", "stop", "live", "lost"}:
            valid = False
        else:
            assert valid or "broken" in steps, "a delta without a snapshot to continue"
