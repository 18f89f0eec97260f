"""Builds a client once per test run, in a copy of its sources."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.npm import install
from tests.unit.doc_pages import ROOT

__all__ = ["CLIENTS", "built_go", "built_typescript", "go_environment", "ran"]

CLIENTS = ROOT / "clients"
_LEAST_NODE = (20, 3)


def ran(*command: str, cwd: Path, env: dict[str, str] | None = None, check: bool = True) -> str:
    """Run a command to its end; returns its output."""
    done = subprocess.run(
        command, cwd=cwd, env=env, text=True, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=900
    )
    assert not check or done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _once(factory: pytest.TempPathFactory, name: str, build: Callable[[Path], str]) -> Path:
    """The folder of the build, which all workers of a run share; skips the test if ``build`` says why it cannot be built."""
    base = factory.getbasetemp()
    run = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder, said = run / name, run / f"{name}.said"
    with _locked(run / f"{name}.lock"):
        if not said.exists():
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(CLIENTS / name, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
            said.write_text(build(folder))
    if reason := said.read_text():
        pytest.skip(reason)
    return folder


def built_typescript(factory: pytest.TempPathFactory) -> Path:
    """The package, installed and compiled: its programs are in ``dist``."""
    return _once(factory, "typescript", _build_typescript)


def _build_typescript(folder: Path) -> str:
    if not shutil.which("node") or not shutil.which("npm"):
        return "no Node with npm on PATH"
    version = ran("node", "--version", cwd=folder).strip()
    if tuple(map(int, version.removeprefix("v").split(".")[:2])) < _LEAST_NODE:
        return f"Node {version} is too old"
    if reason := install(folder):
        return reason
    ran("npm", "run", "build", cwd=folder)
    return ""


def built_go(factory: pytest.TempPathFactory) -> Path:
    """The module, with its commands compiled into ``bin``."""
    return _once(factory, "go", _build_go)


def _build_go(folder: Path) -> str:
    if not shutil.which("go"):
        return "no Go on PATH"
    version = re.search(r"go(\d+)\.(\d+)", ran("go", "version", cwd=folder))
    if version is None or (int(version[1]), int(version[2])) < (1, 19):
        return f"Go {version[0] if version else ''} is too old"
    (folder / "bin").mkdir()
    ran("go", "build", "-o", "bin/", "./cmd/...", cwd=folder, env=go_environment())
    return ""


def go_environment() -> dict[str, str]:
    """No module is fetched: the client needs none."""
    return {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
