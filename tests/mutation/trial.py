"""Tests in a forked child: once with coverage, to learn what they reach; then with a mutant in a module's place."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage
import pytest

from tests.mutation.mutants import ROOT, Mutant

_CACHE = ROOT / ".pytest_cache" / "mutation"
_OPTIONS = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=short"]


@dataclass(frozen=True)
class Reach:
    """What one test does when nothing is changed."""

    test: str
    seconds: float
    lines: dict[str, frozenset[int]]
    """By file below the repository."""


class HungError(Exception):
    """The child did not end in time, and was killed."""


def reach(test_file: str, sources: Sequence[str], timeout: float) -> list[Reach]:
    """What each test of this file reaches in these sources; kept until one of the files is changed.

    That it is measured is said, since it takes a while. A test that fails as it is proves nothing, and is left out; that is
    said, too, and nothing is kept.

    Raises:
        RuntimeError: the tests could not be run; the message is pytest's.
    """
    digest = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in (test_file, *sources)))
    kept = _CACHE / f"{digest.hexdigest()[:24]}.pickle"
    if kept.exists():
        return pickle.loads(kept.read_bytes())
    print(f"measuring what {test_file} reaches", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        try:
            code, output = _child(lambda: _observe(test_file, sources, found), timeout)
        except HungError:
            code, output = 2, f"{test_file} did not end within {timeout:.0f} s"
        if code not in {0, 1, 5}:
            raise RuntimeError(output)
        rows = json.loads(found.read_text())
    result = [Reach(test, took, {f: frozenset(n) for f, n in lines.items()}) for test, took, lines in rows]
    if code == 1:
        print(output, f"{test_file}: tests that fail as they are, left out", sep="\n", file=sys.stderr)
        return result
    _CACHE.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(pickle.dumps(result))
    return result


def outcome(mutant: Mutant, tests: Sequence[str], timeout: float) -> str:
    """What becomes of the mutant in these tests, in this order: ``killed``, ``survived``, or ``hung`` where they don't end."""
    try:
        code = _child(lambda: _try(mutant, tests), timeout)[0]
    except HungError:
        return "hung"
    return "survived" if code in {0, pytest.ExitCode.NO_TESTS_COLLECTED} else "killed"


def _try(mutant: Mutant, tests: Sequence[str]) -> int:
    sys.meta_path.insert(0, _Replaced(mutant))
    files = dict.fromkeys(test.split("::")[0] for test in tests)
    return pytest.main([*_OPTIONS, "-x", *files], plugins=[_Only(tests)])


def _observe(test_file: str, sources: Sequence[str], found: Path) -> int:
    measured = coverage.Coverage(data_file=None, include=[str(ROOT / name) for name in sources], config_file=False)
    watch = _Watch(measured)
    measured.start()
    code = pytest.main([*_OPTIONS, test_file], plugins=[watch])
    measured.stop()
    data = measured.get_data()
    rows = []
    for test, took in watch.seconds.items():
        if test in watch.failed:
            continue
        data.set_query_context(test)
        lines = {name: data.lines(str(ROOT / name)) or [] for name in sources}
        rows.append((test, took, {name: numbers for name, numbers in lines.items() if numbers}))
    found.write_text(json.dumps(rows))
    return code


class _Watch:
    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        self._measured.switch_context(item.nodeid)
        start = time.monotonic()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.monotonic() - start
            self._measured.switch_context("")


class _Only:
    """Runs these tests alone, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._place = {test: place for place, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self._place), key=lambda item: self._place[item.nodeid])


class _Replaced(importlib.abc.MetaPathFinder):
    """Imports the mutant in its module's place: no file is written."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if name != self._mutant.module:
            return None
        return importlib.util.spec_from_file_location(name, ROOT / self._mutant.file, loader=_Loader(self._mutant))


class _Loader(importlib.machinery.SourceFileLoader):
    def __init__(self, mutant: Mutant) -> None:
        super().__init__(mutant.module, str(ROOT / mutant.file))
        self._mutant = mutant

    def get_code(self, fullname: str) -> Any:
        return compile(self._mutant.source, self.path, "exec", dont_inherit=True)


def _child(work: Callable[[], int], timeout: float) -> tuple[int, str]:
    """Do it in a forked process with a session of its own; its exit code, and the end of what it wrote."""
    with tempfile.TemporaryFile() as output:
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            _become(work, output.fileno())
        status = _wait(pid, timeout)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # servers of tests that were cut short
        if status is None:
            os.waitpid(pid, 0)
            raise HungError
        output.seek(0)
        return os.waitstatus_to_exitcode(status), output.read().decode(errors="replace")[-4000:]


def _become(work: Callable[[], int], output: int) -> None:
    code = int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = int(work())
    except BaseException:  # noqa: BLE001 - whatever it is, nothing of the parent may run here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, timeout: float) -> int | None:
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.05)
    return None
