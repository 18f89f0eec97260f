"""What users of common charts write: each value renders, and does what it says; without it, it isn't so."""

from __future__ import annotations

from functools import cache

import pytest
import yaml

from tests.deploy.tools import CHART, HELMS, Rendered, helm, render
from tests.deploy.usual_values import TOLERATION, USUAL, Check, first


def holds(check: Check, found: Rendered) -> bool:
    """A value that isn't there at all is not as it should be either."""
    try:
        return bool(check(found))
    except (KeyError, IndexError, TypeError, StopIteration):
        return False


@cache
def default(helm_name: str) -> Rendered:
    return Rendered(render(helm_name, CHART / "values.yaml"))


@pytest.mark.parametrize("helm_name", HELMS)
@pytest.mark.parametrize("name", USUAL)
def test_a_usual_value_does_what_it_says(helm_name, name):
    values, check = USUAL[name]
    assert holds(check, Rendered(render(helm_name, values)))
    assert not holds(check, default(helm_name)), "so it is without the value, too"


def test_the_list_is_long_enough():
    assert len(USUAL) >= 55


@pytest.mark.parametrize("helm_name", HELMS)
def test_an_items_own_values_go_before_the_charts(helm_name):
    """Single values are replaced, mappings of names are merged, lists of further things are joined."""
    own = {"tolerations": [], "podLabels": {"a": "own"}, "revisionHistoryLimit": 0, "resources": {}}
    own |= {"extraVolumes": [{"name": "two", "emptyDir": {}}], "livenessProbe": {"periodSeconds": 7}}
    values = first(**own) | {
        "tolerations": [TOLERATION],
        "podLabels": {"a": "chart", "b": "chart"},
        "extraVolumes": [{"name": "one", "emptyDir": {}}],
        "livenessProbe": {"timeoutSeconds": 9},
    }
    found = Rendered(render(helm_name, values))
    connector, spec = found.main("connector"), found.main("connector")["spec"]["template"]["spec"]
    assert "tolerations" not in spec
    assert connector["spec"]["revisionHistoryLimit"] == 0
    labels = connector["spec"]["template"]["metadata"]["labels"]
    assert (labels["a"], labels["b"]) == ("own", "chart")
    assert [volume["name"] for volume in spec["volumes"]][-2:] == ["one", "two"]
    probe = spec["containers"][0]["livenessProbe"]
    assert (probe["periodSeconds"], probe["timeoutSeconds"], probe["failureThreshold"]) == (7, 9, 3)
    assert spec["containers"][0]["resources"] == {}
    assert found.pod_specs(workloads=True)[-1].get("tolerations") in (None, [TOLERATION])


@pytest.mark.parametrize("helm_name", HELMS)
def test_pods_are_spread_by_the_selector_that_is_given(helm_name):
    """As it is, not as an addition to the chart's."""
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    own = {"labelSelector": {"matchLabels": {"app.kubernetes.io/instance": "rel"}}}
    found = Rendered(render(helm_name, {"topologySpreadConstraints": [spread | own, spread]}))
    for component in ("connector", "consumer"):
        given, without = found.main(component)["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert given == spread | own
        labels = without["labelSelector"]["matchLabels"]
        assert without == spread | {"labelSelector": {"matchLabels": labels}}
        assert labels["app.kubernetes.io/component"] == component


@pytest.mark.parametrize("helm_name", HELMS)
def test_openshift_is_recognised(helm_name):
    """It gives pods their user and groups, and refuses those that have others."""
    command = ["template", "rel", str(CHART), "--api-versions", "security.openshift.io/v1"]
    ran = helm(helm_name, *command)
    specs = Rendered([each for each in yaml.safe_load_all(ran.stdout) if each]).pod_specs()
    assert specs
    for spec in specs:
        assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    off = helm(helm_name, *command, "--set", "global.compatibility.openshift.adaptSecurityContext=disabled")
    assert "runAsUser: 10001" in off.stdout
