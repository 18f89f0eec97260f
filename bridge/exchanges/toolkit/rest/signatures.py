"""Signatures by a shared secret or by a private key: the form of the secret says which."""

from __future__ import annotations

import base64
import hashlib
import hmac

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bridge.errors import ConfigError, Problem
from bridge.exchanges.api import Credentials

__all__ = ["Signer"]

_PEM = "-----BEGIN"


class Signer:
    """Signs with an account's secret.

    A secret that is a private key in PEM has to be an Ed25519 one, and signatures are base64; any other is a shared
    secret, and they are the hex of HMAC-SHA256.

    Raises:
        ConfigError: it is another private key, or can't be read as one. The message quotes nothing of it.
    """

    def __init__(self, account: Credentials) -> None:
        self._secret = account.api_secret.strip().encode()
        self._key: Ed25519PrivateKey | None = None
        if not account.api_secret.strip().startswith(_PEM):
            return
        try:
            key = serialization.load_pem_private_key(self._secret, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            words = "the api_secret is no Ed25519 private key in PEM"
            hint = "give an Ed25519 key, or the secret of an HMAC key"
            raise ConfigError([Problem(f"accounts.{account.name}", words, hint)])
        self._key = key

    def sign(self, text: str) -> str:
        """The signature of this text, in UTF-8."""
        if self._key is not None:
            return base64.b64encode(self._key.sign(text.encode())).decode()
        return hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
