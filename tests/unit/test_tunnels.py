"""Through proxies of every kind, with both WebSocket libraries and REST alike: the way there, and every way to fail."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from bridge.exchange_errors import HandshakeError, RestError
from bridge.exchanges.api import Flow, HttpRequest, HttpResponse
from bridge.feed.rest import RestClient
from bridge.feed.transport import connect
from bridge.proxies import Proxy
from bridge.simulator.tls import server_context
from tests.patience import PATIENCE
from tests.proxies import ForwardProxy
from tests.servers import free_port
from tests.unit.test_transport import Heard

NAME = "feed.example"
"""A name that only the proxy can resolve."""
LIBRARIES = ("websockets", "picows", "rest")

Visit = Callable[[Proxy], Awaitable[str]]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The servers' side, and the clients'."""
    server, ca_file = server_context(tmp_path_factory.mktemp("tls"), datetime.now(UTC), (NAME,))
    return server, ssl.create_default_context(cafile=str(ca_file))


@pytest.fixture
async def exchange(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[int]:
    """A WebSocket that echoes, and one path of REST, within TLS; its port."""

    async def talk(peer: ServerConnection) -> None:
        async for message in peer:
            await peer.send(message)

    def answer(peer: ServerConnection, request: Request) -> Response | None:
        return peer.respond(HTTPStatus.OK, "rest says hello") if request.path == "/rest" else None

    async with serve(talk, "127.0.0.1", 0, ssl=contexts[0], process_request=answer) as server:
        yield next(iter(server.sockets)).getsockname()[1]


@pytest.fixture
async def proxy(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> AsyncIterator[ForwardProxy]:
    async with ForwardProxy({NAME: "127.0.0.1"}, contexts[0]) as proxy:
        yield proxy


@pytest.fixture(params=LIBRARIES)
def visit(request: pytest.FixtureRequest, exchange: int, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Visit:
    """Go to the exchange through a proxy, and back with what it says."""
    if request.param == "picows":
        pytest.importorskip("picows")
    return visitor(request.param, NAME, exchange, contexts[1])


def visitor(library: str, host: str, port: int, tls: ssl.SSLContext, timeout: float = PATIENCE) -> Visit:
    async def by_rest(proxy: Proxy) -> str:
        async with RestClient("x", f"https://{host}:{port}", tls, timeout, None, proxy=proxy) as rest:
            return (await rest.drive(get())).body.decode()

    async def by_socket(proxy: Proxy) -> str:
        heard = Heard()
        url = f"wss://{host}:{port}/"
        socket = await connect("x", url, {}, heard, tls=tls, open_timeout=timeout, library=library, proxy=proxy)
        await socket.send("a socket says hello")
        said = await heard.messages.get()
        await socket.close()
        await heard.gone.wait()
        return said.decode()

    return by_rest if library == "rest" else by_socket


def get() -> Flow[HttpResponse]:
    return (yield HttpRequest("GET", "/rest"))


@pytest.mark.parametrize("account", ["", "me:s%40f%3Ae%2F"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h", "socks4a"])
async def test_there_and_back(visit: Visit, proxy: ForwardProxy, exchange: int, scheme: str, account: str) -> None:
    if account and scheme != "socks4a":
        proxy.users = {"me": "s@f:e/"}
    assert "says hello" in await visit(Proxy.of(proxy.url(scheme, account)))
    kind = {"socks5h": "SOCKS5", "socks4a": "SOCKS4"}.get(scheme, "CONNECT")
    said = "me@" if scheme == "socks4a" else "me:s@f:e/@"
    assert proxy.asked == [f"{kind} {said if account else ''}{NAME}:{exchange}"]


@pytest.mark.parametrize(("scheme", "kind"), [("socks5", "SOCKS5"), ("socks4", "SOCKS4")])
@pytest.mark.parametrize("library", LIBRARIES)
async def test_names_that_are_resolved_here(
    proxy: ForwardProxy, exchange: int, contexts, *, library: str, scheme: str, kind: str
) -> None:
    there = visitor(library, "localhost", exchange, contexts[1])
    if scheme == "socks4":
        assert "says hello" in await there(Proxy.of(proxy.url(scheme)))
        assert proxy.asked == [f"{kind} 127.0.0.1:{exchange}"]
    nowhere = visitor(library, "nowhere.invalid", exchange, contexts[1])
    with pytest.raises((HandshakeError, RestError), match=f"nowhere.invalid can't be resolved here.*{scheme}"):
        await nowhere(Proxy.of(proxy.url(scheme)))


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("library", LIBRARIES)
async def test_an_address_goes_as_one(proxy: ForwardProxy, library: str, scheme: str, contexts) -> None:
    port = free_port()
    with pytest.raises((HandshakeError, RestError)):
        await visitor(library, "[::1]", port, contexts[1])(Proxy.of(proxy.url(scheme)))
    shown = f"CONNECT [::1]:{port}" if scheme == "http" else f"SOCKS5 ::1:{port}"
    assert proxy.asked == [shown]


async def failure(visit: Visit, proxy: Proxy) -> str:
    """How it fails, which must be of the right kind, and name the proxy and not its password."""
    with pytest.raises((HandshakeError, RestError)) as caught:
        await visit(proxy)
    text = str(caught.value)
    assert caught.value.kind in ("proxy_failed", "rest_no_answer")
    assert caught.value.status == 0
    assert "hunter22" not in text
    assert f"the proxy {proxy.address} (HTTPS_PROXY)" in text
    return text


ANSWERS = {
    b"": "hung up before it answered",
    b"HTTP/1.1 200 OK": "hung up before it answered",
    b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n": "wants a user and a password (HTTP 407)",
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nforbidden": "forbids connections to feed.example",
    b"HTTP/1.1 502 no\r\n\r\n": "cannot connect to feed.example",
    b"HTTP/1.1 302 x\r\nLocation: http://login.corp/\r\n\r\n": "(HTTP 302)",
    b"SSH-2.0-OpenSSH_9.2\r\n": "does not speak HTTP",
    b"\x05\x00": "does not speak HTTP",
    b"HTTP/1.1 huh\r\n\r\n": "does not speak HTTP",
    b"HTTP/1.1 200 OK\r\n\r\n<html>": "sent more than it was asked for",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000: "an answer without end",
}


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer[:24].decode(errors="replace"))
async def test_what_an_http_proxy_may_say_instead(visit: Visit, proxy: ForwardProxy, answer: bytes) -> None:
    proxy.answer = answer
    assert ANSWERS[answer] in await failure(visit, Proxy.of(proxy.url(), "HTTPS_PROXY"))


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_an_account_that_it_does_not_take(visit: Visit, proxy: ForwardProxy, scheme: str) -> None:
    proxy.users = {"me": "other"}
    text = await failure(visit, Proxy.of(proxy.url(scheme, "me:hunter22"), "HTTPS_PROXY"))
    assert "does not take the user and password" in text


@pytest.mark.parametrize(("scheme", "words"), [("socks5h", "its rules forbid it"), ("socks4a", "it is refused")])
async def test_a_socks_proxy_that_refuses(visit: Visit, proxy: ForwardProxy, scheme: str, words: str) -> None:
    proxy.socks = 2
    assert words in await failure(visit, Proxy.of(proxy.url(scheme), "HTTPS_PROXY"))


async def test_a_socks_proxy_that_wants_an_account(visit: Visit, proxy: ForwardProxy) -> None:
    proxy.users = {"me": "other"}
    text = await failure(visit, Proxy.of(proxy.url("socks5h"), "HTTPS_PROXY"))
    assert "wants a user and a password" in text


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h", "socks4a"])
async def test_no_proxy_there(visit: Visit, scheme: str) -> None:
    text = await failure(visit, Proxy.of(f"{scheme}://127.0.0.1:{free_port()}", "HTTPS_PROXY"))
    assert "cannot be reached: Connect" in text


async def test_a_name_that_is_none(visit: Visit) -> None:
    assert "cannot be reached" in await failure(visit, Proxy.of("http://nowhere.invalid:1", "HTTPS_PROXY"))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_a_proxy_that_never_answers(proxy: ForwardProxy, library: str, scheme: str, contexts) -> None:
    proxy.deaf = True
    there = visitor(library, NAME, 1, contexts[1], timeout=2)
    assert "did not answer within " in await failure(there, Proxy.of(proxy.url(scheme), "HTTPS_PROXY"))


@pytest.mark.parametrize("library", LIBRARIES)
async def test_https_to_a_proxy_without_tls_and_without_trust(proxy: ForwardProxy, library: str, contexts) -> None:
    async with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        there = visitor(library, NAME, 1, contexts[1])
        plain = Proxy.of(f"https://127.0.0.1:{port}", "HTTPS_PROXY")
        assert "does not speak TLS; is it http://?" in await failure(there, plain)
    stranger = visitor(library, NAME, 1, ssl.create_default_context())
    assert "its authority goes into ca_file" in await failure(stranger, Proxy.of(proxy.url("https"), "HTTPS_PROXY"))


@contextlib.asynccontextmanager
async def speaking(data: bytes) -> AsyncIterator[int]:
    """A server that says this to whatever it gets; its port."""

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(1)
            writer.write(data)
            await writer.drain()
            await reader.read()
        writer.close()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("scheme", ["socks5h", "socks4a"])
async def test_socks_to_an_http_proxy(visit: Visit, scheme: str) -> None:
    async with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert "HTTP proxy" in await failure(visit, Proxy.of(f"{scheme}://127.0.0.1:{port}", "HTTPS_PROXY"))


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
@pytest.mark.parametrize("library", ["websockets", "picows"])
async def test_a_proxy_that_ends_later_loses_the_connection(
    proxy: ForwardProxy, exchange: int, library: str, scheme: str, contexts
) -> None:
    heard = Heard()
    socket = await connect(
        "x",
        f"wss://{NAME}:{exchange}/",
        {},
        heard,
        tls=contexts[1],
        open_timeout=PATIENCE,
        library=library,
        proxy=Proxy.of(proxy.url(scheme)),
    )
    for task in proxy._tasks:
        task.cancel()
    async with asyncio.timeout(PATIENCE):
        await heard.gone.wait()
    assert len(heard.reasons) == 1
    await socket.close()


async def test_large_messages_both_ways_through_tls_in_tls(proxy: ForwardProxy, exchange: int, contexts) -> None:
    heard = Heard()
    url = f"wss://{NAME}:{exchange}/"
    through = Proxy.of(proxy.url("https"))
    socket = await connect(
        "x", url, {}, heard, tls=contexts[1], open_timeout=PATIENCE, library="websockets", proxy=through
    )
    large = "x" * 900_000
    for _ in range(5):
        await socket.send(large)
    for _ in range(5):
        assert await heard.messages.get() == large.encode()
    await socket.close()
