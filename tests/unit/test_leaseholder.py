"""A writer passes its lease on, and something goes wrong in between."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError

from bridge.connector.leaseholder import Leaseholder
from bridge.observe.takeovers import Takeovers
from bridge.redis.holding import Holding, LeaseState
from tests.patience import PATIENCE


class Lease:
    key, token, name, ends_connections = "fence", "1-a", "x", False

    def __init__(self) -> None:
        self.holding = Holding(1_000.0)
        self.holding.taken(self.holding.now())


class Presence:
    """A connector's, with a standby that is ready, and a Redis that fails at one step."""

    def __init__(self, fails: str) -> None:
        self.lease = Lease()
        self._fails = fails

    def _at(self, step: str) -> None:
        if step == self._fails:
            raise RedisConnectionError

    async def standby(self) -> dict[str, str]:
        self._at("standby")
        return {"state": "standby"}

    def is_ready(self, shown: Mapping[str, str]) -> bool:
        return shown["state"] == "standby"

    async def leave(self) -> None:
        self._at("leave")
        self.lease.holding.given_back()

    async def has_successor(self, patience: float) -> bool:
        self._at("has_successor")
        return False

    async def claim(self, streams: Any, fields: Any) -> list[str]:
        self._at("claim")
        self.lease.holding.taken(self.lease.holding.now())
        return []


class Publisher:
    writes = True

    def stand_by(self) -> None:
        self.writes = False

    def may_write(self, fence: Any = None) -> None:
        self.writes = True

    def renew(self, reason: str) -> None: ...

    async def drained(self) -> None: ...


@pytest.mark.parametrize("fails", ["standby", "leave", "has_successor", "claim", "nothing"])
async def test_a_process_that_still_has_its_lease_writes_and_another_one_begins_again(fails: str) -> None:
    presence: Any = Presence(fails)
    publisher = Publisher()
    report: Any = SimpleNamespace(topics={}, heartbeat=dict, takeovers=Takeovers(writes=True))
    beats: Any = None
    log = structlog.get_logger()
    holder = Leaseholder(presence, publisher, report, beats, lambda _: None, log=log, has_standby=True)
    given_away = await holder.pass_on(PATIENCE)
    has_it = presence.lease.holding.state is LeaseState.HELD
    assert publisher.writes == has_it
    assert given_away == (not has_it), "else it would go on without ever writing again"
    assert has_it == (fails not in ("has_successor", "claim"))
    assert report.takeovers.writes == has_it, "in the metrics, too"


def test_what_a_process_shows_of_takeovers() -> None:
    shown = Takeovers(standby_ready=True)
    unknown = {"last_takeover_seconds": None, "standby_ready": None}
    assert shown.numbers() == {"takeovers": 0, "connector_writes": False, **unknown}, "another process writes"
    shown.writes = True
    shown.took_over(0.4)
    assert shown.numbers() == {
        "takeovers": 1,
        "connector_writes": True,
        "last_takeover_seconds": 0.4,
        "standby_ready": True,
    }
