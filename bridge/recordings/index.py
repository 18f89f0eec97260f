"""An index of a recording: its connections, and its REST answers by path, found in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl

from msgspec import Struct

from bridge.recordings.recording import (
    CloseRow,
    ConnectRow,
    ExpectRow,
    HeaderRow,
    HttpRow,
    RecvRow,
    Row,
    SendRow,
    read_recording,
)
from bridge.recordings.secrets import Redactor
from bridge.redaction import MASK
from bridge.urls import Url

__all__ = ["ConnectionKey", "RecordedConnection", "RecordingIndex", "keyed_rows"]

_OUTSIDE = (HeaderRow, HttpRow)

ConnectionKey = tuple[str, int]
"""The name of a connection, and how often it had been opened before: names are reused after a reconnect."""


class _Address(Struct, frozen=True):
    """Path and query of a URL."""

    path: str
    query: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, url: str) -> Self:
        parts = Url.of(url)
        return cls(parts.path or "/", tuple(sorted(parse_qsl(parts.query, keep_blank_values=True))))

    def same_query(self, asked: Self) -> bool:
        """Whether the parameters are equal, except those that were masked in the recording."""
        masked = {name for name, value in self.query if value == MASK}
        return _unmasked(self.query, masked) == _unmasked(asked.query, masked)


def _unmasked(query: tuple[tuple[str, str], ...], masked: set[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in query if name not in masked]


class RecordedConnection(Struct):
    """One WebSocket of the recording, from its connect to its close.

    ``ts`` is its first moment, ``frames`` the number of frames received, ``last`` the moment of the last one. ``followed``: the recording shows the
    connection that replaced it. ``served`` counts the clients that were given it. ``books`` are the pairs whose books are
    known to begin on it.
    """

    index: int
    key: ConnectionKey
    ts: float
    address: _Address
    frames: int = 0
    closed: bool = False
    followed: bool = False
    served: int = 0
    last: float = 0.0
    books: set[str] = set()

    @property
    def name(self) -> str:
        name, times = self.key
        return name if times < 2 else f"{name} (connect {times})"


class _Answer(Struct):
    address: _Address
    path: str
    data: list[str]
    given: int = 0

    def next(self) -> str:
        """The answers in order; the last one is repeated when there are no more."""
        data = self.data[min(self.given, len(self.data) - 1)]
        self.given += 1
        return data


def keyed_rows(rows: Iterator[Row]) -> Iterator[tuple[ConnectionKey | None, Row]]:
    """Each row with the connection that it belongs to; ``None`` for rows outside any WebSocket."""
    opened: Counter[str] = Counter()
    for row in rows:
        if isinstance(row, RecvRow):
            yield (row.conn, opened[row.conn]), row
        elif isinstance(row, _OUTSIDE):
            yield None, row
        else:
            opened[row.conn] += isinstance(row, ConnectRow)
            yield (row.conn, opened[row.conn]), row


class RecordingIndex:
    """The connections and REST answers of a recording, with the text of the answers but without frames."""

    def __init__(self) -> None:
        self.connections: list[RecordedConnection] = []
        self.expected: set[str] = set()
        """The pairs of which the recording itself states what their streams should hold."""
        self._answers: dict[_Address, _Answer] = {}
        self._redact = Redactor()

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a whole recording.

        Raises:
            RecordingError: it cannot be read, or a row is not valid.
        """
        index = cls()
        known: dict[ConnectionKey, RecordedConnection] = {}
        for key, row in keyed_rows(read_recording(path)):
            if isinstance(row, _OUTSIDE):
                index._add_answer(row)
                continue
            assert key is not None
            recorded = known.get(key)
            if recorded is None:
                recorded = known[key] = index._add_connection(key, row)
            if isinstance(row, RecvRow):
                recorded.frames += 1
                recorded.last = row.ts
            elif isinstance(row, CloseRow):
                recorded.closed = True
            elif isinstance(row, ExpectRow):
                index.expected.add(row.pair)
                if row.whole:
                    recorded.books.add(row.pair)
        return index

    def _add_connection(
        self, key: ConnectionKey, row: ConnectRow | SendRow | RecvRow | CloseRow | ExpectRow
    ) -> RecordedConnection:
        address = _Address.of(row.addr if isinstance(row, ConnectRow) else "")
        for earlier in self.connections:
            if earlier.key[0] == key[0] or (earlier.closed and earlier.address == address):
                earlier.followed = True
        recorded = RecordedConnection(len(self.connections), key, row.ts, address)
        self.connections.append(recorded)
        return recorded

    def _add_answer(self, row: HeaderRow | HttpRow) -> None:
        if isinstance(row, HeaderRow):
            return
        address = _Address.of(row.url)
        if address in self._answers:
            self._answers[address].data.append(row.data)
        else:
            parts = Url.of(self._redact.url(row.url))
            path = address.path + (f"?{parts.query}" if parts.query else "")
            self._answers[address] = _Answer(address, path, [row.data])

    def choose(self, target: str, *, again: bool) -> tuple[RecordedConnection, bool] | None:
        """The recorded connection for a client that asks for ``target`` (path and query), and whether it fits.

        The nearest address decides: the same path and query, else the same query (a replaced base URL may have
        another path), else the same path, else any. Of several, the one that was given out least, in recorded order.
        ``None`` when there is none, or when all that fit were given out and ``again`` is not set.
        """
        asked = _Address.of(target)
        fitting, fits = self._nearest(asked)
        if not again:
            fitting = [recorded for recorded in fitting if not recorded.served]
        chosen = min(fitting, key=lambda recorded: (recorded.served, recorded.index), default=None)
        return None if chosen is None else (chosen, fits)

    def _nearest(self, asked: _Address) -> tuple[list[RecordedConnection], bool]:
        same_query = [recorded for recorded in self.connections if recorded.address.same_query(asked)]
        same_path = [recorded for recorded in self.connections if recorded.address.path == asked.path]
        both = [recorded for recorded in same_query if recorded.address.path == asked.path]
        if both:
            return both, True
        if asked.query and same_query:
            return same_query, True
        distinguished = len({recorded.address for recorded in self.connections}) > 1 or any(
            recorded.address.query for recorded in self.connections
        )
        if same_path:
            return same_path, not any(recorded.address.query for recorded in same_path)
        return self.connections, not distinguished

    def answer(self, target: str) -> str | None:
        """The recorded REST answer for a path with its query.

        By path and query, else by path, else by the end of the path (a replaced base URL may have lost its first part).
        """
        asked = _Address.of(target)
        answers = self._answers.values()
        same_path = [answer for answer in answers if answer.address.path == asked.path]
        ends = [answer for answer in answers if asked.path != "/" and answer.address.path.endswith(asked.path)]
        for fitting in (
            [answer for answer in same_path if answer.address.same_query(asked)],
            [answer for answer in same_path if not answer.address.query or not asked.query],
            [answer for answer in ends if answer.address.same_query(asked)],
        ):
            if fitting:
                return fitting[0].next()
        return None

    def answer_paths(self) -> list[str]:
        """The paths, with their queries, that have an answer."""
        return [answer.path for answer in self._answers.values()]
