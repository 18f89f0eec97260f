"""Simulators beside the gateway: their books, and faults, for whoever may inject them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest

from bridge.demo import processes as processes_module
from bridge.demo.levers import Levers
from bridge.demo.processes import Processes, ProcessFailedError
from bridge.keys import Keys
from bridge.model import Channel
from consumers.web import simulators
from consumers.web.guard import Guard
from consumers.web.tokens import Tokens
from tests.consumers.streams import MAIN, Stream
from tests.e2e.harness import Process
from tests.patience import PATIENCE
from tests.servers import free_port
from tests.web.gateways import Gateway, gateway, get
from tests.web.test_web_access import ADMIN, DESK, FILE

if TYPE_CHECKING:
    from bridge.demo.venue import Venue

BOOK = MAIN.stream("limitlex", "BTC-EUR", Channel.BOOK)
FAULT = {"exchange": "limitlex", "action": "fault", "settings": {"fault": "mute", "duration": 600, "pair": "BTC-EUR"}}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory) -> Iterator[str]:
    """The control paths of a simulated Limitlex."""
    directory, port = tmp_path_factory.mktemp("simulator"), free_port()
    process = Process(
        directory / "log",
        *("simulate", "limitlex", "--port", str(port), "--pairs", "BTC-EUR,ETH-EUR", "--rate", "100"),
        *("--key-dir", str(directory)),
    )
    try:
        process.wait_for("ready")
        yield f"http://127.0.0.1:{port}/sim"
    finally:
        process.kill()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def post(session: aiohttp.ClientSession, at: Gateway, body: object, **headers: str) -> tuple[int, dict]:
    """The status and the JSON that answer a request to do something."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with session.post(f"{at.url}/api/simulators", data=data, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_the_state_the_true_book_and_a_fault(redis_server, simulator, session) -> None:
    with gateway(redis_server, "--simulator", f"limitlex={simulator}") as at:
        assert (await get(at, "/api/info"))[1]["simulators"] == ["limitlex"]
        status, page = await get(at, "/api/simulators")
        (row,) = page["simulators"]
        assert (status, page["may_act"], row["exchange"], row["paused"], row["active"]) == (
            200,
            True,
            "limitlex",
            False,
            [],
        )
        assert row["pairs"] == ["BTC-EUR", "ETH-EUR"]
        assert {"pair", "count"} <= set(row["faults"]["drop"])
        assert (await post(session, at, {"exchange": "limitlex", "action": "pause"}))[0] == 200
        assert (await get(at, "/api/simulators"))[1]["simulators"][0]["paused"]
        status, book = await get(at, f"/api/simulators/book?key={BOOK}")
        async with session.get(f"{simulator}/streams/book?pair=BTC-EUR") as answer:
            true = await answer.json()
        assert (status, book["bids"], book["asks"]) == (200, true["bids"], true["asks"])
        assert book["bids"]
        status, done = await post(
            session, at, {"exchange": "limitlex", "action": "fault", "settings": {"fault": "refuse", "duration": 600}}
        )
        assert (status, done["answer"]) == (200, {"faults_active": ["refuse"]})
        assert (await get(at, "/api/simulators"))[1]["simulators"][0]["active"] == ["refuse"]
        clear = {"exchange": "limitlex", "action": "fault", "settings": {"fault": "clear"}}
        assert (await post(session, at, clear))[1]["answer"] == {"faults_active": []}
        assert (await post(session, at, {"exchange": "limitlex", "action": "resume"}))[1]["answer"]["paused"] is False


async def test_processes_of_the_demo_are_killed_and_others_are_not(redis_server, session, tmp_path) -> None:
    venue = cast("Venue", SimpleNamespace(exchange="limitlex", simulator="simulator", connector="connector"))
    notices: list[str] = []
    async with Processes(tmp_path, notices.append, temporary=False) as processes:
        sleeper = [sys.executable, "-c", "import time; time.sleep(3600)"]
        for name in ("simulator", "connector", "server"):
            await processes.start(name, sleeper)
        async with Levers(processes, [venue]) as levers:
            with gateway(redis_server, "--simulator=limitlex=http://127.0.0.1:9/sim", **demo(levers.url)) as at:
                rows = (await get(at, "/api/simulators"))[1]["processes"]
                assert [(row["name"], row["running"], row["starts"]) for row in rows] == [
                    ("simulator", True, "1"),
                    ("connector", True, "1"),
                ]
                kill = {"action": "kill", "settings": {"name": "connector"}}
                status, done = await post(session, at, kill)
                assert (status, done["answer"]["pid"]) == (200, str(processes["connector"].pid))
                assert await processes["connector"].process.wait() == -signal.SIGKILL
                found = await post(session, at, kill)
                assert (found[0], "does not run" in found[1]["error"]) == (400, True)
                for settings in ({"name": "server"}, {}, {"name": 5}):
                    found = await post(session, at, {"action": "kill", "settings": settings})
                    assert (found[0], "name is one of simulator, connector" in found[1]["error"]) == (400, True)
                assert processes["server"].running
            base = levers.url.rsplit("/", 1)[0]
            async with session.post(f"{base}/kill", json={"name": "simulator"}) as answer:
                assert answer.status == 404, "without the secret"
        assert processes["simulator"].running


async def test_however_often_a_process_is_killed_it_is_restarted(session, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(processes_module, "_PAUSE", 0.0)
    monkeypatch.setattr(processes_module, "_SHORT_LIFE", 3600.0)
    venue = cast("Venue", SimpleNamespace(exchange="limitlex", simulator="simulator", connector="connector"))
    started: asyncio.Queue[str] = asyncio.Queue()
    async with Processes(tmp_path, started.put_nowait, temporary=False) as processes:
        for name in ("simulator", "connector"):
            await processes.start(name, [sys.executable, "-c", "import time; time.sleep(3600)"])
        child = processes["connector"]
        supervision = asyncio.create_task(processes.supervise(child), name="supervise")
        async with Levers(processes, [venue]) as levers, asyncio.timeout(PATIENCE):
            for starts in range(2, 9):
                async with session.post(f"{levers.url}/kill", json={"name": "connector"}) as answer:
                    assert answer.status == 200
                while child.starts < starts:
                    assert "connector" in await started.get()
            # What dies by itself is given up as before.
            for _ in range(5):
                while not child.running:
                    await asyncio.sleep(0)
                os.kill(child.pid, signal.SIGKILL)
                assert child.process
                await child.process.wait()
                await asyncio.sleep(0)
            with pytest.raises(ProcessFailedError, match="ended 5 times in a row"):
                await supervision


def demo(url: str) -> dict[str, str]:
    """How the demo says where its processes can be killed."""
    return {"TICKBRIDGE_WEB_PROCESSES": url}


def test_the_demo_s_address_is_on_this_machine_too(redis_server, tmp_path) -> None:
    arguments = ("web", "--redis", redis_server.url, "--http", "127.0.0.1:0")
    process = Process(tmp_path / "log", *arguments, **demo("http://10.0.0.1:1/secret"))
    try:
        assert process.ended() == 1
        assert "TICKBRIDGE_WEB_PROCESSES: the address should be http://127.0.0.1" in process.output
        assert "secret" not in process.output
    finally:
        process.kill()


WRONG = [
    (b"", 400, "not a request"),
    (b"[" * 4000, 400, "not a request"),
    (b"\xff", 400, "not a request"),
    (b" " * 5000, 413, "at most 4096 bytes"),
    ({**FAULT, "more": 1}, 400, "not a request"),
    ({**FAULT, "settings": {"fault": ["x"]}}, 400, "not a request"),
    ({**FAULT, "action": "order"}, 400, "there are fault, pause, resume, kill"),
    ({"action": "kill", "settings": {"name": "connector"}}, 404, "only the demo"),
    ({**FAULT, "exchange": "lmex"}, 404, "'lmex' is not simulated here; there are limitlex"),
    ({**FAULT, "settings": {"fault": "x"}}, 400, "fault"),
    ({**FAULT, "settings": {"fault": "cut", "pair": "X-Y"}}, 400, "'X-Y' is not simulated"),
]


async def test_what_is_wrong_is_said(redis_server, simulator, session) -> None:
    with gateway(redis_server, "--simulator", f"limitlex={simulator}") as at:
        for body, status, words in WRONG:
            found, answer = await post(session, at, body)
            assert (found, words in answer["error"]) == (status, True), (body, answer)
        for key, status in {BOOK.replace("BTC", "XXX"): 400, BOOK.replace("limitlex", "lmex"): 404, "x": 400}.items():
            assert (await get(at, f"/api/simulators/book?key={key}"))[0] == status


async def test_no_page_of_another_site_injects_faults(redis_server, simulator, session) -> None:
    with gateway(redis_server, "--simulator", f"limitlex={simulator}") as at:
        for headers, status in (
            ({"Origin": "https://evil.example.com"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec_Fetch_Site": "cross-site"}, 403),
            ({"Sec_Fetch_Site": "same-site"}, 403),
            ({"Host": "evil.example.com"}, 421),
            ({"Content_Type": "text/plain"}, 415),
            ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
            ({"Origin": at.url, "Sec_Fetch_Site": "same-origin"}, 200),
        ):
            assert (await post(session, at, {"exchange": "limitlex", "action": "resume"}, **headers))[0] == status, (
                headers
            )
        async with session.options(
            f"{at.url}/api/simulators",
            headers={"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"},
        ) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers


async def test_only_a_token_for_everything_may_act(redis_server, simulator, session, tmp_path) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(FILE)
    with gateway(redis_server, "--tokens", str(path), "--simulator", f"limitlex={simulator}") as at:
        action = {"exchange": "limitlex", "action": "resume"}
        assert (await post(session, at, action))[0] == 401
        assert (await post(session, at, action, Authorization=f"Bearer {DESK}"))[0] == 403
        assert (await post(session, at, action, Authorization=f"Bearer {ADMIN}"))[0] == 200
        assert (await get(at, "/api/simulators"))[0] == 401
        assert not (await get(at, "/api/simulators", DESK))[1]["may_act"]
        assert (await get(at, "/api/simulators", ADMIN))[1]["may_act"]
        assert (await get(at, f"/api/simulators/book?key={BOOK}", DESK))[0] == 200


async def test_without_a_simulator_there_is_nothing_to_act_on(redis_server, session) -> None:
    with gateway(redis_server) as at:
        assert (await get(at, "/api/info"))[1]["simulators"] == []
        assert (await get(at, "/api/simulators"))[0] == 404
        async with session.post(f"{at.url}/api/simulators", json=FAULT) as answer:
            assert answer.status in (404, 405)


async def test_a_simulator_that_is_gone_is_said_and_ends_nothing(redis_server, session) -> None:
    gone = f"http://127.0.0.1:{free_port()}/sim"
    with redis_server.client() as client, gateway(redis_server, "--simulator", f"limitlex={gone}") as at:
        (row,) = (await get(at, "/api/simulators"))[1]["simulators"]
        assert "does not answer" in row["error"]
        assert (await post(session, at, FAULT))[0] == 502
        stream = Stream(client, Channel.TRADES)
        stream.trade()
        assert (await get(at, f"/api/entries?key={stream.key}"))[0] == 200


async def test_a_demo_that_hangs_is_said(monkeypatch) -> None:
    monkeypatch.setattr(simulators, "_TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    with socket.socket() as hanging, contextlib.ExitStack() as stack:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen(0)
        url = f"http://127.0.0.1:{hanging.getsockname()[1]}/secret"
        tokens = Tokens()
        async with simulators.Simulators({"limitlex": url}, Keys(""), Guard(tokens), tokens, url) as asked:
            for _ in range(3):  # the first one connects, and waits for an answer
                waiting = stack.enter_context(socket.socket())
                waiting.settimeout(0)
                waiting.connect_ex(hanging.getsockname())
                with pytest.raises(simulators._RefusedError) as refused:
                    await asked._fetch("POST", f"{url}/kill", "the demo", json={})
                assert str(refused.value) == "the demo does not answer within 0.2 s"


@pytest.mark.parametrize(
    "address", ["limitlex", "=http://127.0.0.1:1/sim", "limitlex=https://127.0.0.1:1", "limitlex=http://10.0.0.1:1/sim"]
)
def test_addresses_that_are_none(redis_server, address, tmp_path) -> None:
    process = Process(
        tmp_path / "log", "web", "--redis", redis_server.url, "--http", "127.0.0.1:0", "--simulator", address
    )
    try:
        assert process.ended() == 1
        assert "--simulator: " in process.output
    finally:
        process.kill()
