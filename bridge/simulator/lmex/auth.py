"""LMEX's API keys and signatures, from the exchange's side.

A signature is the lower-case hex HMAC-SHA384 of a message by the API secret: for a WebSocket log-in ``<path><nonce>``
(``/ws/spot1624985375123``), for a REST call ``<path><nonce><body>``, the path without ``/spot`` or ``/futures`` and without
its query. Nonces are milliseconds since the epoch. How far they may be off isn't documented.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

from bridge.errors import ConfigError, Problem
from bridge.simulator.accounts import Account
from bridge.simulator.dialect import Access

__all__ = ["KEY_SUFFIX", "Keyring", "signature"]

KEY_SUFFIX = ".secret"

_LENGTH = 60
_NONCE_LENGTH = 16


def signature(secret: str, message: str) -> str:
    """The hex HMAC-SHA384 of ``message``."""
    return hmac.new(secret.encode(), message.encode(), hashlib.sha384).hexdigest()


class Keyring:
    """The accounts' API keys. They follow from the seed; a file ``<account>.secret`` in ``directory`` comes first.

    ``clock`` gives seconds since the epoch; nonces may be off by ``window`` seconds.

    Raises:
        ConfigError: a file holds no secret.
    """

    def __init__(
        self,
        accounts: list[Account],
        seed: int,
        clock: Callable[[], float],
        window: float,
        directory: Path | None = None,
    ) -> None:
        self.accesses = [_access(account.name, seed, directory) for account in accounts]
        self._known = {access.api_key: (access.account, access.secret.decode()) for access in self.accesses}
        self._clock = clock
        self._window = window
        self.refusals = 0
        """How many log-ins are yet to be refused, whatever they say."""

    def log_in(self, api_key: str, nonce: str, signed: str, path: str) -> str | None:
        """As ``authenticate``, for a WebSocket: a fault may refuse it."""
        if self.refusals > 0:
            self.refusals -= 1
            return None
        return self.authenticate(api_key, nonce, signed, path)

    def authenticate(self, api_key: str, nonce: str, signed: str, path: str, body: str = "") -> str | None:
        """The account that signed ``<path><nonce><body>`` just now; ``None`` if no known account did."""
        account, secret = self._known.get(api_key, ("", ""))
        if not account or not (nonce.isascii() and nonce.isdigit()) or len(nonce) > _NONCE_LENGTH:
            return None
        if abs(self._clock() - int(nonce) / 1000) > self._window:
            return None
        expected = signature(secret, f"{path}{nonce}{body}")
        return account if hmac.compare_digest(expected.encode(), signed.encode()) else None


def _access(account: str, seed: int, directory: Path | None) -> Access:
    api_key = hashlib.sha256(f"tickbridge-simulator/lmex/key/{seed}/{account}".encode()).hexdigest()
    file = directory / f"{account}{KEY_SUFFIX}" if directory else None
    if file is not None and file.exists():
        secret = file.read_bytes().strip()
        if not (secret and secret.isascii()):
            raise ConfigError([Problem(str(file), "no API secret in it", "remove the file to have one made")])
        return Access(account, api_key, secret)
    secret = (
        hashlib.sha512(f"tickbridge-simulator/lmex/secret/{seed}/{account}".encode()).hexdigest()[:_LENGTH].encode()
    )
    return Access(account, api_key, secret)
