"""Wrong values: each is refused, with a message that names the place; and the schema leaves nothing open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bridge.config import Settings, models
from bridge.exchanges import exchange_type, names
from tests.deploy.tools import CHART, HELMS, helm

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
COINBASE = {"name": "coinbase", "exchange": "coinbase", "pairs": ["BTC-USD"]}
ACCOUNT = {"main": {"exchange": "limitlex", "existingSecret": "limitlex-main"}}


def connector(**settings: Any) -> dict[str, Any]:
    return {"connectors": [COINBASE | settings]}


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "a misspelt value": ("conectors", {"conectors": []}),
    "a misspelt setting of a connector": ("connectors.0", connector(pair=["BTC-USD"])),
    "no such exchange": ("connectors.0.exchange", connector(exchange="coinbse")),
    "no exchange": ("connectors.0", {"connectors": [{"name": "a", "pairs": ["BTC-USD"]}]}),
    "no pairs": ("connectors.0.pairs", connector(pairs=[])),
    "the exchange's own spelling": ("connectors.0.pairs.0", connector(pairs=["btc/usd"])),
    "a pair twice": ("connectors.0.pairs", connector(pairs=["BTC-USD", "BTC-USD"])),
    "a private channel": ("connectors.0.channels.0", connector(channels=["orders"])),
    "another exchange's option": ("connectors.0.options", connector(options={"resnapshot": "1m"})),
    "a name that is none": ("connectors.0.name", connector(name="Coin_Base")),
    "a name twice": ("connectors.1.name", {"connectors": [COINBASE, COINBASE | {"pairs": ["ETH-USD"]}]}),
    "a stream twice": ("connectors.1.pairs", {"connectors": [COINBASE, COINBASE | {"name": "second"}]}),
    "no such account": ("connectors.0.account", connector(exchange="limitlex", account="main")),
    "another exchange's account": (
        "connectors.0.account",
        connector(exchange="lmex", account="main") | {"accounts": ACCOUNT},
    ),
    "a secret in the values": ("accounts.main", {"accounts": {"main": ACCOUNT["main"] | {"api_secret": "s"}}}),
    "an account without its Secret": ("accounts.main", {"accounts": {"main": {"exchange": "lmex"}}}),
    "a shard that is none": ("connectors.0.shard", connector(shard="first of 3")),
    "a shard beyond the last": ("connectors.0.shard", connector(shard="4/3")),
    "a shard counted from 0": ("connectors.0.shard", connector(shard="0/3")),
    "shards of different numbers": (
        "connectors.1.shard",
        {"connectors": [COINBASE | {"shard": "1/2"}, COINBASE | {"name": "b", "shard": "1/3"}]},
    ),
    "a shard twice": (
        "connectors.1.pairs",
        {"connectors": [COINBASE | {"shard": "1/2"}, COINBASE | {"name": "b", "shard": "1/2"}]},
    ),
    "a WebSocket without TLS": ("connectors.0.url", connector(url="ws://example.com")),
    "a password in the URL": ("redis.url", {"redis": {"url": "redis://user:password@redis:6379/0"}}),
    "a CA without TLS": ("redis.url", {"redis": {"ca": {"secret": "ca"}}}),
    "two authorities": ("redis.ca", {"redis": {"url": "rediss://redis", "ca": {"secret": "a", "configMap": "b"}}}),
    "a port that is text": ("http.port", {"http": {"port": "9108"}}),
    "a port below 1024": ("http.port", {"http": {"port": 80}}),
    "root": ("podSecurity.runAsUser", {"podSecurity": {"runAsUser": 0}}),
    "replicas of a connector": ("connectors.0", connector(replicas=2)),
    "a duration that is none": ("config.buffer.max_age", {"config": {"buffer": {"max_age": "5 minutes"}}}),
    "no such level": ("config.log.level", {"config": {"log": {"level": "verbose"}}}),
    "a limit of nothing": (
        "config.retention.trades.max_entries",
        {"config": {"retention": {"trades": {"max_entries": 0}}}},
    ),
    "no such consumer": ("consumers.0.service", {"consumers": [{"name": "a", "service": "candles"}]}),
    "pairs of wallets": (
        "consumers.0.pairs",
        {"consumers": [{"name": "a", "service": "wallets", "pairs": ["BTC-EUR"]}]},
    ),
    "a consumer twice": ("consumers.1.name", {"consumers": [{"name": "a", "service": "books"}] * 2}),
    "an amount of memory that is none": (
        "connectors.0.resources.limits.memory",
        connector(resources={"limits": {"memory": "lots"}}),
    ),
    "a digest that is none": ("image.digest", {"image": {"digest": "sha256:abc"}}),
    "a trial Redis without its users": ("trialRedis.existingSecret.name", {"trialRedis": {"enabled": True}}),
    "a network that is none": (
        "networkPolicy.exchanges.cidr",
        {"networkPolicy": {"exchanges": {"cidr": "everywhere"}}},
    ),
}


@pytest.mark.parametrize("helm_name", HELMS)
@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused(helm_name, case):
    path, values = WRONG[case]
    ran = helm(helm_name, "template", "rel", str(CHART), values=values)
    assert ran.returncode != 0, ran.stdout
    # Helm 3 writes a.0.b, Helm 4 /a/0/b, and where a property is not allowed, the place that holds it and its name.
    said = re.sub(r"/(?=[\w'])", ".", ran.stderr)
    assert re.search(rf"(?<![\w]){re.escape(path)}(?![\w])", said), ran.stderr


def objects(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for name, inner in schema.items():
            yield from objects(inner, f"{path}/{name}")
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from objects(inner, f"{path}/{index}")


OPEN = (
    "/properties/global",
    *(f"/definitions/affinity/properties/{kind}Affinity" for kind in ("node", "pod", "podAnti")),
)
"""Helm's own, and Kubernetes's, too large to be repeated."""


def test_the_schema_is_closed():
    for path, schema in objects(SCHEMA):
        if path not in OPEN:
            assert schema.get("additionalProperties") is not None, path
            assert schema["additionalProperties"] is False or schema["additionalProperties"], path


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["definitions"][name]["properties"]
    return found


WORKLOAD = {
    "resources",
    "env",
    "nodeSelector",
    "tolerations",
    "affinity",
    "priorityClassName",
    "podLabels",
    "podAnnotations",
}
NO_VALUE = {"ca_file"}
"""A file of the machine: in a pod there is none."""


def test_the_schema_knows_the_settings_of_the_config_file():
    settings = set(models.ConnectorSettings.model_fields)
    assert set(properties("connector")) == settings - NO_VALUE | WORKLOAD
    own = SCHEMA["properties"]["config"]["properties"]
    assert set(own) == set(Settings.model_fields) - {"redis", "connectors", "accounts", "http"}
    assert set(own["retention"]["properties"]) == set(models.Retention.model_fields)
    http = SCHEMA["properties"]["http"]["properties"]
    assert set(http) == set(models.HttpSettings.model_fields)
    assert SCHEMA["definitions"]["exchange"]["enum"] == sorted(names())
    rules = {rule["if"]["properties"]["exchange"]["const"]: rule["then"] for rule in properties_rules()}
    for exchange in names():
        options = rules[exchange]["properties"]["options"]["properties"]
        assert set(options) == set(exchange_type(exchange).Options.model_fields), exchange


def properties_rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = SCHEMA["definitions"]["connector"]["allOf"]
    return rules


def test_every_value_of_the_chart_is_in_the_schema():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) == set(SCHEMA["properties"]) - {"global"}
