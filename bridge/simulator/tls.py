"""Makes a certificate authority and a certificate for this machine."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path

import trustme

from bridge.errors import ConfigError, Problem
from bridge.files import naming

__all__ = ["server_context"]

_LIFETIME = timedelta(days=30)
_SKEW = timedelta(hours=1)
_MAKER = "Tickbridge simulator"


def server_context(directory: Path, now: datetime, names: tuple[str, ...] = ()) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for localhost, 127.0.0.1, ::1 and ``names``, and the file of the CA to trust.

    The CA's private key is discarded. The files in ``directory`` (``ca.pem``, ``server.pem``) are replaced.

    Raises:
        ConfigError: one of the names is not valid in a certificate.
        OSError: the directory cannot be written.
    """
    authority = trustme.CA(organization_name=_MAKER, path_length=0)
    try:
        certificate = authority.issue_cert(
            *dict.fromkeys(("localhost", "127.0.0.1", "::1", *names)),
            organization_name=_MAKER,
            not_before=now - _SKEW,
            not_after=now + _LIFETIME,
        )
    except UnicodeError as error:
        raise ConfigError([Problem("host", f"no name for a certificate: {error}", "choose another")], "TLS") from None
    directory.mkdir(parents=True, exist_ok=True)
    ca_file, server_file = directory / "ca.pem", directory / "server.pem"
    with naming(directory):
        authority.cert_pem.write_to_path(ca_file)
        # Permissions are set before the key is written.
        server_file.touch(mode=0o600)
        server_file.chmod(0o600)
        certificate.private_key_and_cert_chain_pem.write_to_path(server_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate.configure_cert(context)
    return context, ca_file
