"""A Cluster's masters and the streams' ways among them: nodes that know their slots, in front of a real server."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import pytest
from redis import exceptions
from structlog.typing import FilteringBoundLogger

from bridge.model import Channel
from bridge.publish.cluster import ClusterNodes
from bridge.publish.connection import RedisConnection, open_connection
from bridge.publish.fence import Fence
from bridge.publish.state import State
from bridge.redis.topology import Topology, slot_of
from tests.patience import PATIENCE
from tests.unit.core import KEYS, stream
from tests.unit.proxy import Particular
from tests.unit.publishing import Desk, desk, hurry, numbers, raw, until

SUBJECTS = ("BTC-EUR", "ETH-EUR", "SOL-EUR")
NOBODY = "-"


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    hurry(monkeypatch)


def slot(subject: str) -> int:
    return slot_of(KEYS.stream("limitlex", subject, "trades"))


class Map:
    """Which node has which slot, and whether the Cluster can be asked for it."""

    def __init__(self) -> None:
        self.owners: dict[int, tuple[str, int] | None] = {}
        self.fails: Exception | None = None

    async def refresh(self) -> None:
        if self.fails:
            raise self.fails

    def owner(self, slot: int) -> tuple[str, int] | None:
        return self.owners.get(slot)


class Node(Particular):
    """A node: it sends away who asks for a key whose slot another one has, or will have."""

    def __init__(self, target: int, known: Map) -> None:
        super().__init__(target, self._look)
        self.known = known
        self.leaving: dict[int, Node] = {}
        """Slots on the move, and where to."""
        self.asked = 0
        """How often ``ASKING`` came."""
        self._asking = False

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    @property
    def open_connections(self) -> int:
        return len(self._writers) // 2

    def _look(self, words: list[bytes]) -> bytes:
        asking, self._asking = self._asking, words[0] == b"ASKING"
        if self._asking:
            self.asked += 1
            return b"+OK\r\n"
        if len(words) == 1 or b"{" not in words[1] or asking:
            return b""
        number = slot_of(words[1].decode())
        if number in self.leaving:
            return b"-ASK %d 127.0.0.1:%d\r\n" % (number, self.leaving[number].port)
        owner = self.known.owner(number)
        return b"" if owner in (None, self.address) else b"-MOVED %d %s:%d\r\n" % (number, owner[0].encode(), owner[1])


class Cluster:
    """Four nodes, a running publisher, and a stream for each of `SUBJECTS`."""

    def __init__(self, known: Map, nodes: list[Node], desk: Desk) -> None:
        self.known = known
        self.nodes = nodes
        self.desk = desk
        self.made: ClusterNodes = desk.publisher._nodes
        self.streams = []

    def place(self, places: str) -> None:
        """``"012"``: the first stream's slot is the first node's, and so on."""
        for subject, place in zip(SUBJECTS, places, strict=True):
            self.known.owners[slot(subject)] = None if place == NOBODY else self.nodes[int(place)].address

    async def add_streams(self) -> None:
        self.streams += [await self.desk.stream(subject=subject) for subject in SUBJECTS]

    async def put(self, count: int) -> None:
        """So many into each stream, one after the other."""
        for _ in range(count):
            for one in self.streams:
                self.desk.put(one)
        await self.desk.drained()

    @property
    def places(self) -> str:
        """Whose pipeline has which stream, and what its address is."""
        addresses = {node.address: str(number) for number, node in enumerate(self.nodes)}
        return "".join(addresses.get(self.made._homes[one].owner, NOBODY) for one in self.streams)

    def check(self, count: int) -> None:
        """Each stream has so many entries, each once, in order."""
        for number, one in enumerate(self.streams, 1):
            assert self.desk.ids(one) == [str(n) for n in range(number, number + 3 * count, 3)]
            assert self.desk.seqs(one) == list(range(1, count + 1))
        publisher = self.desk.publisher
        assert (publisher.published, publisher.lost, publisher.waiting) == (3 * count, 0, 0)


async def connect(address: tuple[str, int]) -> RedisConnection:
    topology = Topology("redis+cluster://127.0.0.1")
    return await open_connection(topology, "test", PATIENCE, address=address, reply_timeout=PATIENCE)


def make_nodes(known: Map, log: FilteringBoundLogger) -> ClusterNodes:
    return ClusterNodes(known, connect, address="the cluster", log=log)


@contextlib.asynccontextmanager
async def cluster(server, places="", **options):
    known = Map()
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(Node(server.port, known)) for _ in range(4)]

        d = await stack.enter_async_context(desk(server, nodes=partial(make_nodes, known), **options))
        made = Cluster(known, nodes, d)
        if places:
            made.place(places)
            await made.add_streams()
        yield made


MOVES = {
    #                                              before  after  pipelines, the old ones first
    "none": ("001", "001", "01"),
    "a replica takes a master's place": ("001", "221", "21"),
    "one goes to a node that has others": ("001", "011", "01"),
    "one goes to a node that is new": ("001", "021", "012"),
    "all go to a node that has others": ("001", "111", "1"),
    "all go, to two nodes that are new": ("001", "231", "213"),
    "two nodes change places": ("001", "110", "10"),
    "a slot that nobody has stays where it was": ("001", "0-1", "01"),
    "all go to one node": ("012", "333", "3"),
}


@pytest.mark.parametrize("move", MOVES)
async def test_streams_follow_their_slots(redis_server, move):
    before, after, pipelines = MOVES[move]
    async with cluster(redis_server, before) as c:
        await c.put(2)
        assert c.places == before
        first = [c.made.home(one) for one in c.streams]
        c.place(after)
        await c.put(2)
        await until(lambda: c.places == after.replace(NOBODY, "0"))
        await c.put(2)
        c.check(6)
        expected = [c.nodes[int(place)].address for place in pipelines]
        assert sorted(master.owner for master in c.made._masters) == sorted(expected)
        assert len(c.made.pipelines) == len({c.made.home(one) for one in c.streams})
        await until(lambda: [node.open_connections for node in c.nodes] == [str(n) in pipelines for n in range(4)])
        if move == "a replica takes a master's place":
            assert [c.made.home(one) for one in c.streams] == first
            assert c.desk.said("stream_moved") == []
        for line in c.desk.said("stream_moved"):
            assert line["node"] in {"{}:{}".format(*node.address) for node in c.nodes}
        assert c.made.mode.name == "BY_SLOT"


async def test_what_waits_of_a_stream_goes_with_it_and_what_it_had_is_remembered(redis_server):
    """The new master lacks what the old one had taken last."""
    async with cluster(redis_server, "001") as c:
        await c.put(3)
        c.made.home(c.streams[1]).look_around = lambda *_, **__: None  # which would notice
        with raw(redis_server) as client:
            client.delete(c.streams[1].key)
        c.place("021")
        await c.put(3)
        c.check(6)
        [line] = c.desk.said("stream_moved")
        assert (line["key"], line["node"]) == (c.streams[1].key, f"127.0.0.1:{c.nodes[2].port}")


async def test_a_slot_that_nobody_has_yet_waits_for_its_master(redis_server):
    async with cluster(redis_server) as c:
        c.place("---")
        await c.add_streams()
        assert len(c.made.pipelines) == 1
        c.desk.put(c.streams[0])
        await until(lambda: c.desk.said("redis_unavailable"))
        c.place("010")
        await until(lambda: c.desk.publisher.waiting == 0)
        c.desk.put(c.streams[1])
        c.desk.put(c.streams[2])
        await c.desk.drained()
        assert c.places == "010"
        c.check(1)


async def test_streams_that_are_there_before_it_runs(redis_server):
    known = Map()
    async with Node(redis_server.port, known) as node:
        known.owners[slot(SUBJECTS[0])] = node.address
        async with desk(redis_server, nodes=partial(make_nodes, known)) as d:
            early = stream(Channel.TRADES, SUBJECTS[0])
            d.publisher.add(early)
            d.put(early, 3)
            await d.drained()
            assert d.ids(early) == numbers(1, 3)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (exceptions.RedisClusterException("Redis Cluster cannot be connected"), "Redis Cluster cannot be connected"),
        (exceptions.TimeoutError(), "TimeoutError"),
        (OSError("no route"), "no route"),
    ],
)
async def test_a_cluster_that_cannot_be_asked_is_asked_again(redis_server, error, words):
    async with cluster(redis_server) as c:
        c.known.fails = error
        c.place("000")
        await c.add_streams()
        await until(lambda: len(c.desk.said("redis_unavailable")) > 1)
        assert c.desk.said("redis_unavailable")[0]["error"] == f"Redis at the cluster: {words}"
        c.known.fails = None
        await c.put(1)
        c.check(1)


async def test_a_slot_on_the_move_is_followed_over_one_connection(redis_server):
    async with cluster(redis_server, "001") as c:
        await c.put(1)
        source, target = c.nodes[0], c.nodes[3]
        source.leaving[slot(SUBJECTS[1])] = target
        for count in (2, 3):
            await c.put(1)
            assert (target.connections, target.open_connections) == (1, 1)
            assert target.asked >= count - 1
        target.cut()
        await until(lambda: target.open_connections == 0)
        await c.put(1)
        assert target.connections == 2, "one that is lost is made again"
        c.check(4)
        asked = target.asked
        source.leaving.clear()
        c.place("031")
        await c.put(1)
        await until(lambda: c.places == "031")
        await until(lambda: target.open_connections == 1)
        assert target.asked == asked, "it is the stream's own master now"
        assert not any(master.asked for master in c.made._masters)
        c.check(5)


async def test_the_end_ends_the_connections_to_nodes_that_take_over(redis_server):
    known = Map()
    async with Node(redis_server.port, known) as source, Node(redis_server.port, known) as target:
        known.owners[slot(SUBJECTS[0])] = source.address
        source.leaving[slot(SUBJECTS[0])] = target
        async with desk(redis_server, nodes=partial(make_nodes, known)) as d:
            d.put(await d.stream())
            await d.drained()
            assert target.open_connections == 1
        await until(lambda: (source.open_connections, target.open_connections) == (0, 0))


async def test_a_pipeline_that_has_lost_its_last_stream_ends(redis_server):
    async with cluster(redis_server, "001") as c:
        await c.put(1)
        [master, _] = c.made._masters
        master.pipeline.pressure.exceeded(asyncio.get_running_loop().time() + 1e6)
        assert master.task.get_name() == "publisher-{}:{}".format(*c.nodes[0].address)
        c.place("111")
        await c.put(1)
        await until(master.task.done)
        assert c.desk.events.held == [True, False], "and holds up the feed no more"
        assert master.pipeline not in c.made.pipelines
        c.check(2)


async def test_who_may_write_holds_for_pipelines_that_come_later(redis_server):
    """In a Cluster without a fence, whatever the lease says: a transaction works within one slot."""
    async with cluster(redis_server, standing_by=True) as c:
        c.place("001")
        await c.add_streams()
        for one in c.streams:
            c.desk.put(one)
        await until(lambda: {pipeline.state for pipeline in c.made.pipelines} == {State.STANDING_BY})
        assert [node.connections for node in c.nodes] == [0] * 4
        c.desk.publisher.may_write(Fence("a-key", "1-aaaa", "test"))
        await c.desk.drained()
        c.place("021")
        await c.put(1)
        c.check(2)
        c.desk.publisher.stand_by()
        c.known.owners[slot("LTC-EUR")] = c.nodes[3].address
        late = await c.desk.stream(subject="LTC-EUR")
        c.desk.put(late)
        await until(lambda: c.made.home(late).state is State.STANDING_BY)
        assert c.nodes[3].open_connections == 0
        c.desk.publisher.may_write()
        await c.desk.drained()
        assert c.desk.seqs(late) == [1]
        with raw(redis_server) as client:
            assert not client.exists("a-key")
