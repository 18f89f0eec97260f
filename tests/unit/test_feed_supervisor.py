"""Links over real WebSockets, with both client libraries."""

from __future__ import annotations

import asyncio
import time

import pytest

from bridge.feed import supervisor as module
from bridge.feed.policies import backoff
from bridge.feed.transport import has_picows
from bridge.model import Channel, Control
from tests.patience import PATIENCE
from tests.unit.feeding import BOOK, QUOTES, TRADES, Venue, feed
from tests.unit.publishing import until


@pytest.fixture(params=["websockets", "picows"])
def library(request):
    if request.param == "picows" and not has_picows():
        pytest.skip("picows is not installed")
    return request.param


@pytest.fixture
def quick(monkeypatch):
    """Back-off in hundredths of seconds."""
    monkeypatch.setattr(module, "backoff", lambda random: backoff(random, 0.02, 0.1))
    monkeypatch.setattr(module, "_BRIEF", 60.0)


async def test_connects_speaks_and_listens(library):
    async with Venue() as venue, feed(venue, library) as f:
        await until(lambda: venue.received == ["hello"])
        venue.say(k="trade", id="1", size="0.10")
        await until(f.data)
        [trade] = f.data()
        assert (trade.id, trade.size) == ("1", "0.10")
        assert f.supervisor.up
        assert f.said() == ["live", "trade"]
        assert 0 <= f.supervisor.frame_age < PATIENCE
        assert f.supervisor.frames == 1


@pytest.mark.usefixtures("quick")
async def test_a_connection_that_stood_long_is_made_anew_at_once(library, monkeypatch):
    """Whatever it brought, nothing at all even: an account's, say, that nobody trades with."""
    monkeypatch.setattr(module, "_BRIEF", 0.0)
    monkeypatch.setattr(module, "_PROVEN", 0.0)
    async with Venue() as venue, feed(venue, library) as f:
        for number in range(4):
            await until(lambda: venue.peers and f.supervisor.up)
            venue.cut()
            await until(lambda n=number: f.supervisor.reconnects == n + 1)
        assert [entry["retry_in"] for entry in f.logged("connection_lost")] == [0.0] * 4
        assert f.supervisor.reconnects == 4


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("says", [False, True], ids=["nothing", "a trade"])
async def test_a_server_that_hangs_up_is_not_stormed(library, says):
    """What comes within the first moments proves nothing, not even data."""
    async with Venue() as venue, feed(venue, library) as f:
        for number in range(6):
            await until(lambda n=number: venue.opened == n + 1 and venue.peers and f.supervisor.up)
            if says:
                venue.say(k="trade", id=str(number))
                await until(lambda n=number: len(f.data()) == n + 1)
            venue.cut()
            await until(lambda n=number: len(f.logged("connection_lost")) == n + 1)
        waits = [entry["retry_in"] for entry in f.logged("connection_lost")]
        assert waits[0] == 0.0
        assert all(low <= wait <= high for wait, low, high in zip(waits[1:], LOWS, HIGHS, strict=True))


async def test_the_wait_is_no_longer_than_the_connection_has_stood(library, monkeypatch):
    """A line that breaks every few seconds costs no minute each time, and no storm either."""
    monkeypatch.setattr(module, "backoff", lambda random: backoff(random, 40.0, 60.0))
    monkeypatch.setattr(module, "_BRIEF", 0.05)
    async with Venue() as venue, feed(venue, library) as f:
        for number in range(3):
            await until(lambda: venue.peers and f.supervisor.up)
            await until(lambda: f.supervisor._active.stood > 0.1)
            venue.cut()
            await until(lambda n=number: len(f.logged("connection_lost")) == n + 1)
        waits = [entry["retry_in"] for entry in f.logged("connection_lost")]
        assert waits[0] == 0.0
        assert all(0.05 < wait < 5 for wait in waits[1:])


@pytest.mark.parametrize("moment", ["silent", "told to"])
async def test_no_goodbye_is_said_to_who_does_not_listen(library, moment):
    """The next attempt would wait for its answer, and so would a replacement's first events."""
    async with Venue() as venue, feed(venue, library, ping=0.2, dead=0.8) as f:
        await until(lambda: venue.peers and f.supervisor.up)
        [peer] = venue.peers
        if moment == "told to":
            venue.say(k="reconnect")
        peer.data_received = lambda data: None
        await until(lambda: f.logged("connection_lost"))
        lost = time.monotonic()
        await until(lambda: venue.opened == 2)
        assert time.monotonic() - lost < 1


LOWS = [0.01, 0.02, 0.04, 0.05, 0.05]
HIGHS = [0.02, 0.04, 0.08, 0.1, 0.1]


async def test_a_closing_word_is_the_reason(library):
    async with Venue() as venue, feed(venue, library) as f:
        await until(lambda: venue.peers)
        [peer] = venue.peers
        await peer.close(1008, "policy")
        await until(lambda: f.said()[-1:] == ["down"])
        reason = next(e.reason for e in f.desk.sinks[TRADES].events if isinstance(e, Control))
        assert "1008" in reason
        assert "policy" in reason


@pytest.mark.parametrize(("code", "least"), [(4001, 7.0), (4002, 0.0)])
async def test_a_close_code_may_ask_for_a_wait(library, code, least):
    def close_wait(asked):
        return 7.0 if asked == 4001 else None

    async with Venue() as venue, feed(venue, library, close_wait=staticmethod(close_wait)) as f:
        await until(lambda: venue.peers and f.supervisor.up)
        [peer] = venue.peers
        await peer.close(code, "go")
        await until(lambda: f.logged("connection_lost"))
        assert [(entry["kind"], entry["retry_in"]) for entry in f.logged("connection_lost")] == [("closed", least)]


@pytest.mark.parametrize(("status", "headers", "least"), [(429, {"Retry-After": "1"}, 1.0), (503, {}, 0.0)])
async def test_refusals_are_waited_out(library, status, headers, least):
    async with Venue() as venue:
        venue.refusals = [(status, headers)]
        async with feed(venue, library) as f:
            await until(lambda: venue.peers)
            [entry] = f.logged("connect_failed")
            assert entry["retry_in"] == least
            assert f"HTTP {status}" in entry["reason"]
            assert "not now" in entry["reason"]
            assert not f.logged("connection_lost"), "there was none to lose"
            await until(lambda: f.logged("connected"))
            assert f.logged("connected")[0]["again"] is False


async def test_nobody_there(library, quick):
    venue = Venue()
    venue.port = 1
    async with feed(venue, library) as f:
        await until(lambda: len(f.logged("connect_failed")) >= 3)
        assert "no answer" in f.logged("connect_failed")[0]["reason"]
        assert f.said() == ["down"], "said once"


async def test_a_dead_peer_is_left(library):
    """It answers no ping, and sends nothing."""
    async with Venue() as venue, feed(venue, library, ping=10.0, dead=1.2) as f:
        await until(lambda: venue.peers)
        [peer] = venue.peers
        await asyncio.sleep(1.5)
        assert f.supervisor.reconnects == 0, "pongs are a sign of life, and asked for in time"
        peer.data_received = lambda data: None
        await until(lambda: venue.opened == 2)
        assert "no frame for 1.2 s" in f.logged("connection_lost")[0]["reason"]


async def test_a_silent_subscription_is_stale_and_replaced(library):
    async with Venue() as venue, feed(venue, library, silence={"trades": 0.4}) as f:
        await until(lambda: venue.peers)
        venue.say(k="trade", id="1")
        await until(lambda: f.said()[-1:] == ["stale"])
        await until(lambda: f.supervisor.replacements == 1)
        venue.say(k="trade", id="2")
        await until(lambda: len(f.data()) == 2)
        assert f.said()[:5] == ["live", "trade", "stale", "live", "trade"]
        assert f.supervisor.reconnects == 0


async def test_a_frozen_book_beside_moving_trades_is_stale(library):
    async with Venue() as venue:
        venue.greeting = [{"k": "book", "bids": [["1", "1"]]}]
        async with feed(venue, library, subscribed=(TRADES, BOOK), frozen_book=0.5) as f:
            number = 0
            while not f.supervisor.replacements:
                number += 1
                venue.say(k="trade", id=str(number))
                await asyncio.sleep(0.01)
            assert f.said(BOOK)[:3] == ["live", "snapshot", "stale"]
            await until(lambda: f.said(BOOK)[3:5] == ["live", "snapshot"])
            assert len(f.data()) == len({trade.id for trade in f.data()})


async def test_reconnect_on_the_sessions_word(library):
    async with Venue() as venue, feed(venue, library) as f:
        await until(lambda: venue.peers)
        venue.say(k="reconnect")
        await until(lambda: venue.opened == 2)
        assert f.logged("connection_lost")[0]["reason"] == "told to"


async def test_odd_frames_and_bugs_stop_nothing(library):
    async with Venue() as venue, feed(venue, library) as f:
        await until(lambda: venue.peers)
        venue.say(k="trade", id="1")
        [peer] = venue.peers
        await peer.send("no json")
        await peer.send(b"\xff\xfe")
        venue.say(k="bug")
        venue.say(k="trade", id="2")
        await until(lambda: len(f.data()) == 2)
        assert f.said() == ["live", "trade", "gap", "trade"]  # one says it: nothing stood between
        assert f.desk.rejects[:2] == [b"no json", b"\xff\xfe"]
        assert len(f.desk.rejects) == 3
        assert f.logged("session_failed")
        assert f.supervisor.reconnects == 0


async def test_a_failing_receiver_ends_the_connection_and_not_the_feed(library):
    """Nothing may die in silence: a connection without a reader would be up for ever."""
    async with Venue() as venue, feed(venue, library) as f:
        await until(lambda: venue.peers)
        venue.say(k="trade", id="1")
        await until(f.data)
        original = f.desk.topics[TRADES].accept

        def failing(event):
            if event.id == "2":
                raise ZeroDivisionError("a bug")
            original(event)

        f.desk.topics[TRADES].accept = failing
        for ident in "2345":
            venue.say(k="trade", id=ident)  # in one go: nothing may follow the failed one as if it stood there
        await until(lambda: venue.opened == 2)
        await until(lambda: len(venue.peers) == 1)
        venue.say(k="trade", id="6")
        await until(lambda: len(f.data()) == 2)
        assert [trade.id for trade in f.data()] == ["1", "6"]
        assert f.said() == ["live", "trade", "down", "live", "trade"]


@pytest.mark.parametrize("fragments", [1, 2, 5])
async def test_large_and_fragmented_messages(library, fragments):
    async with Venue() as venue, feed(venue, library, subscribed=(BOOK,)) as f:
        await until(lambda: venue.peers)
        [peer] = venue.peers
        levels = ",".join(f'["{number}","0.12345678"]' for number in range(100_000))
        text = f'{{"k":"book","bids":[{levels}]}}'
        size = len(text) // fragments + 1
        parts = [text[start : start + size] for start in range(0, len(text), size)]
        await peer.send(parts[0] if fragments == 1 else parts)
        await until(lambda: f.data(BOOK))
        assert len(f.data(BOOK)[0].bids) == 100_000


class TestReplacement:
    async def test_no_trade_is_missing_or_stands_twice(self, library):
        """While both sockets run, every trade comes twice; none has an id."""
        async with Venue() as venue, feed(venue, library, rotate=0.3) as f:
            await until(lambda: venue.peers)
            number = 0
            while f.supervisor.replacements < 2 or number < 200:
                number += 1
                venue.say(k="trade", ts=int(time.time()) * 10**9, size=str(number))
                await asyncio.sleep(0.002)
            await until(lambda: f.data()[-1].size == str(number))
            assert [trade.size for trade in f.data()] == [str(n) for n in range(1, number + 1)]
            assert f.said().count("live") == 1
            assert f.supervisor.reconnects == 0

    async def test_like_trades_are_as_many_as_there_were(self):
        async with Venue() as venue, feed(venue, "websockets", rotate=0.4) as f:
            await until(lambda: venue.peers)
            number = 0
            while f.supervisor.replacements < 5 or number < 40:
                number += 1
                # At first they differ, over three connections: that shows that no history is replayed.
                told = number if f.supervisor.replacements < 3 else 0
                venue.say(k="trade", ts=1_700_000_000 * 10**9, size=str(told))
                await asyncio.sleep(0.03)
            await until(lambda: len(f.data()) >= number)
            assert len(f.data()) == number

    async def test_states_are_not_repeated(self):
        async with Venue() as venue, feed(venue, "websockets", rotate=0.3, subscribed=(QUOTES,)) as f:
            await until(lambda: venue.peers)
            number = 0
            while f.supervisor.replacements < 2 or number < 200:
                number += 1
                venue.say(k="quote", bid=str(number % 7))
                venue.greeting = [{"k": "quote", "bid": str(number % 7)}]
                await asyncio.sleep(0.003)
            await until(lambda: len(f.data(QUOTES)) >= number)
            assert [quote.bid for quote in f.data(QUOTES)] == [str(n % 7) for n in range(1, number + 1)]

    async def test_a_book_is_never_without_its_snapshot(self, library):
        async with Venue() as venue:
            venue.greeting = [{"k": "delta", "bids": [["0", "7"]]}, {"k": "book", "bids": [["1", "0"]]}]
            async with feed(venue, library, rotate=0.3, subscribed=(TRADES, BOOK)) as f:
                await until(lambda: venue.peers)
                number = 0
                while f.supervisor.replacements < 2:
                    number += 1
                    venue.greeting[1]["bids"] = [["1", str(number)]]
                    venue.say(k="delta", bids=[["1", str(number)]])
                    await asyncio.sleep(0.003)
                await until(lambda: f.data(BOOK)[-1].bids == [["1", str(number)]])
                said = f.said(BOOK)
                assert said[:3] == ["live", "lost", "snapshot"]
                assert set(said[3:]) == {"snapshot", "delta"}
                assert not any(level[0] == "0" for event in f.data(BOOK) for level in event.bids)

    async def test_one_that_fails_leaves_the_old_one_alone(self, library):
        async with Venue() as venue, feed(venue, library) as f:
            await until(lambda: venue.peers)
            venue.refusals = [(503, {})]
            venue.say(k="replace")
            await until(lambda: f.logged("replacement_failed"))
            venue.say(k="trade", id="1")
            await until(f.data)
            await until(lambda: f.supervisor.replacements == 1)
            assert f.said() == ["live", "trade"]
            assert f.supervisor.reconnects == 0

    async def test_it_takes_over_from_a_connection_that_is_lost_meanwhile(self, library):
        async with Venue() as venue, feed(venue, library, subscribed=(TRADES, BOOK)) as f:
            await until(lambda: venue.peers)
            venue.say(k="book", bids=[["1", "1"]])
            await until(lambda: f.data(BOOK))
            [old] = venue.peers
            venue.greeting = [{"k": "trade", "id": "1"}]
            venue.say(k="replace")
            await until(lambda: len(venue.peers) == 2)
            await asyncio.sleep(0.05)
            assert not f.supervisor.replacements, "it has no book yet"
            [new] = venue.peers - {old}
            old.transport.abort()
            await new.send('{"k":"book","bids":[["1","2"]]}')
            await until(lambda: f.data(BOOK)[-1].bids == [["1", "2"]])
            assert [trade.id for trade in f.data()] == ["1"] or f.supervisor.reconnects


async def test_the_end_is_graceful(library):
    async with Venue() as venue:
        async with feed(venue, library) as f:
            await until(lambda: venue.peers and f.supervisor.up)  # the server has it before the client knows
            [peer] = venue.peers
        await peer.wait_closed()
        assert peer.close_code in {1000, 1001}


async def test_what_is_not_read_is_neither_silent_nor_dead(library):
    """Back-pressure: frames wait with the exchange, and come in order once the feed is read again."""
    limits = {"silence": {Channel.TRADES: 0.3}, "dead": 1.0, "ping": 0.2}
    async with Venue() as venue, feed(venue, library, **limits) as f:
        await until(lambda: venue.peers)
        venue.say(k="trade", id="1")
        await until(f.data)
        begun = time.monotonic()
        f.flow.hold(venue)
        for number in range(2, 500):
            venue.say(k="trade", id=str(number))
        await until(lambda: time.monotonic() - begun > 2.0)
        assert [trade.id for trade in f.data()] == ["1"]
        f.flow.release(venue)
        await until(lambda: len(f.data()) == 499)
        assert [trade.id for trade in f.data()] == [str(number) for number in range(1, 500)]
        assert f.said() == ["live"] + ["trade"] * 499
        assert f.supervisor.reconnects == 0
