"""A Binance of the tests, a connector on it, and what they wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import redis
import yaml

from tests.e2e.binance_exchange import BinanceExchange
from tests.e2e.conftest import Run
from tests.e2e.harness import Process, book_of, eventually, sequences
from tests.e2e.observing import connect, controls
from tests.servers import RedisServer
from tests.unit import binance_frames as frames


class Played:
    """One market with a connector; ``secrets`` are what must be found nowhere."""

    def __init__(
        self, run: Run, server: RedisServer, directory: Path, exchange: BinanceExchange, market: str, **connector: Any
    ) -> None:
        self.exchange = exchange
        self.market = market
        self.name = "binance" if market == "spot" else "binance-usdm"
        self.secrets = [frames.SECRET, frames.KEY]
        self.client: redis.Redis = connect(server)
        account = {"exchange": self.name, "api_key": frames.KEY, "api_secret": frames.SECRET}
        settings = {
            "redis": {"url": server.url},
            "connectors": [
                {
                    "name": "b",
                    "exchange": self.name,
                    "url": exchange.url,
                    "rest_url": exchange.rest_url,
                    **connector,
                }
            ],
            "accounts": {"main": account} if connector.get("account") else {},
        }
        self.config = directory / f"{self.name}.yaml"
        self.config.write_text(yaml.safe_dump(settings))
        self._run = run
        self.process: Process = run("run", "--config", str(self.config))

    def check(self) -> Process:
        """``check --connect`` with the same config, after the connector."""
        self.process.kill()
        return self._run("check", "--connect", "--config", str(self.config))

    def md(self, pair: str, channel: str) -> str:
        return f"md:{{{self.name}:{pair}}}:{channel}"

    def acct(self, channel: str) -> str:
        return f"acct:{{{self.name}:main}}:{channel}"

    def entries(self, key: str) -> list[dict[str, str]]:
        """The data entries of a stream."""
        return [fields for _, fields in self.client.xrange(key) if fields["type"] != "control"]

    def wait(self, key: str, count: int) -> list[dict[str, str]]:
        """Wait for so many data entries."""
        return eventually(lambda: len(found := self.entries(key)) >= count and found, f"{count} entries of {key}")

    def controls(self, key: str) -> list[str]:
        return controls(self.client, key)

    def reason(self, key: str) -> str:
        """The reason of the newest control entry."""
        return [fields["reason"] for _, fields in self.client.xrange(key) if fields["type"] == "control"][-1]

    def live(self, *keys: str) -> None:
        for key in keys:
            eventually(lambda key=key: "live" in self.controls(key)[-1:], f"{key} live")

    def book_is_the_exchanges(self, pair: str, symbol: str) -> None:
        """Wait until the book of the stream is the exchange's at its number."""
        book = self.exchange.books[self.market, symbol]
        key = self.md(pair, "book")

        def look() -> bool:
            entries = self.client.xrange(key)
            mine = book_of(entries)
            newest = [fields["xseq"] for _, fields in entries if fields["type"] != "control"][-1:]
            true = tuple({float(price): float(size) for price, size in side.items()} for side in (book.bids, book.asks))
            return (
                newest == [str(book.u)]
                and mine is not None
                and tuple({float(p): float(s) for p, s in side.items()} for side in mine) == true
            )

        eventually(look, f"{pair} at {book.u}")

    def finished(self) -> None:
        """It ends as it should, without holes, rejects or a trace of a secret."""
        assert self.process.stop() == 0
        for key, numbers in sequences(self.client).items():
            if key.startswith(("md:", "acct:")):
                assert numbers == list(range(1, len(numbers) + 1)), key
        assert self.client.xlen(f"bridge:rejects:{self.name}") == 0
        everything = [self.process.output, *self.client.scan_iter("*")]
        for key in self.client.scan_iter("*", _type="stream"):
            everything += [json.dumps(fields) for _, fields in self.client.xrange(key)]
        for key in self.client.scan_iter("*", _type="hash"):
            everything.append(json.dumps(self.client.hgetall(key)))
        for secret in self.secrets:
            assert secret not in "\n".join(everything)
