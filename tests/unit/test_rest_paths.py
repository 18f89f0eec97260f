"""REST calls go out as they were written: what is signed is what the exchange sees."""

from __future__ import annotations

import pytest
from aiohttp import web

from bridge.exchanges.api import HttpRequest
from bridge.feed.rest import RestClient


@pytest.mark.parametrize(
    "path", ["/a?cursor=1%3A0%2C2%3D&b=%20", "/a?cursor=1:0,2=&b=", "/a?from=2026-01-01T00%3A00%3A00Z", "/a/%2Fb"]
)
async def test_quoted_characters_stay_as_they_are(path):
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response()

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with RestClient("a", f"http://127.0.0.1:{runner.addresses[0][1]}", None, 5, None) as client:
            await client.drive(_ask(path))
    finally:
        await runner.cleanup()
    assert seen == [path]


def _ask(path):
    return (yield HttpRequest("GET", path))
