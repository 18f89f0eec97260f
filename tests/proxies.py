"""Proxies as they are met in the field: they lead on, they refuse, and they fail in every way."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
from types import TracebackType
from typing import Self

__all__ = ["ForwardProxy"]

_AUTH_OK = b"\x01\x00"


class ForwardProxy:
    """A proxy on loopback: HTTP's ``CONNECT``, SOCKS5 and SOCKS4 on one port, and ``CONNECT`` within TLS on another.

    ``hosts`` resolves names for it; ``answer`` replaces what it says to ``CONNECT`` (empty: it hangs up), ``socks`` is
    the code of its SOCKS answers; ``deaf``: it never answers.
    """

    def __init__(self, hosts: dict[str, str] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.hosts = hosts or {}
        self.asked: list[str] = []
        """``KIND HOST:PORT`` of each request, ``USER:PASSWORD@`` before the host where there is one."""
        self.users: dict[str, str] = {}
        """Users and passwords; any will do where there are none."""
        self.answer: bytes | None = None
        self.socks = 0
        self.deaf = False
        self.port = 0
        self.tls_port = 0
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def url(self, scheme: str = "http", account: str = "") -> str:
        port = self.tls_port if scheme == "https" else self.port
        host = "localhost" if scheme == "https" else "127.0.0.1"
        return f"{scheme}://{account}{'@' if account else ''}{host}:{port}"

    async def __aenter__(self) -> Self:
        plain = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = plain.sockets[0].getsockname()[1]
        self._servers.append(plain)
        if self._tls:
            secure = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
            self.tls_port = secure.sockets[0].getsockname()[1]
            self._servers.append(secure)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            first = await reader.readexactly(1)
            if self.deaf:
                await reader.read()
            kinds = {b"\x05": self._socks5, b"\x04": self._socks4}
            address = await kinds.get(first, self._connect)(reader, writer)
            if address is not None:
                await self._lead(address, reader, writer)
        except (OSError, EOFError, asyncio.CancelledError):
            return
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        host, _, port = head.split()[1].rpartition(":")
        basic = next((line.split()[-1] for line in head.splitlines() if line.startswith("Proxy-Authorization")), "")
        account = base64.b64decode(basic).decode()
        self._note("CONNECT", account, host, int(port))
        if self.answer is not None:
            writer.write(self.answer)
            await writer.drain()
            return None
        if self.users and not self._known(account):
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return None
        # In pieces, as it may come.
        for piece in (b"HTTP/1.0 200 Connection est", b"ablished\r\nVia: x\r\n\r", b"\n"):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return host.strip("[]"), int(port)

    async def _socks5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        account = ""
        if 2 in methods:
            writer.write(b"\x05\x02")
            await reader.readexactly(1)
            user = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            password = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
            account = f"{user}:{password}"
            writer.write(_AUTH_OK if not self.users or self._known(account) else b"\x01\x01")
        else:
            writer.write(b"\x05\xff" if self.users else b"\x05\x00")
        await reader.readexactly(3)
        kind = (await reader.readexactly(1))[0]
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        raw = await reader.readexactly(size)
        families = {1: socket.AF_INET, 4: socket.AF_INET6}
        host = socket.inet_ntop(families[kind], raw) if kind in families else raw.decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self._note("SOCKS5", account, host, port)
        writer.write(bytes([5, self.socks, 0, 3, 4]) + b"home" + b"\x00\x00")
        return None if self.socks else (host, port)

    async def _socks4(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
        await reader.readexactly(1)
        port = int.from_bytes(await reader.readexactly(2), "big")
        host = socket.inet_ntoa(await reader.readexactly(4))
        user = (await reader.readuntil(b"\x00"))[:-1].decode()
        if host.startswith("0.0.0."):
            host = (await reader.readuntil(b"\x00"))[:-1].decode()
        self._note("SOCKS4", user, host, port)
        writer.write(bytes([0, 91 if self.socks else 90]) + bytes(6))
        return None if self.socks else (host, port)

    async def _lead(self, address: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = address
        there, to = await asyncio.open_connection(self.hosts.get(host, host), port)
        ways = [asyncio.create_task(_carry(reader, to)), asyncio.create_task(_carry(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            to.transport.abort()

    def _known(self, account: str) -> bool:
        user, _, password = account.partition(":")
        return self.users.get(user) == password

    def _note(self, kind: str, account: str, host: str, port: int) -> None:
        self.asked.append(f"{kind} {account}{'@' if account else ''}{host}:{port}")


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
