"""Positions that an exchange keeps apart by margin mode: one per pair and leg for readers."""

from __future__ import annotations

from bridge.exchanges.toolkit.accounts.margin_modes import MarginModes
from bridge.model import Position
from tests.unit.core import SECOND, T0


def position(contracts, side="long", *, entry="10", profit="1", ts=T0, leg="", recv=T0):
    if contracts == "0":
        return Position("main", ts, recv, "BTC-USDT-PERP", "", "0", "", "", "", "0", leg)
    size = f"{int(contracts)}00"
    return Position("main", ts, recv, "BTC-USDT-PERP", side, size, entry, "11", profit, contracts, leg)


def modes():
    return MarginModes(lambda pair, contracts: f"{contracts}00")


def test_one_is_as_it_is():
    assert modes().whole(position("3"), "cross") == (position("3"), False)


def test_two_are_summed():
    known = modes()
    known.whole(position("3"), "cross")
    whole, summed = known.whole(position("5", "short", entry="12", profit="-2.5"), "isolated")
    assert summed
    assert (whole.side, whole.contracts, whole.size) == ("short", "2", "200")
    assert (whole.entry_price, whole.mark_price, whole.unrealised_pnl) == ("", "11", "-1.5")


def test_those_that_cancel_each_other_are_flat():
    known = modes()
    known.whole(position("3"), "cross")
    whole, _ = known.whole(position("3", "short"), "isolated")
    assert (whole.side, whole.contracts, whole.entry_price) == ("", "0", "10")


def test_once_one_is_closed_the_other_is_all():
    known = modes()
    known.whole(position("3"), "cross")
    known.whole(position("5"), "isolated")
    assert known.whole(position("0", ts=T0 + 1), "cross") == (position("5"), False)
    assert known.whole(position("0", ts=T0 + 1), "isolated") == (position("0", ts=T0 + 1), False)


def test_legs_are_apart():
    known = modes()
    known.whole(position("3", leg="long"), "cross")
    assert known.whole(position("5", "short", leg="short"), "isolated")[1] is False


def test_an_older_one_does_not_count():
    known = modes()
    known.whole(position("3", ts=T0 + SECOND), "cross")
    assert known.whole(position("9"), "cross")[0].contracts == "3"


def test_of_a_list_only_what_it_has_counts_and_what_was_told_since():
    known = modes()
    known.whole(position("3"), "cross")
    known.whole(position("5", recv=T0 + SECOND), "isolated")
    known.begin(T0)
    assert known.whole(position("2"), "cross")[0].contracts == "7"
    known.begin(T0 + SECOND)
    assert known.whole(position("2"), "cross") == (position("2"), False)
