"""Both WebSocket libraries behind one face, against a real server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from bridge.exchange_errors import HandshakeError
from bridge.feed.transport import Socket, connect
from tests.patience import PATIENCE

LARGE = b"bin" * 1_000_000


class Heard:
    """A handler that keeps what it gets."""

    def __init__(self, *, broken: bool = False) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()
        self.ponged = asyncio.Event()
        self.reasons: list[str] = []
        self.codes: list[int] = []
        self.gone = asyncio.Event()
        self.broken = broken

    def frame(self, data: bytes) -> None:
        if self.broken:
            raise RuntimeError("a bug")
        self.messages.put_nowait(data)

    def received(self, messages: list[bytes]) -> None:
        for message in messages:
            self.frame(message)

    def pong(self) -> None:
        self.ponged.set()

    def lost(self, reason: str, *, code: int = 0) -> None:
        self.reasons.append(reason)
        self.codes.append(code)
        self.gone.set()


async def talk(peer: ServerConnection) -> None:
    await peer.send("first")
    await peer.send(["frag", "men", "ted"])
    await peer.send(LARGE)
    await peer.send("echo " + await peer.recv())
    word = await peer.recv()
    if word == "close":
        await peer.close(4001, "bye")
    elif word == "abort":
        peer.transport.abort()
    else:
        await peer.wait_closed()


async def refuse(peer: ServerConnection, request: Request) -> Response | None:
    if not request.path.startswith("/refuse"):
        return None
    answer = peer.respond(429, "slow down")
    if request.path == "/refuse-until":
        del answer.headers["Date"]
        answer.headers["Date"] = "Wed, 30 Jun 2021 10:00:00 GMT"
        answer.headers["Retry-After"] = answer.headers["Retry-After"] = "1625048100000"
    else:
        answer.headers["Retry-After"] = "7"
    return answer


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serve(talk, "127.0.0.1", 0, process_request=refuse) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"


@pytest.fixture(params=["websockets", "picows"])
def library(request: pytest.FixtureRequest) -> str:
    if request.param == "picows":
        pytest.importorskip("picows")
    return str(request.param)


async def opened(url: str, handler: Heard, library: str) -> Socket:
    return await connect("x", url, {}, handler, tls=None, open_timeout=PATIENCE, library=library)


async def test_messages_come_whole_and_in_order(url: str, library: str) -> None:
    handler = Heard()
    socket = await opened(url, handler, library)
    await socket.send("hello")
    await socket.ping()
    found = [await handler.messages.get() for _ in range(4)]
    assert found == [b"first", b"fragmented", LARGE, b"echo hello"]
    assert {type(message) for message in found} == {bytes}
    await handler.ponged.wait()
    assert handler.reasons == []
    await socket.close()
    await handler.gone.wait()


@pytest.mark.parametrize(("word", "reason"), [("close", "closed by the exchange: 4001 bye"), ("abort", "broken")])
async def test_the_end_is_told_once_with_its_reason(url: str, library: str, word: str, reason: str) -> None:
    handler = Heard()
    socket = await opened(url, handler, library)
    await socket.send("hello")
    await socket.send(word)
    await handler.gone.wait()
    await socket.send("nobody listens")
    await socket.ping()
    await socket.close()
    assert len(handler.reasons) == 1
    assert reason in handler.reasons[0]
    assert handler.codes == [4001 if word == "close" else 0]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 61, 4096, 1_000_000])
async def test_frames_come_whole_however_they_are_cut(library: str, size: int) -> None:
    long = b"\x81\x03abc" * (14_000 if size > 50 else 60)  # whatever it is cut into looks like frames
    wire = b"".join(
        frame.serialize(mask=False)
        for frame in (
            Frame(Opcode.TEXT, b"one"),
            Frame(Opcode.BINARY, b""),
            Frame(Opcode.TEXT, b"m" * 125),
            Frame(Opcode.TEXT, b"m" * 126),
            Frame(Opcode.PING, b"there?"),
            Frame(Opcode.TEXT, b"in ", fin=False),
            Frame(Opcode.PING, b"still?"),
            Frame(Opcode.CONT, b"three ", fin=False),
            Frame(Opcode.CONT, b"parts"),
            Frame(Opcode.BINARY, long),
            Frame(Opcode.PONG, b""),
            Frame(Opcode.TEXT, b"last"),
        )
    )

    async def send(peer: ServerConnection) -> None:
        peer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(wire), size):
            peer.transport.write(wire[start : start + size])
            await asyncio.sleep(0)
        await peer.close(4001, "bye")

    handler = Heard()
    async with serve(send, "127.0.0.1", 0, compression=None) as server:
        await opened(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/", handler, library)
        await handler.gone.wait()
    found = [handler.messages.get_nowait() for _ in range(handler.messages.qsize())]
    assert found == [b"one", b"", b"m" * 125, b"m" * 126, b"in three parts", long, b"last"]
    assert {type(message) for message in found} == {bytes}
    assert handler.reasons == ["closed by the exchange: 4001 bye"]


@pytest.mark.parametrize(
    "wrong",
    [
        b"\x81\x81mask!",
        b"\x81\xfe\x00\x05mask!",
        b"\x83\x01?",
        b"\x80\x01?",
        b"\x01\x01a\x81\x01b",
        b"\x89\x7e\x00\xff" + b"p" * 255,
        b"\x81\x7f" + b"\xff" * 8,
    ],
    ids=["masked", "masked, longer", "opcode", "continues nothing", "interrupts another", "large ping", "endless"],
)
async def test_what_breaks_the_protocol_ends_the_connection_behind_what_came_before(wrong: bytes) -> None:
    async def send(peer: ServerConnection) -> None:
        peer.transport.write(b"\x81\x05first" + wrong + b"\x81\x05after")
        await peer.wait_closed()

    handler = Heard()
    async with serve(send, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        client = await opened(url, handler, "websockets")
        async with asyncio.timeout(PATIENCE):
            await handler.gone.wait()
        await client.close()
    assert [handler.messages.get_nowait() for _ in range(handler.messages.qsize())] == [b"first"]
    assert len(handler.reasons) == 1
    assert handler.reasons[0].startswith("given up: ")


async def test_a_refusal_until_a_time_that_is_said_twice(url: str, library: str) -> None:
    with pytest.raises(HandshakeError) as refusal:
        await opened(url + "refuse-until", Heard(), library)
    assert refusal.value.retry_after == 900


async def test_a_refusal_says_so_and_nothing_is_lost(url: str, library: str) -> None:
    handler = Heard()
    with pytest.raises(HandshakeError) as refusal:
        await opened(url + "refuse", handler, library)
    assert refusal.value.status == 429
    assert refusal.value.retry_after == 7
    await asyncio.sleep(0)
    assert handler.reasons == []


async def test_nobody_there(url: str, library: str) -> None:
    handler = Heard()
    with pytest.raises(HandshakeError) as refusal:
        await opened("ws://127.0.0.1:1/", handler, library)
    assert refusal.value.status == 0
    assert "connect: no answer: 127.0.0.1:1: " in str(refusal.value)
    assert handler.reasons == []


async def test_a_server_that_never_answers(library: str) -> None:
    done = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    address = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    handler = Heard()
    with pytest.raises(HandshakeError):
        await connect("x", address, {}, handler, tls=None, open_timeout=0.2, library=library)
    assert handler.reasons == []
    done.set()
    server.close()
    await server.wait_closed()


async def test_a_handler_that_fails_loses_the_connection(url: str, library: str) -> None:
    handler = Heard(broken=True)
    await opened(url, handler, library)
    await handler.gone.wait()
    assert len(handler.reasons) == 1
