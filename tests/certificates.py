"""Files with a certificate and its key, for tests that only need them to be what they should be."""

from __future__ import annotations

from functools import cache

import trustme

__all__ = ["pem_for"]


@cache
def _issued() -> trustme.LeafCert:
    return trustme.CA().issue_cert("localhost")


def pem_for(name: str) -> bytes:
    """What a file of this name holds: a key, if it ends in ``.key``, else a certificate."""
    issued = _issued()
    return issued.private_key_pem.bytes() if name.endswith(".key") else issued.cert_chain_pems[0].bytes()
