"""Every alert, fired by a real fault in a real Prometheus and told by a real Alertmanager, and its runbook page followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.observability import alerts
from tests.e2e.alert_faults import FAULTS, PAIRS
from tests.e2e.alert_world import World
from tests.e2e.alerting import Alerting, hurried, missing
from tests.e2e.conftest import Run
from tests.e2e.links import Link
from tests.servers import RedisServer


def test_every_alert_has_its_fault() -> None:
    named = [alert for fault in FAULTS for alert in fault.alerts]
    assert sorted(named) == sorted(rule["alert"] for rule in alerts()), "a fault in tests/e2e/alert_faults.py for each"


def test_only_times_are_hurried() -> None:
    text = 'expr: rate(x_total{kind=~"5m"}[5m] offset 1h) > 15\nfor: 30s\ngroup_wait: 10s\n'
    assert hurried(text) == (
        'expr: rate(x_total{kind=~"5m"}[10000ms] offset 120000ms) > 15\nfor: 1000ms\ngroup_wait: 333ms\n'
    )


@pytest.mark.skipif(bool(missing()), reason=missing() or "all is there")
@pytest.mark.parametrize("name", PAIRS)
def test_alerts_fire_and_end_as_the_runbook_says(name: str, run: Run, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", appendonly=True, options=("enable-debug-command yes",))
    server.start()
    try:
        with Link(server.port) as link, Alerting(tmp_path) as alerting:
            world = World(run, alerting, server, link, tmp_path, pairs=PAIRS[name])
            for fault in FAULTS:
                if fault.world == name:
                    try:
                        fault.happen(world)
                        world.well()
                    except Exception as error:
                        error.add_note(f"the fault: {fault.happen.__name__}; firing: {alerting.firing()}")
                        raise
    finally:
        server.kill()
