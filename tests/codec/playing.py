"""A connector on a fake exchange, run as a command, and what it writes to Redis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.codec.fake import Fake
from tests.e2e.conftest import Run
from tests.e2e.observing import Streams
from tests.servers import RedisServer

__all__ = ["KEY", "PASSPHRASE", "SECRET", "Played"]

KEY, SECRET, PASSPHRASE = "the-api-key-of-the-test", "the-api-secret-of-the-test", "the-passphrase-of-the-test"


class Played(Streams):
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
        super().__init__(server)
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
