"""``tickbridge up`` as its users run it, with recordings in place of the network."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.demo.embedded import ServerMissingError, find_server
from bridge.demo.recorded import RECORDED
from bridge.errors import ConfigError
from bridge.up.markets import check_channels, parse_markets, recordings_of
from tests.demo.running import alive, shown_by_the_page, until
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer
from tests.terminals import Terminal

UP = [sys.executable, "-m", "bridge", "up"]
PAIR = ("bybit", "BTC-USDT-PERP", "--channels", "trades,book", "--replay")


@pytest.fixture(autouse=True)
def _server() -> None:
    try:
        find_server()
    except ServerMissingError as error:
        pytest.skip(str(error))


class Running:
    """One run in a pipe, with its output so far."""

    def __init__(self, path: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*UP, *arguments],
            cwd=path, env=clean_environment(TMPDIR=str(path)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self.output = ""
        self._reader = threading.Thread(target=self._read, name="output")
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line

    def wait_for(self, pattern: str) -> re.Match[str]:
        found = re.compile(pattern, re.MULTILINE)
        until(lambda: found.search(self.output) or self.process.poll() is not None, pattern)
        match = found.search(self.output)
        assert match, f"{pattern!r} is not in\n{self.output}"
        return match

    def end(self, number: int | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        self.process.wait(PATIENCE)
        self._reader.join()
        return self.process.returncode


@contextlib.contextmanager
def running(path: Path, *arguments: str) -> Iterator[Running]:
    up = Running(path, *arguments)
    try:
        yield up
    finally:
        up.process.kill()
        up.end()
        assert up.process.stdout
        up.process.stdout.close()


def pids(text: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"^  pid +(\d+) ", text, re.MULTILINE)]


def left(path: Path) -> list[str]:
    return [each.name for each in path.iterdir() if each.name.startswith("tickbridge-up-")]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_one_command_brings_streams_into_a_server_and_leaves_nothing(tmp_path, number):
    with running(tmp_path, *PAIR) as up:
        url = up.wait_for(r"^  redis +(\S+)$")[1]
        up.wait_for("bybit BTC-USDT-PERP book: live")
        up.wait_for("bybit BTC-USDT-PERP trades: live")
        up.wait_for(r"2 of 2 streams live; received [1-9]")
        page = up.wait_for(r"^  page +(\S+)$")[1]
        until(lambda: "md:{bybit:BTC-USDT-PERP}:book" in shown_by_the_page(page), "the page shows the streams")
        children = pids(up.output)
        assert len(children) == 5
        status = [sys.executable, "-m", "bridge", "status", "--redis", url]
        assert subprocess.run(status, env=clean_environment(), capture_output=True, check=False).returncode == 0
        shown = subprocess.run(
            [sys.executable, "-m", "bridge", "tail", "*:book", "--redis", url, "--from", "start", "--count", "2"],
            env=clean_environment(), capture_output=True, text=True, timeout=PATIENCE, check=True,
        )  # fmt: skip
        assert '"type":"snapshot"' in shown.stdout
        assert up.end(number) == 0
        assert not any(map(alive, children))
        assert left(tmp_path) == []


def test_on_a_terminal_it_shows_the_view_and_q_ends_all_of_it(tmp_path):
    arguments = [*UP, "bybit", "BTC-USDT-PERP", "--replay"]
    with Terminal(arguments, cwd=tmp_path, columns=100, rows=60, TMPDIR=str(tmp_path)) as terminal:
        terminal.wait_until_shown(r"bybit +BTC-USDT-PERP +trades +● live")
        children = pids(terminal.text.replace("\r", ""))
        assert len(children) == 5
        terminal.wait_until_shown(r"8 of 8 live +http://127\.0\.0\.1:\d+/ ")
        terminal.type("l")
        terminal.wait_until_shown(r"notice +in a browser: http://")
        terminal.type("\x1b")
        terminal.wait_until_shown("<> sort")
        terminal.type("\n")
        terminal.wait_until_shown("bybit BTC-USDT-PERP ● valid")
        terminal.type("q")
        assert terminal.end() == 0
        assert terminal.attributes == terminal.before
        assert terminal.seen.rindex(b"\x1b[?1049l") > terminal.seen.rindex(b"\x1b[?1049h")
        assert not any(map(alive, children))
        assert left(tmp_path) == []


def test_kill_9_leaves_no_process_no_file_and_a_usable_terminal(tmp_path):
    with Terminal([*UP, *PAIR], cwd=tmp_path, columns=100, rows=30, TMPDIR=str(tmp_path)) as terminal:
        terminal.wait_until_shown(r"bybit +BTC-USDT-PERP +trades +● live")
        children = pids(terminal.text.replace("\r", ""))
        terminal.process.kill()
        terminal.process.wait()
        terminal.wait_until_shown("tickbridge up was killed; press Enter for a prompt")
        until(lambda: not any(map(alive, children)), "all parts are gone")
        until(lambda: left(tmp_path) == [], "its directory is removed")
        assert terminal.attributes == terminal.before


def test_a_connector_that_is_killed_is_started_again(tmp_path):
    with running(tmp_path, *PAIR) as up:
        up.wait_for("bybit BTC-USDT-PERP trades: live")
        connector = int(up.wait_for(r"^  pid +(\d+) +connector$")[1])
        os.kill(connector, signal.SIGKILL)
        up.wait_for(r"connector \(pid \d+\) was killed by SIGKILL")
        up.wait_for("connector started again")
        assert up.end(signal.SIGTERM) == 0


def test_it_ends_by_itself(tmp_path):
    with running(tmp_path, *PAIR, "--duration", "1") as up:
        assert up.end() == 0
    assert left(tmp_path) == []


def test_two_exchanges(tmp_path):
    words = ("bybit", "BTC-USDT-PERP", "coinbase", "BTC-USD", "--channels", "trades", "--replay")
    with running(tmp_path, *words) as up:
        up.wait_for("bybit BTC-USDT-PERP trades: live")
        up.wait_for("coinbase BTC-USD trades: live")
        assert up.end(signal.SIGTERM) == 0


def test_a_directory_keeps_the_streams_and_they_go_on(tmp_path):
    keep = tmp_path / "kept"
    with running(tmp_path, *PAIR, "--keep", str(keep)) as up:
        up.wait_for("bybit BTC-USDT-PERP trades: live")
        other = subprocess.run(
            [*UP, *PAIR, "--keep", str(keep)], env=clean_environment(), capture_output=True, text=True, check=False
        )
        assert other.returncode == 1
        assert "is in use by another tickbridge up" in other.stderr
        url = up.wait_for(r"^  redis +(\S+)$")[1]
        first = oldest(url)
        assert up.end(signal.SIGTERM) == 0
        assert "the same command continues with them" in up.output
    with running(tmp_path, *PAIR, "--keep", str(keep)) as up:
        url = up.wait_for(r"^  redis +(\S+)$")[1]
        up.wait_for("bybit BTC-USDT-PERP trades: live")
        assert oldest(url) == first
        assert up.end(signal.SIGTERM) == 0
    (keep / "mine.txt").write_text("")
    refused = subprocess.run(
        [*UP, *PAIR, "--keep", str(keep)], env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert "has other files, such as mine.txt" in refused.stderr
    assert refused.returncode == 1


def oldest(url: str) -> str:
    """The ID of the oldest entry of the trades."""
    import redis

    with redis.Redis.from_url(url, decode_responses=True) as client:
        until(lambda: client.xlen("md:{bybit:BTC-USDT-PERP}:trades"), "there are trades")
        return str(client.xrange("md:{bybit:BTC-USDT-PERP}:trades", count=1)[0][0])


def test_an_existing_server_keeps_the_streams(redis_server: RedisServer, tmp_path):
    with running(tmp_path, *PAIR, "--redis", redis_server.url, "--namespace", "try") as up:
        up.wait_for("bybit BTC-USDT-PERP trades: live")
        assert len(pids(up.output)) == 4
        assert up.end(signal.SIGTERM) == 0
    with redis_server.client() as client:
        assert client.xlen("try:md:{bybit:BTC-USDT-PERP}:trades")


def test_a_connector_that_cannot_run_is_said_with_the_end_of_its_log(redis_server: RedisServer, tmp_path):
    with running(tmp_path, *PAIR, "--redis", redis_server.url) as up:
        up.wait_for("bybit BTC-USDT-PERP trades: live")
        with running(tmp_path, *PAIR, "--redis", redis_server.url) as second:
            assert second.end() == 1
            assert "tickbridge up's connector ended with exit code 1; its log" in second.output
            assert "is already running" in second.output
        assert up.end(signal.SIGTERM) == 0


NO_SERVER = """
import sys
from bridge.demo import embedded
from bridge.cli.main import main

def refuse(name):
    raise ImportError(name)

embedded.import_module = refuse
sys.exit(main(["up", "coinbase", "BTC-USD"]))
"""


def test_without_a_server_it_says_at_once_what_to_install(tmp_path):
    env = clean_environment(PATH=str(tmp_path), TMPDIR=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", NO_SERVER], env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 2
    assert "pip install 'tickbridge[demo]'" in done.stderr
    assert "cannot be listed" not in done.stdout
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["coinbse", "BTC-USD"], "coinbse: is not an exchange (did you mean 'coinbase'?)"),
        (["BTC-USD"], "BTC-USD: is not an exchange (the exchange comes first: EXCHANGE BTC-USD)"),
        (
            ["coinbase", "btcusd"],
            "btcusd: is neither a pair of coinbase nor another exchange (did you mean 'BTC-USD'?)",
        ),
        (["coinbase", "krakn"], "krakn: is neither a pair of coinbase nor another exchange (did you mean 'kraken'?)"),
    ],
)
def test_wrong_words_get_a_hint(words, said):
    with pytest.raises(ConfigError) as caught:
        parse_markets(words)
    assert said in str(caught.value)


def test_words_become_markets():
    assert parse_markets(["Coinbase", "btc-usd", "BTC-USD", "*-EUR", "okx", "BTC-USDT"]) == {
        "coinbase": ("BTC-USD", "*-EUR"),
        "okx": ("BTC-USDT",),
    }
    assert parse_markets(["coinbase"])["coinbase"]


def test_wrong_channels_and_recordings_get_a_hint(tmp_path):
    with pytest.raises(ConfigError, match="no channel 'trade' \\(did you mean 'trades'\\?\\)"):
        check_channels({"coinbase": ()}, ["trade"])
    with pytest.raises(ConfigError, match="coinbase has none of these \\(it has trades, "):
        check_channels({"coinbase": ()}, ["funding"])
    with pytest.raises(ConfigError, match="there is no recording of limitlex"):
        recordings_of({"limitlex": ("BTC-EUR",)}, replay=True)
    with pytest.raises(ConfigError, match="the recording does not have XYZ-USD"):
        recordings_of({"coinbase": ("XYZ-USD",)}, replay=True)
    with pytest.raises(ConfigError, match="okx is an exchange, not a file \\(put --replay behind the pairs\\)"):
        recordings_of({"coinbase": ()}, Path("okx"))
    with pytest.raises(ConfigError, match="is a recording of okx, not of coinbase"):
        recordings_of({"coinbase": ()}, RECORDED["okx"])
    with pytest.raises(ConfigError, match="one file is of one exchange"):
        recordings_of({"coinbase": (), "okx": ()}, RECORDED["okx"])
    assert recordings_of({"okx": ()}, RECORDED["okx"]) == {"okx": RECORDED["okx"]}
    assert recordings_of({"okx": ()}, replay=False) == {}
