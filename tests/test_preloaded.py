"""A start from loaded libraries is a start like any other."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.preloaded import ROOT, Started, run, start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks only where that is known to work")

SEEN = """
import json, os, signal, sys
print(json.dumps({
    "environment": dict(os.environ), "folder": os.getcwd(), "program": sys.argv[0], "arguments": sys.argv[1:], "name": __name__,
    "path": sys.path, "signals": [str(signal.getsignal(number)) for number in (2, 15, 17)], "group": os.getpgrp(),
    "files": sorted(os.listdir("/proc/self/fd"))[:-1], "buffered": sys.stdout.line_buffering,
    "ours": sorted(name for name in sys.modules if name.split(".")[0] in ("bridge", "consumers")),
}))
sys.stderr.write("an error\\n")
sys.exit(7)
"""


def by_fork(folder: Path, *words: str, **env: str) -> tuple[Started | subprocess.Popen[bytes], Path]:
    log = folder / "log"
    with log.open("wb") as output:
        return start(*words, output=output, env=clean_environment(**env)), log


@pytest.mark.parametrize("env", [{"ODD": "yes"}, {"PYTHONPATH": str(ROOT)}], ids=" ".join)
def test_it_is_what_a_process_of_its_own_is(env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "seen.py").write_text(SEEN)
    monkeypatch.chdir(tmp_path)
    words = ["seen", "--of", "two words"]
    forked = run(*words, env=clean_environment(**env))
    own = subprocess.run(
        [sys.executable, "-m", *words], env=clean_environment(**env), capture_output=True, text=True, check=False
    )
    assert (forked.returncode, forked.stderr) == (own.returncode, own.stderr) == (7, "an error\n")
    there, here = json.loads(forked.stdout), json.loads(own.stdout)
    for seen in (there, here):
        seen["environment"].pop("LC_CTYPE", None)  # Python sets it for its children
        seen["path"] = list(dict.fromkeys(seen["path"]))
    assert there == here
    assert there["arguments"] == ["--of", "two words"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signals_end_it(number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "waiting.py").write_text("import signal\nsignal.pause()\n")
    monkeypatch.chdir(tmp_path)
    process, _ = by_fork(tmp_path, "waiting")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0)
    process.send_signal(number)
    assert process.wait(PATIENCE) == -number
    process.kill()  # long gone


def test_what_counts_at_a_start_leads_to_one(tmp_path: Path):
    process, log = by_fork(tmp_path, "bridge", "--version", PYTHONDEVMODE="1")
    assert isinstance(process, subprocess.Popen)
    assert process.wait(PATIENCE) == 0
    assert "tickbridge" in log.read_text()
