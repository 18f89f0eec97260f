"""Looking at a connector from outside: its heartbeat, its streams, its last words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import redis

from tests.e2e.harness import Process, Simulated, book_of, eventually, sequences, trades_of
from tests.servers import RedisServer

__all__ = [
    "Streams",
    "check_streams",
    "connect",
    "controls",
    "flowing",
    "heartbeat",
    "none_missing",
    "settled",
    "stopped",
]


def connect(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def heartbeat(client: redis.Redis) -> dict[str, int]:
    fields = client.hgetall("bridge:connector:limitlex")
    return {name: int(value) for name, value in fields.items() if value.isdigit()}


def flowing(client: redis.Redis, count: int) -> None:
    """Wait until so many events are published."""
    eventually(lambda: heartbeat(client).get("published", 0) >= count, f"{count} events published")


def settled(client: redis.Redis, simulated: Simulated) -> None:
    """Hold the market, and wait until every book of the streams is the true one."""
    simulated.pause()
    true = {pair: simulated.book(pair) for pair in simulated.pairs}
    books = {pair: Book(client, f"md:{{limitlex:{pair}}}:book") for pair in simulated.pairs}
    eventually(lambda: all(book.now() == true[pair] for pair, book in books.items()), "books equal to the true ones")


class Streams:
    """What stands in the streams of a server."""

    def __init__(self, server: RedisServer) -> None:
        self.client: redis.Redis = connect(server)

    def entries(self, key: str) -> list[dict[str, str]]:
        """The data entries of a stream."""
        return [fields for _, fields in self.client.xrange(key) if fields["type"] != "control"]

    def wait(self, key: str, count: int) -> list[dict[str, str]]:
        """Wait for so many data entries."""
        return eventually(lambda: len(found := self.entries(key)) >= count and found, f"{count} entries of {key}")

    def controls(self, key: str) -> list[str]:
        return controls(self.client, key)

    def says(self, key: str, *events: str) -> list[dict[str, str]]:
        """Wait until the stream's control entries are these; returns them."""
        eventually(lambda: self.controls(key) == list(events), f"{key} says {events}")
        return [fields for _, fields in self.client.xrange(key) if fields["type"] == "control"]

    def last_control(self, key: str) -> dict[str, str]:
        return [fields for _, fields in self.client.xrange(key) if fields["type"] == "control"][-1]

    def last(self, key: str) -> dict[str, str]:
        """The newest entry, whatever it is."""
        return self.client.xrevrange(key, count=1)[0][1]

    def live(self, *keys: str) -> None:
        for key in keys:
            eventually(lambda key=key: "live" in self.controls(key)[-1:], f"{key} live")


class Book:
    """A stream's book, from its newest snapshot on; each look reads what is new."""

    def __init__(self, client: redis.Redis, key: str) -> None:
        self._client = client
        self._key = key
        self._entries: list[tuple[str, dict[str, str]]] = []

    def now(self) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]] | None:
        after = f"({self._entries[-1][0]}" if self._entries else "-"
        self._entries += self._client.xrange(self._key, after)
        starts = [place for place, (_, fields) in enumerate(self._entries) if fields["type"] == "snapshot"]
        del self._entries[: starts[-1] if starts else 0]
        return book_of(self._entries)


def check_streams(client: redis.Redis, simulated: Simulated) -> None:
    """No hole in ``seq``; trades in the true order, none twice, none missing but where the stream says so."""
    for key, numbers in sequences(client).items():
        assert numbers == list(range(1, len(numbers) + 1)), key
    for pair in simulated.pairs:
        true = simulated.trades(pair)
        mine = trades_of(client, "limitlex", pair)
        assert not Counter(mine) - Counter(true), "a trade stands twice"
        remaining = iter(true)
        assert all(trade in remaining for trade in mine), "not in the exchange's order"


def none_missing(client: redis.Redis, simulated: Simulated) -> None:
    """Every trade is in its stream, from the first one there to the last.

    Trades have no numbers here, and two may be alike: the first one may be any of those like it.
    """
    for pair in simulated.pairs:
        mine, true = trades_of(client, "limitlex", pair), simulated.trades(pair)
        starts = [place for place, trade in enumerate(true) if trade == mine[0]]
        agreeing = {start: _in_common(mine, true[start:]) for start in starts}
        start = max(agreeing, key=agreeing.__getitem__)
        place = agreeing[start]
        said = controls(client, f"md:{{limitlex:{pair}}}:trades")
        expected = true[start + place : start + place + 3]
        assert place == len(mine), (
            f"{pair}, trade {place} of {len(mine)}: {mine[place : place + 3]}, not {expected}; {said}"
        )


def _in_common(mine: Sequence[object], true: Sequence[object]) -> int:
    """How many they have in common from the start on."""
    pairs = enumerate(zip(mine, true, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(mine), len(true)))


def stopped(client: redis.Redis, connector: Process) -> dict[str, int]:
    """Stop the connector; its last word: what came and went."""
    assert connector.stop() == 0
    last = [line for line in connector.output.splitlines() if '"stopped"' in line][-1]
    counts: dict[str, int] = json.loads(last)
    assert counts["waiting"] == 0
    assert counts["received"] == counts["published"] + counts["lost"]
    declared = 0
    for key in client.scan_iter("*}:*", _type="stream"):
        for _, fields in client.xrange(key):
            if fields["type"] == "control" and fields["event"] == "lost":
                declared += int(fields["count"])
    assert counts["lost"] == declared
    return counts


def controls(client: redis.Redis, key: str) -> list[str]:
    """The control events of a stream, in order."""
    return [fields["event"] for _, fields in client.xrange(key) if fields["type"] == "control"]
