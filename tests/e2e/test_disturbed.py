"""Somebody else gets at the streams of a connector that runs: it is marked, and books are right again within seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.conftest import Bench, Run
from tests.e2e.harness import book_of, eventually, fetch, sequences, trades_of
from tests.e2e.observing import controls, flowing

BOOK, TRADES = "md:{limitlex:BTC-EUR}:book", "md:{limitlex:BTC-EUR}:trades"
SOON = 8.0
"""Seconds: a look each second, a heartbeat, a fresh connection, on a busy machine."""


def write_as_a_rival(client: Any, key: str) -> None:
    """As a process of the same connector would that knows no fence: well-formed entries, numbered on from the newest."""
    [(ident, fields)] = client.xrevrange(key, count=1)
    ms, seq = map(int, ident.split("-"))
    for step in range(1, 4):
        client.xadd(key, fields, id=f"{ms + 100 * step}-{seq + step}")


DEEDS: dict[str, Callable[[Any, str], object]] = {
    "a foreign entry": lambda client, key: client.xadd(key, {"hello": "world"}),
    "a typed one far ahead": lambda client, key: client.xadd(key, {"type": "trade"}, id=f"{2**42}-7"),
    "a rival's": write_as_a_rival,
    "one deleted": lambda client, key: client.xdel(key, client.xrevrange(key, count=1)[0][0]),
    "deleted": lambda client, key: client.delete(key),
    "renamed": lambda client, key: client.rename(key, "elsewhere"),
    "emptied": lambda client, key: client.xtrim(key, maxlen=0, approximate=False),
    "a string": lambda client, key: client.pipeline().delete(key).set(key, "x").expire(key, 2).execute(),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_book_is_right_again_within_seconds(bench: Bench, run: Run, deed: str) -> None:
    bench.simulate(rate=300)
    connector = bench.run(options={"resnapshot": "1h"})
    client = bench.client
    flowing(client, 200)
    books = run(
        "limitlex:BTC-EUR", "--redis", bench.server.url, "--http", "127.0.0.1:0", "--quiet", module="consumers.books"
    )
    url = books.wait_for("health at").partition("health at ")[2].split()[0]

    def valid() -> bool:
        return bool(fetch(f"{url}/books/limitlex/BTC-EUR")["valid"])

    eventually(valid, "a book")
    before = int(client.xrevrange(BOOK, count=1)[0][0].partition("-")[2])
    DEEDS[deed](client, BOOK)
    connector.wait_for('"stream_changed"' if deed != "a string" else "WRONGTYPE")

    def again() -> bool:
        ours = [(ident, fields) for ident, fields in client.xrange(BOOK) if {"type", "recv"} <= fields.keys()]
        numbers = [int(ident.partition("-")[2]) for ident, _ in ours]
        marks = [
            number
            for number, (_, fields) in zip(numbers, ours, strict=True)
            if fields.get("event") in ("gap", "lost") and number > before
        ]
        # What was deleted leaves a hole, and a rival's numbers stand beside our own.
        whole = deed in ("one deleted", "a rival's") or numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        return bool(marks) and whole and book_of(ours) is not None

    eventually(lambda: client.type(BOOK) == "stream" and again(), "marked, and whole again", SOON)
    eventually(valid, "the consumer's book", SOON)
    others = len(trades_of(client, "limitlex", "ETH-EUR"))
    eventually(lambda: len(trades_of(client, "limitlex", "ETH-EUR")) > others, "the others go on")
    assert connector.running
    assert connector.stop() == 0
    for key, numbers in sequences(client, "md:{limitlex:ETH-EUR}:*").items():
        assert numbers == list(range(1, len(numbers) + 1)), key


def test_trades_go_on_with_their_numbers_and_a_quiet_stream_is_looked_at_too(bench: Bench) -> None:
    simulated = bench.simulate(rate=300)
    connector = bench.run(options={"resnapshot": "1h"})
    client = bench.client
    flowing(client, 200)
    simulated.pause()
    quiet = {key: numbers[-1] for key, numbers in sequences(client, "md:*").items()}
    client.delete(TRADES)
    eventually(lambda: controls(client, TRADES).count("gap") == 1, "a mark, though nothing is written", SOON)
    numbers = sequences(client)[TRADES]
    assert numbers[0] >= quiet[TRADES] + 1
    simulated.resume()
    eventually(lambda: len(client.xrange(TRADES)) > 10, "trades go on")
    numbers = sequences(client, TRADES)[TRADES]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert controls(client, TRADES).count("gap") == 1, "said once"
    assert connector.stop() == 0
