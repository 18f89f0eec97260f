"""Checks of the long runs alone: the whole of a Redis, and the hashes of both consumers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import redis

from bridge.chaos.checks import Row, check_numbers, levels

__all__ = ["check_all_numbers", "check_hashes", "each", "hashes"]

_PAGE = 5_000


def each(client: redis.Redis, key: str) -> Iterator[Row]:
    """All entries of a stream, read in pages."""
    start = "-"
    while rows := client.xrange(key, start, count=_PAGE):
        yield from rows
        start = f"({rows[-1][0]}"


def check_all_numbers(client: redis.Redis) -> list[str]:
    """The entries of every stream are numbered 1, 2, 3 …"""
    return [
        f"{key}: {words}"
        for key in client.scan_iter("*}:*", _type="stream")
        for words in check_numbers(each(client, key))
    ]


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
        if tuple(dict(levels(fields.get(name, ""))) for name in ("bids", "asks")) != true:
            wrong.append(f"the late-join hash of {pair} is not the true book")
    return wrong
