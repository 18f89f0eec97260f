"""Wrong values: each is refused, with a message that names the place; and the schema leaves nothing open."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bridge.config import ConnectorSettings, HttpSettings, Retention, Settings
from bridge.config.settings import BufferSettings, HeartbeatSettings, LogSettings
from bridge.exchanges import exchange_type, families, names
from bridge.model import CONNECTOR_CHANNELS, PUBLIC_CHANNELS
from tests.deploy.tools import CHART, HELMS, ROOT, helm

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
COINBASE = {"name": "coinbase", "exchange": "coinbase", "pairs": ["BTC-USD"]}
ACCOUNT = {"main": {"exchange": "limitlex", "existingSecret": "limitlex-main"}}


def connector(**settings: Any) -> dict[str, Any]:
    return {"connectors": [COINBASE | settings]}


def block(cidr: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr}}


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
    "a credential with a name that is none": (
        "accounts.main.credentials",
        {"accounts": {"main": ACCOUNT["main"] | {"credentials": {"API-KEY": "k"}}}},
    ),
    "a credential's key that is none": (
        "accounts.main.credentials.api_passphrase",
        {"accounts": {"main": ACCOUNT["main"] | {"credentials": {"api_passphrase": "no such key"}}}},
    ),
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
    "a key of no Secret": ("consumers.0.redisKey", {"consumers": [{"name": "a", "service": "books", "redisKey": "k"}]}),
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
    "an address that is none": (
        "networkPolicy.redis.to.0",
        {"networkPolicy": {"redis": {"to": [block("10.0.0.300/8")]}}},
    ),
    "an exception from elsewhere": (
        "networkPolicy.exchanges.except.0",
        {"networkPolicy": {"exchanges": {"cidr": "10.20.0.0/16"}}},
    ),
    "killed while it ends": ("terminationGracePeriodSeconds", {"config": {"shutdown_timeout": "1m"}}),
    "dead before its next beat": ("config.heartbeat.ttl", {"config": {"heartbeat": {"interval": "1m", "ttl": "5s"}}}),
    "no time at all": ("config.buffer.max_age", {"config": {"buffer": {"max_age": "0s"}}}),
    "more buffer than memory": ("config.buffer.max_bytes", {"config": {"buffer": {"max_bytes": "1GiB"}}}),
    "hardly a buffer": ("config.buffer.max_bytes", {"config": {"buffer": {"max_bytes": "60kB"}}}),
    "dead before its next ping": ("connectors.0.dead_after", connector(ping_interval="10s", dead_after="5s")),
    "a window too short": ("connectors.0.latency_window", connector(latency_window="500ms")),
    "a pair of three": ("connectors.0.pairs.0", connector(pairs=["BTC-USD-EUR"])),
    "a name of the chart's": ("connectors.0.name", connector(name="consumer-books")),
    "an account shared out": (
        "connectors.0.account",
        connector(exchange="limitlex", account="main", shard="1/2") | {"accounts": ACCOUNT},
    ),
    "a setting in the environment": (
        "connectors.0.env.TICKBRIDGE_REDIS__URL",
        connector(env={"TICKBRIDGE_REDIS__URL": "redis://user:password@redis"}),
    ),
    "a label of the chart's": (
        "commonLabels.app.kubernetes.io~1name",
        {"commonLabels": {"app.kubernetes.io/name": "other"}},
    ),
    "a label that is none": ("podLabels.team", {"podLabels": {"team": "market data"}}),
    "a password behind the URL": ("redis.url", {"redis": {"url": "redis://redis:6379/0?password=geheim"}}),
    "no database": ("redis.url", {"redis": {"url": "redis://redis:6379/streams"}}),
    "Sentinels of nobody": ("redis.url", {"redis": {"url": "redis+sentinel://one:26379,two:26379"}}),
    "a closed port": ("networkPolicy.redis.ports", {"redis": {"url": "redis://redis:6380/0"}}),
    "an exchange's closed port": ("networkPolicy.exchanges.ports", connector(url="wss://gateway.example.com:8443/ws")),
    "a trial Redis that nobody gets into": (
        "redis.existingSecret.name",
        {"trialRedis": {"enabled": True, "existingSecret": {"name": "acl"}}},
    ),
    "a trial Redis larger than its container": (
        "trialRedis.maxmemory",
        {
            "redis": {"existingSecret": {"name": "redis"}},
            "trialRedis": {"enabled": True, "existingSecret": {"name": "acl"}, "maxmemory": "1gb"},
        },
    ),
    "two keepers of all books": (
        "consumers.1",
        {"consumers": [{"name": "a", "service": "books"}, {"name": "b", "service": "books", "exchange": "lmex"}]},
    ),
    "two keepers of one book": (
        "consumers.1.pairs",
        {
            "consumers": [
                {"name": "a", "service": "books", "pairs": ["lmex:BTC-USD", "ETH-USD"]},
                {"name": "b", "service": "books", "pairs": ["coinbase:BTC-USD", "lmex:ETH-USD"]},
            ]
        },
    ),
    "a tag in the repository": ("image.repository", {"image": {"repository": "registry:5000/tickbridge:1"}}),
    "a name with a dot": ("fullnameOverride", {"fullnameOverride": "feeds.prod"}),
    "a gateway without tokens": ("web.existingSecret.name", {"web": {"enabled": True}}),
    "an Ingress without names": (
        "web.ingress.hosts",
        {"web": {"enabled": True, "existingSecret": {"name": "tokens"}, "ingress": {"enabled": True}}},
    ),
    "a name with a scheme": ("web.hosts.0", {"web": {"hosts": ["https://ticks.example.com"]}}),
    "a consumer with the name of a section": (
        "consumers.0.name",
        {"candles": {"enabled": True}, "consumers": [{"name": "candles", "service": "books"}]},
    ),
    "an interval that is none": ("candles.intervals.0", {"candles": {"intervals": ["1 minute"]}}),
    "a section's misspelt value": ("parquet", {"parquet": {"enable": True}}),
    "a secret in a list of variables": (
        "extraEnv",
        {"extraEnv": [{"name": "TICKBRIDGE_REDIS__URL", "value": "redis://user:password@redis"}]},
    ),
    "a variable twice": (
        "connectors.0.env",
        connector(env={"A": "b"}) | {"extraEnv": [{"name": "A", "value": "c"}]},
    ),
    "two authorities of exchanges": ("ca", {"ca": {"secret": "a", "configMap": "b"}}),
    "settings beside a config of one's own": (
        "connectors.0.channels",
        {"connectors": [{"name": "own", "existingConfigMap": "mine", "channels": ["trades"]}]},
    ),
    "root in the context": ("podSecurityContext.runAsUser", {"podSecurityContext": {"runAsUser": 0}}),
    "a privileged container": ("securityContext.privileged", {"securityContext": {"privileged": True}}),
    "killed while it ends, one alone": (
        "connectors.0.terminationGracePeriodSeconds",
        connector(terminationGracePeriodSeconds=10),
    ),
    "nothing where a list is": ("connectors", {"connectors": None}),
    "nothing where a mapping is": ("existingSecret", {"redis": {"existingSecret": None}}),
}


@pytest.mark.parametrize("helm_name", HELMS)
@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused(helm_name, case):
    path, values = WRONG[case]
    ran = helm(helm_name, "template", "rel", str(CHART), values=values)
    assert ran.returncode != 0, ran.stdout
    # Helm 3 writes a.0.b, Helm 4 /a/0/b, and where a property is not allowed, the place that holds it and its name.
    # Within a name, Helm 4 writes / as ~1.
    said = re.sub(r"/(?=[\w'])", ".", ran.stderr)
    if helm_name == "helm3":
        path = path.replace("~1", ".")
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


def test_the_schema_is_closed():
    """What is open is open on purpose, and says so: Helm's own, and what is Kubernetes's, too large to be repeated."""
    for path, schema in objects(SCHEMA):
        assert "additionalProperties" in schema, path


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["definitions"][name]["properties"]
    return found


WORKLOAD = set(
    re.search(r'"tickbridge.ownKeys" -}}\n(.+)\n', (CHART / "templates" / "_workload.tpl").read_text())[1].split()
)
"""What the chart takes for a workload, and not for a setting."""
SECTIONS = {"retention": Retention, "buffer": BufferSettings, "heartbeat": HeartbeatSettings, "log": LogSettings}
"""The sections of the config that the chart passes on."""
NO_VALUE = {"ca_file"}
"""A file of the machine: in a pod there is none."""


def test_the_schema_knows_the_settings_of_the_config_file():
    settings = set(ConnectorSettings.model_fields)
    assert set(properties("connector")) == settings - NO_VALUE | WORKLOAD
    own = SCHEMA["properties"]["config"]["properties"]
    assert set(own) == set(Settings.model_fields) - {"redis", "connectors", "accounts", "http"}
    for section, model in SECTIONS.items():
        assert set(own[section]["properties"]) == set(model.model_fields), section
    assert SCHEMA["definitions"]["channel"]["enum"] == [one for one in CONNECTOR_CHANNELS if one in PUBLIC_CHANNELS]
    assert set(properties("connector")["silence"]["properties"]) == set(CONNECTOR_CHANNELS)
    http = SCHEMA["properties"]["http"]["properties"]
    assert set(http) == set(HttpSettings.model_fields)
    assert SCHEMA["definitions"]["exchange"]["enum"] == sorted(names())
    rules = {next(iter(rule["if"]["properties"]["exchange"].values())): rule["then"] for rule in properties_rules()}
    shared = {f"^{re.escape(prefix)}": name for prefix, name in families().items()}
    for rule, exchange in {**{name: name for name in names()}, **shared}.items():
        options = rules[rule]["properties"]["options"]["properties"]
        assert set(options) == set(exchange_type(exchange).Options.model_fields), exchange


def properties_rules() -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = SCHEMA["definitions"]["connector"]["allOf"]
    return rules


RIGHT: dict[str, dict[str, Any]] = {
    "an exchange's options": connector(exchange="binance", options={"depth": 20, "environment": "testnet"}),
    "options through CCXT": connector(exchange="ccxt.kucoin", options={"depth": 20, "params": {"book": {"limit": 5}}}),
    "an account of an exchange with a passphrase": {
        "accounts": {"main": {"exchange": "okx", "existingSecret": "okx", "credentials": {"api_passphrase": "words"}}},
        "connectors": [{"name": "okx", "exchange": "okx", "pairs": ["BTC-USDT"], "account": "main"}],
    },
    "pairs of an exchange with a hyphen": {
        "consumers": [
            {"name": "a", "service": "books", "pairs": ["binance-usdm:BTC-USDT-PERP", "ccxt.kucoin:BTC-USDT"]}
        ]
    },
    "a setting from a Secret": {
        "extraEnv": [
            {"name": "TICKBRIDGE_LOG__LEVEL", "valueFrom": {"configMapKeyRef": {"name": "log", "key": "level"}}}
        ]
    },
    "much memory": {"config": {"buffer": {"max_bytes": "1GiB"}}, "resources": {"limits": {"memory": "2G"}}},
    "numbers": {"config": {"shutdown_timeout": 20, "buffer": {"max_bytes": 70000}}},
    "a long end": {"config": {"shutdown_timeout": "1m30s"}, "terminationGracePeriodSeconds": 91},
    "Sentinels": {
        "redis": {"url": "rediss+sentinel://one:26379,two:26379/streams/0"},
        "networkPolicy": {"redis": {"ports": [6379, 26379]}},
    },
    "a Cluster": {"redis": {"url": "redis+cluster://one:6379,[fd00::1]:6379"}},
    "any port, where there is no policy": {"redis": {"url": "redis://redis:1"}, "networkPolicy": {"enabled": False}},
    "two keepers of two exchanges": {
        "consumers": [
            {"name": "a", "service": "books", "exchange": "coinbase"},
            {"name": "b", "service": "books", "exchange": "lmex"},
        ]
    },
    "two keepers of two books": {
        "consumers": [
            {"name": "a", "service": "books", "pairs": ["lmex:BTC-USD"]},
            {"name": "b", "service": "books", "pairs": ["coinbase:BTC-USD"]},
        ]
    },
    "labels": {"commonLabels": {"example.com/team": "feeds"}, "podLabels": {"sidecar.istio.io/inject": "false"}},
}


@pytest.mark.parametrize("helm_name", HELMS)
@pytest.mark.parametrize("case", RIGHT)
def test_right_values_are_taken(helm_name, case):
    ran = helm(helm_name, "template", "rel", str(CHART), values=RIGHT[case])
    assert ran.returncode == 0, ran.stderr


def test_every_value_of_the_chart_is_in_the_schema():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(values) == set(SCHEMA["properties"])
    for name in ("connector", "consumer"):
        own = WORKLOAD if name == "connector" else WORKLOAD - {"existingConfigMap", "ca"}
        assert own <= set(SCHEMA["definitions"][name]["properties"])
    shared = WORKLOAD - {"existingConfigMap", "ca", "image", "env", "redisKey"}
    for section in ("candles", "parquet", "web"):
        assert shared <= set(SCHEMA["properties"][section]["properties"])
    assert shared <= set(values), "what a workload may have, all of them may have"


def test_the_exchanges_part_of_the_schema_is_that_of_the_models():
    """And it would be noticed: a schema without an option, or with another exchange, is another text."""
    spec = importlib.util.spec_from_file_location("chart_schema", ROOT / "deploy" / "chart_schema.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.PATH.read_text()
    assert module.generated(text) == text, "python3 dev.py chart"
    for old in ('"kraken"', '"pairs_per_connection"', '"book10": {'):
        assert old in text
        changed = text.replace(old, '"other"' if old.endswith('"') else '"other": {')
        assert module.generated(changed) == text
