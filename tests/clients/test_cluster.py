"""The TypeScript and the Go client read a Redis Cluster: its masters die, its slots move, and nothing is missed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import acl
from bridge.redis.topology import slot_of
from tests.clients.following import Program
from tests.clusters import Cluster, plain, wait
from tests.e2e.harness import eventually
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer, free_port

PAIRS = [f"{base}-EUR" for base in ("BTC", "ETH", "NEAR", "ADA", "TON", "XRP")]
TRADE = {"type": "trade", "ts": "", "recv": "1", "id": "", "side": "buy", "price": "1.50", "size": "2"}
BOOK = "md:{limitlex:BTC-EUR}:book"


def key_of(pair: str) -> str:
    return f"md:{{limitlex:{pair}}}:trades"


@pytest.fixture(params=["typescript", "go"])
def follow(request: pytest.FixtureRequest) -> list[str]:
    """The command of a program that follows streams."""
    folder: Path = request.getfixturevalue(request.param)
    return [str(folder / "bin" / "follow")] if request.param == "go" else ["node", str(folder / "dist/test/follow.js")]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path / "cluster", masters=3, replicas=1)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    cluster = Cluster(tmp_path_factory.mktemp("node"), masters=1)
    yield cluster.servers[0]
    cluster.stop()


class Trades:
    """Writes trades into all pairs' streams, each of them on a replica, too."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._owners: dict[str, RedisServer] = {}
        self.written = 0

    def add(self, pairs: list[str] = PAIRS, count: int = 3) -> None:
        begin = self.written
        self.written += count
        for pair in pairs:
            for seq in range(begin + 1, self.written + 1):
                wait(lambda: self._once(key_of(pair), seq), f"trade {seq} of {pair}")  # noqa: B023

    def _once(self, key: str, seq: int) -> bool:
        entry = f"{1795302525000 + seq}-{seq}"
        try:
            owner = self._owners.get(key) or self._owners.setdefault(key, self._cluster.owner(key))
            with plain(owner.port) as client:
                if not client.exists(key) or client.xinfo_stream(key)["last-generated-id"] != entry:
                    client.xadd(key, TRADE, id=entry)
                return int(client.wait(1, int(PATIENCE * 1000))) >= 1
        except BaseException:
            self._owners.pop(key, None)
            raise

    def read(self, program: Program, pairs: list[str] = PAIRS) -> None:
        """Wait until the program has printed all of them."""
        program.wait(lambda lines: len(lines) >= self.written * len(pairs), f"{self.written} trades of each pair")
        seen: dict[str, list[str]] = defaultdict(list)
        for row in program.rows:
            seen[row["key"]].append(f"{row['kind']} {row['id'].split('-')[1]}")
        assert seen == {key_of(pair): [f"trade {seq}" for seq in range(1, self.written + 1)] for pair in pairs}


@pytest.fixture
def trades(cluster: Cluster) -> Trades:
    return Trades(cluster)


def test_a_master_is_killed_while_all_slots_are_read(
    follow: list[str], cluster: Cluster, trades: Trades, tmp_path: Path
) -> None:
    victim = cluster.owner(key_of(PAIRS[0]))
    assert len({cluster.owner(key_of(pair)).port for pair in PAIRS}) == 3, "streams on all masters"
    trades.add()
    # The first node that is named does not exist.
    url = cluster.url.replace("//", f"//127.0.0.1:{free_port()},", 1)
    with Program(tmp_path, *follow, url, "trades", "limitlex", *PAIRS) as program:
        trades.read(program)
        victim.kill()
        eventually(lambda: "outage: Redis at redis+cluster://" in program.errors, "the outage is reported")
        wait(lambda: cluster.owner(key_of(PAIRS[0])) is not victim, "another master")
        victim.start()
        trades.add()
        trades.read(program)
        eventually(lambda: program.errors.endswith("over\n"), "its end is reported")
        assert program.errors.count("outage: ") == program.errors.count("over"), program.errors
        assert program.stop() == 0


def test_the_other_masters_streams_go_on_meanwhile(
    follow: list[str], cluster: Cluster, trades: Trades, tmp_path: Path
) -> None:
    """A master is frozen, and there is none to take its place: what it has waits, and nothing else does."""
    frozen = cluster.owner(key_of(PAIRS[0]))
    others = [pair for pair in PAIRS if cluster.owner(key_of(pair)) is not frozen]
    for server in cluster.servers:
        with plain(server.port) as client:
            client.config_set("cluster-require-full-coverage", "no")
    cluster.replica(frozen).kill()
    trades.add(others)
    with Program(tmp_path, *follow, cluster.url, "trades", "limitlex", *PAIRS) as program:
        trades.read(program, others)
        os.kill(frozen.pid, signal.SIGSTOP)
        try:
            trades.add(others)
            trades.read(program, others)
        finally:
            os.kill(frozen.pid, signal.SIGCONT)
        assert program.stop() == 0


def test_slots_move_while_they_are_read(follow: list[str], cluster: Cluster, trades: Trades, tmp_path: Path) -> None:
    """There and back; on the way back, both masters have to be asked for a while."""
    key = key_of(PAIRS[0])
    source = cluster.owner(key)
    target = next(owner for pair in PAIRS if (owner := cluster.owner(key_of(pair))) is not source)
    trades.add()
    with Program(tmp_path, *follow, cluster.url, "trades", "limitlex", *PAIRS) as program:
        trades.read(program)
        cluster.move(slot_of(key), source, target)
        trades.add()
        trades.read(program)
        cluster.move(slot_of(key), target, source, finish=False)
        _add_asking(source, key, trades.written + 1)
        program.wait(lambda lines: len(lines) == trades.written * len(PAIRS) + 1, "a trade of the slot that moves")
        cluster.finish(slot_of(key), source)
        trades.add()
        trades.read(program)
        assert program.stop() == 0


def _add_asking(server: RedisServer, key: str, seq: int) -> None:
    with plain(server.port, single_connection_client=True) as client:
        client.execute_command("ASKING")
        client.xadd(key, TRADE, id=f"{1795302525000 + seq}-{seq}")


def test_a_book_from_the_late_join_hash(follow: list[str], cluster: Cluster, tmp_path: Path) -> None:
    with cluster.client() as client:
        for seq in range(1, 4):
            levels = {"xseq": str(seq), "bids": f"{seq}:1", "asks": f"10:{seq}"}
            client.xadd(BOOK, {"type": "delta", "ts": "", "recv": "1", **levels}, id=f"{1795302525000 + seq}-{seq}")
        hashed = {"id": "1795302525002-2", "xseq": "2", "recv": "1", "bids": "2:1 1:1", "asks": "10:2"}
        client.hset(f"{BOOK}:snapshot", mapping=hashed)
    with Program(tmp_path, *follow, cluster.url, "book", "limitlex", "BTC-EUR") as program:
        program.wait(lambda lines: len(lines) == 2, "the hash's book, and the one after it")
        first, second = program.rows
        assert (first["id"], second["id"]) == ("1795302525002-2", "1795302525003-3")
        assert [level["price"] for level in second["bids"]] == ["3", "2", "1"]
        assert program.stop() == 0


def test_the_rights_of_a_reader_are_enough(follow: list[str], cluster: Cluster, trades: Trades, tmp_path: Path) -> None:
    trades.add()
    digest = f"#{hashlib.sha256(b'secret').hexdigest()}"
    rules = acl.user("reader", acl.public_reader(""), digest, cluster=True).split(" ")
    for server in cluster.servers:
        with plain(server.port) as client:
            client.execute_command(*rules)
    url = cluster.url.replace("//", "//reader:secret@")
    with Program(tmp_path, *follow, url, "trades", "limitlex", *PAIRS) as program:
        trades.read(program)
        assert program.stop() == 0


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+cluster://nobody:secret@127.0.0.1:{node}", "wrong user or password"),
        ("redis+cluster://:secret@127.0.0.1:{node}/1", "only one database"),
        ("redis+cluster://127.0.0.1:1", "is unreachable"),
        ("redis+cluster://127.0.0.1:{server}", "use redis:// instead of redis+cluster://"),
        ("redis://127.0.0.1:{node}", "use redis+cluster:// instead of redis://"),
    ],
)
def test_what_is_wrong_is_said(
    url: str, words: str, follow: list[str], one_node: RedisServer, redis_server: RedisServer
) -> None:
    url = url.format(node=one_node.port, server=redis_server.port)
    command = [*follow, url, "trades", "limitlex", *PAIRS]
    done = subprocess.run(
        command, text=True, capture_output=True, check=False, timeout=PATIENCE, env=clean_environment()
    )
    assert done.returncode != 0
    assert words in done.stderr
    assert "secret" not in done.stderr
