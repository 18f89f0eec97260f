"""The Compose stack, up with its profile ``demo`` on a real engine: what .ci/ladder has started and built."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port

__all__ = ["Stack"]

ROOT = Path(__file__).parents[3]
FILES = ["-f", "docker-compose.yml", "-f", ".ci/compose.yml"]
PROFILES = [word for name in ("demo", "candles", "parquet", "alerts") for word in ("--profile", name)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not os.environ.get("TICKBRIDGE_TEST_STACK"):
        skip = pytest.mark.skip(reason="needs a container engine and images: bash .ci/ladder starts and makes them")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)


class Stack:
    """The running stack, seen by docker, by redis-cli in its container, and by Prometheus."""

    def __init__(self, project: str, port: int) -> None:
        self._project = project
        self._port = port

    def docker(self, *words: str, check: bool = True) -> str:
        ran = subprocess.run(["docker", *words], capture_output=True, text=True, check=False, cwd=ROOT, timeout=240)
        assert ran.returncode == 0 or not check, f"docker {' '.join(words)}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout + ("" if check else ran.stderr)

    def compose(self, *words: str, check: bool = True) -> str:
        return self.docker("compose", "-p", self._project, *FILES, *PROFILES, *words, check=check)

    def rotate(self, user: str, service: str) -> None:
        """Give a Redis user another password, as an operator does."""
        command = " ".join(["docker", "compose", "-p", self._project, *FILES, *PROFILES])
        env = os.environ | {"DOCKER_COMPOSE": command}
        script = ["sh", "deploy/rotate.sh", user, service]
        ran = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT, timeout=240, env=env)
        assert ran.returncode == 0, ran.stdout + ran.stderr

    def inspect(self, service: str) -> dict[str, Any]:
        [found] = json.loads(self.docker("inspect", f"{self._project}-{service}-1"))
        assert isinstance(found, dict)
        return found

    def services(self) -> list[str]:
        return self.compose("ps", "-a", "--services").split()

    def cli(self, *words: str) -> str:
        """redis-cli in the Redis container, as the operator."""
        return self.compose("exec", "-T", "redis", "cli", "--raw", *words)

    def as_user(self, service: str, user: str, *words: str) -> str:
        """redis-cli in the Redis container, with the password that a service holds."""
        password = self.compose("exec", "-T", service, "cat", f"/run/tickbridge/secrets/{user}.password")
        run = ["exec", "-T", "-e", f"REDISCLI_AUTH={password}", "redis", "redis-cli", "--raw", "--user", user]
        return self.compose(*run, *words, check=False)

    def ids(self, key: str) -> list[str]:
        return re.findall(r"^\d{13}-\d+$", self.cli("XRANGE", key, "-", "+"), re.MULTILINE)

    def newest(self, key: str) -> dict[str, str]:
        """The newest entry's fields."""
        _, *fields = self.cli("XREVRANGE", key, "+", "-", "COUNT", "1").splitlines()
        return dict(zip(fields[::2], fields[1::2], strict=False))

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers: one result a series."""
        return self.prometheus("query?" + urllib.parse.urlencode({"query": expression}))["result"]  # type: ignore[no-any-return]

    def prometheus(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/api/v1/{path}", timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success"
        return found["data"]  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Up, with ``--wait``; down with its volumes at the end."""
    os.environ["PROMETHEUS_PORT"], os.environ["ALERTMANAGER_PORT"] = str(free_port()), str(free_port())
    running = Stack("tickbridge-ci", int(os.environ["PROMETHEUS_PORT"]))
    try:
        running.compose("up", "--detach", "--wait", "--wait-timeout", "180")
        yield running
    finally:
        sys.stdout.write(running.compose("logs", "--no-color", "--tail", "20", check=False))
        running.compose("down", "--volumes", "--timeout", "20", check=False)
