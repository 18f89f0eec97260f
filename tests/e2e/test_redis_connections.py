"""Every way to Redis that the config takes: password and user, TLS, a Unix socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from bridge.simulator.tls import server_context
from tests.clusters import Cluster
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
        assert any(re.fullmatch("tickbridge:cb:[0-9a-f]{12}:publisher", name) for name in names)
        assert process.stop() == 0
        [(_, last)] = client.xrevrange("md:{coinbase:BTC-USD}:trades", count=1)
        assert last["event"] == "stop"
    assert PASSWORD not in process.output


def test_a_wrong_password_is_said_and_not_shown(
    run: Run, secure_server: tuple[RedisServer, int, Path], tmp_path: Path
) -> None:
    server, _, _ = secure_server
    config = tmp_path / "c.yaml"
    redis = {"url": f"redis://bridge:{PASSWORD}x@127.0.0.1:{server.port}/0", "connect_timeout": "5s"}
    connector = {"name": "cb", "exchange": "coinbase", "pairs": ["BTC-USD"]}
    config.write_text(yaml.safe_dump({"redis": redis, "connectors": [connector]}))
    process = run("run", "--config", str(config))
    assert process.ended() == 2
    assert "password" in process.output
    assert PASSWORD not in process.output


@pytest.fixture
def tls_files(tmp_path: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Options of a server that wants to see a certificate, and the settings of a client that has one."""
    if reason := missing("debian"):
        pytest.skip(f"TLS needs it: {reason}")
    _, ca_file = server_context(tmp_path / "tls", datetime.now(UTC))
    pem = str(tmp_path / "tls" / "server.pem")
    certificate, key, authority = client_certificate(tmp_path)
    known = tmp_path / "known.pem"
    known.write_bytes(ca_file.read_bytes() + authority)
    options = (f"tls-cert-file {pem}", f"tls-key-file {pem}", f"tls-ca-cert-file {known}", "tls-auth-clients yes")
    options = (*options, f"tls-client-cert-file {certificate}", f"tls-client-key-file {key}")  # between nodes
    return options, {"ca_file": str(ca_file), "cert_file": str(certificate), "key_file": str(key)}


def client_certificate(directory: Path) -> tuple[Path, Path, bytes]:
    """A certificate, its key, and the authority that has signed it."""
    authority = trustme.CA()
    signed = authority.issue_cert(common_name="bridge")
    certificate, key = directory / "client.crt", directory / "client.key"
    signed.cert_chain_pems[0].write_to_path(certificate)
    signed.private_key_pem.write_to_path(key)
    return certificate, key, authority.cert_pem.bytes()


def test_mutual_tls(run: Run, tls_files: tuple[tuple[str, ...], dict[str, str]], tmp_path: Path) -> None:
    options, files = tls_files
    port = free_port()
    server = RedisServer(tmp_path / "data", "debian", options=(f"tls-port {port}", *options))
    server.start()
    try:
        for given, code in ((files, 0), ({"ca_file": files["ca_file"]}, 2)):
            config = tmp_path / f"{code}.yaml"
            config.write_text(yaml.safe_dump({"redis": {"url": f"rediss://127.0.0.1:{port}", **given}}))
            checked = run("check", "--connect", "--config", str(config))
            assert checked.ended() == code, checked.output
        arguments = [part for name, path in files.items() for part in (f"--redis-{name.replace('_', '-')}", path)]
        books = run("--redis", f"rediss://127.0.0.1:{port}", *arguments, module="consumers.books")
        with server.client() as client:
            eventually(lambda: len(client.client_list()) > 1, "the consumer")
        assert books.stop() == 0, books.output
    finally:
        server.kill()


def test_mutual_tls_with_a_cluster(run: Run, tls_files: tuple[tuple[str, ...], dict[str, str]], tmp_path: Path) -> None:
    options, files = tls_files
    cluster = Cluster(tmp_path / "cluster", "debian", tls=(*options, "tls-cluster yes"))
    try:
        url = f"rediss+cluster://127.0.0.1:{cluster.tls_ports[0]}"
        replay = run("replay", str(FIXTURE), "--port", "0", "--speed", "max")
        endpoint = replay.wait_for("ws://").split()[0]
        connector = {"name": "cb", "exchange": "coinbase", "pairs": ["BTC-USD", "ETH-USD"], "url": endpoint}
        config = tmp_path / "c.yaml"
        config.write_text(yaml.safe_dump({"redis": {"url": url, **files}, "connectors": [connector]}))
        process = run("run", "--config", str(config))
        with cluster.client() as client:
            eventually(lambda: client.xlen("md:{coinbase:BTC-USD}:trades") > 5, "trades")
        assert process.stop() == 0, process.output
    finally:
        cluster.stop()
