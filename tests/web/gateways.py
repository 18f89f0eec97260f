"""A gateway as its users run it, and clients of it: browsers on a WebSocket, and some that do not read."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.servers import RedisServer

__all__ = ["Browser", "Gateway", "Sleeper", "browser", "gateway", "get", "listed", "seqs"]


class Gateway:
    """A running ``tickbridge web``."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    @property
    def memory_kib(self) -> int:
        """Resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")


@contextlib.contextmanager
def gateway(server: RedisServer, *arguments: str, **env: str) -> Iterator[Gateway]:
    """A gateway on a free port."""
    command = [sys.executable, "-m", "consumers.web", "--redis", server.url, "--http", "127.0.0.1:0", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean_environment(**env)) as process:
        try:
            lines = iter(process.stderr.readline, "")
            said = []
            while "health at" not in (line := next(lines, "")):
                said.append(line)
                assert line, "".join(said)
            yield Gateway(process, line.split()[-1])
        finally:
            process.kill()


class Browser:
    """A client on a WebSocket."""

    def __init__(self, socket_: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket_
        self.items: list[dict[str, Any]] = []
        """All that came so far."""

    async def send(self, **request: Any) -> None:
        await self.socket.send_str(json.dumps(request))

    async def subscribe(self, stream: str, **more: Any) -> dict[str, Any]:
        """Subscribe, and return the notice that answers."""
        await self.send(op="subscribe", stream=stream, **more)
        return await self.first(
            lambda item: item["stream"] == stream and item.get("notice") in ("subscribed", "error", "unreadable")
        )

    async def more(self) -> None:
        """Take the next array."""
        message = await self.socket.receive(PATIENCE)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        self.items += json.loads(message.data)

    async def first(self, wanted: Callable[[dict[str, Any]], object], start: int = 0) -> dict[str, Any]:
        """The first item that is wanted, from the given place on; waits for it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for item in self.items[start:]:
                    if wanted(item):
                        return item
                await self.more()

    async def upto(self, entry_id: str, stream: str | None = None) -> list[dict[str, Any]]:
        """All items of a stream (or of all) up to this entry."""
        last = await self.first(
            lambda item: item.get("id") == entry_id and "type" in item and stream in (None, item["stream"])
        )
        return [
            item
            for item in self.items[: self.items.index(last) + 1]
            if stream in (None, item["stream"]) and item.get("notice") != "subscribed"
        ]

    async def notice(self, name: str) -> dict[str, Any]:
        return await self.first(lambda item: item.get("notice") == name)

    async def close_code(self) -> int | None:
        """Wait until the gateway closes; returns the code."""
        async with asyncio.timeout(PATIENCE):
            while not self.socket.closed:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.TEXT:
                    self.items += json.loads(message.data)
        return self.socket.close_code


@contextlib.asynccontextmanager
async def browser(at: Gateway, token: str = "", **headers: str) -> AsyncIterator[Browser]:
    """A browser that is connected."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{at.url}/ws", headers=headers, max_msg_size=0) as ws,
    ):
        yield Browser(ws)


class Sleeper:
    """A client on a bare socket with small buffers, which reads only when it is told to."""

    def __init__(self, at: Gateway) -> None:
        url = URL(at.url)
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self._socket.settimeout(PATIENCE)
        self._socket.connect((url.host, url.port))
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {url.authority}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._file = self._socket.makefile("rb")
        while self._file.readline() != b"\r\n":
            pass
        self.items: list[dict[str, Any]] = []

    def subscribe(self, stream: str, **more: Any) -> None:
        """Subscribe, and take what comes up to the answer."""
        self._send(json.dumps({"op": "subscribe", "stream": stream, **more}).encode())
        while not any(item["stream"] == stream for item in self.items):
            self.read()

    def read(self) -> None:
        """Take the next array."""
        while True:
            first, length = self._file.read(2)
            if length == 126:
                length = int.from_bytes(self._file.read(2), "big")
            elif length == 127:
                length = int.from_bytes(self._file.read(8), "big")
            data = self._file.read(length)
            if first == 0x81:
                self.items += json.loads(data)
                return
            assert first == 0x89, "neither text nor a ping"

    def read_to(self, entry_id: str) -> list[dict[str, Any]]:
        """Take everything up to this entry."""
        while not (self.items and any(item.get("id") == entry_id and "type" in item for item in self.items[-500:])):
            self.read()
        return self.items

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def _send(self, payload: bytes) -> None:
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self._socket.sendall(b"\x81" + length + mask + masked)


async def get(at: Gateway, path: str, token: str = "", **headers: str) -> tuple[int, Any]:
    """The status and the JSON of a page."""
    if token:
        headers["Authorization"] = f"Bearer {token}"
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(f"{at.url}{path}", encoded="%" in path), headers=headers) as answer,
    ):
        return answer.status, json.loads(await answer.read())


def seqs(items: list[dict[str, Any]]) -> list[int]:
    """The ``seq`` of each entry."""
    return [int(item["id"].partition("-")[2]) for item in items if "type" in item]


def listed(client: Any, key: str, **more: str) -> None:
    """Put a stream into its catalog."""
    entry = {"schema": "2", "connector": "one", "instance": "x", "state": "live", "units": "", **more}
    client.hset("bridge:catalog" if key.startswith("md:") else "bridge:catalog:accounts", key, json.dumps(entry))
