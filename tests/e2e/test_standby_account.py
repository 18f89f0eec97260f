"""An exchange that allows an account one private connection: the writer has it, and its standby opens it when it writes."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.coinbase_accounts import CoinbaseAccounts
from tests.e2e.conftest import Run
from tests.e2e.harness import Process, eventually
from tests.e2e.links import Link
from tests.e2e.observing import controls
from tests.e2e.played import Played
from tests.e2e.test_coinbase_accounts import BALANCES, BOOK, COINBASE, FILLS, KEYS, ORDERS, by_id
from tests.e2e.test_standby import words
from tests.servers import RedisServer
from tests.unit import coinbase_account_frames as frames

HEARTBEAT = "bridge:connector:coinbase"
BEATS = {"TICKBRIDGE_HEARTBEAT__INTERVAL": "2s", "TICKBRIDGE_HEARTBEAT__TTL": "30s"}
"""A busy machine has five seconds until a process counts as gone that gets no time to run."""


class Account:
    """A connector of an account and a pair that runs twice, and what the exchange knows of the account."""

    def __init__(self, run: Run, server: RedisServer, directory: Path, exchange: CoinbaseAccounts) -> None:
        self.run = run
        self.url = server.url
        self._waiting: list[str] = []
        self.exchange = exchange
        self.played = Played(COINBASE, run, server, directory, exchange, channels=["book"], standby=True)
        self.client: Any = self.played.client
        exchange.wallets = {"BTC": ("1.5", "0"), "USD": ("1000", "0")}
        exchange.positions = [frames.POSITION]
        self.writer = self.start()
        self.played.live(BOOK, *KEYS)
        self.standby = self.stand_by()

    def start(self, **env: str) -> Process:
        return self.run("run", "--config", str(self.played.config), **{**BEATS, **env})

    def stand_by(self) -> Process:
        standby = self.start(TICKBRIDGE_HTTP__PORT="0")
        standby.wait_for('"standing_by"')
        self.ready(standby)
        return standby

    def ready(self, standby: Process) -> dict[str, str]:
        """Wait until a process stands by and could go on at once; what it shows."""

        def look() -> dict[str, str] | None:
            shown: dict[str, str] = self.client.hgetall(f"{HEARTBEAT}:standby")
            return shown if (shown.get("pid"), shown.get("state")) == (str(standby.pid), "standby") else None

        return eventually(look, "that it could go on at once") or {}

    def taken_over(self, writer: Process) -> None:
        """Wait until a process writes, and has the account's connection."""
        eventually(lambda: self.client.hget(HEARTBEAT, "pid") == str(writer.pid), "the heartbeat of the standby")
        eventually(lambda: self.client.hget(HEARTBEAT, "state") == "live", "that all is live")

    def trade(self, name: str, *, heard: bool) -> None:
        """An order is filled in part, another one waits, and an earlier one ends; connections hear of it if ``heard``."""
        exchange = self.exchange
        rows = [exchange.place(f"{name}-a", "0.02", "45000"), exchange.place(f"{name}-b", "0.01", "44000")]
        if heard:
            exchange.tell(*rows)
        rows = [exchange.fill(f"{name}-a", f"{name}-1", "0.01")]
        rows += [exchange.end(ident, "CANCELLED") for ident in self._waiting]
        self._waiting = [f"{name}-b"]
        exchange.wallets = {**exchange.wallets, "BTC": (f"{len(exchange.fills)}.25", "0.5"), name: ("7", "0")}
        if heard:
            exchange.tell(*rows)

    def check(self) -> None:
        """Fills, orders and balances of the streams are the exchange's."""
        played, exchange = self.played, self.exchange
        fills = [fill["entry_id"] for _, fill in exchange.fills]
        assert sorted(fill["fill_id"] for fill in played.wait(FILLS, len(fills))) == sorted(fills), "each once"
        orders = {ident: (status_of(row), row["filled_size"]) for ident, row in exchange.orders.items()}
        eventually(lambda: by_id(played.entries(ORDERS)) == orders, f"orders: {orders}")

        def balances() -> dict[str, tuple[str, str]]:
            return {row["currency"]: (row["available"], row["reserved"]) for row in played.entries(BALANCES)}

        eventually(lambda: balances() == exchange.wallets, f"balances: {exchange.wallets}")
        assert exchange.users == 1


def status_of(order: dict[str, Any]) -> str:
    filled = order["filled_size"] != "0"
    return "cancelled" if order["status"] == "CANCELLED" else "partially_filled" if filled else "open"


@pytest.fixture
def exchange() -> Iterator[CoinbaseAccounts]:
    with CoinbaseAccounts() as served:
        yield served


@pytest.fixture(params=["refuse", "kick"])
def account(
    run: Run,
    redis_server: RedisServer,
    tmp_path: Path,
    exchange: CoinbaseAccounts,
    request: pytest.FixtureRequest,
) -> Account:
    """Of an exchange that refuses a second connection, or ends the first for it; it notes either as wrong."""
    exchange.second = request.param
    return Account(run, redis_server, tmp_path, exchange)


def page(process: Process, name: str) -> Any:
    [url] = re.findall(r'"url":"([^"]+)"', process.wait_for("http_listening"))
    with urllib.request.urlopen(f"{url}/{name}", timeout=5) as answer:
        return json.load(answer)


def test_the_writer_is_killed_and_hands_over(account: Account) -> None:
    exchange, client = account.exchange, account.client
    account.trade("one", heard=True)
    account.check()
    assert "connection_withheld" in account.standby.output

    account.writer.kill()
    account.trade("two", heard=False)
    account.taken_over(account.standby)
    account.check()
    account.trade("three", heard=True)
    account.check()
    for key in KEYS:
        assert controls(client, key) == ["live", "down", "live"], key
    assert controls(client, BOOK) == ["live"], "its copy was ready"

    writer, other = account.standby, account.stand_by()
    account.trade("four", heard=False)
    done = account.run("handover", "coinbase", "--redis", account.url)
    assert done.ended() == 0, done.output
    account.taken_over(other)
    account.ready(writer)
    account.trade("five", heard=True)
    account.check()
    for key in KEYS:
        passed = ("down", "the exchange allows the account one connection, which another process takes over")
        assert words(client, key)[3:] == [passed, ("live", "")], key
    assert controls(client, BOOK) == ["live"]
    assert exchange.wrong == [], "at no time were there two connections"

    account.played.process = other
    assert writer.stop() == 0
    account.played.finished()


def test_a_standby_without_the_account_s_connection_is_healthy(account: Account) -> None:
    ready = page(account.standby, "readyz")
    assert (ready["ready"], ready["missing"], ready["degraded"]) == (True, [], [])
    [status] = page(account.standby, "status")["connectors"]
    assert (status["state"], status["ready"]) == ("standby", True)
    assert [row["name"] for row in status["connections"]] == ["market"]
    shown = account.ready(account.standby)
    assert shown["state"] == "standby"
    seen = account.run("status", "--redis", account.url)
    assert seen.ended() == 0, seen.output
    assert account.exchange.wrong == []


def test_a_writer_that_is_cut_off_from_redis_leaves_the_connection_to_the_standby(
    run: Run, redis_server: RedisServer, tmp_path: Path, exchange: CoinbaseAccounts
) -> None:
    """Else the two would end each other's by turns: it cannot know that the other one writes."""
    exchange.second = "kick"
    with Link(redis_server.port) as link:
        played = Played(COINBASE, run, redis_server, tmp_path, exchange, channels=[], standby=True)
        config = yaml.safe_load(played.config.read_text())
        away = tmp_path / "away.yaml"
        away.write_text(yaml.safe_dump({**config, "redis": {"url": link.url}}))
        writer = run("run", "--config", str(away), **BEATS)
        played.live(*KEYS)
        played.process = standby = run("run", "--config", str(played.config), **BEATS)
        eventually(lambda: played.client.hget(f"{HEARTBEAT}:standby", "state") == "standby", "a standby")
        seen = int(played.client.hget(HEARTBEAT, "beat"))
        eventually(lambda: int(played.client.hget(HEARTBEAT, "beat")) > seen + 1, "that the writer has seen it")
        link.hold()
        writer.wait_for("connection_withheld")
        eventually(lambda: played.client.hget(HEARTBEAT, "pid") == str(standby.pid), "the standby's heartbeat")
        played.live(*KEYS)
        exchange.tell(exchange.place("o", "0.02", "45000"))
        exchange.tell(exchange.fill("o", "f-1", "0.01"))
        played.wait(FILLS, 1)
        assert exchange.users == 1
        link.release()
        eventually(
            lambda: played.client.hget(f"{HEARTBEAT}:standby", "pid") == str(writer.pid), "that it stands by now"
        )
        exchange.tell(exchange.fill("o", "f-2", "0.01"))
        played.wait(FILLS, 2)
        assert exchange.users == 1
        assert writer.stop() == 0, writer.output
    assert by_id(played.entries(ORDERS)) == {"o": ("filled", "0.02")}
    for key in KEYS:
        assert controls(played.client, key) == ["live", "down", "live"], key
    played.finished(forgiven=["a second connection"])
