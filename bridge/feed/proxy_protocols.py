"""How proxies are asked to connect: HTTP's ``CONNECT``, SOCKS5 and SOCKS4."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import struct
from typing import NoReturn, Protocol

from bridge.proxies import Proxy
from bridge.urls import written_host

__all__ = ["ProxyHandshake", "TunnelError", "Wire", "name_of", "other_kind", "reason_of"]

_MOST_HEAD = 16 * 1024
"""Bytes of an answer to ``CONNECT``."""
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


class Wire(Protocol):
    """The connection to a proxy."""

    async def read(self) -> bytes:
        """Some bytes; none: the proxy has hung up."""

    async def write(self, data: bytes) -> None:
        """Send all of it."""


class ProxyHandshake:
    """What is said to a proxy until the way is open."""

    def __init__(self, wire: Wire, proxy: Proxy) -> None:
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
            if self._read[:5] != b"HTTP/"[: len(self._read)]:
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
                f"{host} can't be resolved here: {reason_of(error)}; with {by_name}:// the proxy does it"
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
            self._fail(f"hung up before it answered{other_kind(self._proxy)}")
        self._read += data

    def _fail(self, what: str) -> NoReturn:
        raise TunnelError(f"{name_of(self._proxy)} {what}")


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


def name_of(proxy: Proxy) -> str:
    """What messages call the proxy."""
    return f"the proxy {proxy.shown}"


def other_kind(proxy: Proxy) -> str:
    """What to try where the proxy breaks the connection off."""
    kind = "a SOCKS proxy (socks5h://)" if proxy.scheme.startswith("http") else "an HTTP proxy (http://)"
    return f"; is it {kind}, or does it forbid this address?"


def reason_of(error: BaseException) -> str:
    """An error in words, without its number."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
