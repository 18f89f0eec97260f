"""The publisher's connection alone: to a real server, or to one that answers as a test says; and entries to talk about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import hiredis
import structlog
from structlog.testing import LogCapture

from bridge.model import Channel, Control, ControlEvent
from bridge.publish.batch import Run
from bridge.publish.blocking import BlockedStreams
from bridge.publish.connection import RedisConnection, Reply, open_connection
from bridge.publish.events import Totals
from bridge.publish.fence import Fence
from bridge.publish.ledger import Ledger
from bridge.publish.pending import CONTROL, DATA, Pending
from bridge.publish.pressure import Pressure
from bridge.publish.queue import Queue
from bridge.publish.repairs import Repairs
from bridge.publish.sender import BatchSender
from bridge.publish.stream import Stream
from bridge.publish.transfer import Mode
from bridge.publish.upkeep import Upkeep
from bridge.publish.wire import render
from tests.patience import PATIENCE
from tests.servers import RedisServer
from tests.unit.core import stream, trade
from tests.unit.publishing import Events

MS = 1_700_000_000_000
HANG_UP = object()
"""An answer of `scripted`: the connection ends."""

Asked = list[list[str]]
"""Commands, as words, in the order in which they came."""


def words(text: str) -> list[str]:
    """The words of a command."""
    return text.split("\r\n")[2::2]


@contextlib.asynccontextmanager
async def line_to(server: RedisServer, url: str = "") -> AsyncIterator[RedisConnection]:
    """A connection to a real server."""
    line = await open_connection(url or server.url, "test", PATIENCE)
    try:
        yield line
    finally:
        line.abort("done")


def requests(line: RedisConnection) -> list[Asked]:
    """What is asked over a connection from here on, request by request."""
    found: list[Asked] = []
    request = line.request

    async def noted(commands: Sequence[str]) -> list[Any]:
        if commands:
            found.append([words(text) for text in commands])
        return await request(commands)

    line.request = noted
    return found


@contextlib.asynccontextmanager
async def scripted(answer: Callable[[list[str]], Any]) -> AsyncIterator[tuple[RedisConnection, Asked]]:
    """A connection to a server that answers as ``answer`` says, for what no real one can be brought to say; and what it is asked."""
    asked: Asked = []
    serving: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.set_result(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readline():
                command = []
                for _ in range(int(head[1:])):
                    size = int((await reader.readline())[1:])
                    command.append((await reader.readexactly(size + 2))[:-2].decode())
                asked.append(command)
                reply = answer(command)
                if reply is HANG_UP:
                    break
                writer.write(_resp(reply))
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    line = RedisConnection(writer, PATIENCE, resp3=False)
    try:
        task = await serving
        yield line, asked
    finally:
        line.abort("done")
        server.close()
        await task


def _resp(value: Any) -> bytes:
    if isinstance(value, hiredis.ReplyError):
        return f"-{value}\r\n".encode()
    if isinstance(value, list):
        return b"*%d\r\n" % len(value) + b"".join(map(_resp, value))
    if isinstance(value, int):
        return b":%d\r\n" % value
    if value is None:
        return b"$-1\r\n"
    return b"$%d\r\n%b\r\n" % (len(value), value)


def numbered(seq: int, kind: int = DATA, *, ms: int = 0, price: str = "1", ident: str = "") -> Pending:
    """An entry that has its number: a trade of that id, or a control entry; ``ms`` beyond `MS`, by default ``seq``."""
    event = trade(seq, ident or str(seq), price)
    if kind >= CONTROL:
        event = Control(event.subject, None, event.recv, Channel.TRADES, ControlEvent.DOWN, "why")
    at = MS + (ms or seq)
    return Pending(at * 1_000_000, render(event), kind, at, seq)


def fresh(number: int) -> Pending:
    """An entry that has no number yet."""
    made = numbered(number)
    made.ms = made.seq = 0
    return made


def run_of(stream: Stream, *entries: Pending) -> Run:
    return stream, list(entries), sum(entry.weight for entry in entries)


def seqs(runs: Sequence[Run]) -> dict[str, list[int]]:
    """The numbers of entries, by their stream's subject."""
    return {stream.subject: [entry.seq for entry in entries] for stream, entries, _ in runs}


class Parts:
    """The parts of a pipeline, without the pipeline. The feed is held at 2000 bytes, and released at 500."""

    def __init__(self, mode: Mode = Mode.ATOMIC, backoff: Callable[[], Iterator[float]] = lambda: repeat(0.01)) -> None:
        self.queue, self.events, self.totals = Queue(), Events(), Totals()
        self._captured = LogCapture()
        log = structlog.wrap_logger(None, processors=[self._captured])
        self.ledger = Ledger(self.queue, self.events, self.totals)
        self.blocked = BlockedStreams(self.queue, self.events, self.totals, log)
        self.upkeep = Upkeep(self.queue, self.events, log)
        self.repairs = Repairs(self.ledger, self.blocked, self.upkeep, mode=mode, backoff=backoff, log=log)
        self.told: list[str] = []
        self.pressure = Pressure(8000, lambda: self.told.append("hold"), lambda: self.told.append("release"))
        self.sender = BatchSender(
            self.queue, self.ledger, self.blocked, self.upkeep, repairs=self.repairs, pressure=self.pressure
        )

    def said(self, event: str) -> list[Any]:
        """The lines of the log about this event."""
        return [line for line in self._captured.entries if line["event"] == event]

    def stream(self, base: str, **limits: Any) -> Stream:
        """A stream of this pipeline; all that it has had is there."""
        made = stream(Channel.TRADES, f"{base}-EUR", **limits)
        made.gone = 0
        self.queue.add(made)
        return made

    def put(self, where: Stream, count: int) -> list[Pending]:
        """So many entries to send."""
        made = [fresh(number) for number in range(1, count + 1)]
        where.waiting.extend(made)
        size = sum(entry.weight for entry in made)
        where.bytes += size
        self.totals.bytes += size
        self.queue.wake(where)
        return made

    async def send(self, line: RedisConnection, fence: Fence | None = None) -> list[Reply]:
        """Send what there is to send, and wait for its replies."""
        answer: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        self.sender.send(line, fence, answer.set_result)
        if self.sender.transfer is None:
            return []
        async with asyncio.timeout(PATIENCE):
            return await answer
