"""Connections through a proxy: a connected socket for whatever library speaks over it, and the same errors for all.

The libraries have proxies of their own, each with its own gaps and its own words; none of them is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import struct
from typing import NoReturn, Protocol

from bridge.proxies import Proxy
from bridge.urls import written_host

__all__ = ["TunnelError", "open_tunnel"]

_MOST_HEAD = 16 * 1024
"""Bytes of an answer to ``CONNECT``."""
_CHUNK = 64 * 1024
_SOCKS5_REFUSALS = {
    1: "it failed",
    2: "its rules forbid it",
    3: "the network is unreachable for it",
    4: "the host is unreachable for it, or it can't resolve the name",
    5: "the connection was refused",
    6: "it took too long",
    7: "it doesn't know the command",
    8: "it doesn't take this kind of address (socks5h:// sends the name)",
}


class TunnelError(ConnectionError):
    """The proxy doesn't lead to the address: names the proxy, and says what to do. Shows no password."""


class _Wire(Protocol):
    """The connection to a proxy."""

    async def read(self) -> bytes:
        """Some bytes; none: the proxy has hung up."""

    async def write(self, data: bytes) -> None:
        """Send all of it."""


async def open_tunnel(
    proxy: Proxy, host: str, port: int, *, timeout: float, tls: ssl.SSLContext | None = None
) -> socket.socket:
    """A connected, non-blocking socket to ``host`` through the proxy.

    Args:
        proxy: what to go through.
        host: a name, or an address without brackets.
        port: of the host.
        timeout: seconds for all of it.
        tls: what a proxy with a certificate (``https://``) is verified by.

    Raises:
        TunnelError: the proxy can't be reached, refuses, hangs up, is silent, or is no such proxy.
    """
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise TunnelError(f"{host!r} is no host name") from None
    try:
        async with asyncio.timeout(timeout):
            return await _open(proxy, name, port, tls)
    except TimeoutError:
        raise TunnelError(f"{_who(proxy)} did not answer within {timeout:g} s; is its address right?") from None
    except TunnelError:
        raise
    except OSError as error:
        raise TunnelError(f"{_who(proxy)} broke the connection off: {_reason(error)}{_other_kind(proxy)}") from None


async def _open(proxy: Proxy, host: str, port: int, tls: ssl.SSLContext | None) -> socket.socket:
    if proxy.scheme == "https":
        return await _through_tls(proxy, host, port, tls)
    sock = await _dial(proxy)
    try:
        await _Handshake(_Plain(sock), proxy).ask(host, port)
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
            sock.setblocking(False)
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


class _Handshake:
    """What is said to a proxy until the way is open."""

    def __init__(self, wire: _Wire, proxy: Proxy) -> None:
        self._wire = wire
        self._proxy = proxy
        self._read = b""

    async def ask(self, host: str, port: int) -> None:
        """Have the proxy connect.

        Raises:
            TunnelError: it doesn't.
        """
        scheme = self._proxy.scheme
        if scheme.startswith("http"):
            await self._connect(host, port)
        elif scheme.startswith("socks5"):
            await self._socks5(host, port)
        else:
            await self._socks4(host, port)
        if self._read:
            # Neither side of TLS or HTTP has said anything yet.
            self._fail("sent more than it was asked for")

    async def _connect(self, host: str, port: int) -> None:
        target = f"{written_host(host)}:{port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        if self._proxy.user or self._proxy.password:
            lines.append(f"Proxy-Authorization: Basic {self._proxy.basic}")
        await self._wire.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode())
        while b"\r\n\r\n" not in self._read:
            if len(self._read) > _MOST_HEAD:
                self._fail("sent an answer without end")
            await self._more()
            if not b"HTTP/"[: len(self._read)] == self._read[:5]:
                self._fail("does not speak HTTP; is it a SOCKS proxy? (socks5h://)")
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        parts = head.split(b"\r\n", 1)[0].split(None, 2)
        if len(parts) < 2 or not parts[1].isdigit() or len(parts[1]) != 3:
            self._fail("does not speak HTTP; is it a SOCKS proxy? (socks5h://)")
        status = int(parts[1])
        if not 200 <= status < 300:
            self._refuse(status, target)

    def _refuse(self, status: int, target: str) -> NoReturn:
        if status == 407:
            has = bool(self._proxy.user or self._proxy.password)
            what = "does not take the user and password" if has else "wants a user and a password"
            self._fail(f"{what} (HTTP 407): they go into its URL, http://USER:PASSWORD@HOST:PORT")
        if status in (403, 405):
            self._fail(
                f"forbids connections to {target} (HTTP {status}): its operator can allow them, or NO_PROXY avoid it"
            )
        if status in (500, 502, 503, 504):
            self._fail(f"cannot connect to {target} (HTTP {status})")
        self._fail(f"refuses to connect to {target} (HTTP {status})")

    async def _socks5(self, host: str, port: int) -> None:
        proxy = self._proxy
        named = bool(proxy.user or proxy.password)
        await self._wire.write(b"\x05\x02\x00\x02" if named else b"\x05\x01\x00")
        version, method = await self._exactly(2)
        if version != 5:
            self._fail("does not speak SOCKS5; is it an HTTP proxy? (http://)")
        if method == 0xFF or (method == 2 and not named):
            what = "does not take the user and password" if named else "wants a user and a password"
            self._fail(f"{what}: they go into its URL, {proxy.scheme}://USER:PASSWORD@HOST:PORT")
        if method not in (0, 2):
            self._fail(f"wants a way to log in that is not supported ({method})")
        if method == 2:
            user, password = proxy.user.encode(), proxy.password.encode()
            await self._wire.write(b"\x01" + bytes([len(user)]) + user + bytes([len(password)]) + password)
            if (await self._exactly(2))[1] != 0:
                self._fail("does not take the user and password")
        name = host if proxy.scheme == "socks5h" else await self._resolved(host, port, socket.AF_UNSPEC)
        await self._wire.write(b"\x05\x01\x00" + _socks5_address(name) + struct.pack(">H", port))
        version, reply, _, kind = await self._exactly(4)
        if version != 5:
            self._fail("does not speak SOCKS5; is it an HTTP proxy? (http://)")
        if reply != 0:
            reason = _SOCKS5_REFUSALS.get(reply, f"code {reply}")
            self._fail(f"does not connect to {written_host(host)}:{port}: {reason}")
        sizes = {1: 4, 4: 16}
        size = sizes.get(kind) or ((await self._exactly(1))[0] if kind == 3 else 0)
        if not size:
            self._fail("sent an answer that is not SOCKS5")
        await self._exactly(size + 2)

    async def _socks4(self, host: str, port: int) -> None:
        user = self._proxy.user.encode()
        named = self._proxy.scheme == "socks4a" and not _is_ipv4(host)
        address = b"\x00\x00\x00\x01" if named else socket.inet_aton(await self._resolved(host, port, socket.AF_INET))
        tail = host.encode() + b"\x00" if named else b""
        await self._wire.write(b"\x04\x01" + struct.pack(">H", port) + address + user + b"\x00" + tail)
        version, reply, *_ = await self._exactly(8)
        if version != 0:
            self._fail("does not speak SOCKS4; is it a SOCKS5 or an HTTP proxy? (socks5h://, http://)")
        if reply != 90:
            reason = "it does not take the user" if reply in (92, 93) else "it is refused, or it failed"
            self._fail(f"does not connect to {written_host(host)}:{port}: {reason}")

    async def _resolved(self, host: str, port: int, family: socket.AddressFamily) -> str:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            by_name = "socks5h" if self._proxy.scheme == "socks5" else "socks4a"
            raise TunnelError(
                f"{host} can't be resolved here: {_reason(error)}; with {by_name}:// the proxy does it"
            ) from None
        return str(found[0][4][0])

    async def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            await self._more()
        data, self._read = self._read[:size], self._read[size:]
        return data

    async def _more(self) -> None:
        data = await self._wire.read()
        if not data:
            self._fail(f"hung up before it answered{_other_kind(self._proxy)}")
        self._read += data

    def _fail(self, what: str) -> NoReturn:
        raise TunnelError(f"{_who(self._proxy)} {what}")


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
            f"the certificate of {_who(proxy)} is not trusted: {error.verify_message} (its authority goes into ca_file)"
        ) from None
    except ssl.SSLError as error:
        sock.close()
        raise TunnelError(
            f"{_who(proxy)} does not speak TLS; is it http://? ({error.reason or type(error).__name__})"
        ) from None
    except BaseException:
        sock.close()
        raise
    try:
        await _Handshake(_Encrypted(reader, writer), proxy).ask(host, port)
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
        sock.setblocking(False)
    return one, other


def _socks5_address(host: str) -> bytes:
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        return (b"\x01" if address.version == 4 else b"\x04") + address.packed
    name = host.encode()
    if len(name) > 255:
        raise TunnelError("the host's name is too long for SOCKS5")
    return b"\x03" + bytes([len(name)]) + name


def _is_ipv4(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).version == 4
    except ValueError:
        return False


def _who(proxy: Proxy) -> str:
    return f"the proxy {proxy.shown}"


def _unreachable(proxy: Proxy, error: OSError | UnicodeError) -> TunnelError:
    return TunnelError(f"{_who(proxy)} cannot be reached: {_reason(error)}; is its address right, and does it run?")


def _other_kind(proxy: Proxy) -> str:
    kind = "a SOCKS proxy (socks5h://)" if proxy.scheme.startswith("http") else "an HTTP proxy (http://)"
    return f"; is it {kind}, or does it forbid this address?"


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
