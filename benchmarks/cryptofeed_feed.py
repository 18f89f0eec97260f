"""cryptofeed as a user would set it up to lose nothing: its Coinbase feed into its Redis streams backend.

Runs in an environment of its own (`benchmarks/peers.py` makes it); of this project it imports nothing.

    python benchmarks/cryptofeed_feed.py EXCHANGE_PORT REDIS_HOST REDIS_PORT KEY_PREFIX CHANNELS PAIR ...
"""

from __future__ import annotations

import sys
from typing import Any

from cryptofeed import FeedHandler, connection
from cryptofeed.backends.redis import BookStream, TickerStream, TradeStream
from cryptofeed.connection import WebsocketEndpoint
from cryptofeed.defines import L2_BOOK, TICKER, TRADES
from cryptofeed.exchanges import Coinbase
from cryptofeed.symbols import Symbols

_BACKENDS = {TRADES: TradeStream, L2_BOOK: BookStream, TICKER: TickerStream}
_connect = connection.connect


def _connect_plain(address: str, **options: Any) -> Any:
    """It takes ``wss://`` only; the exchange here speaks without TLS, to all sides alike."""
    return _connect(address.replace("wss://", "ws://"), **options)


def main() -> None:
    port, host, redis_port, prefix, channels, *pairs = sys.argv[1:]
    connection.connect = _connect_plain
    Coinbase.websocket_endpoints = [WebsocketEndpoint(f"wss://127.0.0.1:{port}", options={"compression": None})]
    # Known already, so that it asks the real exchange for nothing.
    Symbols.set(Coinbase.id, {pair: pair for pair in pairs}, {"instrument_type": dict.fromkeys(pairs, "spot")})
    callbacks: dict[str, Any] = {
        # block: the only one of its three ways that drops nothing when its queue is full
        channel: _BACKENDS[channel](host, int(redis_port), key=f"{prefix}:{channel}", overflow="block")
        for channel in channels.split(",")
    }
    handler = FeedHandler(config={"uvloop": True, "log": {"disabled": True}})
    handler.add_feed(Coinbase(symbols=pairs, channels=list(callbacks), callbacks=callbacks))
    handler.run()


if __name__ == "__main__":
    main()
