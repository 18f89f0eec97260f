"""Checks files with certificates and keys before they are needed, so that a wrong one is a mistake and no failed handshake."""

from __future__ import annotations

import ssl
from pathlib import Path

__all__ = ["check_certificate", "check_key"]


def check_certificate(path: Path | str) -> None:
    """Check that a file holds a certificate, an authority's or one's own.

    Raises:
        ValueError: it holds none in PEM; the words follow the name of the file.
        OSError: it cannot be read.
    """
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise ValueError("holds no PEM certificate") from None


def check_key(path: Path | str, certificate: Path | str) -> None:
    """Check that a file holds the key of a certificate; of one with a password, only that it is a key.

    Raises:
        ValueError: it holds none in PEM, or another certificate's; the words follow the name of the file.
        OSError: one of the files cannot be read.
    """
    asked = False

    def password() -> str:
        nonlocal asked
        asked = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, path, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError("holds the key of another certificate") from None
        if not asked:
            raise ValueError("holds no PEM key") from None
