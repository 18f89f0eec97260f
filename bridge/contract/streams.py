"""The entries of the streams, their keys and the hashes beside them as a JSON Schema, made of the model's structs.

An entry is a flat list of text fields. The schema describes it as an object of texts, as ``tickbridge tail --json``
prints it, without ``key`` and ``entry_id``. What JSON Schema has no word for has an ``x-`` keyword:

- ``x-fields``: the fields of a type that are always there, in the order of the entry;
- ``x-further-fields``: those that follow, in this order, in all data entries of a stream or in none;
- ``x-streams``: channel → template and pattern of its keys, and its types; ``x-hashes``: the same for hashes;
- ``x-entry-id``: template and pattern of an entry's ID.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec

from bridge import __version__
from bridge.keys import Keys, StreamKey
from bridge.model import (
    DATA_EVENTS,
    PUBLIC_CHANNELS,
    SCHEMA_VERSION,
    Channel,
    Control,
    ControlEvent,
    Event,
    Levels,
    events_of,
)
from bridge.values import LEVELS

__all__ = ["DIALECT", "ENTRY_ID", "entry_schemas", "key_template", "streams_schema", "types_of"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ENTRY_ID = r"^[0-9]+-[1-9][0-9]*$"
_HEAD = {
    "ts": {
        "type": "string",
        "pattern": "^[0-9]*$",
        "description": "The exchange's time of the event, nanoseconds since the epoch; empty if the exchange gives none.",
    },
    "recv": {
        "type": "string",
        "pattern": "^[0-9]+$",
        "description": "When the bridge received the frame, nanoseconds since the epoch.",
    },
}
_TEXT = {"type": "string"}
_WHOLE = {"type": "string", "pattern": "^[0-9]+$", "description": "A whole number."}
_COUNT = {"type": "string", "pattern": "^[0-9]*$", "description": "A whole number; empty if unknown."}
_SIDE = {
    "type": "string",
    "pattern": LEVELS,
    "description": "Levels as price:size with one space between two: best first in a snapshot, in any order in a delta. "
    "A size is absolute; in a delta, zero removes the level.",
}
_EVENT = {
    "type": "string",
    "enum": [str(event) for event in ControlEvent],
    "description": "A reader ignores an event that it does not know, but takes its book for invalid.",
}
_KINDS: tuple[type[Event], ...] = (*DATA_EVENTS, Control)
_PLACEHOLDERS = {
    "exchange": r"[a-z0-9.\-]+",
    "pair": r"[^{}]+",
    "account": r"[^{}]+",
    "interval": r"[1-9][0-9]{0,8}[smhd]",
}
_NAMESPACE = r"(?:[^{}]+:)?"


def streams_schema() -> dict[str, Any]:
    """The schema of all entries (draft 2020-12); an entry is valid if it is one of the types in ``$defs``."""
    entries = entry_schemas()
    return {
        "$schema": DIALECT,
        "title": "Entries of Tickbridge's streams",
        "description": "An entry's fields, all of them text. Further types, fields and events may be added: a reader "
        "ignores what it does not know.",
        "x-schema-version": str(SCHEMA_VERSION),
        "x-tickbridge-version": __version__,
        "x-entry-id": {
            "template": "<ms>-<seq>",
            "pattern": ENTRY_ID,
            "description": "ms is when the bridge received the frame, in milliseconds since the epoch. seq counts the "
            "entries of the stream, control entries included, from 1 and without a hole. Of candles, ms is the end of "
            "the bar, and seq counts the intervals since the epoch, so that it begins with that of the first candle.",
        },
        "x-streams": {str(channel): _stream(channel) for channel in Channel},
        "x-hashes": dict(_hashes()),
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in entries],
        "$defs": entries,
    }


def entry_schemas() -> dict[str, dict[str, Any]]:
    """Type of entry → its schema."""
    return {_tag(kind): _entry(kind) for kind in _KINDS}


def types_of(channel: Channel) -> list[str]:
    """The types of the entries in a channel's streams."""
    return [_tag(kind) for kind in events_of(channel)]


def key_template(channel: Channel) -> str:
    """The key of a channel's streams, as in ``md:{<exchange>:<pair>}:trades``; its braces are part of the key."""
    subject = "<pair>" if channel in PUBLIC_CHANNELS else "<account>"
    return Keys().of(StreamKey("<exchange>", subject, channel, "<interval>" if channel is Channel.CANDLES else ""))


def _tag(kind: type[Event]) -> str:
    return str(kind.__struct_config__.tag)


def _entry(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    further = getattr(kind, "MORE", ())
    tag = _tag(kind)
    return {
        "type": "object",
        "title": tag,
        "description": plain(inspect.getdoc(kind) or ""),
        "properties": {
            "type": {"const": tag},
            **_HEAD,
            **{name: _value(hints[name]) for name in (*kind.WIRE, *further)},
        },
        "required": ["type", "ts", "recv", *kind.WIRE],
        "additionalProperties": _TEXT,
        "x-fields": ["type", "ts", "recv", *kind.WIRE],
        "x-further-fields": list(further),
    }


def plain(docstring: str) -> str:
    """A docstring as plain text: one line for each paragraph, no backquotes, without what is never published."""
    paragraphs = [" ".join(part.split()) for part in docstring.split("\n\n")]
    return re.sub(r"``?([^`]+)``?", r"\1", "\n".join(paragraphs))


def _value(hint: Any) -> dict[str, Any]:
    """The schema of a field's text, by the type of the attribute."""
    options = [option for option in get_args(hint) if option is not type(None)]
    if hint == Levels:
        return _SIDE
    if hint is ControlEvent:
        return _EVENT
    if hint is int:
        return _WHOLE
    if int in options:
        return _COUNT
    bare = options[0] if len(options) == 1 else hint
    if get_origin(bare) is Annotated:
        return {key: value for key, value in msgspec.json.schema(bare).items() if key != "title"}
    return _TEXT


def _stream(channel: Channel) -> dict[str, Any]:
    return {**_key(key_template(channel)), "public": channel in PUBLIC_CHANNELS, "types": types_of(channel)}


def _key(template: str) -> dict[str, Any]:
    """Template and pattern of a key, and its hash tag, which decides on the slot in a Cluster."""
    pattern = re.sub(r"([{}.])", r"\\\1", template)
    for name, part in _PLACEHOLDERS.items():  # after escaping, so that their own braces are not escaped
        pattern = pattern.replace(f"<{name}>", f"({part})")
    tag = re.search(r"\{.*\}", template)
    return {"template": template, "pattern": f"^{_NAMESPACE}{pattern}$", **({"hashTag": tag[0]} if tag else {})}


def _hashes() -> Iterator[tuple[str, dict[str, Any]]]:
    keys = Keys()
    yield (
        "book:snapshot",
        {
            **_key(keys.snapshot("<exchange>", "<pair>")),
            "description": "The newest full book of a pair, for a reader that joins late.",
            "properties": {
                "id": {"type": "string", "pattern": ENTRY_ID, "description": "The entry at which the book is correct."},
                "xseq": _TEXT,
                "recv": _HEAD["recv"],
                "bids": _SIDE,
                "asks": _SIDE,
            },
            "required": ["id", "xseq", "recv", "bids", "asks"],
        },
    )
    for name, key, what in (
        ("instrument", keys.instrument("<exchange>", "<pair>"), "What the exchange lists of a pair."),
        ("catalog", keys.catalog(), "Every public stream: key of the stream → JSON."),
        ("catalog:accounts", keys.accounts_catalog(), "Every stream of an account: key of the stream → JSON."),
    ):
        yield name, {**_key(key), "description": what, "additionalProperties": _TEXT}
