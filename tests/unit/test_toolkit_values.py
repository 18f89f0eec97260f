"""What the toolkit makes of fields, sizes, statistics, times and lists of pairs: as tables."""

from __future__ import annotations

import json

import msgspec
import pytest
from pydantic import TypeAdapter, ValidationError

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import ClockReading, HttpResponse, ListedPair
from bridge.exchanges.toolkit.clocks import date_reading, iso_reading, millis_reading
from bridge.exchanges.toolkit.contracts import Contracts, ContractSizes
from bridge.exchanges.toolkit.fields import NESTED, UNREADABLE_ROW, decode_rows, difference, first, text
from bridge.exchanges.toolkit.history import AccountMemory
from bridge.exchanges.toolkit.names import Names, contract_name
from bridge.exchanges.toolkit.product_list import Product, ProductList
from bridge.exchanges.toolkit.tickers import SparseTickers
from bridge.exchanges.toolkit.times import UtcTimes
from bridge.exchanges.toolkit.waiting import spread
from bridge.model import Channel
from tests.unit.core import SECOND, T0, order
from tests.unit.limitlex_keys import drive

# --- fields --------------------------------------------------------------------------------------------------------

TEXTS = {
    '"a \\u00e9"': "a é",
    '""': "",
    "null": "",
    "true": "true",
    "1.50": "1.50",
    "-0": "-0",
    "1e3": "1000",
    "-1.5E-2": "-0.015",
    "1e100": "1e100",
    '{"a":1}': f'{NESTED}{{"a":1}}',
    "[1]": f"{NESTED}[1]",
}


@pytest.mark.parametrize("raw", TEXTS)
def test_a_field_is_the_text_that_stands_there(raw):
    assert text(msgspec.Raw(raw.encode())) == TEXTS[raw]


def test_a_row_that_is_none_is_shown_from_its_beginning():
    shown = "x" * 199
    assert decode_rows(json.dumps([{"a": 1}, 7, shown * 2, {"b": None}]).encode()) == [
        {"a": "1"},
        {UNREADABLE_ROW: "7"},
        {UNREADABLE_ROW: f'"{shown}'},
        {"b": ""},
    ]
    assert decode_rows(b'{"a":1}') == [{"a": "1"}]


@pytest.mark.parametrize(
    ("names", "found"),
    [(("a",), "1"), (("b", "a"), "1"), (("no", "c", "a"), "3"), (("b",), ""), (("no",), ""), ((), "")],
)
def test_the_first_field_that_says_something(names, found):
    assert first({"a": "1", "b": "", "c": "3"}, *names) == found


@pytest.mark.parametrize(
    ("whole", "part", "rest"),
    [
        ("3", "1", "2"),
        ("1.50", "0.5", "1"),
        ("1", "3", "-2"),
        ("1e2", "1", "99"),
        (f"1{'0' * 40}", "0.01", f"{'9' * 40}.99"),
    ],
)
def test_a_difference_is_exact(whole, part, rest):
    assert difference(whole, part) == rest


@pytest.mark.parametrize("odd", ["x", "", "NaN", "Infinity", "1_0", " 1", "9" * 129])
def test_of_what_is_no_number_there_is_no_difference(odd):
    for whole, part in ((odd, "1"), ("1", odd)):
        with pytest.raises(ValueError, match=r"is not a number|can't be told"):
            difference(whole, part)


# --- contracts -----------------------------------------------------------------------------------------------------


def is_perpetual(pair):
    return pair.endswith("-PERP")


@pytest.mark.parametrize(
    ("pair", "size", "each", "coins", "contracts"),
    [
        ("A-PERP", "3", "", "0.003", "3"),
        ("A-PERP", "0", "", "0", "0"),
        ("A-PERP", "3", "0.1", "0.3", "3"),
        ("A-PERP", "3", "10", "30", "3"),
        ("B-PERP", "1.50", "2", "3", "1.50"),
        ("A-USD", "1.50", "", "1.50", ""),
        ("A-USD", "1.50", "2", "1.50", ""),
    ],
)
def test_contracts_are_worth_coins(pair, size, each, coins, contracts):
    known = Contracts({"A-PERP": "0.001", "A-USD": "7"}, is_perpetual)
    assert known.coins(pair, size, each) == coins
    assert known.contracts(pair, size) == contracts


@pytest.mark.parametrize(
    ("pair", "size", "each", "why"),
    [
        ("B-PERP", "1", "", "the contract size of B-PERP is not known"),
        ("B-PERP", "1", "0", "the contract size of B-PERP is not known"),
        ("A-PERP", "-1", "", "not a number of at least zero"),
        ("A-PERP", "1", "x", "not a number of at least zero"),
        ("A-USD", "x", "", "not a number of at least zero"),
    ],
)
def test_what_they_are_worth_may_be_unknown(pair, size, each, why):
    with pytest.raises(ValueError, match=why):
        Contracts({"A-PERP": "0.001"}, is_perpetual).coins(pair, size, each)


@pytest.mark.parametrize("size", ["0", "0.00", "x", "", "-1", "nan"])
def test_no_contract_size_is_learned_from_what_is_none(size):
    known = Contracts({"A-PERP": "0.001"}, is_perpetual)
    for pair in ("A-PERP", "B-PERP"):
        known.learn(pair, size)
    assert ("A-PERP" in known, "B-PERP" in known) == (True, False)
    assert known.coins("A-PERP", "1") == "0.001"
    known.learn("A-PERP", "5")
    assert known.coins("A-PERP", "1") == "5"


SIZES = TypeAdapter(ContractSizes)


def test_contract_sizes_may_be_written_as_numbers():
    sizes = {"A": 0.00001, "B": 1, "C": "0.10", "D": 10.0}
    assert SIZES.validate_python(sizes) == {"A": "0.00001", "B": "1", "C": "0.10", "D": "10.0"}


@pytest.mark.parametrize("sizes", [{"A": 0}, {"A": "0.0"}, {"A": 1, "B": "x"}, {"A": -1}, [1], "1"], ids=repr)
def test_no_contract_is_worth_nothing(sizes):
    with pytest.raises(ValidationError):
        SIZES.validate_python(sizes)


# --- statistics ----------------------------------------------------------------------------------------------------


def test_statistics_are_merged_and_said_when_they_are_news():
    tickers = SparseTickers({Channel.TICKER: ["high", "low", "last"], Channel.MARK: ["mark"]})
    assert not tickers.change("a", {"high": "9"}), "of what?"
    tickers.whole("a", {"last": "5", "high": "9"})
    assert tickers.news("a", Channel.TICKER) == ("9", "", "5")
    assert tickers.news("a", Channel.TICKER) is None
    assert tickers.change("a", {"low": "4"})
    assert tickers.news("a", Channel.TICKER) == ("9", "4", "5")
    assert tickers.change("a", {"low": "4"})
    assert tickers.news("a", Channel.TICKER) is None
    tickers.whole("a", {"last": "5", "high": "9"})
    assert tickers.news("a", Channel.TICKER) == ("9", "", "5"), "what a snapshot leaves out is unknown"
    tickers.whole("b", {"last": "5", "high": "9"})
    assert tickers.news("b", Channel.TICKER) == ("9", "", "5"), "each topic by itself"
    assert tickers.news("b", Channel.MARK) is None, "nothing of it was ever known"
    tickers.change("b", {"mark": "7"})
    assert (tickers.news("b", Channel.TICKER), tickers.news("b", Channel.MARK)) == (None, ("7",))


def test_after_a_loss_only_a_snapshot_is_of_use_and_it_is_news():
    tickers = SparseTickers({Channel.TICKER: ["last"]})
    for topic in ("a", "b"):
        tickers.whole(topic, {"last": "5"})
        tickers.news(topic, Channel.TICKER)
    tickers.forget("a")
    tickers.forget("c")
    assert not tickers.change("a", {"last": "6"})
    assert tickers.change("b", {"last": "5"})
    tickers.whole("a", {"last": "5"})
    assert (tickers.news("a", Channel.TICKER), tickers.news("b", Channel.TICKER)) == (("5",), None)


# --- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tail", "ns", "resolution"),
    [
        (":30Z", 0, SECOND),
        (":30", 0, SECOND),
        (":30.8Z", 800_000_000, SECOND // 10),
        (":30.886Z", 886_000_000, SECOND // 1_000),
        (":30.886+00:00", 886_000_000, SECOND // 1_000),
        (":30.886001Z", 886_001_000, 1_000),
        (":30.886001234Z", 886_001_000, 1_000),
    ],
)
def test_an_iso_time_has_the_resolution_of_its_decimals(tail, ns, resolution):
    assert iso_reading(f"2021-06-29T18:14{tail}") == ClockReading(1624990470 * SECOND + ns, resolution)


def test_an_iso_time_of_another_zone():
    assert iso_reading("2021-06-29T20:14:30+02:00").at == 1624990470 * SECOND


@pytest.mark.parametrize("value", [1624990470886, "1624990470886"])
def test_milliseconds_of_an_answer(value):
    requests, reading = drive(
        millis_reading("fake", "/time", "at"), HttpResponse(200, json.dumps({"at": value}).encode())
    )
    assert [(request.method, request.path) for request in requests] == [("GET", "/time")]
    assert reading == ClockReading(1624990470886_000_000, SECOND // 1_000)


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{}", b'{"at":null}', b'{"at":"x"}', b'{"at":5}', b'{"at":1e999}'])
def test_an_answer_without_a_time(body):
    with pytest.raises(RestError, match="not a time"):
        drive(millis_reading("fake", "/time", "at"), HttpResponse(200, body))


@pytest.mark.parametrize(("status", "kind"), [(400, ErrorKind.REST_FAILED), (429, ErrorKind.REST_RATE_LIMITED)])
def test_a_refused_look_at_the_clock(status, kind):
    with pytest.raises(RestError) as caught:
        drive(
            millis_reading("fake", "/time", "at"), HttpResponse(status, b'{"at":1624990470886}', {"retry-after": "7"})
        )
    assert (caught.value.kind, caught.value.status, caught.value.retry_after) == (kind, status, 7.0)


@pytest.mark.parametrize("status", [200, 404, 500])
def test_the_date_counts_whatever_the_answer_is(status):
    answer = HttpResponse(status, b"", {"date": "Tue, 29 Jun 2021 18:14:30 GMT"})
    requests, reading = drive(date_reading("fake", "/"), answer)
    assert [(request.method, request.path) for request in requests] == [("HEAD", "/")]
    assert reading == ClockReading(1624990470 * SECOND, SECOND)


@pytest.mark.parametrize("status", [429, 503])
def test_but_for_one_that_asks_to_wait(status):
    answer = HttpResponse(status, b"", {"date": "Tue, 29 Jun 2021 18:14:30 GMT", "retry-after": "7"})
    with pytest.raises(RestError) as caught:
        drive(date_reading("fake", "/"), answer)
    assert caught.value.retry_after == 7.0


def test_times_of_one_second_are_told_apart():
    ns = UtcTimes().ns
    second = "2021-06-29T18:14:30"
    texts = [f"{second}Z", f"{second}.5Z", f"{second}.000000001Z", f"{second}.0000000019Z", f"{second}Z"]
    assert [ns(text) - 1624990470 * SECOND for text in texts] == [0, SECOND // 2, 1, 1, 0]
    assert [ns(text) for text in ("1970-01-01T00:00:00Z", "0001-01-01T00:00:00.5Z")] == [None, None]


def test_waits_are_spread_by_up_to_a_fifth():
    waits = [spread(1_000, f"C{number}-USD") for number in range(1_000)]
    assert (min(waits), max(waits)) == (800, 1_200)
    assert spread(1_000, "C1-USD") == waits[1]


# --- names and lists -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("delivery", "name"),
    [("", "BTC-USDT-PERP"), ("1798185600000", "BTC-USDT-261225"), ("1798156799999", "BTC-USDT-261224")],
)
def test_what_a_contract_is_called(delivery, name):
    assert contract_name("BTC", "USDT", delivery) == name


def test_symbols_of_two_categories_may_be_the_same_text():
    names = Names()
    names.learn("spot", "BTCUSDT", "BTC-USDT")
    names.learn("linear", "BTCUSDT", "BTC-USDT-PERP")
    assert [names.pair(category, "BTCUSDT") for category in ("spot", "linear", "inverse")] == [
        "BTC-USDT",
        "BTC-USDT-PERP",
        "BTCUSDT",
    ]
    assert [names.symbol(pair) for pair in ("BTC-USDT", "BTC-USDT-PERP", "ETH-USDT")] == [
        ("spot", "BTCUSDT"),
        ("linear", "BTCUSDT"),
        ("", ""),
    ]


def product(pair, **more):
    return {pair: Product(ListedPair(pair, *pair.split("-")), **more)}


@pytest.fixture
def listing():
    found = ProductList()
    rows = {**product("BTC-USD"), **product("BTC-USDC", alias="BTC-USD"), **product("ETH-USDC", alias="ETH-USD")}
    found.learn({**rows, **product("OLD-USD", halted="delisted")}, whole=True)
    return found


def test_an_alias_is_served_as_a_pair_that_is_listed(listing):
    pairs = ("BTC-USD", "BTC-USDC", "ETH-USDC", "NO-USD")
    assert [listing.served_as(pair) for pair in pairs] == ["BTC-USD", "BTC-USD", "ETH-USDC", "NO-USD"]


def test_which_pairs_are_in_trouble(listing):
    pairs = ("BTC-USD", "OLD-USD", "BTC-USDT")
    assert listing.in_trouble(pairs) == ["OLD-USD", "BTC-USDT"]
    assert [listing.halted(pair) for pair in pairs] == ["", "the exchange lists the pair as halted (delisted)", ""]
    assert [listing.unknown(pair).partition(";")[0] for pair in pairs] == [
        "",
        "",
        "the exchange lists no pair BTC-USDT",
    ]
    assert listing.unknown("??") == "the exchange lists no pair ??"
    assert [(error.exchange, error.pair) for error in listing.unlisted("fake", pairs)] == [("fake", "BTC-USDT")]
    assert listing.remarks(("BTC-USDC", *pairs)) == [
        "BTC-USDC is served as BTC-USD",
        "OLD-USD: the exchange lists the pair as halted (delisted)",
    ]


def test_a_list_that_was_not_read_says_nothing():
    nothing = ProductList()
    assert (
        nothing.in_trouble(["BTC-USD"]) == nothing.remarks(["BTC-USD"]) == nothing.unlisted("fake", ["BTC-USD"]) == []
    )
    assert (nothing.unknown("BTC-USD"), nothing.halted("BTC-USD"), nothing.version) == ("", "", 0)


def test_part_of_a_list_leaves_the_rest_as_it_was(listing):
    listing.learn(product("BTC-USD", halted="offline"), whole=False)
    assert listing.version == 2
    assert listing.in_trouble(("BTC-USD", "BTC-USDC", "OLD-USD")) == ["BTC-USD", "OLD-USD"]
    listing.learn(product("BTC-USD"), whole=True)
    assert listing.in_trouble(("BTC-USD", "OLD-USD")) == ["OLD-USD"]
    assert listing.version == 3


# --- what is known of an account -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listed", "left"),
    [
        ([], ["new", "now"]),
        (["old"], ["old", "new", "now"]),
        (["older", "else"], ["older", "new", "now"]),
        ([""], ["older", "old", "new", "now"]),
        (["old", ""], ["older", "old", "new", "now"]),
    ],
)
def test_orders_that_are_open_no_more_are_forgotten(listed, left):
    memory = AccountMemory()
    moments = {"older": T0 - 2, "old": T0 - 1, "now": T0, "new": T0 + 1}
    memory.learn([order(ident, recv=recv) for ident, recv in moments.items()])
    memory.forget_orders(listed, T0)
    assert {ident for _, ident in memory.open_orders} == set(left)
