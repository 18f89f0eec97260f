"""Limitlex over REST: pair and currency ids, the WebSocket token, and an account's present state.

Paths, signature and answers as in the exchange's REST page; where an answer's shape isn't documented, every shape that
the house style allows is taken.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.errors import ConfigError, Problem, RestError
from bridge.exchanges.base import SECOND, UNREADABLE, Credentials, Flow, HttpRequest, HttpResponse
from bridge.exchanges.limitlex.messages import nanoseconds
from bridge.exchanges.listing import ListedPair, check_listed
from bridge.exchanges.nonces import Nonces
from bridge.exchanges.numbers import check_values
from bridge.exchanges.waiting import seconds_to_wait
from bridge.model import Balance, Event, Order

__all__ = ["LimitlexRest", "TokenSource", "check_secret", "sign", "token_expiry"]

_NAME = "limitlex"
_MILLISECOND = 1_000_000
_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII).fullmatch
"""A JWT; it goes into an address as it is, so nothing else may pass for one."""
_SECONDS = re.compile(r"[0-9]{1,10}").fullmatch


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
    """The ``exp`` of a JWT in nanoseconds since the epoch; ``None`` where it has none."""
    try:
        payload = token.split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return int(claims["exp"]) * SECOND
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
        known = {listed_pair.pair: pair_id for listed_pair, pair_id in self._named(currencies, listed)}
        unknown = [pair for pair in pairs if pair not in self._pair_ids]
        check_listed(_NAME, "/public/pairs", unknown, known)
        self._pair_ids.update({pair: known[pair] for pair in unknown})

    def list_pairs(self) -> Flow[list[ListedPair]]:
        """All pairs that the exchange lists; it doesn't say whether one is halted.

        Raises:
            RestError: REST is away.
        """
        currencies = yield from self._public("/public/currencies")
        listed = yield from self._public("/public/pairs")
        return [pair for pair, _ in self._named(currencies, listed)]

    def _named(
        self, currencies: Sequence[dict[str, Any]], listed: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[ListedPair, str]]:
        """The pairs of both lists, each with its id; the codes of all currencies are learned on the way."""
        self._codes.update({_text(row, "id"): _text(row, "code") for row in currencies if _text(row, "code")})
        for row in listed:
            first, second = _text(row, "currency_id_1"), _text(row, "currency_id_2")
            pair_id = _text(row, "id") or f"{first}:{second}"
            if not first or not second:
                first, _, second = pair_id.partition(":")
            base, quote = self.currency(first).upper(), self.currency(second).upper()
            yield ListedPair(f"{base}-{quote}", base, quote), pair_id

    def private(self, credentials: Credentials, path: str, now: int) -> Flow[Any]:
        """A signed call. The nonce is in milliseconds and rises; if the exchange minds it, once more in seconds."""
        try:
            return (yield from self._signed(credentials, path, now))
        except RestError as error:
            if "nonce" not in error.message.lower():
                raise
        self._nonces = self._nonces[::-1]
        return (yield from self._signed(credentials, path, now))

    def open_orders(self, credentials: Credentials, now: int) -> Flow[list[Event]]:
        """The account's open orders; fields that REST leaves out are empty."""
        answer = yield from self.private(credentials, "/private/open_orders", now)
        events: list[Event] = []
        for row in _rows(answer):
            order_id = _text(row, "order_id")
            filled = _text(row, "amount_completed") or "0"
            price, size = _text(row, "price"), _text(row, "amount_initial")
            if not order_id or not _are_values(filled, price, size):
                continue
            status = "partially_filled" if filled.strip("0.") else "open"
            created = _text(row, "created_at")
            ts = nanoseconds(int(created)) if _SECONDS(created) else None
            kind = (_text(row, "order_trade_type") or "limit").lower()
            side = _text(row, "order_direction").lower()
            events.append(Order(credentials.name, ts, now, order_id, "", "", kind, side, price, size, filled, status))
        return events

    def balances(self, credentials: Credentials, now: int) -> Flow[list[Event]]:
        """The account's wallets; ``reserved`` is empty where REST leaves it out."""
        answer = yield from self.private(credentials, "/private/balance", now)
        events: list[Event] = []
        for row in _rows(answer):
            currency = self.currency(_text(row, "currency_id"))
            available, reserved = _text(row, "amount_available"), _text(row, "amount_reserved")
            if currency and _are_values(available, reserved):
                events.append(Balance(credentials.name, None, now, currency, available, reserved))
        return events

    def _public(self, path: str) -> Flow[list[dict[str, Any]]]:
        response = yield HttpRequest("GET", path)
        return _rows(_result(path, response))

    def _signed(self, credentials: Credentials, path: str, now: int) -> Flow[Any]:
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
        """A new token, and when it expires (nanoseconds, ``None`` if it doesn't say)."""
        path = "/private/websocket_token"
        answer = yield from self._rest.private(self._credentials, path, now)
        token = next((text for text in _texts(answer) if _TOKEN(text)), None)
        if token is None:
            raise RestError(_NAME, path, 200, "the answer holds no token")
        return token, token_expiry(token)


def _result(path: str, response: HttpResponse) -> Any:
    """The ``result`` of an answer; errors are ``{"error":{"message":…}}``, or whatever else stands there."""
    wait = seconds_to_wait(response.headers.get("retry-after", ""), response.headers.get("date", ""))
    try:
        answer = msgspec.json.decode(response.body)
    except UNREADABLE:
        answer = None
    if isinstance(answer, dict) and answer.get("error"):
        error = answer["error"]
        message = error.get("message", "") if isinstance(error, dict) else str(error)
        raise RestError.of(_NAME, path, response.status, str(message), wait)
    if response.status >= 400 or answer is None:
        text = response.body[:200].decode(errors="replace")
        raise RestError.of(_NAME, path, response.status, f"not an answer of this API: {text!r}", wait)
    return answer.get("result", answer) if isinstance(answer, dict) else answer


def _rows(result: Any) -> list[dict[str, Any]]:
    """The rows of a result: ``{"data": […]}``, a list, or (in an older revision) a map keyed by id."""
    if isinstance(result, dict) and "data" in result:
        result = result["data"]
    if isinstance(result, dict):
        result = [{"id": key, **value} for key, value in result.items() if isinstance(value, dict)]
    return [row for row in result if isinstance(row, dict)] if isinstance(result, list) else []


def _text(row: dict[str, Any], name: str) -> str:
    """A field as text: numbers as they print, and nothing for what isn't there or is no single value."""
    value = row.get(name)
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def _are_values(*texts: str) -> bool:
    try:
        check_values(*texts)
    except ValueError:
        return False
    return True


def _texts(answer: Any) -> Iterator[str]:
    if isinstance(answer, str):
        yield answer
    elif isinstance(answer, dict):
        for value in answer.values():
            yield from _texts(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from _texts(value)
