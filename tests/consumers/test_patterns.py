"""Reading all streams that match, including those that are listed later."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from bridge.keys import Keys
from bridge.model import Channel
from consumers.items import Entry
from consumers.patterns import Pattern, PatternReader
from consumers.reader import Position
from tests.consumers.streams import Stream, gather, until
from tests.servers import RedisServer

KEYS = Keys()
EVERY = 0.02


@pytest.fixture
def client(redis_server: RedisServer):
    with redis_server.client() as client:
        yield client


def listed(client, channel: Channel, subject: str, keys: Keys = KEYS) -> Stream:
    stream = Stream(client, channel, subject, keys)
    client.hset(keys.catalog_of(channel), stream.key, json.dumps({"schema": "2"}))
    return stream


MATCHES = [
    ("md:{limitlex:*}:trades", "md:{limitlex:BTC-EUR}:trades", True),
    ("md:{limitlex:*}:trades", "md:{limitlex:BTC-EUR}:book", False),
    ("md:{*:BTC-*}:*", "md:{lmex:BTC-PERP}:ticker", True),
    ("acct:{limitlex:main*}:fills", "acct:{limitlex:main/savings}:fills", True),
    ("*", "acct:{limitlex:main}:fills", True),
    ("limitlex:*-EUR book", "md:{limitlex:BTC-EUR}:book", True),
    ("limitlex:*-EUR book", "md:{limitlex:BTC-EUR}:book10", False),
    ("limitlex:*-EUR book*", "md:{limitlex:BTC-EUR}:book10", True),
    ("limitlex:*-EUR book", "md:{lmex:BTC-EUR}:book", False),
    ("limitlex:[BE]*-EUR *", "md:{limitlex:LTC-EUR}:book", False),
    ("limitlex:main *", "acct:{limitlex:main}:fills", True),
    ("limitlex:main *", "acct:{limitlex:main/savings}:fills", False),
]


@pytest.mark.parametrize(("pattern", "key", "matches"), MATCHES)
def test_what_matches(pattern, key, matches) -> None:
    assert Pattern.of(pattern).matches(KEYS.parse(key)) is matches


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("BTC-EUR", "write md:{EXCHANGE:*-USD}:trades, or EXCHANGE:*-USD trades"),
        ("", "write md:"),
        ("limitlex:* trade", "channels are trades, book"),
        ("BTC-EUR book", "is not EXCHANGE:PAIR CHANNEL"),
    ],
)
def test_what_is_no_pattern(redis_server, pattern, said) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        PatternReader(redis_server.url, {pattern: Position.START})


async def test_streams_of_the_catalogs_that_match(redis_server, client) -> None:
    btc, eth = listed(client, Channel.TRADES, "BTC-EUR"), listed(client, Channel.TRADES, "ETH-EUR")
    fills, other = listed(client, Channel.FILLS, "main"), listed(client, Channel.QUOTES, "BTC-EUR")
    patterns = {"md:{*:BTC-*}:trades": btc.id(1), "*:* trades": Position.START, "acct:{*}:fills": Position.NOW}
    for stream in (btc, eth):
        stream.trades(2)
    async with PatternReader(redis_server.url, patterns, {other.key: Position.START}) as reader:
        assert set(reader.streams) == {btc.key, eth.key, fills.key, other.key}
        items = await gather(reader, 3)
    assert sorted((item.key, item.seq) for item in items) == [(btc.key, 2), (eth.key, 1), (eth.key, 2)]


async def test_a_stream_that_is_listed_later_is_read_from_its_start(redis_server, client) -> None:
    old = listed(client, Channel.TRADES, "BTC-EUR")
    old.trades(1)
    async with PatternReader(redis_server.url, {"*:* trades": Position.NOW}, every=EVERY) as reader:
        new = Stream(client, Channel.TRADES, "ETH-EUR")
        new.trades(2)
        listed(client, Channel.TRADES, "ETH-EUR")
        items = await gather(reader, 2)
        assert [(item.key, item.seq) for item in items] == [(new.key, 1), (new.key, 2)]
        old.trade()
        [item] = await gather(reader, 1)
        assert (item.key, item.seq) == (old.key, 2)


async def test_a_reader_that_matches_nothing_yet_waits(redis_server, client) -> None:
    async with PatternReader(redis_server.url, {"*:* trades": Position.NOW}, every=EVERY) as reader:
        waiting = asyncio.create_task(gather(reader, 1))
        await until(lambda: reader._due > asyncio.get_running_loop().time())
        listed(client, Channel.TRADES, "BTC-EUR").trades(1)
        [item] = await waiting
    assert isinstance(item, Entry)


async def test_a_namespace(redis_server, client) -> None:
    keys = Keys("prod")
    stream = listed(client, Channel.TRADES, "BTC-EUR", keys)
    stream.trades(1)
    listed(client, Channel.TRADES, "ETH-EUR")
    async with PatternReader(redis_server.url, {"md:{*}:trades": Position.START}, namespace="prod") as reader:
        assert reader.streams == [stream.key]
        assert len(await gather(reader, 1)) == 1


async def test_a_public_user_gets_public_streams(redis_server, client, caplog) -> None:
    stream = listed(client, Channel.TRADES, "BTC-EUR")
    listed(client, Channel.FILLS, "main")
    stream.trades(1)
    client.acl_setuser(
        "public",
        enabled=True,
        passwords=["+pw"],
        keys=["md:*", "bridge:catalog"],
        commands=["+@read", "+@connection", "+xread", "+xinfo|stream"],
    )
    try:
        url = redis_server.url.replace("redis://", "redis://public:pw@")
        async with PatternReader(url, {"*": Position.START}, every=EVERY) as reader:
            assert reader.streams == [stream.key]
            assert len(await gather(reader, 1)) == 1
            stream.trade()
            assert len(await gather(reader, 1)) == 1
    finally:
        client.acl_deluser("public")
    said = [row.getMessage() for row in caplog.records if "cannot be read" in row.getMessage()]
    assert len(said) == 1
    assert said[0].startswith("bridge:catalog:accounts cannot be read")


async def test_a_start_that_is_wrong_for_a_stream_is_an_error(redis_server, client) -> None:
    listed(client, Channel.TRADES, "BTC-EUR")
    with pytest.raises(ValueError, match="only a stream of books has snapshots"):
        async with PatternReader(redis_server.url, {"*": Position.SNAPSHOT}):
            pytest.fail("unreachable")


async def test_waiting_may_be_cancelled(redis_server, client) -> None:
    stream = listed(client, Channel.TRADES, "BTC-EUR")
    async with PatternReader(redis_server.url, {"*:* trades": Position.NOW}, every=0) as reader:
        stream.trades(10)
        seqs, patience = [], 0.0001
        while len(seqs) < 10:
            try:
                async with asyncio.timeout(patience):
                    seqs.append((await anext(aiter(reader))).seq)
            except TimeoutError:
                patience *= 2  # until it is long enough for a look and a read
        assert seqs == list(range(1, 11))
