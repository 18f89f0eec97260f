"""Made-up market data with the shapes, lengths and digits of real traffic, the same at every run.

The model is Coinbase's recorded BTC-USD: prices of two decimals, sizes of up to eight, a quarter of the changed levels
removed (size ``0``), ids of ten digits, times in nanoseconds.
"""

from __future__ import annotations

import random
import time

from bridge.model import BookDelta, Event, Levels, Trade

__all__ = ["FIRST_ID", "PAIR", "deltas", "fields", "trade_message", "trades", "websocket_frame"]

PAIR = "BTC-USD"
_REMOVED = 0.23
FIRST_ID = 1_068_572_000


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
                str(FIRST_ID + index),
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


def fields(event: Event) -> dict[str, str]:
    """An event's entry, without the fields that are not always there."""
    names = ("ts", "recv", *event.WIRE)  # type: ignore[attr-defined]
    found = {"type": str(event.__struct_config__.tag)}
    for name in names:
        value = getattr(event, name)
        found[name] = " ".join(map(":".join, value)) if isinstance(value, list) else "" if value is None else str(value)
    return found


def trade_message(number: int, pair: str, ident: int, price: str) -> str:
    """Coinbase's message of one trade, with its ``sequence_num`` and trade id."""
    return (
        f'{{"channel":"market_trades","timestamp":"2026-08-09T21:05:48.251397169Z","sequence_num":{number},"events":[{{'
        f'"type":"update","trades":[{{"product_id":"{pair}","trade_id":"{FIRST_ID + ident}","price":"{price}",'
        f'"size":"0.01034361","time":"2026-08-09T21:05:48.167634Z","side":"{"SELL" if ident % 2 else "BUY"}"}}]}}]}}'
    )


def websocket_frame(text: str) -> bytes:
    """One unmasked WebSocket text frame, as a server sends it."""
    data = text.encode()
    if len(data) < 126:
        return bytes((0x81, len(data))) + data
    if len(data) < 65536:
        return b"\x81\x7e" + len(data).to_bytes(2) + data
    return b"\x81\x7f" + len(data).to_bytes(8) + data


def _levels(rng: random.Random, count: int, direction: int) -> Levels:
    return [
        (_price(6_508_367 + direction * (1 + rng.randrange(9_000))), "0" if rng.random() < _REMOVED else _size(rng))
        for _ in range(count)
    ]


def _price(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02}"


def _size(rng: random.Random) -> str:
    """Up to eight decimals, trailing zeros left off; small sizes more often than large ones."""
    return f"{rng.lognormvariate(-5.5, 2):.8f}".rstrip("0").rstrip(".") or "0.00000001"
