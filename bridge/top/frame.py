"""What one picture of the view shows, as plain data: it is drawn in another thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from bridge.overview.rows import ConnectorRow, StreamRow, Tail
from bridge.top.follow import Happening
from bridge.top.state import Page
from bridge.view.books import BookFrame

__all__ = ["AccountFrame", "StreamLine", "TopFrame"]


class StreamLine(Struct, frozen=True):
    """A stream of a table; ``tail`` is ``None`` until its end has been read, ``age`` is in seconds."""

    row: StreamRow
    tail: Tail | None
    age: float | None


class AccountFrame(Struct, frozen=True):
    """An account: its hash (empty if there is none), and its newest entries as lines, newest first."""

    exchange: str
    account: str
    wallet: Mapping[str, str]
    lines: Sequence[str]


class TopFrame(Struct, frozen=True):
    """All data of a picture. ``first`` is the place of the first of ``lines`` among the ``chosen`` streams.

    ``rates`` are entries per second that each connector publishes. ``now`` is in milliseconds since the epoch.
    """

    title: str
    address: str
    page: Page
    now: int
    trouble: str
    notes: Sequence[str]
    notice: str
    news: bool
    """Whether the notice is so new that it comes before the keys, where the footer has no room for both."""
    total: int
    live: int
    chosen: int
    first: int
    connectors: Sequence[ConnectorRow]
    rates: Mapping[str, float]
    lines: Sequence[StreamLine]
    selected: str
    sort: str
    reverse: bool
    filter: str
    not_live: bool
    typing: bool
    helping: bool
    offset: int
    empty: str
    """What to say while there is no stream at all."""
    happenings: Sequence[Happening] = ()
    followed: int = 0
    waiting: str = ""
    """Why the page of a pair or account has nothing yet."""
    newest: Mapping[str, str] = {}
    """Channel → the newest event of the pair or account, in words."""
    books: Sequence[BookFrame] = ()
    """The book of the pair, with its trades; none if it has no stream of books."""
    account: AccountFrame | None = None
