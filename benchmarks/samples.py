"""Made-up market data with the shapes, lengths and digits of real traffic, the same at every run.

The model is Coinbase's recorded BTC-USD: prices of two decimals, sizes of up to eight, a quarter of the changed levels
removed (size ``0``), ids of ten digits, times in nanoseconds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from bridge.model import BookDelta, Levels, Trade

__all__ = ["coinbase_frames", "deltas", "limitlex_frames", "trades", "websocket_frame"]

PAIR = "BTC-USD"
_REMOVED = 0.23
_FIRST_ID = 1_068_572_000
_LEVELS_IN_FRAME = 6
_TRADE_EVERY = 10


def trades(count: int, subject: str = PAIR) -> list[Trade]:
    """``count`` trades, all different."""
    rng = random.Random(1)
    now = time.time_ns()
    found = []
    price = 6_508_367
    for index in range(count):
        price += rng.randint(-3, 3)
        ts = now + index * 1_000_000 + rng.randrange(1000) * 1000
        side = rng.choice(("buy", "sell"))
        found.append(
            Trade(
                subject,
                ts,
                ts + 2_000_000 + rng.randrange(1000),
                str(_FIRST_ID + index),
                side,
                _price(price),
                _size(rng),
            )
        )
    return found


def deltas(count: int, levels: int, subject: str = PAIR) -> list[BookDelta]:
    """``count`` book deltas of so many levels, half on each side."""
    rng = random.Random(2)
    now = time.time_ns()
    found = []
    for index in range(count):
        ts = now + index * 1_000_000 + rng.randrange(1000) * 1000
        bids, asks = _levels(rng, levels // 2, -1), _levels(rng, levels - levels // 2, 1)
        found.append(BookDelta(subject, ts, ts + 2_000_000 + rng.randrange(1000), str(index + 1), bids, asks))
    return found


def limitlex_frames(count: int) -> Iterator[str]:
    """``last_trade`` messages."""
    rng = random.Random(3)
    price = 6_508_367
    for index in range(count):
        price += rng.randint(-3, 3)
        side = "Buy" if rng.random() < 0.5 else "Sell"
        yield (
            f'{{"t":"last_trade","orderDirection":"{side}","amount":"{_size(rng)}","price":"{_price(price)}",'
            f'"createdAt":{1_786_309_548 + index // 1000}}}'
        )


def coinbase_frames(count: int) -> Iterator[str]:
    """A full book, then ``count`` messages of the recorded mix: nine ``l2_data`` of six levels to one trade."""
    rng = random.Random(4)
    yield _l2_data(0, "snapshot", [*_updates(rng, 500, -1, 0), *_updates(rng, 500, 1, 0)])
    for number in range(1, count + 1):
        if number % _TRADE_EVERY == 0:
            trade = (
                f'{{"product_id":"{PAIR}","trade_id":"{_FIRST_ID + number}","price":"{_price(6_508_367)}",'
                f'"size":"{_size(rng)}","time":"{_iso(number)}","side":"{rng.choice(("BUY", "SELL"))}"}}'
            )
            yield (
                f'{{"channel":"market_trades","timestamp":"{_iso(number)}","sequence_num":{number},'
                f'"events":[{{"type":"update","trades":[{trade}]}}]}}'
            )
        else:
            half = _LEVELS_IN_FRAME // 2
            yield _l2_data(number, "update", [*_updates(rng, half, -1, number), *_updates(rng, half, 1, number)])


def websocket_frame(text: str) -> bytes:
    """One unmasked WebSocket text frame, as a server sends it."""
    data = text.encode()
    if len(data) < 126:
        return bytes((0x81, len(data))) + data
    if len(data) < 65536:
        return b"\x81\x7e" + len(data).to_bytes(2) + data
    return b"\x81\x7f" + len(data).to_bytes(8) + data


def _l2_data(number: int, kind: str, updates: list[str]) -> str:
    return (
        f'{{"channel":"l2_data","timestamp":"{_iso(number)}","sequence_num":{number},'
        f'"events":[{{"type":"{kind}","product_id":"{PAIR}","updates":[{",".join(updates)}]}}]}}'
    )


def _updates(rng: random.Random, count: int, direction: int, number: int) -> list[str]:
    side = "bid" if direction < 0 else "offer"
    at = _iso(number)[:-4] + "Z"  # in microseconds
    return [
        f'{{"side":"{side}","event_time":"{at}","price_level":"{price}","new_quantity":"{size}"}}'
        for price, size in _levels(rng, count, direction)
    ]


def _levels(rng: random.Random, count: int, direction: int) -> Levels:
    return [
        (_price(6_508_367 + direction * (1 + rng.randrange(9_000))), "0" if rng.random() < _REMOVED else _size(rng))
        for _ in range(count)
    ]


def _iso(number: int) -> str:
    return f"{datetime.fromtimestamp(1_786_309_548 + number // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{number % 1000:03}659391Z"


def _price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _size(rng: random.Random) -> str:
    """Up to eight decimals, trailing zeros left off; small sizes more often than large ones."""
    return f"{rng.lognormvariate(-5.5, 2):.8f}".rstrip("0").rstrip(".") or "0.00000001"
