"""LMEX's markets: spot pairs such as ``BTC-USD``, perpetuals such as ``BTC-PERP`` and dated futures (``BTC-260626``).

Futures are counted in contracts of ``contractSize`` base coins and settle in USDT, and have an older name too:
``BTCPFC`` is ``BTC-PERP``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from bridge.errors import ConfigError, Problem
from bridge.simulator.specs import AccountSpec, MarketConfig, PairSpec, currency_decimals, in_eur

__all__ = ["DEFAULT_PAIRS", "SETTLE", "is_futures", "market_config", "old_name", "pair_spec"]

DEFAULT_PAIRS = ("BTC-USD", "ETH-USD", "BTC-PERP", "ETH-PERP")
SETTLE = "USDT"

_FUTURES = re.compile(r"[A-Z0-9]{2,10}-(PERP|\d{6})")
_FEE = Decimal("0.0005")
_TICK_DIGITS = 5  # below the price's first digit: a BTC price moves by 0.1
_ORDER_IN_EUR = 600


def is_futures(name: str) -> bool:
    """Whether a pair's name is that of a future."""
    return _FUTURES.fullmatch(name) is not None


def old_name(name: str) -> str:
    """``BTCPFC`` for ``BTC-PERP``; other names have not changed."""
    base, _, kind = name.partition("-")
    return f"{base}PFC" if kind == "PERP" else name


def pair_spec(name: str) -> PairSpec:
    """A pair with units as LMEX has them; the contract of a future is worth about half a dollar, or a few.

    Raises:
        ConfigError: the name is no pair.
    """
    base, _, quote = name.partition("-")
    futures = is_futures(name)
    worth = in_eur(base)
    price = worth / in_eur(SETTLE if futures else quote)
    tick_exponent = price.adjusted() - _TICK_DIGITS
    tick = Decimal(1).scaleb(tick_exponent)
    anchor = (price // tick) * tick
    if futures:
        contract = Decimal(1).scaleb(-price.adjusted() - 1)
        typical = _ORDER_IN_EUR / worth / contract
        return PairSpec(name, tick, Decimal(1), anchor, typical, contract=contract, settle=SETTLE, fee=_FEE)
    # No finer than the quote currency's decimals allow, so that wallets stay exact.
    step = Decimal(1).scaleb(max(-8, min(0, -currency_decimals(quote) - min(0, tick_exponent))))
    return PairSpec(name, tick, step, anchor, _ORDER_IN_EUR / worth, fee=_FEE)


def market_config(pairs: Iterable[str] = DEFAULT_PAIRS, **settings: Any) -> MarketConfig:
    """A market of pairs by name; ``settings`` are those of ``MarketConfig``.

    Raises:
        ConfigError: a name is not a pair, there is no pair, or an account has sub-accounts, which LMEX does not have.
    """
    names = tuple(dict.fromkeys(pairs))
    if not names:
        raise ConfigError([Problem("pairs", "none given", "for example BTC-USD,BTC-PERP")], "simulated market")
    settings = {"accounts": (AccountSpec("main"),)} | settings
    problems = [
        Problem(f"accounts.{account.name}", "LMEX has no sub-accounts", f"write {account.name} only")
        for account in settings["accounts"]
        if account.subaccounts
    ]
    if problems:
        raise ConfigError(problems, "simulated market")
    return MarketConfig(tuple(pair_spec(name) for name in names), **settings)
