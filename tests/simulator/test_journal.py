"""What truly happened, written down: enough to rebuild every book at each of its numbers."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.simulator.lmex_helpers import OK, running_lmex, trade


def rows_of(path: Path, kind: str) -> list[dict[str, Any]]:
    return [row for line in path.read_text().splitlines() if (row := json.loads(line))["k"] == kind]


async def test_books_trades_and_fills_stand_in_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with running_lmex(journal=path) as rig:
        trade(rig, "BTC-PERP", "buy", "50")
        await rig.simulator.step(300)
        rig.simulator.pause()
        for pair in ("BTC-USD", "ETH-PERP"):
            sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
            numbers = []
            for row in rows_of(path, "book"):
                if row["pair"] == pair:
                    numbers.append(row["seq"])
                    for name, side in sides.items():
                        side.update({Decimal(price): Decimal(size) for price, size in row[name]})
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            true = rig.simulator.book(pair)
            for name, side in sides.items():
                assert {p: s for p, s in side.items() if s} == {Decimal(p): Decimal(s) for p, s in true[name]}
            noted = [row["id"] for row in rows_of(path, "trade") if row["pair"] == pair]
            assert noted == [row["id"] for row in rig.simulator.trades(pair)["trades"]]
        fills = [row["id"] for row in rows_of(path, "fill")]
        assert fills == [fill["fill_id"] for fill in rig.simulator.account("main")["fills"]]


async def test_what_a_drop_keeps_back_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    async with running_lmex(journal=path) as rig, rig.wire("/ws/spot") as wire:
        await wire.ask("subscribe", "tradeHistoryApi:BTC-USD")
        rig.simulator.fault("drop", type="trades")
        trade(rig, "BTC-USD", "buy", "0.01")
        rig.simulator.pause()
    [row] = rows_of(path, "left_out")
    assert (row["type"], row["pair"], row["why"]) == ("trades", "BTC-USD", "drop")
    assert json.loads(row["data"])["topic"] == "tradeHistoryApi:BTC-USD"


async def test_log_ins_can_be_refused(tmp_path: Path) -> None:
    async with running_lmex() as rig:
        rig.simulator.fault("refuse_login")
        assert rig.simulator.active_faults() == ["refuse_login"]
        async with rig.wire("/ws/spot") as wire:
            assert await wire.login() == {"event": "login", "success": False}
            assert await wire.login() == OK
        assert rig.simulator.state()["faults_done"]["refuse_login"] == 1
