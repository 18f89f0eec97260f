"""Alerts, dashboard and runbook: valid, about metrics that there are, and complete."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import combinations

import pytest
import yaml

from tests.deploy.observability import (
    ALERTS,
    ALERTS_TEST,
    ROOT,
    RUNBOOK,
    alerts,
    dashboard,
    documented,
    expressions,
    panels,
    used,
)

SITE = yaml.safe_load((ROOT / "helm" / "tickbridge" / "Chart.yaml").read_text())["home"]
"""Where the documentation is."""
ALWAYS = {"exchange", "connector", "service", "instance", "namespace", "le"}
"""Of all series; the last but one is the Prometheus Operator's."""
BOOKS = {"tickbridge_books_invalid", "tickbridge_book_gaps_total", "tickbridge_book_resyncs_total"}
"""They have pairs, where these are labels (``http.pair_labels``), as those with channels do."""


@pytest.fixture
def promtool():
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool on this machine (Debian's package prometheus has it)")

    def run(*arguments):
        return subprocess.run([found, *arguments], check=False, capture_output=True, text=True)

    return run


def test_the_rules_are_valid(promtool):
    checked = promtool("check", "rules", str(ALERTS))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(alerts())} rules found" in checked.stdout


def test_the_rules_fire_when_they_should_and_only_then(promtool):
    tested = promtool("test", "rules", str(ALERTS_TEST))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_a_rule_that_is_wrong_would_be_noticed(promtool, tmp_path):
    """The cases can fail: with any threshold moved, at least one does."""
    shutil.copy(ALERTS_TEST, tmp_path)
    text = ALERTS.read_text()
    for old, new in (("> 0.85", "> 0.95"), ("== 0", "== 2"), ("[1h]", "[1m]"), ("for: 2m", "for: 40m")):
        assert old in text
        (tmp_path / "alerts.yml").write_text(text.replace(old, new))
        assert promtool("test", "rules", str(tmp_path / "alerts_test.yml")).returncode != 0, old


def test_every_query_of_the_dashboard_is_promql(promtool, tmp_path):
    rules = [{"record": f"query:{number}", "expr": text} for number, (_, text) in enumerate(expressions())]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked = promtool("check", "rules", str(path))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_is_tested_both_ways():
    fires, quiet = set(), set()
    for case in yaml.safe_load(ALERTS_TEST.read_text())["tests"]:
        for check in case["alert_rule_test"]:
            (fires if check["exp_alerts"] else quiet).add((check["alertname"], case["name"]))
    names = {rule["alert"] for rule in alerts()}
    assert {name for name, _ in fires} == names
    assert {name for name, case in quiet if case != "all is well"} == names
    assert {name for name, case in quiet if case == "all is well"} == names


def test_every_alert_has_its_place_in_the_runbook():
    headings = re.findall(r"^## (\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"{SITE}/how-to/runbook.html#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning"}


def test_every_metric_and_label_of_the_queries_exists():
    """And the documented metrics are the served ones: the tests of running connectors and consumers say so."""
    samples = {}
    for name, (kind, labels) in documented().items():
        for sample in [f"{name}_bucket", f"{name}_sum", f"{name}_count"] if kind == "histogram" else [name]:
            samples[sample] = labels
    assert used() <= set(samples)
    for place, text in expressions():
        names = re.findall(r"\btickbridge_[a-z_]+", re.sub(r'"[^"]*"', "", text))
        known = ALWAYS.union(*(samples[name] for name in names))
        if all("channel" in samples[name] or name in BOOKS for name in names):
            known |= {"pair"}
        grouped = [label for group in re.findall(r"by \(([^)]*)\)", text) for label in re.split(r",\s*", group)]
        matched = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", text)
        assert {*grouped, *matched} <= known, place


def test_what_an_operator_must_see_is_on_the_dashboard():
    assert used() >= {
        "tickbridge_ws_connection_up",
        "tickbridge_ws_messages_received_total",
        "tickbridge_feed_latency_seconds_bucket",
        "tickbridge_publish_latency_seconds_bucket",
        "tickbridge_consumer_lag_seconds",
        "tickbridge_group_lag_entries",
        "tickbridge_gaps_total",
        "tickbridge_book_resyncs_total",
        "tickbridge_parse_errors_total",
        "tickbridge_lost_total",
        "tickbridge_publish_queue_bytes",
        "tickbridge_redis_memory_bytes",
    }
    shown = {text for title, text in expressions() if title in {panel["title"] for panel in panels()}}
    assert len(shown) > 30


def test_the_dashboard_is_one_that_grafana_takes():
    board = dashboard()
    assert board["schemaVersion"] >= 36
    assert board["uid"] == "tickbridge"
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert list(variables) == ["datasource", "namespace", "exchange", "connector", "pair"]
    # A label that the series lack, such as the namespace without Kubernetes, must not hide them.
    assert all(
        each["allValue"] == ".*" and each["includeAll"] for name, each in variables.items() if name != "datasource"
    )
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        assert panel["type"] in {"row", "stat", "timeseries"}
        assert panel["title"]
        assert panel["description"].endswith(".")
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
    for one, two in combinations([panel["gridPos"] for panel in board["panels"]], 2):
        apart = one["x"] + one["w"] <= two["x"] or two["x"] + two["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= two["y"] or two["y"] + two["h"] <= one["y"], (one, two)
    for panel in panels():
        assert panel["targets"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert len(refs) == len(set(refs))
        for target in panel["targets"]:
            assert set(re.findall(r"\$([a-z]+)", target["expr"])) <= set(variables)
            assert set(re.findall(r"\$(__\w+)", target["expr"])) <= {"__rate_interval", "__range"}
            # What a legend names must be a label that the query leaves.
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert label in target["expr"] or label in {"connector", "instance"}, panel["title"]


def test_every_panel_asks_by_namespace_and_by_pair_where_there_is_one():
    for panel in panels():
        for target in panel["targets"]:
            assert 'namespace=~"$namespace"' in target["expr"], panel["title"]
            if re.search("|".join((*BOOKS, "channel")), target["expr"]) and "_consumer_" not in target["expr"]:
                assert 'pair=~"$pair"' in target["expr"], panel["title"]


def test_panels_lead_to_the_runbook():
    """Each alert is linked from the panel that shows what it is about."""
    page = f"{SITE}/how-to/runbook.html"
    assert [link["url"] for link in dashboard()["links"]] == [page]
    linked = {link["url"] for panel in panels() for link in panel["links"]}
    assert linked == {f"{page}#{rule['alert'].lower()}" for rule in alerts()}


def test_restarts_are_marked():
    [mark] = dashboard()["annotations"]["list"]
    assert "process_start_time_seconds" in mark["expr"]
    assert mark["useValueForTime"] is True
