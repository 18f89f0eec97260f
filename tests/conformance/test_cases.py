"""Our own reader, book and wallet do what every client has to do."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from conformance.cases import find, load
from conformance.play import play
from tests.patience import PATIENCE
from tests.servers import RedisServer

PYTHON = [sys.executable, "-m", "conformance.python_subject"]
CASES = find([])


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_our_reader_passes(path, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        outcome = play(load(path), client, redis_server.url, PYTHON, PATIENCE)
    assert outcome.problems == []
    assert outcome.skipped == []
    assert outcome.result == "pass"


def test_the_cases_are_many_and_each_has_its_title() -> None:
    cases = [load(path) for path in CASES]
    assert len(cases) > 60
    assert [title for title, count in Counter(case.title for case in cases).items() if count > 1] == []
    assert all(case.about.endswith(".") and not case.title.endswith(".") for case in cases)
