"""Best prices and statistics that an exchange says whole each time, and often again though nothing has changed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from bridge.exchanges.api import Subscription
from bridge.exchanges.toolkit.values.fields import EXACT
from bridge.exchanges.toolkit.values.numbers import SECOND, check_amounts, check_numbers, check_values
from bridge.model import Channel, Event, Funding, Interest, Levels, Mark, Quote, Ticker

__all__ = ["Statistics", "change"]

_LONGEST = 64


def change(opened: str, last: str) -> tuple[str, str]:
    """How much a price has changed: exactly, and in percent, rounded to four decimals; empty where that is unknown.

    Raises:
        ArithmeticError: one is no number, or they have too many digits.
    """
    if not (opened and last):
        return "", ""
    difference = EXACT.subtract(Decimal(last), Decimal(opened))
    percent = f"{difference / Decimal(opened) * 100:.4f}" if Decimal(opened) else ""
    return f"{difference:f}", percent if len(percent) <= _LONGEST else ""


class Statistics:
    """Makes an event of what is told, or none where it says what the one before did.

    Each method raises ``ValueError`` or ``ArithmeticError`` for what is no number. Times are in ns.
    """

    def __init__(self) -> None:
        self._said: dict[Subscription, tuple[object, ...]] = {}
        self._indices: dict[str, str] = {}

    def quote(self, pair: str, ts: int | None, recv: int, bids: Levels, asks: Levels) -> Sequence[Event]:
        """The best levels; a side without orders is empty."""
        best = (*(bids[0] if bids else ("", "")), *(asks[0] if asks else ("", "")))
        return [Quote(pair, ts, recv, *best)] if self._news(Channel.QUOTES, pair, best) else ()

    def ticker(
        self, pair: str, ts: int | None, recv: int, *, opened: str, high: str, low: str, last: str, volume: str
    ) -> Sequence[Event]:
        """The last 24 hours."""
        check_amounts(opened, high, low, last, volume)
        values = (opened, high, low, last, *change(opened, last), volume)
        return [Ticker(pair, ts, recv, "86400", *values)] if self._news(Channel.TICKER, pair, values) else ()

    def funding(
        self, pair: str, ts: int | None, recv: int, *, rate: str, due: int | None, following: int | None
    ) -> Sequence[Event]:
        """The rate of the next payment, when it is due, and when the one after it is."""
        check_values(rate)
        interval = f"{(following - due) // SECOND}" if due and following and following > due else ""
        news = self._news(Channel.FUNDING, pair, (rate, due, interval))
        return [Funding(pair, ts, recv, rate, due, interval)] if news else ()

    def index(self, name: str, price: str) -> None:
        """An index price, for the marks to come; empty where it has become unknown."""
        check_amounts(price)
        self._indices[name] = price

    def mark(self, pair: str, ts: int | None, recv: int, price: str, index: str) -> Sequence[Event]:
        """A mark price, with the price that the index of this name had last."""
        check_numbers(price)
        values = (price, self._indices.get(index, ""))
        return [Mark(pair, ts, recv, *values)] if self._news(Channel.MARK, pair, values) else ()

    def interest(self, pair: str, ts: int | None, recv: int, size: str, contracts: str | None) -> Sequence[Event]:
        """Open interest, in coins and in contracts."""
        check_amounts(size)
        news = self._news(Channel.INTEREST, pair, (size, contracts))
        return [Interest(pair, ts, recv, size, "", contracts)] if news else ()

    def forget(self, stream: Subscription | None = None) -> None:
        """Something of this stream (of any, without one) was lost: what comes next is news, whatever it says."""
        if stream:
            self._said.pop(stream, None)
        else:
            self._said.clear()

    def _news(self, channel: Channel, pair: str, values: tuple[object, ...]) -> bool:
        stream = Subscription(channel, pair)
        if self._said.get(stream) == values:
            return False
        self._said[stream] = values
        return True
