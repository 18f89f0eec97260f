"""Limitlex's API keys, signatures, nonces and WebSocket tokens, from the exchange's side."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Callable
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from bridge.errors import ConfigError, Problem
from bridge.simulator.accounts import Account

__all__ = ["ApiKey", "AuthError", "Keyring", "Tokens"]

# Order of the P-256 group (FIPS 186-4, D.1.2.3): private keys are 1 to this minus 1.
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_NONCE_WINDOW = 30.0


class AuthError(Exception):
    """A call or a handshake that isn't let in: HTTP status and message."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class ApiKey(Struct, frozen=True):
    """An account's key: its public id and the private key as PKCS#8 PEM, which the account's owner signs with."""

    account: str
    key_id: str
    pem: bytes


class Keyring:
    """The accounts' API keys, and what their signatures and nonces are worth.

    Keys follow from the seed, so that a simulator started again takes the same ones; a PEM file ``<account>.pem`` in
    ``directory`` comes first. ``clock`` gives seconds since the epoch; ``unit`` is the nonces', ``ms`` or ``s``.
    """

    def __init__(
        self, accounts: list[Account], seed: int, clock: Callable[[], float], unit: str, directory: Path | None = None
    ) -> None:
        self.keys = {account.name: _api_key(account.name, seed, directory) for account in accounts}
        self._by_id = {key.key_id: (key.account, _public(key.pem)) for key in self.keys.values()}
        self._clock = clock
        self._unit = 1000.0 if unit == "ms" else 1.0
        self._nonces: dict[str, int] = {}

    def authenticate(self, key_id: str, signature: str, path: str, body: bytes, nonce: str) -> str:
        """The account that made this call; ``path`` is without ``/api``, ``body`` as it came.

        Raises:
            AuthError: unknown key, wrong signature, or a nonce that is old or used.
        """
        known = self._by_id.get(key_id)
        if known is None:
            raise AuthError(401, "Invalid API key")
        account, public = known
        try:
            public.verify(base64.b64decode(signature, validate=True), path.encode() + body, ec.ECDSA(hashes.SHA512()))
        except (InvalidSignature, binascii.Error, ValueError):
            raise AuthError(401, "Invalid signature") from None
        self._use_nonce(key_id, nonce)
        return account

    def _use_nonce(self, key_id: str, text: str) -> None:
        if not (text.isascii() and text.isdigit()):
            raise AuthError(400, "Invalid nonce: not a number")
        nonce = int(text)
        age = self._clock() - nonce / self._unit
        if abs(age) > _NONCE_WINDOW:
            raise AuthError(400, f"Invalid nonce: {'older' if age > 0 else 'newer'} than 30 seconds")
        last = self._nonces.get(key_id, -1)
        # Two calls within one second have the same nonce where seconds are the unit.
        if nonce < last or (nonce == last and self._unit > 1):
            raise AuthError(400, "Invalid nonce: not above the last one")
        self._nonces[key_id] = nonce


class Tokens:
    """WebSocket tokens: JWT, HS256, with ``sub`` (the account's UUID) and ``exp``.

    ``clock`` gives seconds since the epoch, ``lifetime`` is in seconds.
    """

    def __init__(self, accounts: list[Account], clock: Callable[[], float], lifetime: float) -> None:
        self._names = {account.uuid: account.name for account in accounts}
        self._uuids = {account.name: account.uuid for account in accounts}
        self._clock = clock
        self._lifetime = lifetime
        self._secret = secrets.token_bytes(32)

    def issue(self, account: str) -> str:
        """A new token of an account."""
        claims = {"sub": self._uuids[account], "exp": math.ceil(self._clock() + self._lifetime)}
        signed = f"{_part({'typ': 'JWT', 'alg': 'HS256'})}.{_part(claims)}"
        return f"{signed}.{self._sign(signed)}"

    def account(self, token: str) -> tuple[str, float]:
        """``(account, exp)`` of a valid token.

        Raises:
            AuthError: it isn't ours, is void, or has expired.
        """
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._sign(signed).encode(), signature.encode()):
            raise AuthError(401, "Invalid token")
        claims = json.loads(_unpadded(signed.partition(".")[2]))
        if claims["exp"] <= self._clock():
            raise AuthError(401, "Token expired")
        return self._names[claims["sub"]], float(claims["exp"])

    def revoke(self) -> None:
        """Make all tokens given out so far void."""
        self._secret = secrets.token_bytes(32)

    def _sign(self, signed: str) -> str:
        return _encoded(hmac.new(self._secret, signed.encode(), hashlib.sha256).digest())


def _api_key(account: str, seed: int, directory: Path | None) -> ApiKey:
    key_id = str(uuid5(NAMESPACE_URL, f"tickbridge-simulator/limitlex/key/{seed}/{account}"))
    file = directory / f"{account}.pem" if directory else None
    if file is not None and file.exists():
        pem = file.read_bytes()
        _public(pem, str(file))
        return ApiKey(account, key_id, pem)
    digest = hashlib.sha512(f"tickbridge-simulator/{seed}/{account}".encode()).digest()
    private = ec.derive_private_key(int.from_bytes(digest) % (_P256_ORDER - 1) + 1, ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return ApiKey(account, key_id, pem)


def _public(pem: bytes, where: str = "key") -> ec.EllipticCurvePublicKey:
    try:
        private = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        private = None
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise ConfigError([Problem(where, "no EC private key in PEM form", "remove the file to have one made")])
    return private.public_key()


def _part(claims: dict[str, object]) -> str:
    return _encoded(json.dumps(claims, separators=(",", ":")).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpadded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
