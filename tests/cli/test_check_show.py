"""What ``tickbridge check`` shows of what will be: settings and their origin, streams and their memory, as JSON too."""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path

import pytest

from bridge.check.sizes import BYTES_PER_ENTRY
from bridge.config import Settings
from bridge.config.load import load_with_origins
from bridge.config.written import effective_settings
from bridge.model import CONNECTOR_CHANNELS
from tests.cli.test_main import tickbridge
from tests.servers import free_port
from tests.unit.doc_pages import SIZING, text

GOOD = """
redis: {url: "redis://:hunter2-redis@127.0.0.1:1/0"}
connectors:
  - name: cb
    exchange: coinbase
    pairs: [BTC-USD, ETH-USD]
    channels: [trades, book]
    url: ws://127.0.0.1:1
accounts:
  main: {exchange: coinbase, api_key: hunter2-key, api_secret: hunter2-secret}
"""
PROJECT = str(Path.cwd())
PLACES = {"host": ("http", "host"), "port": ("http", "port"), "loop": ("loop",), "namespace": ("namespace",)}


def in_folder(folder, *arguments, **env):
    with contextlib.chdir(folder):
        return tickbridge(*arguments, PYTHONPATH=PROJECT, **env)


def test_show_says_where_each_setting_comes_from(config, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hunter2-file")
    path = config(GOOD.replace("api_secret: hunter2-secret", f"api_secret_file: {secret}"))
    result = tickbridge("check", "--config", path, "--show", TICKBRIDGE_LOOP="asyncio", TICKBRIDGE_LOG__LEVEL="debug")
    assert result.returncode == 0
    assert "hunter2" not in result.stdout + result.stderr
    lines = [line.split(maxsplit=2) for line in result.stdout.splitlines() if line.startswith("  ")]
    rows = {tuple(line[:2]): line[2] for line in lines if len(line) == 3}
    assert rows["redis.url", "redis://***@127.0.0.1:1/0"] == f"{path}:2"
    assert rows["connectors.0.url", "ws://127.0.0.1:1"] == f"{path}:8"
    assert rows["connectors.0.rest_url", "https://api.coinbase.com"] == "default of coinbase"
    assert rows["connectors.0.dead_after", "30s"] == "default of coinbase"
    assert rows["accounts.main.api_key", "***"] == f"{path}:10"
    assert rows["accounts.main.api_secret_file", str(secret)] == f"{path}:10"
    assert rows["accounts.main.api_secret", "***"] == f"secret file {secret}"
    assert rows["log.level", "debug"] == "TICKBRIDGE_LOG__LEVEL"
    assert rows["buffer.max_bytes", "64MiB"] == "default"


def test_every_setting_is_shown_once(config, tmp_path):
    (tmp_path / "secret").write_text("secret")
    path = config(GOOD.replace("api_secret: hunter2-secret", f"api_secret_file: {tmp_path}/secret"))
    shown = [setting.path for setting in effective_settings(load_with_origins(path, {}))]
    assert len(set(shown)) == len(shown)
    assert {name.partition(".")[0] for name in shown} == set(Settings.model_fields)


def test_a_url_of_a_file_is_said_to_be(config, tmp_path):
    (tmp_path / "url").write_text("redis://user:hunter2@h.example.com:6380/1")
    loaded = load_with_origins(config(f"redis: {{url_file: {tmp_path}/url}}"), {})
    [url] = [setting for setting in effective_settings(loaded) if setting.path == "redis.url"]
    assert (url.value, url.origin) == ("redis://***@h.example.com:6380/1", f"secret file {tmp_path}/url")


def test_a_variable_that_gives_a_section_gives_no_more_than_what_is_in_it(config):
    path = config("http: {port: 9200}\nloop: auto\nnamespace: a")
    loaded = load_with_origins(path, {"TICKBRIDGE_HTTP": "{host: localhost}", "TICKBRIDGE_LOOP": "asyncio"})
    where = {name: (loaded.variable(place), loaded.origin(place)) for name, place in PLACES.items()}
    assert where == {
        "host": ("TICKBRIDGE_HTTP", "TICKBRIDGE_HTTP"),
        "port": ("", ""),
        "loop": ("TICKBRIDGE_LOOP", "TICKBRIDGE_LOOP"),
        "namespace": ("", f"{path}:3"),
    }
    assert loaded.settings.http.port == Settings().http.port


def test_json_has_all_of_it_and_numbers_as_text(config):
    result = tickbridge("check", "--config", config(GOOD), "--json")
    assert (result.returncode, result.stderr) == (0, "")
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert report["estimated_bytes"] == str(2 * (414 * 200_000 + 90 * 1_000_000))
    assert report["streams"][1] == {
        "key": "md:{coinbase:BTC-USD}:trades",
        "connector": "cb",
        "channel": "trades",
        "max_entries": "1000000",
        "max_age": "24h",
        "estimated_bytes": "90000000",
    }
    assert {"path": "loop", "value": "auto", "origin": "default"} in report["settings"]
    assert "hunter2" not in result.stdout


def test_json_of_mistakes(config):
    result = tickbridge("check", "--config", config("redis: {ulr: x}\nloop: fast"), "--json")
    report = json.loads(result.stdout)
    assert (result.returncode, report["ok"]) == (1, False)
    assert {mistake["path"] for mistake in report["mistakes"]} == {"redis.ulr", "loop"}
    assert "did you mean 'url'?" in result.stderr


def test_json_of_attempts(config, redis_server):
    port = free_port()
    text = f"""
        redis: {{url: "{redis_server.url}"}}
        connectors: [{{name: cb, exchange: coinbase, pairs: [BTC-USD], url: "ws://127.0.0.1:{port}",
          rest_url: "http://127.0.0.1:{port}"}}]
    """
    result = tickbridge("check", "--config", config(text), "--json", "--connect")
    report = json.loads(result.stdout)
    assert (result.returncode, report["ok"]) == (2, False)
    assert [(one["kind"], one["ok"]) for one in report["attempts"]] == [("redis", True), ("connector", False)]


def test_many_streams_are_cut_short_unless_all_are_asked_for(config):
    pairs = ", ".join(f"A{number}-USD" for number in range(10))
    path = config(f"connectors: [{{name: cb, exchange: coinbase, pairs: [{pairs}]}}]")
    short, full = (tickbridge("check", "--config", path, *more).stdout for more in ([], ["--show"]))
    assert "streams     40, at most about 2.1 GB" in short
    assert "and 28 more; --show lists them all" in short
    assert (short.count("md:{"), full.count("md:{")) == (12, 40)


def test_what_is_not_installed_is_said_by_check_too(config, tmp_path):
    """In a Python that can't import them: ``uvloop`` and ``picows`` are names of broken modules there."""
    for name in ("uvloop", "picows"):
        (tmp_path / f"{name}.py").write_text("raise ImportError\n")
    path = config(GOOD.replace("url: ws://127.0.0.1:1", "transport: picows") + "loop: uvloop\n")
    result = tickbridge("check", "--config", path, PYTHONPATH=f"{tmp_path}{os.pathsep}{PROJECT}")
    assert result.returncode == 1
    assert "loop: uvloop is not installed" in result.stderr
    assert "connectors.cb.transport: picows is not installed" in result.stderr


def test_the_config_of_the_present_directory(config, tmp_path):
    path = config(GOOD)
    assert in_folder(tmp_path, "check").stdout.startswith("config      tickbridge.yaml\n")
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text())
    named = in_folder(tmp_path, "check", TICKBRIDGE_CONFIG=str(other))
    assert named.stdout.startswith(f"config      {other}\n")
    assert in_folder(tmp_path, "check", "--config", "none.yaml").returncode == 1
    path.write_text("redis: {ulr: x}")
    for command in (["run"], ["record", "--out", "x.jsonl"], ["acl"], ["tail"]):
        result = in_folder(tmp_path, *command)
        assert result.returncode == 1
        assert "tickbridge.yaml: 1 mistake\n  redis.ulr: unknown key" in result.stderr


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.mkdir(), "is a directory (name the file in it)"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
    ],
)
def test_a_default_config_that_is_none(tmp_path, make, message):
    make(tmp_path / "tickbridge.yaml")
    result = in_folder(tmp_path, "check")
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_the_bytes_per_entry_are_those_of_the_documentation():
    assert set(BYTES_PER_ENTRY) == set(CONNECTOR_CHANNELS)
    lines = [line.strip("| ").split(" | ") for line in text(SIZING).splitlines() if line.startswith("|")]
    rows = [line for line in lines if len(line) == 2]
    for channel, size in BYTES_PER_ENTRY.items():
        own = [figures for name, figures in rows if channel in re.split(r"\W+", name)]
        assert any(re.search(rf"\b{size}\b", figures) for figures in own), channel
