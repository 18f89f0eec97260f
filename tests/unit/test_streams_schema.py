"""The schema of the streams: it is valid, says what the keys and entries are, and takes nothing else."""

from __future__ import annotations

import json
import re
from itertools import product
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bridge.cli.main import main
from bridge.contract.asyncapi import asyncapi
from bridge.contract.streams import ENTRY_ID, key_template, streams_schema, types_of
from bridge.keys import Keys, StreamKey
from bridge.model import (
    DATA_EVENTS,
    PUBLIC_CHANNELS,
    Balance,
    BookDelta,
    BookSnapshot,
    Channel,
    Control,
    ControlEvent,
    Fill,
    Order,
    Position,
    Trade,
)
from tests.unit.stream_entries import entry, mistakes

T = 1_795_302_528_133_138_298
TRADE = Trade("BTC-EUR", T, T, "1", "buy", "7997.40", "0.5")
GOOD = [
    TRADE,
    Trade("BTC-EUR", None, T, "", "sell", "1e-7", "", contracts="12"),
    Trade("BTC-EUR", None, T, "é", "sell", "." + "9" * 127, ""),
    BookSnapshot("BTC-EUR", T, T, "13", [("7.5", "1"), ("7", "0.5")], []),
    BookDelta("BTC-EUR", T, T, "", [], [("7.50", "0"), ("8", "0.00000000")]),
    Order("main", T, T, "1", "", "BTC-EUR", "limit", "buy", "7", "1", "0", "open"),
    Order("main", T, T, "1", "", "", "stop_limit", "", "", "", "", ""),
    Fill("main", T, T, "1", "1", "BTC-EUR", "buy", "7", "1", "-0.02", "EUR", fees="-0.02:EUR 0.1:BTC"),
    Balance("main", T, T, "EUR", "-5.00", "0"),
    Position("main", T, T, "BTC-PERP", "", "0", "", "", "-1.5", leg="long"),
    Control("BTC-EUR", None, T, Channel.TRADES, ControlEvent.GAP, "sequence_num 7 expected", 3),
    Control("BTC-EUR", None, T, Channel.TRADES, ControlEvent.LIVE),
]
WRONG = [
    {"side": "BUY"},
    {"price": "-1"},
    {"price": "1e"},
    {"price": "1e100"},
    {"price": "1,000"},
    {"price": " 1"},
    {"price": "NaN"},
    {"price": "٣"},
    {"price": "1" * 129},
    {"ts": "2026-11-29"},
    {"recv": ""},
    {"type": "trades"},
    {"contracts": "-1"},
    {"note": 5},
    {"size": 0.5},
]
BAD_LEVELS = ["7.5", "7.5:1:2", "7.5:1  7:1", "7.5:1 ", "7.5:-1", "7.5: 1", "7,5:1"]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = streams_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("event", GOOD, ids=lambda event: type(event).__name__)
def test_takes_entries_as_they_are_written(validator, event):
    assert list(validator.iter_errors(entry(event))) == []
    assert mistakes(entry(event)) == []


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_takes_no_other_values(validator, wrong):
    assert not validator.is_valid(entry(TRADE) | wrong)


@pytest.mark.parametrize("levels", BAD_LEVELS)
def test_takes_no_other_levels(validator, levels):
    fields = entry(BookDelta("BTC-EUR", T, T, "", [], []))
    assert validator.is_valid(fields | {"bids": "7.5:1 7:0"})
    assert not validator.is_valid(fields | {"bids": levels})


def test_takes_fields_that_a_newer_version_adds(validator):
    assert validator.is_valid(entry(TRADE) | {"venue": "dark"})


@pytest.mark.parametrize("field", ["type", "ts", "recv", "id", "size"])
def test_misses_every_field(validator, field):
    fields = entry(TRADE)
    del fields[field]
    assert not validator.is_valid(fields)


def test_names_all_fields_in_their_order():
    schemas = streams_schema()["$defs"]
    for kind in (*DATA_EVENTS, Control):
        found = schemas[str(kind.__struct_config__.tag)]
        assert found["x-fields"] == ["type", "ts", "recv", *kind.WIRE]
        assert found["x-further-fields"] == list(getattr(kind, "MORE", ()))
        assert list(found["properties"]) == [*found["x-fields"], *found["x-further-fields"]]
        assert found["description"]
        assert "``" not in found["description"]


@pytest.mark.parametrize("namespace", ["", "prod", "team:a"])
@pytest.mark.parametrize("channel", Channel)
def test_the_patterns_of_keys_are_those_of_their_streams(channel, namespace):
    streams = streams_schema()["x-streams"]
    subject = "BTC-USDT-261225-100000-C" if channel in PUBLIC_CHANNELS else "main/7f3a"
    interval = "15m" if channel is Channel.CANDLES else ""
    key = Keys(namespace).of(StreamKey("ccxt.kucoin", subject, channel, interval))
    assert [name for name, stream in streams.items() if re.search(stream["pattern"], key)] == [channel]
    found = re.search(streams[channel]["pattern"], key)
    assert found
    assert found.groups() == ("ccxt.kucoin", subject, *filter(None, [interval]))
    assert streams[channel]["public"] == (channel in PUBLIC_CHANNELS)
    assert streams[channel]["hashTag"] in key_template(channel)


def test_keys_of_hashes_are_no_streams():
    schema = streams_schema()
    keys = Keys("prod")
    hashes = {
        "book:snapshot": keys.snapshot("limitlex", "BTC-EUR"),
        "instrument": keys.instrument("limitlex", "BTC-EUR"),
        "catalog": keys.catalog(),
        "catalog:accounts": keys.accounts_catalog(),
    }
    assert schema["x-hashes"].keys() == hashes.keys()
    for name, key in hashes.items():
        assert re.search(schema["x-hashes"][name]["pattern"], key)
        assert not any(re.search(stream["pattern"], key) for stream in schema["x-streams"].values())


@pytest.mark.parametrize(
    ("entry_id", "valid"), [("1795302528133-2", True), ("0-1", True), ("5", False), ("5-0", False)]
)
def test_the_pattern_of_ids(entry_id, valid):
    assert bool(re.search(ENTRY_ID, entry_id)) == valid


def test_asyncapi_has_every_channel_with_its_messages():
    document = asyncapi()
    assert document["channels"].keys() == set(Channel)
    for channel in Channel:
        found = document["channels"][channel]
        assert list(found["messages"]) == types_of(channel)
        names = re.findall(r"\{(\w+)\}", found["address"])
        assert list(found["parameters"]) == names
        for examples in product(*(found["parameters"][name]["examples"] for name in names)):
            key = found["address"]
            for name, example in zip(names, examples, strict=True):
                key = key.replace(f"{{{name}}}", example)
            assert re.search(streams_schema()["x-streams"][channel]["pattern"], key), key
    assert all(_resolves(document, reference) for reference in _references(document))


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [node["$ref"]] if "$ref" in node else [found for value in node.values() for found in _references(value)]
    return [found for value in node for found in _references(value)] if isinstance(node, list) else []


def _resolves(document: Any, reference: str) -> bool:
    for part in reference.removeprefix("#/").split("/"):
        document = document[part]
    return bool(document)


def test_the_command(capsys):
    assert main(["schema", "streams"]) == 0
    assert json.loads(capsys.readouterr().out) == streams_schema()
    assert main(["schema", "streams", "--format", "asyncapi"]) == 0
    assert json.loads(capsys.readouterr().out) == asyncapi()
    with pytest.raises(SystemExit) as end:
        main(["schema", "config", "--format", "asyncapi"])
    assert end.value.code == 1
    assert "tickbridge schema streams --format asyncapi" in capsys.readouterr().err
