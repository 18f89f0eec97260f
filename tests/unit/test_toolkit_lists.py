"""What the toolkit makes of names and of lists of pairs."""

from __future__ import annotations

import pytest

from bridge.exchanges.api import ListedPair
from bridge.exchanges.toolkit.pairs.names import Names, contract_name
from bridge.exchanges.toolkit.pairs.product_list import Product, ProductList


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
