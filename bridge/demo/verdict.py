"""Holds what came out of the streams against what is true in the simulated exchange. Plain data, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from bridge.book import Book
from bridge.model import Trade

__all__ = ["TradeCheck", "book_differences", "check_trades", "wallet_differences"]

_SECOND = 1_000_000_000
_NONE = Decimal(0)

TradeKey = tuple[int, str, Decimal, Decimal]
"""What tells one trade from another where the exchange gives no ids: whole second, side, price, size."""


class TradeCheck(msgspec.Struct, frozen=True):
    """Trades of one pair: read from the stream, standing there too often, and not there though they happened."""

    read: int
    twice: int
    missing: int


def book_differences(book: Book, truth: Mapping[str, Any]) -> list[str]:
    """Where a book differs from the true one (``/sim/book``), in words; empty when they are equal."""
    true = Book()
    true.replace(*([(price, size) for price, size in truth[side]] for side in ("bids", "asks")))
    differences = []
    for name, mine, theirs in (("bid", book.bids, true.bids), ("ask", book.asks, true.asks)):
        have, should = mine.numbers(), theirs.numbers()
        differences += [
            f"{name} {price:f}: {have.get(price, _NONE):f}, should be {should.get(price, _NONE):f}"
            for price in sorted(have.keys() | should.keys())
            if have.get(price) != should.get(price)
        ]
    return differences


def check_trades(mine: Iterable[Trade], truth: Iterable[Mapping[str, Any]], since: int | None) -> TradeCheck:
    """Compare a pair's trades with the true ones (``/sim/trades``), each as often as it happened.

    ``since`` (ns): from there on all of them should be there; ``None``: some may have been missed.
    """
    true = [_true_key(trade) for trade in truth]
    oldest = true[0][0] if true else 0
    read = [_key(trade) for trade in mine]
    have, should = Counter(key for key in read if key[0] >= oldest), Counter(true)
    # In the second in which reading began, only some of the trades were seen.
    missing = should - have if since is not None else Counter[TradeKey]()
    complete = (since or 0) // _SECOND + 1
    return TradeCheck(
        read=len(read),
        twice=(have - should).total(),
        missing=sum(count for key, count in missing.items() if key[0] >= complete),
    )


def wallet_differences(
    wallet: Mapping[str, str], truth: Mapping[str, Any], *, balances_since: int = 0, orders_since: int = 0
) -> list[str]:
    """Where a wallet's hash differs from the true account (``/sim/account``), in words.

    ``…_since`` (ns): what the exchange hasn't told since then isn't compared; 0 where everything must be known. (Nothing
    is restated of a sub-account after a reconnect: what changed meanwhile isn't known until it changes again.)
    """
    return [
        *_balance_differences(_decoded(wallet, "balance:"), truth["wallets"], balances_since),
        *_order_differences(_decoded(wallet, "order:"), truth["open_orders"], orders_since),
    ]


def _balance_differences(mine: Mapping[str, Any], truth: Mapping[str, Any], since: int) -> list[str]:
    differences = []
    for currency, amounts in truth.items():
        have = mine.get(currency)
        if since and (have is None or int(have["recv"]) < since):
            continue
        if have is None:
            differences.append(f"{currency}: not there")
            continue
        differences += [
            f"{currency} {name}: {have[name]}, should be {amounts[name]}"
            for name in ("available", "reserved")
            if Decimal(have[name]) != Decimal(amounts[name])
        ]
    return differences


def _order_differences(mine: Mapping[str, Any], truth: Iterable[Mapping[str, Any]], since: int) -> list[str]:
    true = {order["order_id"]: order for order in truth}
    differences = [
        f"order {name}: open, should be over"
        for name in sorted(mine.keys() - true.keys())
        if int(mine[name]["recv"]) >= since
    ]
    for name, order in true.items():
        have = mine.get(name)
        if have is None:
            if not since or order["created"] >= since / _SECOND:
                differences.append(f"order {name}: not there, should be open")
        elif int(have["recv"]) >= since and Decimal(have["filled"] or 0) != Decimal(order["filled"]):
            differences.append(f"order {name}: {have['filled']} filled, should be {order['filled']}")
    return differences


def _decoded(wallet: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): msgspec.json.decode(value)
        for name, value in wallet.items()
        if name.startswith(prefix)
    }


def _key(trade: Trade) -> TradeKey:
    return (trade.ts or 0) // _SECOND, trade.side, Decimal(trade.price), Decimal(trade.size)


def _true_key(trade: Mapping[str, Any]) -> TradeKey:
    return int(trade["time"]), trade["side"], Decimal(trade["price"]), Decimal(trade["size"])
