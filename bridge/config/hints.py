"""What to do about a mistake, where its validator could not know: by the place, and by what stands there.

Suggestions come only from what may stand in that place; a key that belongs elsewhere is told where.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.config import catalogue
from bridge.config.document import Location, dotted
from bridge.config.models import Settings
from bridge.config.problems import Mistake
from bridge.config.schema import inner, keys_of, schema_at, value_at
from bridge.config.values import likely_pair
from bridge.suggestions import did_you_mean, nearest

__all__ = ["UNKNOWN_KEY", "with_hint"]

UNKNOWN_KEY = "unknown key"
_NO_LIST, _NO_MAPPING = "should be a list", "should be a mapping"
_MOST_KEYS = 8
_REDIS_PARTS = frozenset({"host", "port", "db", "database", "user", "username", "password"})
_CONNECTOR = "{name: coinbase, exchange: coinbase, pairs: [BTC-USD]}"


def with_hint(mistake: Mistake, data: Mapping[str, Any]) -> Mistake:
    """The mistake with a hint, if it has none and there is one; ``data`` is the raw configuration."""
    location, message, hint = mistake
    if hint:
        return mistake
    if message == UNKNOWN_KEY:
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
        found = [likely_pair(word) or word for word in words]
    else:
        channels = [str(channel) for name in catalogue.exchange_names() for channel in catalogue.public_channels(name)]
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
