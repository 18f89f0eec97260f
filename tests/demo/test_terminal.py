from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from bridge.embedded import ServerMissingError, find_server
from tests.demo.running import until


class Terminal:
    """A demo on a terminal of its own, of ``columns`` x ``rows`` cells."""

    def __init__(self, cwd, columns: int, rows: int, *arguments: str) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bridge", "demo", *arguments],
            cwd=cwd,
            env={**os.environ, "TERM": "xterm-256color", "TMPDIR": str(cwd)},
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def wait_for(self, pattern: str) -> None:
        until(lambda: re.search(pattern, self.text), f"{pattern} in {self.text[-3000:]!r}")

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.seen.decode(errors="replace"))

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.slave)
        self._reader.join(5)
        os.close(self.master)

    def _read(self) -> None:
        try:
            while chunk := os.read(self.master, 65536):
                self.seen += chunk
        except OSError:  # Linux's way to say that the other end is closed
            pass


@pytest.fixture
def on_terminal(tmp_path):
    try:
        find_server()
    except ServerMissingError as error:
        pytest.skip(str(error))
    terminals = []

    def start(*arguments: str, columns: int = 100, rows: int = 30) -> Terminal:
        terminals.append(Terminal(tmp_path, columns, rows, *arguments))
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


def test_the_live_view_comes_up_and_q_gives_the_terminal_back(on_terminal):
    terminal = on_terminal()
    terminal.wait_for("BTC-EUR ● valid")
    terminal.wait_for("wallets available")
    terminal.wait_for(r"ETH-EUR trades")
    terminal.type("\t")
    terminal.wait_for("LTC-EUR ● valid")
    assert b"\x1b[?1049h" in terminal.seen  # the alternate screen
    assert termios.tcgetattr(terminal.slave) != terminal.before
    terminal.type("q")
    assert terminal.process.wait(30) == 0
    terminal.wait_for("books equal to the exchange's true books: yes")
    assert terminal.seen.index(b"\x1b[?1049l") < terminal.seen.index(b"books equal")
    assert terminal.seen.rindex(b"\x1b[?25h") > terminal.seen.rindex(b"\x1b[?25l")  # the cursor is there again
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_a_second_ctrl_c_ends_at_once_and_gives_the_terminal_back(on_terminal, tmp_path):
    terminal = on_terminal()
    terminal.wait_for("BTC-EUR ● valid")
    os.kill(terminal.process.pid, 2)
    time.sleep(0.05)
    os.kill(terminal.process.pid, 2)
    begun = time.monotonic()
    assert terminal.process.wait(30) == 130
    assert time.monotonic() - begun < 2
    assert termios.tcgetattr(terminal.slave) == terminal.before
    terminal.wait_for("starting")
    assert b"\x1b[?1049l" in terminal.seen
    until(lambda: not list(tmp_path.iterdir()), "what it had begun is removed")


def test_plain_on_a_terminal_has_no_view(on_terminal):
    terminal = on_terminal("--plain", "--duration", "1")
    assert terminal.process.wait(40) == 0
    terminal.wait_for("books equal to the exchange's true books: yes")
    assert b"\x1b[?1049h" not in terminal.seen
