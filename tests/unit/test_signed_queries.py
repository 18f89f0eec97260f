"""Signatures of queries: the vectors of an exchange's documentation, clocks that are off, and keys of both kinds."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bridge.errors import ConfigError
from bridge.exchange_errors import RestError
from bridge.exchanges.api import ClockReading, Credentials, Flow, HttpRequest, HttpResponse
from bridge.exchanges.toolkit.rest.signatures import Signer
from bridge.exchanges.toolkit.rest.signed_queries import SignedQueries
from bridge.exchanges.toolkit.sessions.coded_errors import coded_failure
from tests.unit.core import SECOND, T0

S = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
K = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
OTHER = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
ORDER = f"apiKey={K}&price=52000.00&quantity=0.01000000&recvWindow=100&side=SELL&symbol=BTCUSDT&timeInForce=GTC"
FULL_WIDTH = (
    f"apiKey={K}&price=0.10000000&quantity=1.00000000&recvWindow=5000&side=BUY&symbol=１２３４５６&timeInForce=GTC"  # noqa: RUF001
)
LIMIT = "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559"
ENCODED = "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96"
MS = 1_000_000


def pem(key: Any) -> str:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    text: str = key.private_bytes(*form).decode()
    return text


@pytest.mark.parametrize(
    ("secret", "text", "signature"),
    [
        (
            S,
            f"{ORDER}&timestamp=1645423376532&type=LIMIT",
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
        ),
        (
            S,
            f"{FULL_WIDTH}&timestamp=1645423376532&type=LIMIT",
            "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
        ),
        (S, f"symbol=LTCBTC&{LIMIT}", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        (S, f"{ENCODED}&{LIMIT}", "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
        (
            S,
            f"apiKey={K}&recvWindow=5000&timestamp=1747385641636",
            "49601ffc5b0122c3c7ee3ea85ef7d6cd76256f5191a57c976418faa32e917653",
        ),
        (
            OTHER,
            "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943",
            "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9",
        ),
    ],
)
def test_the_vectors_of_the_documentation(secret: str, text: str, signature: str) -> None:
    assert Signer(Credentials("main", K, secret)).sign(text) == signature


def test_an_ed25519_key_signs_in_base64() -> None:
    key = Ed25519PrivateKey.generate()
    signature = Signer(Credentials("main", K, f"\n{pem(key)}")).sign("symbol=１")  # noqa: RUF001
    assert (len(signature), signature[-2:]) == (88, "==")
    key.public_key().verify(base64.b64decode(signature), "symbol=１".encode())  # noqa: RUF001


@pytest.mark.parametrize("secret", [pem(ec.generate_private_key(ec.SECP256R1())), "-----BEGIN PRIVATE KEY-----\nx"])
def test_another_private_key_is_a_mistake_of_the_config(secret: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        Signer(Credentials("main", K, secret))
    assert "no Ed25519 private key" in str(wrong.value)
    assert secret.splitlines()[1] not in str(wrong.value).splitlines()


class Asked:
    """Calls of one account, answered as a test says."""

    def __init__(self, *answers: HttpResponse, clock: int = 0) -> None:
        self.answers = list(answers)
        self.requests: list[HttpRequest] = []
        self.clock = clock
        self.rest = SignedQueries(
            "exchange",
            Credentials("main", K, S),
            header="X-KEY",
            window=10_000,
            clock=self._read,
            failure=lambda path, answer: coded_failure(
                "exchange", path, answer, of_key={-2015: "or not"}, too_many=-1003
            ),
            late=-1021,
        )

    def _read(self) -> Flow[ClockReading]:
        return ClockReading(self.clock, MS)
        yield

    def run(self, flow: Flow[Any]) -> Any:
        try:
            request = next(flow)
            while True:
                self.requests.append(request)
                request = flow.send(self.answers.pop(0))
        except StopIteration as stop:
            return stop.value


LATE = HttpResponse(400, b'{"code":-1021,"msg":"outside of the recvWindow"}', recv=T0)


def test_a_call_is_signed_as_it_is_sent_and_shown_without_it() -> None:
    asked = Asked(HttpResponse(200, b'[{"a":1.50}]'))
    assert asked.run(asked.rest.rows("/x", "symbol=A", T0, weight=7)) == [{"a": "1.50"}]
    [request] = asked.requests
    query, _, signature = request.path.removeprefix("/x?").partition("&signature=")
    assert query == f"symbol=A&recvWindow=10000&timestamp={T0 // MS}"
    assert unquote(signature) == Signer(Credentials("main", K, S)).sign(query)
    assert (request.shown, request.weight, request.headers) == ("/x?symbol=A", 7, {"X-KEY": K})


def test_where_our_clock_is_wrong_a_call_is_signed_once_more() -> None:
    asked = Asked(LATE, HttpResponse(200, b"[]"), clock=T0 + 90 * SECOND)
    assert asked.run(asked.rest.rows("/x", "", T0)) == []
    assert f"timestamp={(T0 + 90 * SECOND) // MS}" in asked.requests[1].path
    again = Asked(LATE, LATE)
    with pytest.raises(RestError) as late:
        again.run(again.rest.rows("/x", "", T0))
    assert late.value.code == -1021


def test_a_long_run_of_calls_has_the_time_of_its_answers() -> None:
    asked = Asked(HttpResponse(200, b"[]", recv=T0 + 60 * SECOND), HttpResponse(200, b"[]"))
    for _ in range(2):
        asked.run(asked.rest.rows("/x", "", T0))
    assert f"timestamp={(T0 + 60 * SECOND) // MS}" in asked.requests[1].path


@pytest.mark.parametrize("body", [b"<html>", b'{"b":[]}', b"", b"7"])
def test_an_answer_that_is_no_list_of_rows(body: bytes) -> None:
    asked = Asked(HttpResponse(200, body))
    with pytest.raises(RestError, match="can't be understood"):
        asked.run(asked.rest.rows("/x", "", T0, field="a"))


def test_a_code_may_say_that_there_is_nothing() -> None:
    unknown = HttpResponse(400, b'{"code":-2013,"msg":"Order does not exist."}')
    asked = Asked(unknown, unknown)
    assert asked.run(asked.rest.rows("/x", "", T0, none=(-2013,))) == []
    with pytest.raises(RestError):
        asked.run(asked.rest.rows("/x", "", T0))
