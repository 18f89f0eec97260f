"""The product behind a proxy: through it, refused by it, and past it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import Bench, Run
from tests.e2e.harness import eventually
from tests.e2e.observing import flowing
from tests.patience import PATIENCE
from tests.proxies import ForwardProxy
from tests.servers import RedisServer, free_port

NO_PROXIES = dict.fromkeys(
    (name for lower in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (lower, lower.upper())), ""
)


@contextlib.contextmanager
def proxied() -> Iterator[ForwardProxy]:
    """A proxy in a thread of its own."""
    proxy = ForwardProxy()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(PATIENCE)
        yield proxy
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(None, None, None), loop).result(PATIENCE)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


@pytest.fixture
def proxy() -> Iterator[ForwardProxy]:
    with proxied() as proxy:
        yield proxy


def written(path: Path, server: RedisServer, **connector: Any) -> str:
    one = {
        "name": "one",
        "exchange": "coinbase",
        "pairs": ["BTC-USD"],
        "url": "wss://feed.example/",
        "rest_url": "https://rest.example",
    }
    path.write_text(
        yaml.safe_dump({"redis": {"url": server.url}, "log": {"format": "json"}, "connectors": [{**one, **connector}]})
    )
    return str(path)


@pytest.mark.parametrize("transport", ["websockets", "picows"])
@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_all_goes_through_the_proxy_of_the_setting(
    bench: Bench, proxy: ForwardProxy, transport: str, scheme: str
) -> None:
    bench.simulate()
    connector = bench.run(proxy=proxy.url(scheme, "me:hunter22"), transport=transport)
    flowing(bench.client, 20)
    kind = "CONNECT" if scheme == "http" else "SOCKS5"
    assert len(proxy.asked) >= 3, "REST, and the WebSockets of the pair and the account"
    assert {line.split()[0] for line in proxy.asked} == {kind}
    assert all(" me:hunter22@127.0.0.1:" in line for line in proxy.asked)
    assert connector.stop() == 0
    assert "hunter22" not in connector.output


@pytest.mark.parametrize("transport", ["websockets", "picows"])
@pytest.mark.parametrize(
    ("variable", "scheme", "asked"),
    [("HTTPS_PROXY", "http", "CONNECT"), ("all_proxy", "socks5h", "SOCKS5")],
)
def test_a_proxy_that_refuses_is_a_line_of_the_log(
    run: Run, redis_server: RedisServer, tmp_path: Path, proxy: ForwardProxy, transport: str, *, variable: str, scheme: str, asked: str
) -> None:  # fmt: skip
    proxy.answer = b"HTTP/1.1 403 Forbidden\r\n\r\n"
    proxy.socks = 2
    config = written(tmp_path / "c.yaml", redis_server, transport=transport)
    environment = {**NO_PROXIES, variable: proxy.url(scheme, "me:hunter22")}
    connector = run("run", "--config", config, **environment)
    output = connector.wait_for("connect_failed")
    assert f"the proxy {proxy.url(scheme)} ({variable})" in output
    assert "forbid" in output
    eventually(
        lambda: {line.rpartition("@")[2] for line in proxy.asked} >= {"feed.example:443", "rest.example:443"}, "both"
    )
    assert all(line.startswith(asked) for line in proxy.asked)
    assert connector.stop() == 0
    checked = run("check", "--connect", "--config", config, **environment)
    assert checked.ended() == 2
    assert f"proxy {proxy.url(scheme)} ({variable})" in checked.output
    assert "forbid" in checked.output
    for process in (connector, checked):
        assert "hunter22" not in process.output
        assert "Traceback" not in process.output


def test_what_is_excepted_goes_past_it(
    run: Run, redis_server: RedisServer, tmp_path: Path, proxy: ForwardProxy
) -> None:
    config = written(tmp_path / "c.yaml", redis_server)
    environment = {**NO_PROXIES, "HTTPS_PROXY": proxy.url(), "HTTP_PROXY": proxy.url(), "NO_PROXY": ".example"}
    connector = run("run", "--config", config, **environment)
    connector.wait_for("connect_failed")
    assert connector.stop() == 0
    assert proxy.asked == []
    checked = run("check", "--config", config, **environment)
    assert checked.ended() == 0
    assert "proxy none: NO_PROXY excepts feed.example" in checked.output


def test_a_wrong_proxy_of_the_environment_is_a_mistake(run: Run, redis_server: RedisServer, tmp_path: Path) -> None:
    config = written(tmp_path / "c.yaml", redis_server)
    for command in ("check", "run"):
        ended = run(command, "--config", config, **{**NO_PROXIES, "HTTPS_PROXY": "ftp://me:hunter22@h"})
        assert ended.ended() == 1
        assert "HTTPS_PROXY: should start with http://" in ended.output
        assert "hunter22" not in ended.output


def test_loopback_is_reached_whatever_the_environment_says(bench: Bench, run: Run, tmp_path: Path) -> None:
    """Simulator, connector, consumer, health page and demo: nothing of them is for a proxy that leads nowhere."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    environment = dict.fromkeys(NO_PROXIES, nowhere) | {"no_proxy": "", "NO_PROXY": ""}
    simulated = bench.simulate()
    config = str(simulated.write(tmp_path / "run.yaml"))
    connector = run("run", "--config", config, **environment)
    flowing(bench.client, 20)
    books = run("--redis", bench.server.url, "--json", module="consumers.books", **environment)
    books.wait_for('"valid":true')
    checked = run("check", "--connect", "--config", config, **environment)
    assert checked.ended() == 0, checked.output
    assert books.stop() == 0
    assert connector.stop() == 0
    demo = run("demo", "--duration", "4", **environment)
    assert demo.ended(90) == 0, demo.output
