"""A Redis that can't be used is explained in the same words by every command, and none shows a traceback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Run
from tests.servers import RedisServer, free_port

Make = Callable[[], tuple[str, str]]
COMMANDS = {
    "run": ("bridge", "run", "--config"),
    "check": ("bridge", "check", "--connect", "--config"),
    "tail": ("bridge", "tail", "--config"),
    "books": ("consumers.books", "--redis"),
    "wallets": ("consumers.wallets", "--redis"),
}


@pytest.fixture
def greeter() -> Iterator[int]:
    """The port of a server of another kind: it speaks first, and not Redis' language."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(1)
                    client.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                    while client.recv(4096):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


@pytest.fixture
def trouble(request: pytest.FixtureRequest) -> tuple[str, str]:
    """By the parameter: a URL that can't be used, and what is to be said of it."""
    if request.param == "nobody":
        return f"redis://127.0.0.1:{free_port()}/0", "the connection was refused; is the server running"
    if request.param == "another protocol":
        return f"redis://127.0.0.1:{request.getfixturevalue('greeter')}/0", "its answer is not in the Redis protocol"
    server: RedisServer = request.getfixturevalue("redis_server")
    if request.param == "wrong password":
        return server.url.replace("//", "//nobody:hunter2@"), "wrong user or password"
    return f"unix://{server.directory / 'no.sock'}", "there is no such socket"


@pytest.mark.parametrize("key", ["bridge:connector:cb", "bridge:connector:cb:fence", "bridge:catalog"])
def test_a_key_that_is_something_else_is_named(run: Run, redis_server: RedisServer, key: str, tmp_path: Path) -> None:
    with redis_server.client() as client:
        client.rpush(key, "a list")
    nowhere = f"127.0.0.1:{free_port()}"
    connector = {"name": "cb", "exchange": "coinbase", "pairs": ["BTC-USD"], "url": f"ws://{nowhere}"}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"redis": {"url": redis_server.url}, "connectors": [connector]}))
    process = run("run", "--config", str(config))
    assert process.ended() == 2
    assert f"the key {key} has the wrong type; rename or delete it" in process.output
    assert "Traceback" not in process.output


def test_a_replica_is_named_with_its_master(run: Run, own_server: RedisServer, tmp_path: Path) -> None:
    with own_server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
    connector = {"name": "cb", "exchange": "coinbase", "pairs": ["BTC-USD"]}
    connector |= {"url": "ws://127.0.0.1:1", "rest_url": "http://127.0.0.1:1"}
    redis = {"url": own_server.url, "connect_timeout": "500ms"}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"redis": redis, "connectors": [connector]}))
    for name in ("run", "check"):
        module, *arguments = COMMANDS[name]
        process = run(*arguments, str(config), module=module)
        assert process.ended() == 2, (name, process.output)
        assert ": this is a read-only replica; use its master 127.0.0.1:1" in process.output, (name, process.output)
        assert "Traceback" not in process.output, (name, process.output)


@pytest.mark.parametrize("trouble", ["nobody", "another protocol", "wrong password", "no socket"], indirect=True)
def test_in_the_same_words(run: Run, trouble: tuple[str, str], tmp_path: Path) -> None:
    url, words = trouble
    config = tmp_path / "c.yaml"
    nowhere = f"127.0.0.1:{free_port()}"
    connector = {"name": "cb", "exchange": "coinbase", "pairs": ["BTC-USD"]}
    connector |= {"url": f"ws://{nowhere}", "rest_url": f"http://{nowhere}"}
    redis = {"url": url, "connect_timeout": "500ms"}
    config.write_text(yaml.safe_dump({"redis": redis, "connectors": [connector]}))
    for name, (module, *arguments) in COMMANDS.items():
        process = run(*arguments, url if arguments[-1] == "--redis" else str(config), module=module)
        assert process.ended() == 2, (name, process.output)
        assert f": {words}" in process.output, (name, process.output)
        assert "Traceback" not in process.output, (name, process.output)
        assert "hunter2" not in process.output
