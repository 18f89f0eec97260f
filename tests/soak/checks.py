"""Streams held against the truth; each check returns what is wrong, in words."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import redis

from tests.soak.truth import TrueBook, Truth

__all__ = ["Late", "check_book", "check_fills", "check_hashes", "check_numbers", "check_trades", "each", "hashes"]

Row = tuple[str, dict[str, str]]
Levels = list[tuple[Decimal, Decimal]]
_PAGE = 5_000
_MOST_SHOWN = 5


def each(client: redis.Redis, key: str) -> Iterator[Row]:
    """All entries of a stream, read in pages."""
    start = "-"
    while rows := client.xrange(key, start, count=_PAGE):
        yield from rows
        start = f"({rows[-1][0]}"


def _levels(text: str) -> Levels:
    return [(Decimal(price), Decimal(size)) for price, _, size in (level.partition(":") for level in text.split())]


class Late:
    """How long a book that the stream called valid was behind the exchange's."""

    def __init__(self, excused: Iterable[tuple[float, float]]) -> None:
        self.most = 0.0
        self._excused = list(excused)

    def note(self, since: float, until: float) -> None:
        """The exchange's book had moved on at ``since``, the stream said so, or that it is invalid, at ``until``."""
        if not any(begin <= until and since <= end for begin, end in self._excused):
            self.most = max(self.most, until - since)


def check_book(rows: Iterable[Row], true: TrueBook, late: Late) -> tuple[Counter[str], list[str]]:
    """Every book that a stream calls valid is the exchange's at that number.

    Only prices that changed on either side since the entry before are compared; the first of an unbroken run is compared
    whole, so the whole books are equal throughout.

    Returns:
        How many entries of each kind there were, and what is wrong.
    """
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    mine: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] | None = None
    seq = 0
    for ident, fields in rows:
        kind = fields["type"]
        counts[fields["event"] if kind == "control" else kind] += 1
        if mine is not None and seq < true.last:
            late.note(true.time(seq + 1), int(fields["recv"]) / 1e9)
        if kind == "control":
            mine = None
            continue
        number = int(fields["xseq"])
        sides = [_levels(fields[name]) for name in ("bids", "asks")]
        if kind == "snapshot":
            mine = (dict(sides[0]), dict(sides[1]))
            differs = mine != true.at(number)
        elif mine is None:
            wrong.append(f"{ident}: a delta without a snapshot before it")
            continue
        else:
            differs = _differs(mine, sides, true, seq, number)
        seq = number
        if differs:
            wrong.append(f"{ident}: not the book of number {number}")
            mine = None
    if mine is None or seq != true.last:
        wrong.append(f"at the end: number {seq if mine else None}, the exchange has {true.last}")
    return counts, wrong


def _differs(
    mine: tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]], sides: list[Levels], true: TrueBook, seq: int, now: int
) -> bool:
    """Apply a delta, and compare what changed here or there."""
    if now <= seq:
        return True
    theirs, differs = true.at(now), False
    for side, levels, target, touched in zip(mine, sides, theirs, true.touched(seq, now), strict=True):
        for price, size in levels:
            touched.add(price)
            if size:
                side[price] = size
            else:
                side.pop(price, None)
        differs = differs or any(side.get(price) != target.get(price) for price in touched)
    return differs


def check_trades(rows: Iterable[Row], pair: str, truth: Truth) -> tuple[Counter[str], list[str]]:
    """None twice, none missing but where a control entry stands between its neighbours (or nobody can know)."""
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    places: dict[int, int] = {}
    breaks: list[int] = []
    true = truth.trades[pair]
    for place, (ident, fields) in enumerate(rows):
        if fields["type"] == "control":
            counts[fields["event"]] += 1
            breaks.append(place)
            continue
        number = int(fields["id"])
        counts["trade"] += 1
        if number in places:
            wrong.append(f"{ident}: trade {number} stands twice")
        if true.get(number) != (fields["side"], Decimal(fields["price"]), Decimal(fields["size"])):
            wrong.append(f"{ident}: trade {number} is not the exchange's")
        places[number] = place
    seen = sorted(places)
    for number in true:
        if number < seen[0] or number in places:
            continue
        at = bisect_left(seen, number)
        around = [places[seen[i]] for i in (at - 1, at) if i < len(seen)]
        declared = len(around) > 1 and bisect_left(breaks, min(around)) < bisect_left(breaks, max(around))
        counts["declared missing" if declared else "unnoticed"] += 1
        if not declared and (pair, number) not in truth.unnoticed:
            wrong.append(f"trade {number} of {pair} is missing, and nothing says so")
    return counts, wrong


def check_fills(rows: Iterable[Row], true: dict[str, tuple[str, str, Decimal, Decimal]]) -> list[str]:
    """Each execution once, none missing."""
    seen: dict[str, tuple[str, str, Decimal, Decimal]] = {}
    wrong = []
    for ident, fields in rows:
        if fields["type"] != "control":
            if fields["fill_id"] in seen:
                wrong.append(f"{ident}: fill {fields['fill_id']} stands twice")
            seen[fields["fill_id"]] = (
                fields["pair"],
                fields["side"],
                Decimal(fields["price"]),
                Decimal(fields["size"]),
            )
    wrong += [f"fill {ident} is missing: {fill}" for ident, fill in true.items() if ident not in seen]
    return wrong + [
        f"fill {ident}: {fill}, not {true.get(ident)}"
        for ident, fill in seen.items()
        if true.get(ident) not in (None, fill)
    ]


def check_numbers(client: redis.Redis) -> list[str]:
    """The entries of every stream are numbered 1, 2, 3 …"""
    wrong = []
    for key in client.scan_iter("*}:*", _type="stream"):
        numbers = [int(ident.partition("-")[2]) for ident, _ in each(client, key)]
        if numbers != list(range(1, len(numbers) + 1)):
            wrong.append(f"{key}: its numbers have a hole")
    return wrong


def hashes(client: redis.Redis, account: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What the wallets consumer keeps beside what is true: name → (kept, true)."""
    fields = client.hgetall("acct:{lmex:main}:wallet")
    kept: dict[str, dict[str, Any]] = {"order": {}, "position": {}}
    for name, text in fields.items():
        kind, _, key = name.partition(":")
        if kind in kept:
            kept[kind][key] = json.loads(text)
    orders = {k: (o["pair"], o["side"], Decimal(o["price"]), o["status"]) for k, o in kept["order"].items()}
    positions = {k: (p["side"], Decimal(p["size"])) for k, p in kept["position"].items()}
    true_orders = {
        f"{o['pair']}:{o['order_id']}": (o["pair"], o["side"], Decimal(o["price"]), o["status"])
        for o in account["open_orders"]
    }
    found: dict[str, tuple[Any, Any]] = {
        "open orders": (orders, true_orders),
        "positions": (positions, {p["pair"]: (p["side"], _coins(p)) for p in account["positions"]}),
        "fills": (int(fields.get("fills", 0)), account["fill_count"]),
    }
    for subject, wallet in (("main", "wallets"), ("main/futures", "futures_wallets")):
        rows = client.hgetall(f"acct:{{lmex:{subject}}}:wallet")
        held = {k.partition(":")[2]: json.loads(text) for k, text in rows.items() if k.startswith("balance:")}
        mine = {code: (Decimal(b["available"]), Decimal(b["reserved"])) for code, b in held.items()}
        true = {code: (Decimal(b["available"]), Decimal(b["reserved"])) for code, b in account[wallet].items()}
        found[f"balances of {subject}"] = (mine, true)
    return found


def _coins(position: dict[str, str]) -> Decimal:
    return Decimal(position["size"]) * Decimal(position["contract_size"])


def check_hashes(client: redis.Redis, account: dict[str, Any], books: dict[str, Any]) -> list[str]:
    """The hashes of both consumers are the truth. ``books``: pair → true (bids, asks)."""
    wrong = [f"{name}: {mine}, but {true}" for name, (mine, true) in hashes(client, account).items() if mine != true]
    for pair, true in books.items():
        fields = client.hgetall(f"md:{{lmex:{pair}}}:book:snapshot")
        if tuple(dict(_levels(fields.get(name, ""))) for name in ("bids", "asks")) != true:
            wrong.append(f"the late-join hash of {pair} is not the true book")
    return wrong
