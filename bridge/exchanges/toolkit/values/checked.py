"""Events whose values are of the form that readers rely on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from bridge.exchanges.toolkit.values.numbers import check_amounts, check_ids, check_numbers, check_values, check_words
from bridge.model import (
    Balance,
    Event,
    Fill,
    Funding,
    Interest,
    Liquidation,
    Mark,
    Order,
    Position,
    Quote,
    Ticker,
    Trade,
)

__all__ = ["checked"]

EventT = TypeVar("EventT", bound=Event)


def _check_some_size(size: str, contracts: str | None) -> None:
    """Of a fill, at least one of them is known."""
    check_numbers(size or contracts or "")


_CHECKS: Mapping[type[Event], Mapping[Callable[..., None], tuple[str, ...]]] = {
    Trade: {check_numbers: ("price", "size")},
    Quote: {check_amounts: ("bid", "bid_size", "ask", "ask_size")},
    Ticker: {check_amounts: ("open", "high", "low", "last", "volume"), check_values: ("change", "change_pct")},
    Funding: {check_values: ("rate",)},
    Mark: {check_numbers: ("mark",), check_amounts: ("index",)},
    Interest: {check_amounts: ("size", "value")},
    Liquidation: {check_numbers: ("price", "size")},
    Order: {check_ids: ("order_id",), check_words: ("client_id", "kind"), check_amounts: ("price", "size", "filled")},
    Fill: {
        check_ids: ("fill_id", "order_id"),
        check_numbers: ("price",),
        check_amounts: ("size",),
        _check_some_size: ("size", "contracts"),
        check_values: ("fee",),
        check_words: ("fee_currency",),
    },
    Balance: {check_ids: ("currency",), check_values: ("available", "reserved")},
    Position: {check_amounts: ("size", "entry_price", "mark_price"), check_values: ("unrealised_pnl",)},
}


def checked(event: EventT) -> EventT:
    """The event, whose numbers, ids and words are such.

    Raises:
        ValueError: one isn't, or a fill has a size neither in coins nor in contracts.
    """
    for check, names in _CHECKS[event.__class__].items():
        check(*[getattr(event, name) for name in names])
    return event
