"""Our own reader, book and wallet do what every client has to do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from conformance.cases import find, load
from conformance.play import Player
from tests.patience import PATIENCE
from tests.servers import RedisServer

PYTHON = [sys.executable, "-m", "conformance.python_subject"]
CASES = find([])


@pytest.fixture(scope="module")
def players() -> Iterator[Callable[[RedisServer], Player]]:
    """The player of a server: one subject process for all cases that a worker plays."""
    found: dict[str, Player] = {}
    with ExitStack() as stack:

        def player_of(server: RedisServer) -> Player:
            if server.url not in found:
                client = stack.enter_context(server.client())
                found[server.url] = stack.enter_context(Player(client, server.url, PYTHON, PATIENCE))
            return found[server.url]

        yield player_of
        for player in found.values():
            player.end()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_our_reader_passes(path, players: Callable[[RedisServer], Player], redis_server: RedisServer) -> None:
    outcome = players(redis_server).play(load(path))
    assert outcome.problems == []
    assert outcome.skipped == []
    assert outcome.result == "pass"


def test_the_cases_are_many_and_each_has_its_title() -> None:
    cases = [load(path) for path in CASES]
    assert len(cases) > 60
    assert [title for title, count in Counter(case.title for case in cases).items() if count > 1] == []
    assert all(case.about.endswith(".") and not case.title.endswith(".") for case in cases)
