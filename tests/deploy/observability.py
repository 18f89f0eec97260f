"""The alert rules, the dashboard and the runbook, taken apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.unit.doc_pages import METRICS, ROOT, RUNBOOK, tables, ticked

__all__ = [
    "ALERTS",
    "ALERTS_TEST",
    "DASHBOARD",
    "ROOT",
    "RUNBOOK",
    "alerts",
    "dashboard",
    "documented",
    "expressions",
    "panels",
    "used",
]

ALERTS, ALERTS_TEST = (ROOT / "deploy" / "prometheus" / f"{name}.yml" for name in ("alerts", "alerts_test"))
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "tickbridge.json"


def alerts() -> list[dict[str, Any]]:
    """All alert rules."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """All panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[tuple[str, str]]:
    """Every query of alerts and dashboard: where it stands, and its text without Grafana's variables."""
    for rule in alerts():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            plain = re.sub(r"\$__(?:rate_interval|range)", "5m", target["expr"])
            yield panel["title"], re.sub(r"\$[a-z]+", ".*", plain)


def used() -> set[str]:
    """The samples that the queries ask for, the process's own aside."""
    return {
        name
        for _, expression in expressions()
        for name in re.findall(r"\btickbridge_[a-z_]+", re.sub(r'"[^"]*"', "", expression))
    }


def documented() -> dict[str, tuple[str, set[str]]]:
    """The tables of metrics: name → type, further labels."""
    table = [cells for cells in tables(METRICS) if len(cells) == 4]
    return {ticked(cells[0])[0]: (cells[1], set(ticked(cells[2]))) for cells in table}
