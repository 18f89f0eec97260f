"""How much may be asked of one REST address: by all connectors of the process, and after a refusal not at all."""

from __future__ import annotations

import asyncio
import contextlib
import time

import pytest

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import Decaying, HttpRequest
from bridge.feed.policies import RequestBudget, request_budget
from bridge.feed.rest import RestClient
from tests.unit.rest_server import RestServer

WINDOW = 0.5


def ask(path="/", weight=1):
    return (yield HttpRequest("GET", path, weight=weight))


@contextlib.asynccontextmanager
async def two_connectors(server, limit):
    """The REST clients of two connectors that call the same address."""
    budget = request_budget(server.url, limit, 0.01)
    async with (
        RestClient("a", server.url, None, 5, None, budget=budget) as one,
        RestClient("b", f"{server.url}/b", None, 5, None, budget=request_budget(f"{server.url}/b", None, 0.01)) as two,
    ):
        yield one, two


async def test_two_connectors_spend_one_budget():
    async with RestServer() as server, two_connectors(server, (10, WINDOW)) as both:
        begun = time.monotonic()
        await asyncio.gather(*(client.drive(ask(weight=4)) for client in both * 3))
        times = [at - begun for at, _ in server.asked]
        assert len(times) == 6
        assert times[2] > WINDOW
        assert times[4] > 2 * WINDOW
        assert {path for _, path in server.asked} == {"/", "/b/"}


async def test_a_request_that_is_heavier_than_the_budget_goes_by_itself():
    async with RestServer() as server, two_connectors(server, (10, WINDOW)) as (client, _):
        begun = time.monotonic()
        for weight in (1, 25, 1):
            await client.drive(ask(weight=weight))
        _, heavy, last = [at - begun for at, _ in server.asked]
        assert heavy > WINDOW
        assert last > 2 * WINDOW


async def test_nobody_overtakes_a_heavy_request():
    async with RestServer() as server, two_connectors(server, (10, WINDOW)) as (client, _):
        await client.drive(ask("/before", 5))
        heavy = asyncio.create_task(client.drive(ask("/heavy", 8)))
        await asyncio.sleep(0)
        await asyncio.gather(heavy, client.drive(ask("/light", 1)))
        assert server.paths == ["/before", "/heavy", "/light"]


async def test_a_request_of_no_weight_counts_nothing_and_waits_for_no_other():
    async with RestServer() as server, two_connectors(server, (10, 30.0)) as (client, _):
        await asyncio.gather(*(client.drive(ask("/free", 0)) for _ in range(20)))
        await asyncio.wait_for(client.drive(ask("/all", 10)), 5)
        waiting = asyncio.create_task(client.drive(ask("/waiting", 1)))
        await asyncio.sleep(0)
        await asyncio.wait_for(client.drive(ask("/free", 0)), 5)
        assert server.paths == [*["/free"] * 20, "/all", "/free"]
        waiting.cancel()


async def test_a_refusal_holds_a_request_of_no_weight_too():
    async with RestServer() as server, two_connectors(server, (10, 30.0)) as (client, _):
        server.answers.append((429, {"Retry-After": "7200"}, {}))
        await client.drive(ask())
        with pytest.raises(RestError, match="not asked"):
            await client.drive(ask(weight=0))


@pytest.mark.parametrize(
    ("status", "headers", "wait"), [(429, {"Retry-After": "2"}, 2.0), (418, {"Retry-After": "1"}, 1.0), (429, {}, 1.5)]
)
async def test_after_a_refusal_nobody_asks(status, headers, wait):
    async with RestServer() as server, two_connectors(server, (3, 1.5)) as (one, two):
        server.answers += [(200, {}, {}), (200, {}, {}), (status, headers, {})]
        assert [(await one.drive(ask())).status for _ in range(3)] == [200, 200, status]
        refused = time.monotonic()
        await asyncio.gather(*(client.drive(ask()) for client in (one, two, one)))
        assert len(server.asked) == 6
        assert all(at - refused > wait - 0.1 for at, _ in server.asked[3:])


async def test_a_refusal_counts_for_those_who_wait_already():
    async with RestServer() as server, two_connectors(server, (1, 30.0)) as (one, two):
        server.answers.append((429, {"Retry-After": "1"}, {}))
        begun = time.monotonic()
        await asyncio.gather(one.drive(ask("/refused")), two.drive(ask("/waiting")))
        assert server.paths == ["/refused", "/b/waiting"]
        assert 0.9 < server.asked[1][0] - begun < 25, "the budget is full again, before what was spent has run out"


async def test_a_long_ban_is_an_error_at_once():
    async with RestServer() as server, two_connectors(server, None) as (one, two):
        server.answers.append((418, {"Retry-After": "7200"}, {}))
        assert (await one.drive(ask())).status == 418
        for client in (one, two):
            with pytest.raises(RestError, match="not asked: the exchange wants no requests for another 7") as caught:
                await client.drive(ask())
            assert caught.value.kind is ErrorKind.REST_RATE_LIMITED
            assert 7100 < (caught.value.retry_after or 0) <= 7200
        assert len(server.asked) == 1


async def test_a_ban_that_only_the_answers_words_tell_of_is_one_for_all():
    def understand():
        answer = yield from ask()
        raise RestError("a", "/", answer.status, "banned for two hours", 7200.0)

    async with RestServer() as server, two_connectors(server, None) as (one, two):
        server.answers.append((418, {}, {}))
        with pytest.raises(RestError, match="banned for two hours"):
            await one.drive(understand())
        with pytest.raises(RestError, match="not asked: the exchange wants no requests for another 7") as caught:
            await two.drive(ask())
        assert 7100 < (caught.value.retry_after or 0) <= 7200
        assert len(server.asked) == 1


async def test_without_a_limit_and_a_time_a_refusal_holds_nobody():
    async with RestServer() as server, two_connectors(server, None) as (one, _):
        server.answers.append((429, {}, {}))
        for _ in range(20):
            await one.drive(ask(weight=1000))
        assert one._budget._held == 0


async def test_one_is_for_all_that_call_a_host():
    one = request_budget("https://api.example.org/a", None, 0.25)
    assert request_budget("https://API.example.org", (10, 60.0), 0.25) is one
    assert one.limit == (10, 60.0)
    assert request_budget("https://api.example.org:444/a", None, 0.25) is not one


async def test_what_was_spent_counts_until_its_window_is_over():
    """As a table, by a clock of the test's own: when each request may go."""
    now = [100.0]
    budget = RequestBudget((10, 60.0), 0.25, lambda: now[0])
    went = []
    for at, weight in [(100, 4), (110, 4), (115, 2), (115, 4), (116, 1), (116, 5), (300, 10)]:
        now[0] = max(now[0], float(at))
        now[0] = max(now[0], budget._until(weight))
        await budget.spend(weight)
        went.append(now[0])
    assert went == [100, 110, 115, 160.25, 170.25, 175.25, 300]


async def test_what_decays_is_free_again_bit_by_bit():
    """Of a limit that an exchange counts down: half a second's weight after half a second, and not all at the end."""
    now = [100.0]
    budget = RequestBudget(Decaying((20, 40.0)), 0.25, lambda: now[0])
    went = []
    for at, weight in [(100, 16), (104, 6), (104, 4), (150, 20), (150, 1), (150, 30), (195, 0), (300, 20)]:
        now[0] = max(now[0], float(at))
        now[0] = max(now[0], budget._until(weight))
        await budget.spend(weight)
        went.append(now[0])
    assert went == [100, 104.25, 112.25, 152.25, 154.5, 194.5, 195, 300]
