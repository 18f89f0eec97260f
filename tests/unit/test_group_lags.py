from __future__ import annotations

from types import SimpleNamespace

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from bridge.redis import groups
from bridge.redis.groups import GroupLag, GroupLags
from tests.servers import RedisServer
from tests.unit.routers import opened

KEYS = ["md:{x:A-B}:trades", "md:{x:C-D}:trades"]
MS = 1786309548031


def stream(key, seq, flying=0):
    return SimpleNamespace(key=key, seq=seq, flying=flying)


@pytest.fixture
async def client(redis_server: RedisServer):
    async with Redis.from_url(redis_server.url, decode_responses=True) as found:
        for number in range(1, 11):
            await found.xadd(KEYS[0], {"type": "trade"}, id=f"{MS + number // 6}-{number}")
        yield found


async def names(lags, key=KEYS[0]):
    found = await lags.look([stream(key, 10)])
    return {group.name for group in found.get(key, ())}


async def test_lags_are_counted_by_numbers_and_odd_keys_are_nobodys_fault(client):
    key, other = KEYS
    for name, at in (("half", f"{MS}-5"), ("all", "0"), ("time", f"{MS + 1}-0"), ("done", "$")):
        await client.xgroup_create(key, name, at)
    await client.xreadgroup("all", "me", {key: ">"}, count=2)
    await client.set(other, "no stream")
    found = await GroupLags(client).look([stream(other, 1), stream("none", 1), stream(key, 12, flying=2)])
    assert set(found) == {key}
    lags = {group.name: group for group in found[key]}
    assert [lags[name] for name in ("half", "all", "done")] == [
        GroupLag("half", 5, 0),
        GroupLag("all", 8, 2),
        GroupLag("done", 0, 0),
    ]
    assert lags["time"].lag is None


async def test_names_are_bounded_and_groups_that_are_gone_leave_theirs(client, monkeypatch):
    monkeypatch.setattr(groups, "_MOST_GROUPS", 2)
    lags = GroupLags(client)
    for name in ("b", "c"):
        await client.xgroup_create(KEYS[0], name, "0")
    assert await names(lags) == {"b", "c"}
    await client.xgroup_create(KEYS[0], "a", "0")  # Redis lists it first
    assert await names(lags) == {"b", "c", "others"}, "those that were there keep their names"
    await client.xgroup_destroy(KEYS[0], "b")
    assert await names(lags) == {"a", "c"}


async def test_whoever_may_not_ask_is_told(redis_server, client):
    await client.execute_command("ACL", "SETUSER", "me", "reset", "on", ">secret", "~*", "+xadd")
    async with Redis.from_url(redis_server.url, username="me", password="secret", decode_responses=True) as limited:
        with pytest.raises(NoPermissionError):
            await GroupLags(limited).look([stream(KEYS[0], 10)])


async def test_a_standby_asks_about_no_groups(redis_server, tmp_path):
    """It does not know the numbers of what the other process writes."""
    asked = []
    async with opened(redis_server, tmp_path, served=False) as router:
        router._store.presence.groups = SimpleNamespace(watch=asked.append)
        for _, work in router.background():
            if work is not None:
                work.close()
        [streams] = asked
        assert "md:{limitlex:BTC-EUR}:trades" in {one.key for one in streams()}
        router.standby = object()
        assert not streams()
        router.standby = None
