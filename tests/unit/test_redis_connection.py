"""The publisher's raw connection, against a peer that plays the server: which replies belong to whom, and when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import weakref
from typing import Any

import hiredis
import pytest

from bridge.errors import RedisUnavailableError
from bridge.publish.connection import RedisConnection
from bridge.publish.wire import command
from tests.patience import PATIENCE
from tests.unit.peer import SMALL, Peer
from tests.unit.publishing import until

PING = command("PING")
LARGE = 8_000_000
"""Bytes that no system takes in at once."""


@pytest.fixture
async def peer():
    async with Peer() as made:
        yield made


def parsed(data: bytes) -> list[str]:
    """Replies as hiredis has them."""
    reader = hiredis.Reader()
    reader.feed(data)
    found = []
    while (reply := reader.gets()) is not False:
        found.append(reply)
    return shown(found)


def shown(replies) -> list[str]:
    """Replies that can be compared: errors are never equal."""
    return [f"{type(reply).__name__} {reply}" for reply in replies]


# --- whose a reply is ----------------------------------------------------------------------------------------------


async def test_a_reply_between_two_pipelines_ends_the_connection(peer):
    for replies in (b"+A\r\n+B\r\n+C\r\n", b"+D\r\n+E\r\n+F\r\n"):
        asked = asyncio.create_task(peer.line.request([PING] * 3))
        await asyncio.sleep(0)  # it has been sent
        peer.say(replies)
        assert b"".join(await asked) == replies.replace(b"+", b"").replace(b"\r\n", b"")
    peer.say(b"+STRAY\r\n")  # fewer than the pipelines before had
    await until(peer.line.lost.done)
    assert "nobody asked for" in peer.line.lost.result()


async def test_a_request_without_commands_asks_nothing(peer):
    assert await peer.line.request([]) == []
    asked = asyncio.create_task(peer.line.request([PING]))
    assert await peer.reader.read(65536) == PING.encode()
    peer.say(b"+OK\r\n")  # no transaction has begun
    assert await asked == [b"OK"]


OK, QUEUED = b"+OK\r\n", b"+QUEUED\r\n"
TRANSACTIONS = {
    "all are taken": OK + QUEUED * 3 + b"*3\r\n:1\r\n:2\r\n:3\r\n",
    "the first is refused": OK + b"-OOM no\r\n" + QUEUED * 2 + b"-EXECABORT no\r\n",
    "the last is refused": OK + QUEUED * 2 + b"-OOM no\r\n" + b"-EXECABORT no\r\n",
    "all are refused": b"-NOAUTH no\r\n" * 5,
    "longer than it should be": OK + b"+QUEUED and more\r\n" + QUEUED * 2 + b"*0\r\n",
}
ENDS = sorted({len(OK) - 1, len(OK), len(OK + QUEUED), len(OK + QUEUED * 3) - 1, len(OK + QUEUED * 3), 1, 7, 1000})


@pytest.mark.parametrize("size", ENDS)
@pytest.mark.parametrize("kind", TRANSACTIONS)
async def test_the_replies_to_a_transaction_come_in_pieces_of_any_size(peer, kind, size):
    """The first of them are compared, not parsed: what comes out is the same."""
    answer, line, got = TRANSACTIONS[kind], peer.line, []

    def take(replies):
        got.append(shown(replies))
        if len(got) < 3:
            line.send(b"", 5, take, queued=3 if len(got) < 2 else 0)  # who has its replies may send at once

    line.send(b"", 5, take, queued=3)
    assert line._acknowledged == OK + QUEUED * 3
    for _ in range(3):
        for start in range(0, len(answer), size):
            line.data_received(answer[start : start + size])
    assert got == [parsed(answer)] * 3
    assert not line.lost.done()


async def test_what_was_read_before_the_connection_was_taken_over_does_not_stop_it():
    """A stream whose buffer is full reads no more."""

    class Paused(Peer):
        def take_over(self, writer):
            writer.transport.pause_reading()
            return super().take_over(writer)

    async with Paused() as peer:
        peer.say(b"+PONG\r\n")
        assert await peer.line.request([PING]) == [b"PONG"]


# --- the end -------------------------------------------------------------------------------------------------------

TOO_LARGE = b"-ERR Protocol error: invalid bulk length\r\n"
ENDINGS = {
    "it hangs up": (lambda p: p.writer.close(), "the server closed the connection"),
    "it says why": (
        lambda p: (p.say(b"+OK\r\n" + TOO_LARGE), p.writer.close()),
        "the server closed the connection: ERR Protocol error: invalid bulk length",
    ),
    "it says something else": (lambda p: (p.say(b"+OK\r\n"), p.writer.close()), "the server closed the connection"),
    "it vanishes": (lambda p: p.reset(), "Connection reset by peer"),
    "it speaks another language": (
        lambda p: p.say(b"HTTP/1.1 400 Bad Request\r\n"),
        'the server\'s answer is not the Redis protocol: Protocol error, got "H" as reply type byte',
    ),
    "it says too much": (lambda p: p.say(b"+A\r\n" * 4), "the server sent a reply that nobody asked for"),
    "we give it up": (lambda p: (p.line.abort("enough"), p.line.abort("again")), "enough"),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_how_a_connection_ends_is_said_to_whoever_waits(peer, ending):
    ends, words = ENDINGS[ending]
    asked = asyncio.create_task(peer.line.request([PING] * 3))
    assert await peer.reader.readexactly(len(PING) * 3)
    ends(peer)
    with pytest.raises(ConnectionError) as caught:
        await asked
    assert str(caught.value).endswith(words)
    assert str(caught.value) == peer.line.lost.result()
    assert not peer.line.timed_out
    await until(peer.line._timer.cancelled)
    with contextlib.suppress(ConnectionError):
        assert await peer.reader.read() == b"", "the other end is told"


@pytest.mark.parametrize("end", [lambda p: p.line.abort("enough"), lambda p: p.writer.close()])
async def test_a_connection_that_is_gone_is_forgotten(peer, end):
    """A timer that looked at it would keep it for ever."""
    end(peer)
    await until(peer.line.lost.done)
    gone = weakref.ref(peer.line)
    del peer.line
    await until(lambda: (gc.collect(), gone() is None)[1])


def test_a_transport_that_has_just_been_closed_refuses_nothing_aloud():
    """``uvloop`` raises where asyncio is silent."""
    uvloop = pytest.importorskip("uvloop")

    async def sends_too_late():
        async with Peer() as peer:
            peer.writer.close()
            await until(peer.line.lost.done)
            peer.line.send(PING.encode(), 1, list)
            with pytest.raises(ConnectionError, match="the server closed the connection"):
                await peer.line.request([PING])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(sends_too_late())


# --- silence -------------------------------------------------------------------------------------------------------


class Hands:
    """The loop of a connection, with a clock whose hands the test moves: 8 s are its limit."""

    def __init__(self, line: RedisConnection) -> None:
        self._line = line
        self._loop = line._loop
        self.now = 1000.0
        self.delays: list[float] = []
        """After which time it wanted to be called, each time."""
        line._loop = self
        line._patience = 8.0

    def pass_by(self, seconds: float) -> None:
        """So much time passes, and the connection looks at itself."""
        self.now += seconds
        self._line._timer.cancel()
        self._line._watch()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, call: Any) -> asyncio.TimerHandle:
        self.delays.append(delay)
        return self._loop.call_later(PATIENCE, call)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


async def test_the_limit_counts_from_the_last_thing_that_moved(peer):
    line = peer.line
    hands = Hands(line)
    hands.pass_by(10_000.0)  # nothing is owed
    line.send(PING.encode(), 2, list)
    await peer.reader.readexactly(len(PING))
    await until(lambda: not line._queued_by_the_system())
    hands.pass_by(8.0)
    line.data_received(b"+a part")
    hands.pass_by(8.0)
    line.data_received(b" of it\r\n")
    hands.pass_by(8.0)
    assert not line.lost.done()
    assert hands.delays == [2.0] * 4, "it is looked at four times within the limit"
    hands.pass_by(0.1)
    assert (line.timed_out, line.lost.result()) == (True, "no reply within 8 s")
    assert len(hands.delays) == 4
    assert await peer.reader.read() == b""


async def test_who_has_answered_owes_nothing(peer):
    line = peer.line
    hands = Hands(line)
    line.send(PING.encode(), 1, list)
    line.data_received(b"+PONG\r\n")
    hands.pass_by(100.0)
    assert not line.lost.done()


def stuck(peer):
    """A connection that has sent more than the system takes in, to somebody who doesn't read."""
    line = peer.line
    hands = Hands(line)
    peer.writer.transport.pause_reading()
    line.send(b"x" * LARGE, 1, list)
    return line, hands


async def test_a_link_that_carries_nothing_is_given_up(peer):
    """That the system has taken the bytes in is no progress."""
    line, hands = stuck(peer)
    hands.pass_by(8.1)
    assert line.timed_out


async def test_bytes_that_leave_are_progress(peer):
    line, hands = stuck(peer)
    hands.pass_by(0.0)
    unsent = line._unsent
    assert unsent > LARGE / 2
    peer.writer.transport.resume_reading()
    await peer.reader.readexactly(LARGE // 2)
    hands.pass_by(7.0)
    assert line._unsent < unsent
    hands.pass_by(8.0)
    assert not line.lost.done()


async def test_what_left_for_the_last_pipeline_says_nothing_of_the_next(peer):
    line, hands = stuck(peer)
    hands.pass_by(0.0)
    peer.writer.transport.resume_reading()
    await peer.reader.readexactly(LARGE)
    line.data_received(b"+OK\r\n")
    line.send(PING.encode(), 1, list)
    hands.pass_by(8.1)
    assert line.timed_out


async def test_bytes_wait_in_the_system_too(peer):
    line = peer.line
    line._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    peer.writer.transport.pause_reading()
    line.send(b"x" * (8 * SMALL), 1, list)
    await until(lambda: line._transport.get_write_buffer_size() == 0)
    assert line._queued_by_the_system() > SMALL
    peer.writer.transport.resume_reading()
    await peer.reader.readexactly(8 * SMALL)
    await until(lambda: line._queued_by_the_system() == 0)
    line.abort("enough")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert line._queued_by_the_system() == 0, "a closed one doesn't say"


# --- slots on the move ---------------------------------------------------------------------------------------------


class Elsewhere:
    """Connections to the nodes that take slots over: peers, which answer what they are asked for a key with its name."""

    def __init__(self) -> None:
        self.nodes: dict[tuple[str, int], Peer] = {}
        self.heard: list[str] = []
        self.away: Exception | None = None
        self.deaf = False
        self._tasks: list[asyncio.Task[None]] = []

    async def connect(self, address):
        if self.away:
            raise self.away
        if address not in self.nodes:
            self.nodes[address] = await Peer().__aenter__()
            self._tasks.append(asyncio.create_task(self._answer(address, self.nodes[address])))
        return self.nodes[address].line

    async def _answer(self, address, peer):
        parser = hiredis.Reader()
        while data := await peer.reader.read(65536):
            if self.deaf:
                peer.writer.close()
            parser.feed(data)
            while (words := parser.gets()) is not False:
                self.heard.append(f"{address[1]} {b' '.join(words).decode()}")
                peer.say(b"+OK\r\n" if words == [b"ASKING"] else b"+%b there\r\n" % words[1])

    async def close(self):
        for task in self._tasks:
            task.cancel()
        for peer in self.nodes.values():
            await peer.__aexit__()


@pytest.fixture
async def elsewhere(peer):
    made = Elsewhere()
    peer.line.elsewhere = made.connect
    yield made
    await made.close()


GETS = [command("GET", key) for key in "abcde"]
ASKED = [
    b"here",
    hiredis.ReplyError("ASK 12 h:71"),
    hiredis.ReplyError("ASK 13 2001:db8::1:72"),
    hiredis.ReplyError("MOVED 14 h:71"),
    hiredis.ReplyError("ASK 12 h:71"),
]


async def test_what_has_moved_is_asked_for_where_it_has_gone(peer, elsewhere):
    replies = await peer.line.follow(GETS, ASKED)
    assert shown(replies) == shown([b"here", b"b there", b"c there", ASKED[3], b"e there"])
    assert list(elsewhere.nodes) == [("h", 71), ("2001:db8::1", 72)]
    assert elsewhere.heard == ["71 ASKING", "71 GET b", "71 ASKING", "71 GET e", "72 ASKING", "72 GET c"]


async def test_a_request_follows_by_itself(peer, elsewhere):
    asked = asyncio.create_task(peer.line.request(GETS[:2]))
    await peer.reader.readexactly(len(GETS[0]) * 2)
    peer.say(b"+here\r\n-ASK 12 h:71\r\n")
    assert await asked == [b"here", b"b there"]


async def test_who_knows_no_other_node_leaves_it_at_that(peer):
    assert await peer.line.follow(GETS, ASKED) is ASKED


@pytest.mark.parametrize("away", [RedisUnavailableError("h:71", "no answer"), None], ids=["away", "hangs up"])
async def test_a_node_that_takes_over_and_does_not_answer_ends_the_connection(peer, elsewhere, away):
    elsewhere.away, elsewhere.deaf = away, away is None
    words = "no answer" if away else "the server closed the connection"
    with pytest.raises(ConnectionError, match=words):
        await peer.line.follow(GETS, ASKED)
    assert peer.line.lost.result().startswith("the node that takes over a slot is away: ")
    assert words in peer.line.lost.result()
