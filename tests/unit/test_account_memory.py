"""What is known of an account over connections and restarts: where its fills go on, what was open, which coins it had."""

from __future__ import annotations

import pytest
from msgspec import structs

from bridge.exchanges.api import Subscription
from bridge.exchanges.toolkit.accounts.history import AccountMemory, FillHistory
from bridge.model import Channel, Control, ControlEvent, Fill
from tests.unit.core import SECOND, T0, balance, order

MINUTE, DAY = 60 * SECOND, 24 * 3600 * SECOND


def fill(ts, recv=T0, pair="BTC-USDT"):
    return Fill("main", ts, recv, f"t{ts}", "o1", pair, "buy", "1", "1", "", "")


def live(recv):
    return Control("main", None, recv, Channel.FILLS, ControlEvent.LIVE)


class TestFills:
    @pytest.mark.parametrize(
        ("tail", "known_from", "since"),
        [
            ([], 0, T0 - DAY - MINUTE),
            ([live(T0 - SECOND)], 0, T0 - DAY - MINUTE),
            ([live(T0 - 4 * DAY), live(T0 - DAY)], 0, T0 - 4 * DAY - MINUTE),
            ([live(T0 - 9 * DAY), fill(T0 - 5 * DAY), fill(T0 - 6 * DAY)], 0, T0 - 5 * DAY - MINUTE),
            ([fill(T0 - SECOND)], T0 - 30 * SECOND, T0 - 30 * SECOND),
            ([], T0 - MINUTE, T0 - MINUTE),
            ([fill(None)], 0, T0 - DAY - MINUTE),
        ],
        ids=[
            "nothing",
            "a young stream",
            "an old stream",
            "the newest",
            "no further than is known",
            "empty",
            "no time",
        ],
    )
    def test_where_the_history_begins(self, tail, known_from, since):
        history = FillHistory()
        history.recall_fills(tail, known_from)
        assert history.history_since(T0) == since

    def test_a_clock_that_is_ahead_hides_nothing(self):
        """The exchange's time of a fill may be later than its receipt by ours."""
        history = FillHistory()
        history.note([fill(T0 + DAY, recv=T0)])
        assert history.history_since(T0) == T0 - MINUTE

    def test_an_older_one_takes_nothing_back(self):
        history = FillHistory()
        history.note([fill(T0)])
        history.note([fill(T0 - DAY)])
        history.note([])
        assert history.newest_fill == T0

    def test_of_a_stream_that_others_feed_only_ones_own_count(self):
        history = FillHistory()
        history.recall_fills(
            [fill(T0 - 3 * DAY, pair="BTC-PERP"), fill(T0 - DAY)], 0, lambda fill: fill.pair == "BTC-PERP"
        )
        assert history.newest_fill == T0 - 3 * DAY


class TestLateOrders:
    """A message may come again, or after REST has told more."""

    @pytest.mark.parametrize(
        ("known", "news", "late"),
        [
            (("open", "0.5"), ("open", "0.5"), True),
            (("open", "0.5"), ("open", "0.50"), True),
            (("open", "0.5"), ("open", ""), True),
            (("open", "0.5"), ("open", "0.4"), True),
            (("open", "0.5"), ("open", "0.6"), False),
            (("open", "0.5"), ("cancelled", "0.5"), False),
            (("open", "0.5"), ("cancelled", "0.4"), False),
            (("open", ""), ("open", "0.1"), False),
            (("filled", "1"), ("open", "0.5"), True),
            (("cancelled", "0.5"), ("filled", "1"), True),
            (("", "0.5"), ("open", "0.4"), False),
        ],
    )
    def test_what_is_known_to_be_so_or_further(self, known, news, late):
        memory = AccountMemory()
        memory.learn([order("o1", known[0], filled=known[1])])
        assert memory.is_late(order("o1", news[0], filled=news[1])) is late

    def test_one_that_is_not_known_is_news(self):
        memory = AccountMemory()
        memory.learn([order("o1", "filled")])
        assert memory.is_late(order("o2")) is False
        assert memory.is_late(structs.replace(order("o1"), pair="BTC-EUR")) is False


class TestOrdersAndBalances:
    @pytest.mark.parametrize(
        ("status", "known"),
        [
            ("open", True),
            ("partially_filled", True),
            ("filled", False),
            ("cancelled", False),
            ("rejected", False),
            ("", False),
        ],
    )
    def test_what_is_open(self, status, known):
        memory = AccountMemory()
        memory.learn([order("o1"), order("o2"), order("o2", status)])
        assert list(memory.open_orders) == [("", "o1"), *([("", "o2")] if known else [])]

    def test_the_end_of_one_that_is_not_known(self):
        memory = AccountMemory()
        memory.learn([order("o1", "filled")])
        assert memory.open_orders == {}

    def test_the_newest_that_have_ended_are_remembered(self):
        memory = AccountMemory()
        memory.learn([order(f"o{n}", "filled") for n in range(1_001)])
        assert (len(memory.ended_orders), memory.newest("", "o0")) == (1_000, None)
        assert memory.newest("", "o1000") == order("o1000", "filled")
        assert [memory.is_late(order(ident)) for ident in ("o0", "o1", "o1000")] == [False, True, True]

    @pytest.mark.parametrize(("asked", "known"), [(T0, ["o1", "o2"]), (T0 + 1, ["o2"])])
    def test_a_list_that_was_asked_for_before_says_nothing_of_it(self, asked, known):
        memory = AccountMemory()
        memory.learn([order("o1"), order("o2")])
        memory.forget_orders(["o2"], asked)
        assert [order_id for _, order_id in memory.open_orders] == known

    def test_out_of_the_streams(self):
        memory = AccountMemory()
        for channel, tail in (
            (Channel.ORDERS, [order("o1")]),
            (Channel.BALANCES, [balance("BTC", "1"), balance("EUR", "0"), balance("BTC", "2")]),
            (Channel.FILLS, [fill(T0 - 5 * DAY)]),
            (Channel.POSITIONS, []),
        ):
            memory.take_up(Subscription(channel, "main"), tail, 0)
        assert list(memory.open_orders) == [("", "o1")]
        assert list(memory.currencies) == ["BTC", "EUR"]
        assert memory.newest_fill == T0 - 5 * DAY
