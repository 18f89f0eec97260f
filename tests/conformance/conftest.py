"""The conformance suite is run from the top of the repository, in a clean environment, as a user runs it."""

from __future__ import annotations

import os

import pytest

from tests.environment import clean_environment
from tests.unit.doc_pages import ROOT


@pytest.fixture(autouse=True)
def _as_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    clean = clean_environment()
    for name in os.environ.keys() - clean.keys() - {"PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    for name, value in clean.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
