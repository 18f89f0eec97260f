from __future__ import annotations

import fcntl
import os
import sys
import threading
import time

import pytest

from bridge.process.output import LineQueue, QueuedText, dropped_lines, queued_output


class Pipe:
    """A pipe with a queue before it; ``said`` is what was noted of dropped lines."""

    def __init__(self, **options):
        self.read_end, self.write_end = os.pipe()
        self.said: list[int] = []
        self.queue = LineQueue(self.write_end, self.said.append, **options)

    def read(self, until: bytes) -> bytes:
        """Everything up to ``until``."""
        data = b""
        while not data.endswith(until):
            data += os.read(self.read_end, 1 << 20)
        return data


@pytest.fixture
def pipe():
    made = Pipe(most=200_000)
    yield made
    made.queue.close()


def wait_for(look):
    deadline = time.monotonic() + 30
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def numbered(first: int, last: int) -> list[bytes]:
    return [b"%06d %s\n" % (number, b"x" * 90) for number in range(first, last)]


def test_lines_come_out_whole_and_in_order(pipe):
    lines = numbered(0, 1000)
    for line in lines:
        pipe.queue.put(line)
    assert pipe.read(lines[-1]) == b"".join(lines)
    assert pipe.queue.drain()
    assert pipe.queue.dropped == 0


def test_nobody_reads_and_then_somebody_does(pipe):
    lines = numbered(0, 10_000)
    for line in lines:
        pipe.queue.put(line)  # does not return if it waits for the reader
    assert not pipe.queue.drain(0.05, 0.2), "the reader is stuck"
    assert 0 < pipe.queue.dropped < len(lines)
    found: list[bytes] = []
    while len(found) + pipe.queue.dropped < len(lines):
        found += pipe.read(b"\n").splitlines(keepends=True)
    assert found == sorted(set(found) & set(lines)), "whole, in order, none twice"
    assert found[:500] == lines[:500], "the oldest are kept"
    wait_for(lambda: sum(pipe.said) == pipe.queue.dropped)
    assert len(pipe.said) <= 2, "once while lines are still being dropped, perhaps, and once at the end"
    pipe.queue.put(b"goes on\n")
    assert pipe.read(b"\n") == b"goes on\n"


def test_a_descriptor_that_does_not_wait(pipe):
    """Another program on the same terminal, or an event loop, has set it so."""
    fcntl.fcntl(pipe.write_end, fcntl.F_SETFL, os.O_NONBLOCK)
    lines = [b"%03d %s\n" % (number, b"y" * 9_000) for number in range(20)]
    for line in lines:
        pipe.queue.put(line)
    assert pipe.read(lines[-1]) == b"".join(lines)


def test_a_reader_that_has_gone(pipe):
    os.close(pipe.read_end)
    for line in numbered(0, 10):
        pipe.queue.put(line)
    wait_for(lambda: pipe.queue.gone)
    assert pipe.queue.trouble == "Broken pipe"
    assert not pipe.queue.drain(), "which does not wait for it"
    assert pipe.queue.dropped > 0


def test_a_full_disk():
    said: list[int] = []
    queue = LineQueue(os.open("/dev/full", os.O_WRONLY), said.append)
    queue.put(b"lost\n")
    wait_for(lambda: queue.trouble)
    assert (queue.trouble, queue.dropped, queue.gone) == ("No space left on device", 1, False)
    assert not queue.drain()


def test_the_disk_has_room_again(tmp_path, monkeypatch):
    """A line that came out in part is ended before the next one."""
    monkeypatch.setattr("bridge.process.output._PAUSE", 0.0)
    said: list[int] = []
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    room = [3]
    real = os.write

    def write(fd, data):
        if fd != descriptor:
            return real(fd, data)
        if not room[0]:
            raise OSError(28, "No space left on device")
        taken = real(fd, data[: room[0]])
        room[0] -= taken
        return taken

    monkeypatch.setattr(os, "write", write)
    queue = LineQueue(descriptor, said.append)
    queue.put(b"first\n")
    wait_for(lambda: queue.dropped == 1)
    room[0] = 1 << 20
    queue.put(b"second\n")
    wait_for(lambda: said)
    assert (tmp_path / "log").read_bytes() == b"fir\nsecond\n"
    assert said == [1]


def test_print_in_pieces_is_one_line(pipe):
    with os.fdopen(pipe.write_end, "w", encoding="utf-8", closefd=False) as stream:
        text = QueuedText(pipe.queue, stream)
        threads = [
            threading.Thread(target=lambda n=n: [print(n, "ü", "\ud800", file=text) for _ in range(50)])
            for n in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print("prompt", end="", file=text, flush=True)
        found = pipe.read(b"prompt").decode()
        assert sorted(set(found.splitlines())) == ["0 ü \\ud800", "1 ü \\ud800", "prompt"]
        assert not text.isatty()
        assert text.fileno() == pipe.write_end


def test_the_standard_streams_are_put_back(capfd):
    before = sys.stdout, sys.stderr
    with queued_output():
        assert isinstance(sys.stdout, QueuedText)
        with queued_output():  # a command within a command
            sys.stdout.write("out\n")
        sys.stderr.write("err\n")
        assert dropped_lines() == {"stdout": 0, "stderr": 0}
    assert (sys.stdout, sys.stderr) == before
    assert capfd.readouterr() == ("out\n", "err\n")
    assert dropped_lines() == {}
