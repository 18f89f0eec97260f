"""Coinbase's REST calls, and what the rows of an account say: those of its lists, and of the channel ``user``.

A key sees one portfolio. Every call, and every message that needs a log-in, bears a token of its own, good for two
minutes; a subscription that was accepted goes on after that.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from decimal import Decimal
from functools import cached_property

import msgspec
from msgspec import field

from bridge.errors import ConfigError, Problem
from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import ClockReading, Credentials, Flow
from bridge.exchanges.coinbase.public import NAME
from bridge.exchanges.toolkit.accounts.fill_sums import FillSums
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.pairs.product_list import ProductList
from bridge.exchanges.toolkit.rest.json_rest import JsonRest
from bridge.exchanges.toolkit.rest.jwt import SigningKey
from bridge.exchanges.toolkit.timing.clocks import millis_reading
from bridge.exchanges.toolkit.timing.times import UtcTimes
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT
from bridge.exchanges.toolkit.values.contracts import Contracts
from bridge.exchanges.toolkit.values.fields import EXACT, NESTED, Row, decode_rows, first, nested, plain, total
from bridge.exchanges.toolkit.values.numbers import (
    check_amounts,
    check_ids,
    check_numbers,
    check_values,
    check_words,
    id_or_empty,
    shortened,
)
from bridge.model import Balance, Fill, Order, Position

__all__ = ["ADJUSTMENTS", "API", "STATES", "CoinbaseMemory", "CoinbaseRest", "Rows"]

API = "/api/v3/brokerage"
_SIGNED_HOST = "api.coinbase.com"
"""What a call's token names, through whatever address the call goes: as the official client does."""
_TOKEN_LASTS, _EARLY = 120, 1
"""Seconds; and how long before the exchange's time a token begins: whether it takes one from its future isn't known."""
_ENDED = {"FILLED": "filled", "CANCELLED": "cancelled", "EXPIRED": "cancelled", "FAILED": "rejected"}
_BEGUN = ("PENDING", "QUEUED", "OPEN")
STATES = (*_ENDED, *_BEGUN, "CANCEL_QUEUED", "EDIT_QUEUED")
"""Those of orders that are known; the last two change nothing yet."""
ADJUSTMENTS = ("REVERSAL", "CORRECTION", "SYNTHETIC")
"""What of the rows of fills is none."""
_MOST_IN_MONEY = 1_000
_OPEN = ("open", "partially_filled")
_SIDES, _HELD = {"BUY": "buy", "SELL": "sell"}, {"LONG": "long", "SHORT": "short"}


class CoinbaseMemory(AccountMemory):
    """What the successive sessions of one account know; ``attempts`` are its connections since one was served."""

    sums: FillSums = field(default_factory=FillSums)
    in_money: dict[str, None] = field(default_factory=dict)
    """Orders whose size was given in money: their fills don't add up to it, nor exactly to what is filled."""
    attempts: int = 0

    def take_in_money(self, order_id: str) -> None:
        """The size of this order was given in money."""
        self.in_money[order_id] = None
        self.sums.forget(order_id)
        if len(self.in_money) > _MOST_IN_MONEY:
            del self.in_money[next(iter(self.in_money))]

    def progress(self, order: Order) -> None:
        """Note how far an order is filled: its fills have to show it, too."""
        if order.order_id not in self.in_money:
            self.sums.orders([order])


class CoinbaseRest(JsonRest):
    """The REST calls, public and signed; ``portfolio`` is the one that the key has to be of, and then the one it is of."""

    def __init__(self, account: Credentials | None = None, portfolio: str = "") -> None:
        super().__init__(NAME, ("orders", "fills", "accounts", "positions", "products"), account)
        self._wanted = portfolio
        self.portfolio = ""

    @cached_property
    def key(self) -> SigningKey:
        """The account's key.

        Raises:
            ConfigError: its secret is none.
        """
        assert self.account is not None
        try:
            return SigningKey(self.account.api_secret)
        except ValueError as error:
            raise ConfigError([Problem(f"accounts.{self.account.name}", f"the api_secret is {error}")]) from None

    def token(self, at: int, uri: str = "") -> str:
        """A token for one message or call, at this time (ms, by the exchange's clock)."""
        assert self.account is not None
        name, begin = self.account.api_key, at // 1000 - _EARLY
        claims = {"sub": name, "iss": "cdp", "nbf": begin, "exp": begin + _TOKEN_LASTS, **({"uri": uri} if uri else {})}
        return self.key.token({"kid": name, "nonce": secrets.token_hex(16)}, claims)

    def time(self) -> Flow[ClockReading]:
        """``{"iso":"2026-08-09T21:05:48Z","epochSeconds":"1786309548","epochMillis":"1786309548228"}``"""  # noqa: D415
        return millis_reading(NAME, f"{API}/time", "epochMillis")

    def check_key(self, now: int) -> Flow[str]:
        """What kind of portfolio the key is of.

        ``{"can_view":true,"can_trade":false,"can_transfer":false,"portfolio_uuid":"4a1d…","portfolio_type":"DEFAULT"}``

        Raises:
            RestError: as `get`; or the key may not see what is wanted.
        """
        path = f"{API}/key_permissions"
        [row] = decode_rows(msgspec.json.encode((yield from self.get(path, "", now, self.account))))
        self.portfolio = id_or_empty(row.get("portfolio_uuid", ""))
        wrong = "the key lacks the permission to view" if row.get("can_view") == "false" else ""
        if self._wanted and self.portfolio not in ("", self._wanted):
            wrong = f"the key is of the portfolio {self.portfolio}, not of {self._wanted}"
        if wrong:
            raise RestError(NAME, path, 200, wrong, LONG_WAIT, kind=ErrorKind.REST_LOGIN_REFUSED)
        return id_or_empty(row.get("portfolio_type", ""))

    def _sign(self, account: Credentials, at: str, path: str, query: str) -> dict[str, str]:
        del account, query
        return {"Authorization": f"Bearer {self.token(int(at), f'GET {_SIGNED_HOST}{path}')}"}


class Rows:
    """What rows say; all of them raise one of `WRONG` where they can't be understood."""

    def __init__(self, account: str, memory: CoinbaseMemory, listing: ProductList, contracts: Contracts) -> None:
        self._name = account
        self._memory = memory
        self._listing = listing
        self._contracts = contracts
        self._ns = UtcTimes().ns

    def order(self, row: Row, ts: str, recv: int) -> Order:
        """An order of the channel or of a list, which name some fields differently; only lists have all of its terms."""
        order_id, client_id, pair = row["order_id"], row.get("client_order_id", ""), row["product_id"]
        kind, side = row["order_type"].lower().replace(" ", "_"), _SIDES[first(row, "order_side", "side").upper()]
        terms = nested(row, "order_configuration")
        term: Row = next((nested(terms, name) for name in terms), {})
        filled = first(row, "cumulative_quantity", "filled_size") or "0"
        price = row.get("limit_price") or term.get("limit_price", "")
        check_ids(order_id, pair)
        check_words(client_id, kind)
        check_numbers(filled)
        check_amounts(price)
        known = self._memory.newest(pair, order_id)
        status = _status(row["status"], filled, known)
        size = self._size(row, term, filled, status, bought=kind == "market" and side == "buy")
        if not Decimal(price or 0):
            price = known.price if known else ""
        contracts = size if self._is_future(pair) else ""
        size, filled, name = self._coins(pair, size), self._coins(pair, filled), self._name
        return Order(
            *(name, self._ns(ts), recv, order_id, client_id, pair, kind, side, price, size, filled, status, contracts)
        )

    def _size(self, row: Row, term: Row, filled: str, status: str, *, bought: bool) -> str:
        """An order's size in coins or contracts; empty where it was given in money, or isn't known.

        The channel tells what is left, of open orders only: of one that is about to end it may be too little, and of one
        ``bought`` at the market's price it may be money.
        """
        base, left = term.get("base_size", ""), row.get("leaves_quantity", "")
        check_amounts(base, left)
        if row.get("size_in_quote") == "true":
            self._memory.take_in_money(row["order_id"])
        if row["order_id"] in self._memory.in_money:
            return ""
        known = self._memory.newest(row["product_id"], row["order_id"])
        before = (known.contracts or known.size) if known else ""
        if not base and not bought and Decimal(left or 0) and status in _OPEN:
            told = EXACT.add(Decimal(filled), Decimal(left))
            if row["status"] in _BEGUN or told >= Decimal(before or 0):
                return plain(told)
        return base or before or (filled if status == "filled" and not bought else "")

    def fill(self, row: Row, recv: int) -> list[Fill]:
        """A fill, or nothing for its adjustment; its id is ``entry_id``: ``trade_id`` may be that of several rows.

        ``{"entry_id":"22222-2222222-22222222","trade_id":"1111-11111-111111","order_id":"0000-000000-000000","trade_time":
        "2024-01-15T10:30:00Z","trade_type":"FILL","price":"45123.45","size":"0.005","commission":"1.14","product_id":
        "BTC-USD","size_in_quote":false,"side":"BUY"}``
        """
        fill_id, order_id, pair = row["entry_id"], row["order_id"], row["product_id"]
        price, size, fee, side = row["price"], row["size"], row.get("commission", ""), _SIDES[row["side"].upper()]
        check_ids(fill_id, order_id, pair)
        check_numbers(price, size)
        check_values(fee)
        ts, listed = self._ns(row["trade_time"]), self._listing.products.get(pair)
        if row.get("trade_type", "FILL") != "FILL":
            if row["trade_type"] not in ADJUSTMENTS:
                raise ValueError(f"type {shortened(row['trade_type'])}")
            return []
        if row.get("size_in_quote") == "true":
            self._memory.take_in_money(order_id)
            size = self._from_money(pair, order_id, Decimal(size) / Decimal(price))
        future = self._is_future(pair)
        currency = listed.pair.quote if listed else "" if future else pair.rpartition("-")[2]
        contracts, size = size if future else "", self._coins(pair, size)
        return [Fill(self._name, ts, recv, fill_id, order_id, pair, side, price, size, fee, currency, contracts)]

    def balance(self, wallets: Sequence[Row], recv: int) -> Balance:
        """All wallets of one currency: ``{"currency":"BTC","available_balance":{"value":"1.2",…},"hold":{"value":"0",…}}``."""
        currency = wallets[0]["currency"]
        if not currency:
            raise ValueError("a wallet without a currency")
        check_words(currency)
        free, held = (total([_value(row, name) for row in wallets]) for name in ("available_balance", "hold"))
        return Balance(self._name, None, recv, currency, free, held)

    def position(self, row: Row, recv: int) -> Position:
        """A position of a US derivative, which counts contracts.

        ``{"product_id":"BIP-20DEC30-CDE","side":"LONG","number_of_contracts":"2","current_price":{"value":"50000.00",
        "currency":"USD"},"avg_entry_price":{"value":"49000.00",…},"unrealized_pnl":{"value":"20.00",…},"contract_size":
        "0.01"}``
        """
        pair, contracts = row["product_id"], row["number_of_contracts"]
        entry, mark, profit = (_value(row, name) for name in ("avg_entry_price", "current_price", "unrealized_pnl"))
        check_ids(pair)
        check_numbers(contracts)
        check_amounts(entry, mark)
        check_values(profit)
        self._contracts.learn(pair, row.get("contract_size", ""))
        if not Decimal(contracts):
            return Position(self._name, None, recv, pair, "", "0", "", "", "", "0")
        side, size = _HELD[row["side"]], self._coins(pair, contracts)
        return Position(self._name, None, recv, pair, side, size, entry, mark, profit, contracts)

    def _from_money(self, pair: str, order_id: str, coins: Decimal) -> str:
        """Coins of a fill whose size is money: as its order says, if it is the only one, else rounded to the pair's step."""
        known, listed = self._memory.newest(pair, order_id), self._listing.products.get(pair)
        step = Decimal((listed and listed.pair.lot_size) or "0.00000001")
        if known and known.filled and abs(Decimal(known.filled) - coins) <= step:
            return known.filled
        return plain(coins.quantize(step))

    def _is_future(self, pair: str) -> bool:
        return bool(self._contracts.contracts(pair, "1"))

    def _coins(self, pair: str, size: str) -> str:
        """A size in coins; empty where nobody knows what a contract is worth."""
        known = pair in self._contracts or not self._is_future(pair)
        return self._contracts.coins(pair, size) if size and known else ""


def _status(word: str, filled: str, known: Order | None) -> str:
    """A state in the bridge's words; one that changes nothing yet, or that nobody knows, is as before."""
    if word in _ENDED:
        return "cancelled" if word == "FAILED" and Decimal(filled) else _ENDED[word]
    if word not in _BEGUN and known and known.status:
        return known.status
    return "partially_filled" if Decimal(filled) else "open"


def _value(row: Row, name: str) -> str:
    """An amount with its currency, ``{"value":"1.23456789","currency":"BTC"}``, or bare."""
    return nested(row, name)["value"] if row[name].startswith(NESTED) else row[name]
