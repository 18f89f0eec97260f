"""A connector on the simulated LMEX, spot and futures, two pairs each, while things go wrong."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.e2e.conftest import Run
from tests.e2e.harness import Process, book_of, eventually, fetch, sequences
from tests.e2e.observing import connect, controls
from tests.servers import RedisServer

Sides = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


class Rig:
    """A simulated LMEX with its connector."""

    def __init__(self, run: Run, server: RedisServer, directory: Path, **environment: str) -> None:
        self._run = run
        self._environment = environment
        self._directory = directory
        self.client: redis.Redis = connect(server)
        written = directory / "simulated.yaml"
        command = [
            "simulate",
            "lmex",
            "--port",
            "0",
            "--rate",
            "400",
            "--activity",
            "0.2",
            "--write-config",
            str(written),
        ]
        self.simulator = run(*command, "--redis-url", server.url)
        self.simulator.wait_for("ready")
        self.config: dict[str, Any] = yaml.safe_load(written.read_text())
        self.connector: dict[str, Any] = self.config["connectors"][0]
        self.pairs: list[str] = self.connector["pairs"]
        self.control = f"{self.connector['rest_url']}/sim"

    def run(self, **changes: Any) -> Process:
        """Start a connector."""
        self.connector.update(changes)
        path = self._directory / "run.yaml"
        path.write_text(yaml.safe_dump(self.config))
        return self._run("run", "--config", str(path), **self._environment)

    def book(self, pair: str) -> Sides:
        """The true book, in base coins."""
        found = fetch(f"{self.control}/book?pair={pair}")
        coins = Decimal(found.get("contract_size") or 1)
        bids, asks = (
            {Decimal(price): Decimal(size) * coins for price, size in found[side]} for side in ("bids", "asks")
        )
        return bids, asks

    def mine(self, pair: str) -> Sides | None:
        return book_of(self.client.xrange(f"md:{{lmex:{pair}}}:book"))

    def trades(self, pair: str) -> list[tuple[str, str, Decimal, Decimal]]:
        found = fetch(f"{self.control}/trades?pair={pair}")
        coins = Decimal(found.get("contract_size") or 1)
        rows = found["trades"]
        return [(str(t["id"]), t["side"], Decimal(t["price"]), Decimal(t["size"]) * coins) for t in rows]

    def my_trades(self, pair: str) -> list[tuple[str, str, Decimal, Decimal]]:
        rows = [fields for _, fields in self.client.xrange(f"md:{{lmex:{pair}}}:trades")]
        return [(f["id"], f["side"], Decimal(f["price"]), Decimal(f["size"])) for f in rows if f["type"] == "trade"]

    def settle(self) -> None:
        """Hold the market, and wait until all books, trades and the account are as they truly are."""
        fetch(f"{self.control}/faults", {"fault": "clear"})
        fetch(f"{self.control}/pause", {})
        for pair in self.pairs:
            eventually(lambda pair=pair: self.mine(pair) == self.book(pair), f"the true book of {pair}")
        self.account()

    def account(self) -> None:
        """Open orders, positions, balances and fills of the streams are the true ones."""
        eventually(lambda: self.my_orders() == self.true_orders(), "the true open orders")
        eventually(lambda: self.my_positions() == self.true_positions(), "the true positions")
        for subject, wallet in (("main", "wallets"), ("main/futures", "futures_wallets")):
            eventually(
                lambda s=subject, w=wallet: self.my_balances(s) == self.true_balances(w), f"balances of {subject}"
            )

    def truth(self) -> dict[str, Any]:
        found: dict[str, Any] = fetch(f"{self.control}/account?account=main")
        return found

    def newest(self, subject: str, channel: str, key: str) -> dict[str, dict[str, str]]:
        rows = self.client.xrange(f"acct:{{lmex:{subject}}}:{channel}")
        return {fields[key]: fields for _, fields in rows if fields["type"] != "control"}

    def my_orders(self) -> dict[str, tuple[str, str, Decimal, str]]:
        rows = self.newest("main", "orders", "order_id").values()
        return {
            f["order_id"]: (f["pair"], f["side"], Decimal(f["price"]), f["status"])
            for f in rows
            if f["status"] in ("open", "partially_filled")
        }

    def true_orders(self) -> dict[str, tuple[str, str, Decimal, str]]:
        rows = self.truth()["open_orders"]
        return {o["order_id"]: (o["pair"], o["side"], Decimal(o["price"]), o["status"]) for o in rows}

    def my_positions(self) -> dict[str, tuple[str, Decimal]]:
        rows = self.newest("main", "positions", "pair").values()
        return {f["pair"]: (f["side"], Decimal(f["contracts"])) for f in rows if f["side"]}

    def true_positions(self) -> dict[str, tuple[str, Decimal]]:
        return {p["pair"]: (p["side"], Decimal(p["size"])) for p in self.truth()["positions"]}

    def my_balances(self, subject: str) -> dict[str, tuple[Decimal, Decimal]]:
        rows = self.newest(subject, "balances", "currency").values()
        return {f["currency"]: (Decimal(f["available"]), Decimal(f["reserved"])) for f in rows}

    def true_balances(self, wallet: str) -> dict[str, tuple[Decimal, Decimal]]:
        rows = self.truth()[wallet].items()
        return {code: (Decimal(held["available"]), Decimal(held["reserved"])) for code, held in rows}


@pytest.fixture
def rig(run: Run, redis_server: RedisServer, tmp_path: Path) -> Rig:
    return Rig(run, redis_server, tmp_path)


def flows(rig: Rig, seconds: float) -> None:
    """Let the market go on for a while."""
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > until, "the time is over")


def whole(rig: Rig) -> None:
    """No hole in any stream; trades in the true order, each once."""
    for key, numbers in sequences(rig.client).items():
        assert numbers == list(range(1, len(numbers) + 1)), key
    for pair in rig.pairs:
        mine = rig.my_trades(pair)
        assert len({trade[0] for trade in mine}) == len(mine), "a trade stands twice"
        remaining = iter(rig.trades(pair))
        assert all(trade in remaining for trade in mine), "not the exchange's trades, or not in its order"


def test_everything_agrees(rig: Rig) -> None:
    process = rig.run(options={"balances_interval": "1s"})
    for pair in rig.pairs:
        eventually(lambda pair=pair: rig.my_trades(pair) and rig.mine(pair), f"{pair} flows")
    eventually(lambda: "live" in controls(rig.client, "acct:{lmex:main}:positions"), "the account is live")
    flows(rig, 3)
    rig.settle()
    whole(rig)
    for pair in rig.pairs:
        mine = rig.my_trades(pair)
        true = rig.trades(pair)
        assert mine == true[-len(mine) :], "none is missing from the first one on"
        assert controls(rig.client, f"md:{{lmex:{pair}}}:book") == ["live"]
    fills = {fields["fill_id"] for _, fields in rig.client.xrange("acct:{lmex:main}:fills") if "fill_id" in fields}
    true_fills = rig.truth()["fills"]
    assert true_fills
    assert fills == {fill["fill_id"] if "fill_id" in fill else fill["id"] for fill in true_fills}
    assert process.stop() == 0


FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("gap", {"count": 3, "pair": "BTC-PERP"}),
    ("crossed", {"count": 1, "pair": "BTC-USD"}),
    ("corrupt", {"count": 10}),
    ("drop", {"count": 20, "sockets": "public"}),
    ("duplicate", {"count": 50}),
    ("reorder", {"count": 5, "type": "delta"}),
    ("unknown", {"count": 3}),
    ("cut", {}),
    ("buffer_full", {}),
    ("freeze", {"duration": 3}),
]


def test_faults_leave_true_books_and_accounts_behind(rig: Rig) -> None:
    process = rig.run(options={"balances_interval": "1s"}, dead_after=2, ping_interval=0.5)
    for pair in rig.pairs:
        eventually(lambda pair=pair: rig.mine(pair), f"{pair} flows")
    eventually(lambda: "live" in controls(rig.client, "acct:{lmex:main}:positions"), "the account is live")
    for name, fields in FAULTS:
        fetch(f"{rig.control}/faults", {"fault": name, **fields})
        flows(rig, 1.5)
    flows(rig, 3)
    rig.settle()
    whole(rig)
    books = [controls(rig.client, f"md:{{lmex:{pair}}}:book") for pair in rig.pairs]
    assert all("gap" in events and "down" in events for events in books)
    assert process.stop() == 0
