"""Wallets' hashes after Redis was away, or has lost something."""

from __future__ import annotations

import asyncio

from consumers.reader import Reader
from tests.consumers.accounts import WALLET, Account, keeping
from tests.consumers.streams import until


async def test_a_restart_of_redis_without_its_data_leaves_a_whole_hash(own_server) -> None:
    with own_server.client() as client:
        account = Account(client)
        account.balance("EUR", "1000.00")
        account.fill()
        async with keeping(own_server, account):
            await until(account.done)
            full = account.hash()
            client.config_set("appendonly", "no")
            own_server.kill()
            for path in own_server.directory.rglob("*.aof"):
                path.unlink()
            for path in own_server.directory.rglob("*.manifest"):
                path.unlink()
            own_server.start()
            assert account.hash() == {}
            account.fill()
            await until(account.done)
        assert account.hash()["balance:EUR"] == full["balance:EUR"]
        assert account.hash()["fills"] == "2"


async def test_what_a_failover_brings_back_is_deleted_again(own_server) -> None:
    """A replica that takes its master's place may lack the last writes, and thus still have what they deleted."""
    with own_server.client() as client:
        account = Account(client)
        account.order("o1", "open")
        account.position("long", "1")
        async with keeping(own_server, account):
            await until(account.done)
            before = account.hash()
            account.order("o1", "filled", "1.0")
            account.order("o2", "open")
            account.position("", "0")
            await until(account.done)
            own_server.kill()
            own_server.start()
            client.hset(WALLET, mapping={**before, "note": "not of this service"})
            account.fill()
            await until(account.done)
            assert {"order:BTC-EUR:o1", "position:BTC-PERP"} <= before.keys()
            there = account.hash()
            assert not {"order:BTC-EUR:o1", "position:BTC-PERP"} & there.keys()
            assert {"order:BTC-EUR:o2", "note"} <= there.keys()


async def test_what_a_quiet_account_s_hash_has_lost_is_written_again(redis_server, account) -> None:
    """After a failover, nothing may come for hours that would have it written."""
    client = account.client
    account.order("o1", "open")
    async with keeping(redis_server, account) as wallets:
        await until(account.done)
        old = account.hash()
        account.order("o1", "filled", "1.0")
        account.order("o2", "open")
        account.balance("EUR", "5")
        await until(account.done)
        full = account.hash()
        looking = asyncio.create_task(wallets.keep(every=0.01))
        client.delete(WALLET)
        client.hset(WALLET, mapping=old)
        await until(lambda: account.hash() == full)
        client.hset(WALLET, "id:orders", "no ID")
        await until(lambda: account.hash() == full)
        looking.cancel()


async def test_a_hash_that_is_ahead_is_left_alone(redis_server, account) -> None:
    """Two services for one account are a mistake, but the later one's hash never goes back in time."""
    account.order("o1", "open")
    async with keeping(redis_server, account) as wallets:
        await until(account.done)
        account.client.hset(WALLET, mapping={"id:orders": "99999999999999-1", "order:BTC-EUR:o1": "theirs"})
        theirs = account.hash()
        async with Reader(redis_server.url) as reader:
            assert await wallets.wallets["limitlex", "main"].is_kept(reader.redis)
            account.client.hset(WALLET, "id:orders", "1-1")
            assert not await wallets.wallets["limitlex", "main"].is_kept(reader.redis)
        assert account.hash() == {**theirs, "id:orders": "1-1"}
