"""Redis goes away, or refuses what clients ask for: they are told, and nothing ends."""

from __future__ import annotations

import pytest

from bridge.model import Channel
from tests.consumers.streams import MAIN, Stream
from tests.e2e.harness import eventually
from tests.web.gateways import Browser, browser, gateway, get, seqs
from tests.web.test_web_access import ADMIN, DESK, FILE


@pytest.fixture
def stream(redis_server):
    with redis_server.client() as client:
        yield Stream(client, Channel.TRADES)


async def test_redis_may_go_and_come_back(own_server) -> None:
    with own_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        stream.trades(2)
        with gateway(own_server) as at:
            async with browser(at) as one:
                await one.subscribe(stream.key, after="start")
                await one.upto(stream.id(2))
                own_server.stop()
                assert (await one.notice("away"))["stream"] == ""
                assert (await get(at, f"/api/entries?key={stream.key}"))[0] == 503
                assert (await get(at, "/readyz"))[0] == 503
                book = stream.key.replace("trades", "book")
                assert (await get(at, f"/api/book?key={book}"))[0] == 503
                other = stream.key.replace("BTC", "ETH")
                await one.send(op="subscribe", stream=other)
                own_server.start()
                await one.notice("back")
                assert await one.first(lambda item: item["stream"] == other and item["notice"] == "subscribed")
                stream.trades(3)
                assert seqs(await one.upto(stream.id(5), stream.key)) == [1, 2, 3, 4, 5]
            eventually(lambda: at.process.poll() is None, "the gateway")


async def test_a_key_that_holds_something_else(redis_server, stream) -> None:
    other = Stream(stream.client, Channel.TRADES, "ETH-EUR")
    stream.client.set(stream.key, "something else")
    with gateway(redis_server) as at:
        async with browser(at) as one:
            await refused(one, stream.key)
            await one.subscribe(other.key)
            other.trade()
            await one.upto(other.id(1))
            stream.client.delete(stream.key)
            assert (await one.subscribe(stream.key, after="start"))["notice"] in ("subscribed", "unreadable")
            one.items = [item for item in one.items if item.get("notice") != "unreadable"]
            await one.first(lambda item: item["stream"] == stream.key and item.get("notice") == "subscribed")
            stream.trade()
            await one.upto(stream.id(1), stream.key)
            stream.client.delete(stream.key)
            stream.client.set(stream.key, "something else")
            notice = await one.notice("unreadable")
            assert "WRONGTYPE" in notice["message"]
            stream.client.delete(stream.key)
            stream.seq = 10
            stream.trade()
            await one.upto(stream.id(11), stream.key)  # it is tried again


async def refused(one: Browser, key: str) -> None:
    await one.subscribe(key, after="start")
    assert await one.first(lambda item: item["stream"] == key and item.get("notice") == "error")
    assert await one.first(lambda item: item["stream"] == key and item.get("notice") == "unreadable")


async def test_a_user_without_rights_ends_nothing(own_server) -> None:
    with own_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        other = Stream(client, Channel.BALANCES, "main")
        stream.trade()
        client.execute_command("ACL", "SETUSER", "web", "on", ">secret", "+@all", "%R~md:*", "%R~bridge:catalog")
        url = own_server.url.replace("redis://", "redis://web:secret@")
        own_server_url = type("Server", (), {"url": url})
        with gateway(own_server_url) as at:
            async with browser(at) as one:
                await one.subscribe(stream.key, after="start")
                await one.upto(stream.id(1))
                client.execute_command("ACL", "SETUSER", "web", "resetkeys")
                notice = await one.notice("unreadable")
                assert notice["stream"] == stream.key
                client.execute_command("ACL", "SETUSER", "web", "%R~md:*")
                stream.trade()
                await one.upto(stream.id(2))
                assert (await one.subscribe(other.key))["notice"] == "error"


async def test_rejects_need_to_know_which_accounts_there_are(own_server, tmp_path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(FILE)
    with own_server.client() as client:
        client.xadd(MAIN.rejects("limitlex"), {"error": "first", "raw": "{"})
        rights = ("%R~md:*", "%R~bridge:catalog", "%R~bridge:rejects:*")
        client.execute_command("ACL", "SETUSER", "web", "on", ">secret", "+@all", *rights)
        named = type("Server", (), {"url": own_server.url.replace("redis://", "redis://web:secret@")})
        with gateway(named, "--tokens", str(path)) as at:
            assert (await get(at, "/api/rejects?exchange=limitlex", DESK))[0] == 403
            assert (await get(at, "/api/rejects?exchange=limitlex", ADMIN))[0] == 200
            client.execute_command("ACL", "SETUSER", "web", "%R~bridge:catalog:accounts")
            assert (await get(at, "/api/rejects?exchange=limitlex", DESK))[0] == 200
