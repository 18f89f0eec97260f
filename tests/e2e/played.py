"""An exchange of the tests, a connector on it, and what they wrote: the same for every exchange."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import yaml

from tests.e2e.conftest import Run
from tests.e2e.harness import Process, book_of, eventually, sequences
from tests.e2e.observing import Streams
from tests.e2e.threaded_exchange import ThreadedExchange
from tests.servers import RedisServer

__all__ = ["Played", "ShownBook", "Venue", "side"]

Side = dict[Decimal, Decimal]
ShownBook = tuple[object, tuple[Side, Side]]
"""The number that a book has reached, ``None`` where books have none, and its bids and asks in coins."""


def side(levels: Mapping[str, str], worth: str = "1") -> Side:
    """Price → size in coins, of levels whose sizes are of units that are worth so many."""
    return {Decimal(price): Decimal(size) * Decimal(worth) for price, size in levels.items()}


@dataclass(frozen=True, kw_only=True)
class Venue:
    """In what one exchange differs from another."""

    name: str
    credentials: Mapping[str, str]
    """Settings of the account ``main``."""
    secrets: tuple[str, ...]
    """Texts that must be found nowhere."""
    connector: Mapping[str, Any]
    """Settings of the connector, unless a test says otherwise."""
    shown: Callable[..., ShownBook] | None = None
    """The exchange, a pair and what else is needed → the book that it shows."""

    def md(self, pair: str, channel: str) -> str:
        return f"md:{{{self.name}:{pair}}}:{channel}"

    def acct(self, channel: str) -> str:
        return f"acct:{{{self.name}:main}}:{channel}"


class Played(Streams):
    """A config for the exchange; ``start`` runs a connector with it. ``credentials`` replace some of the account's."""

    def __init__(
        self,
        venue: Venue,
        run: Run,
        server: RedisServer,
        directory: Path,
        exchange: Any,
        *,
        credentials: Mapping[str, str] | None = None,
        **connector: Any,
    ) -> None:
        assert isinstance(exchange, ThreadedExchange)
        self.exchange: Any = exchange
        self.secrets = [*venue.secrets]
        super().__init__(server)
        self.md, self.acct = venue.md, venue.acct
        account = {"exchange": venue.name, **venue.credentials, **(credentials or {})}
        if "api_secret_file" in account:
            del account["api_secret"]
        given = {"name": venue.name, "exchange": venue.name, "url": exchange.url, "rest_url": exchange.rest_url}
        given |= {**venue.connector, **connector}
        settings = {"redis": {"url": server.url}, "connectors": [given], "accounts": {"main": account}}
        self.config = directory / f"{venue.name}.yaml"
        self.config.write_text(yaml.safe_dump(settings))
        self._venue = venue
        self._run = run

    def start(self) -> Self:
        self.process: Process = self._run("run", "--config", str(self.config))
        return self

    def check(self) -> Process:
        """``check --connect`` with the same config, until its end."""
        checked = self._run("check", "--connect", "--config", str(self.config))
        checked.ended()
        return checked

    def book_is_the_exchanges(self, pair: str, *more: Any) -> None:
        """Wait until the book that the entries alone say is the exchange's, at its number."""
        shown, key = self._venue.shown, self.md(pair, "book")
        assert shown is not None

        def look() -> bool:
            entries = self.client.xrange(key)
            number, book = shown(self.exchange, pair, *more)
            newest = [fields["xseq"] for _, fields in entries if fields["type"] != "control"][-1:]
            return (number is None or newest == [str(number)]) and book_of(entries) == book

        eventually(look, f"the exchange's book of {pair}")

    def finished(self, *, forgiven: Collection[str] = ()) -> None:
        """It ends as it should: no holes, no rejects, no trace of a secret, nothing that the exchange doesn't allow."""
        assert self.process.stop() == 0
        for key, numbers in sequences(self.client).items():
            assert numbers == list(range(1, len(numbers) + 1)), key
        assert self.client.xlen(f"bridge:rejects:{self._venue.name}") == 0
        everything = [self.process.output, *self.client.scan_iter("*")]
        for key in self.client.scan_iter("*", _type="stream"):
            everything += [json.dumps(fields) for _, fields in self.client.xrange(key)]
        for key in self.client.scan_iter("*", _type="hash"):
            everything.append(json.dumps(self.client.hgetall(key)))
        text = "\n".join(everything)
        assert [secret for secret in self.secrets if secret in text] == []
        assert [what for what in self.exchange.wrong if what not in forgiven] == []
