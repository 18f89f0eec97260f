"""(e) Bad frames: what a connector spends on one, against a good one of the same exchange and length.

Both take the way that they take in a connector, from the connection's callback on: session, router, topic and publisher
to a real Redis, and for bad ones the rejects and the log. The sides take turns within each run; figures are of the
process's CPU time. Afterwards the counts must be exact: every bad frame is among the rejects, nothing is lost.
"""

from __future__ import annotations

import asyncio
import gc
import io
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from msgspec import Struct

from benchmarks.machine import Server
from benchmarks.results import Run, Target, medians, table
from bridge.config import Settings
from bridge.connector.router import Router
from bridge.connector.store import Store
from bridge.connector.wiring import build_exchange, feed_context, logger_of, rest_client
from bridge.feed.connection import Connection
from bridge.process.logs import configure_logging
from bridge.process.loops import run_async
from bridge.redaction import register_secrets

__all__ = ["measure"]

NAMESPACE = "bench-rejecting"
_MOST_TIMES = 3.0
"""How many times a good frame's cost a bad one may cost."""
_AT_ONCE = 64
"""Frames that come in one go, as out of one read of a socket."""
_LARGE = 1 << 20
_FEWER = 200
"""By how much the runs of large frames are shorter."""
_DEEP = 100
_PATIENCE = 60.0

Make = Callable[[int], bytes]
"""A frame by its number, which runs on over all frames of a connection."""


class Side(Struct):
    """One exchange: its trades, good and bad. ``row`` is a trade by its id, ``frame`` a message of such rows."""

    name: str
    row: Callable[[int], str]
    frame: Callable[[int, Sequence[str]], str]
    price: str
    """The field of a row that holds the price, with its quotes and colon."""
    options: dict[str, Any] = {}
    many: bool = True
    """Whether a message may have several rows."""


def _coinbase(number: int, rows: Sequence[str]) -> str:
    return (
        f'{{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.251397169Z","sequence_num":{number},'
        f'"events":[{{"type":"update","trades":[{",".join(rows)}]}}]}}'
    )


def _coinbase_row(ident: int) -> str:
    return (
        f'{{"product_id":"BTC-USD","trade_id":"{ident}","price":"65083.67","size":"0.01034361",'
        f'"time":"2026-08-09T21:05:48.167634Z","side":"SELL"}}'
    )


def _kraken(_: int, rows: Sequence[str]) -> str:
    return f'{{"channel":"trade","type":"update","data":[{",".join(rows)}]}}'


def _kraken_row(ident: int) -> str:
    return (
        f'{{"symbol":"BTC/USD","side":"sell","price":65083.6,"qty":0.01034361,"ord_type":"market","trade_id":{ident},'
        f'"timestamp":"2026-08-09T21:05:48.167634Z"}}'
    )


def _limitlex(_: int, rows: Sequence[str]) -> str:
    return rows[0]


def _limitlex_row(ident: int) -> str:
    return (
        f'{{"t":"last_trade","orderDirection":"Buy","amount":"0.{ident:08}","price":"7997.40","createdAt":1598516157}}'
    )


def _lmex(_: int, rows: Sequence[str]) -> str:
    return f'{{"topic":"tradeHistoryApi:BTC-USD","data":[{",".join(rows)}]}}'


def _lmex_row(ident: int) -> str:
    return (
        f'{{"symbol":"BTC-USD","side":"SELL","size":0.0145,"price":76653.1,"tradeId":{ident},'
        f'"timestamp":1779786372223}}'
    )


def _bybit(_: int, rows: Sequence[str]) -> str:
    return f'{{"topic":"publicTrade.BTCUSD","type":"snapshot","ts":1786310821917,"data":[{",".join(rows)}]}}'


def _bybit_row(ident: int) -> str:
    return (
        f'{{"i":"{ident}","T":1786310821917,"p":"65140.28","v":"0.04537","S":"Sell","seq":178477362706,"s":"BTCUSD",'
        f'"BT":false,"RPI":false}}'
    )


def _okx(_: int, rows: Sequence[str]) -> str:
    return f'{{"arg":{{"channel":"trades","instId":"BTC-USD"}},"data":[{",".join(rows)}]}}'


def _okx_row(ident: int) -> str:
    return (
        f'{{"instId":"BTC-USD","tradeId":"{ident}","px":"65140.28","sz":"0.04537","side":"sell","ts":"1786310821917",'
        f'"count":"1","source":"0","seqId":1}}'
    )


def _binance(_: int, rows: Sequence[str]) -> str:
    return f'{{"stream":"btcusd@trade","data":{rows[0]}}}'


def _binance_row(ident: int) -> str:
    return (
        f'{{"e":"trade","E":1786310821917,"s":"BTCUSD","t":{ident + 1},"p":"65140.28","q":"0.04537","T":1786310821917,'
        f'"m":false,"M":true}}'
    )


def _binance_usdm(_: int, rows: Sequence[str]) -> str:
    return f'{{"stream":"btcusd@aggTrade","data":{rows[0]}}}'


def _binance_usdm_row(ident: int) -> str:
    return (
        f'{{"e":"aggTrade","E":1786310821917,"s":"BTCUSD","a":{ident + 1},"p":"65140.28","q":"0.04537","f":1,"l":1,'
        f'"T":1786310821917,"m":false}}'
    )


EXCHANGES = (
    Side("binance", _binance_row, _binance, '"p":', many=False),
    Side("binance-usdm", _binance_usdm_row, _binance_usdm, '"p":', many=False),
    Side("bybit", _bybit_row, _bybit, '"p":'),
    Side("coinbase", _coinbase_row, _coinbase, '"price":'),
    Side("kraken", _kraken_row, _kraken, '"price":'),
    Side(
        "limitlex",
        _limitlex_row,
        _limitlex,
        '"price":',
        {"pair_ids": {"BTC-USD": "2f5ba0a2-0f4b-4a0e-8b5b-6e4b5a0c7d11"}},
        many=False,
    ),
    Side("lmex", _lmex_row, _lmex, '"price":'),
    Side("okx", _okx_row, _okx, '"px":'),
)


def small(side: Side) -> dict[str, Make]:
    """A good message of one trade, and what may be wrong with it, by name."""

    def good(number: int) -> str:
        return side.frame(number, [side.row(number)])

    return {
        "good": lambda number: good(number).encode(),
        "no JSON": lambda number: b"<" + good(number).encode(),
        "cut off": lambda number: good(number)[:-7].encode(),
        "null": lambda number: _spoilt(good(number), side.price, "null,").encode(),
        "NaN": lambda number: _spoilt(good(number), side.price, "NaN,").encode(),
        "wrong type": lambda number: _spoilt(good(number), side.price, "true,").encode(),
        "no number": lambda number: _spoilt(good(number), side.price, '"x",').encode(),
        "missing": lambda number: good(number).replace(side.price, '"gone":').encode(),
        "nested": lambda number: _spoilt(good(number), side.price, "[" * _DEEP + "]" * _DEEP + ",").encode(),
        "a list": lambda number: f"[{good(number)}]".encode(),
    }


def large(side: Side) -> dict[str, Make]:
    """Messages of 1 MiB: of thousands of trades, or with one text as long."""
    per = _LARGE // len(side.row(10**7)) if side.many else 1

    def rows(number: int) -> list[str]:
        return [side.row(10**9 + number * per + place) for place in range(per)]

    def good(number: int) -> str:
        if side.many:
            return side.frame(number, rows(number))
        return side.frame(number, [side.row(number)]).replace("{", '{"note":"' + "x" * _LARGE + '",', 1)

    def one_bad(number: int) -> bytes:
        made = rows(number)
        made[per // 2] = _spoilt(made[per // 2], side.price, "null,")
        return side.frame(number, made).encode()

    bad: dict[str, Make] = {
        "good": lambda number: good(number).encode(),
        "no JSON": lambda number: b"<" + good(number).encode(),
        "cut off": lambda number: good(number)[:-7].encode(),
        "a long text": lambda number: _spoilt(
            side.frame(number, [side.row(number)]), side.price, '"' + "x" * _LARGE + '",'
        ).encode(),
        "nested": lambda _: b"[" * _LARGE,
        "every row": lambda number: good(number).replace(side.price, '"gone":').encode(),
    }
    return bad | {"one row": one_bad} if side.many else bad


def measure(
    server: Server, *, frames: int, runs: int, sides: Sequence[Side] = EXCHANGES, with_large: bool = True
) -> tuple[str, list[Target], dict[str, Any]]:
    """Of each exchange frames of one trade, then of 1 MiB."""
    texts, targets, data = [], [], {}
    for side in sides:
        sizes = [("one trade", small(side), 1)]
        if with_large:
            sizes.append(("1 MiB", large(side), _FEWER))
        for size, kinds, fewer in sizes:
            found: dict[str, list[Run]] = {}
            for _ in range(runs):
                server.forget(NAMESPACE)
                for kind, cost in run_async(_run(server.url, side, kinds, max(4, frames // fewer))).items():
                    found.setdefault(kind, []).append({"CPU µs/frame": cost})
            rows = {kind: medians(rows) for kind, rows in found.items()}
            for row in rows.values():
                row["times a good one"] = row["CPU µs/frame"] / rows["good"]["CPU µs/frame"]
            worst = max(row["times a good one"] for row in rows.values())
            targets.append(Target(f"bad frames, {side.name}, {size}: times a good one", worst, at_most=_MOST_TIMES))
            texts.append(table(f"Bad frames, {side.name}, {size} (median of {runs} runs)", rows))
            data[f"{side.name}, {size}"] = rows
    server.forget(NAMESPACE)
    return "\n\n".join(texts), targets, data


def _spoilt(text: str, field: str, value: str) -> str:
    """The text with another value after the first such field."""
    before, name, after = text.partition(field)
    return before + name + value + after.partition(",")[2]


async def _run(url: str, side: Side, kinds: dict[str, Make], frames: int) -> dict[str, float]:
    """CPU µs per frame of each kind, in a connector of its own each."""
    return {kind: await _cost(url, side, make, frames, bad=kind != "good") for kind, make in kinds.items()}


async def _cost(url: str, side: Side, make: Make, frames: int, *, bad: bool) -> float:
    async with _connection(url, side) as (connection, router):
        numbers = count()
        begun = frames // 4
        await _feed(connection, router, [make(next(numbers)) for _ in range(begun)])  # beyond what is written in full
        made = [make(next(numbers)) for _ in range(frames)]
        gc.collect()
        start = time.process_time()
        await _feed(connection, router, made)
        spent = time.process_time() - start
        counts = router.report.counts()
        assert counts["rejected"] == (begun + frames) * bad, f"{side.name}: of {begun + frames} frames, {counts}"
        assert counts["waiting"] == counts["lost"] == counts["repeated"] == 0, f"{side.name}: {counts}"
    return spent / frames * 1e6


async def _feed(connection: Connection, router: Router, frames: Sequence[bytes]) -> None:
    fed = connection.frames + len(frames)
    for part in _parts(frames):
        for frame in part:
            connection.frame(frame)
        await asyncio.sleep(0)
    async with asyncio.timeout(_PATIENCE):
        while connection.frames < fed:  # noqa: ASYNC110 - large ones take several turns
            await asyncio.sleep(0)
        while router.report.counts()["waiting"]:  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.001)


def _parts(frames: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(frames), _AT_ONCE):
        yield frames[start : start + _AT_ONCE]


@asynccontextmanager
async def _connection(url: str, side: Side) -> AsyncIterator[tuple[Connection, Router]]:
    """A connection without its socket, of a connector that publishes to Redis and logs as JSON."""
    register_secrets(["the-password-of-redis", "an-api-key-of-some-length-123456"])
    configure_logging("info", "json", io.StringIO())
    connector = {"name": side.name, "exchange": side.name, "pairs": ["BTC-USD"], "channels": ["trades"]}
    settings = Settings.model_validate(
        {
            "namespace": NAMESPACE,
            "redis": {"url": url},
            "connectors": [{**connector, "options": side.options}],
        }
    )
    [connector_settings] = settings.connectors
    exchange = build_exchange(settings, connector_settings)
    log = logger_of(connector_settings)
    async with (
        Store(settings, side.name, exchange.name, log) as store,
        rest_client(connector_settings, exchange, None) as rest,
    ):
        router = Router(exchange, connector_settings, store, settings, log)
        await router.open()
        works = [asyncio.create_task(work, name=name) for name, work in router.background()]
        context = feed_context(connector_settings, exchange, router, rest, None)
        [plan] = exchange.plan()
        yield Connection(plan, context, asyncio.Event(), hold=False), router
        for work in works:
            work.cancel()
        await asyncio.wait(works)
        await store.presence.leave()
