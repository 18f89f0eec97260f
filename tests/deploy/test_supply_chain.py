"""What the image installs: the locks are of this pyproject.toml, whole, and the bill of materials is theirs."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from bridge import __version__
from tests.environment import clean_environment

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "deploy" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lock, sbom = script("lock"), script("sbom")


def packages(name: str) -> dict[str, tuple[str, list[str]]]:
    return sbom.locked((ROOT / name).read_text())


def test_the_locks_are_of_this_pyproject():
    assert lock.main(["--check"]) == 0


def test_a_changed_dependency_makes_the_lock_stale(tmp_path, monkeypatch, capsys):
    for name in ("pyproject.toml", *lock.LOCKS):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "pyproject.toml").write_text(
        (ROOT / "pyproject.toml").read_text().replace("aiohttp>=3.10", "aiohttp>=99")
    )
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    assert lock.main(["--check"]) == 1
    assert capsys.readouterr().err.startswith(
        "requirements.lock, requirements-ccxt.lock, requirements-files.lock: made from another pyproject.toml"
    )


@pytest.mark.parametrize("name", lock.LOCKS)
def test_every_requirement_is_locked_at_a_version_that_will_do(name):
    locked = packages(name)
    for text in lock.LOCKS[name](PROJECT):
        requirement = Requirement(text)
        version, hashes = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), text
        assert hashes, text


@pytest.mark.parametrize("python", lock.PYTHONS)
def test_the_lock_is_whole(python):
    """Followed from what is installed here, no package that a Python's first release needs is missing in the lock."""
    locked, seen = packages("requirements.lock"), set()
    environment = {"extra": "", "python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    waiting = [Requirement(text) for text in lock.LOCKS["requirements.lock"](PROJECT)]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name in seen or (requirement.marker and not requirement.marker.evaluate(environment)):
            continue
        seen.add(name)
        assert name in locked
        try:
            waiting += [Requirement(text) for text in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            continue  # only another Python needs it
    assert len(seen) > 20


def test_every_package_has_wheels_for_every_python_and_machine():
    for name in lock.LOCKS:
        for package, (_, hashes) in packages(name).items():
            assert all(re.fullmatch(r"[0-9a-f]{64}", each) for each in hashes), package
            # One for all, or one each; abi3 wheels lie between.
            assert len(hashes) in range(1, len(lock.PYTHONS) * len(lock.MACHINES) + 1), package


def test_the_image_says_its_version():
    text = (ROOT / "Dockerfile").read_text()
    assert f"ARG VERSION={__version__}\n" in text
    assert "# syntax=" not in text
    assert "ARG PYTHON_IMAGE=python:3.13-slim" in text


def test_the_bill_of_materials_lists_what_is_locked():
    command = [sys.executable, str(ROOT / "deploy" / "sbom.py")]
    made = [
        subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout
        for _ in range(2)
    ]
    assert made[0] == made[1]
    bill = json.loads(made[0])
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert bill["metadata"]["component"]["version"] == __version__
    locked = packages("requirements.lock")
    assert {c["name"]: c["version"] for c in bill["components"]} == {name: each[0] for name, each in locked.items()}
    references = {each["bom-ref"] for each in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
    edges = {edge["ref"]: edge["dependsOn"] for edge in bill["dependencies"]}
    assert set(edges) == references
    assert all(set(needs) <= references for needs in edges.values())
    assert f"pkg:pypi/yarl@{locked['yarl'][0]}" in edges[f"pkg:pypi/aiohttp@{locked['aiohttp'][0]}"]
    licensed = [each for each in bill["components"] if each.get("licenses")]
    assert len(licensed) > len(locked) * 0.8


@pytest.mark.parametrize("name", [name for name in lock.LOCKS if name != "requirements-build.lock"])
def test_each_image_has_the_bill_of_its_own_lock(name):
    """Only that lock is in the build; the others are not there."""
    assert "/deploy/sbom.py ${LOCK} >" in (ROOT / "Dockerfile").read_text().replace(" deploy", " /deploy")
    command = [sys.executable, str(ROOT / "deploy" / "sbom.py"), name]
    made = subprocess.run(command, check=True, capture_output=True, text=True, env=clean_environment()).stdout
    assert {each["name"] for each in json.loads(made)["components"]} == set(packages(name))
    assert f"!{name}\n" in (ROOT / ".dockerignore").read_text()
