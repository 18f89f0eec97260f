"""A fault plan follows from seed, duration and kinds alone, and can be printed."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest

from bridge.chaos.faults import ACTIONS
from bridge.chaos.plan import KINDS, SHAPES, checked_kinds, make_plan
from bridge.chaos.shapes import STARTS
from bridge.cli.main import main
from bridge.errors import ConfigError

ALL = tuple(KINDS)


def test_the_same_plan_for_the_same_seed() -> None:
    assert make_plan(3, 120, ALL) == make_plan(3, 120, ALL)
    assert make_plan(3, 120, ALL) != make_plan(4, 120, ALL)
    assert {fault.kind for fault in make_plan(3, 120, ("cut", "kill"))} == {"cut", "kill"}


@pytest.mark.parametrize("seed", range(1, 6))
def test_ten_minutes_have_200_faults_of_all_kinds_alike(seed: int) -> None:
    plan = make_plan(seed, 600, ALL)
    assert len(plan) >= 200
    counts = Counter(fault.kind for fault in plan)
    assert counts.keys() == KINDS.keys()
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(earlier.at < later.at < 600 for earlier, later in itertools.pairwise(plan))


def test_every_kind_is_done_by_something() -> None:
    assert ACTIONS.keys() == KINDS.keys()


def test_every_shape_of_redis_can_be_started_and_every_kind_names_shapes_that_exist() -> None:
    assert STARTS.keys() == set(SHAPES)
    assert all(set(kind.needs) <= set(SHAPES) for kind in KINDS.values())


@pytest.mark.parametrize(
    ("shape", "possible", "impossible"),
    [
        ("single", {"wipe-redis"}, {"failover": "--redis cluster or --redis sentinel", "move-slot": "--redis cluster"}),
        ("cluster", {"failover", "move-slot"}, {"wipe-redis": "--redis single"}),
        ("sentinel", {"failover"}, {"wipe-redis": "--redis single", "move-slot": "--redis cluster"}),
    ],
)
def test_the_shape_of_redis_decides_which_kinds_there_are(
    shape: str, possible: set[str], impossible: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["chaos", "--redis", shape, "--duration", "10m", "--print-plan", "--json"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {fault["kind"] for fault in printed["plan"]} == KINDS.keys() - impossible.keys()
    assert possible <= KINDS.keys() - impossible.keys()
    assert (f"--redis {shape}" in printed["command"]) == (shape != "single")
    for kind, options in impossible.items():
        assert main([*words, "--kinds", kind]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert f"{kind} is not possible here" in said
        assert f"it needs {options}" in said


def test_wrong_kinds_are_named_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        checked_kinds(("kil", "cut", "wipe-redis"), ("cut",))
    assert "did you mean 'kill'?" in str(caught.value)
    assert "wipe-redis is not possible here" in str(caught.value)
    assert "it needs --redis single" in str(caught.value)
    assert checked_kinds((), ("cut", "kill")) == ("kill", "cut")


def test_a_plan_is_printed_with_the_command_that_replays_it(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["chaos", "--seed", "7", "--duration", "30s", "--kinds", "cut,kill", "--print-plan"]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    plan = make_plan(7, 30, ("kill", "cut"))
    assert lines == [str(fault) for fault in plan]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["command"] == "tickbridge chaos --seed 7 --duration 30s --kinds kill,cut"
    assert [fault["at"] for fault in printed["plan"]] == [fault.at for fault in plan]
