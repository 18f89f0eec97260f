"""Every way to Redis that the clients take: user and password, another database, TLS, a Unix socket."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_redis_connections import PASSWORD
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer

TRADES = "md:{limitlex:BTC-EUR}:trades"
TRADE = {"type": "trade", "ts": "", "recv": "1", "id": "", "side": "buy", "price": "1.50", "size": "2"}
Secure = tuple[RedisServer, int, Path]


@pytest.fixture(params=["typescript", "go"])
def subject(request: pytest.FixtureRequest) -> tuple[list[str], str]:
    """The command of a conformance subject, and the variable that names a file of further authorities."""
    folder: Path = request.getfixturevalue(request.param)
    if request.param == "go":
        return [str(folder / "bin" / "conformance")], "SSL_CERT_FILE"
    return ["node", str(folder / "dist" / "test" / "conformance.js")], "NODE_EXTRA_CA_CERTS"


def answers(command: list[str], requests: list[dict[str, Any]], **env: str) -> list[dict[str, Any]]:
    lines = "".join(f"{json.dumps(request)}\n" for request in [*requests, {"end": True}])
    done = subprocess.run(
        command, input=lines, text=True, capture_output=True, check=True, timeout=PATIENCE, env=clean_environment(**env)
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("way", ["tls", "socket", "password"])
def test_a_way_to_redis(way, subject, secure_server: Secure, tmp_path: Path):
    server, port, ca_file = secure_server
    command, variable = subject
    url, db = {
        "tls": (f"rediss://bridge:{PASSWORD}@localhost:{port}", 0),
        "socket": (f"unix://bridge:{PASSWORD}@{tmp_path / 'redis.sock'}?db=2", 2),
        "password": (f"redis://bridge:{PASSWORD}@127.0.0.1:{server.port}/3", 3),
    }[way]
    with server.client() as client:
        client.select(db)
        client.xadd(TRADES, TRADE, id="1795302525001-1")
    requests = [{"redis": url, "namespace": ""}, {"open": TRADES, "at": "start"}, {"sync": {TRADES: "1795302525001-1"}}]
    *_, synced = answers(command, requests, **{variable: str(ca_file)})
    assert synced["streams"][TRADES]["items"] == [{"entry": "1795302525001-1", **TRADE}]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rediss://bridge:{password}@localhost:{tls}", "certificate"),
        ("rediss://bridge:{password}@localhost:{port}", "is unreachable"),
        ("redis://bridge:{password}x@localhost:{port}", "wrong user or password"),
        ("redis://bridge:{password}@localhost:{port}/99", "DB index is out of range"),
        ("unix://bridge:{password}@/no/such/socket", "no such"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url, words, subject, secure_server: Secure):
    server, port, _ = secure_server
    url = url.format(password=PASSWORD, tls=port, port=server.port)
    _, opened = answers(subject[0], [{"redis": url, "namespace": ""}, {"open": TRADES, "at": "now"}])
    assert words in opened["error"]
    assert "Redis at " in opened["error"]
    assert PASSWORD not in opened["error"]
