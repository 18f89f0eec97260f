"""Coinbase Advanced Trade, public market data.

One connection carries all pairs: a subscribe message per channel, then envelopes with a ``channel``, a
``sequence_num`` that counts every message of the connection from 0, and ``events``. A hole in the count means that
something was lost, without telling what: a gap of everything on the connection.

Sources: the exchange's public WebSocket documentation (overview, channels), and its real traffic of August 2026.
"""

from __future__ import annotations

from typing import ClassVar

from bridge.exchanges.base import ClockReading, ConnectionPlan, Exchange, Flow, Profile
from bridge.exchanges.clocks import millis_reading
from bridge.exchanges.coinbase.messages import NAME
from bridge.exchanges.coinbase.session import CoinbaseSession
from bridge.model import Channel

__all__ = ["Coinbase", "CoinbaseSession"]


class Coinbase(Exchange):
    """Coinbase Advanced Trade: trades, full-depth books, quotes and tickers, without a log-in."""

    name = NAME
    url = "wss://advanced-trade-ws.coinbase.com"
    rest_url = "https://api.coinbase.com"
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    silence: ClassVar = {Channel.BOOK: 60.0}
    timed: ClassVar = dict.fromkeys(channels, 1_000)
    units: ClassVar = {Channel.TICKER: "24 hours, no open price", Channel.QUOTES: "at every match"}

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._url = profile.url or self.url

    def clock(self) -> Flow[ClockReading]:
        """``{"iso":"2026-08-09T21:05:48Z","epochSeconds":"1786309548","epochMillis":"1786309548228"}``"""  # noqa: D415
        return millis_reading(self.name, "/api/v3/brokerage/time", "epochMillis")

    def plan(self) -> list[ConnectionPlan]:
        profile = self.profile
        streams = tuple(self.subscriptions())
        if not streams:
            return []
        return [ConnectionPlan("market", streams, lambda: CoinbaseSession(self._url, profile.pairs, profile.channels))]
