"""Limitlex as a server: ``/websocket/?p=<pair id>[,…][&t=<token>][&subaccounts=true]`` and ``/api``.

The subscription is the query string and data starts at once. The exchange's documentation doesn't say what it does with
a wrong pair (here: handshake refused, 400) or a wrong token (401), nor whether private messages are limited to the pairs
of the socket (here: no).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from aiohttp import web

from bridge.simulator.dialect import Access, Core, Dialect, Ledger
from bridge.simulator.events import (
    BestChanged,
    Filled,
    LevelChanged,
    MarketEvent,
    OhlcChanged,
    OrderChanged,
    TradeDone,
    WalletChanged,
)
from bridge.simulator.limitlex import frames
from bridge.simulator.limitlex.auth import AuthError, Keyring, Tokens
from bridge.simulator.limitlex.options import LimitlexConfig
from bridge.simulator.limitlex.rest import Rest
from bridge.simulator.session import refused, serve_socket
from bridge.simulator.sockets import Message, message

__all__ = ["Limitlex"]


class Limitlex(Dialect):
    """Limitlex's way of speaking. No fault is its own, and nothing is due by the clock: a token's end has a timer."""

    ws_path: ClassVar[str] = "/websocket/"
    rest_path: ClassVar[str] = "/api"
    trade_ids: ClassVar[bool] = False
    book_levels: ClassVar[int | None] = None
    subaccounts: ClassVar[bool] = True
    key_suffix: ClassVar[str] = ".pem"
    unknown: ClassVar[bytes] = b'{"t":"maintenance_notice","message":"simulated message of an unknown type"}'

    def __init__(self, core: Core, config: LimitlexConfig) -> None:
        self._core = core
        self._config = config
        market = core.market
        accounts = [account for account in market.accounts.values() if account.parent is None]
        self._keyring = Keyring(accounts, market.config.seed, core.clock, config.nonce_unit, core.key_dir)
        self._tokens = Tokens(accounts, core.clock, config.token_lifetime)
        self._rest = Rest(core, self._keyring, self._tokens)
        self._specs = {name: state.spec for name, state in market.pairs.items()}
        self._pair_names = {frames.pair_id(spec): name for name, spec in self._specs.items()}
        self._subaccounts = {a.name: a.uuid for a in market.accounts.values() if a.parent is not None}
        self._heard: dict[type[MarketEvent], Callable[[Any], None]] = {
            LevelChanged: self._level,
            TradeDone: self._trade,
            BestChanged: self._best,
            OhlcChanged: self._ohlc,
            OrderChanged: self._order,
            Filled: self._fill,
            WalletChanged: self._wallet,
        }
        if core.journal is not None:
            for name in self._specs:
                core.journal.changed(name, *market.depth(name), core.clock())

    def add_routes(self, app: web.Application) -> None:
        """The WebSocket (with and without the slash) and the REST methods."""
        app.router.add_get("/websocket/", self._websocket)
        app.router.add_get("/websocket", self._websocket)
        self._rest.add_routes(app)

    def heard(self, events: list[MarketEvent]) -> None:
        """Publish market events as Limitlex's messages."""
        for event in events:
            self._heard[type(event)](event)

    def expire_tokens(self, *, cut: bool) -> None:
        """Make all tokens given out so far void; with ``cut`` close the sockets that used one."""
        self._tokens.revoke()
        if cut:
            for socket in list(self._core.hub.sockets):
                if socket.account:
                    socket.close(1008)

    def pair_ids(self) -> dict[str, str]:
        """Pair → ``<base UUID>:<quote UUID>``."""
        return {name: pair_id for pair_id, name in self._pair_names.items()}

    def fill_id(self, fill: Filled) -> str:
        """``<pair>-<trade id>``, as in ``private/trades``."""
        return f"{fill.pair}-{fill.trade_id}"

    def accesses(self) -> list[Access]:
        """The accounts' API keys."""
        return [Access(key.account, key.key_id, key.pem) for key in self._keyring.keys.values()]

    def ledgers(self, account: str) -> list[Ledger]:
        """The account and its sub-accounts, which are known by UUID and of which nothing can be asked for by REST."""
        market = self._core.market
        own = market.accounts[account]
        return [Ledger(account, account, own.balances(), own)] + [
            Ledger(f"{account}/{sub.uuid}", sub.name, sub.balances(), sub, restated=False)
            for sub in market.subaccounts(account)
        ]

    # The WebSocket

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        refusal = self._core.gate.handshake()
        if refusal is not None:
            return refused(refusal)
        try:
            account, expires = self._login(request.query.get("t", ""))
            pairs = self._asked(request.query.get("p", ""))
        except AuthError as error:
            return web.Response(status=error.status, text=error.message)
        if not pairs and not account:
            return web.Response(status=400, text="Neither pairs (p) nor a token (t) given")
        topics = [("pair", pair) for pair in pairs]
        if account:
            topics.append(("account", account))
            if request.query.get("subaccounts") == "true":
                topics.append(("subaccounts", account))
        return await serve_socket(
            self._core,
            request,
            lambda: self._hello(topics),
            topics=topics,
            pairs=pairs,
            account=account,
            expires=expires if self._config.cut_expired else None,
        )

    def _login(self, token: str) -> tuple[str, float | None]:
        return self._tokens.account(token) if token else ("", None)

    def _asked(self, text: str) -> list[str]:
        pairs = []
        for pair_id in filter(None, text.split(",")):
            name = self._pair_names.get(pair_id)
            if name is None:
                raise AuthError(400, f"Unknown pair {pair_id}")
            pairs.append(name)
        return list(dict.fromkeys(pairs))

    def _hello(self, topics: list[tuple[str, str]]) -> Iterator[Message]:
        """The first messages of a socket: per pair the book, the best prices, the day, then what the options add."""
        market = self._core.market
        for kind, name in topics:
            if kind == "pair":
                spec = self._specs[name]
                yield message("whole_order_book", name, frames.whole_order_book(spec, *market.depth(name)))
                yield message("best_bid_ask", name, frames.best_bid_ask(spec, market.best(name)))
                day = market.ohlc(name)
                if day is not None:
                    yield message("change_ohlc", name, frames.change_ohlc(spec, day))
                if self._config.replay_trades:
                    for trade in list(market.pairs[name].trades)[-self._config.replay_trades :]:
                        yield message("last_trade", name, frames.last_trade(trade))
            elif self._config.hello_wallets:
                subs = market.subaccounts(name)
                for account in [market.accounts[name]] if kind == "account" else subs:
                    sub = self._subaccounts.get(account.name, "")
                    yield message("wallets", "", frames.wallets(account.balances(), sub))

    # Market events

    def _level(self, event: LevelChanged) -> None:
        if self._core.journal is not None:
            bid, levels = event.side == "buy", [(event.price, event.size)]
            self._core.journal.changed(event.pair, levels if bid else [], [] if bid else levels, self._core.clock())
        change = self._config.amounts == "change"
        self._public(event.pair, "order_book", lambda: frames.order_book(event, change=change))

    def _trade(self, event: TradeDone) -> None:
        self._public(event.pair, "last_trade", lambda: frames.last_trade(event))

    def _best(self, event: BestChanged) -> None:
        self._public(event.pair, "best_bid_ask", lambda: frames.best_bid_ask(self._specs[event.pair], event))

    def _ohlc(self, event: OhlcChanged) -> None:
        self._public(event.pair, "change_ohlc", lambda: frames.change_ohlc(self._specs[event.pair], event))

    def _order(self, event: OrderChanged) -> None:
        self._private(event.account, event.pair, "open_order", lambda sub: frames.open_order(event, sub))

    def _fill(self, event: Filled) -> None:
        self._private(event.account, event.pair, "trade", lambda sub: frames.trade(event, sub))

    def _wallet(self, event: WalletChanged) -> None:
        self._private(event.account, "", "wallets", lambda sub: frames.wallets(event.balances, sub))

    def _public(self, pair: str, kind: str, encode: Callable[[], str]) -> None:
        self._core.hub.publish(("pair", pair), kind, pair, encode)

    def _private(self, account: str, pair: str, kind: str, encode: Callable[[str], str]) -> None:
        sub = self._subaccounts.get(account, "")
        owner = self._core.market.accounts[account].owner
        topic = ("subaccounts" if sub else "account", owner)
        self._core.hub.publish(topic, kind, pair, lambda: encode(sub))
