"""Trades that are numbered one by one: what is missing shows, whatever they come bundled as."""

from __future__ import annotations

import pytest

from bridge.exchanges.api import Warn
from bridge.exchanges.toolkit.values.numbered_trades import NumberedTrades
from bridge.model import Channel, Control
from tests.unit.core import PAIR, SECOND, T0


def come(trades, *bundles, now=T0):
    for number, count in bundles:
        trades.came(PAIR, number, count, now)


def missing(trades, now=T0 + 2 * SECOND):
    """How many each gap says."""
    return [told.count for told in trades.missing(now) if isinstance(told, Control)]


@pytest.mark.parametrize(
    "bundles",
    [
        [(100, 1), (101, 1), (102, 1)],
        [(100, 7), (103, 3)],
        [(100, 1), (103, 2), (102, 1)],
        [(100, 1), (102, 1), (103, 2)],
    ],
)
def test_none_is_missing(bundles):
    """Bundles of one order may overlap: those at one price from two sources are told apart."""
    trades = NumberedTrades()
    come(trades, *bundles)
    assert missing(trades) == []


def test_a_hole_is_said_once_with_its_count():
    trades = NumberedTrades()
    come(trades, (100, 1), (110, 2))
    [gap] = trades.missing(T0 + SECOND)
    assert (gap.channel, gap.subject, gap.count) == (Channel.TRADES, PAIR, 8)
    assert missing(trades) == []


def test_not_before_a_second_has_passed():
    trades = NumberedTrades()
    come(trades, (100, 1), (102, 1))
    assert missing(trades, T0 + SECOND // 2) == []
    come(trades, (101, 1), now=T0 + SECOND // 2)
    assert missing(trades) == []


def test_what_comes_twice_hides_no_hole_that_comes_later():
    trades = NumberedTrades()
    come(trades, (100, 1), (100, 1), (99, 1))
    assert missing(trades) == []
    come(trades, (103, 1), now=T0 + 3 * SECOND)
    assert missing(trades, T0 + 5 * SECOND) == [2]


def test_numbers_that_begin_again_are_told_and_are_no_hole():
    trades = NumberedTrades()
    come(trades, (1_000_000, 1), (5, 1), (6, 1))
    [told] = trades.missing(T0 + 2 * SECOND)
    assert isinstance(told, Warn)
    assert "begin again" in told.message


def test_a_pair_whose_trades_are_numbered_otherwise_is_given_up():
    trades = NumberedTrades()
    gaps, remarks = 0, []
    for number in range(30):
        come(trades, (1 + 100 * number, 1), now=T0 + 3 * number * SECOND)
        told = trades.missing(T0 + (3 * number + 2) * SECOND)
        gaps += sum(isinstance(one, Control) for one in told)
        remarks += [one.message for one in told if isinstance(one, Warn)]
    assert gaps == 11
    assert len(remarks) == 1
    assert "not numbered one by one" in remarks[0]
