"""TLS for connecting out: certificates are always verified."""

from __future__ import annotations

import ssl
from functools import cache

__all__ = ["client_context"]


@cache
def client_context(ca_file: str | None) -> ssl.SSLContext:
    """The system's authorities, and those in ``ca_file`` (PEM) if given; read once in a process, which takes up to 0.1 s.

    Raises:
        OSError: the file can't be read, or holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context
