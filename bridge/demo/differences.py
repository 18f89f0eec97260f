"""Compares what was read from the streams with the true state of the simulated exchange. Plain data, no I/O."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from bridge.book import Book
from bridge.model import Trade

__all__ = ["TradeCheck", "book_differences", "check_trades", "wallet_differences"]

_SECOND = 1_000_000_000
_NONE = Decimal(0)

TradeKey = tuple[str, str, Decimal, Decimal]
"""What identifies a trade: its id (without ids: the whole second), side, price, size."""


class TradeCheck(msgspec.Struct, frozen=True):
    """Counts of one pair's trades: read, duplicated, missing, and out of order."""

    read: int
    twice: int
    missing: int
    misplaced: int


def book_differences(book: Book, truth: Mapping[str, Any]) -> list[str]:
    """Where a book differs from the true one (``/sim/streams/book``), in words; empty when they are equal."""
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


def check_trades(mine: Iterable[Trade], truth: Sequence[Mapping[str, Any]], since: int | None) -> TradeCheck:
    """Compare a pair's trades with the true ones (``/sim/streams/trades``), in number and order.

    From ``since`` (ns) on, all of them must be present; ``None``: some may have been missed.
    """
    true = [_true_key(trade) for trade in truth]
    seconds = {key: int(trade["time"]) for key, trade in zip(true, truth, strict=True)}
    oldest = min(seconds.values(), default=0)
    named = any(trade["id"] for trade in truth)
    read = list(mine)
    known = [_key(trade, named=named) for trade in read if (trade.ts or 0) // _SECOND >= oldest]
    have, should = Counter(known), Counter(true)
    # In the second in which reading began, only some of the trades were read.
    missing = should - have if since is not None else Counter[TradeKey]()
    complete = (since or 0) // _SECOND + 1
    twice = (have - should).total()
    return TradeCheck(
        read=len(read),
        twice=twice,
        missing=sum(count for key, count in missing.items() if seconds[key] >= complete),
        misplaced=max(0, len(known) - twice - _in_order(known, true)),
    )


def _in_order(mine: Iterable[TradeKey], true: Iterable[TradeKey]) -> int:
    """How many of mine are found in the true ones when both are read in order."""
    places: defaultdict[TradeKey, deque[int]] = defaultdict(deque)
    for place, key in enumerate(true):
        places[key].append(place)
    found, last = 0, -1
    for key in mine:
        ahead = places.get(key, deque())
        while ahead and ahead[0] <= last:
            ahead.popleft()
        if ahead:
            last = ahead.popleft()
            found += 1
    return found


def wallet_differences(
    wallet: Mapping[str, str], truth: Mapping[str, Any], *, balances_since: int = 0, orders_since: int = 0
) -> list[str]:
    """Where a wallet's hash differs from the true account (``/sim/streams/account``), in words.

    ``…_since`` (ns): what the exchange has not reported since then is not compared; 0 compares everything. (Not every
    exchange restates everything after a reconnect: a change in between is unknown until the next one.) Nor are orders then
    that the wallet has as unconfirmed: the clock that says when they were reported may have been set.
    """
    return [
        *_balance_differences(_decoded(wallet, "balance:"), truth["balances"], balances_since),
        *_order_differences(_decoded(wallet, "order:"), truth["orders"], orders_since),
        *_position_differences(_decoded(wallet, "position:"), truth["positions"]),
    ]


def _balance_differences(mine: Mapping[str, Any], truth: Mapping[str, Any], since: int) -> list[str]:
    differences = []
    for currency, amounts in truth.items():
        have = mine.get(currency)
        if since and (have is None or int(have["recv"]) < since):
            continue
        if have is None:
            differences.append(f"{currency}: missing")
            continue
        differences += [
            f"{currency} {name}: {have[name]}, should be {amounts[name]}"
            for name in ("available", "reserved")
            if Decimal(have[name]) != Decimal(amounts[name])
        ]
    return differences


def _order_differences(mine: Mapping[str, Any], truth: Iterable[Mapping[str, Any]], since: int) -> list[str]:
    true = {order["order_id"]: order for order in truth}
    mine = {order["order_id"]: order for order in mine.values()}
    known = {
        name
        for name, order in mine.items()
        if not since or (int(order["recv"]) >= since and not order.get("unconfirmed"))
    }
    differences = [f"order {name}: open, should be closed" for name in sorted(known - true.keys())]
    for name, order in true.items():
        have = mine.get(name)
        if have is None:
            if not since or order["created"] >= since / _SECOND:
                differences.append(f"order {name}: missing, should be open")
        elif name in known:
            differences += [f"order {name}: {words}" for words in _numbers(have, order, ("price", "size", "filled"))]
    return differences


def _position_differences(mine: Mapping[str, Any], truth: Iterable[Mapping[str, Any]]) -> list[str]:
    true = {position["pair"]: position for position in truth}
    differences = [f"position in {pair}: open, should be flat" for pair in sorted(mine.keys() - true.keys())]
    for pair, position in true.items():
        have = mine.get(pair)
        if have is None:
            differences.append(f"position in {pair}: missing")
            continue
        if have["side"] != position["side"]:
            differences.append(f"position in {pair}: {have['side']}, should be {position['side']}")
        words = _numbers(have, position, ("size", "entry_price"))
        differences += [f"position in {pair}: {each}" for each in words]
    return differences


def _numbers(have: Mapping[str, str], true: Mapping[str, str], names: Iterable[str]) -> list[str]:
    return [
        f"{name} {have[name] or 'unknown'}, should be {true[name] or 'none'}"
        for name in names
        if Decimal(have[name] or 0) != Decimal(true[name] or 0)
    ]


def _decoded(wallet: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {
        name.removeprefix(prefix): msgspec.json.decode(value)
        for name, value in wallet.items()
        if name.startswith(prefix)
    }


def _key(trade: Trade, *, named: bool) -> TradeKey:
    name = trade.id if named else (trade.ts or 0) // _SECOND
    return str(name), trade.side, Decimal(trade.price), Decimal(trade.size)


def _true_key(trade: Mapping[str, Any]) -> TradeKey:
    name = trade["id"] or int(trade["time"])
    return str(name), trade["side"], Decimal(trade["price"]), Decimal(trade["size"])
