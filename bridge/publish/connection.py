"""One raw connection to Redis for the hot path: bytes out, parsed replies in.

``redis-py`` connects, authenticates and names the connection (TLS, Unix sockets and Sentinels included); then its
transport is taken over, because its own way of sending and of reading one reply at a time costs several times what the
whole rest of publishing does.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import termios
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection
from redis.exceptions import RedisError

from bridge.errors import RedisUnavailableError
from bridge.publish.wire import command
from bridge.redis.topology import Address, Kind, Topology, flat_map

__all__ = ["RedisConnection", "Reply", "open_connection"]

Reply = bytes | int | list[Any] | hiredis.ReplyError | None
Done = Callable[[list[Reply]], None]

_ASK = "ASK "
_LOOKS = 4
"""How often in its time limit a silent server is looked at."""
_OK, _QUEUED = b"+OK\r\n", b"+QUEUED\r\n"


class RedisConnection(asyncio.Protocol):
    """A connection on which one pipeline is in flight at a time.

    ``patience``: seconds without any progress after which a server that owes replies counts as gone. Progress is a reply, or a
    part of one, or bytes that leave this machine: a slow link isn't a dead one.
    """

    def __init__(self, writer: asyncio.StreamWriter, patience: float, *, resp3: bool) -> None:
        self._writer = writer  # closes the transport when it is collected: keep it
        transport = self._transport = cast("asyncio.Transport", writer.transport)
        self._patience = patience
        self._resp3 = resp3
        self._parser = hiredis.Reader()
        self._expected: int
        """How many replies the pipeline on its way has."""
        self._replies: list[Reply] = []
        self._done: Done | None = None
        self._acknowledged = b""
        """The replies to a transaction's commands, as they come if each of them is queued."""
        self._begun = bytearray()
        """What has come of them."""
        self._loop = asyncio.get_running_loop()
        self._progress: float
        """When something moved last, since the pipeline was sent."""
        self._unsent: int
        """Bytes of it that hadn't left at the last look."""
        self.timed_out = False
        """Whether it was broken off from this side, because nothing moved."""
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Resolves with the reason when the connection is gone."""
        self.peer: Address | None = None
        """The server's address, as Sentinels named it."""
        self.elsewhere: Callable[[Address], Awaitable[RedisConnection]] | None = None
        """In a Cluster: a connection to another node, for keys whose slot is on the move."""
        transport.set_protocol(self)
        if not transport.is_reading():
            transport.resume_reading()
        self._timer = self._loop.call_later(patience / _LOOKS, self._watch)

    def send(self, payload: bytes, expected: int, done: Done, *, queued: int = 0) -> None:
        """Send a pipeline of ``expected`` commands; ``done`` gets its replies, all at once.

        Nothing more may be sent before. If the connection breaks, ``done`` is never called.

        ``queued``: the pipeline begins with a ``MULTI`` and so many commands, which Redis acknowledges one by one: these
        replies are compared as a whole, not parsed.
        """
        self._expected = expected
        self._done = done
        if queued:
            self._acknowledged = _OK + _QUEUED * queued
        self._progress = self._loop.time()
        try:
            self._transport.write(payload)
        except (RuntimeError, OSError) as error:  # uvloop refuses a transport that has just been closed
            self.abort(str(error))
        self._unsent = self._transport.get_write_buffer_size()

    async def request(self, commands: Sequence[str]) -> list[Reply]:
        """Send commands and wait for their replies.

        Raises:
            ConnectionError: the connection broke first, or the server fell silent: then it is broken off.
        """
        if not commands:
            return []
        answer: asyncio.Future[list[Reply]] = self._loop.create_future()
        self.send("".join(commands).encode("latin-1"), len(commands), answer.set_result)
        await asyncio.wait((answer, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ConnectionError(self.lost.result())
        return await self.follow(commands, answer.result())

    async def follow(self, commands: Sequence[str], replies: list[Reply]) -> list[Reply]:
        """Send again, to the node that the reply names, what was answered with ``ASK``: its key has moved already.

        A stream's entries stay in their order: once its key has moved, all that follow are answered so.

        Raises:
            ConnectionError: that node doesn't answer.
        """
        asked: dict[Address, list[int]] = {}
        for index, reply in enumerate(replies):
            if isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_ASK):
                host, _, port = str(reply).split()[2].rpartition(":")
                asked.setdefault((host, int(port)), []).append(index)
        if self.elsewhere is None or not asked:
            return replies
        followed = list(replies)
        for address, indexes in asked.items():
            sent = [part for index in indexes for part in (command("ASKING"), commands[index])]
            try:
                answers = await (await self.elsewhere(address)).request(sent)
            except (RedisUnavailableError, ConnectionError) as error:
                self.abort(f"the node that takes over a slot is away: {error}")
                raise ConnectionError(str(error)) from error
            for index, answer in zip(indexes, answers[1::2], strict=True):
                followed[index] = answer
        return followed

    def abort(self, reason: str) -> None:
        """Give the connection up at once."""
        if not self.lost.done():
            self.lost.set_result(reason)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._progress = self._loop.time()
        if self._acknowledged:
            self._compare(data)
            if self._acknowledged:
                return
            data = b""
        parser = self._parser
        if data:
            parser.feed(data)
        replies = self._replies
        try:
            reply = parser.gets()
            while reply is not False:
                replies.append(reply)
                reply = parser.gets()
        except hiredis.ProtocolError as error:
            self.abort(f"the server's answer is not the Redis protocol: {error}")
            return
        if self._resp3:
            replies = self._replies = _without_pushes(replies)
        done = self._done
        # Also of what comes between two pipelines: it would be taken for the first reply of the next one.
        if len(replies) > (self._expected if done else 0):
            self.abort("the server sent a reply that nobody asked for")
        elif done and len(replies) == self._expected:
            self._done, self._replies = None, []
            done(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        if self.lost.done():
            return
        reason = str(exc) if exc else "the server closed the connection"
        last = self._replies[-1] if self._replies else None
        if isinstance(last, hiredis.ReplyError):
            reason = f"{reason}: {last}"
        self.lost.set_result(reason)

    def _compare(self, data: bytes) -> None:
        """Take the first replies to a transaction: as a whole if they are what they should be, else one by one."""
        begun, wanted = self._begun, self._acknowledged
        begun += data
        if len(begun) >= len(wanted):
            if begun.startswith(wanted):
                self._replies += [b"OK", *[b"QUEUED"] * ((len(wanted) - len(_OK)) // len(_QUEUED))]
                del begun[: len(wanted)]
        elif wanted.startswith(begun):
            return
        self._acknowledged = b""
        self._parser.feed(bytes(begun))
        begun.clear()

    def _watch(self) -> None:
        """Break the connection off if the server owes replies, and nothing moves."""
        now = self._loop.time()
        if self._done is not None:
            unsent = self._transport.get_write_buffer_size() + self._queued_by_the_system()
            if unsent < self._unsent:
                self._progress = now
            self._unsent = unsent
            if now - self._progress > self._patience:
                self.timed_out = True
                self.abort(f"no reply within {self._patience:g} s")
                return
        self._timer = self._loop.call_later(self._patience / _LOOKS, self._watch)

    def _queued_by_the_system(self) -> int:
        """Bytes that this machine still has to send; 0 where the system doesn't say."""
        queued = array.array("i", [0])
        with contextlib.suppress(OSError, AttributeError, ValueError):
            fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, queued)
        return queued.pop()


async def open_connection(
    where: str | Topology,
    name: str,
    connect_timeout: float,
    shown: str = "",
    *,
    address: Address | None = None,
    reply_timeout: float = 5.0,
) -> RedisConnection:
    """Connect, authenticate, and take the connection over.

    Args:
        where: what to connect to: a URL, or one that is taken apart already.
        name: what the server's ``CLIENT LIST`` will show.
        connect_timeout: seconds for all of it.
        shown: what messages call the server.
        address: in a Cluster, the node to connect to.
        reply_timeout: seconds after which an answer to ``RedisConnection.request`` counts as lost.

    Raises:
        RedisUnavailableError: nobody answers, or the server doesn't let this client in.
    """
    topology = Topology(where) if isinstance(where, str) else where
    shown = shown or topology.address
    pool = topology.pool(address, client_name=name, socket_connect_timeout=connect_timeout)
    connection: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        try:
            async with asyncio.timeout(connect_timeout):
                await connection.connect()  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise RedisUnavailableError(shown, str(error) or "no answer") from error
        finally:
            # Of the connection itself the pool knows nothing; with Sentinels it has some of its own.
            await pool.disconnect()
    except BaseException:
        await connection.disconnect(nowait=True)  # whoever asked for it may have given up
        raise
    # redis-py offers no public way to the transport; this name has stood since its asyncio client began. Without it,
    # the connection has nothing to close (and to warn of) when it is collected.
    writer, connection._writer = connection._writer, None  # noqa: SLF001
    made = RedisConnection(cast("asyncio.StreamWriter", writer), reply_timeout, resp3=topology.resp3)
    if topology.kind is Kind.SENTINEL:
        made.peer = cast("Connection", connection).host, cast("Connection", connection).port
    try:
        [pong] = await made.request([command("PING")])
    except ConnectionError as error:
        raise RedisUnavailableError(shown, str(error)) from None
    except BaseException:
        made.abort("not waited for")
        raise
    if pong != b"PONG":
        made.abort("not usable")
        raise RedisUnavailableError(shown, f"PING was answered with {pong!r}")
    return made


def _without_pushes(replies: list[Any]) -> list[Reply]:
    """What RESP3 sends unasked is no reply; and its maps as RESP2 has them."""
    return [flat_map(reply) for reply in replies if not isinstance(reply, hiredis.PushNotification)]
