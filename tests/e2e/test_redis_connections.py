"""Every way to Redis that the config takes: password and user, TLS, a Unix socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.simulator.tls import server_context
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.servers import RedisServer, free_port, missing

FIXTURE = Path(__file__).parent.parent / "fixtures" / "coinbase-small.jsonl"
PASSWORD = "correct-horse-battery"


@pytest.fixture
def secure_server(tmp_path: Path) -> Iterator[tuple[RedisServer, int, Path]]:
    """Debian's server (the others are built without TLS), with a user, on TLS, TCP and a Unix socket."""
    if reason := missing("debian"):
        pytest.skip(f"TLS needs it: {reason}")
    _, ca_file = server_context(tmp_path / "tls", datetime.now(UTC))
    port = free_port()
    pem = tmp_path / "tls" / "server.pem"
    options = (
        f"tls-port {port}",
        f"tls-cert-file {pem}",
        f"tls-key-file {pem}",
        f"tls-ca-cert-file {ca_file}",
        "tls-auth-clients no",
        f"unixsocket {tmp_path / 'redis.sock'}",
    )
    server = RedisServer(tmp_path / "data", "debian", options=options)
    server.start()
    with server.client() as client:
        client.acl_setuser("bridge", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], categories=["+@all"])
    yield server, port, ca_file
    server.kill()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("way", ["tls", "socket", "password"])
def test_a_way_to_redis(
    run: Run, secure_server: tuple[RedisServer, int, Path], tmp_path: Path, way: str, loop: str
) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    server, port, ca_file = secure_server
    redis: dict[str, Any] = {
        "tls": {"url": f"rediss://bridge:{PASSWORD}@localhost:{port}/0", "ca_file": str(ca_file)},
        "socket": {"url": f"unix://{tmp_path / 'redis.sock'}"},
        "password": {"url": f"redis://bridge:{PASSWORD}@127.0.0.1:{server.port}/0"},
    }[way]
    replay = run("replay", str(FIXTURE), "--port", "0", "--speed", "max")
    url = replay.wait_for("ws://").split()[0]
    connector = {"name": "cb", "exchange": "coinbase", "pairs": ["BTC-USD"], "url": url}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"redis": redis, "loop": loop, "connectors": [connector]}))
    process = run("run", "--config", str(config))
    with server.client() as client:
        eventually(lambda: client.xlen("md:{coinbase:BTC-USD}:trades") > 5, "trades")
        names = {entry["name"] for entry in client.client_list()}
        assert "tickbridge:cb:publisher" in names
        assert process.stop() == 0
        [(_, last)] = client.xrevrange("md:{coinbase:BTC-USD}:trades", count=1)
        assert last["event"] == "stop"
    assert PASSWORD not in process.output


def test_a_wrong_password_is_said_and_not_shown(
    run: Run, secure_server: tuple[RedisServer, int, Path], tmp_path: Path
) -> None:
    server, _, _ = secure_server
    config = tmp_path / "c.yaml"
    redis = {"url": f"redis://bridge:{PASSWORD}x@127.0.0.1:{server.port}/0", "connect_timeout": "500ms"}
    connector = {"name": "cb", "exchange": "coinbase", "pairs": ["BTC-USD"]}
    config.write_text(yaml.safe_dump({"redis": redis, "connectors": [connector]}))
    process = run("run", "--config", str(config))
    assert process.ended() == 2
    assert "password" in process.output
    assert PASSWORD not in process.output
