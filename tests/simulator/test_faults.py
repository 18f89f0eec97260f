"""Each fault, asked for over REST and seen on a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK

from bridge.errors import ConfigError
from bridge.simulator.faults import FAULTS, Fault, fault_from_fields, fault_from_text
from tests.patience import PATIENCE
from tests.simulator.helpers import Follower, running, true_levels

HELLO = 3  # whole_order_book, best_bid_ask, change_ohlc


def books(messages: list[Any]) -> list[Any]:
    return [message for message in messages if message["t"] == "order_book"]


async def test_cut_aborts_the_connection() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        await rig.fault("cut")
        assert (await feed.ended()).rcvd is None
        async with rig.open("BTC-EUR") as again:
            assert len(await again.drain()) == HELLO


async def test_cut_of_one_pair_or_kind_leaves_the_others() -> None:
    async with running() as rig:
        token = await rig.token()
        async with rig.open("BTC-EUR") as btc, rig.open("ETH-EUR") as eth, rig.open(token=token) as private:
            await rig.fault("cut", pair="BTC-EUR")
            assert isinstance(await btc.ended(), ConnectionClosedError)
            await rig.fault("cut", sockets="private")
            assert isinstance(await private.ended(), ConnectionClosedError)
            await rig.simulator.step(100)
            assert len(await eth.drain()) > HELLO
            assert rig.simulator.hub.done["cut"] == 2


async def test_close_is_clean_and_says_its_code() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        await rig.fault("close", code=1012)
        closed = await feed.ended()
        assert closed.rcvd is not None
        assert closed.rcvd.code == 1012
        assert closed.sent is not None


async def test_freeze_stops_everything_and_ends() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        await feed.drain()
        await rig.fault("freeze", duration=60)
        pong = await feed.ws.ping()
        await rig.simulator.step(100)
        assert not pong.done()
        assert await feed.drain() == []
        await rig.fault("clear")
        await rig.fault("freeze", duration=0.05)
        async with asyncio.timeout(PATIENCE):
            await feed.socket.moving.wait()
            await (await feed.ws.ping())
            await rig.simulator.step(100)
            assert await feed.drain()
        assert rig.simulator.hub.done["freeze"] > 0


async def test_frozen_for_good_until_the_client_goes() -> None:
    async with running() as rig:
        async with rig.open("BTC-EUR") as feed:
            await rig.fault("freeze")
            await rig.simulator.step(50)
            pong = await feed.ws.ping()
            await rig.look("state")  # a whole round trip, in which a pong would have come
            assert not pong.done()
            feed.ws.transport.abort()
        async with asyncio.timeout(PATIENCE):
            while rig.simulator.hub.sockets:
                await rig.look("state")


async def test_a_frozen_socket_does_not_hold_up_the_end() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        await rig.fault("freeze")
        await feed.ws.send("leaving")
        closing = asyncio.ensure_future(feed.ws.close())
        await rig.look("state")
        await rig.fault("clear")
        async with asyncio.timeout(PATIENCE):
            await closing


async def test_mute_stops_data_but_not_pongs() -> None:
    async with running() as rig, rig.open("BTC-EUR", "ETH-EUR") as feed:
        await feed.drain()
        await rig.fault("mute", pair="BTC-EUR", type="order_book")
        await rig.simulator.step(300)
        muted = await feed.drain()
        await (await feed.ws.ping())
        assert books(muted)  # of ETH-EUR
        kept = rig.simulator.hub.done["mute"]
        assert kept > 50
        await rig.fault("clear")
        await rig.simulator.step(100)
        assert rig.simulator.hub.done["mute"] == kept


async def test_mute_ends_by_itself() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        await rig.fault("mute", duration=0.05)
        async with asyncio.timeout(PATIENCE):
            while feed.socket.faults:
                await rig.look("state")
        await feed.drain()
        await rig.simulator.step(100)
        assert await feed.drain()


async def test_drop_leaves_out_the_next_messages() -> None:
    async with running() as rig, rig.open("BTC-EUR") as whole, rig.open("BTC-EUR") as feed:
        rig.simulator.hub.sockets[-1].filter(Fault("drop", count=3, type="order_book"))
        await rig.simulator.step(200)
        sent, got = await whole.drain(), await feed.drain()
        assert books(got) == books(sent)[3:]
        assert [m for m in got if m["t"] != "order_book"] == [m for m in sent if m["t"] != "order_book"]
        assert rig.simulator.hub.done["drop"] == 3


async def test_drop_makes_the_book_wrong() -> None:
    async with running(("BTC-EUR",)) as rig, rig.open("BTC-EUR") as feed:
        await rig.fault("drop", count=40, type="order_book")
        await rig.simulator.step(60)
        follower = Follower().take(await feed.drain())
        assert follower.levels() != true_levels(await rig.look("book", pair="BTC-EUR"))


async def test_duplicate_sends_twice() -> None:
    async with running() as rig, rig.open("BTC-EUR") as whole, rig.open("BTC-EUR") as feed:
        rig.simulator.hub.sockets[-1].filter(Fault("duplicate", count=2, type="last_trade"))
        await rig.simulator.step(300)
        sent, got = await whole.drain(), await feed.drain()
        trades = [message for message in sent if message["t"] == "last_trade"]
        expected = [trades[0], trades[0], trades[1], trades[1], *trades[2:]]
        assert [message for message in got if message["t"] == "last_trade"] == expected


async def test_reorder_swaps_with_the_next() -> None:
    async with running() as rig, rig.open("BTC-EUR") as whole, rig.open("BTC-EUR") as feed:
        rig.simulator.hub.sockets[-1].filter(Fault("reorder", count=2))
        await rig.simulator.step(300)
        sent, got = (await whole.drain())[HELLO:], (await feed.drain())[HELLO:]
        assert got == [sent[1], sent[0], sent[3], sent[2], *sent[4:]]


async def test_pause_gives_out_what_reorder_holds() -> None:
    async with running() as rig, rig.open("BTC-EUR") as feed:
        await feed.drain()
        await rig.fault("reorder")
        while not feed.socket._filters[0].held:
            rig.simulator.market.step()
        await rig.tell("pause")
        await feed.drain()
        follower = Follower()
        assert feed.socket.faults == []
        async with rig.open("BTC-EUR") as fresh:
            follower.take(await fresh.drain())
        assert follower.levels() == true_levels(await rig.look("book", pair="BTC-EUR"))


@pytest.mark.parametrize("inject", [False, True])
async def test_corrupt_is_no_json(inject: bool) -> None:
    async with running() as rig, rig.open("BTC-EUR") as whole, rig.open("BTC-EUR") as feed:
        rig.simulator.hub.sockets[-1].filter(Fault("corrupt", inject=inject))
        await rig.simulator.step(100)
        sent, got = (await whole.drain())[HELLO:], (await feed.drain())[HELLO:]
        assert isinstance(got[0], str)
        with pytest.raises(json.JSONDecodeError):
            json.loads(got[0])
        assert got[1:] == sent[0 if inject else 1 :]


async def test_unknown_type_stands_before_the_message() -> None:
    async with running() as rig, rig.open("BTC-EUR") as whole, rig.open("BTC-EUR") as feed:
        rig.simulator.hub.sockets[-1].filter(Fault("unknown"))
        await rig.simulator.step(100)
        sent, got = (await whole.drain())[HELLO:], (await feed.drain())[HELLO:]
        assert got[0]["t"] == "maintenance_notice"
        assert got[1:] == sent


async def test_refuse_answers_handshakes_with_a_status() -> None:
    async with running() as rig, rig.open("BTC-EUR") as before:
        await rig.fault("refuse", status=429, retry_after=7)
        error = await rig.refused("BTC-EUR")
        assert (error.response.status_code, error.response.headers["Retry-After"]) == (429, "7")
        await rig.simulator.step(50)
        assert len(await before.drain()) > HELLO
        await rig.fault("clear")
        async with rig.open("BTC-EUR"):
            pass


async def test_refuse_is_over_after_its_duration() -> None:
    times = iter([100.0, 101.9, 102.1])
    from bridge.simulator.gate import Gate

    async with running() as rig:
        gate = Gate(lambda: next(times), rig.simulator.hub.done)
    gate.strike(Fault("refuse", duration=2))
    refusal = gate.handshake()
    assert refusal is not None
    assert refusal.status == 503
    assert gate.handshake() is None


async def test_rest_errors() -> None:
    async with running() as rig:
        await rig.fault("rest_errors", path="websocket_token")
        status, answer = await rig.private("websocket_token")
        assert (status, answer) == (500, {"error": {"message": "internal error"}})
        assert (await rig.public("pairs"))[0] == 200
        await rig.fault("rest_errors", status=429, retry_after=3)
        async with rig.http.get(f"{rig.urls.rest}/public/pairs") as response:
            assert (response.status, response.headers["Retry-After"]) == (429, "3")
            assert (await response.json())["error"]["message"] == "rate limit exceeded"
        assert (await rig.look("state"))["faults_active"] == ["rest_errors"]
        await rig.fault("clear")
        assert (await rig.public("pairs"))[0] == 200


@pytest.mark.parametrize("cut", [False, True])
async def test_expire_tokens(cut: bool) -> None:
    async with running() as rig:
        token = await rig.token()
        async with rig.open(token=token) as private, rig.open("BTC-EUR") as public:
            await rig.fault("expire_tokens", cut=cut)
            assert (await rig.refused(token=token)).response.status_code == 401
            if cut:
                assert isinstance(await private.ended(), ConnectionClosedError | ConnectionClosedOK)
            else:
                rig.simulator.place("main", "BTC-EUR", "buy", "1", "0.50")
                assert (await private.drain())[0]["t"] == "open_order"
            await (await public.ws.ping())
        async with rig.open(token=await rig.token()):
            pass


async def test_faults_repeat_from_the_start_on() -> None:
    async with running(faults=(fault_from_text("cut:every=0.05"),)) as rig:
        assert (await rig.look("state"))["faults_active"] == ["cut"]
        for _ in range(2):
            # A socket may be struck while it is being opened, too.
            with pytest.raises(ConnectionClosedError) as cut:
                async with rig.open("BTC-EUR") as feed:
                    raise await feed.ended()
            assert cut.value.rcvd is None
        await rig.fault("clear")
        assert (await rig.look("state"))["faults_active"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"fault": "dropp"}, "did you mean drop?"),
        ({}, "is not a fault"),
        ({"fault": "drop", "cuont": 2}, "did you mean count?"),
        ({"fault": "cut", "status": 500}, "cut has no setting 'status'"),
        ({"fault": "drop", "count": "many"}, "Expected `int`"),
        ({"fault": "drop", "count": 0}, "at least 1"),
        ({"fault": "cut", "every": -1}, "not negative"),
        ({"fault": "freeze", "duration": "nan"}, "not negative"),
        ({"fault": "refuse", "status": 200}, "400 to 599"),
        ({"fault": "close", "code": 1006}, "close code"),
        ({"fault": "cut", "sockets": "all"}, "public or private"),
        ({"fault": "cut", "pair": "XRP-EUR"}, "known: BTC-EUR, ETH-EUR"),
    ],
)
async def test_mistakes_in_faults_are_explained(body: dict[str, Any], said: str) -> None:
    async with running() as rig:
        status, answer = await rig.tell("faults", **body)
        assert status == 400
        assert said in answer["error"]


def test_fault_from_text() -> None:
    assert fault_from_text("drop:every=30,type=order_book,count=2") == Fault(
        "drop", every=30.0, type="order_book", count=2
    )
    assert fault_from_text("expire_tokens:cut") == Fault("expire_tokens", cut=True)
    with pytest.raises(ConfigError, match="2 mistakes"):
        fault_from_text("cut:x=1,y=2")


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_described(name: str) -> None:
    from bridge.simulator import faults

    assert f"``{name}``" in str(faults.__doc__)
    assert fault_from_fields({"fault": name}) == Fault(name)


async def test_any_faults_leave_the_simulator_well() -> None:
    """After all of them together a new client is served a true book."""
    async with running() as rig:
        async with rig.open("BTC-EUR") as feed:
            for name in ("duplicate", "reorder", "drop", "corrupt", "unknown", "mute", "freeze"):
                await rig.fault(name)
            await rig.simulator.step(200)
            await rig.fault("cut")
            await feed.ended()
        await rig.fault("clear")
        async with rig.open("BTC-EUR") as feed:
            await rig.simulator.step(200)
            follower = Follower().take(await feed.drain())
        assert follower.levels() == true_levels(await rig.look("book", pair="BTC-EUR"))
        with pytest.raises(aiohttp.ClientResponseError):
            async with rig.http.get(rig.urls.control + "/nothing", raise_for_status=True):
                pass
