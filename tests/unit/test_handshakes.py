"""Servers that misbehave, on raw sockets: both WebSocket libraries come to the same end, at once, and say the same."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from bridge.exchange_errors import ErrorKind, HandshakeError
from bridge.feed import fast, transport
from bridge.feed.transport import Socket, connect
from bridge.simulator.tls import server_context
from tests.patience import PATIENCE
from tests.unit.test_transport import Heard

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@pytest.fixture(params=["websockets", "picows"])
def library(request: pytest.FixtureRequest) -> str:
    if request.param == "picows":
        pytest.importorskip("picows")
    return str(request.param)


@contextlib.asynccontextmanager
async def server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Reads the request, then ``talk`` has the socket, and the bytes of the right ``Sec-WebSocket-Accept``."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split()[
                -1
            ]
            accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
            await talk(reader, writer, accept)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as listening:
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def dial(url: str, library: str, heard: Heard, patience: float = PATIENCE) -> Socket:
    return await connect("x", url, {}, heard, tls=None, open_timeout=patience, library=library)


def answering(*pieces: bytes, then: str = "wait") -> Talk:
    """Answer the request so; ``then`` wait for the client, close, or abort."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
        for piece in pieces:
            writer.write(piece.replace(b"ACCEPT", accept))
            await writer.drain()
            await asyncio.sleep(0)
        if then == "wait":
            await reader.read()
        elif then == "close":
            writer.close()
            await writer.wait_closed()

    return talk


async def refusal(talk: Talk, library: str, patience: float = PATIENCE) -> HandshakeError:
    """How the handshake fails; nothing may reach the handler."""
    heard = Heard()
    async with server(talk) as url:
        with pytest.raises(HandshakeError) as caught:
            await dial(url, library, heard, patience)
    await asyncio.sleep(0)
    assert heard.reasons == []
    assert heard.messages.empty()
    return caught.value


@pytest.mark.parametrize("answer", ["late", "never"])
async def test_one_that_is_not_waited_for_any_more_is_not_left_open(library, answer):
    asked, given_up, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
        asked.set()
        await given_up.wait()
        if answer == "late":
            writer.write(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
            writer.write(accept + b"\r\n\r\n\x81\x02hi")
        with contextlib.suppress(ConnectionError):
            while await reader.read(4096):
                pass
        ended.set()

    heard = Heard()
    async with server(talk) as url, asyncio.timeout(PATIENCE):
        opening = asyncio.create_task(dial(url, library, heard, PATIENCE if answer == "late" else 0.5))
        await asked.wait()
        opening.cancel()
        await asyncio.wait([opening])
        given_up.set()
        await ended.wait()
    assert opening.cancelled()
    assert heard.messages.empty()


STATUSES = {
    b"HTTP/1.1 500 Internal Server Error": 500,
    b"HTTP/1.1 502 Bad Gateway": 502,
    b"HTTP/1.1 503 Service Unavailable": 503,
    b"HTTP/1.0 503 Service Unavailable": 503,
    b"HTTP/1.1 504 Gateway Timeout": 504,
    b"HTTP/1.1 520 ": 520,
    b"HTTP/1.1 522": 522,
    b"HTTP/1.1 530 Origin DNS Error": 530,
    b"HTTP/1.1 599 x": 599,
    b"HTTP/1.1 400 Bad Request": 400,
    b"HTTP/1.1 403 Forbidden": 403,
    b"HTTP/1.1 418 I'm a teapot": 418,
    b"HTTP/1.1 429 Too Many Requests": 429,
    b"HTTP/1.1 451 \xc3\xa4": 451,
    b"HTTP/1.1 200 OK": 200,
    b"HTTP/1.1 204 No Content": 204,
}


@pytest.mark.parametrize("line", STATUSES, ids=lambda line: line.decode(errors="replace"))
async def test_any_status_is_kept_with_its_retry_after_and_text(library, line):
    answer = line + b"\r\nRetry-After: 17\r\nContent-Length: 9\r\n\r\nnot \n\n now"
    error = await refusal(answering(answer), library)
    assert (error.status, error.retry_after) == (STATUSES[line], 17)
    assert "not now" in error.message
    assert (error.kind is ErrorKind.HANDSHAKE_RATE_LIMITED) is (STATUSES[line] == 429)
    assert error.kind is not ErrorKind.UNREACHABLE


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        (b"Retry-After: 0", 0),
        (b"retry-after:5", 5),
        (b"Retry-After: 99999999999999999999", 60),
        (b"Retry-After: 999999", 86400),
        (b"Retry-After: Wed, 30 Jun 2021 10:02:00 GMT\r\nDate: Wed, 30 Jun 2021 10:00:00 GMT", 120),
        (b"Retry-After: Wed, 30 Jun 1999 10:02:00 GMT\r\nDate: Wed, 30 Jun 2021 10:00:00 GMT", 0),
        (b"Retry-After: Wed, 30 Jun 9999 10:02:00 GMT\r\nDate: Wed, 30 Jun 2021 10:00:00 GMT", 86400),
        (b"Retry-After: Wed, 30 Jun 2021 10:02:00 GMT", 60),
        (b"Retry-After: -5", None),
        (b"Retry-After: soon", None),
        (b"Retry-After: \xb2\xb3", None),
        (b"Retry-After:", None),
        (b"no header at all", None),
    ],
)
async def test_how_long_to_wait(library, headers, wait):
    answer = b"HTTP/1.1 503 x\r\n" + headers + b"\r\nContent-Length: 0\r\n\r\n"
    error = await refusal(answering(answer), library)
    assert (error.status, error.retry_after) == (503, wait)


BODIES = {
    "endless": (b"HTTP/1.1 500 x\r\n\r\n", b"b" * 100_000 * 30),
    "longer than the library reads": (b"HTTP/1.1 500 x\r\nContent-Length: 90000000\r\n\r\n", b"b" * 3_000_000),
    "shorter than promised": (b"HTTP/1.1 500 x\r\nContent-Length: 500\r\n\r\nbbb", b""),
    "chunked wrongly": (b"HTTP/1.1 500 x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nbbb", b""),
    "packed": (b"HTTP/1.1 500 x\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08", b""),
    "headers that are wrong": (b"HTTP/1.1 500 x\r\n: \r\nNo Colon\r\n\xff\xfe: \x00\r\n\r\n", b"x"),
    "many headers": (b"HTTP/1.1 500 x\r\n" + b"X-A: b\r\n" * 1000 + b"\r\n", b"x"),
    "in pieces": (b"HTTP/1.1 50", b"0 x\r\nX: y\r\n\r", b"\n", b"later"),
}


@pytest.mark.parametrize("name", BODIES)
async def test_the_status_is_kept_whatever_the_body_is(library, name):
    error = await refusal(answering(*BODIES[name]), library)
    assert error.status == 500
    assert len(str(error)) < 400


async def test_a_long_line_of_headers(library):
    answer = b"HTTP/1.1 500 x\r\nX: " + b"y" * 12_000 + b"\r\nRetry-After: 3\r\n\r\n"
    error = await refusal(answering(answer), library)
    assert (error.status, error.retry_after) == (500, 3)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_told_of_and_not_followed(library, status):
    reached = asyncio.Event()

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
        reached.set()

    async with server(elsewhere) as target:
        answer = f"HTTP/1.1 {status} x\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
        error = await refusal(answering(answer), library)
    assert error.status == status
    assert target in error.message
    assert not reached.is_set()


BROKEN = {
    "closed at once": (answering(then="close"), ""),
    "aborted at once": (answering(then="abort"), ""),
    "closed within the status": (answering(b"HTTP/1.1 1", then="close"), "before the handshake was done"),
    "closed within the headers": (
        answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso", then="close"),
        "before the handshake was done",
    ),
    "aborted within the headers": (
        answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso", then="abort"),
        "",
    ),
    "the wrong accept": (
        answering(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
        ),
        "not a WebSocket's",
    ),
    "no accept": (
        answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
        "not a WebSocket's",
    ),
    "no HTTP": (answering(b"SSH-2.0-OpenSSH\r\n\r\n"), "not a WebSocket's"),
    "bytes": (answering(bytes(range(128, 256)) + b"\r\n\r\n"), "not a WebSocket's"),
    "headers without end": (answering(b"HTTP/1.1 101 x\r\n", *[b"X-A: " + b"b" * 10_000 + b"\r\n"] * 50), ""),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_an_answer_that_is_none(library, name):
    talk, words = BROKEN[name]
    error = await refusal(talk, library)
    assert error.kind is ErrorKind.UNREACHABLE
    assert words in error.message
    assert len(str(error)) < 400


async def test_an_answer_that_takes_too_long(library):
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
        while not writer.is_closing():
            writer.write(b"H")
            await asyncio.sleep(0.05)

    error = await refusal(drip, library, patience=0.5)
    assert error.kind is ErrorKind.UNREACHABLE


def frame(opcode: int, payload: bytes) -> bytes:
    assert len(payload) < 126
    return bytes([0x80 | opcode, len(payload)]) + payload


OPEN = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n"


@pytest.fixture(autouse=True)
def no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """No patience of the libraries' own ends anything here."""
    monkeypatch.setattr(transport, "_CLOSE_TIMEOUT", 3600.0)
    monkeypatch.setattr(fast, "_CLOSE_TIMEOUT", 3600.0)


async def ended(talk: Talk, library: str) -> Heard:
    """Connect, and wait until it is told that the connection is over, while the server keeps the socket."""
    heard = Heard()
    async with server(talk) as url:
        socket = await dial(url, library, heard)
        async with asyncio.timeout(PATIENCE):
            await heard.gone.wait()
        await socket.send("nobody listens")
        await socket.ping()
    await socket.close()
    assert len(heard.reasons) == 1
    return heard


CLOSES = {
    struct.pack(">H", 1013) + b"try again": "closed by the exchange: 1013 try again",
    struct.pack(">H", 1000): "closed by the exchange: 1000",
    struct.pack(">H", 4001) + "schön".encode(): "closed by the exchange: 4001 schön",
    b"": "closed by the exchange: 1005",
}


@pytest.mark.parametrize("payload", CLOSES, ids=lambda payload: payload[2:].decode() or str(payload))
async def test_a_closing_frame_ends_it_though_the_socket_stays_open(library, payload):
    heard = await ended(answering(OPEN, frame(1, b"before"), frame(8, payload)), library)
    assert heard.reasons == [CLOSES[payload]]
    assert heard.messages.get_nowait() == b"before"


async def test_a_closing_frame_within_tls_ends_it_too(library, tmp_path):
    """There, the end of a socket is a conversation of its own, which the other side need not take part in."""
    tls, ca_file = server_context(tmp_path, datetime.now(UTC))
    heard = Heard()
    async with server(answering(OPEN, frame(8, struct.pack(">H", 1001) + b"bye")), tls) as url:
        trusting = ssl.create_default_context(cafile=str(ca_file))
        socket = await connect("x", url, {}, heard, tls=trusting, open_timeout=PATIENCE, library=library)
        async with asyncio.timeout(PATIENCE):
            await heard.gone.wait()
            await socket.close()
    assert heard.reasons == ["closed by the exchange: 1001 bye"]


async def test_nothing_counts_that_follows_a_closing_frame(library):
    pieces = frame(1, b"before") + frame(8, struct.pack(">H", 1001)) + frame(1, b"after")
    heard = await ended(answering(OPEN + pieces, frame(1, b"later")), library)
    assert heard.messages.get_nowait() == b"before"
    assert heard.messages.empty()


async def test_a_closing_frame_that_comes_with_the_handshake(library):
    heard = await ended(answering(OPEN + frame(8, struct.pack(">H", 1012) + b"restart")), library)
    assert heard.reasons == ["closed by the exchange: 1012 restart"]


@pytest.mark.parametrize("payload", [b"\x03", struct.pack(">H", 999), struct.pack(">H", 1005), b"\x03\xe8\xff\xfe"])
async def test_a_closing_frame_that_is_wrong_ends_it_too(library, payload):
    await ended(answering(OPEN, frame(8, payload)), library)


async def test_a_socket_that_ends_without_a_closing_frame(library):
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
        writer.write(OPEN.replace(b"ACCEPT", accept))
        writer.write_eof()
        await reader.read()

    for talk in (answering(OPEN, then="close"), answering(OPEN, then="abort"), half):
        heard = await ended(talk, library)
        assert heard.reasons == ["connection broken"]
