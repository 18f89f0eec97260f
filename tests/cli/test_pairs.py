"""``tickbridge pairs``: what an exchange lists, against the simulators and a server with Coinbase's answers."""

from __future__ import annotations

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

import pytest

from bridge.exchanges.api import ListedPair
from tests.cli.test_main import tickbridge
from tests.servers import free_port
from tests.simulator.test_simulate_command import started

PATH = "/api/v3/brokerage/market/products"


def product(name, **fields):
    base, _, quote = name.partition("-")
    return {
        "product_id": name,
        "base_currency_id": base,
        "quote_currency_id": quote,
        "product_type": "SPOT",
        "status": "online",
        **fields,
    }


@pytest.fixture
def coinbase():
    """A server that answers each path as it is told to: ``answers[path] = (status, body)``."""
    answers = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answers.get(unquote(self.path), (404, {}))
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", answers
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("exchange", "rows"),
    [
        ("limitlex", ["BTC-EUR  spot", "ETH-EUR  spot", "LTC-EUR  spot"]),
        (
            "lmex",
            [
                "BTC-PERP  perpetual  online",
                "BTC-USD   spot       online",
                "ETH-PERP  perpetual  online",
                "ETH-USD   spot       online",
            ],
        ),
    ],
)
def test_the_simulators_pairs(exchange, rows):
    with started(exchange, "--port", "0") as (_, output):
        rest = re.search(r"^rest +(\S+)", output, re.MULTILINE)[1]
        listed = tickbridge("pairs", exchange, "--rest-url", rest)
        found = tickbridge("pairs", exchange, "eth", "--json", "--rest-url", rest)
        nothing = tickbridge("pairs", exchange, "BTC-EUT", "--rest-url", rest)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [line.partition("  tick ")[0] for line in listed.stdout.splitlines()] == rows
    assert ("tick" in listed.stdout) is (exchange == "lmex")
    pairs = json.loads(found.stdout)
    assert {pair["pair"] for pair in pairs} == {row.split()[0] for row in rows if row.startswith("ETH")}
    assert all(pair.keys() == {"pair", *ListedPair("").fields} for pair in pairs)
    assert nothing.returncode == 1
    assert "matches BTC-EUT; the closest are BTC-" in nothing.stderr


def test_coinbases_products(coinbase):
    url, answers = coinbase
    first = [product("ETH-EUR"), product("BTC-USD"), product("BTC-PERP-INTX", product_type="FUTURE"), {"no": "product"}]
    second = [product("OLD-USD", status="delisted"), product("DOT-USD", cancel_only=True), product("BTC-USD")]
    answers[PATH] = (200, {"products": first, "pagination": {"has_next": True, "next_cursor": "a/b="}})
    answers[f"{PATH}?cursor=a/b="] = (200, {"products": second, "pagination": {"has_next": False}})
    result = tickbridge("pairs", "coinbase", "--rest-url", url)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "BTC-USD  spot       online",
        "DOT-USD  spot       cancel_only",
        "ETH-EUR  spot       online",
        "OLD-USD  spot       delisted",
    ]
    assert tickbridge("pairs", "coinbase", "*-eur", "btc", "--rest-url", url).stdout.split()[::3] == [
        "BTC-USD",
        "ETH-EUR",
    ]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>", "not a product list"),
        (200, {"products": 5}, "not a product list"),
        (503, {}, "503: no product list"),
        (429, {}, "429: no product list"),
    ],
)
def test_an_answer_that_is_no_list(coinbase, status, body, said):
    url, answers = coinbase
    answers[PATH] = (status, body)
    result = tickbridge("pairs", "coinbase", "--rest-url", url)
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    assert line.startswith(f"tickbridge: the pairs of coinbase at {url} cannot be listed: ")
    assert said in line


def test_an_exchange_out_of_reach_and_mistakes():
    url = f"http://127.0.0.1:{free_port()}"
    result = tickbridge("pairs", "coinbase", "--rest-url", url)
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert f"coinbase at {url}" in result.stderr
    result = tickbridge("pairs", "coinbas")
    assert result.returncode == 1
    assert "did you mean 'coinbase'?" in result.stderr
    result = tickbridge("pairs", "coinbase", "--rest-url", "http://example.com", "--ca-file", "/none.pem")
    assert result.returncode == 1
    assert "--rest-url: http:// is accepted only on loopback" in result.stderr
    assert "--ca-file: cannot read /none.pem" in result.stderr


def test_an_authority_that_holds_no_certificate_is_a_mistake():
    result = tickbridge("pairs", "coinbase", "--ca-file", "/etc/passwd")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "tickbridge: arguments: 1 mistake\n  --ca-file: /etc/passwd holds no PEM certificate\n"


def test_a_missing_exchange_is_all_that_is_missing():
    """Without a default of its own, an optional argument is called missing too."""
    result = tickbridge("pairs")
    assert result.returncode == 1
    assert "EXCHANGE is missing" in result.stderr
    assert "PATTERN is missing" not in result.stderr
