from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from aiohttp import ClientSession

from bridge.process.requests import Hosts
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


async def status():
    return lambda: {"all": 1}


@contextlib.asynccontextmanager
async def serving(pulse, **options):
    """A server on a free port; what is missing can be changed."""
    missing: list[str] = []
    metrics = ProcessMetrics("1.2.3", pulse)
    async with HttpServer(
        pulse,
        [metrics],
        missing=lambda: missing,
        degraded=lambda: ["a"],
        status=status,
        **options,
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
    assert 'tickbridge_build_info{python="' in body
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


async def test_no_answer_names_a_version_of_the_server(served):
    url, _ = served
    for request in (
        b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03 what",
    ):
        answer = await raw(url, request + b"\r\n\r\n")
        assert b"HTTP/1." in answer
        assert b"aiohttp" not in answer
        assert b"Python" not in answer


async def raw(url, *parts, patience=PATIENCE):
    """Send these bytes and read until the server closes, or what has come."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
    async with asyncio.timeout(patience):
        found = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    return found


async def test_half_a_request_is_not_waited_for():
    """Neither one that stops, nor one that drips; a connection without any request is closed without a word."""
    async with serving(Pulse(limit=60), whole_within=0.2) as (url, _):
        assert (await raw(url, b"GET /livez HTTP/1.1\r\nHo")).startswith(b"HTTP/1.1 408")
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(PATIENCE):
            while not reader.at_eof():
                with contextlib.suppress(OSError):
                    writer.write(b"G")
                    await writer.drain()
                await asyncio.sleep(0.01)
                if reader._buffer or reader.exception():
                    break
        with contextlib.suppress(ConnectionResetError):  # whoever goes on sending may not see what was said
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()


async def test_a_request_may_come_in_parts_and_its_head_may_not_be_endless(served):
    url, _ = served
    parts = [bytes([byte]) for byte in b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"]
    assert (await raw(url, *parts)).startswith(b"HTTP/1.1 200")
    assert (await raw(url, b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000)).startswith(b"HTTP/1.1 431")


async def test_a_connection_without_a_request_does_not_hold_up_the_end():
    async with serving(Pulse(limit=60)) as (url, _):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert (await get(f"{url}/livez"))[0] == 200, "so the other connection is in, too"
    async with asyncio.timeout(PATIENCE):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1:9108",
            "10.244.1.17:9108",
            "[::1]:9108",
            "[fd00::12]:9108",
            "localhost:9108",
            "connector-okx:9108",
        ),
        *("tickbridge.monitoring.svc:9108", "tickbridge.monitoring.svc.cluster.local.", "host.docker.internal:9108"),
        *("metrics.example.com", "METRICS.example.com:80", "a.b.inside.example"),
    ],
)
def test_hosts_that_are_this_process(host):
    """Kubelet, Docker and Prometheus ask by address, Compose by the name of a service."""
    assert Hosts(["metrics.example.com", "*.inside.example"]).known(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "",
        ":80",
        "a@evil.example",
        "inside.example",
        "x.svc.evil.example",
        "[::1",
    ],
)
def test_hosts_that_are_not(host):
    assert not Hosts(["metrics.example.com", "*.inside.example"]).known(host)


def test_any_host_if_it_is_wanted_and_the_name_that_is_listened_on():
    assert Hosts(["*"]).known("evil.example")
    assert Hosts(["*"]).known(""), "health checks that speak HTTP 1.0 send none"
    assert Hosts([], "bridge.example.org").known("bridge.example.org:9108")


async def test_a_request_for_another_host_is_refused_on_every_page():
    async with serving(Pulse(limit=60), hosts=Hosts(["good.example"])) as (url, _):
        for page in ("livez", "readyz", "metrics", "status", "no"):
            answer = await raw(url, f"GET /{page} HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode())
            assert answer.startswith(b"HTTP/1.1 421"), page
        assert (await raw(url, b"GET /livez HTTP/1.1\r\nHost: good.example\r\n\r\n")).startswith(b"HTTP/1.1 200")
        async with ClientSession() as session, session.get(f"{url}/", headers={"Host": "evil.example"}) as answer:
            assert "add it to http.hosts" in (await answer.json())["error"]
        assert (await raw(url, b"GET /livez HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 421")
    async with serving(Pulse(limit=60), hosts=Hosts(["*"])) as (url, _):
        assert (await raw(url, b"GET /livez HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 200")


async def test_an_address_in_use_is_an_error(served):
    url, _ = served
    pulse = Pulse()
    async with HttpServer(pulse, [], missing=list, status=status) as second:
        with pytest.raises(OSError, match="in use"):
            await second.start("127.0.0.1", int(url.rpartition(":")[2]))
