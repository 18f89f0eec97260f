from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
import structlog
from structlog.testing import LogCapture

from bridge.exchange_errors import RestError
from bridge.exchanges.api import ConnectionPlan, Fetch, Restated, Subscription, Unknown
from bridge.feed import connection as module
from bridge.feed.connection import Connection
from bridge.feed.context import FeedContext
from bridge.feed.rest import RestClient
from bridge.feed.supervisor import FeedSupervisor
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Trade
from tests.patience import PATIENCE
from tests.unit.core import SECOND, T0
from tests.unit.feeding import TRADES, FakeExchange, FakeSession
from tests.unit.publishing import until

BTC, ETH = Subscription(Channel.BOOK, "BTC-EUR"), Subscription(Channel.BOOK, "ETH-EUR")


class Two(FakeSession):
    """Books of several pairs, which the frames name."""

    def receive(self, frame, recv):
        m = json.loads(frame)
        if m["k"] in {"book", "delta"}:
            kind = BookSnapshot if m["k"] == "book" else BookDelta
            return [kind(m["pair"], None, recv, "", [("1", m.get("size", "1"))], [])]
        return super().receive(frame, recv)


class Setup:
    def __init__(self, *streams, session=Two, hold=True):
        self.events = []
        self.now = T0
        receiver = SimpleNamespace(
            event=self.events.append,
            restated=self.events.append,
            rejected=lambda *_: None,
            unknown=lambda _: None,
            fault=lambda _: None,
        )
        self.logs = LogCapture()
        self.context = FeedContext(
            exchange=FakeExchange(None),
            receiver=receiver,
            rest=None,
            pacer=None,
            log=structlog.wrap_logger(None, processors=[self.logs]),
            now=lambda: self.now,
            monotonic=lambda: self.now / 1e9,
        )
        self.plan = ConnectionPlan("market", streams, lambda: session("ws://x"))
        self.connection = self.make(hold=hold)

    def make(self, *, hold):
        return Connection(self.plan, self.context, asyncio.Event(), hold=hold)

    def frame(self, **message):
        self.connection.frame(json.dumps(message).encode())

    def read_trades(self, *idents):
        self.connection.received([json.dumps({"k": "trade", "id": ident}).encode() for ident in idents])


async def test_a_replacement_needs_the_book_of_every_pair():
    s = Setup(BTC, ETH, TRADES)
    s.frame(k="trade", id="1")
    s.frame(k="book", pair="BTC-EUR")
    assert not s.connection.ready
    s.frame(k="book", pair="ETH-EUR")
    assert s.connection.ready


async def test_a_replacement_without_books_needs_a_frame_or_some_quiet():
    s = Setup(TRADES)
    s.connection.opened_at = s.now
    assert not s.connection.ready
    s.frame(k="trade", id="1")
    assert s.connection.ready
    quiet = Setup(TRADES)
    quiet.connection.opened_at = quiet.now
    quiet.now += 4 * SECOND
    assert quiet.connection.ready


async def test_what_is_held_back_comes_in_order_and_books_from_their_snapshots_on():
    s = Setup(BTC, ETH, TRADES)
    s.frame(k="trade", id="1")
    s.frame(k="delta", pair="BTC-EUR", size="7")
    s.frame(k="book", pair="BTC-EUR")
    s.frame(k="delta", pair="BTC-EUR", size="8")
    s.frame(k="delta", pair="ETH-EUR", size="7")
    s.frame(k="book", pair="ETH-EUR")
    assert s.events == []
    s.connection.release()
    s.frame(k="trade", id="2")
    kinds = [(type(event).__name__, event.subject) for event in s.events]
    assert kinds == [
        ("Trade", "BTC-EUR"),
        ("BookSnapshot", "BTC-EUR"),
        ("BookDelta", "BTC-EUR"),
        ("BookSnapshot", "ETH-EUR"),
        ("Trade", "BTC-EUR"),
    ]


async def test_messages_of_one_read_were_received_at_one_time():
    s = Setup(TRADES, hold=False)
    clock = iter(range(T0, T0 + 100))
    s.connection._now = lambda: next(clock)
    s.read_trades("1", "2", "3")
    s.read_trades("4")
    trades = [(event.id, event.recv - T0) for event in s.events if isinstance(event, Trade)]
    assert trades == [("1", 0), ("2", 0), ("3", 0), ("4", 1)]
    assert s.connection.frames == 4


async def test_a_hold_in_the_middle_of_a_read_keeps_the_rest_for_later_with_its_time():
    s = Setup(TRADES, hold=False)
    flow = s.context.flow
    taken = s.events.append

    def take(event):
        taken(event)
        if isinstance(event, Trade) and event.id == "2":
            flow.hold(s)

    s.connection._emit = take
    s.read_trades("1", "2", "3")
    s.now += SECOND
    s.read_trades("4")
    assert [event.id for event in s.events if isinstance(event, Trade)] == ["1", "2"]
    flow.release(s)
    await until(lambda: any(isinstance(event, Trade) and event.id == "4" for event in s.events))
    trades = [(event.id, event.recv - T0) for event in s.events if isinstance(event, Trade)]
    assert trades == [("1", 0), ("2", 0), ("3", 0), ("4", SECOND)]


async def test_a_read_goes_no_further_once_the_connection_has_failed():
    s = Setup(TRADES, hold=False)

    def fail(event):
        s.events.append(event)
        raise RuntimeError("a bug")

    s.connection._emit = fail
    s.read_trades("1", "2", "3")
    assert len(s.events) == 1
    assert s.connection.lost_kind == "failed"


class Fetching(Two):
    """Hands out a state that it has fetched, with each trade."""

    def receive(self, frame, recv):
        return [*super().receive(frame, recv), Restated(Channel.ORDERS, "main", [], recv)]


async def test_a_fetched_state_keeps_its_place_among_the_events():
    """It is as of when it was asked for: the connection that is replaced goes on telling what comes after it."""
    s = Setup(TRADES, session=Fetching)
    for ident in "12":
        s.frame(k="trade", id=ident)
    assert s.events == []
    s.connection.release()
    s.frame(k="trade", id="3")
    assert [type(event).__name__ for event in s.events] == ["Trade", "Restated"] * 3


async def test_one_that_comes_after_the_end_is_of_no_use():
    s = Setup(TRADES, session=Fetching, hold=False)
    s.connection.mute()
    s.connection._take([Restated(Channel.ORDERS, "main", [], T0)])
    assert s.events == []


async def test_a_replacement_holds_back_only_so_much(monkeypatch):
    monkeypatch.setattr(module, "_MOST_HELD", 10)
    s = Setup(BTC)
    for number in range(20):
        s.frame(k="delta", pair="BTC-EUR", size=str(number))
    assert "held back 10 events" in s.connection.lost_reason
    assert not s.connection._held
    assert s.events == []


def found(*outputs):
    """A conversation that needs no request, and ends in these."""
    return list(outputs)
    yield


async def fetched(s, flow):
    s.context.rest = RestClient("fake", "http://127.0.0.1:1", None, 1.0, None)
    s.connection._take([Fetch(flow, "state")])
    await asyncio.gather(*s.connection._fetches)


STATE = Restated(Channel.ORDERS, "main", [], T0)


async def test_what_is_fetched_is_taken_in_its_order():
    s = Setup(TRADES, session=FakeSession, hold=False)
    trade = Trade("BTC-EUR", None, T0, "1", "buy", "1", "1")
    await fetched(s, found(trade, Unknown("odd"), STATE, Fetch(found(trade), "more")))
    while s.connection._fetches:
        await asyncio.gather(*s.connection._fetches)
    assert s.events == [trade, STATE, trade]


async def test_what_is_fetched_is_held_back_with_the_rest():
    s = Setup(TRADES)
    s.frame(k="trade", id="1")
    await fetched(s, found(STATE))
    assert s.events == []
    s.connection.release()
    assert [type(event).__name__ for event in s.events] == ["Trade", "Restated"]


async def test_what_a_given_up_replacement_has_fetched_is_true_all_the_same():
    """It isn't asked for again: the session's memory has it."""
    s = Setup(TRADES)
    s.frame(k="trade", id="1")
    await fetched(s, found(STATE))
    s.connection.mute()
    assert s.events == [STATE]


async def test_the_end_of_a_connection_is_the_end_of_its_fetches():
    s = Setup(TRADES, session=FakeSession, hold=False)
    s.context.rest = SimpleNamespace(drive=lambda _: asyncio.get_running_loop().create_future())
    s.connection._take([Fetch(found(STATE), "state")])
    [fetch] = s.connection._fetches
    await asyncio.sleep(0)
    s.connection.lost("gone")
    await asyncio.wait([fetch], timeout=PATIENCE)
    assert fetch.cancelled()
    assert s.events == []


def buggy():
    raise RuntimeError("a bug")
    yield


def refused():
    raise RestError("fake", "/orders", 503, "away")
    yield


@pytest.mark.parametrize(
    ("flow", "event", "level"), [(buggy, "session_failed", "error"), (refused, "fetch_failed", "warning")]
)
async def test_a_fetch_that_fails_is_told_and_the_feed_goes_on(flow, event, level):
    s = Setup(TRADES, session=FakeSession, hold=False)
    await fetched(s, flow())
    [row] = s.logs.entries
    assert (row["event"], row["log_level"]) == (event, level)
    s.frame(k="trade", id="1")
    assert s.events
    assert not s.connection.lost_reason


async def test_a_mistake_of_ours_is_told_from_a_frame_that_nobody_understands():
    """Some of the frame may have been taken in already."""

    class Told(FakeSession):
        def failed(self, recv):
            return [self.control(TRADES, ControlEvent.GAP, recv, "failed")]

    s = Setup(TRADES, session=Told, hold=False)
    s.connection.frame(b"no json")
    s.frame(k="bug")
    assert [event.reason for event in s.events] == ["rejected", "failed"]


async def test_a_muted_connection_says_nothing():
    s = Setup(TRADES, session=FakeSession, hold=False)
    s.connection.mute()
    s.frame(k="trade", id="1")
    s.connection.lost("gone")
    assert (s.events, s.connection.lost_reason) == ([], "")


async def test_data_and_control_events():
    s = Setup(TRADES, session=FakeSession, hold=False)
    s.frame(k="gap")
    assert isinstance(s.events[0], Control)
    s.frame(k="trade", id="1")
    assert isinstance(s.events[1], Trade)


@pytest.mark.parametrize(
    ("expires", "at", "due"),
    [
        (None, 0, False),
        (600, 0, False),
        (600, 539, False),
        (600, 540, True),
        (10, 7, False),
        (10, 8, True),
        (0, 5, False),
        (-100, 5, False),
    ],
)
async def test_when_a_token_is_renewed(expires, at, due):
    """A minute before, or a fifth of a short life; and one that came expired isn't, or there would be no end of it."""
    s = Setup(TRADES)
    supervisor = FeedSupervisor(s.plan, s.context)
    connection = SimpleNamespace(expires=None if expires is None else T0 + expires * SECOND)
    s.now = T0 + at * SECOND
    assert supervisor._expiring(connection, T0) is due
