from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from bridge.model import Channel, Control, ControlEvent, Fill, Position, Ticker
from bridge.sequencer import BookTopic, IdTopic, StateTopic, topic_type
from tests.unit.core import (
    PAIR,
    SECOND,
    T0,
    Rig,
    balance,
    delta,
    order,
    quote,
    snapshot,
    trade,
)


def test_each_channel_has_its_kind_of_topic():
    kinds = {channel: topic_type(channel) for channel in Channel}
    assert {c for c, kind in kinds.items() if kind is IdTopic} == {Channel.TRADES, Channel.FILLS}
    assert {c for c, kind in kinds.items() if kind is BookTopic} == {Channel.BOOK}
    assert {c for c, kind in kinds.items() if kind is StateTopic} == set(Channel) - {
        Channel.TRADES,
        Channel.FILLS,
        Channel.BOOK,
    }


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


class TestIds:
    def test_an_id_stands_once(self):
        rig = Rig(Channel.TRADES)
        for ident in ("a", "b", "a", "c", "b"):
            rig.topic.accept(trade(1, ident))
        assert [e.id for e in rig.sink.data] == ["a", "b", "c"]
        assert (rig.topic.received, rig.topic.repeated) == (3, 2)

    def test_a_fill_stands_once(self):
        rig = Rig(Channel.FILLS)
        fill = Fill("main", T0, T0, "f1", "o1", PAIR, "buy", "10", "1", "", "")
        rig.topic.accept(fill)
        rig.topic.accept(fill)
        assert len(rig.sink.data) == 1

    def test_ids_are_remembered_for_thousands_of_trades(self):
        rig = Rig(Channel.TRADES)
        for number in range(12_000):
            rig.topic.accept(trade(0, str(number)))
        rig.topic.reopened(0)
        for number in range(7_001, 12_000):
            rig.topic.accept(trade(0, str(number)))
        assert len(rig.sink.data) == 12_000

    def test_like_trades_without_ids_are_as_many_as_came(self):
        rig = Rig(Channel.TRADES)
        for _ in range(3):
            rig.topic.accept(trade(1))
        assert len(rig.sink.data) == 3

    def test_a_replay_without_ids_is_matched_one_to_one(self):
        rig = Rig(Channel.TRADES)
        rig.topic.accept(trade(1))
        rig.topic.accept(trade(1))
        rig.topic.down(T0, "cut")
        rig.topic.reopened(0)
        for _ in range(3):
            rig.topic.accept(trade(1))
        rig.topic.accept(trade(2))
        assert len([e for e in rig.sink.data if e.ts == T0 + SECOND]) == 3
        assert rig.topic.repeated == 2

    def test_a_takeover_matches_what_both_connections_brought(self):
        rig = Rig(Channel.TRADES)
        rig.topic.accept(trade(10, size="1"))
        rig.topic.accept(trade(20, size="2"))  # the second connection was opened before this one
        rig.topic.reopened(T0 + 15 * SECOND)
        rig.topic.accept(trade(20, size="2"))
        rig.topic.accept(trade(20, size="2"))  # a second one like it, which only the new connection had
        assert [e.size for e in rig.sink.data] == ["1", "2", "2"]

    def test_a_takeover_drops_the_history_that_the_exchange_replays(self):
        """Whether recent trades come again after each connect isn't known: if they do, they stand already."""
        rig = Rig(Channel.TRADES)
        for number in range(1, 6):
            rig.topic.accept(trade(number))
        rig.topic.reopened(T0 + 60 * SECOND)
        for number in range(1, 6):
            rig.topic.accept(trade(number, recv=T0 + 60 * SECOND))
        rig.topic.accept(trade(61))
        assert [e.ts for e in rig.sink.data] == [T0 + n * SECOND for n in (1, 2, 3, 4, 5, 61)]

    def test_what_came_before_the_new_connection_was_subscribed_stands_for_nothing(self):
        """It was opened, but the exchange had not got its request yet: a like trade afterwards is a new one."""
        rig = Rig(Channel.TRADES)
        ms = SECOND // 1000
        rig.topic.accept(trade(10, recv=T0 + 100 * ms))
        rig.topic.accept(trade(10, recv=T0 + 300 * ms))
        rig.topic.reopened(T0)
        rig.topic.accept(trade(10, recv=T0 + 301 * ms))
        rig.topic.accept(trade(10, recv=T0 + 500 * ms))
        assert len(rig.sink.data) == 3

    def test_a_busy_process_takes_both_connections_in_bursts(self):
        rig = Rig(Channel.TRADES)
        for number in range(5):
            rig.topic.accept(trade(10, recv=T0 + number))
        rig.topic.reopened(T0)
        for number in range(6):
            rig.topic.accept(trade(10, recv=T0 + 1000 + number))
        assert len(rig.sink.data) == 6

    def test_a_history_that_is_replayed_at_a_takeover_stands_once(self):
        """The trades of the newest second too: nothing has shown that the exchange doesn't replay."""
        rig = Rig(Channel.TRADES)
        trades = [trade(10, size=str(number), recv=T0 + 10 * SECOND + number) for number in range(1, 6)]
        for event in trades:
            rig.topic.accept(event)
        for round_ in range(1, 4):
            rig.topic.reopened(T0 + 10 * SECOND + 100 * round_)
            for event in trades[-3:]:
                rig.topic.accept(structs.replace(event, recv=T0 + 10 * SECOND + 100 * round_ + 10))
            trades.append(trade(10, size=f"9{round_}", recv=T0 + 10 * SECOND + 100 * round_ + 20))
            rig.topic.accept(trades[-1])
        assert [event.size for event in rig.sink.data] == [event.size for event in trades]

    def test_a_like_trade_right_after_a_takeover_is_no_replay(self):
        """Once two connections began with something new, the exchange replays nothing."""
        rig = Rig(Channel.TRADES)
        for second in (8, 9):
            rig.topic.accept(trade(second, recv=T0 + second * SECOND))
            rig.topic.reopened(T0 + second * SECOND + 1)
        rig.topic.accept(trade(10, recv=T0 + 10 * SECOND + 100_000_000))
        rig.topic.reopened(T0 + 10 * SECOND + 200_000_000)
        rig.topic.accept(trade(10, recv=T0 + 10 * SECOND + 300_000_000))
        assert len(rig.sink.data) == 4


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

    def test_a_delta_that_continues_something_else_makes_a_gap(self):
        rig = Rig(Channel.BOOK)
        rig.topic.accept(snapshot(xseq="5"))
        rig.topic.accept(delta(xseq="6", prev="5"))
        rig.topic.accept(delta(xseq="9", prev="8"))
        rig.topic.accept(delta(xseq="10", prev="9"))
        rig.topic.accept(snapshot(xseq="20"))
        rig.topic.accept(delta(xseq="21", prev="20"))
        assert rig.sink.said() == ["live", "snapshot", "delta", "gap", "lost", "snapshot", "delta"]
        assert rig.resynced == [(PAIR, "xseq 6 was last, 9 continues 8")]
        assert rig.sink.lost == 2

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


class TestStates:
    def test_a_change_back_is_a_change(self):
        rig = Rig(Channel.QUOTES)
        for bid in ("1", "2", "1"):
            rig.topic.accept(quote(bid, "3"))
        assert [e.bid for e in rig.sink.data] == ["1", "2", "1"]

    def test_the_standing_state_is_not_repeated_after_a_reconnect(self):
        rig = Rig(Channel.QUOTES)
        rig.topic.accept(quote("1", "3"))
        rig.topic.down(T0, "cut")
        rig.topic.reopened(0)
        rig.topic.accept(quote("1", "3"))
        rig.topic.accept(quote("1", "3"))
        assert rig.sink.said() == ["live", "quote", "down", "live", "quote"]

    def test_positions_and_tickers_are_states_too(self):
        for channel, event in (
            (Channel.POSITIONS, Position("main", None, T0, "BTC-PERP", "long", "1", "10", "11", "1")),
            (Channel.TICKER, Ticker(PAIR, None, T0, "86400", "1", "2", "1", "2", "1", "100", "5")),
        ):
            rig = Rig(channel)
            rig.topic.accept(event)
            rig.topic.reopened(0)
            rig.topic.accept(event)
            assert len(rig.sink.data) == 1

    def test_a_takeover_repeats_no_state(self):
        """Both connections bring the same quotes while the second one warms up."""
        rig = Rig(Channel.QUOTES)
        for number, bid in enumerate(("1", "2", "3", "2")):
            rig.topic.accept(quote(bid, "9", T0 + number * SECOND // 10))
        rig.topic.reopened(T0 + SECOND // 20)
        for number, bid in enumerate(("1", "2", "3", "2", "4", "2")):
            rig.topic.accept(quote(bid, "9", T0 + (number + 1) * SECOND // 10))
        assert [e.bid for e in rig.sink.data] == ["1", "2", "3", "2", "4", "2"]

    def test_a_takeover_repeats_no_balance(self):
        rig = Rig(Channel.BALANCES)
        rig.topic.accept(balance("BTC", "1", T0))
        rig.topic.accept(balance("EUR", "100", T0))
        rig.topic.accept(balance("EUR", "90", T0 + 2 * SECOND))
        rig.topic.reopened(T0 + SECOND)
        later = T0 + 2 * SECOND
        for event in (
            balance("BTC", "1", later),
            balance("EUR", "100", later),
            balance("EUR", "90", later),
            balance("EUR", "100", later + SECOND // 2),
        ):
            rig.topic.accept(event)
        assert [(e.currency, e.available) for e in rig.sink.data] == [
            ("BTC", "1"),
            ("EUR", "100"),
            ("EUR", "90"),
            ("EUR", "100"),
        ]

    def test_long_after_a_takeover_everything_counts(self):
        rig = Rig(Channel.QUOTES)
        rig.topic.accept(quote("1", "9", T0))
        rig.topic.accept(quote("2", "9", T0 + SECOND))
        rig.topic.reopened(T0)
        rig.topic.accept(quote("1", "9", T0 + 60 * SECOND))
        assert [e.bid for e in rig.sink.data] == ["1", "2", "1"]


class TestRestate:
    def test_what_differs_is_published_and_what_agrees_is_not(self):
        rig = Rig(Channel.BALANCES)
        rig.topic.accept(balance("EUR", "100", reserved="5"))
        rig.topic.restate([balance("EUR", "100", reserved=""), balance("BTC", "1")], T0 + SECOND, T0 + SECOND)
        assert [(e.currency, e.available) for e in rig.sink.data] == [("EUR", "100"), ("BTC", "1")]

    def test_open_orders_that_are_gone_get_an_unknown_status(self):
        rig = Rig(Channel.ORDERS)
        rig.topic.accept(order("a"))
        rig.topic.accept(order("b"))
        rig.topic.accept(order("c", "filled"))
        rig.topic.restate([order("b", recv=T0 + SECOND)], T0 + SECOND, T0 + SECOND)
        assert [(e.order_id, e.status) for e in rig.sink.data[3:]] == [("a", "")]
        rig.topic.restate([order("b", recv=T0 + SECOND)], T0 + 2 * SECOND, T0 + 2 * SECOND)
        assert len(rig.sink.data) == 4

    def test_an_order_that_was_declared_gone_may_still_come(self):
        rig = Rig(Channel.ORDERS)
        rig.topic.accept(order("a"))
        rig.topic.down(T0, "cut")
        rig.topic.reopened(0)
        rig.topic.restate([], T0 + SECOND, T0 + SECOND)
        rig.topic.accept(order("a", "filled", T0 + 2 * SECOND))
        assert [(e.order_id, e.status) for e in rig.sink.data] == [("a", "open"), ("a", ""), ("a", "filled")]

    def test_an_answer_does_not_overrule_what_came_after_the_question(self):
        """The REST answer may be older than the newest message of the socket."""
        rig = Rig(Channel.BALANCES)
        rig.topic.accept(balance("EUR", "100", T0))
        rig.topic.accept(balance("EUR", "90", T0 + 2 * SECOND))
        rig.topic.restate([balance("EUR", "100", T0 + SECOND)], T0 + SECOND, T0 + 3 * SECOND)
        assert [e.available for e in rig.sink.data] == ["100", "90"]

    def test_an_order_that_finished_after_the_question_is_not_open_again(self):
        rig = Rig(Channel.ORDERS)
        rig.topic.accept(order("a", "cancelled", T0 + 2 * SECOND))
        rig.topic.restate([order("a", recv=T0 + SECOND)], T0 + SECOND, T0 + 3 * SECOND)
        assert [(e.order_id, e.status) for e in rig.sink.data] == [("a", "cancelled")]

    def test_an_order_placed_after_the_question_is_not_gone(self):
        rig = Rig(Channel.ORDERS)
        rig.topic.accept(order("old", recv=T0))
        rig.topic.accept(order("new", recv=T0 + 2 * SECOND))
        rig.topic.restate([], T0 + SECOND, T0 + 3 * SECOND)
        assert [(e.order_id, e.status) for e in rig.sink.data[2:]] == [("old", "")]

    def test_the_time_of_a_restated_entry_is_when_it_is_written(self):
        rig = Rig(Channel.BALANCES)
        rig.topic.accept(balance("BTC", "1", T0 + 2 * SECOND))
        rig.topic.restate([balance("EUR", "1", T0 + SECOND)], T0 + SECOND, T0 + 3 * SECOND)
        assert [e.recv for e in rig.sink.data] == [T0 + 2 * SECOND, T0 + 3 * SECOND]


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


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["", "id"])), max_size=40), st.data())
def test_trades_are_published_or_repeats(draws, data):
    rig = Rig(Channel.TRADES)
    for offered, (number, kind) in enumerate(draws, 1):
        if data.draw(st.booleans()):
            rig.topic.reopened(0)
        rig.topic.accept(trade(number, f"{kind}{number}" if kind else ""))
        assert rig.topic.received == len(rig.sink.data)
        assert offered == rig.topic.received + rig.topic.repeated
    idents = [event.id for event in rig.sink.data if event.id]
    assert len(idents) == len(set(idents))
