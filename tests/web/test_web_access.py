"""Who may read what, from where; and nonsense that clients send."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

import aiohttp
import pytest
from yarl import URL

from bridge.keys import StreamKey
from bridge.model import Channel
from consumers.web.tokens import Access, TokenError, Tokens, TokensFileError
from tests.consumers.streams import MAIN, Stream
from tests.environment import clean_environment
from tests.patience import PATIENCE
from tests.web.gateways import browser, gateway, get, listed, seqs

DESK, SCREEN, ADMIN = "desk-0123456789abcdef", "screen-0123456789abcdef", "admin-0123456789abcdef"
FILE = f"""
[[token]]
name = "desk"
token = "{DESK}"
accounts = ["limitlex:main"]

[[token]]
name = "screen"
token = "{SCREEN}"
streams = ["md:{{limitlex:*}}:trades"]

[[token]]
name = "admin"
token = "{ADMIN}"
accounts = ["*"]
"""


@pytest.fixture
def tokens(tmp_path):
    path = tmp_path / "tokens.toml"
    path.write_text(FILE)
    return str(path)


# --- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["file", "variable", "variable with a file"])
async def test_each_token_reads_what_it_names(redis_server, tokens, how) -> None:
    options = ("--tokens", tokens) if how == "file" else ()
    env = {"variable": {"TICKBRIDGE_WEB_TOKENS": FILE}, "variable with a file": {"TICKBRIDGE_WEB_TOKENS_FILE": tokens}}
    with redis_server.client() as client, gateway(redis_server, *options, **env.get(how, {})) as at:
        trades, quotes = Stream(client, Channel.TRADES), Stream(client, Channel.QUOTES)
        mine, sub = Stream(client, Channel.FILLS, "main"), Stream(client, Channel.FILLS, "main/7")
        other = Stream(client, Channel.FILLS, "mainly")
        may = {
            DESK: {trades.key, quotes.key, mine.key, sub.key},
            SCREEN: {trades.key},
            ADMIN: {trades.key, quotes.key, mine.key, sub.key, other.key},
        }
        for token, keys in may.items():
            async with browser(at, token) as one:
                for stream in (trades, quotes, mine, sub, other):
                    answer = await one.subscribe(stream.key)
                    assert (answer["notice"] == "subscribed") == (stream.key in keys), (token, answer)
                    status, _ = await get(at, f"/api/entries?key={stream.key}", token)
                    assert status == (200 if stream.key in keys else 403)
            assert (await get(at, f"/events?stream={other.key}", SCREEN))[0] == 403
        at.process.terminate()
        said = at.process.stderr.read()
    assert not any(token in said for token in may)


async def test_without_a_token_nothing_but_the_page(redis_server, tokens) -> None:
    with gateway(redis_server, "--tokens", tokens) as at:
        for path in ("/api/info", "/api/streams", "/api/connectors", "/api/wallet", "/events?stream=x", "/status"):
            status, body = await get(at, path)
            assert (status, "token is needed" in body["error"]) == (401, True), path
            assert (await get(at, path, "wrong-0123456789abcdef"))[0] == 401
        for path in ("/livez", "/readyz"):
            assert (await get(at, path))[0] == 200
        assert (await get(at, "/status", ADMIN))[0] == 200
        assert (await get(at, "/status", DESK))[0] == 403
        assert (await get(at, f"/api/info?token={DESK}"))[1]["name"] == "desk"
        assert (await get(at, "/api/info", Authorization="Basic abc"))[0] == 401
        async with aiohttp.ClientSession() as session, session.get(at.url) as answer:
            assert answer.status == 200


async def test_a_token_may_come_as_a_message(redis_server, tokens) -> None:
    with redis_server.client() as client, gateway(redis_server, "--tokens", tokens) as at:
        stream = Stream(client, Channel.FILLS, "main")
        async with browser(at) as one:
            assert "send a token first" in (await one.subscribe(stream.key))["message"]
            await one.send(op="token", token="wrong-0123456789abcdef")
            await one.first(lambda item: "not known" in item.get("message", ""))
            await one.send(op="token", token=DESK)
            one.items.clear()
            assert (await one.subscribe(stream.key))["notice"] == "subscribed"
        async with browser(at) as one:  # one that never sends any
            assert await one.close_code() == 1008
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with browser(at, "wrong-0123456789abcdef"):
                pass
        assert refusal.value.status == 401


async def test_without_tokens_only_public_streams(redis_server) -> None:
    with redis_server.client() as client, gateway(redis_server) as at:
        trades, fills = Stream(client, Channel.TRADES), Stream(client, Channel.FILLS, "main")
        listed(client, trades.key)
        listed(client, fills.key)
        async with browser(at) as one:
            assert "accounts are shown only with a token" in (await one.subscribe(fills.key))["message"]
            await one.subscribe(trades.key)
            trades.trade()
            assert seqs(await one.upto(trades.id(1))) == [1]
        assert (await get(at, f"/api/entries?key={fills.key}"))[0] == 403
        assert (await get(at, "/api/wallet?account=limitlex:main"))[0] == 403
        info = (await get(at, "/api/info"))[1]
        assert (info["tokens"], info["accounts"]) == (False, [])


def test_patterns() -> None:
    access = Access("x", ("md:{a:BTC-*}:t*",), ("a:main", "b:*"))

    def key(exchange: str, subject: str, channel: Channel) -> StreamKey:
        return StreamKey(exchange, subject, channel)

    assert access.allows(key("a", "BTC-EUR", Channel.TRADES))
    assert not access.allows(key("a", "BTC-EUR", Channel.BOOK))
    assert not access.allows(key("b", "BTC-EUR", Channel.TRADES))
    assert access.allows(key("a", "main/sub", Channel.FILLS))
    assert not access.allows(key("a", "main2", Channel.FILLS))
    assert access.allows(key("b", "any", Channel.FILLS))
    assert not access.everything
    assert Tokens().access(None) == Tokens().access("whatever")
    with pytest.raises(TokenError):
        Tokens([("a" * 16, access)]).access("a" * 15 + "\udcff")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[token", "is not TOML"),
        ("", "write [[token]]"),
        ("token = []", "has no [[token]]"),
        ('[[token]]\nname = "a"', "needs either token or token_file"),
        ('[[token]]\nname = "a"\ntoken = "short-secret"', "at least 16"),
        ('[[token]]\nname = "a"\ntoken = "0123456789 abcdef"', "no spaces"),
        ('[[token]]\nname = "a"\ntoken = "0123456789abcdef"\nstream = []', "stream"),
        ('[[token]]\nname = "a"\ntoken = "0123456789abcdef"\naccounts = ["main"]', "EXCHANGE:ACCOUNT, not 'main'"),
        ('[[token]]\nname = "a"\ntoken = 5', "token"),
        ('[[token]]\nname = "a"\ntoken_file = "/no/such/file"', "cannot read /no/such/file"),
        (f"{FILE}{FILE}", "is the same as another one"),
        (FILE + '[[token]]\nname = "desk"\ntoken = "other-0123456789abc"', "a name of its own"),
    ],
)
def test_mistakes_in_the_tokens(text, words) -> None:
    with pytest.raises(TokensFileError) as mistake:
        Tokens.load(None, text or "x = 1")
    assert words in str(mistake.value)
    assert "secret" not in str(mistake.value)
    assert "0123456789" not in str(mistake.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--http", "0.0.0.0:0"), "without tokens the gateway listens on a loopback address only"),
        (("--http", "off"), "is nothing without HTTP"),
        (("--clients", "0"), "must be at least 1"),
        (("--host", "https://a.example"), "give a name without scheme"),
        (("--tokens", "/no/such/file"), "cannot read /no/such/file"),
    ],
)
def test_mistakes_in_the_options(redis_server, words, said) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "consumers.web", "--redis", redis_server.url, *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=clean_environment(),
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


# --- host and origin ---------------------------------------------------------------------------------------------------


async def test_only_known_hosts_are_answered(redis_server) -> None:
    with gateway(redis_server, "--host", "ticks.example.com") as at:
        port = URL(at.url).port
        for host, status in {
            f"localhost:{port}": 200,
            "127.0.0.1": 200,
            "[::1]:80": 200,
            "ticks.example.com": 200,
            "TICKS.example.com.:443": 200,
            "evil.example.com": 421,
            "127.0.0.1.evil.example.com": 421,
            "192.0.2.1": 421,
            "": 421,
            "[": 421,
        }.items():
            assert status_of(at, "/api/info", f"Host: {host}") == status, host
        assert status_of(at, "/readyz", "Host: 192.0.2.1") == 200
        assert status_of(at, "/readyz", "Host: evil.example.com") == 421
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with browser(at, Host="evil.example.com"):
                pass
        assert refusal.value.status == 421


async def test_pages_of_other_sites_read_nothing(redis_server) -> None:
    with gateway(redis_server, "--host", "ticks.example.com") as at:
        port = URL(at.url).port
        own = f"Host: 127.0.0.1:{port}"
        for origin, status in {
            f"http://127.0.0.1:{port}": 200,
            "http://127.0.0.1:1": 403,
            "https://evil.example.com": 403,
            "null": 403,
            "http://[": 403,
            "https://ticks.example.com": 200,
        }.items():
            assert status_of(at, "/api/info", own, f"Origin: {origin}") == status, origin
        assert status_of(at, "/api/info", "Host: ticks.example.com", "Origin: https://ticks.example.com") == 200
        assert status_of(at, "/api/info", "Host: localhost:80", "Origin: http://localhost") == 200
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with browser(at, Origin="https://evil.example.com"):
                pass
        assert refusal.value.status == 403


def status_of(at, path: str, *headers: str) -> int:
    """The status of an answer to a request with exactly these headers."""
    url = URL(at.url)
    with socket.create_connection((url.host, url.port), PATIENCE) as plain:
        plain.sendall("\r\n".join([f"GET {path} HTTP/1.1", *headers, "Connection: close", "", ""]).encode())
        return int(plain.makefile("rb").readline().split()[1])


# --- nonsense ----------------------------------------------------------------------------------------------------------


NONSENSE = [
    ("", "not a request"),
    ("{", "not a request"),
    ("[]", "not a request"),
    ('{"op":5}', "not a request"),
    ('{"op":"subscribe","streams":[]}', "not a request"),
    ("[" * 60_000, "not a request"),
    ('{"op":"publish"}', "there are token, subscribe and unsubscribe"),
    ('{"op":"subscribe"}', "not the key of a stream"),
    ('{"op":"subscribe","stream":"bridge:catalog"}', "not the key of a stream"),
    ('{"op":"subscribe","stream":"md:{limitlex:BTC-EUR}:trades","after":"yesterday"}', "now, start, snapshot or"),
    ('{"op":"subscribe","stream":"md:{limitlex:BTC-EUR}:trades","after":"18446744073709551616-1"}', "or an entry ID"),
    ('{"op":"subscribe","stream":"md:{limitlex:BTC-EUR}:trades","after":"snapshot"}', "has no state"),
    ('{"op":"subscribe","stream":"md:{limitlex:BTC-EUR}:trades","conflate":true}', "of trades every entry is sent"),
    ('{"op":"subscribe","stream":"md:{limitlex:BTC-EUR}:trades","depth":5}', "depth is for books"),
    ('{"op":"subscribe","stream":"md:{limitlex:BTC-EUR}:book","depth":0}', "depth is 1 to 1000"),
    ('{"op":"subscribe","stream":"md:{limitlex:BTC-EUR}:book","types":[]}', "types are 1 to 20"),
    ('{"op":"unsubscribe","stream":"md:{limitlex:BTC-EUR}:book"}', "there is no subscription"),
    ('{"op":"subscribe","stream":"md:{limitlex:\\ud800}:trades"}', ""),
]


async def test_nonsense_is_answered(redis_server) -> None:
    with redis_server.client() as client, gateway(redis_server) as at:
        stream = Stream(client, Channel.TRADES, "ETH-EUR")
        for text, words in NONSENSE:
            async with browser(at) as one:
                await one.socket.send_str(text)
                assert words in (await one.notice("error"))["message"], text[:100]
                await one.subscribe(stream.key)
                stream.trade()
                await one.upto(stream.id(stream.seq))


async def test_too_much_nonsense_ends_the_connection(redis_server) -> None:
    with gateway(redis_server, "--streams", "2", "--clients", "2") as at:
        async with browser(at) as one:
            for _ in range(20):
                await one.socket.send_bytes(b"binary")
            assert await one.close_code() == 1008
        async with browser(at) as one:
            await one.socket.send_str(json.dumps({"op": "x" * 70_000}))
            assert await one.close_code() == 1009
        async with browser(at) as one, browser(at):
            key = MAIN.stream("limitlex", "BTC-EUR", Channel.TRADES)
            for _ in range(25):  # impossible, but no nonsense
                await one.send(op="unsubscribe", stream=key)
            await one.send(op="subscribe", stream=key)
            await one.notice("subscribed")
            one.items.clear()
            await one.subscribe(key.replace("BTC", "ETH"))
            await one.send(op="subscribe", stream=key)
            assert "already" in (await one.notice("error"))["message"]
            assert "may have 2" in (await one.subscribe(key.replace("BTC", "LTC")))["message"]
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                async with browser(at):
                    pass
            assert refusal.value.status == 503
            assert (await get(at, f"/events?stream={key}"))[0] == 503
        assert (await get(at, "/ws"))[0] == 426
