"""Node, the page's packages, and a headless Chromium that shows the page."""

from __future__ import annotations

import fcntl
import functools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

from tests.environment import clean_environment
from tests.npm import install, npm_environment
from tests.patience import PATIENCE

__all__ = ["WEB", "Browser", "node", "skip_without_chromium", "skip_without_packages"]

WEB = Path(__file__).parents[2] / "web"
_OLDEST_NODE = 20
_INSTALL = 600.0
"""Seconds after which npm is taken for hung."""


def node(*command: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the page's tools in its folder; the output is in ``stdout``."""
    return subprocess.run(
        command,
        cwd=WEB,
        env=npm_environment(CI="true", NO_COLOR="1", **extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_INSTALL,
        check=False,
    )


@functools.cache
def _missing_packages() -> str:
    """Why the page's packages are not here; empty when they are. They are installed if they can be."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "no node and npm on PATH"
    version = node("node", "--version").stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < _OLDEST_NODE:
        return f"node {version} is older than {_OLDEST_NODE}"
    installed = WEB / "node_modules" / ".package-lock.json"
    # Another worker may be installing them.
    with (WEB / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.stat().st_mtime < (WEB / "package-lock.json").stat().st_mtime:
            if reason := install(WEB):
                return reason
            installed.touch()
    return ""


def skip_without_packages() -> None:
    """Skip the test, with the reason, where the page's packages are not to be had."""
    if reason := _missing_packages():
        pytest.skip(reason)


def skip_without_chromium() -> str:
    """The path of Chromium; where there is none, the test is skipped with the reason."""
    skip_without_packages()
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium on PATH")
    return path


class Browser:
    """A Chromium, driven by ``web/browser/driver.mjs``: each method waits for its answer."""

    def __init__(self, chromium: str, log: Path) -> None:
        self._log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                ["node", "browser/driver.mjs", chromium],
                cwd=WEB,
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def do(self, action: str, **settings: Any) -> Any:
        """One of the driver's actions; its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"action": action, **settings}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            msg = f"the browser has ended: {self._log.read_text()}"
            raise AssertionError(msg)
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["answer"]

    def texts(self, selector: str) -> list[str]:
        """The visible text of each element."""
        found: list[str] = self.do("texts", selector=selector)
        return found

    def titles(self, selector: str) -> list[str]:
        """The ``title`` of each element."""
        found: list[str] = self.do("titles", selector=selector)
        return found
