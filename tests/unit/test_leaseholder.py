"""A writer passes its lease on, and something goes wrong in between."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from redis.exceptions import ConnectionError as RedisConnectionError

from bridge.connector.leaseholder import Leaseholder
from bridge.feed.exclusive import ExclusiveAccess
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
    access: ExclusiveAccess
    open_when_drained: bool | None = None
    """Whether this process might have had the account's only connection when all was written."""

    def stand_by(self) -> None:
        self.writes = False

    def may_write(self, fence: Any = None) -> None:
        self.writes = True

    def renew(self, reason: str) -> None: ...

    async def drained(self) -> None:
        self.open_when_drained = not self.access.withheld_for


def holder_of(presence: Any, publisher: Publisher, takeovers: Takeovers) -> Leaseholder:
    publisher.access = ExclusiveAccess()
    report: Any = SimpleNamespace(topics={}, heartbeat=dict, takeovers=takeovers)
    parts: Any = (presence, publisher, report, None, lambda _: None)
    return Leaseholder(*parts, access=publisher.access, log=structlog.get_logger(), has_standby=True)


@pytest.mark.parametrize("fails", ["standby", "leave", "has_successor", "claim", "nothing"])
async def test_a_process_that_still_has_its_lease_writes_and_another_one_begins_again(fails: str) -> None:
    presence: Any = Presence(fails)
    publisher, takeovers = Publisher(), Takeovers(writes=True)
    holder = holder_of(presence, publisher, takeovers)
    given_away = await holder.pass_on(PATIENCE)
    has_it = presence.lease.holding.state is LeaseState.HELD
    assert publisher.writes == has_it
    assert given_away == (not has_it), "else it would go on without ever writing again"
    assert has_it == (fails not in ("has_successor", "claim"))
    assert takeovers.writes == has_it, "in the metrics, too"
    assert bool(publisher.access.withheld_for) == given_away, "the account's connection goes on where the lease does"
    assert publisher.open_when_drained == (None if fails == "standby" else False), "its end is written, too"


async def test_a_connection_that_does_not_end_is_not_passed_on() -> None:
    """The other process would open a second one."""
    presence, publisher = Presence("nothing"), Publisher()
    holder = holder_of(presence, publisher, Takeovers(writes=True))
    with publisher.access.used():
        assert not await holder.pass_on(0.01)
    assert publisher.open_when_drained is None, "it did not come to that"
    assert presence.lease.holding.state is LeaseState.HELD
    assert not publisher.access.withheld_for


@pytest.mark.parametrize("ready", [True, False, None])
def test_a_lease_that_lapses_is_not_fought_over_with_the_standby(ready: bool | None) -> None:
    """Without a standby nobody else can have the connection: an outage of Redis does not end it."""
    presence, publisher = Presence("nothing"), Publisher()
    holder_of(presence, publisher, Takeovers(writes=True, standby_ready=ready))
    holding = presence.lease.holding
    holding.patience = -1.0
    assert holding.look() is LeaseState.LAPSED
    assert bool(publisher.access.withheld_for) == bool(ready)
    holding.patience = 1_000.0
    holding.renewed(holding.now())
    assert holding.state is LeaseState.HELD
    assert not publisher.access.withheld_for


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
