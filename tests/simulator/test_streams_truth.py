"""``/sim/streams/…``: the truth in the terms of the streams; and what the demo does with each exchange."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import islice
from typing import Any

import pytest

from bridge.config.load import load_settings
from bridge.simulator import EXCHANGES, Simulator, SimulatorConfig, exchange_named
from bridge.simulator.faults import fault_from_fields
from tests.simulator.helpers import Rig, running
from tests.simulator.lmex_helpers import running_lmex


async def asked(rig: Rig, path: str, **params: str) -> tuple[int, Any]:
    async with rig.http.get(f"{rig.urls.control}/{path}", params=params) as response:
        return response.status, json.loads(await response.text())


async def test_sizes_of_derivatives_are_base_coins() -> None:
    async with running_lmex() as rig:
        await rig.simulator.step(300)
        contract = rig.simulator.market.pairs["BTC-PERP"].spec.contract
        assert contract < 1
        _, raw = await asked(rig, "book", pair="BTC-PERP")
        _, book = await asked(rig, "streams/book", pair="BTC-PERP")
        for side in ("bids", "asks"):
            assert [(price, Decimal(size)) for price, size in book[side]] == [
                (price, Decimal(size) * contract) for price, size in raw[side]
            ]
        _, raw = await asked(rig, "trades", pair="BTC-PERP")
        _, trades = await asked(rig, "streams/trades", pair="BTC-PERP")
        assert trades["trades"]
        assert [(row["id"], Decimal(row["size"])) for row in trades["trades"]] == [
            (str(row["id"]), Decimal(row["size"]) * contract) for row in raw["trades"]
        ]


async def test_an_account_of_lmex_has_a_futures_wallet_of_its_own() -> None:
    async with running_lmex() as rig:
        rig.simulator.place("main", "BTC-PERP", "buy", "300")
        resting = rig.simulator.place("main", "BTC-PERP", "buy", "200", "50000")
        status, answer = await asked(rig, "streams/account", account="main")
        _, raw = await asked(rig, "account", account="main")
    assert status == 200
    main, futures = (answer["subjects"][name] for name in ("main", "main/futures"))
    contract = Decimal(raw["positions"][0]["contract_size"])
    (held,) = main["positions"]
    assert (held["pair"], held["side"], Decimal(held["size"])) == ("BTC-PERP", "long", 300 * contract)
    assert held["entry_price"] == raw["positions"][0]["entry_price"]
    (order,) = main["orders"]
    assert (order["order_id"], Decimal(order["size"]), Decimal(order["filled"])) == (resting.id, 200 * contract, 0)
    assert {name: row["available"] for name, row in main["balances"].items()} == {
        name: row["available"] for name, row in raw["wallets"].items()
    }
    assert futures["balances"]["USDT"]["available"] == raw["futures_wallets"]["USDT"]["available"]
    assert (futures["orders"], futures["positions"]) == ([], [])


def test_with_one_market_its_wallet_is_the_account() -> None:
    simulator = Simulator(SimulatorConfig("lmex", exchange_named("lmex").market_of(["BTC-PERP"])))
    (ledger,) = simulator.dialect.ledgers("main")
    assert ledger.subject == "main"
    assert set(ledger.balances) == {"USDT"}


async def test_sub_accounts_of_limitlex_are_uuids_and_not_restated() -> None:
    async with running() as rig:
        _, answer = await asked(rig, "streams/account", account="main")
        _, raw = await asked(rig, "account", account="main")
        status, refused = await asked(rig, "streams/account", account="main/bot")
        _, trades = await asked(rig, "streams/trades", pair="BTC-EUR")
    subs = {f"main/{sub['uuid']}": f"main/{name}" for name, sub in raw["subaccounts"].items()}
    assert {subject: row["name"] for subject, row in answer["subjects"].items()} == {"main": "main", **subs}
    assert [row["restated"] for row in answer["subjects"].values()] == [True, *[False] * len(subs)]
    assert status == 400
    assert "known: main" in refused["error"]
    assert {row["id"] for row in trades["trades"]} == {""}


@pytest.mark.parametrize("name", EXCHANGES)
def test_all_troubles_are_faults_of_the_exchange(name: str) -> None:
    exchange = EXCHANGES[name]
    simulator = Simulator(SimulatorConfig(name))
    for planned in islice(exchange.scenario.faults(exchange.pairs), 40):
        fault = fault_from_fields(planned.fault, exchange.faults)
        assert fault.fault != "clear"
        simulator.fault(fault)


@pytest.mark.parametrize("kind", ["connector", "connector_with_faults"])
@pytest.mark.parametrize("name", EXCHANGES)
def test_the_connectors_settings_are_some(name: str, kind: str) -> None:
    exchange = EXCHANGES[name]
    row = {"name": name, "exchange": name, "pairs": list(exchange.pairs), **getattr(exchange.scenario, kind)}
    (connector,) = load_settings(None, {"TICKBRIDGE_CONNECTORS": json.dumps([row])}).connectors
    assert connector.exchange == name
