"""``tickbridge web`` as a command: the config, the port, the rights of its user in Redis."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request

from bridge.acl import user, web
from bridge.keys import Keys
from bridge.model import Channel
from consumers.web import HTTP_PORT
from tests.consumers.streams import MAIN, Stream
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import taken
from tests.web.gateways import browser, gateway, get, listed, seqs
from tests.web.test_web_pages import rows_with


def test_redis_and_namespace_come_from_the_config(redis_server, tmp_path) -> None:
    config = tmp_path / "tickbridge.yaml"
    config.write_text(f"redis: {{url: '{redis_server.url}'}}\nnamespace: prod\n")
    command = [sys.executable, "-m", "bridge", "web", "--config", str(config), "--http", "localhost:0"]
    env = clean_environment(TICKBRIDGE_WEB_TOKENS="")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env) as process:
        try:
            line = next(line for line in process.stderr if "health at" in line)
            url = line.split()[-1]
            assert url.startswith("http://localhost:")
            with urllib.request.urlopen(f"{url}/api/info", timeout=PATIENCE) as answer:
                info = json.load(answer)
            assert info["namespace"] == "prod"
        finally:
            process.kill()


def test_a_default_port_that_is_taken_ends_it(redis_server) -> None:
    with taken(HTTP_PORT):
        done = subprocess.run(
            [sys.executable, "-m", "consumers.web", "--redis", redis_server.url],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=clean_environment(),
            check=False,
        )
    assert (done.returncode, f"port {HTTP_PORT}" in done.stderr) == (2, True), done.stderr


async def test_the_rights_of_its_user_are_enough(own_server) -> None:
    with own_server.client() as client:
        client.execute_command(*user("web", web(""), ">secret").split())
        trades, book = Stream(client, Channel.TRADES), Stream(client, Channel.BOOK)
        fills = Stream(client, Channel.FILLS, "main")
        for stream in (trades, book, fills):
            listed(client, stream.key)
        client.hset(MAIN.connector("one"), mapping={"name": "one"})
        client.hset(MAIN.wallet("limitlex", "main"), mapping={"fills": "1"})
        client.hset(MAIN.snapshot("limitlex", "BTC-EUR"), mapping={"id": book.id(1)})
        client.xadd(Keys().rejects("limitlex"), {"error": "x"})
        book.snapshot("10:1", "11:1")
        token = "admin-0123456789abcdef"
        tokens = f'[[token]]\nname = "admin"\ntoken = "{token}"\naccounts = ["*"]\n'
        named = type("Server", (), {"url": own_server.url.replace("redis://", "redis://web:secret@")})
        with gateway(named, TICKBRIDGE_WEB_TOKENS=tokens) as at:
            rows = await rows_with(at, lambda rows: len(rows) == 3 and rows[book.key]["entries"] == "1", token=token)
            assert rows[book.key]["live"]
            assert (await get(at, f"/api/book?key={book.key}", token))[1]["valid"]
            for path in ("wallet?account=limitlex:main", "rejects?exchange=limitlex", f"entries?key={fills.key}"):
                assert (await get(at, f"/api/{path}", token))[0] == 200
            async with browser(at, token) as one:
                await one.subscribe(fills.key)
                await one.subscribe(trades.key, after="start")
                trades.trade()
                fills.trade()
                assert seqs(await one.upto(fills.id(1), fills.key)) == [1]
                await one.upto(trades.id(1), trades.key)
