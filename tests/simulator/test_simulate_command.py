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

COMMAND = [sys.executable, "-m", "bridge.cli.simulate"]


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command running, and what it printed until it was ready."""
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
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
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


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
        assert process.wait(timeout=10) == 0


def test_written_config_is_a_valid_one(tmp_path: Path) -> None:
    config = tmp_path / "limitlex.yaml"
    with started("limitlex", "--port", "0", "--write-config", str(config)):
        pass
    from bridge.config import load_settings

    settings = load_settings(config)
    assert [connector.name for connector in settings.connectors] == ["limitlex"]


def test_ctrl_c_ends_it() -> None:
    with started("limitlex", "--port", "0") as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0


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
        (["limitex", "--port", "0"], "known: limitlex"),
        (["limitlex"], "--port"),
        (["limitlex", "--port", "70000"], "0 to 65535"),
        (["limitlex", "--port", "0", "--pairs", "BTC"], "BASE-QUOTE"),
        (["limitlex", "--port", "0", "--fault", "cut:evry=2"], "did you mean every?"),
        (["limitlex", "--port", "0", "--fault", "cut:pair=XRP-EUR"], "known: BTC-EUR"),
        (["limitlex", "--port", "0", "--rate", "-1"], "negative"),
        (["limitlex", "--port", "0", "--activity", "2"], "0 to 1"),
        (["limitlex", "--port", "0", "--account", "a/b"], "letters, digits"),
    ],
)
def test_mistakes_are_exit_1(arguments: list[str], said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


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
