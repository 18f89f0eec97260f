"""REST calls that nobody answers: all who make them share one pace."""

from __future__ import annotations

import asyncio
import contextlib
import time
from itertools import pairwise

import pytest
from aiohttp import web

from bridge.exchange_errors import RestError
from bridge.exchanges.api import HttpRequest
from bridge.feed.policies import RequestBudget
from bridge.feed.rest import RestClient
from tests.servers import free_port


def ask():
    return (yield HttpRequest("GET", "/"))


@contextlib.asynccontextmanager
async def clients(port, budget):
    url = f"http://127.0.0.1:{port}"
    async with (
        RestClient("a", url, None, 5, None, budget=budget) as one,
        RestClient("b", url, None, 5, None, budget=budget) as two,
    ):
        yield one, two


async def test_while_nobody_answers_calls_are_kept_apart_and_then_no_more():
    port, budget = free_port(), RequestBudget(None, 0.05, time.monotonic)
    asked = []
    async with clients(port, budget) as both:

        async def fail(client):
            with pytest.raises(RestError):
                await client.drive(ask())
            asked.append(time.monotonic())

        await fail(both[0])
        await asyncio.gather(*(fail(client) for client in both * 2))
        apart = [later - earlier for earlier, later in pairwise(asked[1:])]
        assert min(apart) >= 0.1
        assert asked[-1] - asked[0] > 1.0

        async def busy(_: web.Request) -> web.Response:
            return web.Response(status=503)

        app = web.Application()
        app.router.add_get("/", busy)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            assert (await both[0].drive(ask())).status == 503
            begun = time.monotonic()
            for client in both * 5:
                await client.drive(ask())
            assert time.monotonic() - begun < 1.0
            assert not budget.troubled
        finally:
            await runner.cleanup()
