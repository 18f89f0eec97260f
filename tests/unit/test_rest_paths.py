"""REST calls go out as they were written, since what is signed is what the exchange sees; a signature is shown nowhere."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import pytest
from aiohttp import web

from bridge.exchange_errors import RestError
from bridge.exchanges.api import HttpRequest
from bridge.feed.rest import RestClient


@contextlib.asynccontextmanager
async def serving(seen, headers=None):
    """A server that takes any call, and notes its path."""

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response(headers=headers)

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def call(*request):
    return (yield HttpRequest("GET", *request))


@pytest.mark.parametrize(
    "path", ["/a?cursor=1%3A0%2C2%3D&b=%20", "/a?cursor=1:0,2=&b=", "/a?from=2026-01-01T00%3A00%3A00Z", "/a/%2Fb"]
)
async def test_quoted_characters_stay_as_they_are(path):
    seen = []
    async with serving(seen) as url, RestClient("a", url, None, 5, None) as client:
        await client.drive(call(path))
    assert seen == [path]


SIGNED = ("/orders?at=1&signature=SECRET", "", {}, "/orders?at=1")


async def test_a_signature_is_in_no_recording():
    seen, taped = [], []
    tap = SimpleNamespace(http=lambda *row: taped.append(row))
    async with serving(seen) as url, RestClient("a", url, None, 5, tap) as client:
        await client.drive(call(*SIGNED))
    assert seen == [SIGNED[0]]
    assert [row[1] for row in taped] == [f"{url}/orders?at=1"]


async def test_a_signature_is_in_no_error():
    seen = []
    async with serving(seen, {"Content-Encoding": "gzip"}) as url, RestClient("a", url, None, 5, None) as client:
        with pytest.raises(RestError, match=r"REST /orders\?at=1: 200") as packed:
            await client.drive(call(*SIGNED))
    async with RestClient("a", url, None, 5, None) as client:
        with pytest.raises(RestError, match=r"REST /orders\?at=1: no answer") as away:
            await client.drive(call(*SIGNED))
    assert not any("SECRET" in f"{error.value!r} {error.value.topic}" for error in (packed, away))
