"""A gateway over real data, and a browser in front of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.harness import Process, Simulated, eventually
from tests.e2e.observing import connect
from tests.servers import RedisServer, free_port
from tests.web.browser import Browser, skip_without_chromium

TOKEN = "a-token-for-the-tests-0123456789"


class Desk:
    """Redis, a simulated exchange with its connector if asked for, a gateway, and a browser."""

    def __init__(self, directory: Path, server: RedisServer, start: Callable[..., Process], browser: Browser) -> None:
        self.directory = directory
        self.server = server
        self.client: redis.Redis = connect(server)
        self.browser = browser
        self.port = free_port()
        self._start = start

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def exchange(self, *arguments: str, rate: int = 100, **connector: Any) -> Simulated:
        """A simulated Limitlex and a connector."""
        simulated = Simulated(self.directory, self.server.url, *arguments, rate=rate)
        self._start(simulated.process)
        config = simulated.write(self.directory / "config.yaml", **connector)
        self._start("run", "--config", str(config))
        eventually(lambda: self.client.hget("bridge:connector:limitlex", "state") == "live", "the connector")
        return simulated

    def gateway(self, *more: str, tokens: bool = False) -> Process:
        """A gateway; with ``tokens``, `TOKEN` may read everything."""
        arguments = ["web", "--redis", self.server.url, "--http", f"127.0.0.1:{self.port}", *more]
        if tokens:
            file = self.directory / "tokens.toml"
            file.write_text(f'[[token]]\nname = "desk"\ntoken = "{TOKEN}"\naccounts = ["*"]\n')
            file.chmod(0o600)
            arguments += ["--tokens", str(file)]
        process = self._start(*arguments)
        process.wait_for("health at")
        return process

    def show(self, hash_: str = "", **settings: Any) -> None:
        """Open the page anew at one of its addresses."""
        self.browser.do("open", url=f"{self.url}{hash_}", **settings)

    def sees(self, selector: str, *words: str) -> list[str]:
        """Wait until the elements have these words in their texts; returns the texts."""

        def look() -> list[str]:
            texts = self.browser.texts(selector)
            return texts if texts and all(word in " ".join(texts) for word in words) else []

        return eventually(look, f"{words} in {selector}")

    def clean(self) -> None:
        """The page asked nobody but the gateway, and the browser found nothing to complain about."""
        seen = self.browser.do("seen")
        assert seen["requests"]
        address = f"127.0.0.1:{self.port}/"
        assert [url for url in seen["requests"] if url.split("://")[-1].partition("/")[0] + "/" != address] == []
        assert seen["problems"] == []


@contextlib.contextmanager
def opened(directory: Path, server: RedisServer) -> Iterator[Desk]:
    """A desk, all of whose processes end with it."""
    chromium = skip_without_chromium()
    started: list[Process] = []

    def start(*arguments: Any) -> Process:
        process = arguments[0]
        if not isinstance(process, Process):
            process = Process(directory / f"process-{len(started)}.log", *arguments)
        started.append(process)
        return process

    try:
        with Browser(chromium, directory / "browser.log") as browser:
            made = Desk(directory, server, start, browser)
            yield made
            made.client.close()
    finally:
        for process in started:
            process.kill()


@pytest.fixture
def desk(tmp_path: Path, redis_server: RedisServer) -> Iterator[Desk]:
    """On the session's server; where there is no browser, the test is skipped with the reason."""
    with opened(tmp_path, redis_server) as made:
        yield made


@pytest.fixture
def own_desk(tmp_path: Path, own_server: RedisServer) -> Iterator[Desk]:
    """On a server that the test may stop and kill."""
    with opened(tmp_path, own_server) as made:
        yield made
