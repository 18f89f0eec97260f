"""The simulated accounts: wallets, open orders, fills. All amounts are exact."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

from bridge.simulator.events import Filled
from bridge.simulator.orderbook import BUY, RestingOrder
from bridge.simulator.specs import PairSpec

__all__ = ["Account"]

_ZERO = Decimal(0)
_FILLS_KEPT = 20_000


class Account:
    """One account, or one sub-account (then ``parent`` names its account and ``name`` is ``main/savings``).

    ``uuid`` follows from the name, so that a simulator started again has the same accounts.
    """

    def __init__(self, name: str, deposits: dict[str, Decimal], parent: str | None = None) -> None:
        self.name = name
        self.parent = parent
        self.uuid = str(uuid5(NAMESPACE_URL, f"tickbridge-simulator/account/{name}"))
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

    def need(self, order: RestingOrder, spec: PairSpec) -> tuple[str, Decimal]:
        """``(currency, amount)`` that what is left of an order holds back.

        A market buy needs an amount that is known only when it trades, so it says zero. Market orders hold nothing
        back: they are over before anything else can happen.
        """
        if order.side != BUY:
            return spec.base, spec.size(order.left)
        if order.ticks is None:
            return spec.quote, _ZERO
        return spec.quote, spec.price(order.ticks) * spec.size(order.left)

    def reserve(self, order: RestingOrder, spec: PairSpec) -> None:
        """Hold back what the order needs; the caller has checked that it is there."""
        currency, amount = self.need(order, spec)
        self._move(currency, -amount, amount)

    def release(self, order: RestingOrder, spec: PairSpec) -> None:
        """Give back what the rest of an order held back."""
        currency, amount = self.need(order, spec)
        self._move(currency, amount, -amount)

    def settle(self, order: RestingOrder, spec: PairSpec, price: Decimal, size: Decimal) -> None:
        """Book one execution of ``order``: no fees; a better price than the limit gives the difference back."""
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
