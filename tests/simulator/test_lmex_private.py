"""LMEX's private topics: orders, fills, positions."""

from __future__ import annotations

import itertools
from decimal import Decimal
from typing import Any

import pytest

from bridge.errors import ConfigError
from bridge.simulator import Simulator, SimulatorConfig
from bridge.simulator.lmex.markets import market_config
from bridge.simulator.lmex.options import LmexConfig
from tests.simulator.lmex_helpers import FUTURES, MS, OK, SPOT, LmexRig, running_lmex, shape, shape_of, trade

FUTURES_ORDER = """{"topic":"notificationApiV4","data":[{"symbol":"BTC-PERP","orderID":"c9a173ab-0fc8-4bdc-b940-1c7d7fe9fb89","side":"BUY","orderType":76,"type":0,"price":32000,"triggerPrice":0,"pegPriceDeviation":1,"stealth":1,"status":2,"timestamp":1765718100570,"avgFilledPrice":0,"clOrderID":"abc","postOnly":false,"maker":true,"positionId":"BTC-PERP-USDT","orderDetailType":null,"orderUserInitiated":true,"originalOrderSize":1,"currentOrderSize":1,"filledSize":0,"totalFilledSize":0,"remainingSize":1,"time_in_force":"GTC"}]}"""
SPOT_ORDER = """{"topic":"notificationApiV3","data":{"symbol":"BTC-USD","orderID":"<uuid>","side":"BUY","orderType":76,"txType":0,"price":35000,"triggerPrice":0,"pegPriceDeviation":1,"stealth":1,"status":2,"timestamp":1624985375123,"avgFilledPrice":0,"clOrderID":"abc","maker":false,"time_in_force":"GTC","originalOrderBaseSize":10,"originalOrderQuoteSize":null,"currentOrderBaseSize":10,"currentOrderQuoteSize":null,"filledBaseSize":0,"totalFilledBaseSize":0,"remainingBaseSize":10,"remainingQuoteSize":null,"orderCurrency":"base"}}"""
FILL = """{"topic":"fillsV2","data":[{"orderId":"aa0eb277-2d36-4fd0-8fa0-bc78b139ccdc","serialId":937242896,"clOrderId":"abc","type":"76","symbol":"BTC-PERP","side":"BUY","price":"89315.3","size":"1.0","feeAmount":"0.00049123","feeCurrency":"USDT","base":"BTC-PERP","quote":"USDT","maker":false,"contractSize":0.00001,"timestamp":1765767211936,"tradeId":"128c163c-1267-422a-9082-029472e16a36"}]}"""
POSITION = """{"topic":"positionsV3","data":[{"marketName":"BTC-PERP-USDT","orderType":90,"orderMode":66,"status":65,"originalAmount":0.00001,"marginType":91,"entryPrice":89315.3,"liquidationPrice":0,"markedPrice":89315.3,"unrealizedProfitLoss":0,"totalMaintenanceMargin":0.004956999,"totalContracts":1,"isolatedLeverage":25,"totalValue":0.893153,"adlScoreBucket":1,"orderModeName":"MODE_BUY","marginTypeName":"FUTURES_MARGIN_CROSS","currentLeverage":0.0000893153,"contractSize":0.00001,"takeProfitOrder":null,"stopLossOrder":null,"positionId":"BTC-PERP-USDT","activeWalletName":"CROSS@","positionMode":"ONE_WAY","positionDirection":"LONG","settleWithNonUSDAsset":"USDT"}]}"""


# Topics


async def test_unknown_versions_are_left_out_of_the_ack() -> None:
    options = LmexConfig(private_topics=("notificationApiV3", "fillsV2", "positionsV2"))
    async with running_lmex(lmex=options) as rig, rig.wire(FUTURES) as wire:
        assert await wire.login() == OK
        (ack,) = await wire.ask("subscribe", "notificationApiV4", "notificationApiV3", "positionsV3", "userInfo")
        assert ack["channel"] == ["notificationApiV3"]


@pytest.mark.parametrize(
    ("path", "known"),
    [
        (SPOT, ["notificationApiV3", "notificationApiV2", "fills"]),
        (
            FUTURES,
            [
                *("notificationApiV4", "notificationApiV3", "notificationApiV2", "fillsV2", "fills"),
                *("positionsV3", "positionsV2", "positions"),
                *("allPositionV4", "allPositionV3", "allPositionV2", "allPosition"),
            ],
        ),
    ],
)
async def test_known_topics(path: str, known: list[str]) -> None:
    asked = [*known, "notificationApi", "wallet", "fillsV3", "positionsV4", "open-order:BTC-PERP-USD"]
    async with running_lmex() as rig, rig.wire(path) as wire:
        assert await wire.login() == OK
        (ack,) = await wire.ask("subscribe", *asked)
        assert sorted(ack["channel"]) == sorted(known)


def test_words_without_a_meaning_are_refused() -> None:
    config = LmexConfig(login_ops=("auth",), private_topics=("fils",), trade_topics=("trades",))
    with pytest.raises(ConfigError, match="3 mistakes"):
        Simulator(SimulatorConfig("lmex", options=config))


# Orders, fills, positions


def limit(rig: LmexRig, pair: str, side: str, size: str, price: str) -> Any:
    return rig.simulator.place("main", pair, side, size, price, client_id="abc")


async def test_futures_order_placed_and_cancelled() -> None:
    async with running_lmex() as rig, rig.logged_in(FUTURES, "notificationApiV4") as wire:
        order = limit(rig, "BTC-PERP", "buy", "3", "32000")
        rig.simulator.cancel("main", order.id)
        placed, cancelled = await wire.drain()
        assert shape(placed) == shape(cancelled) == shape_of(FUTURES_ORDER)
        row = placed["data"][0]
        assert row == {
            "symbol": "BTC-PERP",
            "orderID": order.id,
            "side": "BUY",
            "orderType": 76,
            "type": 0,
            "price": 32000,
            "triggerPrice": 0,
            "pegPriceDeviation": 1,
            "stealth": 1,
            "status": 2,
            "timestamp": MS,
            "avgFilledPrice": 0,
            "clOrderID": "abc",
            "postOnly": False,
            "maker": True,
            "positionId": "BTC-PERP-USDT",
            "orderDetailType": None,
            "orderUserInitiated": True,
            "originalOrderSize": 3,
            "currentOrderSize": 3,
            "filledSize": 0,
            "totalFilledSize": 0,
            "remainingSize": 3,
            "time_in_force": "GTC",
        }
        assert (cancelled["data"][0]["status"], cancelled["data"][0]["remainingSize"]) == (6, 3)


async def test_futures_order_filled_in_parts() -> None:
    async with running_lmex(("BTC-PERP",)) as rig, rig.logged_in(FUTURES, "notificationApiV4") as wire:
        asks = (await rig.look("book", pair="BTC-PERP"))["asks"][:2]
        size = Decimal(asks[0][1]) + Decimal(asks[1][1])
        order = limit(rig, "BTC-PERP", "buy", str(size), str(Decimal(asks[1][0]) + 10))
        rows = [message["data"][0] for message in await wire.drain()]
        assert [row["status"] for row in rows] == [2, *[5] * (len(rows) - 2), 4]
        assert {row["orderID"] for row in rows} == {order.id}
        assert sum(row["filledSize"] for row in rows) == rows[-1]["totalFilledSize"] == size
        assert list(itertools.accumulate(row["filledSize"] for row in rows)) == [row["totalFilledSize"] for row in rows]
        assert [row["remainingSize"] for row in rows] == [size - row["totalFilledSize"] for row in rows]
        assert rows[0]["price"] == Decimal(asks[1][0]) + 10
        assert rows[-1]["price"] == Decimal(asks[1][0]), "a filled order's price is the last trade's"
        cost = sum(Decimal(price) * Decimal(lots) for price, lots in asks)
        assert abs(rows[-1]["avgFilledPrice"] - cost / size) <= Decimal("1e-8")
        assert not any(row["maker"] for row in rows[1:])


async def test_market_order_of_futures() -> None:
    async with running_lmex() as rig, rig.logged_in(FUTURES, "notificationApiV4") as wire:
        trade(rig, "BTC-PERP", "sell", "1")
        placed, filled = [message["data"][0] for message in await wire.drain()]
        assert (placed["orderType"], placed["price"], placed["clOrderID"]) == (77, 0, None)
        bids = filled["price"]
        assert (filled["orderType"], filled["status"], filled["avgFilledPrice"]) == (77, 4, bids)


@pytest.mark.parametrize(("topic", "symbol"), [("notificationApiV3", "BTC-PERP"), ("notificationApiV2", "BTCPFC")])
async def test_older_order_topics_of_futures(topic: str, symbol: str) -> None:
    async with running_lmex() as rig, rig.logged_in(FUTURES, topic) as wire:
        limit(rig, "BTC-PERP", "sell", "2", "99000")
        (message,) = await wire.drain()
        assert (message["topic"], message["data"][0]["symbol"]) == (topic, symbol)
        assert shape(message["data"]) == shape_of(FUTURES_ORDER)[1][1]


async def test_spot_order_is_an_object() -> None:
    async with running_lmex() as rig, rig.logged_in(SPOT, "notificationApiV3") as wire:
        order = limit(rig, "BTC-USD", "buy", "0.1", "35000")
        rig.simulator.cancel("main", order.id)
        placed, cancelled = await wire.drain()
        assert shape(placed) == shape(cancelled) == shape_of(SPOT_ORDER)
        expected = {
            "orderID": order.id,
            "status": 2,
            "originalOrderBaseSize": Decimal("0.1"),
            "remainingBaseSize": Decimal("0.1"),
        }
        assert expected.items() <= placed["data"].items()
        assert cancelled["data"]["status"] == 6


async def test_older_order_topic_of_spot() -> None:
    async with running_lmex(("BTC-USD",)) as rig, rig.logged_in(SPOT, "notificationApiV2") as wire:
        ask = (await rig.look("book", pair="BTC-USD"))["asks"][0]
        limit(rig, "BTC-USD", "buy", "0.0002", ask[0])
        placed, filled = [message["data"] for message in await wire.drain()]
        assert list(placed) == list(filled)
        assert {"type": 76, "size": Decimal("0.0002"), "fillSize": 0, "avgFillPrice": 0}.items() <= placed.items()
        assert {"status": 4, "fillSize": Decimal("0.0002"), "remainingSize": 0}.items() <= filled.items()
        assert filled["avgFillPrice"] == Decimal(ask[0])


@pytest.mark.parametrize(("form", "kind"), [("list", list), ("object", dict)])
@pytest.mark.parametrize(("path", "pair"), [(SPOT, "BTC-USD"), (FUTURES, "BTC-PERP")])
async def test_form_of_data_on_request(form: Any, kind: type, path: str, pair: str) -> None:
    topics = ("notificationApiV3", "fills")
    async with running_lmex(lmex=LmexConfig(private_data=form)) as rig, rig.logged_in(path, *topics) as wire:
        trade(rig, pair, "buy", "1" if pair == "BTC-PERP" else "0.0001")
        messages = await wire.drain()
        assert {message["topic"] for message in messages} == set(topics)
        assert {type(message["data"]) for message in messages} == {kind}


@pytest.mark.parametrize("topic", ["fillsV2", "fills"])
async def test_futures_fill(topic: str) -> None:
    async with running_lmex() as rig, rig.logged_in(FUTURES, topic) as wire:
        ask = (await rig.look("book", pair="BTC-PERP"))["asks"][0]
        order = limit(rig, "BTC-PERP", "buy", "1", ask[0])
        (message,) = await wire.drain()
        assert shape(message)[1] == shape_of(FILL)[1]
        row = message["data"][0]
        (true,) = (await rig.look("account", account="main"))["fills"]
        expected = {
            "orderId": order.id,
            "serialId": true["serial"],
            "tradeId": true["fill_id"],
            "clOrderId": "abc",
            "type": "76",
            "symbol": "BTC-PERP" if topic == "fillsV2" else "BTCPFC",
            "side": "BUY",
            "price": ask[0].rstrip("0").rstrip("."),
            "size": "1.0",
            "feeAmount": true["fee"],
            "feeCurrency": "USDT",
            "maker": False,
            "contractSize": Decimal("0.00001"),
            "timestamp": MS,
        }
        assert expected.items() <= row.items()
        assert Decimal(row["feeAmount"]) == round(Decimal(ask[0]) * Decimal("0.00001") * Decimal("0.0005"), 8) > 0


async def test_spot_fill_has_no_contract() -> None:
    async with running_lmex() as rig, rig.logged_in(SPOT, "fills") as wire:
        trade(rig, "ETH-USD", "sell", "0.5")
        rows = [row for message in await wire.drain() for row in message["data"]]
        names = [name for name, _ in shape_of(FILL)[1][1][0]]
        names.remove("contractSize")
        assert [list(row) for row in rows] == [names] * len(rows)
        assert {(row["base"], row["quote"], row["feeCurrency"], row["type"]) for row in rows} == {
            ("ETH", "USD", "USD", "77")
        }
        true = (await rig.look("account", account="main"))["fills"]
        assert [row["tradeId"] for row in rows] == [fill["fill_id"] for fill in true]
        assert sum(Decimal(row["size"]) for row in rows) == Decimal("0.5")


@pytest.mark.parametrize(
    ("topic", "name"),
    [("positionsV3", "BTC-PERP-USDT"), ("positionsV2", "BTC-PERP-USDT"), ("positions", "BTCPFC-USDT")],
)
async def test_positions_on_change_and_the_zero_row(topic: str, name: str) -> None:
    async with running_lmex() as rig, rig.logged_in(FUTURES, topic) as wire:
        trade(rig, "BTC-PERP", "buy", "5")
        (opened,) = await wire.drain()
        assert shape(opened) == shape_of(POSITION) if topic == "positionsV3" else opened["topic"] == topic
        row = opened["data"][0]
        (true,) = (await rig.look("account", account="main"))["positions"]
        assert (row["marketName"], row["positionDirection"], row["orderMode"]) == (name, "LONG", 66)
        assert (row["totalContracts"], row["originalAmount"]) == (5, Decimal("0.00005"))
        assert (row["entryPrice"], row["markedPrice"], row["unrealizedProfitLoss"]) == tuple(
            Decimal(true[field]) for field in ("entry_price", "mark_price", "unrealised_pnl")
        )
        assert row["totalValue"] == row["markedPrice"] * row["originalAmount"]

        trade(rig, "BTC-PERP", "sell", "8")
        turned = (await wire.drain())[-1]["data"][0]
        assert (turned["positionDirection"], turned["orderMode"], turned["totalContracts"]) == ("SHORT", 83, 3)

        trade(rig, "BTC-PERP", "buy", "3")
        closed = (await wire.drain())[-1]["data"][0]
        assert list(closed) == list(row)
        assert {
            key: closed[key] for key in ("marketName", "totalContracts", "orderType", "orderMode", "contractSize")
        } == {
            "marketName": name,
            "totalContracts": 0,
            "orderType": 0,
            "orderMode": 0,
            "contractSize": 0,
        }
        assert closed["positionDirection"] is None
        assert (await rig.look("account", account="main"))["positions"] == []


@pytest.mark.parametrize("topic", ["allPositionV4", "allPositionV3", "allPositionV2", "allPosition"])
async def test_list_of_positions_every_five_seconds(topic: str) -> None:
    async with running_lmex() as rig, rig.logged_in(FUTURES, topic) as wire:
        trade(rig, "BTC-PERP", "buy", "5")
        trade(rig, "ETH-PERP", "sell", "7")
        assert await wire.drain() == []
        rig.passes(5)
        (message,) = await wire.drain()
        old = topic == "allPosition"
        assert [(row["marketName"], row["totalContracts"]) for row in message["data"]] == [
            ("BTCPFC-USDT" if old else "BTC-PERP-USDT", 5),
            ("ETHPFC-USDT" if old else "ETH-PERP-USDT", 7),
        ]
        trade(rig, "BTC-PERP", "sell", "5")
        rig.passes(4)
        assert await wire.drain() == []
        rig.passes(1)
        (message,) = await wire.drain()
        assert [row["totalContracts"] for row in message["data"]] == [7], "a closed position is just not in the list"


async def test_two_accounts_hear_only_of_themselves() -> None:
    from bridge.simulator import AccountSpec

    accounts = {"accounts": (AccountSpec("main"), AccountSpec("other"))}
    async with running_lmex(market=accounts) as rig, rig.logged_in(FUTURES, "fillsV2", "positionsV3") as wire:
        rig.simulator.place("other", "BTC-PERP", "buy", "5")
        assert await wire.drain() == []
        assert [position["size"] for position in rig.simulator.account("other")["positions"]] == ["5"]


def test_there_are_no_subaccounts() -> None:
    from bridge.simulator import AccountSpec

    with pytest.raises(ConfigError, match="no sub-accounts"):
        market_config(accounts=(AccountSpec("main", ("savings",)),))


async def test_messages_of_a_busy_account_make_its_true_state() -> None:
    """The private topics alone give the open orders, the positions and all fills."""
    topics = ("notificationApiV4", "fillsV2", "positionsV3")
    async with running_lmex(activity=0.4) as rig, rig.logged_in(FUTURES, *topics) as wire:
        before = rig.simulator.account("main")["fill_count"]
        orders: dict[str, Any] = {}
        positions: dict[str, Any] = {}
        fills: list[Any] = []
        for _ in range(6):
            await rig.simulator.step(250)
            for message in await wire.drain():
                for row in message["data"]:
                    if message["topic"] == "fillsV2":
                        fills.append(row)
                    elif message["topic"] == "positionsV3":
                        positions[row["marketName"].rpartition("-")[0]] = row
                    else:
                        orders[row["orderID"]] = row
        true = rig.simulator.account("main")
        open_orders = [order for order in true["open_orders"] if order["pair"].endswith("PERP")]
        assert {order["order_id"] for order in open_orders} == {
            i for i, row in orders.items() if row["status"] in (2, 5)
        }
        of_futures = [fill for fill in true["fills"] if fill["pair"].endswith("PERP")]
        assert [row["tradeId"] for row in fills] == [fill["fill_id"] for fill in of_futures]
        assert (len(fills) > 10, before) == (True, 0)
        held = {
            pair: (row["positionDirection"].lower(), row["totalContracts"], row["entryPrice"])
            for pair, row in positions.items()
            if row["totalContracts"]
        }
        assert held == {
            row["pair"]: (row["side"], Decimal(row["size"]), Decimal(row["entry_price"])) for row in true["positions"]
        }
