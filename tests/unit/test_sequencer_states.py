from __future__ import annotations

import pytest
from msgspec import structs

from bridge.model import Channel, Position, Ticker
from tests.unit.core import PAIR, SECOND, T0, Rig, balance, fill, order, quote

NEWS = {Channel.ORDERS: {"filled": "0.1", "status": "partially_filled"}, Channel.FILLS: {"fill_id": "f2"}}


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

    def test_an_order_is_told_apart_by_its_pair_and_a_position_by_its_leg(self):
        """Some exchanges count the orders of each pair by themselves; in hedge mode a pair has two positions."""
        one, other = (structs.replace(order("7", "open"), pair=pair) for pair in ("BTC-EUR", "ETH-EUR"))
        long, short = (
            Position("main", None, T0, "BTC-PERP", leg, "1", "10", "11", "1", None, leg) for leg in ("long", "short")
        )
        for channel, events in ((Channel.ORDERS, (one, other)), (Channel.POSITIONS, (long, short))):
            rig = Rig(channel)
            for event in events:
                rig.topic.accept(event)
            rig.topic.reopened(0)
            rig.topic.restate([events[0]], T0 + SECOND, T0 + SECOND)
            [*_, gone] = rig.sink.data
            assert len(rig.sink.data) == 3
            assert (gone.pair, getattr(gone, "leg", None)) == (events[1].pair, getattr(events[1], "leg", None))

    @pytest.mark.parametrize("channel", [Channel.ORDERS, Channel.FILLS])
    def test_what_rest_tells_makes_no_stream_live_that_is_refused(self, channel):
        event = order("7", "open") if channel is Channel.ORDERS else fill("f1", T0)
        rig = Rig(channel)
        rig.topic.not_served(T0, "no permission")
        rig.topic.restate([event], T0, T0 + SECOND)
        assert rig.sink.said() == ["down", event.__class__.__name__.lower()]
        rig.topic.accept(structs.replace(event, ts=T0 + SECOND, recv=T0 + SECOND, **NEWS[channel]))
        assert rig.topic.live, "this the exchange has sent"

    @pytest.mark.parametrize("channel", [Channel.ORDERS, Channel.FILLS])
    def test_what_rest_tells_makes_a_stream_live_that_is_not_refused(self, channel):
        event = order("7", "open") if channel is Channel.ORDERS else fill("f1", T0)
        rig = Rig(channel)
        rig.topic.down(T0, "cut")
        rig.topic.restate([event], T0, T0 + SECOND)
        assert rig.topic.live

    def test_a_takeover_repeats_no_state(self):
        """Both connections bring the same quotes while the second one warms up."""
        rig = Rig(Channel.QUOTES)
        for number, bid in enumerate(("1", "2", "3", "2")):
            rig.topic.accept(quote(bid, "9", T0 + number * SECOND // 10))
        rig.topic.reopened(T0 + SECOND // 20)
        for number, bid in enumerate(("1", "2", "3", "2", "4", "2")):
            rig.topic.accept(quote(bid, "9", T0 + (number + 1) * SECOND // 10))
        assert [e.bid for e in rig.sink.data] == ["1", "2", "3", "2", "4", "2"]

    def test_a_change_back_to_what_stood_before_a_takeover_is_a_change(self):
        rig = Rig(Channel.QUOTES)
        rig.topic.accept(quote("1", "9", T0))
        rig.topic.accept(quote("2", "9", T0 + 2))
        rig.topic.reopened(T0 + 1)
        rig.topic.accept(quote("2", "9", T0 + 3))
        rig.topic.accept(quote("1", "9", T0 + 4))
        assert [e.bid for e in rig.sink.data] == ["1", "2", "1"]

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

    def test_what_came_beside_a_connection_that_is_lost_counts_no_more(self):
        rig = Rig(Channel.QUOTES)
        for bid in ("1", "2"):
            rig.topic.accept(quote(bid, "9", T0))
        rig.topic.reopened(T0)
        rig.topic.reopened(0)
        rig.topic.accept(quote("1", "9", T0 + 1))
        assert [e.bid for e in rig.sink.data] == ["1", "2", "1"]

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

    @pytest.mark.parametrize(
        ("known", "answer", "published"),
        [
            (("100", "5"), ("90", "5"), True),
            (("100", "5"), ("100", "6"), True),
            (("100", "5"), ("100", "5"), False),
            (("100", ""), ("100", "5"), False),
            (("", "5"), ("100", "5"), False),
            (("100", "5"), ("90", ""), True),
        ],
    )
    def test_a_field_that_one_leaves_empty_agrees(self, known, answer, published):
        rig = Rig(Channel.BALANCES)
        rig.topic.accept(balance("EUR", known[0], T0, known[1]))
        rig.topic.restate([balance("EUR", answer[0], T0 + SECOND, answer[1])], T0 + SECOND, T0 + SECOND)
        assert [(e.available, e.reserved) for e in rig.sink.data] == [known, *[answer] * published]

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

    def test_rest_may_write_the_same_number_with_other_zeros(self):
        """An id that only looks alike is another one."""
        rig = Rig(Channel.BALANCES)
        rig.topic.accept(balance("EUR", "100.50"))
        rig.topic.restate([balance("EUR", "100.5000", reserved="0.0")], T0 + SECOND, T0 + SECOND)
        assert len(rig.sink.data) == 1
        rig.topic.restate([balance("EUR", "100.51")], T0 + SECOND, T0 + SECOND)
        assert rig.sink.data[-1].available == "100.51"
        orders = Rig(Channel.ORDERS)
        orders.topic.accept(structs.replace(order("a"), client_id="07"))
        orders.topic.restate([structs.replace(order("a", recv=T0 + 1), client_id="7")], T0 + SECOND, T0 + SECOND)
        assert [entry.client_id for entry in orders.sink.data] == ["07", "7"]

    def test_the_time_of_a_restated_entry_is_when_it_is_written(self):
        rig = Rig(Channel.BALANCES)
        rig.topic.accept(balance("BTC", "1", T0 + 2 * SECOND))
        rig.topic.restate([balance("EUR", "1", T0 + SECOND)], T0 + SECOND, T0 + 3 * SECOND)
        assert [e.recv for e in rig.sink.data] == [T0 + 2 * SECOND, T0 + 3 * SECOND]
