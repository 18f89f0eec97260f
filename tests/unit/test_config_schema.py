"""The JSON Schema of the config: it takes what the models take, and marks what an editor can see is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from bridge.config import load_settings
from bridge.config.schema import config_schema
from bridge.config.written import config_template
from bridge.errors import ConfigError
from bridge.exchanges import names
from tests.unit.doc_pages import PAGES, blocks

CONNECTOR = "connectors: [{{name: a, exchange: {}, pairs: [BTC-USD], {}}}]"

GOOD = [
    "",
    "loop: auto",
    "retention:\nbuffer:\n",
    "namespace: 5",
    "http: {port: off}",
    "http: {port: 0}",
    "share_limits: off",
    "share_limits: nat-1",
    "shutdown_timeout: 1h30m\nbuffer: {max_bytes: 1.5 GiB, max_age: 90}",
    "retention: {trades: {max_age: 2h}, book: {max_entries: 10}}",
    CONNECTOR.format("coinbase", "channels: [trades, book], silence: {book: off, trades: 90s}"),
    CONNECTOR.format("lmex", "options: {login: auto, ticker_interval: 5s, contract_sizes: {BTC-PERP: 0.001}}"),
    CONNECTOR.format("limitlex", "shard: 1/3, url: 'ws://127.0.0.1:1', latency_limit: off"),
    "accounts: {main: {exchange: lmex, api_key: 0123, api_secret: x, subaccounts: true}}",
    "accounts: {main: {exchange: lmex, api_key: 0123, api_secret: x, api_passphrase: }}",
]
BAD = [
    "lop: auto",
    "share_limits: nat 1",
    "loop: fast",
    "redis: redis://127.0.0.1",
    "http: {port: 99999}",
    "shutdown_timeout: 10 sec",
    "shutdown_timeout: -1",
    "buffer: {max_bytes: 64 megs}",
    "retention: {trades: {max_entries: 0}}",
    "retention: {trade: {}}",
    "connectors: {a: {exchange: coinbase}}",
    "connectors: [{exchange: coinbase, pairs: [BTC-USD]}]",
    "connectors: [{name: a b, exchange: coinbase, pairs: [BTC-USD]}]",
    "connectors: [{name: a, exchange: coinbse, pairs: [BTC-USD]}]",
    "connectors: [{name: a, exchange: coinbase, pairs: [btcusd]}]",
    "connectors: [{name: a, exchange: coinbase, pairs: BTC-USD}]",
    CONNECTOR.format("coinbase", "channels: [trade]"),
    CONNECTOR.format("coinbase", "channels: [orders]"),
    CONNECTOR.format("coinbase", "options: {depth: 5}"),
    CONNECTOR.format("lmex", "options: {login: lgin}"),
    CONNECTOR.format("lmex", "options: {amounts: absolute}"),
    CONNECTOR.format("lmex", "silence: {book: never}"),
    CONNECTOR.format("lmex", "url: 'https://h.example.com'"),
    CONNECTOR.format("lmex", "shard: 1"),
    "accounts: {main: {exchange: lmex, api_key: a, api_secret: b, api_passphrase: c}}",
    "accounts: {main: {exchange: lmex, api_key: a, api_secret: b, api_passphrase_file: c}}",
    "accounts: {main: {exchange: lmex, api_key: a, api_secret: b, uid: 5}}",
]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = config_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def as_editors_read(text: str) -> Any:
    """YAML 1.1 with its numbers and booleans, as most editors have it; an empty file is an empty config."""
    return yaml.safe_load(text) or {}


@pytest.mark.parametrize("text", GOOD)
def test_what_the_models_take_is_good(validator, tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    load_settings(tmp_path / "a.yaml", {})
    assert [error.message for error in validator.iter_errors(as_editors_read(text))] == []


@pytest.mark.parametrize("text", BAD)
def test_what_is_bad_is_bad_for_both(validator, tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load_settings(tmp_path / "a.yaml", {})
    assert list(validator.iter_errors(as_editors_read(text)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_the_documentation_are_good(validator, page):
    for block in blocks(page, "yaml"):
        assert [error.message for error in validator.iter_errors(as_editors_read(block))] == []


@pytest.mark.parametrize("exchange", names())
def test_the_first_config_is_good(validator, exchange):
    assert not list(validator.iter_errors(yaml.safe_load(config_template(exchange, ["BTC-USD"], "x.json"))))


def test_every_setting_has_a_description_and_says_its_default():
    schema = config_schema()
    described = dict(properties(schema))
    assert [path for path, found in described.items() if not found.get("description")] == []
    assert described["buffer.max_bytes"]["default"] == "64MiB"
    assert described["retention.trades"]["description"]
    assert described["redis.connect_timeout"]["default"] == "5s"
    assert described["http.pair_labels"]["default"] is False


def properties(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, found in schema.get("properties", {}).items():
        yield f"{path}{name}", found
        yield from properties(found, f"{path}{name}.")
        yield from properties(found.get("items", {}), f"{path}{name}.")
        inside = found.get("additionalProperties")
        yield from properties(inside if isinstance(inside, dict) else {}, f"{path}{name}.")
    for branch in schema.get("allOf", ()):
        options = branch["then"]["properties"].get("options", {})
        yield from properties(options, f"{path}options.")
