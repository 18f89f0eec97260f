"""Every way to Redis that the clients take: user and password, another database, TLS, a Unix socket."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clusters import Sentinels, plain, wait
from tests.e2e.test_redis_connections import PASSWORD
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

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


@pytest.mark.parametrize("planned", [False, True])
def test_the_master_that_sentinels_name_also_after_a_failover(subject, tmp_path: Path, *, planned: bool):
    """After a planned one, the old master goes on until the Sentinels demote it, which here it never lets them."""
    sentinels = Sentinels(tmp_path)
    command = subject[0]
    try:
        env = clean_environment()
        # The first Sentinel is not there.
        url = sentinels.url.replace("//", f"//127.0.0.1:{free_port()},", 1)
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:

            def ask(request: dict[str, Any]) -> dict[str, Any]:
                process.stdin.write(f"{json.dumps(request)}\n")
                process.stdin.flush()
                return json.loads(process.stdout.readline())

            old = sentinels.master
            with old.client() as client:
                client.xadd(TRADES, TRADE, id="1795302525001-1")
                assert client.wait(1, int(PATIENCE * 1000)) == 1
            ask({"redis": url, "namespace": ""})
            ask({"open": TRADES, "at": "start"})
            first = ask({"sync": {TRADES: "1795302525001-1"}})["streams"][TRADES]["items"]
            if planned:
                with plain(old.port) as former, plain(sentinels.ports[0]) as sentinel:
                    former.execute_command("ACL", "SETUSER", "default", "-replicaof", "-slaveof")
                    sentinel.execute_command("SENTINEL", "FAILOVER", sentinels.name)
            else:
                old.kill()
            wait(lambda: sentinels.master is not old, "another master")
            with sentinels.master.client() as client:
                wait(lambda: client.info("replication")["role"] == "master", "the replica to take over")
                client.xadd(TRADES, TRADE, id="1795302525002-2")
            second = ask({"sync": {TRADES: "1795302525002-2"}})["streams"][TRADES]["items"]
            assert [item["entry"] for item in [*first, *second]] == ["1795302525001-1", "1795302525002-2"]
            process.stdin.write('{"end": true}\n')
            process.stdin.flush()
            assert process.wait(PATIENCE) == 0
    finally:
        sentinels.stop()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("rediss://bridge:{password}@localhost:{tls}", "certificate"),
        ("rediss://bridge:{password}@localhost:{port}", "is unreachable"),
        ("redis://bridge:{password}x@localhost:{port}", "wrong user or password"),
        ("redis://bridge:{password}@localhost:{port}/99", "DB index is out of range"),
        ("unix://bridge:{password}@/no/such/socket", "no such"),
        ("redis+sentinel://bridge:{password}@127.0.0.1:1,localhost:{port}/one", "no Sentinel names the master"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url, words, subject, secure_server: Secure):
    server, port, _ = secure_server
    url = url.format(password=PASSWORD, tls=port, port=server.port)
    _, opened = answers(subject[0], [{"redis": url, "namespace": ""}, {"open": TRADES, "at": "now"}])
    assert words in opened["error"]
    assert "Redis at " in opened["error"]
    assert PASSWORD not in opened["error"]
