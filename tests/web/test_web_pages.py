"""The JSON pages, the files of the page, and the headers of all answers."""

from __future__ import annotations

import asyncio
import gzip
import json

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from bridge.keys import Keys
from bridge.model import Channel
from consumers.web.assets import Assets
from tests.consumers.streams import BASE, MAIN, Stream
from tests.deploy.observability import documented
from tests.patience import PATIENCE
from tests.web.gateways import gateway, get, listed
from tests.web.test_web_access import ADMIN, DESK, FILE


@pytest.fixture
def stream(redis_server):
    with redis_server.client() as client:
        yield Stream(client, Channel.TRADES)


async def rows_with(at, wanted, path: str = "streams", token: str = "") -> dict:
    """The rows of a page by key or name, as soon as they are as wanted."""
    async with asyncio.timeout(PATIENCE):
        while True:
            rows = {row.get("key", row.get("name")): row for row in (await get(at, f"/api/{path}", token))[1][path]}
            if wanted(rows):
                return rows
            await asyncio.sleep(0.05)


async def test_every_stream_with_its_state_and_figures(redis_server, stream) -> None:
    client = stream.client
    book = Stream(client, Channel.BOOK)
    fills = Stream(client, Channel.FILLS, "main")
    stream.control("live")
    listed(client, stream.key)
    listed(client, book.key, gaps="verified", state="down", max_entries="200000", max_age="3600")
    listed(client, fills.key)
    with gateway(redis_server) as at:
        rows = await rows_with(at, lambda rows: len(rows) == 2 and rows[stream.key]["entries"] == "1")
        assert rows[stream.key]["state"] == "live"
        assert not rows[stream.key]["live"], "there is no heartbeat"
        assert (rows[book.key]["state"], rows[book.key]["detection"]) == ("down", "verified")
        assert (rows[book.key]["max_entries"], rows[book.key]["max_age"]) == ("200000", "3600")
        assert (rows[stream.key]["max_entries"], rows[stream.key]["max_age"]) == ("", "")
        assert (rows[book.key]["last_id"], rows[book.key]["entries"]) == ("", "0")
        client.hset(MAIN.connector("one"), mapping={"name": "one", "state": "live", "received": "7"})
        stream.trades(20)
        stream.control("gap", "something", "")
        stream.control("lost", "full", "5")
        stream.control("lost", "full", "2")
        rows = await rows_with(at, lambda rows: rows[stream.key]["lost"] == "7" and sum(rows[stream.key]["rate"]) == 23)
        row = rows[stream.key]
        assert (row["gaps"], row["seq"], row["last_id"], row["reason"]) == ("1", "24", stream.id(24), "full")
        assert (row["pair"], row["exchange"], row["channel"]) == ("BTC-EUR", "limitlex", "trades")
        assert len(row["rate"]) == 60
        assert row["oldest_ms"] == str(BASE + 1)
        await rows_with(at, lambda rows: rows[stream.key]["live"])
        connectors = await rows_with(at, lambda rows: rows["one"]["alive"], "connectors")
        assert connectors["one"]["received"] == "7"
        assert "standby" not in connectors["one"]
        client.hset("bridge:connector:one:standby", mapping={"state": "standby", "host": "b", "pid": "812"})
        connectors = await rows_with(at, lambda rows: "standby" in rows["one"], "connectors")
        assert connectors["one"]["standby"] == {"state": "standby", "host": "b", "pid": "812"}
        client.delete("bridge:connector:one:standby")
        await rows_with(at, lambda rows: "standby" not in rows["one"], "connectors")
        client.delete(MAIN.connector("one"))
        connectors = await rows_with(at, lambda rows: not rows["one"]["alive"], "connectors")
        assert connectors["one"] == {"name": "one", "exchange": "limitlex", "alive": False}
        client.hdel(MAIN.catalog(), book.key)
        await rows_with(at, lambda rows: book.key not in rows)


async def test_entries_around_an_id_or_a_time(redis_server, stream) -> None:
    stream.trades(300)
    stream.add("nonsense")
    stream.add("trade", id="x")
    with gateway(redis_server) as at:

        async def entries(query: str) -> tuple[list[int], dict]:
            status, page = await get(at, f"/api/entries?key={stream.key}&{query}")
            assert status == 200, page
            return [int(entry["id"].split("-")[1]) for entry in page["entries"]], page

        found, page = await entries("")
        assert (found, page["first"], page["last"]) == (list(range(253, 303)), stream.id(1), stream.id(302))
        assert "unknown type" in page["entries"][-2]["error"]
        assert "no field" in page["entries"][-1]["error"]
        assert page["entries"][0] == {
            "id": stream.id(253),
            "fields": {
                "type": "trade",
                "ts": "",
                "recv": f"{BASE + 253}000000",
                "id": "t253",
                "side": "buy",
                "price": "7994.50",
                "size": "0.10",
            },
        }
        assert (await entries(f"after={stream.id(5)}&count=3"))[0] == [6, 7, 8]
        assert (await entries(f"before={stream.id(5)}&count=3"))[0] == [2, 3, 4]
        assert (await entries(f"at={BASE + 100}&count=4"))[0] == [98, 99, 100, 101]
        assert (await entries(f"after={stream.id(0)}&count=250"))[0] == list(range(1, 251))
        assert (await entries(f"at={BASE}&count=4"))[0] == [1, 2, 3, 4]
        empty = await get(at, f"/api/entries?key={stream.key.replace('BTC', 'ETH')}")
        assert empty == (200, {"key": empty[1]["key"], "entries": [], "first": "", "last": ""})
        for query, words in {
            "count=0": "1 to 500",
            "count=501": "1 to 500",
            f"count=0000000050{9**9}": "1 to 500",
            "before=x": "before should be an entry ID",
            "at=1-1": "at should be a time",
            f"at={2**64}": "at should be an entry ID",
            f"before={2**64}-1": "before should be an entry ID",
            f"after=1-{2**64}": "after should be an entry ID",
            f"after={'9' * 5000}": "after should be an entry ID",
            "before=1-1&after=1-1": "give one of",
            "limit=5": "no parameter 'limit'",
        }.items():
            status, body = await get(at, f"/api/entries?key={stream.key}&{query}")
            assert (status, words in body["error"]) == (400, True), body
        assert (await get(at, "/api/entries"))[0] == 400
        assert (await get(at, "/api/entries?key=bridge:catalog"))[0] == 404


async def test_large_entries_make_a_short_page(redis_server) -> None:
    with redis_server.client() as client, gateway(redis_server) as at:
        book = Stream(client, Channel.BOOK)
        levels = " ".join(f"{price}:1" for price in range(1, 50_000))
        for _ in range(20):
            book.snapshot(levels, "60000:1")
        page = (await get(at, f"/api/entries?key={book.key}&after=0-0"))[1]
        assert 1 <= len(page["entries"]) <= 6
        assert page["entries"][0]["id"] == book.id(1)


async def test_the_current_book(redis_server) -> None:
    with redis_server.client() as client, gateway(redis_server) as at:
        book = Stream(client, Channel.BOOK)
        assert (await get(at, f"/api/book?key={book.key}"))[1]["reason"] == "no snapshot yet"
        book.snapshot("10:1 9:1", "11:1 12:1", xseq="5")
        async with asyncio.timeout(PATIENCE):
            while not (page := (await get(at, f"/api/book?key={book.key}&depth=1"))[1])["valid"]:
                await asyncio.sleep(0.02)
        assert (page["bids"], page["asks"], page["xseq"], page["id"]) == ([["10", "1"]], [["11", "1"]], "5", book.id(1))
        assert len((await get(at, f"/api/book?key={book.key}"))[1]["bids"]) == 2
        assert (await get(at, f"/api/book?key={book.key}&depth=x"))[0] == 400
        assert (await get(at, "/api/book?key=md:{limitlex:BTC-EUR}:trades"))[0] == 400


async def test_wallets_and_rejects(redis_server, tmp_path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(FILE)
    with redis_server.client() as client, gateway(redis_server, "--tokens", str(path)) as at:
        client.hset(MAIN.wallet("limitlex", "main"), mapping={"balance:EUR": "{}"})
        client.xadd(MAIN.rejects("limitlex"), {"error": "first", "raw": "{"})
        client.xadd(MAIN.rejects("limitlex"), {"error": "second", "raw": "\x1b"})
        page = await get(at, "/api/wallet?account=limitlex:main", DESK)
        assert page == (200, {"account": "limitlex:main", "fields": {"balance:EUR": "{}"}})
        assert (await get(at, "/api/wallet?account=limitlex:main/5", DESK))[0] == 404
        assert (await get(at, "/api/wallet?account=limitlex:other", DESK))[0] == 403
        assert (await get(at, "/api/wallet?account=main", DESK))[0] == 400
        page = (await get(at, "/api/rejects?exchange=limitlex", DESK))[1]
        assert [reject["fields"]["error"] for reject in page["rejects"]] == ["second", "first"]
        assert len((await get(at, "/api/rejects?exchange=limitlex&count=1", DESK))[1]["rejects"]) == 1
        # From the moment that there is an account that the token does not include, a frame may be about it.
        listed(client, Keys().stream("bybit", "other", Channel.FILLS))
        assert (await get(at, "/api/rejects?exchange=limitlex", DESK))[0] == 200
        listed(client, Keys().stream("limitlex", "other", Channel.FILLS))
        assert (await get(at, "/api/rejects?exchange=limitlex", DESK))[0] == 403
        assert (await get(at, "/api/rejects?exchange=limitlex", ADMIN))[0] == 200
        assert (await get(at, "/api/rejects", ADMIN))[0] == 400


async def test_headers_compression_and_other_paths(redis_server) -> None:
    with redis_server.client() as client, gateway(redis_server) as at:
        for number in range(20):
            listed(client, MAIN.stream("limitlex", f"A{number}-EUR", Channel.TRADES))
        await rows_with(at, lambda rows: len(rows) == 20)
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            for path in ("/", "/api/streams", "/api/nothing", "/livez", "/metrics"):
                async with session.get(f"{at.url}{path}", headers={"Accept-Encoding": "identity"}) as answer:
                    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
                    assert "unsafe" not in answer.headers["Content-Security-Policy"]
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["Referrer-Policy"] == "no-referrer"
                    assert "Server" not in answer.headers
                    assert "Access-Control-Allow-Origin" not in answer.headers
            async with session.get(f"{at.url}/api/streams", headers={"Accept-Encoding": "gzip"}) as answer:
                assert answer.headers["Content-Encoding"] == "gzip"
                assert answer.headers["Cache-Control"] == "no-store"
                assert len(json.loads(gzip.decompress(await answer.read()))["streams"]) == 20
            async with session.get(f"{at.url}/api/nothing") as answer:
                assert answer.status == 404
            async with session.post(f"{at.url}/api/streams") as answer:
                assert (answer.status, "GET" in answer.headers["Allow"]) == (405, True)
            async with session.head(f"{at.url}/api/streams") as answer:
                assert answer.status == 200
            async with session.get(URL(f"{at.url}/assets/../service.py", encoded=True)) as answer:
                assert answer.status == 404
            async with session.get(at.url) as answer:
                tag = answer.headers["ETag"]
                assert answer.headers["Cache-Control"] == "no-cache"
            async with session.get(at.url, headers={"If-None-Match": tag}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")


async def test_its_metrics_are_documented(redis_server) -> None:
    with gateway(redis_server) as at:
        async with aiohttp.ClientSession() as session, session.get(f"{at.url}/metrics") as answer:
            text = await answer.text()
    served = {
        family.name + "_total" * (family.type == "counter"): (family.type, set())
        for family in text_string_to_metric_families(text)
        if family.name.startswith("tickbridge_gateway_")
    }
    assert served == {name: row for name, row in documented().items() if name.startswith("tickbridge_gateway_")}
    assert len(served) == 7


async def test_the_files_of_the_page(tmp_path) -> None:
    from aiohttp import web

    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>" + " " * 500)
    (tmp_path / "assets" / "app-1a2b.js").write_text("let a = 1;" * 100)
    (tmp_path / "assets" / "a.woff2").write_bytes(b"\x00\x01")
    (tmp_path / ".hidden").write_text("x")
    assets = Assets(tmp_path)
    assert assets.complete
    app = web.Application()
    app.add_routes(assets.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/assets/app-1a2b.js") as answer:
                assert answer.content_type == "text/javascript"
                assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
                assert answer.headers["Content-Encoding"] == "gzip"
                assert await answer.text() == "let a = 1;" * 100
            async with session.get(f"{url}/assets/a.woff2") as answer:
                assert (answer.content_type, "Content-Encoding" in answer.headers) == ("font/woff2", False)
            async with session.get(url, headers={"Accept-Encoding": "identity"}) as answer:
                assert (answer.content_type, (await answer.text())[:15]) == ("text/html", "<!doctype html>")
            async with session.get(f"{url}/.hidden") as answer:
                assert answer.status == 404
    finally:
        await runner.cleanup()
    assert not Assets(tmp_path / "nothing").complete
