"""Names under which pairs are served: the ones that are asked for, and second ones."""

from __future__ import annotations

from bridge.exchanges.toolkit.pairs.served_names import ServedNames


def second(product):
    base, _, quote = product.rpartition("-")
    return f"{base}-USD" if quote == "USDC" else f"{base}-USDC" if quote == "USD" else product


def test_a_second_name_is_about_the_same_pair():
    names = ServedNames({"BTC-USD": "BTC-USD", "ETH-EUR": "ETH-EUR"}, second)
    assert names.asked_as == {"BTC-USD": "BTC-USD", "BTC-USDC": "BTC-USD", "ETH-EUR": "ETH-EUR"}
    assert names.pairs_of["BTC-USDC"] == ("BTC-USD",)


def test_a_listed_alias_is_asked_for_as_the_other():
    names = ServedNames({"BTC-USDC": "BTC-USD"}, second)
    assert names.asked_as == {"BTC-USD": "BTC-USD", "BTC-USDC": "BTC-USD"}
    assert names.pairs_of["BTC-USD"] == ("BTC-USDC",)


def test_both_are_two_products_until_one_turns_out_to_be_the_other():
    names = ServedNames({"BTC-USD": "BTC-USD", "BTC-USDC": "BTC-USDC"}, second)
    assert names.pairs_of == {"BTC-USD": ("BTC-USD",), "BTC-USDC": ("BTC-USDC",)}
    assert names.second("BTC-USDC") == "BTC-USD"
    names.merge("BTC-USDC", "BTC-USD")
    assert names.asked_as == {"BTC-USD": "BTC-USD", "BTC-USDC": "BTC-USD"}
    assert names.pairs_of["BTC-USD"] == names.pairs_of["BTC-USDC"] == ("BTC-USD", "BTC-USDC")


def test_without_a_second_one_a_product_is_its_own():
    assert ServedNames({"ETH-EUR": "ETH-EUR"}, second).second("ETH-EUR") == "ETH-EUR"
