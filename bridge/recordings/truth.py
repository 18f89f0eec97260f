"""What the streams should hold of a recording that is being played, as far as it has been sent.

It answers like the control interface of a simulated exchange (``/sim``), so that whoever compares with one compares with
the other. The exchange's own session reads each frame when it is sent; nothing of the path behind it is involved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from aiohttp import web

from bridge.book import Book
from bridge.errors import ConfigError, Problem
from bridge.exchange_errors import ExchangeError, FrameError
from bridge.exchanges import exchange_type
from bridge.exchanges.api import Exchange, Flow, HttpResponse, Output, Profile, Session
from bridge.model import BookDelta, BookSnapshot, Channel, Trade

__all__ = ["PATH", "Truth"]

PATH = "/sim/"
"""What the paths of the control interface begin with."""


class Truth:
    """Reads along what clients are sent, and answers what their streams should hold.

    Args:
        exchange: the name of the exchange that was recorded.
        pairs: those that are read.
        answer: gives the recorded REST answer to a path, or ``None``.
        hold: pauses and resumes the sending.
    """

    def __init__(
        self, exchange: str, pairs: Sequence[str], answer: Callable[[str], str | None], hold: Callable[[], None]
    ) -> None:
        kind = exchange_type(exchange)
        channels = kind.channels & {Channel.TRADES, Channel.BOOK}
        self._exchange: Exchange = kind(Profile(tuple(pairs), channels, "ws://recording", "http://recording"))
        self._answer = answer
        self._hold = hold
        self._books = {pair: Book() for pair in pairs}
        self._trades: dict[str, dict[str, Trade]] = {pair: {} for pair in pairs}
        try:
            self._drive(self._exchange.discover(time.time_ns()))
        except ExchangeError as error:
            raise ConfigError([Problem("--pairs", f"the recording does not have them: {error}")], "replay") from None

    def session(self) -> Session:
        """A session for a further client."""
        session = self._exchange.plan()[0].session()
        self._drive(session.open(time.time_ns()))
        session.connected(time.time_ns())
        return session

    def sent(self, session: Session, frame: bytes) -> None:
        """A frame has been sent to the client of this session."""
        try:
            outputs: Sequence[Output] = session.receive(frame, time.time_ns())
        except FrameError:
            return
        for output in outputs:
            if isinstance(output, Trade):
                self._trades[output.subject].setdefault(output.id, output)
            elif isinstance(output, BookSnapshot):
                self._books[output.subject].replace(output.bids, output.asks)
            elif isinstance(output, BookDelta):
                self._books[output.subject].apply(output.bids, output.asks)

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
                return web.json_response({"trades": [_row(trade) for trade in trades.values()]})
        return web.Response(status=404)

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


def _row(trade: Trade) -> dict[str, object]:
    seconds = (trade.ts or 0) // 1_000_000_000
    return {"id": trade.id, "time": seconds, "side": trade.side, "price": trade.price, "size": trade.size}
