"""What the demo draws and prints, and when nobody takes it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyte
import pytest
from rich.console import Group
from rich.text import Text

from bridge.view.output import Output, notices_from_logs
from bridge.view.painter import Painter
from tests.demo.running import until
from tests.environment import clean_environment
from tests.patience import PATIENCE


def lines_of(screen: pyte.Screen) -> list[str]:
    return [line.rstrip() for line in screen.display]


def test_only_the_rows_that_have_changed_are_drawn():
    painter, screen = Painter(), pyte.Screen(10, 3)
    stream = pyte.Stream(screen)
    stream.feed(painter.paint(Text("one\ntwo\nthree"), 10, 3))
    assert lines_of(screen) == ["one", "two", "three"]
    change = painter.paint(Text("one\nTWO\nthree"), 10, 3)
    assert "three" not in change
    stream.feed(change)
    assert lines_of(screen) == ["one", "TWO", "three"]
    assert painter.paint(Text("one\nTWO\nthree"), 10, 3) == ""
    painter.forget()
    assert "three" in painter.paint(Text("one\nTWO\nthree"), 10, 3)


def test_what_was_written_over_the_picture_goes_away():
    painter, screen = Painter(), pyte.Screen(10, 3)
    stream = pyte.Stream(screen)
    stream.feed(painter.paint(Text("one\ntwo\nthree"), 10, 3))
    stream.feed("\x1b[3;1Hwarning!\n\nmore")
    for _ in range(20):
        stream.feed(painter.paint(Text("one\ntwo\nthree"), 10, 3))
    assert lines_of(screen) == ["one", "two", "three"]


def test_a_shorter_row_leaves_nothing_of_a_longer_one():
    painter, screen = Painter(), pyte.Screen(10, 3)
    stream = pyte.Stream(screen)
    stream.feed(painter.paint(Group("a longer 1", "b"), 10, 3))
    stream.feed(painter.paint(Group("short"), 10, 3))
    assert lines_of(screen) == ["short", "", ""]


def test_texts_from_outside_do_not_steer_the_terminal():
    drawn = Painter().paint(Text("evil\x1b]0;title\x07\x1b[31m\x9b2J"), 40, 1)
    assert "evil]0;title[31m2J" in drawn
    assert "\x1b]" not in drawn
    assert "\x9b" not in drawn


async def test_nor_do_those_that_are_printed():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as stream, os.fdopen(reader, "rb") as source:
        output = Output(lambda: None, stream)
        output.say("a\x1b[31m\x07é\nb\u202e")
        await output.drain()
        assert [source.readline() for _ in range(2)] == [b"a\\x1b[31m\\x07\xc3\xa9\n", b"b\\u202e\n"]


async def test_warnings_become_notices():
    told = []
    with notices_from_logs(told.append):
        logging.getLogger("consumers.reader").warning("Redis at %s is back", "here")
        logging.getLogger("consumers.reader").info("no news")
        asyncio.get_running_loop().call_exception_handler({"message": "oh", "exception": ValueError("no")})
    logging.getLogger("consumers.reader").error("unheard")
    assert told == ["Redis at here is back", "oh: ValueError('no')"]


def test_another_size_is_drawn_from_scratch_and_nothing_scrolls():
    painter, screen = Painter(), pyte.Screen(10, 3)
    stream = pyte.Stream(screen)
    stream.feed(painter.paint(Text("\n".join("abcdefgh")), 10, 3))
    screen.resize(2, 20)
    stream.feed(painter.paint(Text("x" * 20 + "\n" + "y" * 20 + "\nz"), 20, 2))
    assert lines_of(screen) == ["x" * 20, "y" * 20]


async def test_lines_come_in_order_through_a_pipe_that_is_full_at_times():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # as another program may have left it
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as source:
        output = Output(lambda: None, stream)
        for number in range(500):
            output.say(f"{number} {'.' * 1000}")
        lines, _ = await asyncio.gather(
            asyncio.to_thread(lambda: [source.readline() for _ in range(500)]), output.drain()
        )
    assert [int(line.split()[0]) for line in lines] == list(range(500))


async def test_what_nobody_reads_is_dropped_and_counted():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream, os.fdopen(reader, "rb") as source:
        output = Output(lambda: None, stream)
        for number in range(3000):
            output.say(f"{number} {'.' * 1000}")
        lines = [await asyncio.to_thread(source.readline) for _ in range(900)]
        # Now there is room again.
        output.say("the last")
        while lines[-1] != b"the last\n":
            lines.append(await asyncio.to_thread(source.readline))
    dropped = [int(line.split()[0][1:]) for line in lines if line.startswith(b"(")]
    numbers = [int(line.split()[0]) for line in lines if line[:1].isdigit()]
    assert numbers == sorted(numbers)
    assert sum(dropped) > 1000
    assert len(numbers) + sum(dropped) == 3000


async def test_a_reader_that_is_gone_is_said_once():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        closed = asyncio.Event()
        output = Output(closed.set, stream)
        os.close(reader)
        output.say("nobody hears this")
        await closed.wait()
        assert isinstance(output.error, BrokenPipeError)
        output.say("nor this")
        await output.drain()


def full_pipe() -> tuple[int, int]:
    """A pipe into which nothing more can be written until somebody reads."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"." * 4096)
    os.set_blocking(writer, True)
    return reader, writer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_a_demo_whose_output_nobody_reads(tmp_path, number):
    reader, writer = full_pipe()
    command = [sys.executable, "-m", "bridge", "demo", "--duration", "600", "--dir", str(tmp_path / "kept")]
    env = clean_environment(TMPDIR=str(tmp_path))
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, env=env) as demo:
        os.close(writer)
        try:
            until((tmp_path / "kept" / "wallets.log").exists, "its parts are started")
            demo.send_signal(number)
            until(lambda: _ends_after_another(demo, number), "it ends")
            assert demo.returncode == 130
            assert b"Traceback" not in demo.stderr.read()
        finally:
            demo.kill()
            os.close(reader)
    until(lambda: not _working_in(tmp_path / "kept"), "its parts are gone, the one that was just being started, too")


def _working_in(directory: Path) -> list[str]:
    """The processes whose working directory it is."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == directory:
                found.append(link.parent.name)
    return found


def _ends_after_another(demo: subprocess.Popen[bytes], number: int) -> bool:
    """The first signal ends the demo in order, which takes some seconds; whatever comes then ends it at once."""
    demo.send_signal(number)
    return demo.poll() is not None


def test_a_reader_that_goes_away_at_the_very_end_is_no_error(tmp_path):
    reader, writer = full_pipe()
    command = [sys.executable, "-m", "bridge", "demo", "--duration", "1"]
    env = clean_environment(TMPDIR=str(tmp_path))
    with subprocess.Popen(command, stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, env=env) as demo:
        os.close(writer)
        until(lambda: list(tmp_path.iterdir()), "it has begun")
        until(lambda: not list(tmp_path.iterdir()), "it has only to print what it found")
        assert demo.poll() is None
        os.close(reader)
        assert demo.wait(PATIENCE) == 0
        assert demo.stderr.read() == b""


def test_without_standard_output_it_runs_all_the_same(tmp_path):
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "bridge", "demo", "--duration", "1"]
    env = clean_environment(TMPDIR=str(tmp_path))
    ran = subprocess.run(command, capture_output=True, cwd=tmp_path, env=env, timeout=PATIENCE, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_a_reader_that_goes_away_ends_the_demo_in_order(tmp_path):
    command = [sys.executable, "-m", "bridge", "demo", "--duration", "600"]
    env = clean_environment(TMPDIR=str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=env) as demo:
        assert demo.stdout.readline().startswith(b"starting")
        demo.stdout.close()
        assert demo.wait(PATIENCE) == 0
        assert demo.stderr.read() == b""
    assert list(tmp_path.iterdir()) == []
