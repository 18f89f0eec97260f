"""A registry of exchanges for the config's tests, and a way to load a config from text."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import BaseModel, ConfigDict

from bridge.config import Settings, load_settings
from bridge.errors import ConfigError
from bridge.exchanges.api import API_KEY, API_PASSPHRASE, API_SECRET, Credential
from bridge.model import Channel


class DemoOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int = 50
    pair_ids: dict[str, int] = {}
    nested: dict[str, dict[str, str]] = {}


class NoOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Venue:
    credentials = (API_KEY, API_SECRET)
    channels = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
    private_channels = frozenset({Channel.ORDERS, Channel.FILLS, Channel.BALANCES})
    Options = DemoOptions


class PublicVenue:
    credentials = (API_KEY, API_SECRET)
    channels = frozenset({Channel.TRADES, Channel.BOOK})
    private_channels: frozenset[Channel] = frozenset()
    Options = NoOptions


class PhraseVenue(Venue):
    """Wants a passphrase too, and takes something of its own."""

    credentials = (API_KEY, API_SECRET, API_PASSPHRASE, Credential("uid", "the user's number", required=False))


EXCHANGES = {"venue": Venue, "public": PublicVenue, "phrase": PhraseVenue}


class Registry:
    """``venue`` has all there is, ``public`` trades and books only, ``phrase`` further credentials."""

    def names(self):
        return tuple(EXCHANGES)

    def exchange_type(self, name):
        return EXCHANGES[name]


GOOD = """
redis: {url: redis://127.0.0.1:6379/0}
connectors:
  - name: one
    exchange: venue
    pairs: [BTC-EUR, ETH-EUR]
    channels: [trades, book]
    account: main
accounts:
  main: {exchange: venue, api_key: the-key, api_secret: the-secret}
"""


class Config:
    """Writes a config into a folder of the test's and loads it, with no environment but the test's."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "tickbridge.yaml"

    def load(self, text: str = GOOD, **env: str) -> Settings:
        self.path.write_text(dedent(text), encoding="utf-8")
        return load_settings(self.path, env)

    def problems(self, text: str = GOOD, **env: str) -> dict[str, str]:
        """Path → message with its hint; fails if the config is accepted."""
        with pytest.raises(ConfigError) as caught:
            self.load(text, **env)
        problems = caught.value.problems
        found = {problem.path: str(problem).removeprefix(f"{problem.path}: ") for problem in problems}
        assert len(found) == len(problems), f"two problems at one place: {caught.value}"
        return found
