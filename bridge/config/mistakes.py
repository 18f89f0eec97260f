"""Mistakes in a configuration: what validation says, in plain words; what is wrong between the parts; what to do about it.

A mistake never quotes a value that may be a secret. Suggestions come only from what may stand in that place; a key that
belongs elsewhere is told where.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic import ValidationError

from bridge.config.accounts import account_model, credentials_of
from bridge.config.connectors import exchange_names, offered_channels, private_channels, public_channels
from bridge.config.document import Location, dotted
from bridge.config.schema import inner, keys_of, schema_at, value_at
from bridge.config.settings import Settings
from bridge.config.values import Mistake, Shard, is_pattern, likely_pair, pair_or_pattern, parse_shard
from bridge.suggestions import did_you_mean, nearest

__all__ = ["cross_check", "mistakes_of", "with_hint"]

_WORDS = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "model_type": "should be a mapping",
    "model_attributes_type": "should be a mapping",
    "dict_type": "should be a mapping",
    "mapping_type": "should be a mapping",
    "list_type": "should be a list",
    "tuple_type": "should be a list",
    "string_type": "should be text",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "path_type": "should be the path of a file",
    "too_short": "should not be empty",
    "string_too_short": "should not be empty",
}
_EXPECTED = re.compile(r"'([^']*)'")
# Said by pydantic of a field that it never came to, because an earlier one was wrong.
_NOISE = frozenset({"default_factory_not_called"})


_UNKNOWN_KEY = "unknown key"
_NO_LIST, _NO_MAPPING = "should be a list", "should be a mapping"
_MOST_KEYS = 8
_REDIS_PARTS = frozenset({"host", "port", "db", "database", "user", "username", "password"})
_CONNECTOR = "{name: coinbase, exchange: coinbase, pairs: [BTC-USD]}"


def mistakes_of(error: ValidationError) -> list[Mistake]:
    """All that a validation found, in plain words and without the values, which may be secrets."""
    found = error.errors(include_url=False)
    return [(_place(line["loc"]), *_words(line)) for line in found if line["type"] not in _NOISE]


def _place(location: tuple[int | str, ...]) -> Location:
    """Pydantic's location without its own marks (``[key]``)."""
    return tuple(part for part in location if part != "[key]")


def _words(line: Any) -> tuple[str, str]:
    context = line.get("ctx", {})
    if line["type"] == "mistake":
        return str(context["message"]), str(context["hint"])
    if line["type"] in ("literal_error", "enum"):
        close = nearest(str(line["input"]), _EXPECTED.findall(context["expected"]))
        return f"should be {context['expected']}", f"did you mean {close!r}?" if close else ""
    if line["type"] == "greater_than_equal":
        return f"should be at least {context['ge']:g}", ""
    plain = _WORDS.get(line["type"])
    if plain is not None:
        return plain, ""
    message: str = line["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message.replace("Input should", "should", 1), ""


def with_hint(mistake: Mistake, data: Mapping[str, Any]) -> Mistake:
    """The mistake with a hint, if it has none and there is one; ``data`` is the raw configuration."""
    location, message, hint = mistake
    if hint:
        return mistake
    if message == _UNKNOWN_KEY and (credential := _unwanted_credential(location, data)):
        message, hint = credential
    elif message == _UNKNOWN_KEY:
        hint = _key(location, data)
    elif message == _NO_LIST:
        hint = _list(location, value_at(data, location))
    elif message == _NO_MAPPING:
        hint = _mapping(location, data)
    return location, message, hint


def _key(location: Location, data: Mapping[str, Any]) -> str:
    key = str(location[-1])
    if location[:-1] == ("redis",) and key in _REDIS_PARTS:
        return "it is part of url: redis://USER:PASSWORD@HOST:PORT/0"
    known = keys_of(schema_at(Settings, location[:-1], data))
    if not known and location[-2:-1] == ("options",):
        return "this exchange has no options"
    return _elsewhere(key, location[:-1], known, data) or did_you_mean(key, known)


def _unwanted_credential(location: Location, data: Mapping[str, Any]) -> tuple[str, str] | None:
    """What to say of a credential that other exchanges have."""
    if len(location) != 3 or location[0] != "accounts" or location[2] not in keys_of(account_model()):
        return None
    exchange = value_at(data, (*location[:2], "exchange"))
    names = [credential.name for credential in credentials_of(exchange)]
    return f"{exchange} takes no {str(location[2]).removesuffix('_file')}", f"its accounts have {', '.join(names)}"


def _elsewhere(key: str, place: Location, known: tuple[str, ...], data: Mapping[str, Any]) -> str:
    """Where a key belongs that stands at ``place``: further up, or in one of the sections here."""
    for depth in range(len(place) - 1, -1, -1):
        if key in keys_of(schema_at(Settings, place[:depth], data)):
            return f"it belongs to {dotted(place[:depth])}" if depth else "it belongs at the top level of the file"
    if not place and key in keys_of(inner(inner(Settings, "connectors"), 0)):
        return "it belongs to a connector: an item of the list 'connectors:'"
    if len(place) == 2 and place[0] == "connectors" and key in keys_of(inner(inner(Settings, "accounts"), "")):
        return "it belongs to an account under 'accounts:'; here, 'account:' names that account"
    sections = {name: keys_of(schema_at(Settings, (*place, name), data)) for name in known}
    homes = [name for name, keys in sections.items() if key in keys]
    if len(homes) == 1:
        return f"it belongs to '{homes[0]}:'"
    for name, keys in sections.items():
        inside = key.removeprefix(f"{name}_")
        if inside in keys:
            return f"write {name}: {{{inside}: …}}"
    return ""


def _list(location: Location, value: Any) -> str:
    if location == ("connectors",) and isinstance(value, Mapping):
        return f"begin each connector with a dash, and give it a name: - {_CONNECTOR}"
    if not isinstance(value, str) or location[-1] not in ("pairs", "channels"):
        return ""
    words = [word.strip() for word in value.split(",")]
    if location[-1] == "pairs":
        found = [f'"{word}"' if is_pattern(word) else likely_pair(word) or word for word in words]
    else:
        channels = [str(channel) for name in exchange_names() for channel in offered_channels(name)]
        found = [nearest(word, channels) or word for word in words]
    return f"write [{', '.join(found)}]"


def _mapping(location: Location, data: Mapping[str, Any]) -> str:
    if location == ("accounts",):
        return "write each account under its name: 'main: {exchange: …, api_key: …, api_secret_file: …}'"
    if len(location) == 2 and location[0] == "connectors":
        return f"such as {_CONNECTOR}"
    keys = keys_of(schema_at(Settings, location, data))
    more = ", …" if len(keys) > _MOST_KEYS else ""
    return f"its keys are {', '.join(keys[:_MOST_KEYS])}{more}" if keys else ""


def cross_check(data: Mapping[str, Any]) -> list[Mistake]:
    """Names given twice, accounts that aren't there or are another exchange's, streams with two writers."""
    connectors = [
        (index, item) for index, item in enumerate(_items(data.get("connectors"))) if isinstance(item, Mapping)
    ]
    accounts = data.get("accounts")
    return [
        *_same_names(connectors),
        *_wrong_accounts(connectors, accounts if isinstance(accounts, Mapping) else {}),
        *_same_streams(connectors),
    ]


def _same_names(connectors: list[tuple[int, Any]]) -> Iterator[Mistake]:
    first: dict[str, int] = {}
    for index, connector in connectors:
        name = connector.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            yield ("connectors", index, "name"), f"{name!r} is also the name of connectors.{first[name]}", ""


def _wrong_accounts(connectors: list[tuple[int, Any]], accounts: Mapping[str, Any]) -> Iterator[Mistake]:
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
        if exchange in exchange_names() and not private_channels(exchange):
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
            place = ("connectors", index, "pairs", _items(connector.get("pairs")).index(pair))
            for owner, channels in shared.items():
                what = f"{pair} ({', '.join(channels)}) is already read by connectors.{owner}"
                yield place, what, "one stream takes one connector"
    yield from _same_patterns(connectors)


def _same_patterns(connectors: list[tuple[int, Any]]) -> Iterator[Mistake]:
    """Patterns that match what another connector names, or matches too; what else they have in common shows in time."""
    for index, connector in connectors:
        for other, theirs in connectors:
            exchange = connector.get("exchange")
            if index == other or not isinstance(exchange, str) or exchange != theirs.get("exchange"):
                continue
            if not set(_channels(connector, exchange)) & set(_channels(theirs, exchange)):
                continue
            shard = _shard(connector)
            for pattern in _patterns(connector):
                place = ("connectors", index, "pairs")
                named = [p for p in _own_pairs(theirs) if fnmatchcase(p, pattern) and (not shard or shard.picks([p]))]
                if named:
                    what = f"{pattern} matches {', '.join(named)}, which connectors.{other} reads"
                    yield place, what, "one stream takes one connector; list the pairs in one of them"
                elif other < index and pattern in _patterns(theirs) and shard == _shard(theirs):
                    what = f"connectors.{other} has the pattern {pattern} too"
                    yield place, what, "one stream takes one connector; shards share pairs out"


def _own_pairs(connector: Mapping[str, Any]) -> list[str]:
    pairs = [pair for pair in _pairs(connector) if not is_pattern(pair)]
    shard = _shard(connector)
    return list(shard.picks(pairs)) if shard else pairs


def _patterns(connector: Mapping[str, Any]) -> list[str]:
    return [pair for pair in _pairs(connector) if is_pattern(pair)]


def _pairs(connector: Mapping[str, Any]) -> list[str]:
    given = connector.get("pairs")
    pairs = [given] if isinstance(given, str) and given.lower() == "all" else _items(given)
    return [pair_or_pattern(pair) for pair in pairs if isinstance(pair, str)]


def _shard(connector: Mapping[str, Any]) -> Shard | None:
    try:
        return parse_shard(str(connector["shard"])) if "shard" in connector else None
    except ValueError:
        return None  # said in its place


def _channels(connector: Mapping[str, Any], exchange: str) -> list[str]:
    given = connector.get("channels")
    if given is None:
        return [*public_channels(exchange)] if exchange in exchange_names() else []
    return list(dict.fromkeys(str(item) for item in _items(given)))


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
