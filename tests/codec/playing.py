"""A connector on a fake exchange, run as a command, and what it writes to Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.codec.fake import Fake
from tests.e2e.conftest import Run
from tests.e2e.harness import eventually
from tests.e2e.observing import connect, controls
from tests.servers import RedisServer

__all__ = ["KEY", "PASSPHRASE", "SECRET", "Played"]

KEY, SECRET, PASSPHRASE = "the-api-key-of-the-test", "the-api-secret-of-the-test", "the-passphrase-of-the-test"


class Played:
    """``ident`` is CCXT's id; ``more`` are further settings of the connector."""

    def __init__(
        self,
        run: Run,
        server: RedisServer,
        folder: Path,
        exchange: Fake,
        ident: str,
        *,
        passphrase: bool = True,
        **more: Any,
    ) -> None:
        self.exchange = exchange
        self.client = connect(server)
        connector = {
            "name": "through-ccxt",
            "exchange": f"ccxt.{ident}",
            "channels": ["trades", "book"],
            "url": exchange.url,
            "rest_url": exchange.rest_url,
            **more,
        }
        self.settings: dict[str, Any] = {"redis": {"url": server.url}, "connectors": [connector]}
        if "account" in more:
            secrets = {"api_key": KEY, "api_secret": SECRET} | ({"api_passphrase": PASSPHRASE} if passphrase else {})
            self.settings["accounts"] = {more["account"]: {"exchange": f"ccxt.{ident}", **secrets}}
        self.config = folder / "ccxt.yaml"
        self.config.write_text(yaml.safe_dump(self.settings))
        self._run = run
        self.process = run("run", "--config", str(self.config))

    def entries(self, key: str) -> list[dict[str, str]]:
        """The data entries of a stream."""
        return [fields for _, fields in self.client.xrange(key) if fields["type"] != "control"]

    def wait(self, key: str, count: int) -> list[dict[str, str]]:
        """Wait for so many data entries."""
        return eventually(lambda: len(found := self.entries(key)) >= count and found, f"{count} entries of {key}")

    def controls(self, key: str) -> list[str]:
        return controls(self.client, key)

    def told(self, key: str, *events: str) -> None:
        """Wait until the stream's control entries are these."""
        eventually(lambda: self.controls(key) == list(events), f"{events} of {key}, not {self.controls(key)}")
