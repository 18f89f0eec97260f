"""The Helm chart: what it renders, for every version of Helm and Kubernetes that is supported."""

from __future__ import annotations

import re
import subprocess
from copy import deepcopy
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config import load_settings
from tests.certificates import pem_for
from tests.deploy.tools import CHART, HELMS, ROOT, VERSIONS, dump_all, helm, needs, render, tool

FILES = [CHART / "values.yaml", *sorted((CHART / "ci").glob("*.yaml"))]
SHARED = ip_network("100.64.0.0/10")
"""Between a provider and its customers: not private by the book, but not public either."""
EACH_FILE = pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
EACH_HELM = pytest.mark.parametrize("helm_name", HELMS)


def pods(manifests: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for manifest in manifests:
        if manifest["kind"] in ("StatefulSet", "Deployment"):
            found.append((manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]))
        elif manifest["kind"] == "Pod":
            found.append((manifest["metadata"]["name"], manifest["spec"]))
    return found


def of_kind(manifests: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def labels(manifest: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = manifest["metadata"]["labels"]
    return found


@EACH_HELM
def test_helm_lints_it(helm_name):
    ran = helm(helm_name, "lint", "--strict", str(CHART))
    assert ran.returncode == 0, ran.stdout


@needs("kubernetes-validate")
@pytest.mark.parametrize("version", VERSIONS)
@EACH_HELM
def test_the_manifests_are_valid(helm_name, version, tmp_path):
    manifests, paths = [], []
    for file in FILES:
        rendered = render(helm_name, file, version)
        paths.append(tmp_path / file.name)
        paths[-1].write_text(dump_all(rendered))
        manifests += rendered
    command = [tool("kubernetes-validate"), "-k", version, "--strict", *map(str, paths)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    own = [manifest for manifest in manifests if not manifest["apiVersion"].startswith("monitoring.coreos.com/")]
    assert (ran.stdout + ran.stderr).count(" passed ") == len(own)


@EACH_FILE
@EACH_HELM
def test_both_helms_render_the_same(helm_name, file):
    assert sorted(map(str, render(helm_name, file))) == sorted(map(str, render("helm4", file)))


@EACH_FILE
@EACH_HELM
def test_every_pod_is_locked_down(helm_name, file):
    for name, spec in pods(render(helm_name, file)):
        assert spec["automountServiceAccountToken"] is False, name
        pod = spec["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["runAsUser"] > 0
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all("hostPath" not in volume for volume in spec.get("volumes", []))
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= container["resources"].keys()
            assert "memory" in container["resources"]["limits"]


@EACH_FILE
@EACH_HELM
def test_never_two_connectors_at_once_and_no_secret_of_its_own(helm_name, file):
    manifests = render(helm_name, file)
    given = yaml.safe_load(file.read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    values = {
        name: of | given.get(name, {}) if isinstance(of, dict) else given.get(name, of) for name, of in values.items()
    }
    sets = [
        each for each in of_kind(manifests, "StatefulSet") if labels(each)["app.kubernetes.io/component"] == "connector"
    ]
    assert [labels(each)["tickbridge/connector"] for each in sets] == [each["name"] for each in values["connectors"]]
    assert all(each["spec"]["replicas"] == 1 for each in sets)
    services = {each["metadata"]["name"]: each["spec"] for each in of_kind(manifests, "Service")}
    assert all(services[each["spec"]["serviceName"]]["clusterIP"] == "None" for each in sets)
    consumers = {labels(each)["tickbridge/consumer"]: each["spec"] for each in of_kind(manifests, "Deployment")}
    sections = [name for name in ("candles", "parquet", "web") if values[name]["enabled"]]
    assert list(consumers) == [*(each["name"] for each in values["consumers"]), *sections]
    assert all(spec["replicas"] == 1 for spec in consumers.values())
    single = {name: spec for name, spec in consumers.items() if name != "web"}
    assert all(spec["strategy"] == {"type": "Recreate"} for spec in single.values())
    assert all(port["protocol"] == "TCP" for each in services.values() for port in each["ports"])
    assert not of_kind(manifests, "Secret")
    assert not of_kind(manifests, "Role")


@EACH_FILE
@EACH_HELM
def test_probes_and_ports(helm_name, file):
    for name, spec in pods(render(helm_name, file)):
        container = spec["containers"][0]
        if container["name"] in ("connector", "consumer"):
            paths = {
                kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
            }
            assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}, name
            assert {"name": "http", "containerPort": 9108, "protocol": "TCP"} in container["ports"]
            assert spec["terminationGracePeriodSeconds"] > 10


@EACH_FILE
@EACH_HELM
def test_the_config_files_are_config_files(helm_name, file, tmp_path):
    """What stands in each ConfigMap is read by the product itself; files that Secrets bring are put in place."""
    configs = [each for each in of_kind(render(helm_name, file), "ConfigMap") if "tickbridge.yaml" in each["data"]]
    assert configs
    for config in configs:
        text = config["data"]["tickbridge.yaml"]
        for mounted in sorted(set(re.findall(r"/run/tickbridge/\S+", text))):
            here = tmp_path / mounted.replace("/", "_")
            if mounted.endswith((".crt", ".key")):
                here.write_bytes(pem_for(mounted))
            else:
                here.write_text("rediss://user:password@redis:6379/0" if mounted.endswith("/url") else "secret")
            text = text.replace(mounted, str(here))
        path = tmp_path / "tickbridge.yaml"
        path.write_text(text)
        settings = load_settings(path, {})
        assert settings.connectors[0].name == labels_of_config(config)
        assert str(settings.http.host) == "0.0.0.0"


def labels_of_config(config: dict[str, Any]) -> str:
    name: str = yaml.safe_load(config["data"]["tickbridge.yaml"])["connectors"][0]["name"]
    assert config["metadata"]["name"].endswith(f"-{name}")
    return name


@EACH_HELM
def test_a_changed_config_rolls_its_own_connector_alone(helm_name):
    values = yaml.safe_load((CHART / "ci" / "two-exchanges-account.yaml").read_text())
    changed, moved = deepcopy(values), deepcopy(values)
    changed["connectors"][1]["dead_after"] = "45s"
    moved["connectors"][1]["pairs"].append("ETH-USD")
    before, after, same = (checksums(render(helm_name, each)) for each in (values, changed, moved))
    assert {name for name in before if before[name] != after[name]} == {"rel-tickbridge-lmex"}
    assert same == before, "a running connector reads changed pairs by itself"


def checksums(manifests: list[dict[str, Any]]) -> dict[str, str]:
    return {
        each["metadata"]["name"]: each["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        for each in of_kind(manifests, "StatefulSet")
    }


REDIS_USERS = {
    "limitlex": "limitlex_connector_url",
    "lmex": "lmex_connector_url",
    "consumer-books": "consumer_url",
    "consumer-wallets": "wallets_consumer_url",
}


@EACH_HELM
def test_an_account_reaches_its_connector_alone(helm_name):
    manifests = render(helm_name, CHART / "ci" / "two-exchanges-account.yaml")
    for name, spec in pods(manifests):
        text = yaml.safe_dump(spec)
        assert ("limitlex-main" in text) == (name == "rel-tickbridge-limitlex"), name
        if "volumes" in spec and "redis" not in name:
            keys = [item["key"] for volume in spec["volumes"] for item in volume.get("secret", {}).get("items", [])]
            assert [key for key in keys if key.endswith("_url")] == [REDIS_USERS[name.removeprefix("rel-tickbridge-")]]


@EACH_HELM
def test_credentials_come_from_the_keys_that_are_named(helm_name):
    values = yaml.safe_load((CHART / "ci" / "two-exchanges-account.yaml").read_text())
    values["accounts"]["main"] |= {"apiKeyKey": "key", "credentials": {"api_passphrase": "words", "api_secret": ""}}
    manifests = render(helm_name, values)
    [config] = [each for each in of_kind(manifests, "ConfigMap") if each["metadata"]["name"].endswith("-limitlex")]
    account = yaml.safe_load(config["data"]["tickbridge.yaml"])["accounts"]["main"]
    assert account == {
        "exchange": "limitlex",
        "subaccounts": True,
        "api_key_file": "/run/tickbridge/account/api_key",
        "api_passphrase_file": "/run/tickbridge/account/api_passphrase",
    }
    [spec] = [spec for name, spec in pods(manifests) if name == "rel-tickbridge-limitlex"]
    [volume] = [volume for volume in spec["volumes"] if volume["name"] == "account"]
    assert volume["secret"]["items"] == [
        {"key": "key", "path": "api_key"},
        {"key": "words", "path": "api_passphrase"},
    ]


@EACH_FILE
@EACH_HELM
def test_only_connectors_reach_the_outside(helm_name, file):
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(render(helm_name, file), "NetworkPolicy")}
    for name, policy in policies.items():
        if name.endswith("-web"):  # beside the policy of all consumers
            assert policy["policyTypes"] == ["Ingress"]
            assert all(rule["from"] for rule in policy["ingress"])
            continue
        assert policy["policyTypes"] == ["Ingress", "Egress"]
        assert all(rule["to"] for rule in policy["egress"]), "a rule without peers is open to everywhere"
        blocks = [
            ip_network(each["ipBlock"]["cidr"]) for rule in policy["egress"] for each in rule["to"] if "ipBlock" in each
        ]
        outside = [str(block) for block in blocks if not block.is_private and block != SHARED]
        assert outside == (["0.0.0.0/0"] if name.endswith("-connectors") and "locked" not in file.stem else []), name


@EACH_HELM
def test_no_pod_is_without_a_policy(helm_name):
    for file in FILES:
        manifests = render(helm_name, file)
        chosen = [each["spec"]["podSelector"]["matchLabels"] for each in of_kind(manifests, "NetworkPolicy")]
        for manifest in manifests:
            if manifest["kind"] in ("StatefulSet", "Deployment", "Pod"):
                pod = labels(manifest["spec"].get("template", manifest))
                assert any(each.items() <= pod.items() for each in chosen), manifest["metadata"]["name"]


LONG = "a.release.with-quite-a-long-name-as-helm-allows-53-of"


@EACH_HELM
def test_no_name_is_too_long(helm_name):
    """A Service's name is a label of DNS; a StatefulSet's comes back with a hash of ten in a label of its pods."""
    values = {
        "connectors": [{"name": "c" * 20, "exchange": "lmex", "pairs": ["BTC-USD"]}],
        "consumers": [{"name": "b" * 20, "service": "books"}],
    }
    ran = helm(helm_name, "template", LONG, str(CHART), values=values)
    assert ran.returncode == 0, ran.stderr
    for manifest in filter(None, yaml.safe_load_all(ran.stdout)):
        name = manifest["metadata"]["name"]
        assert len(name) <= (52 if manifest["kind"] == "StatefulSet" else 63), name
        assert manifest["kind"] != "Service" or re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name), name


@EACH_HELM
def test_a_release_whose_name_is_no_services_is_refused(helm_name):
    ran = helm(helm_name, "template", "1st", str(CHART))
    assert "fullnameOverride" in ran.stderr
    assert helm(helm_name, "template", "1st", str(CHART), values={"fullnameOverride": "first"}).returncode == 0


@EACH_HELM
def test_monitoring_stands_behind_its_switches(helm_name):
    default = {each["kind"] for each in render(helm_name, CHART / "values.yaml")}
    assert not default & {"ServiceMonitor", "PrometheusRule"}
    all_on = render(helm_name, CHART / "ci" / "two-exchanges-account.yaml")
    [rule] = of_kind(all_on, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yml").read_text())
    [monitor] = of_kind(all_on, "ServiceMonitor")
    [components] = monitor["spec"]["selector"]["matchExpressions"]
    selected = [
        each
        for each in of_kind(all_on, "Service")
        if labels(each)["app.kubernetes.io/component"] in components["values"]
    ]
    assert len(selected) == 4
    dashboards = [each for each in of_kind(all_on, "ConfigMap") if labels(each).get("grafana_dashboard")]
    assert [each["data"]["tickbridge.json"] for each in dashboards] == [
        (CHART / "files" / "tickbridge.json").read_text()
    ]


@EACH_HELM
def test_the_helm_test_asks_everything_that_runs(helm_name):
    manifests = render(helm_name, CHART / "ci" / "two-exchanges-account.yaml")
    [pod] = of_kind(manifests, "Pod")
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    script = pod["spec"]["containers"][0]["command"][-1]
    asked = re.search(r"for name in (.+); do", script)[1].split()
    ports = {each["metadata"]["name"]: each["spec"]["ports"][0]["port"] for each in of_kind(manifests, "Service")}
    assert sorted(asked) == sorted(f"{name}:{port}" for name, port in ports.items() if not name.endswith("-redis"))


COPIES = {"alerts.yml": "deploy/prometheus/alerts.yml", "tickbridge.json": "deploy/grafana/dashboards/tickbridge.json"}


@pytest.mark.parametrize("name", COPIES)
def test_the_charts_copies_are_copies(name):
    """Helm packs no file from outside of the chart."""
    original = ROOT / COPIES[name]
    assert (CHART / "files" / name).read_text() == original.read_text(), f"cp {COPIES[name]} helm/tickbridge/files/"


def test_the_charts_version_is_the_products():
    from bridge import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__


def flat(values: Any, path: str = "") -> dict[str, Any]:
    """Every value by its path; lists and empty mappings are values."""
    if not isinstance(values, dict) or not values:
        return {path: values}
    return {
        key: value for name, inner in values.items() for key, value in flat(inner, f"{path}.{name}".lstrip(".")).items()
    }


def test_the_table_of_the_values_is_true():
    shown = {}
    for line in (CHART / "README.md").read_text().splitlines():
        if match := re.match(r"\| `([\w.]+)` \| `(.*?)` \| (.+) \|$", line):
            assert match[1] not in shown
            shown[match[1]] = yaml.safe_load(match[2])
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    expected: dict[str, Any] = {}
    for name in flat(values):
        # A small mapping may stand in one row.
        parents = [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 2)]
        row = next((each for each in parents if each in shown), name)
        part = values
        for word in row.split("."):
            part = part[word]
        expected[row] = part
    assert shown == expected


def test_the_files_exist() -> None:
    assert len(FILES) == 6
    assert all(isinstance(path, Path) for path in FILES)
