"""Runs ``tickbridge demo`` as a user would, and reads what it says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.environment import clean_environment
from tests.patience import PATIENCE

__all__ = ["RunningDemo", "alive", "shown_by_the_page", "told_to_the_page", "until"]


def until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait for a condition; its first true value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what}")


def shown_by_the_page(address: str) -> set[str]:
    """The streams of which the page at this address knows; the page itself is there, too."""
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
        assert b"<title>" in answer.read()
    with urllib.request.urlopen(f"{address}api/streams", timeout=PATIENCE) as answer:
        return {stream["key"] for stream in json.load(answer)["streams"]}


def told_to_the_page(address: str, **action: object) -> Any:
    """Have the page at this address do something to what is simulated; its answer."""
    body = json.dumps(action).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}api/simulators", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return json.load(answer)["answer"]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for (a container's init may not) doesn't."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc/self").exists()


class RunningDemo:
    """One demo, as a process, with its output so far."""

    def __init__(self, cwd: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "bridge", "demo", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env=clean_environment(**(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, name="demo output")
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stdout
        self.process.stdout.close()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait for a line of output."""
        compiled = re.compile(pattern, re.MULTILINE)
        until(lambda: compiled.search(self.output) or self.process.poll() is not None, pattern)
        found = compiled.search(self.output)
        assert found, f"{pattern!r} is not in\n{self.output}"
        return found

    def pid(self, part: str) -> int:
        """The pid of a part, as the demo prints it."""
        return int(self.wait_for(rf"^  pid +(\d+) +{part}$")[1])

    def pids(self) -> list[int]:
        self.wait_for("^to see it recover")
        return [int(pid) for pid in re.findall(r"^  pid +(\d+) ", self.output, re.MULTILINE)]

    def ask(self, path: str, **query: str) -> Any:
        """Ask the simulator's control."""
        url = self.wait_for(r"^  control +(\S+)$")[1]
        with urllib.request.urlopen(f"{url}/{path}?{urllib.parse.urlencode(query)}", timeout=PATIENCE) as answer:
            return json.load(answer)

    def tell(self, path: str, **settings: object) -> Any:
        """Pull one of the simulator's levers."""
        url = self.wait_for(r"^  control +(\S+)$")[1]
        request = urllib.request.Request(f"{url}/{path}", json.dumps(settings).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def stop(self) -> int:
        """End it now, in order, as Ctrl-C does; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Wait for the end; the exit code."""
        self.process.wait(2 * PATIENCE)  # the demo has some of its own
        self._reader.join()
        return self.process.returncode

    def counts(self) -> dict[str, int]:
        """Received, published, lost and read, as the summary has them."""
        found = self.wait_for(r"^  messages +received ([\d,+]+), published ([\d,+]+), lost ([\d,]+), read ([\d,]+)$")
        numbers = (int(text.replace(",", "").rstrip("+")) for text in found.groups())
        return dict(zip(("received", "published", "lost", "read"), numbers, strict=True))

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
