from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import ClientSession

from bridge.process.serving import HttpServer, ProcessMetrics, Pulse
from tests.patience import PATIENCE


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_loop_that_turns_has_a_small_lag():
    clock = Clock()
    pulse = Pulse(interval=0.25, limit=5, clock=clock)
    clock.now += 0.26
    pulse.beat()
    assert pulse.lag == pytest.approx(0.01)
    assert not pulse.stuck


def test_a_loop_that_stands_is_stuck_before_it_turns_again():
    clock = Clock()
    pulse = Pulse(interval=0.25, limit=5, clock=clock)
    clock.now += 5.2
    assert not pulse.stuck
    clock.now += 0.2
    assert pulse.stuck == "the event loop was blocked for 5.2 s"
    assert pulse.lag == pytest.approx(5.15)


def test_a_stall_is_over_with_the_next_beat_and_is_remembered_for_a_while():
    clock = Clock()
    pulse = Pulse(interval=0.25, limit=5, window=15, clock=clock)
    clock.now += 7.25
    pulse.beat()
    assert pulse.stuck
    seen = []
    for _ in range(40):
        pulse._due = clock.now + 0.25
        clock.now += 1
        pulse.beat()
        assert not pulse.stuck
        seen.append(pulse.lag)
    assert seen[7] == pytest.approx(7.0), "still in the window"
    assert seen[-1] == pytest.approx(0.75), "forgotten"


@contextlib.asynccontextmanager
async def serving(pulse):
    """A server on a free port; what is missing can be changed."""
    missing: list[str] = []
    metrics = ProcessMetrics("bridge", "1.2.3", pulse)
    async with HttpServer(
        pulse, [metrics], missing=lambda: missing, degraded=lambda: ["a"], status=lambda: {"all": 1}
    ) as server:
        yield await server.start("127.0.0.1", 0), missing


@pytest.fixture
async def served():
    """One that a busy machine doesn't make say that its loop stood still."""
    async with serving(Pulse(interval=0.02, limit=60)) as found:
        yield found


async def get(url, method="GET"):
    async with ClientSession() as session, session.request(method, url) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_the_pages(served):
    url, missing = served
    status, body, headers = await get(f"{url}/metrics")
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'bridge_build_info{python="' in body
    assert "process_resident_memory_bytes" in body
    status, body, headers = await get(f"{url}/readyz")
    assert (status, json.loads(body)) == (200, {"state": "degraded", "ready": True, "missing": [], "degraded": ["a"]})
    assert "Server" not in headers
    missing.append("Redis")
    status, body, _ = await get(f"{url}/readyz")
    assert (status, json.loads(body)) == (
        503,
        {"state": "down", "ready": False, "missing": ["Redis"], "degraded": ["a"]},
    )
    status, body, _ = await get(f"{url}/status")
    assert (status, json.loads(body)) == (200, {"all": 1})
    status, body, _ = await get(f"{url}/livez")
    assert (status, json.loads(body)["alive"]) == (200, True)


async def test_wrong_requests_are_told_what_is_right(served):
    url, _ = served
    status, body, _ = await get(f"{url}/metric")
    assert status == 404
    assert json.loads(body) == {"error": "no page /metric; known: /livez, /metrics, /readyz, /status"}
    status, body, headers = await get(f"{url}/metrics", "POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert json.loads(body) == {"error": "POST is not allowed on /metrics; use GET, HEAD"}
    status, body, _ = await get(f"{url}/livez", "HEAD")
    assert (status, body) == (200, "")


async def test_what_is_no_http_is_refused_and_stops_nothing(served):
    url, _ = served
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"\x16\x03\x01 nonsense\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.0 400")
    writer.close()
    assert (await get(f"{url}/livez"))[0] == 200


async def test_a_blocked_loop_fails_livez():
    """While it is blocked nobody answers; a loop that stalls at every turn is told from one that stalled once."""
    async with serving(Pulse(interval=0.02, limit=0.3)) as (url, _):

        def ask(timeout):
            connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout)
            try:
                connection.request("GET", "/livez")
                return connection.getresponse().status
            except TimeoutError:
                return 0
            finally:
                connection.close()

        async def turning():
            async with asyncio.timeout(PATIENCE):
                while await asyncio.to_thread(ask, 5) != 200:
                    pass

        await turning()
        with ThreadPoolExecutor(1) as asker:
            assert asker.submit(ask, 0.2).result() == 0, "the loop waits for the thread here"

        def stall():
            time.sleep(0.35)
            nonlocal again
            again = asyncio.get_running_loop().call_soon(stall)

        again = asyncio.get_running_loop().call_soon(stall)
        assert await asyncio.to_thread(ask, 30) == 503
        again.cancel()
        await turning()


async def test_an_address_in_use_is_an_error(served):
    url, _ = served
    pulse = Pulse()
    async with HttpServer(pulse, [], missing=list, status=dict) as second:
        with pytest.raises(OSError, match="in use"):
            await second.start("127.0.0.1", int(url.rpartition(":")[2]))
