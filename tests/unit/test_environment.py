"""Processes under test run as users run them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.environment import clean_environment

TESTS = Path(__file__).parents[1]
FILES = [path for path in TESTS.rglob("*.py") if "deploy" not in path.parts or path.name == "test_supply_chain.py"]
STARTS = {
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    *(f"subprocess.{name}" for name in ("Popen", "call", "check_call", "check_output", "run")),
}


def starts_without_environment(source: str) -> Iterator[int]:
    """The lines where a process is started that inherits the environment of the test run."""
    for node in ast.walk(ast.parse(source)):
        is_start = isinstance(node, ast.Call) and ast.unparse(node.func) in STARTS
        if is_start and all(keyword.arg != "env" for keyword in node.keywords):
            yield node.lineno


def test_no_process_under_test_inherits_the_environment_of_the_test_run():
    """Tools that check what is deployed are no processes under test."""
    assert list(starts_without_environment("subprocess.run(['a'])")) == [1]
    found = [
        f"{path.relative_to(TESTS)}:{line}" for path in FILES for line in starts_without_environment(path.read_text())
    ]
    assert found == []


def test_a_process_under_test_sees_what_a_users_shell_has(monkeypatch: pytest.MonkeyPatch):
    for name in ("PYTHONUNBUFFERED", "PYTHONASYNCIODEBUG", "TICKBRIDGE_NAMESPACE", "HTTPS_PROXY", "NO_COLOR"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LANG", "C")
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    env = clean_environment(HOME="", EXTRA="yes")
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    seen = json.loads(ran.stdout)
    seen = {name: value for name, value in seen.items() if not name.startswith("COVERAGE_")}
    assert set(seen) - {"PATH", "TMPDIR", "LC_CTYPE"} == {"LANG", "TERM", "COLORTERM", "SSL_CERT_FILE", "EXTRA"}
    assert seen["LANG"] == "C.UTF-8"
