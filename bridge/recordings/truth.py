"""What the streams should hold of a recording that is being played, as far as it has been sent.

It answers like the control interface of a simulated exchange (``/sim``), so that whoever compares with one compares with
the other. A recording that was made by a program states it by itself (`ExpectRow`), and no part of a connector is
involved. Of one of real traffic the exchange's own session reads each frame when it is sent; nothing of the path behind it
is involved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from aiohttp import web

from bridge.book import Book
from bridge.errors import ConfigError, Problem
from bridge.exchange_errors import ExchangeError, FrameError
from bridge.exchanges import exchange_type
from bridge.exchanges.api import Exchange, Flow, HttpResponse, Output, Profile, Session
from bridge.model import BookDelta, BookSnapshot, Channel, Levels, Trade
from bridge.recordings.index import RecordedConnection, RecordingIndex
from bridge.recordings.recording import ExpectRow

__all__ = ["PATH", "Truth", "TruthReader", "truth_of"]

PATH = "/sim/"
"""What the paths of the control interface begin with."""


class TruthReader(Protocol):
    """Reads along what one client is sent.

    ``awaited`` are the pairs whose books have yet to begin on this connection: a client that is held before has no book
    to compare.
    """

    awaited: set[str]

    def sent(self, frame: bytes) -> None:
        """A frame has been sent."""

    def expected(self, row: ExpectRow) -> None:
        """The recording states what the frames up to here make."""


class Truth:
    """Books and trades of some pairs, and the answers about them.

    Args:
        pairs: those that are read.
        reads: makes what reads a client's frames into this.
        hold: pauses the sending.
    """

    def __init__(
        self,
        pairs: Sequence[str],
        reads: Callable[[Truth, RecordedConnection], TruthReader],
        hold: Callable[[], None],
    ) -> None:
        self._books = {pair: Book() for pair in pairs}
        self._trades: dict[str, dict[str, dict[str, object]]] = {pair: {} for pair in pairs}
        self._reads = reads
        self._hold = hold

    def reader(self, recorded: RecordedConnection) -> TruthReader:
        """What reads along for a further client, which is sent this connection."""
        return self._reads(self, recorded)

    def has(self, pair: str) -> bool:
        return pair in self._books

    def replace(self, pair: str, bids: Levels, asks: Levels) -> None:
        """The pair's book is this one."""
        self._books[pair].replace(bids, asks)

    def apply(self, pair: str, bids: Levels, asks: Levels, depth: int | None = None) -> None:
        """Levels of the pair's book have changed; of both sides, the best ``depth`` ones are left."""
        book = self._books[pair]
        book.apply(bids, asks)
        if depth is not None:
            book.replace(book.bids.top(depth), book.asks.top(depth))

    def add(self, pair: str, trade: dict[str, object]) -> None:
        """A trade of the pair, which may have been sent before."""
        self._trades[pair].setdefault(str(trade["id"]), trade)

    def respond(self, request: web.Request) -> web.Response:
        """Answer a call of the control interface."""
        pair = request.query.get("pair", "")
        match request.path.removeprefix(PATH):
            case "state":
                return web.json_response({"sockets": []})
            case "pause":
                self._hold()
                return web.json_response({})
            case "streams/account":
                return web.json_response({"subjects": {}})
            case "streams/book" if book := self._books.get(pair):
                return web.json_response({"bids": book.bids.top(), "asks": book.asks.top()})
            case "streams/trades" if (trades := self._trades.get(pair)) is not None:
                return web.json_response({"trades": [*trades.values()]})
        return web.Response(status=404)


def truth_of(exchange: str, pairs: Sequence[str], index: RecordingIndex, hold: Callable[[], None]) -> Truth:
    """What the streams of these pairs should hold of a recording; ``hold`` pauses the sending.

    Raises:
        ConfigError: the recording does not have the pairs, or what their streams should hold cannot be read from it.
    """
    if index.expected:
        if missing := [pair for pair in pairs if pair not in index.expected]:
            raise _lacking(", ".join(missing))
        return Truth(pairs, _Statements, hold)
    return Truth(pairs, _Sessions(exchange, pairs, index.answer).reader, hold)


def _lacking(what: str) -> ConfigError:
    return ConfigError([Problem("--pairs", f"the recording does not have them: {what}")], "replay")


class _Statements:
    """Takes what a made recording states."""

    def __init__(self, truth: Truth, recorded: RecordedConnection) -> None:
        self.awaited = {pair for pair in recorded.books if truth.has(pair)}
        self._truth = truth

    def sent(self, frame: bytes) -> None:
        """Nothing: what it means is stated behind it."""

    def expected(self, row: ExpectRow) -> None:
        if not self._truth.has(row.pair):
            return
        if row.whole:
            self.awaited.discard(row.pair)
        (self._truth.replace if row.whole else self._truth.apply)(row.pair, row.bids, row.asks)
        for trade in row.trades:
            self._truth.add(row.pair, trade)


class _Sessions:
    """Has the exchange's own sessions read what clients are sent; ``answer`` gives the recorded REST answer to a path."""

    def __init__(self, exchange: str, pairs: Sequence[str], answer: Callable[[str], str | None]) -> None:
        kind = exchange_type(exchange)
        channels = kind.channels & {Channel.TRADES, Channel.BOOK}
        self._exchange: Exchange = kind(Profile(tuple(pairs), channels, "ws://recording", "http://recording"))
        self._answer = answer
        self._rules = rules = self._exchange.book
        if rules.snapshot == "rest" or rules.changes:
            words = f"the books of {exchange} cannot be read from its frames alone, so there is nothing to compare with"
            raise ConfigError([Problem("--compare", words, "leave it out")], "replay")
        try:
            self._drive(self._exchange.discover(time.time_ns()))
        except ExchangeError as error:
            raise _lacking(str(error)) from None

    def reader(self, truth: Truth, recorded: RecordedConnection) -> TruthReader:
        session = self._exchange.plan()[0].session()
        self._drive(session.open(time.time_ns()))
        session.connected(time.time_ns())
        return _SessionReader(truth, recorded, session, self._rules.depth)

    def _drive(self, flow: Flow[object]) -> None:
        """Answer what a conversation over REST asks, from the recording."""
        try:
            request = next(flow)
            while True:
                found = self._answer(request.path)
                response = HttpResponse(404 if found is None else 200, (found or "").encode(), recv=time.time_ns())
                request = flow.send(response)
        except StopIteration:
            return


class _SessionReader:
    """Takes what a session reads; ``depth`` is that of `BookRules`."""

    def __init__(self, truth: Truth, recorded: RecordedConnection, session: Session, depth: int | None) -> None:
        self.awaited = set(recorded.books)
        self._truth = truth
        self._recorded = recorded
        self._session = session
        self._depth = depth

    def sent(self, frame: bytes) -> None:
        try:
            outputs: Sequence[Output] = self._session.receive(frame, time.time_ns())
        except FrameError:
            return
        for output in outputs:
            if isinstance(output, Trade):
                self._truth.add(output.subject, _row(output))
            elif isinstance(output, BookSnapshot):
                self._truth.replace(output.subject, output.bids, output.asks)
                self._recorded.books.add(output.subject)
                self.awaited.discard(output.subject)
            elif isinstance(output, BookDelta):
                self._truth.apply(output.subject, output.bids, output.asks, self._depth)

    def expected(self, row: ExpectRow) -> None:
        """Nothing: what counts is what the session reads."""


def _row(trade: Trade) -> dict[str, object]:
    seconds = (trade.ts or 0) // 1_000_000_000
    return {"id": trade.id, "time": seconds, "side": trade.side, "price": trade.price, "size": trade.size}
