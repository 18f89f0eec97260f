"""A Binance of the tests with a connector on one of its markets."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tests.e2e.binance_exchange import BinanceExchange
from tests.e2e.conftest import Run
from tests.e2e.played import Played, ShownBook, Venue, side
from tests.servers import RedisServer
from tests.unit import binance_frames as frames

__all__ = ["BinancePlayed"]


def _shown(market: str, exchange: BinanceExchange, pair: str, symbol: str) -> ShownBook:
    del pair
    book = exchange.books[market, symbol]
    return book.u, (side(book.bids), side(book.asks))


def _venue(name: str, market: str) -> Venue:
    return Venue(
        name=name,
        credentials={"api_key": frames.KEY, "api_secret": frames.SECRET},
        secrets=(frames.SECRET, frames.KEY),
        connector={},
        shown=partial(_shown, market),
    )


VENUES = {"spot": _venue("binance", "spot"), "usdm": _venue("binance-usdm", "usdm")}


class BinancePlayed(Played):
    """One market with a connector, which runs."""

    def __init__(
        self, run: Run, server: RedisServer, directory: Path, exchange: BinanceExchange, market: str, **connector: Any
    ) -> None:
        super().__init__(VENUES[market], run, server, directory, exchange, **connector)
        self.market = market
        self.start()
