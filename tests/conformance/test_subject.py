"""A subject that does not keep to the protocol is a clear message, and never holds up the run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from conformance.subject import Subject, SubjectError
from tests.demo.running import until
from tests.patience import PATIENCE

ANSWER = "import sys\nfor line in sys.stdin: "
BAD = {
    "crash": (
        "import sys; input(); print('Traceback: boom', file=sys.stderr); sys.exit(3)",
        "ended with exit code 3 instead",
    ),
    "killed": ("import os, signal; input(); os.kill(os.getpid(), signal.SIGKILL)", "was ended by SIGKILL instead"),
    "ends": ("input()", "ended with exit code 0 instead of answering"),
    "garbage": (ANSWER + "print('hello', flush=True)", "is not JSON: hello"),
    "binary": (
        ANSWER + r"sys.stdout.buffer.write(b'\xff\x00\x1b[2J\n'); sys.stdout.flush()",
        r"is not JSON: \\xff\\x00\\x1b\[2J",
    ),
    "list": (ANSWER + "print('[1]', flush=True)", r"is not an object: \[1\]"),
    "error": (ANSWER + """print('{"error":"no such stream"}', flush=True)""", "it refused .*: no such stream"),
    "no line end": ("input(); print('{}', end='')", "does not end with a line end: {}"),
    "long": (ANSWER + "print('x' * 100_000, flush=True)", "is not JSON: x{200}…$"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said(name) -> None:
    script, said = BAD[name]
    with Subject([sys.executable, "-c", script], PATIENCE) as subject, pytest.raises(SubjectError) as caught:
        subject.ask({"redis": "redis://127.0.0.1:1/0"})
    assert re.search(said, str(caught.value))
    assert "\n" not in str(caught.value)
    if name == "crash":
        assert caught.value.stderr == ["Traceback: boom"]


def test_silence_ends_with_the_timeout() -> None:
    script = "import time\nfor _ in range(10**6): time.sleep(1)"
    with (
        Subject([sys.executable, "-c", script], 0.2) as subject,
        pytest.raises(SubjectError, match=r"no answer within 0\.2 s"),
    ):
        subject.ask({"sync": {}})


def test_what_the_subject_has_started_ends_with_it(tmp_path) -> None:
    """Also if it holds the pipes open."""
    child = "import os, sys, time; print(os.getpid(), file=open(sys.argv[1], 'w'), flush=True); print('{}', flush=True); time.sleep(10**6)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, {str(tmp_path / 'pid')!r}])"
    with Subject([sys.executable, "-c", script], PATIENCE) as subject:
        assert subject.ask({}) == {}
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not _is_running(pid), "it has ended")  # a killed process may take a moment


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_lines_that_nobody_asked_for_are_seen() -> None:
    script = "input(); print('{}\\n{}\\n' * 10_000, flush=True); input()"
    with Subject([sys.executable, "-c", script], PATIENCE) as subject:
        assert subject.ask({"open": "a"}) == {}
        with pytest.raises(SubjectError, match=r"a line that nobody asked for: \{\}"):
            while True:
                subject.ask({"open": "b"})


def test_the_end_is_an_exit_with_0() -> None:
    with (
        Subject([sys.executable, "-c", "input(); raise SystemExit(4)"], PATIENCE) as subject,
        pytest.raises(SubjectError, match="after the end, it ended with exit code 4"),
    ):
        subject.end()
    with Subject([sys.executable, "-c", "input()"], PATIENCE) as subject:
        subject.end()


def test_a_subject_that_does_not_end_is_ended() -> None:
    with (
        Subject([sys.executable, "-c", "import time; time.sleep(10**6)"], 0.2) as subject,
        pytest.raises(SubjectError, match=r"did not end within 0\.2 s after the end"),
    ):
        subject.end()


def test_a_command_that_does_not_exist() -> None:
    with pytest.raises(SubjectError, match="no-such-subject cannot be started: No such file or directory"):
        Subject(["no-such-subject"], 1)
