"""CCXT's module of an exchange as a codec: it makes messages and reads them, and everything else is done outside.

Its classes are translated by a machine, and touch the world at few places that are the same everywhere: ``watch`` and
``watch_multiple``, the client's ``resolve`` and ``reject``, ``fetch``, ``spawn``, ``delay``, ``sleep``. Here these note
what is wanted (`Machine`) and what has come (`Taken`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import ccxt.pro
from ccxt.async_support.base.exchange import Exchange
from ccxt.async_support.base.ws.cache import BaseCache
from ccxt.base.errors import ExchangeNotAvailable, NotSupported, RateLimitExceeded
from msgspec import Struct

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.ccxt.books import (
    Change,
    RecordingBook,
    RecordingCountedBook,
    RecordingIndexedBook,
    fresh_rows,
    recording,
)
from bridge.exchanges.ccxt.digits import Digits, text
from bridge.exchanges.ccxt.driving import Machine, Promise, Request, Sleep, gather, race
from bridge.exchanges.toolkit.values.fields import opposite

__all__ = ["MARKET_TABLES", "Codec", "Taken", "Wire", "codec_of", "streaming_ids"]

MARKET_TABLES = ("markets", "markets_by_id", "symbols", "ids", "currencies", "currencies_by_id", "codes")
"""What `set_markets` makes: it is shared by all codecs of a connector."""
_ROWS_KEPT = 64
"""Public trades that CCXT keeps of a pair; whatever a frame brings is taken at once."""
_PACKED = "accept-encoding"


class Taken(Struct):
    """Something that a message has brought, under the hashes that CCXT resolves it for.

    ``change`` is a book's, ``rows`` are a cache's new ones; without either it is ``found`` itself.
    """

    found: Any
    hashes: list[str]
    change: Change | None = None
    rows: list[Any] | None = None


class _Standing(Promise):
    """Stands for data that goes on coming; handlers look for it before they resolve anything."""

    def __init__(self, wire: Wire, name: str) -> None:
        super().__init__((name,))
        self._wire = wire

    def resolve(self, value: Any = None) -> None:
        self._wire.codec.note(value, self.hashes[0])

    def reject(self, error: Any = None) -> None:
        self._wire.codec.rejected.append((error, self.hashes[0]))


class Wire:
    """In the place of CCXT's WebSocket client: one connection, as its handlers see it."""

    def __init__(self, codec: Codec, url: str) -> None:
        self.codec = codec
        self.url = url
        self.futures: dict[str, Promise] = {}
        self.subscriptions: dict[Any, Any] = {}
        self.rejections: dict[str, Any] = {}
        self.keepAlive: float | None = codec.streaming.get("keepAlive")
        self.lastPong: int | None = None
        self.error: Any = None
        self.connection = None
        self.isConnected = True

    def future(self, name: str) -> Promise:
        known = self.futures.get(name)
        if known is None or isinstance(known, _Standing):
            known = self.futures[name] = Promise((name,))
        if name in self.rejections:
            known.reject(self.rejections.pop(name))
        return known

    reusableFuture = future  # noqa: N815 - CCXT's name

    def resolve(self, result: Any, name: str) -> Any:
        self.codec.note(result, name)
        future = self.futures.get(name)
        if future is not None and not isinstance(future, _Standing):
            del self.futures[name]
            future.resolve(result)
        return result

    def reject(self, error: Any, name: str | None = None) -> Any:
        if name is None:
            self.codec.rejected.append((error, None))
            for waiting in list(self.futures):
                self._refuse(error, waiting)
        elif not self._refuse(error, name):
            self.codec.rejected.append((error, name))
            if name not in self.futures:
                self.rejections[name] = error
        return error

    def reset(self, error: Any) -> None:
        self.reject(error)

    def stand(self, names: Sequence[str]) -> None:
        """From now on data comes under these."""
        for name in names:
            self.futures[name] = _Standing(self, name)

    async def send(self, message: Any) -> None:
        self.codec.machine.sends.append((self.url, message))

    async def close(self, *_: Any) -> None:
        self.codec.closed.append(self.url)

    def _refuse(self, error: Any, name: str) -> bool:
        """Refuse what waits for a message; whether anything does."""
        future = self.futures.get(name)
        if future is None or isinstance(future, _Standing):
            return False
        del self.futures[name]
        future.reject(error)
        return True


class Codec(Digits, Exchange):  # type: ignore[misc]  # CCXT has no types
    """The base that is put between an exchange's classes and CCXT's own: what an exchange overrides stays its own."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.machine = Machine()
        self.taken: list[Taken] = []
        self.rejected: list[tuple[Any, str | None]] = []
        """What handlers have refused, and under which hash; ``None``: all of the connection."""
        self.closed: list[str] = []
        """Connections that a module wants closed."""
        self.clients: dict[str, Any] = {}
        self.one_connection = False
        """Whether all addresses at one host are the same connection: some modules count their connections in the path."""
        super().__init__({**config, "enableRateLimit": False})
        self.options["tradesLimit"] = _ROWS_KEPT
        self.number_to_string = text

    # The clock

    def milliseconds(self) -> int:
        return self.machine.now // 1_000_000

    def seconds(self) -> int:
        return self.machine.now // 1_000_000_000

    def microseconds(self) -> int:
        return self.machine.now // 1_000

    async def sleep(self, milliseconds: float) -> None:
        await Sleep(milliseconds)

    def delay(self, timeout: float, method: Callable[..., Any], *args: Any) -> None:
        def begin() -> None:
            self.spawn(method, *args)

        self.machine.later(timeout, begin)

    def spawn(self, method: Callable[..., Any], *args: Any) -> Promise:
        work = method(*args)
        return self.machine.start(work).result if isinstance(work, Coroutine) else work

    async def throttle(self, cost: float | None = None) -> None:
        """The feed has budgets of its own."""

    # The connection

    def open(self, lazy: bool = False) -> None:
        pass

    def close(self) -> None:  # ended by `__del__`, too
        pass

    __del__ = close

    def client(self, url: str) -> Wire:
        if url not in self.clients:
            self.clients[url] = (self._known(url) if self.one_connection else None) or Wire(self, url)
        task = self.machine.current
        if task is not None and url.startswith("ws"):
            task.near = task.near or url
        wire: Wire = self.clients[url]
        return wire

    def _known(self, url: str) -> Wire | None:
        """The connection that there is to the host of an address."""
        host = urlsplit(url)[:2]
        return next(
            (wire for known, wire in self.clients.items() if known.startswith("ws") and urlsplit(known)[:2] == host),
            None,
        )

    def watch(
        self, url: str, message_hash: str, message: Any = None, subscribe_hash: Any = None, subscription: Any = None
    ) -> Promise:
        wire = self._speak(url)
        insists = self._insists()
        if subscribe_hash is None and message_hash in wire.futures and not insists:
            known = wire.futures[message_hash]
            return wire.future(message_hash) if isinstance(known, _Standing) else known
        future = wire.future(message_hash)
        if insists or not wire.subscriptions.get(subscribe_hash):
            wire.subscriptions[subscribe_hash] = subscription or True
            if message:
                self.machine.sends.append((wire.url, message))
        return future

    def watch_multiple(
        self,
        url: str,
        message_hashes: Sequence[str],
        message: Any = None,
        subscribe_hashes: Sequence[Any] | None = None,
        subscription: Any = None,
    ) -> Promise:
        wire = self._speak(url)
        first = race([wire.future(name) for name in message_hashes])
        insists = self._insists()
        missing = [name for name in subscribe_hashes or () if insists or name not in wire.subscriptions]
        wire.subscriptions.update(dict.fromkeys(missing, subscription or True))
        if message and missing:
            self.machine.sends.append((wire.url, message))
        return first

    def _insists(self) -> bool:
        return self.machine.current is not None and self.machine.current.insists

    def _speak(self, url: str) -> Wire:
        task = self.machine.current
        if task is not None:
            task.url = task.url or url
        return self.client(url)

    async def load_order_book(
        self, client: Wire, name: str, symbol: str, limit: Any = None, params: Any = None
    ) -> None:
        """A snapshot by REST between buffered deltas, as CCXT does it; where it fails, the book is refused."""
        book = self.orderbooks.get(symbol)
        if book is None:
            return
        for _ in range(self.handle_option("watchOrderBook", "maxRetries", 3)):
            snapshot = await self.fetch_rest_order_book_safe(symbol, limit, params or {})
            index = self.get_cache_index(snapshot, book.cache)
            if index >= 0:
                book.reset(snapshot)
                self.handle_book_deltas(book, book.cache[index:])
                book.cache.clear()
                client.resolve(book, name)
                return
        client.reject(ExchangeNotAvailable(f"{self.id}: the snapshot is older than the deltas"), name)

    # What comes

    def order_book(self, snapshot: Any = None, depth: int | None = None) -> RecordingBook:
        return RecordingBook(snapshot, depth)

    def counted_order_book(self, snapshot: Any = None, depth: int | None = None) -> RecordingCountedBook:
        return RecordingCountedBook(snapshot, depth)

    def indexed_order_book(self, snapshot: Any = None, depth: int | None = None) -> RecordingIndexedBook:
        return RecordingIndexedBook(snapshot, depth)

    def note(self, found: Any, name: str) -> None:
        """A handler resolves something: take what is new of it."""
        change = found.take() if isinstance(found, RecordingBook) else None
        rows = fresh_rows(found)
        same = next((taken for taken in reversed(self.taken) if taken.found is found), None)
        if same is not None and change is None and not rows:
            same.hashes.append(name)
        else:
            self.taken.append(Taken(found, [name], change, rows))

    # REST

    async def load_markets(self, *_: Any) -> Any:
        """They are set from outside, before anything is watched."""
        return self.markets

    async def fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> Any:
        sent = self.prepare_request_headers(headers)
        if body is not None and not isinstance(body, str):
            raise NotSupported(f"{self.id}: a body that is no text")
        plain = {name: str(value) for name, value in sent.items() if name.lower() != _PACKED}
        try:
            answer = await Request(method, url, plain, body or "")
        except RestError as error:
            kind = RateLimitExceeded if error.kind is ErrorKind.REST_RATE_LIMITED else ExchangeNotAvailable
            raise kind(error.about) from error
        got = {name.title(): value for name, value in answer.headers.items()}
        said = self.on_rest_response(
            answer.status, "", url, method, got, answer.body.decode(errors="replace"), sent, body
        )
        parsed = self.parse_json(said)
        if isinstance(parsed, dict) and self.returnResponseHeaders:
            parsed["responseHeaders"] = got
        self.handle_errors(answer.status, "", url, method, got, said, parsed, sent, body)
        self.handle_http_status_code(answer.status, "", url, method, said)
        return said if parsed is None else parsed


def streaming_ids() -> list[str]:
    """The ids of the installed CCXT that have a module for WebSockets."""
    return sorted(name for name in vars(ccxt.pro) if isinstance(vars(ccxt.pro)[name], type) and _is_own(name))


def _is_own(name: str) -> bool:
    return bool(getattr(ccxt.pro, name).__module__ == f"ccxt.pro.{name}")


def codec_of(ident: str, config: Mapping[str, Any]) -> Codec:
    """A codec of this exchange.

    Raises:
        KeyError: the installed CCXT doesn't know it.
    """
    if not hasattr(ccxt.pro, ident) or not _is_own(ident):
        raise KeyError(ident)
    kind = type(ident, (getattr(ccxt.pro, ident), Codec), _CORRECTIONS.get(ident, {}))
    for part in kind.__mro__:
        name = part.__module__
        if name.startswith(("ccxt.pro.", "ccxt.async_support.")) and ".base." not in name:
            _prepare(vars(sys.modules[name]))
    made: Codec = kind(config)
    return made


_ASYNCIO = SimpleNamespace(gather=gather)


def _prepare(module: dict[str, Any]) -> None:
    """Have a module of an exchange use our `gather`, and caches that note their rows."""
    caches = {name: kind for name, kind in module.items() if isinstance(kind, type) and issubclass(kind, BaseCache)}
    module.update({name: recording(kind) for name, kind in caches.items() if not hasattr(kind, "records")})
    module["asyncio"] = _ASYNCIO


def _checked_digits(_: Any, number: Any) -> str:
    """Kraken's checksum is over all digits, without the point and leading zeros; CCXT's function fails on a number."""
    return text(number).replace(".", "").lstrip("0")


def _charged_fee(self: Any, order: Any, market: Any = None) -> Any:
    """OKX has charged fees below zero; CCXT gives those of its REST answers the other sign, and leaves these as they are."""
    trade = ccxt.pro.okx.order_to_trade(self, order, market)
    fee = trade.get("fee") or {}
    if fee.get("cost") is not None:
        fee["cost"] = Decimal(opposite(text(fee["cost"])))
    return trade


def _volume_in_coins(self: Any, ticker: Any, market: Any = None) -> Any:
    """OKX counts the volume of contracts in contracts and in coins; CCXT takes the first for the second."""
    found = ccxt.pro.okx.parse_ticker(self, ticker, market)
    if ticker.get("instType") in _OKX_CONTRACTS:
        found["baseVolume"] = self.safe_number(ticker, "volCcy24h")
    return found


_OKX_CONTRACTS = ("SWAP", "FUTURES")
_OKX = {"order_to_trade": _charged_fee, "parse_ticker": _volume_in_coins}
_CORRECTIONS: dict[str, dict[str, Any]] = {
    "kraken": {"format_number": _checked_digits},
    **dict.fromkeys(("okx", "okxus", "myokx"), _OKX),
}
"""Id → methods in the place of CCXT's, where those can't work, or are wrong."""
