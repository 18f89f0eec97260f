"""The demo on a terminal, as its users see it."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tty

import pytest

from bridge.demo import guardian
from bridge.demo.embedded import ServerMissingError, find_server
from bridge.view.device import Device
from tests.demo.running import alive, until
from tests.patience import PATIENCE
from tests.terminals import Terminal

DEMO = [sys.executable, "-m", "bridge", "demo"]


@pytest.fixture
def on_terminal(tmp_path):
    try:
        find_server()
    except ServerMissingError as error:
        pytest.skip(str(error))
    terminals = []

    def start(*arguments: str, columns: int = 100, rows: int = 30, **options) -> Terminal:
        terminal = Terminal(
            [*DEMO, *arguments], cwd=tmp_path, columns=columns, rows=rows, TMPDIR=str(tmp_path), **options
        )
        terminals.append(terminal)
        return terminal

    yield start
    for terminal in terminals:
        terminal.close()


def pids(terminal: Terminal) -> list[int]:
    terminal.wait_for("to see it recover")
    return [int(pid) for pid in re.findall(r"^  pid +(\d+) ", terminal.text, re.MULTILINE)]


def test_the_live_view_comes_up_and_q_gives_the_terminal_back(on_terminal):
    terminal = on_terminal()
    terminal.wait_until_shown("BTC-EUR ● valid")
    terminal.wait_until_shown("wallets available")
    terminal.wait_until_shown(r"ETH-EUR trades")
    terminal.wait_until_shown(r"in a browser: http://127\.0\.0\.1:\d+/")
    assert b"\x1b[?1049h" in terminal.seen  # the alternate screen
    assert terminal.attributes != terminal.before
    # What the shell shares with the demo must never stop blocking.
    assert not fcntl.fcntl(terminal.follower, fcntl.F_GETFL) & os.O_NONBLOCK
    terminal.type("q")
    assert terminal.end() == 0
    assert "books equal to the exchange's true books: yes" in terminal.text
    assert terminal.seen.index(b"to start a connector again") < terminal.seen.index(b"\x1b[?1049h")
    assert terminal.seen.index(b"\x1b[?1049l") < terminal.seen.index(b"books equal")
    assert terminal.seen.rindex(b"\x1b[?25h") > terminal.seen.rindex(b"\x1b[?25l")  # the cursor is there again
    assert terminal.attributes == terminal.before


def test_keys_show_other_pairs_and_help(on_terminal):
    terminal = on_terminal("--pairs", "BTC-EUR,ETH-EUR,LTC-EUR", columns=80, rows=24)
    for keys, first in (("", "BTC"), ("\t", "ETH"), ("\x1b[C", "LTC"), ("\x1b[Z", "ETH"), ("\x1bOD", "BTC")):
        terminal.type(keys)
        terminal.wait_until_shown(rf"(?m)^╭─ limitlex {first}-EUR ● valid")
    # A sequence that comes in pieces is one key.
    for piece in ("\x1b[1", ";5", "B"):
        terminal.type(piece)
    terminal.wait_until_shown(r"(?m)^╭─ limitlex ETH-EUR ● valid")
    terminal.type("?")
    terminal.wait_until_shown("show the next pair")
    terminal.wait_until_shown("available, open")
    terminal.type("\x1b")
    terminal.wait_until_shown("wallets available")
    terminal.type("Q")
    assert terminal.end() == 0


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_a_reader_that_pauses_gets_whole_pictures_and_the_summary(on_terminal, size):
    terminal = on_terminal("--duration", "6", columns=size[0], rows=size[1], pauses=0.5)
    terminal.wait_until_shown("BTC-EUR ● valid")
    assert terminal.end() == 0
    assert "Traceback" not in terminal.text
    assert "books equal to the exchange's true books: yes" in terminal.shown
    assert terminal.attributes == terminal.before


def test_a_terminal_that_nobody_reads_holds_up_nothing(on_terminal):
    terminal = on_terminal("--duration", "5", columns=200, rows=60)
    terminal.wait_until_shown("BTC-EUR ● valid")
    with terminal.paused():
        assert terminal.process.wait(PATIENCE) == 0
    terminal.wait_for("books equal to the exchange's true books: yes")
    assert int(terminal.wait_for(r"read ([\d,]+)\r")[1].replace(",", "")) > 300
    assert terminal.attributes == terminal.before


def test_output_that_ctrl_s_has_stopped_goes_on_at_the_end(on_terminal):
    terminal = on_terminal()
    terminal.wait_until_shown("BTC-EUR ● valid")
    terminal.type("\x13")
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.end() == 0
    assert "books equal to the exchange's true books: yes" in terminal.shown


def test_it_follows_the_size_of_the_window(on_terminal):
    terminal = on_terminal(columns=80, rows=24)
    terminal.wait_until_shown("wallets available")
    terminal.resize(40, 10)
    terminal.wait_until_shown("a window of 60x16 shows more")
    terminal.resize(3, 2)
    terminal.resize(120, 40)
    terminal.wait_until_shown("ETH-EUR trades")
    terminal.until(lambda: len(terminal.lines[-1].rstrip()) > 100, "the footer is as wide as the window")
    terminal.type("q")
    assert terminal.end() == 0


def test_what_the_reader_warns_of_is_a_notice(on_terminal):
    terminal = on_terminal()
    server = int(re.search(r"pid +(\d+) +redis", terminal.wait_for(r"(?s)pid +\d+ +redis.*recover")[0])[1])
    terminal.wait_until_shown("BTC-EUR ● valid")
    os.kill(server, signal.SIGKILL)
    terminal.wait_for("Redis at redis://127.0.0.1:[0-9]+/0 is back")
    terminal.until(lambda: terminal.lines[0].startswith(" tickbridge "), "the view is where it was")
    terminal.until(lambda: "q quit" in terminal.lines[-1], "to its last row")
    terminal.type("q")
    assert terminal.end() == 0


def test_a_second_ctrl_c_ends_at_once_and_gives_the_terminal_back(on_terminal, tmp_path):
    terminal = on_terminal()
    terminal.wait_until_shown("BTC-EUR ● valid")
    # The first ends the view before the second comes: else they may be one.
    terminal.type("\x03")
    terminal.until(lambda: b"\x1b[?1049l" in terminal.seen, "the view ends")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert terminal.attributes == terminal.before
    until(lambda: not list(tmp_path.iterdir()), "what it had begun is removed")


def test_sigquit_gives_the_terminal_back_and_leaves_nothing(on_terminal, tmp_path):
    terminal = on_terminal()
    terminal.wait_until_shown("BTC-EUR ● valid")
    terminal.type("\x1c")
    assert terminal.end() == 130
    assert b"\x1b[?1049l" in terminal.seen
    assert terminal.attributes == terminal.before
    until(lambda: not list(tmp_path.iterdir()), "what it had begun is removed")


def test_a_window_that_is_closed_ends_it_all(on_terminal, tmp_path):
    terminal = on_terminal()
    parts = pids(terminal)
    terminal.wait_until_shown("BTC-EUR ● valid")
    assert list(tmp_path.glob("*/keys/*/*"))
    terminal.hang_up()
    assert terminal.process.wait(PATIENCE) == 129
    assert not any(map(alive, parts))
    assert list(tmp_path.iterdir()) == []


def test_kill_9_leaves_no_process_and_no_key(on_terminal, tmp_path):
    terminal = on_terminal()
    parts = pids(terminal)
    terminal.wait_until_shown("BTC-EUR ● valid")
    terminal.process.kill()
    until(lambda: not any(map(alive, parts)), "all parts are gone")
    until(lambda: not list(tmp_path.iterdir()), "what it had begun is removed")


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash: a shell with job control")
def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(tmp_path):
    shell = ["/bin/bash", "--norc", "--noprofile", "-i"]
    with Terminal(shell, cwd=tmp_path, columns=180, rows=40, TMPDIR=str(tmp_path), PS1="ready> ") as terminal:
        terminal.wait_until_shown("ready>")
        terminal.type(f"{' '.join(DEMO)}\n")
        terminal.wait_until_shown("BTC-EUR ● valid")
        terminal.type("\x1a")
        terminal.wait_until_shown(r"Stopped[^\n]*\n(?:.*\n)*ready>")
        assert "● valid" not in terminal.shown
        terminal.type("echo $((6 * 7))\n")
        terminal.wait_until_shown(r"(?m)^42 *$")
        terminal.type("fg\n")
        terminal.wait_until_shown("BTC-EUR ● valid")
        terminal.wait_until_shown("q quit")
        terminal.type("q")
        terminal.wait_until_shown("books equal to the exchange's true books: yes")
        terminal.wait_until_shown(r"was removed;[^>]*\nready>\s*\Z")
        terminal.type("echo ended with $?; exit\n")
        terminal.end()
        assert "ended with 0" in terminal.shown


def test_plain_on_a_terminal_has_no_view(on_terminal):
    terminal = on_terminal("--plain", "--duration", "1")
    assert terminal.end() == 0
    assert "books equal to the exchange's true books: yes" in terminal.text
    assert b"\x1b[" not in terminal.seen


def test_a_terminal_that_can_do_nothing_has_no_view(on_terminal):
    terminal = on_terminal("--duration", "1", TERM="dumb")
    assert terminal.end() == 0
    assert b"\x1b[" not in terminal.seen


def test_no_color_has_none(on_terminal):
    terminal = on_terminal("--duration", "2", NO_COLOR="1")
    assert terminal.end() == 0
    assert b"\x1b[?1049h" in terminal.seen
    styles = set(re.findall(rb"\x1b\[([0-9;]+)m", terminal.seen))
    assert styles <= {b"0", b"1"}, styles


def test_keys_come_from_the_terminal_though_standard_input_is_something_else(on_terminal):
    terminal = on_terminal(stdin=subprocess.DEVNULL)
    terminal.wait_until_shown("BTC-EUR ● valid")
    terminal.type("q")
    assert terminal.end() == 0


def test_output_into_a_pipe_has_no_view_and_leaves_the_terminal_alone(on_terminal):
    terminal = on_terminal("--duration", "1", stdout=subprocess.PIPE)
    output, _ = terminal.process.communicate(timeout=PATIENCE)
    assert terminal.process.returncode == 0
    assert b"books equal to the exchange's true books: yes" in output
    assert b"\x1b" not in output
    assert terminal.seen == b""


def test_a_killed_demo_gives_the_terminal_back(on_terminal):
    """It can do nothing itself; the process that ends its parts does it."""
    terminal = on_terminal()
    terminal.wait_until_shown("BTC-EUR ● valid")
    assert terminal.attributes != terminal.before
    terminal.process.kill()
    terminal.process.wait()
    terminal.wait_until_shown("the demo was killed; press Enter for a prompt")
    assert terminal.attributes == terminal.before
    assert terminal.seen.rindex(b"\x1b[?1049l") > terminal.seen.rindex(b"\x1b[?1049h")
    assert terminal.seen.rindex(b"\x1b[?25h") > terminal.seen.rindex(b"\x1b[?25l")


def test_modes_that_a_shell_has_set_since_are_left_alone(tmp_path):
    with Terminal(["/bin/cat"], cwd=tmp_path) as terminal:
        device = Device.open(os.ttyname(terminal.follower))
        said = []
        device.on_change = said.append
        device.enter()
        tty.setraw(terminal.follower)
        shell = terminal.attributes
        guardian.give_back(said[0])
        assert terminal.attributes == shell
        terminal.wait_for("press Enter for a prompt")
        device.leave()
        device.close()
        assert said[1:] == [""]
