"""Mistakes between the parts of a configuration, found in the raw data so that they show beside all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.config import catalogue
from bridge.config.problems import Mistake
from bridge.config.sharding import parse_shard
from bridge.suggestions import did_you_mean

__all__ = ["cross_check"]


def cross_check(data: Mapping[str, Any]) -> list[Mistake]:
    """Names given twice, accounts that aren't there or are another exchange's, streams with two writers."""
    connectors = [
        (index, item) for index, item in enumerate(_list(data.get("connectors"))) if isinstance(item, Mapping)
    ]
    accounts = data.get("accounts")
    return [
        *_same_names(connectors),
        *_accounts(connectors, accounts if isinstance(accounts, Mapping) else {}),
        *_same_streams(connectors),
    ]


def _same_names(connectors: list[tuple[int, Any]]) -> Iterator[Mistake]:
    first: dict[str, int] = {}
    for index, connector in connectors:
        name = connector.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            yield ("connectors", index, "name"), f"{name!r} is also the name of connectors.{first[name]}", ""


def _accounts(connectors: list[tuple[int, Any]], accounts: Mapping[str, Any]) -> Iterator[Mistake]:
    users: dict[str, int] = {}
    for index, connector in connectors:
        name, exchange = connector.get("account"), connector.get("exchange")
        if not isinstance(name, str):
            continue
        here = ("connectors", index, "account")
        if "shard" in connector:
            yield here, "an account can't be shared out", "give it a connector of its own with channels: []"
        if name not in accounts:
            yield here, f"no account {name!r} under accounts", did_you_mean(name, list(accounts))
            continue
        account = accounts[name]
        theirs = account.get("exchange") if isinstance(account, Mapping) else None
        if isinstance(theirs, str) and isinstance(exchange, str) and theirs != exchange:
            yield here, f"account {name!r} is of exchange {theirs!r}, this connector's is {exchange!r}", ""
            continue
        if exchange in catalogue.exchange_names() and not catalogue.private_channels(exchange):
            yield here, f"{exchange} has no private channels, so it takes no account", ""
        if users.setdefault(name, index) != index:
            yield (
                here,
                f"account {name!r} is already read by connectors.{users[name]}",
                "one stream takes one connector; let one of them read it, or give it a second name under accounts",
            )


def _same_streams(connectors: list[tuple[int, Any]]) -> Iterator[Mistake]:
    first: dict[tuple[str, str, str], int] = {}
    for index, connector in connectors:
        exchange = connector.get("exchange")
        if not isinstance(exchange, str):
            continue
        pairs = _own_pairs(connector)
        for pair in dict.fromkeys(pairs):
            shared: dict[int, list[str]] = {}
            for channel in _channels(connector, exchange):
                owner = first.setdefault((exchange, pair, channel), index)
                if owner != index:
                    shared.setdefault(owner, []).append(channel)
            place = ("connectors", index, "pairs", _list(connector.get("pairs")).index(pair))
            for owner, channels in shared.items():
                what = f"{pair} ({', '.join(channels)}) is already read by connectors.{owner}"
                yield place, what, "one stream takes one connector"


def _own_pairs(connector: Mapping[str, Any]) -> list[str]:
    pairs = [pair for pair in _list(connector.get("pairs")) if isinstance(pair, str)]
    try:
        shard = parse_shard(str(connector["shard"])) if "shard" in connector else None
    except ValueError:
        return []  # said where it stands
    return list(shard.picks(pairs)) if shard else pairs


def _channels(connector: Mapping[str, Any], exchange: str) -> list[str]:
    given = connector.get("channels")
    if given is None:
        return [*catalogue.public_channels(exchange)] if exchange in catalogue.exchange_names() else []
    return list(dict.fromkeys(str(item) for item in _list(given)))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
