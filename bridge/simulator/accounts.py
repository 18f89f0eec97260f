"""The simulated accounts: wallets, open orders, fills. All amounts are exact."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

from bridge.simulator.events import Filled
from bridge.simulator.margin import LEVERAGE, Margin
from bridge.simulator.orderbook import BUY, RestingOrder
from bridge.simulator.specs import PairSpec, currency_decimals

__all__ = ["Account"]

_ZERO = Decimal(0)
_FILLS_KEPT = 20_000


class Account:
    """One account, or one sub-account (then ``parent`` names its account and ``name`` is ``main/savings``).

    ``uuid`` follows from the name, so that a simulator started again has the same accounts. ``deposits`` fill the spot
    wallets, ``margin`` those of derivatives.
    """

    def __init__(
        self,
        name: str,
        deposits: dict[str, Decimal],
        parent: str | None = None,
        margin: dict[str, Decimal] | None = None,
    ) -> None:
        self.name = name
        self.parent = parent
        self.uuid = str(uuid5(NAMESPACE_URL, f"tickbridge-simulator/account/{name}"))
        self.margin = Margin(margin or {})
        self.deposits = dict(deposits)
        self.available = dict(deposits)
        self.reserved = dict.fromkeys(deposits, _ZERO)
        self.orders: dict[str, RestingOrder] = {}
        self.fills: deque[Filled] = deque(maxlen=_FILLS_KEPT)
        self.fill_count = 0
        self.touched: set[str] = set()

    @property
    def owner(self) -> str:
        """The account whose API key and token cover this one: itself, or its parent."""
        return self.parent or self.name

    def balances(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Currency → (available, reserved)."""
        return {currency: (self.available[currency], self.reserved[currency]) for currency in self.available}

    def total(self, currency: str) -> Decimal:
        """Available and reserved together."""
        return self.available[currency] + self.reserved[currency]

    def free(self, spec: PairSpec, currency: str) -> Decimal:
        """What an order in this pair can use of a currency."""
        return self.margin.available(currency) if spec.futures else self.available[currency]

    def affordable(self, order: RestingOrder, spec: PairSpec, ticks: int) -> int:
        """How much of a market order the account can pay for at a price, in steps."""
        if spec.futures:
            return int(self.free(spec, spec.settle) * LEVERAGE // spec.coins(spec.price(ticks) * spec.step))
        if order.side == BUY:
            return int(self.available[spec.quote] // (spec.price(ticks) * spec.step))
        return int(self.available[spec.base] // spec.step)

    def missing(self, spec: PairSpec, typical: int) -> float:
        """How far from where it began: the share of the coins that are gone, or of a large position that is open."""
        if spec.futures:
            return -float(self.margin.position(spec).size / spec.step) / (20.0 * typical)
        begun = float(self.deposits[spec.base]) or 1.0
        return (begun - float(self.total(spec.base))) / begun

    def need(self, order: RestingOrder, spec: PairSpec) -> tuple[str, Decimal]:
        """``(currency, amount)`` that what is left of an order holds back.

        A market buy needs an amount that is known only when it trades, so it says zero. Market orders hold nothing
        back: they are over before anything else can happen.
        """
        if spec.futures:
            return spec.settle, _ZERO if order.ticks is None else self.margin.need(spec, order.ticks, order.left)
        if order.side != BUY:
            return spec.base, spec.size(order.left)
        if order.ticks is None:
            return spec.quote, _ZERO
        return spec.quote, spec.price(order.ticks) * spec.size(order.left)

    def reserve(self, order: RestingOrder, spec: PairSpec) -> None:
        """Hold back what the order needs; the caller has checked that it is there."""
        currency, amount = self.need(order, spec)
        self._hold(spec, currency, amount)

    def release(self, order: RestingOrder, spec: PairSpec) -> None:
        """Give back what the rest of an order held back."""
        currency, amount = self.need(order, spec)
        self._hold(spec, currency, -amount)

    def settle(
        self, order: RestingOrder, spec: PairSpec, price: Decimal, size: Decimal
    ) -> tuple[Decimal, str, Decimal]:
        """Book one execution of ``order``; a better price than the limit gives the difference back.

        Returns the fee, its currency, and what the execution realised (derivatives only).
        """
        if spec.futures:
            if order.ticks is not None:
                self.margin.held[spec.settle] -= self.margin.need(spec, order.ticks, int(size / spec.step))
            return self._settle_margin(order, spec, price, size)
        self._exchange(order, spec, price, size)
        received, currency = (size, spec.base) if order.side == BUY else (price * size, spec.quote)
        fee = (received * spec.fee).quantize(Decimal(1).scaleb(-currency_decimals(currency)))
        self._move(currency, -fee, _ZERO)
        return fee, currency, _ZERO

    def _settle_margin(
        self, order: RestingOrder, spec: PairSpec, price: Decimal, size: Decimal
    ) -> tuple[Decimal, str, Decimal]:
        fee, realised = self.margin.settle(spec, size if order.side == BUY else -size, price)
        return fee, spec.settle, realised

    def _hold(self, spec: PairSpec, currency: str, amount: Decimal) -> None:
        if spec.futures:
            self.margin.held[currency] += amount
        else:
            self._move(currency, -amount, amount)

    def _exchange(self, order: RestingOrder, spec: PairSpec, price: Decimal, size: Decimal) -> None:
        cost = price * size
        if order.side != BUY:
            self._move(spec.base, *((-size, _ZERO) if order.ticks is None else (_ZERO, -size)))
            self._move(spec.quote, cost, _ZERO)
            return
        if order.ticks is None:
            self._move(spec.quote, -cost, _ZERO)
        else:
            held = spec.price(order.ticks) * size
            self._move(spec.quote, held - cost, -held)
        self._move(spec.base, size, _ZERO)

    def _move(self, currency: str, available: Decimal, reserved: Decimal) -> None:
        self.available[currency] += available
        self.reserved[currency] += reserved
        self.touched.add(currency)
