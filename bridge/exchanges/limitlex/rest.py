"""Limitlex over REST: pair and currency ids, the WebSocket token, and signed calls.

Paths, signature and answers as in the exchange's REST page; where an answer's shape isn't documented, every shape that
the house style allows is taken.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Raw

from bridge.errors import ConfigError, Problem
from bridge.exchange_errors import RestError
from bridge.exchanges.api import Credentials, Flow, HttpRequest, HttpResponse, ListedPair
from bridge.exchanges.limitlex.pair import NAME
from bridge.exchanges.toolkit.pairs.listing import check_listed
from bridge.exchanges.toolkit.rest.nonces import Nonces
from bridge.exchanges.toolkit.timing.waiting import seconds_to_wait
from bridge.exchanges.toolkit.values.fields import UNREADABLE_ROW, Row, decode_rows, fields_of, text
from bridge.exchanges.toolkit.values.numbers import MILLISECOND, SECOND
from bridge.exchanges.toolkit.values.salvage import UNREADABLE, readable

__all__ = ["LimitlexRest", "sign", "token_expiry"]

_TOKEN = re.compile(rb'"([\w-]+\.[\w-]+\.[\w-]*)"(?!\s*:)').search
"""A JWT; it goes into an address as it is, so nothing else may pass for one."""
_NEVER = 2**63 // SECOND
"""A time beyond this (seconds) is none."""
_decode_any: Callable[[bytes], Any] = msgspec.json.Decoder(float_hook=Decimal).decode


class LimitlexRest:
    """The REST calls, and what was learned from them: ids of pairs and currencies."""

    def __init__(self, pair_ids: dict[str, str]) -> None:
        self._pair_ids = dict(pair_ids)
        self._codes: dict[str, str] = {}
        self._nonces = (Nonces(MILLISECOND), Nonces(SECOND))
        """In the unit that was accepted last, and in the other: old revisions of the REST page ask for seconds."""
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
        """Learn all currencies' codes and the pairs' ids; those of the config are enough while REST is unreachable.

        Raises:
            RestError: REST is unreachable, and the config doesn't have all ids.
            UnknownPairError: the exchange doesn't list a pair.
        """
        unknown = [pair for pair in pairs if pair not in self._pair_ids]
        try:
            known, rows = yield from self._listed()
        except RestError:
            if unknown:
                raise
            return
        if known and len(known) < rows and any(pair not in known for pair in unknown):
            raise RestError(NAME, "/public/pairs", 200, "a row could not be understood, and a pair is missing")
        check_listed(NAME, "/public/pairs", unknown, known)
        self._pair_ids.update({pair: known[pair][1] for pair in unknown})

    def list_pairs(self) -> Flow[list[ListedPair]]:
        """All pairs that the exchange lists; it doesn't say whether one is halted.

        Raises:
            RestError: REST is unreachable.
        """
        known, _ = yield from self._listed()
        return [pair for pair, _ in known.values()]

    def rows(self, account: Credentials, path: str, now: int) -> Flow[list[Row]]:
        """The rows that a signed call returns.

        Raises:
            RestError: REST is unreachable, refuses, or answers with no list.
        """
        return _rows(path, (yield from self._private(account, path, now)))

    def token(self, account: Credentials, now: int) -> Flow[tuple[str, int | None]]:
        """A new token for a connection, and when it expires (ns, by our clock; ``None`` if it doesn't say).

        Raises:
            RestError: REST is unreachable, refuses, or answers without a token.
        """
        path = "/private/websocket_token"
        answer = yield from self._private(account, path, now)
        found = _TOKEN(bytes(answer))
        if found is None:
            raise RestError(NAME, path, 200, "the answer holds no token")
        token = found[1].decode()
        expiry = token_expiry(token)
        return token, None if expiry is None else expiry - self.clock_offset

    def _listed(self) -> Flow[tuple[dict[str, tuple[ListedPair, str]], int]]:
        """The pairs that can be read, each with its id, of so many rows; the currencies' codes are learned on the way."""
        currencies = yield from self._public("/public/currencies")
        rows = yield from self._public("/public/pairs")
        self._codes.update({row.get("id", ""): row["code"] for row in currencies if row.get("code")})
        found = {}
        for row in rows:
            first, second = row.get("currency_id_1", ""), row.get("currency_id_2", "")
            pair_id = row.get("id", "") or f"{first}:{second}"
            if not first or not second:
                first, _, second = pair_id.partition(":")
            if first and second:
                base, quote = self.currency(first).upper(), self.currency(second).upper()
                found[f"{base}-{quote}"] = ListedPair(f"{base}-{quote}", base, quote), pair_id
        return found, len(rows)

    def _public(self, path: str) -> Flow[list[Row]]:
        return _rows(path, _result(path, (yield HttpRequest("GET", path))))

    def _private(self, account: Credentials, path: str, now: int) -> Flow[Raw]:
        """A signed call. The nonce is in milliseconds and rises; if it is refused, once more in seconds."""
        try:
            return (yield from self._signed(account, path, now))
        except RestError as error:
            if "nonce" not in error.message.lower():
                raise
        self._nonces = self._nonces[::-1]
        return (yield from self._signed(account, path, now))

    def _signed(self, account: Credentials, path: str, now: int) -> Flow[Raw]:
        body = f"nonce={self._nonces[0].next(now + self.clock_offset)}"
        headers = {
            "API-Key": account.api_key,
            "API-Sign": sign(account, path, body),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return _result(path, (yield HttpRequest("POST", path, body, headers)))


def sign(account: Credentials, path: str, body: str) -> str:
    """The ``API-Sign`` header: ECDSA with SHA-512 over ``path + body``, DER, base64; any curve the key is of.

    Raises:
        ConfigError: the account's secret is no EC private key in PEM.
    """
    try:
        key = serialization.load_pem_private_key(account.api_secret.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        wrong = (
            "not a private key in PEM (it starts with -----BEGIN PRIVATE KEY-----)"
            if key is None
            else "a private key, but not of an elliptic curve"
        )
        raise ConfigError([Problem(f"accounts.{account.name}", f"the api_secret is {wrong}")])
    return base64.b64encode(key.sign((path + body).encode(), ec.ECDSA(hashes.SHA512()))).decode()


def token_expiry(token: str) -> int | None:
    """The ``exp`` of a JWT in nanoseconds since the epoch; ``None`` where it has none, or one that is no time."""
    try:
        payload = token.split(".")[1]
        claims = _decode_any(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expires = Decimal(claims["exp"])
        if not -1 < expires < _NEVER:  # before it is written out: its exponent may be anything
            return None
        return int(expires) * SECOND
    except (LookupError, ArithmeticError, TypeError, ValueError):
        return None


def _result(path: str, response: HttpResponse) -> Raw:
    """The ``result`` of an answer; errors are ``{"error":{"message":…}}``, or whatever else is in that field."""
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
    return fields_of(body).get("result", Raw(body)) if isinstance(answer, dict) else Raw(body)


def _rows(path: str, result: Raw) -> list[Row]:
    """The rows of a result: ``{"data": […]}``, a list, or (in an older revision) a map keyed by id.

    Raises:
        RestError: it is none of them; to take it for an empty list would make every order look closed.
    """
    listed = result
    if bytes(result).lstrip()[:1] == b"{":
        fields = fields_of(result)
        if "data" not in fields:
            return [_keyed(key, value) for key, value in fields.items()]
        listed = fields["data"]
    if bytes(listed).lstrip()[:1] != b"[":
        shown = bytes(listed)[:200].decode(errors="replace")
        raise RestError(NAME, path, 200, f"not a list: {shown!r}")
    return decode_rows(listed)


def _keyed(key: str, value: Raw) -> Row:
    [row] = decode_rows(value) if bytes(value).lstrip()[:1] == b"{" else [{UNREADABLE_ROW: text(value)}]
    return {"id": key, **row}
