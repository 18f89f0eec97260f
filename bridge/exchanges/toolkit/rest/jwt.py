"""JSON Web Tokens (RFC 7519), signed with a key that an exchange has given its user."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from bridge.exchanges.toolkit.values.salvage import UNREADABLE

__all__ = ["SigningKey"]

_SEED = 32
"""Bytes of an Ed25519 key's private half; some write the public half after it."""
_HALF = 32
"""Bytes of each of the two numbers of an ES256 signature."""
_NO_KEY = "no private key: neither PEM (it starts with -----BEGIN) nor the base64 of an Ed25519 key"
_WRONG_KEY = "a private key, but neither of the curve P-256 nor Ed25519"


class _KeyFile(msgspec.Struct):
    private_key: str = msgspec.field(name="privateKey")


class SigningKey:
    r"""A private key, in any of the forms in which users have it; what kind it is decides how it signs.

    - PEM: an elliptic curve key (P-256) or an Ed25519 key. Line ends may be written as ``\n``.
    - The base64 of an Ed25519 key: of its 32 bytes, or of these and the 32 bytes of its public half.
    - A JSON file with one of these as ``privateKey``.

    Raises:
        ValueError: it is none of these. The message quotes nothing of it.
    """

    def __init__(self, secret: str) -> None:
        self._key = _load(secret.strip())

    @property
    def algorithm(self) -> str:
        """``ES256`` or ``EdDSA``."""
        return "ES256" if isinstance(self._key, ec.EllipticCurvePrivateKey) else "EdDSA"

    def token(self, header: Mapping[str, object], claims: Mapping[str, object]) -> str:
        """A signed token; ``alg`` goes before the ``header``, ``typ`` after it."""
        whole = {"alg": self.algorithm, **header, "typ": "JWT"}
        signed = f"{_base64url(msgspec.json.encode(whole))}.{_base64url(msgspec.json.encode(claims))}"
        return f"{signed}.{_base64url(self._sign(signed.encode()))}"

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self._key, ed25519.Ed25519PrivateKey):
            return self._key.sign(data)
        numbers = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(_HALF, "big") for number in numbers)


def _load(secret: str) -> ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey:
    if secret.startswith("{"):
        try:
            secret = msgspec.json.decode(secret, type=_KeyFile).private_key.strip()
        except UNREADABLE:
            raise ValueError(_NO_KEY) from None
    if not secret.startswith("-----"):
        return _load_bare(secret)
    try:
        key = serialization.load_pem_private_key(secret.replace("\\n", "\n").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(_NO_KEY) from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError(_WRONG_KEY)


def _load_bare(secret: str) -> ed25519.Ed25519PrivateKey:
    try:
        data = base64.b64decode(secret, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) not in (_SEED, 2 * _SEED):
        raise ValueError(_NO_KEY)
    key = ed25519.Ed25519PrivateKey.from_private_bytes(data[:_SEED])
    if data[_SEED:] not in (b"", key.public_key().public_bytes_raw()):
        raise ValueError("the base64 of 64 bytes whose second half is not the public half of the first")
    return key


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
