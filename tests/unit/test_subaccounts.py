"""Sub-accounts that an exchange tells of: their streams are opened as they come, up to a limit, and at the next start."""

from __future__ import annotations

import asyncio

import pytest

from bridge.connector import subaccounts
from bridge.errors import RedisUnavailableError
from bridge.exchanges.api import Subscription
from bridge.model import Balance, Channel, Control, ControlEvent
from tests.patience import PATIENCE
from tests.servers import RedisServer
from tests.unit.routers import opened


def balance(sub: str) -> Balance:
    return Balance(ts=None, recv=1, subject=f"main/{sub}", currency="EUR", available="1", reserved="0")


async def test_sub_accounts_without_end_open_no_streams_without_end(redis_server: RedisServer, tmp_path, monkeypatch):
    async with opened(redis_server, tmp_path) as router:
        standing = len(router._topics)
        monkeypatch.setattr(subaccounts, "_MOST_STREAMS", standing + 2)
        for number in range(50):
            router.event(balance(f"sub{number}"))
        async with asyncio.timeout(PATIENCE):
            while router._subaccounts._tasks:
                await asyncio.gather(*router._subaccounts._tasks)
        assert len(router._topics) == standing + 2
        router.event(balance("sub1"))  # one that stands goes on
        assert router.report.unknown == {"a sub-account beyond the limit of streams": 48}


async def test_those_of_an_earlier_process_say_that_it_was_cut_off_and_are_live_with_their_account(
    own_server, tmp_path
):
    key = "acct:{limitlex:main/savings}:balances"
    async with opened(own_server, tmp_path) as router:
        router.event(balance("savings"))
    async with opened(own_server, tmp_path) as router:
        stream = Subscription(Channel.BALANCES, "main/savings")
        assert not router._topics[stream].live, "before the account is subscribed"
        live = Control("main", None, 2, Channel.BALANCES, ControlEvent.LIVE, "")
        router.event(live)
        assert router._topics[stream].live, "though nothing has come"
    async with opened(own_server, tmp_path, served=False) as router:
        assert stream not in router._topics, "sub-accounts are no longer asked for"
    with own_server.client() as client:
        entries = [fields.get("event", fields["type"]) for _, fields in client.xrange(key)]
    assert entries == ["live", "balance", "down", "live"]


@pytest.mark.parametrize("first", ["its event", "its opening"])
async def test_at_a_takeover_an_event_may_come_while_the_streams_of_an_earlier_process_are_opened(
    own_server: RedisServer, tmp_path, first
):
    """The account is connected already: what it says of its sub-accounts is not said again."""
    stream = Subscription(Channel.BALANCES, "main/savings")
    async with opened(own_server, tmp_path) as router:
        router.event(Control("main", None, 2, Channel.BALANCES, ControlEvent.LIVE, ""))
        if first == "its event":
            router.event(balance("savings"))
        opening = asyncio.create_task(
            router._subaccounts.reopen([stream, Subscription(Channel.BALANCES, "main/quiet")])
        )
        await asyncio.sleep(0)
        assert stream not in router._topics, "it takes a while"
        if first != "its event":
            router.event(balance("savings"))
        await opening
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*router._subaccounts._tasks)
        assert router._topics[stream].received == 1
        assert all(topic.live for topic in router._subaccounts.of(Subscription(Channel.BALANCES, "main")))
    with own_server.client() as client:
        for sub, expected in (("savings", ["live", "balance"]), ("quiet", ["live"])):
            entries = client.xrange(f"acct:{{limitlex:main/{sub}}}:balances")
            assert [fields.get("event", fields["type"]) for _, fields in entries] == expected


async def test_a_stream_that_could_not_be_opened_again_may_be_later(redis_server: RedisServer, tmp_path, monkeypatch):
    stream = Subscription(Channel.BALANCES, "main/savings")
    async with opened(redis_server, tmp_path) as router:
        router.event(Control("main", None, 2, Channel.BALANCES, ControlEvent.LIVE, ""))
        opens = router._subaccounts._opening

        async def fails(_: Subscription) -> None:
            raise RedisUnavailableError("redis", "away")

        monkeypatch.setattr(router._subaccounts, "_opening", fails)
        with pytest.raises(RedisUnavailableError):
            await router._subaccounts.reopen([stream])
        monkeypatch.setattr(router._subaccounts, "_opening", opens)
        await router._subaccounts.reopen([stream])
        assert router._topics[stream].live
