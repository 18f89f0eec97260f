"""The chart's examples and its services beside connectors: what they render fits together."""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import tomllib
from importlib import import_module

import pytest
import yaml

from bridge.config import load_settings
from consumers.service import Parser
from tests.deploy.tools import CHART, HELMS, Rendered, dump_all, needs, render, tool

EXAMPLES = [CHART / "values-trial.yaml", *sorted((CHART / "examples").glob("*.yaml"))]
OTHERS = ("monitoring.coreos.com/", "keda.sh/", "external-secrets.io/", "secrets-store.csi.x-k8s.io/")
"""Kinds that operators bring, of which Kubernetes has no schema."""


@needs("kubernetes-validate")
@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("helm_name", HELMS)
def test_the_examples_are_valid(helm_name, file, tmp_path):
    """Of many alike, some: the tool takes a while for each."""
    found = Rendered(render(helm_name, file))
    kinds = {each["kind"] for each in found.manifests if not each["apiVersion"].startswith(OTHERS)}
    manifests = [each for kind in sorted(kinds) for each in found.kind(kind)[:5]]
    path = tmp_path / file.name
    path.write_text(dump_all(manifests))
    command = [tool("kubernetes-validate"), "-k", "1.34", "--strict", str(path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (ran.stdout + ran.stderr).count(" passed ") == len(manifests)


@pytest.mark.parametrize("helm_name", HELMS)
def test_the_example_of_a_hundred_connectors_has_a_hundred(helm_name):
    found = render(helm_name, CHART / "examples" / "hundred-connectors.yaml")
    assert len(Rendered(found).kind("StatefulSet")) == 100
    assert len(Rendered(render(helm_name, CHART / "examples" / "ten-connectors.yaml")).kind("StatefulSet")) == 10


@pytest.mark.parametrize("helm_name", HELMS)
def test_a_trial_needs_nothing_beforehand(helm_name):
    """Every Secret, ConfigMap and claim that a pod names is among the manifests, and their contents fit together."""
    found = Rendered(render(helm_name, CHART / "values-trial.yaml"))
    text = yaml.safe_dump(found.pod_specs())
    assert set(re.findall(r"secretName: (\S+)", text)) == {"tickbridge-trial"}
    assert "persistentVolumeClaim" not in text
    [secret] = found.kind("Secret")
    data = secret["stringData"]
    keys = set(re.findall(r"key: (url|users.acl|tokens.toml)", text))
    assert keys == {"url", "users.acl", "tokens.toml"} <= data.keys()
    password = data["password"]
    assert re.fullmatch(r"[A-Za-z0-9]{32}", password)
    assert data["url"] == f"redis://trial:{password}@rel-tickbridge-redis:6379/0"
    assert found.named("Service", "rel-tickbridge-redis")
    assert f"#{hashlib.sha256(password.encode()).hexdigest()} " in data["users.acl"]
    assert tomllib.loads(data["tokens.toml"])["token"][0]["token"] == password
    assert (
        password
        != Rendered(render(helm_name, yaml.safe_load((CHART / "values-trial.yaml").read_text()))).kind("Secret")[0][
            "stringData"
        ]["password"]
    )


@pytest.mark.parametrize("helm_name", HELMS)
def test_every_policy_says_what_it_opens(helm_name):
    """The annotation names every port and block of the rules."""
    for file in [CHART / "values.yaml", *(CHART / "ci").glob("*.yaml")]:
        for policy in Rendered(render(helm_name, file)).kind("NetworkPolicy"):
            said = policy["metadata"]["annotations"]["tickbridge/opens"]
            spec = policy["spec"]
            for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
                for port in rule["ports"]:
                    number = 9108 if port["port"] == "http" else port["port"]
                    assert re.search(rf"\b({number}|http)\b", said), said
            assert "0.0.0.0/0" in said or not policy["metadata"]["name"].endswith("tickbridge-connectors")


@pytest.mark.parametrize("helm_name", HELMS)
def test_the_sections_run_the_services_that_they_name(helm_name):
    """Every argument is one that the service takes, and says what the values say."""
    found = Rendered(render(helm_name, CHART / "ci" / "services.yaml"))
    parsed = {}
    for service in ("candles", "parquet", "web"):
        container = found.consumer(service)
        assert container["command"] == ["python", "-m", f"consumers.{service}"]
        module = import_module("consumers.web.service" if service == "web" else f"consumers.{service}")
        parser = Parser(service, module.DESCRIPTION, http_port=module.HTTP_PORT)
        module.add_options(parser)
        parsed[service] = argparse.ArgumentParser.parse_args(parser, container["args"])
    assert [each.name for each in parsed["candles"].interval] == ["1m", "1h"]
    assert parsed["parquet"].keys == ["*:trades", "*:book"]
    mounted = {mount["mountPath"] for mount in found.consumer("parquet")["volumeMounts"]}
    assert str(parsed["parquet"].output) in mounted
    assert found.consumer("parquet")["image"] == "registry.example.com/tickbridge:0.1.0-files"
    service = "rel-tickbridge-consumer-web"
    assert parsed["web"].host == [service, f"{service}.feeds", f"{service}.feeds.svc", "ticks.example.com"]
    tokens = {"name": "TICKBRIDGE_WEB_TOKENS_FILE", "value": "/run/tickbridge/web/tokens.toml"}
    assert tokens in found.consumer("web")["env"]
    [ingress] = found.kind("Ingress")
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend == {"name": service, "port": {"name": found.named("Service", service)["spec"]["ports"][0]["name"]}}


@pytest.mark.parametrize("helm_name", HELMS)
def test_the_sections_are_off_by_default(helm_name):
    found = Rendered(render(helm_name, CHART / "values.yaml"))
    assert [each["metadata"]["labels"]["tickbridge/consumer"] for each in found.kind("Deployment")] == [
        "books",
        "wallets",
    ]
    assert not found.kind("Ingress") + found.kind("PersistentVolumeClaim")


@pytest.mark.parametrize("helm_name", HELMS)
def test_a_connector_with_a_standby_has_two_pods_apart_of_which_one_may_go(helm_name):
    connector = {"name": "coinbase", "exchange": "coinbase", "pairs": ["BTC-USD"]}
    alone = Rendered(render(helm_name, {"connectors": [connector]}))
    assert not alone.kind("PodDisruptionBudget")
    both = Rendered(render(helm_name, {"connectors": [{**connector, "standby": True}]}))
    [stateful] = both.kind("StatefulSet")
    assert stateful["spec"]["replicas"] == 2
    labels = stateful["spec"]["selector"]["matchLabels"]
    [budget] = both.kind("PodDisruptionBudget")
    assert budget["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    [preferred] = stateful["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ]
    assert preferred["podAffinityTerm"] == {
        "labelSelector": {"matchLabels": labels},
        "topologyKey": "kubernetes.io/hostname",
    }
    [config] = [each for each in both.kind("ConfigMap") if "tickbridge.yaml" in each["data"]]
    assert yaml.safe_load(config["data"]["tickbridge.yaml"])["connectors"][0]["standby"] is True
    own = {"nodeAffinity": {}}
    [stateful] = Rendered(render(helm_name, {"connectors": [{**connector, "standby": True, "affinity": own}]})).kind(
        "StatefulSet"
    )
    assert stateful["spec"]["template"]["spec"]["affinity"] == own


@pytest.mark.parametrize("helm_name", HELMS)
def test_redis_and_http_are_the_same_for_whatever_has_no_file_of_the_chart(helm_name, monkeypatch, tmp_path):
    """Connectors with a ConfigMap of one's own, and consumers, have them from the environment."""
    http = {"hosts": ["one.example.com", "two.example.com"], "old_metric_names": False, "pair_labels": True}
    redis = {"url": "redis://r:6379/0", "connect_timeout": "7s", "reply_timeout": "8s"}
    connector = {"name": "coinbase", "exchange": "coinbase", "pairs": ["BTC-USD"]}
    values = {"http": http, "redis": redis, "connectors": [connector]}
    config = Rendered(render(helm_name, values)).config("coinbase")
    found = Rendered(render(helm_name, values | {"connectors": [{"name": "own", "existingConfigMap": "own"}]}))
    for container in (found.container("connector"), found.consumer("books")):
        env = {each["name"]: each["value"] for each in container["env"]}
        file = tmp_path / "own.yaml"
        file.write_text(yaml.safe_dump({"connectors": [connector]}))
        own = load_settings(file, env)
        file.write_text(yaml.safe_dump(config))
        charts = load_settings(file, {})
        assert (own.http, own.redis) == (charts.http, charts.redis)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    parsed = Parser("candles", "", http_port=9111).parse_args([])
    assert parsed.http.hosts == ("one.example.com", "two.example.com")
    assert parsed.http.old_names is False
