"""Limitlex over REST: pair and currency ids, the WebSocket token, and an account's present state.

Paths, signature and answers as in the exchange's REST page; where an answer's shape isn't documented, every shape that
the house style allows is taken.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from bridge.errors import ConfigError, Problem
from bridge.exchange_errors import FrameError, RestError
from bridge.exchanges.api import Credentials, Flow, HttpRequest, HttpResponse, ListedPair
from bridge.exchanges.limitlex.messages import NAME, nanoseconds
from bridge.exchanges.toolkit.fields import UNREADABLE_ROW, Row, decode_rows, fields_of, text
from bridge.exchanges.toolkit.listing import check_listed
from bridge.exchanges.toolkit.nonces import Nonces
from bridge.exchanges.toolkit.numbers import SECOND, check_amounts, check_ids, check_values, check_words, id_or_empty
from bridge.exchanges.toolkit.salvage import UNREADABLE, readable
from bridge.exchanges.toolkit.waiting import seconds_to_wait
from bridge.model import Balance, Event, Order

__all__ = ["LimitlexRest", "Listing", "TokenSource", "check_secret", "sign", "token_expiry"]

_MILLISECOND = 1_000_000
_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII).fullmatch
"""A JWT; it goes into an address as it is, so nothing else may pass for one."""
_SECONDS = re.compile(r"[0-9]{1,10}").fullmatch
_decode_claims: Callable[[bytes], Any] = msgspec.json.Decoder(float_hook=Decimal).decode
_SIDES = {"buy": "buy", "sell": "sell"}
_NEVER = 2**63 // SECOND
"""A time beyond this (seconds) is none."""


def sign(pem: str, path: str, body: str) -> str:
    """The ``API-Sign`` header: ECDSA with SHA-512 over ``path + body``, DER, base64; any curve the key is of.

    Raises:
        ValueError: the secret is no EC private key in PEM.
    """
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        msg = "the api_secret is not a private key in PEM (it starts with -----BEGIN PRIVATE KEY-----)"
        raise ValueError(msg) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        msg = "the api_secret is a private key, but not of an elliptic curve"
        raise ValueError(msg)  # noqa: TRY004 - the value of a setting is wrong
    return base64.b64encode(key.sign((path + body).encode(), ec.ECDSA(hashes.SHA512()))).decode()


def token_expiry(token: str) -> int | None:
    """The ``exp`` of a JWT in nanoseconds since the epoch; ``None`` where it has none, or one that is no time."""
    try:
        payload = token.split(".")[1]
        claims = _decode_claims(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expires = Decimal(claims["exp"])
        if not -1 < expires < _NEVER:  # before it is written out: its exponent may be anything
            return None
        return int(expires) * SECOND
    except (LookupError, ArithmeticError, TypeError, ValueError):
        return None


def check_secret(credentials: Credentials) -> None:
    """Make sure that the account's secret is a key that can sign.

    Raises:
        ConfigError: it isn't.
    """
    try:
        sign(credentials.api_secret, "", "")
    except ValueError as error:
        raise ConfigError([Problem(f"accounts.{credentials.name}", str(error))]) from None


class Listing(Struct):
    """The rows of a listing that could be understood, and what is known of the others."""

    events: list[Event]
    rejects: list[FrameError]
    unread: set[str]
    """The ids of rows that could not be understood; an empty one where not even that could be read."""

    def covers(self, event: Event) -> bool:
        """Whether a known order would be listed, were it still open: not, where its row may be one of the bad ones."""
        return not self.unread or ("" not in self.unread and getattr(event, "order_id", "") not in self.unread)


class LimitlexRest:
    """The REST calls, and what was learned from them: ids of pairs and currencies."""

    def __init__(self, pair_ids: dict[str, str]) -> None:
        self._pair_ids = dict(pair_ids)
        self._codes: dict[str, str] = {}
        self._nonces = (Nonces(_MILLISECOND), Nonces(SECOND))
        """In the unit that did last, and in the other: old revisions of the REST page ask for seconds."""
        self.clock_offset = 0
        """The exchange's clock less ours (ns), for signing; 0 while it is unknown."""
        for pair, pair_id in pair_ids.items():
            self._codes.update(zip(pair_id.split(":"), pair.split("-"), strict=False))

    def pair_id(self, pair: str) -> str:
        """``BTC-EUR`` → ``<base uuid>:<quote uuid>``."""
        return self._pair_ids[pair]

    def currency(self, currency_id: str) -> str:
        """The code of a currency; its id where the code isn't known."""
        return self._codes.get(currency_id, currency_id)

    def resolve(self, pairs: Sequence[str]) -> Flow[None]:
        """Learn all currencies' codes and the pairs' ids; ids from the config do while REST is away.

        Raises:
            RestError: REST is away, and the config doesn't have all ids.
            UnknownPairError: the exchange doesn't list a pair.
        """
        try:
            currencies = yield from self._public("/public/currencies")
            listed = yield from self._public("/public/pairs")
        except RestError:
            if all(pair in self._pair_ids for pair in pairs):
                return
            raise
        known = {pair.pair: pair_id for pair, pair_id in self._named(currencies, listed)}
        unknown = [pair for pair in pairs if pair not in self._pair_ids]
        if known and len(known) < len(listed) and any(pair not in known for pair in unknown):
            raise RestError(NAME, "/public/pairs", 200, "a row could not be understood, and a pair is missing")
        check_listed(NAME, "/public/pairs", unknown, known)
        self._pair_ids.update({pair: known[pair] for pair in unknown})

    def list_pairs(self) -> Flow[list[ListedPair]]:
        """All pairs that the exchange lists; it doesn't say whether one is halted.

        Raises:
            RestError: REST is away.
        """
        currencies = yield from self._public("/public/currencies")
        listed = yield from self._public("/public/pairs")
        return [pair for pair, _ in self._named(currencies, listed)]

    def _named(self, currencies: Sequence[Row], listed: Sequence[Row]) -> Iterator[tuple[ListedPair, str]]:
        """The pairs of both lists that can be read, each with its id; the currencies' codes are learned on the way."""
        self._codes.update({row.get("id", ""): row["code"] for row in currencies if row.get("code")})
        for row in listed:
            first, second = row.get("currency_id_1", ""), row.get("currency_id_2", "")
            pair_id = row.get("id", "") or f"{first}:{second}"
            if not first or not second:
                first, _, second = pair_id.partition(":")
            if first and second:
                base, quote = self.currency(first).upper(), self.currency(second).upper()
                yield ListedPair(f"{base}-{quote}", base, quote), pair_id

    def private(self, credentials: Credentials, path: str, now: int) -> Flow[msgspec.Raw]:
        """A signed call. The nonce is in milliseconds and rises; if the exchange minds it, once more in seconds."""
        try:
            return (yield from self._signed(credentials, path, now))
        except RestError as error:
            if "nonce" not in error.message.lower():
                raise
        self._nonces = self._nonces[::-1]
        return (yield from self._signed(credentials, path, now))

    def open_orders(self, credentials: Credentials, now: int) -> Flow[Listing]:
        """The account's open orders; fields that REST leaves out are empty."""
        path = "/private/open_orders"
        answer = yield from self.private(credentials, path, now)
        return _listing(_rows(path, answer), partial(_order, credentials.name, now), "order_id")

    def balances(self, credentials: Credentials, now: int) -> Flow[Listing]:
        """The account's wallets; ``reserved`` is empty where REST leaves it out."""
        path = "/private/balance"
        answer = yield from self.private(credentials, path, now)
        return _listing(_rows(path, answer), partial(self._balance, credentials.name, now), "currency_id")

    def _balance(self, subject: str, now: int, row: Row) -> Event:
        currency = self.currency(row["currency_id"])
        available, reserved = row.get("amount_available", ""), row.get("amount_reserved", "")
        check_ids(row["currency_id"])
        check_words(currency)
        check_values(available, reserved)
        return Balance(subject, None, now, currency, available, reserved)

    def _public(self, path: str) -> Flow[list[Row]]:
        response = yield HttpRequest("GET", path)
        return _rows(path, _result(path, response))

    def _signed(self, credentials: Credentials, path: str, now: int) -> Flow[msgspec.Raw]:
        body = f"nonce={self._nonces[0].next(now + self.clock_offset)}"
        try:
            signature = sign(credentials.api_secret, path, body)
        except ValueError as error:
            problem = Problem(f"accounts.{credentials.name}", str(error))
            raise ConfigError([problem]) from None
        headers = {
            "API-Key": credentials.api_key,
            "API-Sign": signature,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        response = yield HttpRequest("POST", path, body, headers)
        return _result(path, response)


class TokenSource:
    """Fetches the token that a private connection carries."""

    def __init__(self, rest: LimitlexRest, credentials: Credentials) -> None:
        self._rest = rest
        self._credentials = credentials

    def fetch(self, now: int) -> Flow[tuple[str, int | None]]:
        """A new token, and when it expires (nanoseconds, by our clock; ``None`` if it doesn't say)."""
        path = "/private/websocket_token"
        answer = yield from self._rest.private(self._credentials, path, now)
        token = next((written for written in _texts(_decode_any(answer)) if _TOKEN(written)), None)
        if token is None:
            raise RestError(NAME, path, 200, "the answer holds no token")
        expiry = token_expiry(token)
        return token, None if expiry is None else expiry - self._rest.clock_offset


def _result(path: str, response: HttpResponse) -> msgspec.Raw:
    """The ``result`` of an answer; errors are ``{"error":{"message":…}}``, or whatever else stands there."""
    wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
    body = readable(response.body)
    try:
        answer: Any = _decode_any(body)
    except UNREADABLE:
        answer = None
    if isinstance(answer, dict) and answer.get("error"):
        error = answer["error"]
        message = error.get("message", "") if isinstance(error, dict) else str(error)
        raise RestError(NAME, path, response.status, str(message), wait)
    if response.status >= 400 or answer is None:
        shown = response.body[:200].decode(errors="replace")
        raise RestError(NAME, path, response.status, f"not an answer of this API: {shown!r}", wait)
    return fields_of(body).get("result", msgspec.Raw(body)) if isinstance(answer, dict) else msgspec.Raw(body)


def _rows(path: str, result: msgspec.Raw) -> list[Row]:
    """The rows of a result: ``{"data": […]}``, a list, or (in an older revision) a map keyed by id.

    Raises:
        RestError: it is none of them; to take it for an empty list would make every order look closed.
    """
    listed = result
    if bytes(result).lstrip()[:1] == b"{":
        fields = fields_of(result)
        if "data" not in fields:
            return [_named(key, value) for key, value in fields.items()]
        listed = fields["data"]
    if bytes(listed).lstrip()[:1] != b"[":
        shown = bytes(listed)[:200].decode(errors="replace")
        raise RestError(NAME, path, 200, f"not a list: {shown!r}")
    return decode_rows(listed)


def _named(key: str, value: msgspec.Raw) -> Row:
    [row] = decode_rows(value) if bytes(value).lstrip()[:1] == b"{" else [{UNREADABLE_ROW: text(value)}]
    return {"id": key, **row}


def _order(subject: str, now: int, row: Row) -> Event:
    """An open order of a listing.

    Raises:
        KeyError: it has no id, or a side that isn't known.
        ValueError: a number is none.
    """
    order_id = row["order_id"]
    filled = row.get("amount_completed", "") or "0"
    price, size = row.get("price", ""), row.get("amount_initial", "")
    kind = (row.get("order_trade_type", "") or "limit").lower()
    check_ids(order_id)
    check_words(kind)
    check_amounts(price, filled, size)
    created = row.get("created_at", "")
    ts = nanoseconds(int(created)) if _SECONDS(created) else None
    direction = row.get("order_direction", "").lower()
    side = _SIDES[direction] if direction else ""
    status = "partially_filled" if Decimal(filled) else "open"
    return Order(subject, ts, now, order_id, "", "", kind, side, price, size, filled, status)


def _listing(rows: list[Row], take: Callable[[Row], Event], key: str) -> Listing:
    listing = Listing([], [], set())
    for row in rows:
        try:
            listing.events.append(take(row))
        except (*UNREADABLE, ValueError, KeyError) as error:
            what = f"a row of a REST answer: {type(error).__name__}: {error}"
            listing.rejects.append(FrameError(NAME, msgspec.json.encode(row), what))
            listing.unread.add(id_or_empty(row.get(key, "")))
    return listing


def _texts(answer: Any) -> Iterator[str]:
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, dict):
        for value in answer.values():
            yield from _texts(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from _texts(value)


_decode_any: Callable[[bytes], Any] = msgspec.json.Decoder(float_hook=str).decode
