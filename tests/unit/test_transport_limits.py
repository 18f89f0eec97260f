"""What a hostile exchange can't do: send without end, unpack to gigabytes, or send its client elsewhere."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

import bridge.feed.rest as rest_module
from bridge.exchange_errors import HandshakeError, RestError
from bridge.exchanges.api import Flow, HttpRequest, HttpResponse
from bridge.feed import fast, transport
from bridge.feed.rest import RestClient
from bridge.feed.transport import Socket, connect
from tests.patience import PATIENCE
from tests.unit.test_transport import Heard

SMALL = 100_000


@pytest.fixture(params=["websockets", "picows"])
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits, at a size that a test reaches quickly."""
    monkeypatch.setattr(transport, "MAX_MESSAGE", SMALL)
    monkeypatch.setattr(rest_module, "MAX_BODY", SMALL)
    monkeypatch.setattr(fast, "MAX_MESSAGE", SMALL)


async def opened(talk: Callable[[ServerConnection], object], library: str, heard: Heard) -> str:
    """Connect to a server that talks so; the reason why the connection ended."""
    # On a busy machine the server's own pings would end what takes long.
    async with serve(talk, "127.0.0.1", 0, compression=None, ping_interval=None) as server:  # type: ignore[arg-type]
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        socket = await dial(url, library, heard)
        async with asyncio.timeout(PATIENCE):
            await heard.gone.wait()
        await socket.close()
    return heard.reasons[0]


async def dial(url: str, library: str, heard: Heard) -> Socket:
    return await connect("test", url, {}, heard, tls=None, open_timeout=PATIENCE, library=library)


async def endless(peer: ServerConnection) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1000

    with pytest.raises(ConnectionClosed):
        await peer.send(parts())
        await peer.recv()


async def crumbs(peer: ServerConnection) -> None:
    """Parts without a byte in them: the sum of their bytes never gets anywhere."""
    peer.transport.write(Frame(Opcode.TEXT, b"", fin=False).serialize(mask=False))
    while not peer.transport.is_closing():
        peer.transport.write(Frame(Opcode.CONT, b"", fin=False).serialize(mask=False) * 1000)
        await asyncio.sleep(0)


async def pings(peer: ServerConnection) -> None:
    """Pings whose answers are never read."""
    peer.transport.pause_reading()
    while not peer.transport.is_closing():
        if peer.transport.get_write_buffer_size() < SMALL:
            peer.transport.write(Frame(Opcode.PING, b"p" * 125).serialize(mask=False) * 100)
        await asyncio.sleep(0)


async def huge(peer: ServerConnection) -> None:
    with pytest.raises(ConnectionClosed):
        await peer.send(b"x" * (SMALL + 1))
        await peer.recv()


async def packed(peer: ServerConnection) -> None:
    """A compressed frame, though compression was not agreed on."""
    frame = Frame(Opcode.BINARY, b"x" * 100, rsv1=True)
    peer.transport.write(frame.serialize(mask=False))
    with pytest.raises(ConnectionClosed):
        await peer.recv()


@pytest.mark.parametrize("talk", [endless, crumbs, huge, packed])
async def test_such_a_message_ends_the_connection(talk, library):
    heard = Heard()
    assert await opened(talk, library, heard)
    assert heard.messages.empty()


async def test_pings_whose_answers_are_not_read_end_the_connection(library):
    assert await opened(pings, library, Heard()) == "given up: pings whose answers are not read"


async def test_pings_are_answered(library):
    answers = asyncio.Queue[bytes]()

    async def ask(peer: ServerConnection) -> None:
        pong = await peer.ping(b"there?")
        await pong
        answers.put_nowait(b"there!")
        await peer.close()

    await opened(ask, library, Heard())
    assert answers.get_nowait() == b"there!"


async def test_no_redirect_is_followed(library):
    reached = asyncio.Event()

    async def elsewhere(peer: ServerConnection) -> None:
        reached.set()
        await peer.wait_closed()

    async with serve(elsewhere, "127.0.0.1", 0) as target:
        port = next(iter(target.sockets)).getsockname()[1]

        def redirect(peer: ServerConnection, _: object) -> object:
            answer = peer.respond(302, "")
            answer.headers["Location"] = f"ws://127.0.0.1:{port}/"
            return answer

        async with serve(elsewhere, "127.0.0.1", 0, process_request=redirect) as server:  # type: ignore[arg-type]
            url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
            with pytest.raises(HandshakeError) as refused:
                await dial(url, library, Heard())
    assert refused.value.status in (0, 302)
    assert not reached.is_set()


BODIES = {
    "/small": (b"x" * SMALL, {}),
    "/large": (b"x" * (SMALL + 1), {}),
    "/bomb": (gzip.compress(bytes(50_000_000)), {"Content-Encoding": "gzip"}),
}


@pytest.fixture
async def rest() -> AsyncIterator[RestClient]:
    async def answer(request: web.Request) -> web.Response:
        assert request.headers["Accept-Encoding"] == "identity"
        body, headers = BODIES[request.path]
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with RestClient("test", f"http://127.0.0.1:{runner.addresses[0][1]}", None, 5, None) as client:
        yield client
    await runner.cleanup()


def get(path: str) -> Flow[HttpResponse]:
    return (yield HttpRequest("GET", path))


async def test_an_answer_up_to_the_limit_is_taken(rest):
    assert (await rest.drive(get("/small"))).body == BODIES["/small"][0]


@pytest.mark.parametrize(("path", "words"), [("/large", "larger than"), ("/bomb", r"packed \(gzip\)")])
async def test_an_answer_beyond_the_limits_is_refused(rest, path, words):
    with pytest.raises(RestError, match=words):
        await rest.drive(get(path))
