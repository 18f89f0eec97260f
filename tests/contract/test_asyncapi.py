"""The AsyncAPI document of the streams, read by AsyncAPI's own parser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bridge.contract.asyncapi import asyncapi
from bridge.contract.streams import types_of
from bridge.model import Channel
from tests.npm import install, npm_environment
from tests.patience import PATIENCE

SOURCES = Path(__file__).parent / "asyncapi"
_WARNING = 1
"""The parser's severities: 0 an error, 1 a warning, 2 a remark, 3 a hint."""


@pytest.fixture(scope="module")
def parser(tmp_path_factory) -> Path:
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("no Node.js with npm on this machine")
    folder = tmp_path_factory.mktemp("asyncapi")
    for name in ("package.json", "package-lock.json", "parse.mjs"):
        shutil.copy(SOURCES / name, folder)
    if reason := install(folder):
        pytest.skip(reason)
    return folder


def parse(parser: Path, document: dict[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        ["node", "parse.mjs"],
        cwd=parser,
        env=npm_environment(),
        input=json.dumps(document),
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_is_valid(parser):
    found = parse(parser, asyncapi())
    assert [one for one in found["diagnostics"] if one["severity"] <= _WARNING] == []
    assert found["channels"] == {str(channel): types_of(channel) for channel in Channel}


def test_the_parser_would_find_a_mistake(parser):
    document = asyncapi()
    del document["info"]["version"]
    assert [one for one in parse(parser, document)["diagnostics"] if one["severity"] == 0]
