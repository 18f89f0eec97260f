"""What CCXT offers, known without importing it: that takes half a second and a hundred megabytes.

The table is that of CCXT 4.5.90, and a test holds it against the one that is installed.
"""

from __future__ import annotations

from msgspec import Struct

from bridge.model import Channel

__all__ = ["LISTED", "NAMES", "PREFIX", "VERSION", "Listed"]

VERSION = "4.5.90"
"""The CCXT that the table is of."""
PREFIX = "ccxt."
"""Before the ids in the config."""

_LETTERS = {
    "t": Channel.TRADES,
    "b": Channel.BOOK,
    "k": Channel.TICKER,
    "q": Channel.QUOTES,
    "o": Channel.ORDERS,
    "f": Channel.FILLS,
    "w": Channel.BALANCES,
    "p": Channel.POSITIONS,
}
_TABLE: dict[str, tuple[str, str, str, str, float]] = {
    "alpaca": ("tbk", "of", "stream.data.alpaca.markets", "broker-api.alpaca.markets", 333),
    "apex": ("tbk", "ofp", "quote.omni.apex.exchange", "omni.apex.exchange", 20),
    "aster": ("tbkq", "ofwp", "sstream.asterdex.com", "fapi.asterdex.com", 333),
    "backpack": ("tbkq", "owp", "ws.backpack.exchange", "api.backpack.exchange", 50),
    "bequant": ("tbkq", "ow", "api.bequant.io", "api.bequant.io", 3.333),
    "binance": ("tbkq", "ofwp", "stream.binance.com:9443", "api.binance.com", 50),
    "binancecoinm": ("tbkq", "ofwp", "stream.binance.com:9443", "api.binance.com", 50),
    "binanceus": ("tbkq", "ofw", "stream.binance.us:9443", "api.binance.us", 50),
    "binanceusdm": ("tbkq", "ofwp", "stream.binance.com:9443", "api.binance.com", 50),
    "bingx": ("tbk", "ofwp", "open-api-ws.bingx.com", "open-api.bingx.com", 100),
    "bitfinex": ("tbk", "ofw", "api-pub.bitfinex.com", "api.bitfinex.com", 250),
    "bitget": ("tbkq", "ofwp", "ws.bitget.com", "api.bitget.com", 50),
    "bithumb": ("tbk", "ow", "pubwss.bithumb.com", "api.bithumb.com", 8.334),
    "bitopro": ("tbk", "fw", "stream.bitopro.com", "api.bitopro.com", 100),
    "bitrue": ("tbk", "ow", "ws.bitrue.com", "www.bitrue.com", 10),
    "bitstamp": ("tb", "of", "ws.bitstamp.net", "www.bitstamp.net", 75),
    "bittrade": ("tbk", "", "api-cloud.bittrade.co.jp", "api-cloud.bittrade.co.jp", 100),
    "bitvavo": ("tbkq", "of", "ws.bitvavo.com", "api.bitvavo.com", 60),
    "blockchaincom": ("tbk", "ow", "ws.blockchain.info", "api.blockchain.com", 500),
    "blofin": ("tbkq", "op", "openapi.blofin.com", "openapi.blofin.com", 200),
    "bullish": ("tbk", "ofwp", "api.exchange.bullish.com", "api.exchange.bullish.com", 20),
    "bybit": ("tbkq", "ofwp", "stream.bybit.com", "api.bybit.com", 20),
    "bybiteu": ("tbkq", "ofwp", "stream.bybit.eu", "api.bybit.eu", 20),
    "bybitid": ("tbkq", "ofwp", "stream.bybit.id", "api.bybit.id", 20),
    "bydfi": ("bk", "owp", "stream.bydfi.com", "api.bydfi.com", 50),
    "cex": ("tbk", "ofw", "ws.cex.io", "trade.cex.io", 300),
    "coinbase": ("tbk", "o", "advanced-trade-ws.coinbase.com", "api.coinbase.com", 34),
    "coinbaseexchange": ("tbk", "of", "ws-feed.exchange.coinbase.com", "api.exchange.coinbase.com", 100),
    "coinbaseinternational": ("tbkq", "ofwp", "streams.drb.coinbase.com", "drb.coinbase.com", 100),
    "coincheck": ("tb", "", "ws-api.coincheck.com", "coincheck.com", 1500),
    "coinone": ("tbk", "", "stream.coinone.co.kr", "api.coinone.co.kr", 50),
    "cryptocom": ("tbkq", "ofwp", "stream.crypto.com", "api.crypto.com", 10),
    "deepcoin": ("tbk", "ofp", "stream.deepcoin.com", "api.deepcoin.com", 200),
    "deribit": ("tbkq", "ofw", "www.deribit.com", "www.deribit.com", 50),
    "derive": ("tbkq", "ofwp", "api.derive.xyz", "api.derive.xyz", 50),
    "dydx": ("tb", "", "indexer.dydx.trade", "indexer.dydx.trade", 100),
    "extended": ("tb", "ofwp", "api.starknet.extended.exchange", "api.starknet.extended.exchange", 600),
    "gate": ("tbkq", "ofwp", "ws.gate.io", "api.gateio.ws", 50),
    "gateeu": ("tbkq", "ofwp", "ws.gateeu.com", "api.gateeu.com", 20),
    "gemini": ("tbq", "o", "api.gemini.com", "api.gemini.com", 100),
    "grvt": ("tbk", "ofp", "market-data.grvt.io", "edge.grvt.io", 10),
    "hashkey": ("tbk", "ofw", "stream-glb.hashkey.com", "api-glb.hashkey.com", 100),
    "hitbtc": ("tbkq", "ow", "api.hitbtc.com", "api.hitbtc.com", 3.333),
    "hollaex": ("tb", "ow", "api.hollaex.com", "api.hollaex.com", 250),
    "htx": ("tbk", "ofw", "api.huobi.pro", "api.huobi.pro", 100),
    "hyperliquid": ("tbk", "ofwp", "api.hyperliquid.xyz", "api.hyperliquid.xyz", 50),
    "independentreserve": ("tb", "", "websockets.independentreserve.com", "api.independentreserve.com", 1000),
    "kraken": ("tbkq", "ofw", "ws.kraken.com", "api.kraken.com", 1000),
    "krakenfutures": ("tbkq", "ofwp", "futures.kraken.com", "futures.kraken.com", 600),
    "kucoin": ("tbkq", "ofwp", "x-push-spot.kucoin.com", "api.kucoin.com", 7.5),
    "kucoinfutures": ("tbkq", "ofwp", "x-push-spot.kucoin.com", "api.kucoin.com", 7.5),
    "lbank": ("tbk", "ow", "www.lbkex.net", "api.lbank.info", 20),
    "lighter": ("tbk", "ofw", "mainnet.zklighter.elliot.ai", "mainnet.zklighter.elliot.ai", 1000),
    "luno": ("tb", "", "ws.luno.com", "api.luno.com", 200),
    "mexc": ("tbkq", "ofw", "wbs-api.mexc.com", "api.mexc.com", 50),
    "modetrade": ("tbkq", "ofwp", "ws-evm.orderly.org", "api-evm.orderly.org", 100),
    "mudrex": ("k", "", "trade.mudrex.com", "trade.mudrex.com", 100),
    "myokx": ("tbkq", "ofwp", "wseea.okx.com:443", "eea.okx.com", 110),
    "nado": ("tbkq", "ofp", "gateway.prod.nado.xyz", "gateway.prod.nado.xyz", 25),
    "ndax": ("tbk", "", "api.ndax.io", "api.ndax.io:8443", 1000),
    "okx": ("tbkq", "ofwp", "ws.okx.com:443", "www.okx.com", 110),
    "okxus": ("tbkq", "ofwp", "wsus.okx.com:443", "us.okx.com", 110),
    "onetrading": ("bk", "ofw", "streams.fast.onetrading.com", "api.onetrading.com", 300),
    "p2b": ("tbk", "", "apiws.p2pb2b.com", "api.p2pb2b.com", 100),
    "pacifica": ("tbk", "of", "ws.pacifica.fi", "api.pacifica.fi", 600),
    "paradex": ("tbk", "ofwp", "ws.api.prod.paradex.trade", "api.prod.paradex.trade", 50),
    "phemex": ("tbk", "ofw", "ws.phemex.com", "api.phemex.com", 120.5),
    "poloniex": ("tbk", "ofw", "ws.poloniex.com", "api.poloniex.com", 5),
    "polymarket": ("tbkq", "ofwp", "ws.perpetuals.polymarket.com", "api.perpetuals.polymarket.com", 60),
    "toobit": ("tbk", "ofw", "stream.toobit.com", "api.toobit.com", 20),
    "upbit": ("tbk", "ofw", "api.upbit.com", "api.upbit.com", 50),
    "weex": ("tbkq", "ofwp", "ws-spot.weex.com", "api-spot.weex.com", 20),
    "whitebit": ("tbk", "ofw", "api.whitebit.com", "whitebit.com", 20),
    "woo": ("tbkq", "ofwp", "wss.woox.io", "api-pub.woox.io", 100),
    "woofipro": ("tbkq", "ofwp", "ws-evm.orderly.org", "api-evm.orderly.org", 100),
    "xt": ("tbk", "ofwp", "stream.xt.com", "sapi.xt.com", 100),
}
"""Id → public channels, private ones, a host of its WebSockets and of its REST, milliseconds between two requests."""


class Listed(Struct, frozen=True):
    """An exchange that CCXT has a module for WebSockets of."""

    ident: str
    channels: frozenset[Channel]
    private_channels: frozenset[Channel]
    host: str
    rest_host: str
    apart: float
    """Milliseconds between two requests or messages."""


def _channels(letters: str) -> frozenset[Channel]:
    return frozenset(_LETTERS[letter] for letter in letters)


LISTED = {
    ident: Listed(ident, _channels(public), _channels(private), host, rest_host, apart)
    for ident, (public, private, host, rest_host, apart) in _TABLE.items()
}
"""Id → what it offers."""
NAMES = tuple(PREFIX + ident for ident in LISTED)
"""The names that the config takes."""
