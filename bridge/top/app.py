"""Runs the view: looks at Redis, follows the page that is open, and shows pictures."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice

from rich.console import RenderableType

from bridge.keys import Keys, StreamKey
from bridge.model import BOOKS, Trade
from bridge.overview.changes import Changes
from bridge.overview.look import Overview
from bridge.overview.rows import StreamRow
from bridge.overview.words import is_plain
from bridge.redis.errors import FAILURES, about, explain
from bridge.redis.topology import Topology
from bridge.top.draw import draw, room_of
from bridge.top.follow import Follow, Happening, newest_first, newest_words
from bridge.top.frame import AccountFrame, StreamLine, TopFrame
from bridge.top.state import Page, ViewState
from bridge.view.books import BookFrame
from bridge.view.device import Device
from bridge.view.terminal import FullScreen
from consumers.connection import make_client
from consumers.wallet_lines import as_text

__all__ = ["TopView"]

_LOOK_EVERY = 1.0
_TIMEOUT = 10.0
_SWEEP = 50
"""Streams out of sight whose ends are read with each look, in turn, for the order of the table."""
_MOST_FOLLOWED = 30
"""Streams whose control entries the log shows."""
_CHANGES = 500
_DEPTH = 50
_NEWS = 10.0
"""Seconds for which a notice is news."""
_EMPTY = "no connector has written to this Redis yet; is it the right one, and the right namespace?"


class TopView:
    """The view on one terminal.

    ``title`` is shown in the header, and ``address``, or else that of Redis; ``words`` are the filter to begin with,
    ``empty`` is what to say while there is no stream at all; `notify` adds a notice.
    """

    def __init__(
        self,
        topology: Topology,
        keys: Keys,
        device: Device,
        *,
        title: str = "tickbridge top",
        address: str = "",
        words: str = "",
        not_live: bool = False,
        empty: str = _EMPTY,
    ) -> None:
        self._empty = empty
        self._topology = topology
        self._keys = keys
        self._device = device
        self._title = title
        self._address = address or topology.address + f" {keys.namespace}" * bool(keys.namespace)
        self._redis = make_client(topology, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT / 2)
        self._overview = Overview(self._redis, keys)
        self._state = ViewState(words, not_live=not_live)
        self._screen = FullScreen(device, self._pressed)
        self._trouble = ""
        self._notice = ""
        self._noticed = -_NEWS
        self._changes = Changes()
        self._changed: deque[Happening] = deque(maxlen=_CHANGES)
        self._swept: Iterator[str] = iter(())
        self._follow: Follow | None = None
        self._following: asyncio.Task[None] | None = None
        self._wallet: dict[str, str] = {}
        self._looks = asyncio.Event()
        self._end = asyncio.Event()

    @property
    def stopped(self) -> bool:
        """Whether it was ended, by the user or by `stop`; if `run` returns without that, the terminal is gone."""
        return self._end.is_set()

    async def run(self) -> None:
        """Show the view until the user quits, `stop` is called, or the terminal is gone.

        Raises:
            Exception: any error while drawing, which is a bug.
        """
        self._fit()
        tasks = [
            asyncio.create_task(self._look(), name="look"),
            asyncio.create_task(self._screen.show(self._take), name="view"),
            asyncio.create_task(self._end.wait(), name="end"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            tasks += [self._following] if self._following else []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._screen.close()
            await self._redis.aclose()

    def stop(self) -> None:
        """End in order."""
        self._end.set()

    def abandon(self) -> None:
        """Restore the terminal at once."""
        self._screen.abandon()

    def notify(self, words: str) -> None:
        """Show a notice in the footer and in the log."""
        self._notice = words
        self._noticed = time.monotonic()
        self._changed.append(Happening(time.time_ns() // 1_000_000, "", "", "", "notice", words))

    # --- looking ----------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        while True:
            self._looks.clear()
            try:
                async with asyncio.timeout(_TIMEOUT):
                    await self._overview.look()
                    self._note_changes()
                    self._state.refresh(self._overview)
                    self._fit()
                    await self._overview.look_at(self._due())
                    await self._read_wallet()
                self._trouble = ""
            except (TimeoutError, *FAILURES) as error:
                self._trouble = f"Redis: {explain(error, self._topology.address)}"
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._looks.wait()

    def _due(self) -> list[str]:
        """The streams whose ends are read now: those in sight, and some others in turn."""
        seen = dict.fromkeys(row.key for row in self._lines())
        others = list(islice(self._swept, _SWEEP))
        if len(others) < _SWEEP:
            self._swept = iter([row.key for row in self._state.rows])
        return [key for key in dict.fromkeys([*seen, *others]) if key in self._overview.streams]

    def _note_changes(self) -> None:
        """Note which streams and connectors have changed their state since the last look."""
        now = time.time_ns() // 1_000_000
        for change in self._changes.of(self._overview):
            words = f"was {change.was}" if change.was else "is new"
            self._changed.append(Happening(now, *change.name, change.state, words))

    async def _read_wallet(self) -> None:
        opened = self._state.opened
        if self._state.page is not Page.ACCOUNT or opened is None:
            self._wallet = {}
            return
        key = self._keys.wallet(opened.stream.exchange, opened.stream.subject)
        with about(key):
            found = await self._redis.hgetall(key)
        self._wallet = {str(name): str(value) for name, value in found.items()}

    # --- keys -------------------------------------------------------------------------------------------------------

    def _pressed(self, key: str) -> None:
        before = (self._state.page, self._state.opened, self._chosen_by)
        self._state.press(key)
        self._state.refresh(self._overview)
        self._fit()
        if self._state.ended:
            self._end.set()
        if before != (self._state.page, self._state.opened, self._chosen_by):
            self._open_page()
        if any(row.key not in self._overview.tails for row in self._lines()):
            self._looks.set()

    @property
    def _chosen_by(self) -> tuple[str, bool] | None:
        """What the log's streams are chosen by, unless it is being typed."""
        return None if self._state.typing else (self._state.filter, self._state.not_live)

    def _open_page(self) -> None:
        """Follow the streams of the page, and no others."""
        page = self._state.page
        if page is Page.LOG and self._state.typing:
            return
        self._unfollow()
        self._wallet = {}
        if page in (Page.PAIR, Page.ACCOUNT):
            self._begin(Follow(self._topology, self._keys, self._lines()))
        elif page is Page.LOG:
            rows = self._state.rows[:_MOST_FOLLOWED]
            self._begin(Follow(self._topology, self._keys, rows, books=False))
        self._looks.set()

    def _begin(self, follow: Follow) -> None:
        self._follow = follow
        self._following = asyncio.create_task(follow.run(), name="follow")

    def _unfollow(self) -> None:
        if self._following is not None:
            self._following.cancel()
        self._follow = self._following = None

    # --- pictures ---------------------------------------------------------------------------------------------------

    def _lines(self) -> Sequence[StreamRow]:
        """The streams in sight: those of the table, or those of the pair or account."""
        if (opened := self._state.opened) is None:
            return self._state.visible
        of = (opened.stream.exchange, opened.stream.subject, opened.stream.public)
        rows = self._overview.streams.values()
        return [row for row in rows if (row.stream.exchange, row.stream.subject, row.stream.public) == of]

    def _fit(self) -> None:
        """Fit the state to the size of the window."""
        _, height = self._device.size
        page = self._state.page
        length = len(self._overview.connectors) if page is Page.CONNECTORS else len(self._happenings())
        self._state.measure(room_of(page, height, len(self._overview.connectors)), length)

    def _happenings(self) -> list[Happening]:
        """What the page's log shows."""
        page, follow = self._state.page, self._follow
        if page is Page.LOG:
            return newest_first(self._changed, follow.happenings if follow else ())
        return newest_first(follow.happenings) if follow else []

    def _take(self) -> Callable[[int, int], RenderableType]:
        self._fit()
        return partial(draw, self._frame())

    def _frame(self) -> TopFrame:
        state, overview, follow = self._state, self._overview, self._follow
        rows = self._lines()
        return TopFrame(
            title=self._title,
            address=self._address,
            page=state.page,
            now=time.time_ns() // 1_000_000,
            trouble=self._trouble,
            notes=list(overview.notes),
            notice=self._notice,
            news=time.monotonic() - self._noticed < _NEWS,
            total=len(overview.streams),
            live=sum(row.live for row in overview.streams.values()),
            chosen=len(state.rows),
            first=state.offset,
            connectors=list(overview.connectors.values()),
            rates=dict(overview.rates),
            lines=[StreamLine(row, overview.tails.get(row.key), overview.age(row.key)) for row in rows],
            selected=state.selected,
            sort=state.sort,
            reverse=state.reverse,
            filter=state.filter,
            not_live=state.not_live,
            typing=state.typing,
            helping=state.helping,
            offset=state.offset,
            empty=self._empty,
            happenings=self._happenings() if state.page not in (Page.STREAMS, Page.CONNECTORS) else (),
            followed=len(follow.keys) if follow else 0,
            waiting=follow.trouble if follow else "",
            newest={channel: newest_words(event) for channel, event in follow.newest.items()} if follow else {},
            books=self._books() if state.page is Page.PAIR else (),
            account=self._account() if state.page is Page.ACCOUNT else None,
        )

    def _books(self) -> list[BookFrame]:
        """The book of the pair with its newest trades, or the trades alone."""
        opened, follow = self._state.opened, self._follow
        if opened is None or follow is None:
            return []
        exchange, pair = opened.stream.exchange, opened.stream.subject
        trades = list(reversed(follow.trades))
        keeper = next((follow.keepers[channel] for channel in sorted(BOOKS) if channel in follow.keepers), None)
        if keeper is None:
            return [_invalid(opened.stream, "no stream of books", trades)] if trades else []
        bids, asks = keeper.top(_DEPTH)
        if not all(is_plain(text) for level in (*bids, *asks) for text in level):
            return [_invalid(opened.stream, "levels are not decimal numbers", trades)]
        row = self._overview.streams.get(self._keys.stream(exchange, pair, keeper.stream.channel))
        flowing = row is not None and row.live and not self._trouble
        return [BookFrame(exchange, pair, keeper.valid, keeper.reason, bids, asks, trades, flowing)]

    def _account(self) -> AccountFrame | None:
        opened, follow = self._state.opened, self._follow
        if opened is None:
            return None
        name = f"{opened.stream.exchange}:{opened.stream.subject}"
        lines = [as_text(item).removeprefix(f"{name:24} ") for item in reversed(follow.items)] if follow else []
        return AccountFrame(opened.stream.exchange, opened.stream.subject, self._wallet, lines)


def _invalid(stream: StreamKey, reason: str, trades: list[Trade]) -> BookFrame:
    return BookFrame(stream.exchange, stream.subject, valid=False, reason=reason, bids=[], asks=[], trades=trades)
