"""Connections through a proxy: a connected socket for whatever library speaks over it, and the same errors for all.

The libraries have proxies of their own, each with its own gaps and its own words; none of them is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

from bridge.feed.proxy_protocols import ProxyHandshake, TunnelError, name_of, other_kind, reason_of
from bridge.proxies import Proxy

__all__ = ["TunnelError", "open_tunnel"]

_CHUNK = 64 * 1024


async def open_tunnel(
    proxy: Proxy, host: str, port: int, *, within: float, tls: ssl.SSLContext | None = None
) -> socket.socket:
    """A connected, non-blocking socket to ``host`` through the proxy.

    Args:
        proxy: what to go through.
        host: a name, or an address without brackets.
        port: of the host.
        within: seconds for all of it.
        tls: what a proxy with a certificate (``https://``) is verified by.

    Raises:
        TunnelError: the proxy can't be reached, refuses, hangs up, is silent, or is no such proxy.
    """
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise TunnelError(f"{host!r} is not a host name") from None
    try:
        async with asyncio.timeout(within):
            return await _open(proxy, name, port, tls)
    except TimeoutError:
        raise TunnelError(f"{name_of(proxy)} did not answer within {within:g} s; is its address right?") from None
    except TunnelError:
        raise
    except OSError as error:
        raise TunnelError(f"{name_of(proxy)} broke the connection off: {reason_of(error)}{other_kind(proxy)}") from None


async def _open(proxy: Proxy, host: str, port: int, tls: ssl.SSLContext | None) -> socket.socket:
    if proxy.scheme == "https":
        return await _through_tls(proxy, host, port, tls)
    sock = await _dial(proxy)
    try:
        await ProxyHandshake(_Plain(sock), proxy).ask(host, port)
    except BaseException:
        sock.close()
        raise
    return sock


async def _dial(proxy: Proxy) -> socket.socket:
    """A socket to the proxy, at the first of its addresses that answers."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError("it has no address")
    try:
        found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _unreachable(proxy, error) from None
    for family, kind, number, _, address in found:
        sock = socket.socket(family, kind, number)
        try:
            sock.setblocking(False)  # noqa: FBT003 - its only parameter
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise _unreachable(proxy, failure)


class _Plain:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def read(self) -> bytes:
        return await self._loop.sock_recv(self._sock, 4096)

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)


class _Encrypted:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> bytes:
        return await self._reader.read(4096)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


async def _through_tls(proxy: Proxy, host: str, port: int, tls: ssl.SSLContext | None) -> socket.socket:
    """TLS to the proxy, and within it what is spoken to the host: two tasks carry it to and fro."""
    sock = await _dial(proxy)
    try:
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=tls or ssl.create_default_context(), server_hostname=proxy.host
        )
    except ssl.SSLCertVerificationError as error:
        sock.close()
        raise TunnelError(
            f"the certificate of {name_of(proxy)} is not trusted: {error.verify_message} (its authority goes into ca_file)"
        ) from None
    except ssl.SSLError as error:
        sock.close()
        raise TunnelError(
            f"{name_of(proxy)} does not speak TLS; is it http://? ({error.reason or type(error).__name__})"
        ) from None
    except BaseException:
        sock.close()
        raise
    try:
        await ProxyHandshake(_Encrypted(reader, writer), proxy).ask(host, port)
        inner, outer = _pair()
        inner_reader, inner_writer = await asyncio.open_connection(sock=inner)
    except BaseException:
        writer.transport.abort()
        raise
    relay = asyncio.create_task(_relay((reader, writer), (inner_reader, inner_writer)), name="proxy-relay")
    _relays.add(relay)
    relay.add_done_callback(_relays.discard)
    return outer


_relays: set[asyncio.Task[None]] = set()
"""A task that nobody holds may be collected while it runs."""
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _relay(one: _Streams, other: _Streams) -> None:
    """Carry bytes both ways until either side ends; then neither is left open."""
    ways = [asyncio.create_task(_carry(one[0], other[1])), asyncio.create_task(_carry(other[0], one[1]))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        one[1].transport.abort()
        other[1].close()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets: the event loops and libraries set options that a Unix socket doesn't have."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        try:
            while True:
                other, peer = server.accept()
                if peer == one.getsockname():
                    break
                other.close()
        except BaseException:
            one.close()
            raise
    for sock in (one, other):
        sock.setblocking(False)  # noqa: FBT003 - its only parameter
    return one, other


def _unreachable(proxy: Proxy, error: OSError | UnicodeError) -> TunnelError:
    return TunnelError(
        f"{name_of(proxy)} cannot be reached: {reason_of(error)}; is its address right, and does it run?"
    )
