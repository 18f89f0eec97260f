"""A key of the tests' own for Limitlex's REST API, and how its flows are driven by hand."""

from __future__ import annotations

import base64
import json

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


SECRET = pem(KEY)


def jwt(claims) -> str:
    def part(value) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2lnbmF0dXJl"


def drive(flow, *answers):
    """Run a flow over these answers (or exceptions); returns the requests it made and its result."""
    requests = []
    waiting = list(answers)
    try:
        request = next(flow)
        while True:
            requests.append(request)
            answer = waiting.pop(0)
            request = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
    except StopIteration as stop:
        assert not waiting, f"not asked for: {waiting}"
        return requests, stop.value
