"""No module outgrows what can be read in one go."""

from __future__ import annotations

import pytest

from tests.unit.doc_pages import ROOT, text

MOST_LINES = 400
FOLDERS = ("bridge", "consumers", "conformance", "tests", "benchmarks", "docs", "deploy")


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_stay_under_400_lines(folder: str) -> None:
    paths = list((ROOT / folder).rglob("*.py"))
    assert paths, "the rule is about nothing"
    assert [(str(path), lines) for path in paths if (lines := text(path).count("\n")) >= MOST_LINES] == []
