"""What an account's secret has to be, before anything is signed with it."""

from __future__ import annotations

import base64
import binascii

from bridge.errors import ConfigError, Problem
from bridge.exchanges.api import Credentials

__all__ = ["check_base64"]


def check_base64(account: Credentials) -> None:
    """Make sure that an account's secret is Base64.

    Raises:
        ConfigError: it isn't.
    """
    try:
        base64.b64decode(account.api_secret, validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError([Problem(f"accounts.{account.name}", "the api_secret is not Base64")]) from None
