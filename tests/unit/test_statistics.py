"""Best prices and statistics that are said whole each time: an event where they have changed."""

from __future__ import annotations

import pytest

from bridge.exchanges.api import Subscription
from bridge.exchanges.toolkit.timing.request_count import RequestCount
from bridge.exchanges.toolkit.timing.times import milliseconds
from bridge.exchanges.toolkit.values.statistics import Statistics, change
from bridge.model import Channel, Funding, Mark, Quote
from tests.unit.core import PAIR, SECOND, T0


@pytest.mark.parametrize(
    ("opened", "last", "found"),
    [
        ("100", "110.5", ("10.5", "10.5000")),
        ("3", "2", ("-1", "-33.3333")),
        ("0", "2", ("2", "")),
        ("", "2", ("", "")),
        ("2", "", ("", "")),
        ("1e-99", "1e99", (None, "")),
    ],
)
def test_a_change_is_exact_and_its_share_is_rounded(opened, last, found):
    exact, share = change(opened, last)
    assert share == found[1]
    assert found[0] is None or exact == found[0]


def test_a_quote_is_news_where_it_has_changed():
    statistics = Statistics()
    bids, asks = [("10", "1"), ("9", "1")], [("11", "2")]
    assert list(statistics.quote(PAIR, T0, T0, bids, asks)) == [Quote(PAIR, T0, T0, "10", "1", "11", "2")]
    assert not statistics.quote(PAIR, T0 + 1, T0 + 1, bids, asks)
    assert list(statistics.quote(PAIR, T0, T0, bids, [])) == [Quote(PAIR, T0, T0, "10", "1", "", "")]


def test_what_was_lost_makes_the_same_news():
    statistics = Statistics()
    for stream in (Subscription(Channel.QUOTES, PAIR), None):
        assert statistics.quote(PAIR, T0, T0, [], [])
        statistics.forget(Subscription(Channel.TICKER, PAIR))
        assert not statistics.quote(PAIR, T0, T0, [], [])
        statistics.forget(stream)


@pytest.mark.parametrize(("following", "interval"), [(T0 + 28_800 * SECOND, "28800"), (T0, ""), (None, "")])
def test_funding_has_the_time_between_two_payments(following, interval):
    [event] = Statistics().funding(PAIR, T0, T0, rate="-0.0001", due=T0, following=following)
    assert event == Funding(PAIR, T0, T0, "-0.0001", T0, interval)


def test_a_mark_has_the_index_that_was_told_last():
    statistics = Statistics()
    assert list(statistics.mark(PAIR, T0, T0, "10", "BTC")) == [Mark(PAIR, T0, T0, "10", "")]
    statistics.index("BTC", "9.9")
    assert list(statistics.mark(PAIR, T0, T0, "10", "BTC")) == [Mark(PAIR, T0, T0, "10", "9.9")]
    statistics.index("BTC", "")
    assert list(statistics.mark(PAIR, T0, T0, "10", "BTC")) == [Mark(PAIR, T0, T0, "10", "")]


@pytest.mark.parametrize("wrong", ["x", "NaN", "-1"])
def test_what_is_no_number_is_refused(wrong):
    statistics = Statistics()
    with pytest.raises(ValueError, match="not a number"):
        statistics.mark(PAIR, T0, T0, wrong, "BTC")
    with pytest.raises(ValueError, match="not a number"):
        statistics.interest(PAIR, T0, T0, wrong, None)
    with pytest.raises(ValueError, match="not a number"):
        statistics.index("BTC", wrong)


def test_requests_are_counted_for_as_long_as_the_exchange_does():
    count = RequestCount(3, 60)
    assert not count.made(2, T0)
    assert count.made(1, T0 + 59 * SECOND)
    assert not count.made(0, T0 + 60 * SECOND)
    assert count.made(2, T0 + 61 * SECOND)


@pytest.mark.parametrize("text", ["", "x", "-5", "1" * 17, "²", "12"])
def test_a_time_in_text_is_one(text):
    with pytest.raises(ValueError, match="time"):
        milliseconds(text)
    assert milliseconds("1597026383085") == 1597026383085000000
