"""Pairs, ticks and steps."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.simulator import PairSpec, market_config, pair_spec
from bridge.simulator.specs import currency_decimals
from tests.simulator.helpers import market

_CODES = st.sampled_from(["BTC", "ETH", "LTC", "XRP", "USDT", "EUR", "USD", "DOGE", "GBP"])


@given(base=_CODES, quote=_CODES)
def test_derived_pairs_keep_wallets_exact(base: str, quote: str) -> None:
    if base == quote:
        return
    spec = pair_spec(f"{base}-{quote}")
    cost = (spec.tick * spec.step).normalize().as_tuple().exponent
    assert isinstance(cost, int)
    assert -cost <= currency_decimals(quote)
    assert spec.anchor % spec.tick == 0


def test_derived_pair_trades() -> None:
    under_test = market(("XRP-USDT", "ETH-BTC"), activity=0.3)
    for _ in range(500):
        under_test.step()
    assert all(state.trade_count > 50 for state in under_test.pairs.values())


@pytest.mark.parametrize("name", ["BTC", "btc-eur", "BTC-BTC", "BTC_EUR", "-EUR", ""])
def test_bad_names(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a pair"):
        pair_spec(name)


def test_no_pairs() -> None:
    with pytest.raises(ConfigError, match="none given"):
        market_config([])


@pytest.mark.parametrize(
    ("tick", "step", "anchor", "said"),
    [
        ("0.01", "0.0001", "100", "more digits than EUR"),
        ("0", "0.1", "100", "above 0"),
        ("1", "0.1", "100", "500 ticks"),
    ],
)
def test_bad_units(tick: str, step: str, anchor: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PairSpec("ABC-EUR", Decimal(tick), Decimal(step), Decimal(anchor), Decimal(1))
