from __future__ import annotations

import msgspec
import pytest

from bridge.book import Book
from bridge.demo.comparison import QuietCheck
from bridge.demo.differences import TradeCheck, book_differences, check_trades, wallet_differences
from bridge.model import Trade

SECOND = 10**9


def book(bids, asks) -> Book:
    made = Book()
    made.replace(bids, asks)
    return made


def test_books_are_equal_as_numbers():
    truth = {"bids": [["100.0", "1.50"]], "asks": [["101", "2"]]}
    assert book_differences(book([("100.00", "1.5")], [("101.0", "2.000")]), truth) == []


@pytest.mark.parametrize(
    ("bids", "said"),
    [
        ([("100", "1")], "bid 100: 1, should be 1.5"),
        ([], "bid 100: 0, should be 1.5"),
        ([("100", "1.5"), ("99", "3")], "bid 99: 3, should be 0"),
    ],
)
def test_a_book_that_differs_says_where(bids, said):
    truth = {"bids": [["100", "1.5"]], "asks": [["101", "2"]]}
    assert book_differences(book(bids, [("101", "2")]), truth) == [said]


def trade(second: int, size: str = "1", name: str = "") -> Trade:
    return Trade("BTC-EUR", second * SECOND, 0, name, "buy", "100.0", size)


def true_trade(time: float, size: str = "1.00", name: str = "") -> dict[str, object]:
    return {"id": name, "time": time, "side": "buy", "price": "100", "size": size}


def test_trades_may_be_alike_as_often_as_they_happened():
    truth = [true_trade(10.1), true_trade(10.2), true_trade(11.0)]
    assert check_trades([trade(10), trade(10), trade(11)], truth, 9 * SECOND).twice == 0
    found = check_trades([trade(10), trade(10), trade(10), trade(11)], truth, 9 * SECOND)
    assert (found.read, found.twice, found.missing) == (4, 1, 0)


def test_trades_with_ids_are_told_apart_by_them():
    truth = [true_trade(10.9996, name="7"), true_trade(11.0, name="8"), true_trade(12.0, name="9")]
    # The exchange's own rounding may carry a time into the next second.
    mine = [trade(11, name="7"), trade(11, name="8"), trade(12, name="9")]
    assert check_trades(mine, truth, 9 * SECOND) == TradeCheck(read=3, twice=0, missing=0, misplaced=0)
    assert check_trades([*mine, mine[1]], truth, 9 * SECOND).twice == 1
    assert check_trades([mine[0], mine[2]], truth, 9 * SECOND).missing == 1
    assert check_trades([trade(11, "2", name="7"), *mine[1:]], truth, 9 * SECOND).twice == 1


@pytest.mark.parametrize("names", [("", "", ""), ("7", "8", "9")])
def test_trades_in_another_order_are_noticed(names):
    truth = [true_trade(10.0, "1", names[0]), true_trade(10.1, "2", names[1]), true_trade(10.2, "1", names[2])]
    mine = [trade(10, "1", names[0]), trade(10, "2", names[1]), trade(10, "1", names[2])]
    assert check_trades(mine, truth, None).misplaced == 0
    assert check_trades(mine[1:], truth, None).misplaced == 0
    found = check_trades([mine[1], mine[2], mine[0]], truth, None)
    assert (found.twice, found.misplaced) == (0, 1)


def test_a_trade_that_never_happened_counts_as_too_many():
    assert check_trades([trade(10, "7")], [true_trade(10.0)], None).twice == 1


def test_missing_trades_count_from_the_first_whole_second_of_reading():
    truth = [true_trade(9.9), true_trade(10.2), true_trade(11.0)]
    began = 9 * SECOND + SECOND // 2
    assert check_trades([trade(11)], truth, began).missing == 1
    assert check_trades([trade(10), trade(11)], truth, began).missing == 0
    assert check_trades([trade(11)], truth, None).missing == 0


def test_trades_from_before_the_oldest_that_the_exchange_has_kept_prove_nothing():
    assert check_trades([trade(5), trade(10)], [true_trade(10.0)], 4 * SECOND).twice == 0


def wallet(available: str = "5", recv: int = 100, filled: str = "0") -> dict[str, str]:
    order = {"order_id": "a", "price": "99.0", "size": "2", "filled": filled, "recv": recv}
    balance = {"available": available, "reserved": "0.0", "recv": recv}
    encode = msgspec.json.encode
    return {"balance:BTC": encode(balance).decode(), "order:a": encode(order).decode(), "fills": "3"}


TRUTH = {
    "balances": {"BTC": {"available": "5.00", "reserved": "0"}},
    "orders": [{"order_id": "a", "price": "99", "size": "2.0", "filled": "0.00", "created": 0.0}],
    "positions": [],
}


def test_wallets_are_equal_as_numbers():
    assert wallet_differences(wallet(), TRUTH) == []


def test_a_wallet_that_differs_says_where():
    assert wallet_differences(wallet("4"), TRUTH) == ["BTC available: 4, should be 5.00"]
    assert wallet_differences(wallet(filled="1"), TRUTH) == ["order a: filled 1, should be 0.00"]
    assert wallet_differences({}, TRUTH) == ["BTC: missing", "order a: missing, should be open"]
    assert wallet_differences(wallet(), {**TRUTH, "orders": []}) == ["order a: open, should be closed"]


def test_a_position_that_differs_says_where():
    def held(**changes: str) -> dict[str, str]:
        fields = {"side": "long", "size": "0.0120", "entry_price": "58000.5", **changes}
        return {**wallet(), "position:BTC-PERP": msgspec.json.encode(fields).decode()}

    true = {"pair": "BTC-PERP", "side": "long", "size": "0.012", "entry_price": "58000.50"}
    truth = {**TRUTH, "positions": [true]}
    assert wallet_differences(held(), truth) == []
    name = "position in BTC-PERP"
    assert wallet_differences(held(side="short"), truth) == [f"{name}: short, should be long"]
    assert wallet_differences(held(size="1"), truth) == [f"{name}: size 1, should be 0.012"]
    assert wallet_differences(held(entry_price=""), truth) == [f"{name}: entry_price unknown, should be 58000.50"]
    assert wallet_differences(wallet(), truth) == [f"{name}: missing"]
    assert wallet_differences(held(), TRUTH) == [f"{name}: open, should be flat"]


@pytest.mark.parametrize(("since", "compared"), [(0, True), (101, False)])
def test_orders_that_a_wallet_has_as_unconfirmed_once_the_stream_has_begun_again(since: int, compared: bool):
    fields = wallet(recv=10**18, filled="1")
    fields["order:a"] = fields["order:a"].removesuffix("}") + ',"unconfirmed":true}'
    for truth in (TRUTH, {**TRUTH, "orders": []}):
        assert bool(wallet_differences(fields, truth, orders_since=since)) == compared


def test_what_the_exchange_has_not_told_since_the_connection_came_up_is_not_compared():
    stale = wallet("4", recv=100, filled="1")
    assert wallet_differences(stale, TRUTH, balances_since=101, orders_since=101) == []
    assert wallet_differences(stale, {**TRUTH, "orders": []}, balances_since=101, orders_since=101) == []
    assert wallet_differences({}, TRUTH, balances_since=101, orders_since=101) == []
    fresh = wallet("4", recv=200, filled="1")
    assert len(wallet_differences(fresh, TRUTH, balances_since=101, orders_since=101)) == 2
    new = {**TRUTH, "orders": [{"order_id": "b", "price": "1", "size": "1", "filled": "0", "created": 7.0}]}
    assert "order b: missing, should be open" in wallet_differences({}, new, balances_since=1, orders_since=6 * SECOND)


def beat(number: int, received: int = 5, waiting: int = 0, state: str = "live") -> dict[str, str]:
    return {"beat": str(number), "instance": "a", "received": str(received), "waiting": str(waiting), "state": state}


def test_quiet_takes_two_heartbeats_that_say_the_same():
    quiet = QuietCheck()
    assert quiet.disturbed(None, 5)
    assert quiet.disturbed(beat(1, state="degraded"), 5)
    assert quiet.disturbed(beat(2), 5)
    assert quiet.disturbed(beat(2), 5)
    assert not quiet.disturbed(beat(3), 5)
    assert quiet.disturbed(beat(4, received=6), 6)
    assert quiet.disturbed(beat(5, received=6, waiting=1), 6)
    assert quiet.disturbed(beat(6, received=6), 6)
    assert not quiet.disturbed(beat(7, received=6), 6)


def test_an_entry_that_the_heartbeats_have_not_counted_yet_disturbs():
    quiet = QuietCheck()
    quiet.disturbed(beat(1), 5)
    assert quiet.disturbed(beat(2), 6)
    assert quiet.disturbed(beat(3, received=6), 6)
    assert not quiet.disturbed(beat(4, received=6), 6)
    assert quiet.moved(beat(4, received=6), 7)
    assert quiet.moved({**beat(1, received=6), "instance": "b"}, 6)
