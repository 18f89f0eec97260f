"""The tools that check what is deployed, where CI put them or where the path has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

__all__ = ["CHART", "HELMS", "ROOT", "VERSIONS", "Rendered", "dump_all", "helm", "needs", "render", "tool"]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "tickbridge"
VERSIONS = ("1.27", "1.30", "1.34", "1.37")
"""Of Kubernetes."""


def tool(name: str) -> str | None:
    """The path of a tool; ``None`` where this machine has none."""
    return shutil.which(name, path=f"{ROOT / '.venvs' / 'tools' / 'bin'}{os.pathsep}{os.environ['PATH']}")


def needs(name: str) -> pytest.MarkDecorator:
    """Skips where a tool is missing."""
    return pytest.mark.skipif(tool(name) is None, reason=f"no {name}: bash .ci/tools static gets it")


HELMS = [pytest.param(name, marks=needs(name)) for name in ("helm3", "helm4")]


def helm(name: str, *arguments: str, values: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    """Run it; ``values`` go over the chart's own."""
    command = [tool(name) or name, *arguments]
    if values is not None:
        command += ["--values", "-"]
    text = None if values is None else yaml.safe_dump(values)
    env = {**os.environ, "GOGC": "off"}  # it ends before garbage matters: a third of its time
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60, env=env)


@cache
def _rendered(name: str, file: str, version: str) -> str:
    ran = helm(name, "template", "rel", str(CHART), "--namespace", "feeds", "--kube-version", version, "--values", file)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def render(name: str, values: dict[str, Any] | Path, version: str = "1.34") -> list[dict[str, Any]]:
    """The manifests of these values, in order."""
    if isinstance(values, Path):
        text = _rendered(name, str(values), version)
    else:
        ran = helm(name, "template", "rel", str(CHART), "--kube-version", version, values=values)
        assert ran.returncode == 0, ran.stderr
        text = ran.stdout
    return [manifest for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest]


def dump_all(manifests: list[dict[str, Any]]) -> str:
    """Several manifests in one text."""
    text: str = yaml.dump_all(manifests, Dumper=yaml.CSafeDumper)
    return text


class Rendered:
    """Rendered manifests, by what tests ask of them. What isn't there raises an error."""

    def __init__(self, manifests: list[dict[str, Any]]) -> None:
        self.manifests = manifests

    def kind(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.manifests if each["kind"] == kind]

    def named(self, kind: str, name: str) -> dict[str, Any]:
        """One manifest; an empty mapping if there is none."""
        return next((each for each in self.kind(kind) if each["metadata"]["name"] == name), {})

    def workloads(self) -> list[dict[str, Any]]:
        return self.kind("StatefulSet") + self.kind("Deployment")

    def main(self, component: str) -> dict[str, Any]:
        """The first workload of a component (``connector``, ``consumer``, ``redis``)."""
        label = "app.kubernetes.io/component"
        return next(each for each in self.workloads() if each["metadata"]["labels"][label] == component)

    def pod_specs(self, *, workloads: bool = False) -> list[dict[str, Any]]:
        """All pods' specs, that of the test included unless only ``workloads`` are wanted."""
        found = [each["spec"]["template"]["spec"] for each in self.workloads()]
        return found if workloads else [*found, *(each["spec"] for each in self.kind("Pod"))]

    def images(self) -> set[str]:
        return {container["image"] for spec in self.pod_specs() for container in spec["containers"]}

    def container(self, component: str) -> dict[str, Any]:
        found: dict[str, Any] = self.main(component)["spec"]["template"]["spec"]["containers"][0]
        return found

    def volume(self, component: str, name: str) -> dict[str, Any]:
        volumes = self.main(component)["spec"]["template"]["spec"]["volumes"]
        found: dict[str, Any] = next((each for each in volumes if each["name"] == name), {})
        return found

    def consumer_spec(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.named("Deployment", f"rel-tickbridge-consumer-{name}")["spec"]["template"]["spec"]
        return found

    def consumer(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.consumer_spec(name)["containers"][0]
        return found

    def config(self, connector: str) -> dict[str, Any]:
        text = self.named("ConfigMap", f"rel-tickbridge-{connector}")["data"]["tickbridge.yaml"]
        found: dict[str, Any] = yaml.safe_load(text)
        return found

    def policy(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.named("NetworkPolicy", f"rel-tickbridge-{name}")["spec"]
        return found

    def endpoint(self) -> dict[str, Any]:
        found: dict[str, Any] = self.kind("ServiceMonitor")[0]["spec"]["endpoints"][0]
        return found

    def runbooks(self) -> list[str]:
        groups = self.kind("PrometheusRule")[0]["spec"]["groups"]
        return [rule["annotations"]["runbook_url"] for group in groups for rule in group["rules"]]
