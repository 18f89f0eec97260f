"""The documentation held against the world: links lead somewhere, what is shown works."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
import redis
import yaml

from bridge.config import load_settings
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer
from tests.unit.doc_pages import CLI, DOCS, PAGES, README, ROOT, STREAMS, WALKTHROUGH, blocks, text

PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def slug(title: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@PAGE
def test_links_lead_somewhere(page):
    bare = re.sub(r"```.*?```|`[^`\n]*`", "", text(page), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", bare):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path) if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in {slug(title) for title in re.findall(r"^#+ (.+)$", text(found), re.MULTILINE)}, target


@PAGE
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:bridge|consumers|tests|benchmarks|docs)/[\w./-]+)`", text(page)):
        assert (ROOT / name).exists(), name


@PAGE
def test_python_compiles_and_its_imports_are_there(page):
    for block in blocks(page, "python"):
        if "import" in block:
            tree = ast.parse(block)
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module != "__future__":
                    module = import_module(node.module)
                    for alias in node.names:
                        assert hasattr(module, alias.name) or import_module(f"{node.module}.{alias.name}")


@PAGE
def test_yaml_is_good_config(page, tmp_path):
    for number, block in enumerate(blocks(page, "yaml")):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        load_settings(path, {"TICKBRIDGE_ACCOUNTS__MAIN__API_SECRET": "x"} if "accounts:" in block else {})


@PAGE
def test_variables_are_settings(page, tmp_path):
    """Every TICKBRIDGE_ variable that is shown with a value is accepted."""
    secret = tmp_path / "key.pem"
    secret.write_text("secret")
    path = tmp_path / "config.yaml"
    path.write_text(
        "connectors: [{name: limitlex, exchange: limitlex, pairs: [BTC-EUR]}]\n"
        "accounts: {main: {exchange: limitlex, api_key: k, api_secret: s}}\n"
    )
    for variable, value in re.findall(r"^(TICKBRIDGE_\w+)='?([^'\n]+?)'?(?: +#.*)?$", text(page), re.MULTILINE):
        load_settings(path, {variable: value.replace("/run/secrets/key.pem", str(secret))})


@PAGE
def test_commands_have_the_options_that_are_shown(page, tmp_path, monkeypatch):
    from bridge.cli.main import parse

    # Commands that name no config take that of the folder.
    (tmp_path / "tickbridge.yaml").touch()
    monkeypatch.chdir(tmp_path)
    for line in re.findall(r"^\$ tickbridge (.+)$", text(page), re.MULTILINE):
        words = re.sub(r"\s+#.*|\s*\|.*|\s*&$", "", line).replace("'", "").split()
        parse(words)


def test_the_session_example_prints_what_is_shown():
    [example] = [block for block in blocks(WALKTHROUGH, "python") if block.startswith("from bridge")]
    ran = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, check=True, cwd=ROOT, env=clean_environment()
    )
    assert ran.stdout in blocks(WALKTHROUGH, "text")


@pytest.fixture
def streams(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """The streams that the examples read, filled with the contract's own examples."""
    with redis_server.client() as client:
        for line in "".join(blocks(STREAMS, "jsonl")).splitlines():
            row: dict[str, Any] = json.loads(line)
            named, _ = row.pop("key"), row.pop("entry_id")
            client.hset("bridge:catalog", named, "{}")
            for key in (named, named.replace("coinbase", "limitlex").replace("BTC-USD", "BTC-EUR")):
                seq = client.xlen(key) + 1
                client.xadd(key, row, id=f"{1795302525000 + seq}-{seq}")
        client.hset(
            "md:{limitlex:BTC-EUR}:book:snapshot", mapping={"id": "1795302525001-1", "bids": "1:1", "asks": "2:1"}
        )
        yield client


def test_the_reader_of_the_readme_reads(redis_server, streams):
    [example] = [block for block in blocks(README, "python") if "Reader" in block]
    example = example.replace("redis://127.0.0.1:6379/0", redis_server.url)
    streams.xadd("md:{coinbase:BTC-USD}:trades", control_entry("stop"), id="1795302526000-2")
    with subprocess.Popen(
        [sys.executable, "-u", "-c", example], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment()
    ) as process:
        try:
            lines = [process.stdout.readline() for _ in range(2)]
        finally:
            process.kill()
    assert lines == ["1795302525001-1 sell 0.00769899 at 65083.66\n", "1795302526000-2 stop \n"]


def control_entry(event: str) -> dict[str, str]:
    return {"type": "control", "ts": "", "recv": "1", "event": event, "reason": "", "count": ""}


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="no redis-cli on PATH")
@pytest.mark.parametrize("block", blocks(CLI, "sh"), ids=lambda block: block.split("\n")[0][:40])
def test_the_commands_of_redis_cli_work(block, redis_server, streams, tmp_path):
    tool = tmp_path / "redis-cli"
    tool.write_text(f'#!/bin/sh\nexec {shutil.which("redis-cli")} -p {redis_server.port} "$@"\n')
    tool.chmod(0o755)
    env = clean_environment(PATH=f"{tmp_path}:{os.environ['PATH']}")
    script = block.replace("BLOCK 5000", "BLOCK 20").replace("BLOCK 1000", "BLOCK 20")
    endless = "while true" in script
    if endless:
        script = script.replace("while true", "for _ in 1 2")
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=env, timeout=PATIENCE)
    assert "ERR" not in ran.stdout, ran.stdout
    assert not ran.stderr
    assert ran.returncode == 0 or endless
    if "awk" in block and "hole before" in block:
        assert re.fullmatch(r"\d+ entries, no hole, up to seq \d+\n", ran.stdout)


@pytest.mark.skipif(shutil.which("redis-cli") is None, reason="no redis-cli on PATH")
def test_the_proof_of_completeness_sees_a_hole(redis_server, streams):
    key = "md:{limitlex:BTC-EUR}:trades"
    streams.xadd(key, control_entry("live"), id="1795302527000-9")
    [block] = [block for block in blocks(CLI, "sh") if "hole before" in block]
    script = block.replace("redis-cli", f"redis-cli -p {redis_server.port}")
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, env=clean_environment())
    assert (ran.returncode, ran.stdout) == (1, "hole before 1795302527000-9\n")


# --- the pages themselves ------------------------------------------------------------------------------------------


MOST_LINES = 400
MOST_OF_A_CELL = 260


@PAGE
def test_pages_are_short(page):
    assert text(page).count("\n") < MOST_LINES


@PAGE
def test_no_paragraph_in_a_table_cell(page):
    prose = re.sub(r"<!-- bench .*?<!-- /bench -->|```.*?```", "", text(page), flags=re.DOTALL)
    for line in prose.splitlines():
        if line.startswith("|") and page != STREAMS:  # a column for each exchange
            assert max(map(len, line.split(" | "))) <= MOST_OF_A_CELL, line


def test_the_glossary_is_in_order():
    terms = re.findall(r"^- \*\*`?(.+?)`?\*\*: ", text(DOCS / "glossary.md"), re.MULTILINE)
    assert len(terms) > 50
    assert terms == sorted(set(terms), key=str.lower)


def test_every_page_is_in_the_navigation():
    site = yaml.safe_load(text(ROOT / "mkdocs.yml"))
    shown = {page for page in re.findall(r"[\w/-]+\.md", json.dumps(site["nav"])) if (DOCS / page).exists()}
    assert shown == {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
