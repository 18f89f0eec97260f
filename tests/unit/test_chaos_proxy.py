"""What a link makes of the ports in replies, so that a client stays on its own links."""

from __future__ import annotations

import asyncio

import pytest

from bridge.chaos.proxy import Proxy

NODE = b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%d\r\n-MOVED 7 127.0.0.1:%d\r\n"
SENTINEL = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n"


async def through(said: bytes, ports: dict[int, int], *, as_text: bool) -> bytes:
    """What a client reads where the server says this."""

    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(say, "127.0.0.1", 0) as server, Proxy(0) as link:
        link.target = server.sockets[0].getsockname()[1]
        link.ports, link.as_text = ports, as_text
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        try:
            return await reader.read(4096)
        finally:
            writer.close()


@pytest.mark.parametrize(("port", "instead"), [(41001, 41002), (7000, 41002), (41001, 7000)])
async def test_ports_are_those_of_the_links(port: int, instead: int) -> None:
    ports = {port: instead}
    assert await through(NODE % (port, port), ports, as_text=False) == NODE % (instead, instead)
    said, heard = (SENTINEL % (len(str(each)), each) for each in (port, instead))
    assert await through(said, ports, as_text=True) == heard


async def test_data_that_look_like_a_port_stay_as_they_are() -> None:
    """A Cluster's nodes have streams, and the size of a trade may be anything."""
    size = b"$5\r\n41001\r\n"
    assert await through(size, {41001: 41002}, as_text=False) == size
