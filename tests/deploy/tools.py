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

__all__ = ["CHART", "HELMS", "ROOT", "VERSIONS", "helm", "needs", "render", "tool"]

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
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


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
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]
