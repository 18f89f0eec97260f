"""Pages straight from the socket of a client of redis-py, cut into columns where they are regular.

A second command, ``EXISTS``, marks the end of the reply: its answer is one short line, a number or an error. Whether all
has come is decided by parsing, so a value that looks like that answer does no harm.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from consumers.page import Page

__all__ = ["RawReplies"]

_CHUNK = 1 << 18
_LONGEST_ANSWER = 1 << 10
"""Bytes of the last line, with the line end before it: a number, or an error of the server (a user without that right)."""


class RawReplies:
    """Asks one server, over the connections of ``client``."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        try:
            self._grids = import_module("consumers.grid")
            self._hiredis = import_module("hiredis")
            import_module("numpy"), import_module("pyarrow")
        except ImportError:
            self._possible = False
        else:
            self._possible = hasattr(client, "connection_pool")

    def ask(self, key: str, start: str, end: str, count: int) -> Page | None:
        """The entries of ``XRANGE``, or an empty page; ``None`` if Redis must be asked in the ordinary way.

        That is so without numpy or hiredis, and if the answer is an error: the ordinary way knows what to do about it.

        Raises:
            redis.exceptions.RedisError, OSError: any error of redis-py.
        """
        if not self._possible:
            return None
        pool: Any = self._client.connection_pool
        connection = pool.get_connection()
        page = None
        try:
            # redis-py gives no other access to the bytes; without this one, it is asked in the ordinary way.
            sock = getattr(connection, "_sock", None)
            if hasattr(sock, "recv_into"):
                commands = [("XRANGE", key, start, end, "COUNT", count), ("EXISTS", key)]
                connection.send_packed_command(connection.pack_commands(commands))
                page = self._receive(sock)
        except TimeoutError:
            raise RedisTimeoutError("Timeout reading from socket") from None
        finally:
            if page is None:
                connection.disconnect()  # there may be more to come, which nobody would expect
            pool.release(connection)
        self._possible = page is not None
        return page

    def _receive(self, sock: Any) -> Page | None:
        buffer = bytearray()
        room = memoryview(bytearray(_CHUNK))
        while True:
            got = sock.recv_into(room)
            if not got:
                raise RedisConnectionError("Connection closed by server.")
            buffer += room[:got]
            if not buffer.startswith(b"*"):
                return None  # an error
            if (page := self._page(buffer)) is not None:
                return page

    def _page(self, buffer: bytearray) -> Page | None:
        """What was received as a page, if it is the whole reply."""
        end = buffer.rfind(b"\r\n", -_LONGEST_ANSWER, -2) + 2
        if not buffer.endswith(b"\r\n") or end < 2 or buffer[end] not in b":-":
            return None
        raw = b"".join((buffer, bytes(self._grids.PAD)))
        grid = self._grids.parse_grid(raw, end)
        if grid is not None:
            return Page.of_grid(grid, partial(self._lists, raw[:end]), end)
        reader = self._hiredis.Reader()
        reader.feed(buffer)
        reply, answer = reader.gets(), reader.gets()
        while isinstance(answer, list):  # something that a server of RESP3 says unasked
            answer = reader.gets()
        if not isinstance(reply, list) or answer is False:
            return None
        return Page(*_apart(reply), end)

    def _lists(self, raw: bytes) -> tuple[list[bytes], list[list[bytes]]]:
        reader = self._hiredis.Reader()
        reader.feed(raw)
        return _apart(reader.gets())


def _apart(reply: list[Any]) -> tuple[list[bytes], list[list[bytes]]]:
    return [entry[0] for entry in reply], [entry[1] for entry in reply]
