"""The streams as an AsyncAPI 3 document: a channel for each kind of stream, with the messages that it carries.

AsyncAPI writes parameters in braces, and the keys have braces of their own. So the hash tag is one parameter,
``pair`` or ``account``, whose value includes its braces: ``md:{coinbase:BTC-USD}:trades`` is ``md:`` + the parameter +
``:trades``.
"""

from __future__ import annotations

import re
from typing import Any

from bridge.contract.streams import ENTRY_ID, entry_schemas, key_template, streams_schema, types_of
from bridge.model import PUBLIC_CHANNELS, SCHEMA_VERSION, Channel

__all__ = ["asyncapi"]

_ABOUT = {
    Channel.TRADES: "Public trades",
    Channel.BOOK: "Order book: snapshots and deltas",
    Channel.BOOK10: "The ten best levels per side of the order book: snapshots and deltas",
    Channel.QUOTES: "Best bid and ask",
    Channel.TICKER: "Rolling open, high, low, last and volume",
    Channel.FUNDING: "The next funding of a perpetual",
    Channel.MARK: "Mark price and index price of a derivative",
    Channel.INTEREST: "Open interest of a derivative",
    Channel.LIQUIDATIONS: "Positions that the exchange closed by force",
    Channel.CANDLES: "Candles of one interval, made of the trades",
    Channel.ORDERS: "An account's orders",
    Channel.FILLS: "An account's executions",
    Channel.BALANCES: "An account's wallets",
    Channel.POSITIONS: "An account's positions",
}
_PARAMETERS = {
    "pair": {
        "description": "Exchange and pair in braces, which are part of the key and its hash tag in a Cluster.",
        "examples": ["{coinbase:BTC-USD}"],
    },
    "account": {
        "description": "Exchange and account in braces, which are part of the key and its hash tag in a Cluster. "
        "A sub-account follows after a slash.",
        "examples": ["{limitlex:main}", "{limitlex:main/7f3a}"],
    },
    "interval": {
        "description": "The length of a candle, in the largest unit that fits.",
        "examples": ["1m", "4h"],
    },
}


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document; the schemas of its messages are those of `streams_schema`."""
    whole = streams_schema()
    entries = entry_schemas()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tickbridge",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": "The Redis Streams that Tickbridge writes. A message is an entry: a flat list of text fields.\n"
            f"The ID of an entry is <ms>-<seq>. {whole['x-entry-id']['description']}\n"
            "With a namespace, every key begins with it and a colon.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "redis": {
                "host": "localhost:6379",
                "protocol": "redis",
                "description": "The server that the connectors write to: one server, Sentinels or a Cluster.",
            }
        },
        "channels": {str(channel): _channel(channel) for channel in Channel},
        "operations": {f"read-{channel}": _operation(channel) for channel in Channel},
        "components": {
            "messages": {
                name: {"name": name, "title": name, "summary": _first_line(schema), "payload": _reference(name)}
                for name, schema in entries.items()
            },
            "schemas": entries,
        },
    }


def _channel(channel: Channel) -> dict[str, Any]:
    subject = "pair" if channel in PUBLIC_CHANNELS else "account"
    template = key_template(channel)
    start, end = template.index("{"), template.index("}") + 1
    rest = re.sub("<(.*?)>", r"{\1}", template[end:])
    parameters = [subject, *re.findall("{(.*?)}", rest)]
    return {
        "address": f"{template[:start]}{{{subject}}}{rest}",
        "title": str(channel),
        "description": _ABOUT[channel],
        "parameters": {name: _PARAMETERS[name] for name in parameters},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in types_of(channel)},
        "x-key": template,
        "x-entry-id": ENTRY_ID,
    }


def _operation(channel: Channel) -> dict[str, Any]:
    return {
        "action": "receive",
        "summary": f"Read {channel} with XREAD, from the ID of the last entry",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in types_of(channel)],
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _first_line(schema: dict[str, Any]) -> str:
    return str(schema["description"]).partition("\n")[0]
