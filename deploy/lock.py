"""Locks what the image installs: python3 dev.py lock [--check].

Writes ``requirements.lock`` (the product with its extra ``fast``), ``requirements-ccxt.lock`` (the same with the extra
``ccxt``, whose pins are others), ``requirements-files.lock`` (with the extra ``files``, which is large) and ``requirements-build.lock`` (what builds the wheel): every package at one version, with the hashes of its wheels for each supported Python on x86-64 and ARM64 Linux.
The resolver is pip's own; nothing is downloaded but metadata. ``--check`` asks the index for nothing: it says whether
the locks were made from this ``pyproject.toml``, exit 1 if not.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["LOCKS", "PYTHONS", "fingerprint", "main"]

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
_GLIBCS = (5, 12, 17, 24, 26, 27, 28, 31, 34)


def _product(project: dict[str, Any]) -> list[str]:
    return [*project["project"]["dependencies"], *project["project"]["optional-dependencies"]["fast"]]


def _through_ccxt(project: dict[str, Any]) -> list[str]:
    return [*_product(project), *project["project"]["optional-dependencies"]["ccxt"]]


def _with_files(project: dict[str, Any]) -> list[str]:
    return [*_product(project), *project["project"]["optional-dependencies"]["files"]]


def _build(project: dict[str, Any]) -> list[str]:
    return list(project["build-system"]["requires"])


LOCKS = {
    "requirements.lock": _product,
    "requirements-ccxt.lock": _through_ccxt,
    "requirements-files.lock": _with_files,
    "requirements-build.lock": _build,
}
"""File → what it locks, out of ``pyproject.toml``."""


def fingerprint(requirements: list[str]) -> str:
    """What a lock was made from, as it stands in its head."""
    return hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()[:16]


def main(arguments: list[str] | None = None) -> int:
    """Write the locks, or check them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="lock", description="Lock what the image installs.")
    parser.add_argument("--check", action="store_true", help="only say whether the locks are of this pyproject.toml")
    options = parser.parse_args(arguments)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    stale = []
    for name, wanted in LOCKS.items():
        requirements = wanted(project)
        if not options.check:
            (ROOT / name).write_text(_lock(requirements), encoding="utf-8")
            print(f"{name}: written")
        elif f"# from {fingerprint(requirements)}\n" not in (ROOT / name).read_text(encoding="utf-8"):
            stale.append(name)
    if stale:
        print(f"{', '.join(stale)}: made from another pyproject.toml; run: python3 dev.py lock", file=sys.stderr)
    return 1 if stale else 0


def _lock(requirements: list[str]) -> str:
    versions: dict[str, str] = {}
    hashes: dict[str, set[str]] = {}
    for python, machine in itertools.product(reversed(PYTHONS), MACHINES):
        for package in _whole(requirements, versions, python, machine):
            name = canonicalize_name(package["metadata"]["name"])
            versions.setdefault(name, package["metadata"]["version"])
            hashes.setdefault(name, set()).add(package["download_info"]["archive_info"]["hashes"]["sha256"])
    lines = ["# Made by: python3 dev.py lock", f"# from {fingerprint(requirements)}"]
    lines += [_pinned(name, versions[name], hashes[name]) for name in sorted(versions)]
    return "\n".join(lines) + "\n"


def _pinned(name: str, version: str, hashes: set[str]) -> str:
    return " \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{each}" for each in sorted(hashes))])


def _whole(requirements: list[str], versions: dict[str, str], python: str, machine: str) -> list[dict[str, Any]]:
    """As `_resolved`, and what only a first release (3.11.0) needs: pip asks markers of the Python that it runs on."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
    while True:
        found = _resolved(requirements, versions, python, machine)
        names = {canonicalize_name(package["metadata"]["name"]) for package in found}
        further = [
            Requirement(text)
            for package in found
            for text in package["metadata"].get("requires_dist", ())
            if ";" in text
        ]
        missing = {
            f"{each.name}{each.specifier}"
            for each in further
            if canonicalize_name(each.name) not in names
            and each.marker
            and each.marker.evaluate({**environment, "extra": ""})
        }
        if not missing:
            return found
        requirements = [*requirements, *sorted(missing)]


def _resolved(requirements: list[str], versions: dict[str, str], python: str, machine: str) -> list[dict[str, Any]]:
    """What pip would install there, no package at another version than elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        constraints, report = Path(folder) / "constraints.txt", Path(folder) / "report.json"
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
        platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in _GLIBCS]
        platforms += [f"--platform=manylinux2014_{machine}"]
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        command += ["--only-binary=:all:", f"--python-version={python}", *platforms, "--target", f"{folder}/none"]
        command += ["--constraint", str(constraints), "--report", str(report), *requirements]
        subprocess.run(command, check=True)
        found: list[dict[str, Any]] = json.loads(report.read_text())["install"]
        return found


if __name__ == "__main__":
    sys.exit(main())
