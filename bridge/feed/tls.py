"""TLS for connecting out: certificates are always verified."""

from __future__ import annotations

import ssl

__all__ = ["client_context"]


def client_context(ca_file: str | None) -> ssl.SSLContext:
    """The system's authorities, and those in ``ca_file`` (PEM) if given."""
    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return context
