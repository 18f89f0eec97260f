"""``tickbridge init`` and ``schema``: the first config, and the schema by which editors help with it."""

from __future__ import annotations

import contextlib
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bridge.config import Settings, load_settings
from bridge.exchanges import exchange_type, names
from tests.cli.test_main import tickbridge
from tests.environment import clean_environment
from tests.patience import PATIENCE


@pytest.fixture
def run(tmp_path):
    """The command in a folder of its own."""
    project = str(Path.cwd())

    def tickbridge_here(*arguments, **env):
        with contextlib.chdir(tmp_path):
            return tickbridge(*arguments, PYTHONPATH=project, **env)

    return tickbridge_here


def test_init_then_check_without_a_word_more(run, tmp_path):
    made = run("init")
    assert (made.returncode, made.stderr) == (0, "")
    assert "next: tickbridge check --connect; tickbridge run; in another terminal: tickbridge tail" in made.stdout
    checked = run("check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "connector   coinbase: coinbase, BTC-USD, ETH-USD\n" in checked.stdout
    assert stat.S_IMODE((tmp_path / "tickbridge.yaml").stat().st_mode) == 0o600
    first = (tmp_path / "tickbridge.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=tickbridge.schema.json"
    assert (tmp_path / "tickbridge.schema.json").read_text() == run("schema", "config").stdout


@pytest.mark.parametrize("exchange", names())
def test_every_exchange_gets_a_config_that_is_good_with_its_defaults_shown(run, tmp_path, exchange):
    assert run("init", "--exchange", exchange, "--output", "a.yaml").returncode == 0
    text = (tmp_path / "a.yaml").read_text()
    settings = load_settings(tmp_path / "a.yaml", {})
    [connector] = settings.connectors
    assert connector.pairs == exchange_type(exchange).example_pairs
    # Every '#' before a setting removed, but for those that show another way, or need a file that isn't there.
    shown = re.sub(r"^( *)#(?! )(?!url_file|accounts|  )", r"\1", text, flags=re.MULTILINE)
    (tmp_path / "b.yaml").write_text(shown)
    full = load_settings(tmp_path / "b.yaml", {})
    assert full.model_copy(update={"connectors": ()}) == settings.model_copy(update={"connectors": ()})
    assert full.connectors[0].options == connector.options
    assert set(yaml.safe_load(shown)) == set(Settings.model_fields) - {"accounts"}
    assert [line for line in text.splitlines() if len(line) > 100] == []


def test_many_pairs_are_wrapped(run, tmp_path):
    pairs = [f"COIN{number}-USD" for number in range(60)]
    assert run("init", "--output", "a.yaml", "--pairs", *pairs).returncode == 0
    assert load_settings(tmp_path / "a.yaml", {}).connectors[0].pairs == tuple(pairs)
    assert max(map(len, (tmp_path / "a.yaml").read_text().splitlines())) <= 100


def test_the_account_in_the_comments_is_a_good_one(run, tmp_path):
    run("init", "--exchange", "lmex", "--output", "a.yaml")
    text = (tmp_path / "a.yaml").read_text()
    account = "".join(line[1:] for line in text.splitlines(keepends=True) if re.match(r"#(accounts|  main|    )", line))
    (tmp_path / "lmex.secret").write_text("secret")
    (tmp_path / "b.yaml").write_text(text + account)
    with contextlib.chdir(tmp_path):
        assert load_settings(tmp_path / "b.yaml", {}).accounts["main"].credentials["api_secret"] == "secret"


def test_pairs_in_every_spelling_of_a_list(run, tmp_path):
    many = [f"A{number}-USD" for number in range(40)]
    assert run("init", "--pairs", "BTC-USD,ETH-USD", "SOL-USD", "--pairs", *many).returncode == 0
    [connector] = load_settings(tmp_path / "tickbridge.yaml", {}).connectors
    assert connector.pairs == ("BTC-USD", "ETH-USD", "SOL-USD", *many)


def test_a_pair_that_is_none_writes_nothing(run, tmp_path):
    result = run("init", "--pairs", "btcusd", "x")
    assert result.returncode == 1
    assert "--pairs: 'btcusd' is not a pair (did you mean 'BTC-USD'?)" in result.stderr
    assert "--pairs: 'x' is not a pair" in result.stderr
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays_unless_it_is_forced(run, tmp_path):
    config, schema = tmp_path / "tickbridge.yaml", tmp_path / "tickbridge.schema.json"
    config.write_text("mine")
    schema.write_text("mine too")
    refused = run("init")
    assert refused.returncode == 1
    assert "tickbridge.yaml exists, and was not changed (use --force to replace it" in refused.stderr
    assert config.read_text() == "mine"
    beside = run("init", "--output", "other.yaml")
    assert (beside.returncode, schema.read_text()) == (0, "mine too")
    assert "differs, and was kept" in beside.stdout
    assert "in another terminal: tickbridge tail --config other.yaml\n" in beside.stdout
    assert run("init", "--force").returncode == 0
    assert "mine" not in config.read_text() + schema.read_text()
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


def test_a_link_that_leads_nowhere_is_not_written_through(run, tmp_path):
    (tmp_path / "tickbridge.yaml").symlink_to(tmp_path / "elsewhere")
    assert run("init").returncode == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_is_not_there(run):
    result = run("init", "--output", "none/a.yaml")
    assert result.returncode == 1
    assert "cannot write none/" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_full_disk_is_no_matter_of_the_folder(tmp_path):
    script = f"ulimit -f 0; exec {sys.executable} -m bridge init"
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(Path.cwd())),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "tickbridge: cannot write tickbridge.schema.json: File too large; choose another place\n"
    assert not list(tmp_path.iterdir())


def test_to_stdout(run, tmp_path):
    result = run("init", "--output", "-")
    assert yaml.safe_load(result.stdout)["connectors"][0]["name"] == "coinbase"
    assert "$schema" not in result.stdout
    assert not list(tmp_path.iterdir())


def test_the_schema_is_json():
    assert json.loads(tickbridge("schema", "config").stdout)["$schema"].endswith("2020-12/schema")
