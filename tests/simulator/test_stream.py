"""Limitlex's WebSocket as a client sees it, over a real socket."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from bridge.simulator.limitlex.options import LimitlexConfig
from tests.simulator.helpers import NOW, Clock, Follower, running, true_levels

BTC = "ab651a43-1fc9-4163-a31b-74e5f537e82f"
EUR = "bfd04d06-b97c-4287-8bb0-c18f2eb19157"

SHAPES: dict[str, dict[str, Any]] = {
    "change_ohlc": {
        "t": str,
        "currencyId1": str,
        "currencyId2": str,
        "durationInDays": int,
        "priceLow": str,
        "priceHigh": str,
        "priceOpen": str,
        "priceClose": str,
        "priceChange": str,
        "priceChangeP": str,
        "volume": str,
    },
    "best_bid_ask": {"t": str, "currencyId1": str, "currencyId2": str, "bid": str, "ask": str},
    "whole_order_book": {"t": str, "currencyId1": str, "currencyId2": str, "bids": list, "asks": list},
    "order_book": {"t": str, "orderDirection": str, "amount": str, "price": str},
    "last_trade": {"t": str, "orderDirection": str, "amount": str, "price": str, "createdAt": int},
    "open_order": {
        "t": str,
        "orderId": str,
        "orderTradeType": str,
        "orderDirection": str,
        "amountInitial": str,
        "amountCompleted": str,
        "price": str,
        "createdAt": int,
        "completed": bool,
        "deleted": bool,
    },
    "trade": {"t": str, "orderDirection": str, "amount": str, "price": str, "createdAt": int},
    "wallets": {"t": str, "wallets": list},
}


def shape(message: dict[str, Any]) -> dict[str, Any]:
    return {name: type(value) for name, value in message.items() if name != "subaccountId"}


def kinds(messages: list[Any]) -> list[str]:
    return [message["t"] for message in messages]


async def test_first_messages_then_live_in_the_documented_shapes() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        hello = await feed.drain()
        assert kinds(hello) == ["whole_order_book", "best_bid_ask", "change_ohlc"]
        assert {(message["currencyId1"], message["currencyId2"]) for message in hello} == {(BTC, EUR)}

        await rig.simulator.step(500)
        live = await feed.drain()

        assert set(kinds(live)) == {"order_book", "last_trade", "best_bid_ask", "change_ohlc"}
        for message in hello + live:
            assert shape(message) == SHAPES[message["t"]]
        for level in hello[0]["bids"] + hello[0]["asks"]:
            assert list(level) == ["price", "amount", "total"]
            assert Decimal(level["price"]) * Decimal(level["amount"]) == Decimal(level["total"])
        trade = next(message for message in live if message["t"] == "last_trade")
        assert trade["createdAt"] == int(NOW)
        assert trade["orderDirection"] in ("Buy", "Sell")


@pytest.mark.parametrize("amounts", ["absolute", "change"])
async def test_book_from_messages_is_the_true_book(amounts: Any) -> None:
    change = amounts == "change"
    async with running(limitlex=LimitlexConfig(amounts=amounts)) as rig, rig.open("BTC-EUR") as feed:
        follower = Follower(change=change)
        for _ in range(5):
            await rig.simulator.step(200)
            messages = await feed.drain()
            follower.take(messages)
            truth = await rig.look("book", pair="BTC-EUR")
            assert follower.levels() == true_levels(truth)
            assert (follower.quote.bid, follower.quote.ask) == (truth["bids"][0][0], truth["asks"][0][0])
            negative = [m for m in messages if m["t"] == "order_book" and m["amount"].startswith("-")]
            assert bool(negative) == change
        kept = await rig.look("trades", pair="BTC-EUR", limit=str(len(follower.trades)))
        assert follower.trades == [(row["side"], row["price"], row["size"]) for row in kept["trades"]]
        assert len(follower.trades) > 20


async def test_each_socket_gets_its_own_pairs() -> None:
    async with running() as rig, rig.open("BTC-EUR") as btc, rig.open("ETH-EUR", "BTC-EUR", "ETH-EUR") as both:
        await rig.simulator.step(300)
        of_btc, of_both = await btc.drain(), await both.drain()
        assert kinds(of_both)[:6] == ["whole_order_book", "best_bid_ask", "change_ohlc"] * 2
        btc_live = [message for message in of_btc[3:] if message in of_both]
        assert btc_live == of_btc[3:]
        assert len(of_both) - 6 > len(of_btc) - 3 > 0


async def test_percent_is_truncated() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        await rig.simulator.step(400)
        days = [message for message in await feed.drain() if message["t"] == "change_ohlc"]
        for day in days:
            change = Decimal(day["priceClose"]) - Decimal(day["priceOpen"])
            assert Decimal(day["priceChange"]) == change
            exact = change * 100 / Decimal(day["priceOpen"])
            assert abs(Decimal(day["priceChangeP"])) <= abs(exact) < abs(Decimal(day["priceChangeP"])) + Decimal("0.01")


async def test_trades_can_be_replayed_at_connect() -> None:
    async with running(limitlex=LimitlexConfig(replay_trades=5)) as rig:
        await rig.simulator.step(100)
        last = (await rig.look("trades", pair="BTC-EUR", limit="5"))["trades"]
        async with rig.open("BTC-EUR") as feed:
            hello = await feed.drain()
        assert kinds(hello[3:]) == ["last_trade"] * 5
        assert [m["price"] for m in hello[3:]] == [row["price"] for row in last]


async def test_private_messages_agree_with_the_account() -> None:
    async with running(activity=0) as rig, rig.open(token=await rig.token()) as feed:
        ask = (await rig.look("book", pair="BTC-EUR"))["asks"][0]
        order = rig.simulator.place("main", "BTC-EUR", "buy", "1000", "0.50")
        rig.simulator.cancel("main", order.id)
        taker = rig.simulator.place("main", "BTC-EUR", "buy", "0.0001", ask[0])

        got = await feed.drain()

        placed, cancelled, filled = ["open_order"], ["open_order"], ["open_order", "trade", "open_order"]
        assert kinds(got) == [*placed, "wallets", *cancelled, "wallets", *filled, "wallets"]
        for message in got:
            assert shape(message) == SHAPES[message["t"]]
        assert got[0] == {
            "t": "open_order",
            "orderId": order.id,
            "orderTradeType": "Limit",
            "orderDirection": "Buy",
            "amountInitial": "1000.00000000",
            "amountCompleted": "0",
            "price": "0.50",
            "createdAt": int(NOW),
            "completed": False,
            "deleted": False,
        }
        assert (got[2]["orderId"], got[2]["deleted"]) == (order.id, True)
        assert (got[-2]["orderId"], got[-2]["completed"], got[-2]["amountCompleted"]) == (taker.id, True, "0.00010000")
        wallets = (await rig.look("account", account="main"))["wallets"]
        last = {row["currencyId"]: row for row in got[-1]["wallets"]}
        assert last.keys() == {BTC, EUR}
        assert Decimal(last[BTC]["amountAvailable"]) == Decimal(wallets["BTC"]["available"])
        assert Decimal(last[EUR]["amountAvailable"]) == Decimal(wallets["EUR"]["available"])


@pytest.mark.parametrize("subaccounts", [True, False])
async def test_subaccounts_only_when_asked_for(subaccounts: bool) -> None:
    async with running(activity=0) as rig, rig.open(token=await rig.token(), subaccounts=subaccounts) as feed:
        rig.simulator.place("main", "ETH-EUR", "buy", "1", "0.05")
        rig.simulator.place("main/savings", "ETH-EUR", "sell", "0.5")
        uuid = rig.simulator.account("main")["subaccounts"]["savings"]["uuid"]
        got = await feed.drain()
        of_sub = [message for message in got if "subaccountId" in message]
        assert {message.get("subaccountId") for message in got} == ({None, uuid} if subaccounts else {None})
        assert {"open_order", "trade", "wallets"} == set(kinds(of_sub)) if subaccounts else not of_sub
        if subaccounts:
            market_order = of_sub[0]
            assert (market_order["orderTradeType"], market_order["price"]) == ("Market", None)


async def test_private_messages_need_a_token_and_public_ones_a_pair() -> None:
    async with running(activity=0.5) as rig:
        token = await rig.token()
        async with rig.open("BTC-EUR") as public, rig.open("ETH-EUR", token=token) as private:
            await rig.simulator.step(300)
            assert not {"open_order", "trade", "wallets"} & set(kinds(await public.drain()))
            got = set(kinds(await private.drain()))
            assert got == {"open_order", "trade", "wallets"} | {
                "whole_order_book",
                "order_book",
                "last_trade",
                "best_bid_ask",
                "change_ohlc",
            }


async def test_wallets_at_connect_on_request() -> None:
    options = LimitlexConfig(hello_wallets=True)
    async with running(limitlex=options) as rig, rig.open(token=await rig.token(), subaccounts=True) as feed:
        got = await feed.drain()
    assert kinds(got) == ["wallets"] * 3
    assert [("subaccountId" in message) for message in got] == [False, True, True]
    assert {row["currencyId"] for row in got[0]["wallets"]} >= {BTC, EUR}


async def test_nothing_private_is_replayed_by_default() -> None:
    async with running() as rig, rig.open(token=await rig.token()) as feed:
        assert await feed.drain() == []


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 400), ("?p=nonsense", 400), (f"?p={BTC}", 400), (f"?p={BTC}:{EUR}&t=a.b.c", 401), ("?t=", 400)],
)
async def test_bad_handshakes_are_refused(query: str, status: int) -> None:
    async with running() as rig:
        error = await rig.refused(url=rig.urls.ws + query)
        assert error.response.status_code == status


async def test_expired_token_is_refused() -> None:
    async with running(limitlex=LimitlexConfig(token_lifetime=60)) as rig:
        token = await rig.token()
        rig.clock.now += 61
        error = await rig.refused(token=token)
        assert (error.response.status_code, error.response.body) == (401, b"Token expired")


async def test_forged_token_is_refused() -> None:
    async with running() as rig:
        head, claims, signature = (await rig.token()).split(".")
        error = await rig.refused(token=f"{head}.{claims[:-2]}AA.{signature}")
        assert error.response.status_code == 401


async def test_socket_goes_when_its_token_expires() -> None:
    clock = Clock()
    options = LimitlexConfig(token_lifetime=2, cut_expired=True)
    async with running(clock=clock, limitlex=options) as rig:
        token = await rig.token()
        clock.now += 1.95
        async with rig.open(token=token) as feed:
            closed = await feed.ended()
            assert closed.rcvd is not None
            assert closed.rcvd.code == 1008


async def test_a_client_that_reads_nothing_is_cut() -> None:
    async with running(max_buffer=100_000) as rig, rig.open("BTC-EUR") as slow:
        transport = slow.ws.transport
        transport.pause_reading()
        for _ in range(200_000):
            rig.simulator.market.step()
            rig.simulator.hub.flush()
            await asyncio.sleep(0)
            if rig.simulator.hub.overflows:
                break
            assert slow.socket.buffered <= 100_000
        assert rig.simulator.hub.overflows == 1
        transport.resume_reading()
        assert (await slow.ended()).rcvd is None


async def test_frames_of_every_length_are_whole() -> None:
    from bridge.simulator.sockets import message

    async with running() as rig, rig.open("BTC-EUR") as feed:
        await feed.drain()
        for size in (1, 125, 126, 65_535, 65_536, 200_000):
            feed.socket.push(message("test", "", json.dumps("x" * (size - 2)) if size > 2 else "1"))
            feed.socket.flush()
            assert len(json.dumps(await feed.recv())) == size
