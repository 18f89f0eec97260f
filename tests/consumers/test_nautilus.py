"""Copies of streams for NautilusTrader: exact, each once, over kills and mistakes in Redis."""

from __future__ import annotations

import asyncio
import contextlib
from decimal import Decimal

import msgspec
import pytest
import redis

from bridge.keys import Keys, StreamKey
from bridge.model import Candle, Channel, Control, ControlEvent, Quote, Trade
from consumers.nautilus import Republisher
from consumers.nautilus_messages import NotForNautilusError, message
from consumers.patterns import Pattern
from consumers.reader import Reader
from tests.consumers.streams import BASE, Stream, until
from tests.servers import RedisServer

KEYS = Keys()
TRADES = StreamKey("coinbase", "BTC-USD", Channel.TRADES)
QUOTES = StreamKey("ccxt.kucoin", "BTC-USDT-PERP", Channel.QUOTES)
CANDLES = StreamKey("coinbase", "BTC-USD", Channel.CANDLES, "15m")
COPY = "nautilus:{limitlex:BTC-EUR}:trades"


def trade(**changes) -> Trade:
    fields = {"subject": "BTC-USD", "ts": 5, "recv": 7, "id": "9", "side": "sell", "price": "65083.660", "size": "1e-8"}
    return Trade(**{**fields, **changes})


def candle(**changes) -> Candle:
    names = ("open_ts", "close_ts", "open", "high", "low", "close", "volume", "value", "count", "late")
    fields = dict(zip(names, (0, 900, "1.0", "2", "0.5", "1.50", "3", "4", 2, 0), strict=True))
    rest = dict.fromkeys(("first", "last", "state", "reason", "after", "upto"), "")
    return Candle(**{"subject": "BTC-USD", "ts": 5, "recv": 7, **fields, **rest, **changes})


def payload(stream: StreamKey, event) -> dict[str, str]:
    made = message(stream, "8-3", event)
    return {"topic": made.topic, **msgspec.msgpack.decode(made.payload)}


def test_a_trade() -> None:
    assert payload(TRADES, trade()) == {
        "topic": "data.trades.COINBASE.BTC-USD",
        "type": "TradeTick",
        "instrument_id": "BTC-USD.COINBASE",
        "price": "65083.660",
        "size": "0.00000001",
        "aggressor_side": "SELLER",
        "trade_id": "9",
        "ts_event": "5",
        "ts_init": "7",
    }
    other = payload(TRADES, trade(id="", side="", ts=None))
    assert (other["trade_id"], other["aggressor_side"], other["ts_event"]) == ("8-3", "NO_AGGRESSOR", "7")


def test_a_quote_has_two_prices_and_two_sizes_of_one_precision() -> None:
    quote = payload(QUOTES, Quote("BTC-USDT-PERP", 5, 7, "10.5", "1", "10.55", "0.25"))
    assert quote["instrument_id"] == "BTC-USDT-PERP.CCXT-KUCOIN"
    assert quote["topic"] == "data.quotes.CCXT-KUCOIN.BTC-USDT-PERP"
    assert [quote[name] for name in ("bid_price", "ask_price", "bid_size", "ask_size")] == [
        "10.50", "10.55", "1.00", "0.25",
    ]  # fmt: skip


def test_a_candle_is_a_bar_at_its_end() -> None:
    bar = payload(CANDLES, candle())
    assert bar["bar_type"] == "BTC-USD.COINBASE-15-MINUTE-LAST-EXTERNAL"
    assert bar["topic"] == "data.bars.BTC-USD.COINBASE-15-MINUTE-LAST-EXTERNAL"
    assert [bar[name] for name in ("open", "high", "low", "close", "volume")] == ["1.0", "2", "0.5", "1.50", "3"]
    assert (bar["ts_event"], bar["ts_init"]) == ("900", "900")
    assert message(CANDLES, "8-3", candle(count=0, open="", high="", low="", close="")) is None


@pytest.mark.parametrize(
    ("stream", "event", "words"),
    [
        (TRADES, trade(size=""), "size is unknown"),
        (TRADES, trade(size="0.0"), "size is zero"),
        (TRADES, trade(price=f"0.{'1' * 17}"), "price has more than 16 digits"),
        (TRADES, trade(id="x" * 37), "more than 36 characters"),
        (QUOTES, Quote("BTC-USDT-PERP", 5, 7, "", "", "10.55", "0.25"), "bid is unknown"),
        (CANDLES, candle(volume=""), "volume is unknown"),
    ],
)
def test_what_has_no_exact_form_is_not_written(stream, event, words) -> None:
    with pytest.raises(NotForNautilusError, match=words):
        message(stream, "8-3", event)


def test_control_entries_have_no_form() -> None:
    assert message(TRADES, "8-3", Control("BTC-USD", None, 7, Channel.TRADES, ControlEvent.GAP)) is None


def test_nautilus_reads_them() -> None:
    model = pytest.importorskip("nautilus_trader.model.data", reason="nautilus_trader is not installed")
    serializer = pytest.importorskip("nautilus_trader.serialization.serializer")
    reads = serializer.MsgSpecSerializer(msgspec.msgpack, timestamps_as_str=True).deserialize
    tick = reads(message(TRADES, "8-3", trade()).payload)
    assert isinstance(tick, model.TradeTick)
    assert (tick.price.as_decimal(), tick.size.as_decimal()) == (Decimal("65083.66"), Decimal("1e-8"))
    quote = reads(message(QUOTES, "8-3", Quote("BTC-USDT-PERP", 5, 7, "10.5", "1", "10.55", "0.25")).payload)
    assert (quote.bid_price.as_decimal(), quote.ask_size.as_decimal()) == (Decimal("10.5"), Decimal("0.25"))
    bar = reads(message(CANDLES, "8-3", candle()).payload)
    assert (str(bar.bar_type), bar.close.as_decimal()) == ("BTC-USD.COINBASE-15-MINUTE-LAST-EXTERNAL", Decimal("1.5"))


@contextlib.asynccontextmanager
async def republishing(server: RedisServer, *wanted: str, keep: int = 1_000):
    async with Reader(server.url, block=0.05) as reader:
        copies = Republisher(reader, KEYS, [Pattern.of(one) for one in wanted], keep=keep)

        async def discover() -> None:
            while True:
                for key in await reader.redis.hkeys("bridge:catalog"):
                    with contextlib.suppress(redis.ResponseError):
                        await copies.found(key, KEYS.parse(key))
                await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(discover()), asyncio.create_task(copies.follow())]
        try:
            yield copies
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    task.result()


@pytest.fixture
def trades(redis_server: RedisServer):
    with redis_server.client() as client:
        stream = Stream(client, Channel.TRADES)
        client.hset("bridge:catalog", stream.key, "{}")
        yield stream


@pytest.fixture
def raw(redis_server: RedisServer):
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


async def test_it_goes_on_where_the_copy_ends_and_nothing_is_there_twice(redis_server, trades, raw) -> None:
    trades.trades(3)
    async with republishing(redis_server, "limitlex:* trades") as copies:
        await until(lambda: copies._followed)
        trades.control("gap", "odd")
        trades.trades(20)
        await until(lambda: raw.xlen(COPY) == 20)
    trades.trades(30)  # while it is away
    async with republishing(redis_server) as one, republishing(redis_server) as other:
        await until(lambda: raw.xlen(COPY) == 50)
        trades.trades(5)
        await until(lambda: raw.xlen(COPY) == 55 and one._reader.cursors == other._reader.cursors != {})
    entries = raw.xrange(COPY)
    assert [entry_id.decode() for entry_id, _ in entries] == [trades.id(seq) for seq in range(5, 60)]
    assert {fields[b"topic"] for _, fields in entries} == {b"data.trades.LIMITLEX.BTC-EUR"}
    ids = [msgspec.msgpack.decode(fields[b"payload"])["trade_id"] for _, fields in entries]
    assert ids == [f"t{seq}" for seq in range(5, 60)]


async def test_a_copy_that_cannot_be_written_is_named_and_made_up_for(redis_server, trades, raw) -> None:
    async with republishing(redis_server) as copies:
        await until(lambda: copies._followed)
        trades.trades(2)
        await until(lambda: raw.xlen(COPY) == 2)
        raw.rename(COPY, "kept")
        raw.set(COPY, "x")
        trades.trades(2)
        await until(copies.degraded)
        assert "WRONGTYPE" in copies.degraded()[0]
        raw.rename("kept", COPY)
        await until(lambda: raw.xlen(COPY) == 4)
        trades.add("trade", id="x", side="buy", price="1", size="")
        await until(lambda: copies.left_out)
        assert copies.degraded() == [f"{trades.key}: 1 left out (size is unknown)"]
    assert [entry_id for entry_id, _ in raw.xrange(COPY)] == [f"{BASE + n}-{n}".encode() for n in range(1, 5)]


async def test_what_a_failover_has_taken_back_is_written_again(own_server) -> None:
    with own_server.client() as client, redis.Redis.from_url(own_server.url) as raw:
        trades = Stream(client, Channel.TRADES)
        client.hset("bridge:catalog", trades.key, "{}")
        trades.trades(1)
        async with republishing(own_server) as copies:
            await until(lambda: copies._followed)
            trades.trades(9)
            await until(lambda: raw.xlen(COPY) == 9)
            whole = raw.xrange(COPY)
            own_server.kill()
            own_server.start()
            raw.delete(COPY)
            for entry_id, fields in whole[:-4]:
                raw.xadd(COPY, fields, id=entry_id)
            trades.trades(2)
            await until(lambda: raw.xlen(COPY) == 11)
            assert raw.xrange(COPY)[:9] == whole
