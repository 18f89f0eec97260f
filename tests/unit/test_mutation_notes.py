"""The list of mutants that may survive is held against the code."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTES = tomllib.loads((ROOT / "tests" / "mutation" / "known.toml").read_text())


@pytest.mark.parametrize("row", NOTES.get("known", []), ids=lambda row: row["before"])
def test_what_may_survive_is_still_in_the_code_and_has_a_reason(row):
    lines = {line.strip() for line in (ROOT / row["file"]).read_text().splitlines()}
    assert set(row["before"].splitlines()) <= lines
    assert row["after"] != row["before"]
    assert row["reason"]


@pytest.mark.parametrize("package", NOTES["tests"])
def test_the_listed_tests_exist(package):
    assert (ROOT / package).is_dir()
    for name in NOTES["tests"][package]:
        assert list((ROOT / "tests" / "unit").glob(name)), name
