"""``tickbridge simulate`` as a process."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from tests.environment import clean_environment
from tests.patience import PATIENCE

COMMAND = [sys.executable, "-m", "bridge.cli.simulate"]


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command running, and what it printed until it was ready."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path.cwd(),
        env=clean_environment(),
    )
    assert process.stdout is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ready"):
                break
        yield process, "".join(lines)
    finally:
        process.kill()
        process.communicate()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False, env=clean_environment()
    )


def test_start_config_and_end(tmp_path: Path) -> None:
    config = tmp_path / "conf" / "limitlex.yaml"
    config.parent.mkdir()
    options = ["--port", "0", "--pairs", "btc-eur,XRP-EUR", "--seed", "5", "--account", "desk:a", "--rate", "500"]
    with started("limitlex", *options, "--write-config", str(config), "--redis-url", "redis://127.0.0.1:7000/1") as (
        process,
        output,
    ):
        control = re.search(r"control +(\S+)", output)
        assert control is not None
        with urlopen(control.group(1) + "/state") as answer:
            state = json.load(answer)
        assert (state["seed"], list(state["pairs"]), state["rate"]) == (5, ["BTC-EUR", "XRP-EUR"], 500)
        written = yaml.safe_load(config.read_text())
        assert written["redis"] == {"url": "redis://127.0.0.1:7000/1"}
        (connector,) = written["connectors"]
        assert connector["url"] in output
        assert connector["rest_url"] in output
        assert {k: connector[k] for k in ("name", "exchange", "pairs", "channels", "account")} == {
            "name": "limitlex",
            "exchange": "limitlex",
            "pairs": ["BTC-EUR", "XRP-EUR"],
            "channels": ["trades", "book", "quotes", "ticker"],
            "account": "desk",
        }
        account = written["accounts"]["desk"]
        assert account["subaccounts"] is True
        assert account["api_key"] in output
        secret = Path(account["api_secret_file"])
        assert secret.is_absolute()
        assert secret.stat().st_mode & 0o777 == 0o600
        assert "PRIVATE KEY" in secret.read_text()
        assert "PRIVATE KEY" not in output
        for pair_id in state["pairs"].values():
            assert pair_id in output

        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0


def test_written_config_is_a_valid_one(tmp_path: Path) -> None:
    config = tmp_path / "limitlex.yaml"
    with started("limitlex", "--port", "0", "--write-config", str(config)):
        pass
    from bridge.config.load import load_with_origins

    loaded = load_with_origins(config)
    assert [connector.name for connector in loaded.settings.connectors] == ["limitlex"]
    assert not list(loaded.exposed()), "others can read what was written"
    assert config.stat().st_mode & 0o077 == 0


def test_lmex(tmp_path: Path) -> None:
    config = tmp_path / "lmex.yaml"
    options = ["--pairs", "btc-usd,BTC-PERP", "--session-lifetime", "60", "--write-config", str(config), "--paused"]
    with started("lmex", "--port", "0", *options, "--account", "desk") as (process, output):
        written = yaml.safe_load(config.read_text())
        port = re.search(r"websocket +ws://127.0.0.1:(\d+)\n", output)
        assert port is not None
        (connector,) = written["connectors"]
        assert connector == {
            "name": "lmex",
            "exchange": "lmex",
            "pairs": ["BTC-USD", "BTC-PERP"],
            "channels": ["trades", "book", "quotes", "ticker"],
            "account": "desk",
            "url": f"ws://127.0.0.1:{port[1]}",
            "rest_url": f"http://127.0.0.1:{port[1]}",
        }
        account = written["accounts"]["desk"]
        secret = Path(account.pop("api_secret_file"))
        assert account.keys() == {"exchange", "api_key"}
        assert (secret.name, secret.stat().st_mode & 0o777) == ("lmex.desk.secret", 0o600)
        assert re.fullmatch(r"[0-9a-f]{60}", secret.read_text())
        assert secret.read_text() not in output
        assert re.search(r"pair +BTC-PERP +BTCPFC\n", output)
        with urlopen(f"{connector['rest_url']}/futures/api/v2.3/market_summary") as answer:
            assert [row["symbol"] for row in json.load(answer)] == ["BTC-PERP"]
        order = {"account": "desk", "pair": "BTC-PERP", "side": "buy", "size": "3"}
        with urlopen(f"{connector['rest_url']}/sim/order", data=json.dumps(order).encode()) as answer:
            assert json.load(answer)["status"] == "filled"
        with urlopen(f"{connector['rest_url']}/sim/account?account=desk") as answer:
            assert [row["size"] for row in json.load(answer)["positions"]] == ["3"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0


def test_a_clock_that_is_wrong() -> None:
    with started("lmex", "--port", "0", "--clock-offset", "-90.5") as (_, output):
        control = re.search(r"control +(\S+)", output)
        assert control is not None
        with urlopen(control[1].removesuffix("/sim") + "/spot/api/v3.2/time") as answer:
            assert -110 < json.load(answer)["epoch"] - time.time() < -89
    assert "'inf' is not a number" in run("lmex", "--port", "0", "--clock-offset", "inf").stderr


def test_trade_ids_go_on_after_a_restart() -> None:
    """Where they are part of the protocol: a connector would take used ones for repeats."""
    newest = []
    for _ in range(2):
        with started("lmex", "--port", "0", "--paused", "--pairs", "BTC-USD") as (_, output):
            control = re.search(r"control +(\S+)", output)
            assert control is not None
            with urlopen(control.group(1) + "/trades?pair=BTC-USD") as answer:
                trades = json.load(answer)["trades"]
            newest.append((trades[0]["id"], trades[-1]["id"], len(trades)))
    (_, last, _), (first, _, _) = newest
    assert first > last


def test_ctrl_c_ends_it() -> None:
    with started("limitlex", "--port", "0") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE) == 0


def test_same_seed_same_keys_in_a_directory(tmp_path: Path) -> None:
    with started("limitlex", "--port", "0", "--key-dir", str(tmp_path)) as (_, first):
        made = (tmp_path / "main.pem").read_bytes()
    with started("limitlex", "--port", "0", "--key-dir", str(tmp_path)) as (_, second):
        assert (tmp_path / "main.pem").read_bytes() == made
    api_key = re.compile(r"api key (\S+),")
    assert api_key.findall(first) == api_key.findall(second)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["limitex", "--port", "0"], "did you mean 'limitlex'?"),
        (["lmex", "--port", "0", "--hello-wallets"], "--hello-wallets: is an option of limitlex only"),
        (["limitlex", "--port", "0", "--idle-close", "5"], "--idle-close: is an option of lmex only"),
        (["lmex", "--port", "0", "--private-topics", "fils"], "known: allPosition, "),
        (["lmex", "--port", "0", "--account", "main:savings"], "no sub-accounts"),
        (["limitlex", "--port", "0", "--fault", "gap"], "no numbered books"),
        (["limitlex"], "--port is missing\nusage: tickbridge simulate EXCHANGE --port N [OPTION ...]\n"),
        (["limitlex", "--port", "0", "--rate", "x"], "tickbridge simulate: argument --rate: 'x' is not a number\n"),
        (["limitlex", "--port", "70000"], "out of range: a port is 0 (any free one) to 65535"),
        (["limitlex", "--port", "0", "--pairs", "BTC"], "BASE-QUOTE"),
        (["limitlex", "--port", "0", "--fault", "cut:evry=2"], "did you mean every?"),
        (["limitlex", "--port", "0", "--fault", "cut:pair=XRP-EUR"], "known: BTC-EUR"),
        (["limitlex", "--port", "0", "--rate", "-1"], "negative"),
        (["limitlex", "--port", "0", "--tls", "--host", "my_host"], "no name for a certificate"),
        (["limitlex", "--port", "0", "--activity", "2"], "0 to 1"),
        (["limitlex", "--port", "0", "--account", "a/b"], "letters, digits"),
    ],
)
def test_mistakes_are_exit_1(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_value_is_one_line() -> None:
    done = run("lmex", "--port", "70000")
    assert done.stderr == (
        "tickbridge simulate: argument --port: 70000 is out of range: a port is 0 (any free one) to 65535\n"
    )


def test_help_shows_the_options_of_the_exchange_that_is_named() -> None:
    every, limitlex, lmex = (run(*words, "--help").stdout for words in ([], ["limitlex"], ["lmex"]))
    for text, own, other in [(limitlex, "--hello-wallets", "--idle-close"), (lmex, "--idle-close", "--hello-wallets")]:
        assert own in every
        assert own in text
        assert other not in text
    assert ("lmex only:" in limitlex, "limitlex only:" in limitlex) == (False, True)
    assert ("refuse_login" in limitlex, "refuse_login" in lmex) == (False, True)


def test_port_in_use_is_exit_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("limitlex", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--write-config", "--key-dir", "--tls-dir"])
def test_what_cannot_be_written_is_exit_2(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    done = run("limitlex", "--port", "0", option, str(tmp_path / "file" / "x"))
    assert done.returncode == 2
    assert f"cannot use {tmp_path / 'file'}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("rate", ["5000", "1"], ids=["while it runs", "at the end"])
def test_a_journal_on_a_full_disk_ends_it_with_2(rate: str) -> None:
    with started("limitlex", "--port", "0", "--rate", rate, "--journal", "/dev/full") as (process, _):
        if rate == "1":
            process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert said == "tickbridge: cannot write /dev/full: No space left on device; choose another place\n"


def test_a_config_on_a_full_disk_is_named(tmp_path: Path) -> None:
    done = run("limitlex", "--port", "0", "--key-dir", str(tmp_path), "--write-config", "/dev/full")
    assert (done.returncode, "cannot use /dev/full: No space left" in done.stderr) == (2, True), done.stderr


def test_faults_from_the_command_line() -> None:
    with started("limitlex", "--port", "0", "--fault", "refuse:duration=60", "--fault", "cut:every=60") as (_, output):
        control = re.search(r"control +(\S+)", output)
        assert control is not None
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with urlopen(control.group(1) + "/state") as answer:
                active = json.load(answer)["faults_active"]
            if active == ["cut", "refuse"]:
                break
        assert active == ["cut", "refuse"]
