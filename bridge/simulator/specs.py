"""What the simulated market consists of: pairs with tick and step, accounts with sub-accounts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from msgspec import Struct, field

from bridge.errors import ConfigError, Problem

__all__ = [
    "AccountSpec",
    "MarketConfig",
    "PairSpec",
    "currency_decimals",
    "default_deposit",
    "in_eur",
    "market_config",
    "pair_spec",
]

_PAIR = re.compile(r"[A-Z0-9]{2,10}-[A-Z0-9]{2,10}")
_FIAT = frozenset({"EUR", "USD", "GBP", "CHF"})
_FIAT_DECIMALS = 5
_COIN_DECIMALS = 8
_LEAST_TICKS = 500  # the crowd needs room on both sides of the anchor
_IN_EUR = {
    "BTC": Decimal(58_000),
    "ETH": Decimal(2_400),
    "LTC": Decimal(85),
    "XRP": Decimal("0.55"),
    "USDT": Decimal("0.92"),
    "USDC": Decimal("0.92"),
    "EUR": Decimal(1),
    "USD": Decimal("0.92"),
}
_UNKNOWN_IN_EUR = Decimal(10)


def currency_decimals(currency: str) -> int:
    """Decimals in which the exchange keeps a currency."""
    return _FIAT_DECIMALS if currency in _FIAT else _COIN_DECIMALS


def in_eur(currency: str) -> Decimal:
    """What a currency is worth in this market."""
    return _IN_EUR.get(currency, _UNKNOWN_IN_EUR)


class PairSpec(Struct, frozen=True):
    """A pair: ``tick`` and ``step`` are the price and size units and carry the digits in which they are printed.

    ``anchor`` is the price that the market reverts to, ``typical`` a usual order size. ``fee`` is the share of each
    execution that both sides pay: of what a spot order receives, of a futures order's value.

    A pair with a ``contract`` is a derivative: sizes are contracts of so many base coins each, nothing is delivered, and
    what is won and lost is paid in ``settle``.
    """

    name: str
    tick: Decimal
    step: Decimal
    anchor: Decimal
    typical: Decimal
    contract: Decimal = Decimal(0)
    settle: str = ""
    fee: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        base, _, quote = self.name.partition("-")
        problems = []
        if not _PAIR.fullmatch(self.name) or base == quote:
            problems.append(Problem("pairs", f"{self.name!r} is not a pair", "write BASE-QUOTE, as in BTC-EUR"))
        elif self.tick <= 0 or self.step <= 0 or self.anchor < _LEAST_TICKS * self.tick:
            problems.append(
                Problem(f"pairs.{self.name}", f"tick and step must be above 0, anchor at least {_LEAST_TICKS} ticks")
            )
        elif self.futures and not self.settle:
            problems.append(Problem(f"pairs.{self.name}", "a contract needs a currency to settle in"))
        elif -_exponent(self.tick) - _exponent(self.step) - _exponent(self.contract) > currency_decimals(self.quote):
            message = f"tick x step has more digits than {self.quote} ({currency_decimals(self.quote)} decimals)"
            problems.append(Problem(f"pairs.{self.name}", message, "make the tick or the step coarser"))
        if problems:
            raise ConfigError(problems, "simulated market")

    @property
    def base(self) -> str:
        """The base currency's code."""
        return self.name.partition("-")[0]

    @property
    def quote(self) -> str:
        """The currency of its prices; that of a derivative is the one that it settles in."""
        return self.settle or self.name.partition("-")[2]

    @property
    def futures(self) -> bool:
        """Whether this is a derivative."""
        return bool(self.contract)

    def coins(self, size: Decimal) -> Decimal:
        """A size in base coins."""
        return size * self.contract if self.contract else size

    def price(self, ticks: int) -> Decimal:
        """Ticks as a price."""
        return self.tick * ticks

    def size(self, lots: int) -> Decimal:
        """Steps as a size."""
        return self.step * lots

    def whole(self, value: Decimal, unit: Decimal) -> int | None:
        """``value`` in units (tick or step); ``None`` when it is not a whole number of them."""
        count, rest = divmod(value, unit)
        return None if rest else int(count)


class AccountSpec(Struct, frozen=True):
    """An account and the names of its sub-accounts; ``deposits``: currency → amount, defaults where not given."""

    name: str
    subaccounts: tuple[str, ...] = ()
    deposits: dict[str, Decimal] = field(default_factory=dict)


class MarketConfig(Struct, frozen=True):
    """The whole market. ``activity`` is the share of steps in which an account trades by itself (0: never).

    Trade ids of each pair, and the serial numbers of fills, begin above ``trade_ids_after``.
    """

    pairs: tuple[PairSpec, ...]
    accounts: tuple[AccountSpec, ...] = (AccountSpec("main", ("savings", "bot")),)
    seed: int = 1
    activity: float = 0.02
    min_levels: int = 20
    max_levels: int = 60
    trades_kept: int = 50_000
    max_open_orders: int = 200
    trade_ids_after: int = 0


def pair_spec(name: str) -> PairSpec:
    """A pair with sensible units: BTC-EUR, ETH-EUR and LTC-EUR as a European exchange has them, others derived.

    Raises:
        ConfigError: the name is no ``BASE-QUOTE``.
    """
    base, _, quote = name.partition("-")
    worth = in_eur(base)
    typical = 600 / worth
    fixed = {"BTC-EUR": ("0.50", "0.00010000"), "ETH-EUR": ("0.05", "0.00100000"), "LTC-EUR": ("0.01", "0.00100000")}
    if name in fixed:
        tick, step = (Decimal(unit) for unit in fixed[name])
        return PairSpec(name, tick, step, worth, typical)
    price = worth / in_eur(quote)
    tick_exponent = max(price.adjusted() - 4, -currency_decimals(quote))
    tick = Decimal(1).scaleb(tick_exponent)
    step = Decimal(1).scaleb(max(-_COIN_DECIMALS, min(0, -currency_decimals(quote) - min(0, tick_exponent))))
    return PairSpec(name, tick, step, (price // tick) * tick, typical)


def market_config(pairs: Iterable[str], **settings: Any) -> MarketConfig:
    """A market of pairs by name; ``settings`` are those of ``MarketConfig``.

    Raises:
        ConfigError: a name is not ``BASE-QUOTE``, or there is no pair.
    """
    names = tuple(dict.fromkeys(pairs))
    if not names:
        raise ConfigError([Problem("pairs", "none given", "for example BTC-EUR,ETH-EUR")], "simulated market")
    return MarketConfig(tuple(pair_spec(name) for name in names), **settings)


def default_deposit(currency: str, share: Decimal = Decimal(1)) -> Decimal:
    """What an account starts with: about 50,000 EUR worth of each currency, ``share`` of it for a sub-account."""
    worth = Decimal(50_000) * share / in_eur(currency)
    return worth.quantize(Decimal("0.1"))


def _exponent(unit: Decimal) -> int:
    exponent = unit.normalize().as_tuple().exponent
    return min(0, exponent) if isinstance(exponent, int) else 0
