"""Tokens signed with every form of key that users have."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bridge.exchanges.toolkit.rest.jwt import SigningKey
from tests.unit.coinbase_account_frames import KEY, PEM, PUBLIC, SECRET

CLAIMS = {"sub": KEY, "iss": "cdp", "nbf": 1700000000, "exp": 1700000120}
SEED = base64.b64encode(base64.b64decode(SECRET)[:32]).decode()
PKCS8 = (
    ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(SEED))
    .private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    .decode()
)
ED25519 = {
    "seed and public half": SECRET,
    "seed": SEED,
    "with a line end": f"{SECRET}\n",
    "PEM": PKCS8,
    "a key file": json.dumps({"id": "a-uuid", "privateKey": SECRET}),
}
ES256 = {
    "PEM": PEM,
    "PEM in one line": PEM.replace("\n", "\\n"),
    "a key file": json.dumps({"name": KEY, "privateKey": PEM}),
    "a key file with escaped line ends": json.dumps({"name": KEY, "privateKey": PEM.replace("\n", "\\n")}),
}


def part(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.parametrize("form", ED25519)
def test_the_vector(form):
    token = SigningKey(ED25519[form]).token({"kid": KEY, "nonce": "00112233445566778899aabbccddeeff"}, CLAIMS)
    header, claims, signature = token.split(".")
    assert list(json.loads(part(header))) == ["alg", "kid", "nonce", "typ"]
    assert json.loads(part(claims)) == CLAIMS
    assert signature == "loRlsE9Nxjitd6W4MzwGyPoFMZGVdgR6lfquZdzuth30OuwBjIKI6ZrExlgf860l0Kb42aWZFNB9W_NaE78CAQ"
    public = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(PUBLIC))
    public.verify(part(signature), f"{header}.{claims}".encode())


@pytest.mark.parametrize("form", ES256)
def test_a_signature_of_es256_is_two_numbers_of_32_bytes(form):
    header, claims, signature = SigningKey(ES256[form]).token({"kid": KEY}, CLAIMS).split(".")
    assert json.loads(part(header)) == {"alg": "ES256", "kid": KEY, "typ": "JWT"}
    raw = part(signature)
    assert len(raw) == 64
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    key = serialization.load_pem_private_key(PEM.encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    key.public_key().verify(der, f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))


def pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("", "no private key"),
        ("a-passphrase", "no private key"),
        (base64.b64encode(b"x" * 33).decode(), "no private key"),
        (SECRET[:-8] + "AAAAAAA=", "no private key|second half"),
        (base64.b64encode(b"x" * 64).decode(), "second half"),
        (PEM.replace("MHcC", "AAAA"), "no private key"),
        (pem(rsa.generate_private_key(65537, 2048)), "neither of the curve P-256"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "neither of the curve P-256"),
        ("{", "no private key"),
        ('{"name":"x"}', "no private key"),
        ('{"privateKey":7}', "no private key"),
    ],
)
def test_what_is_no_key_is_refused_without_being_quoted(secret, words):
    with pytest.raises(ValueError, match=words) as refused:
        SigningKey(secret)
    assert len(secret) < 8 or secret[:8] not in str(refused.value) or secret.startswith("-----")
