from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Profile, Reject, Replace, Unknown
from bridge.exchanges.limitlex import Limitlex, LimitlexOptions, PairSession
from bridge.exchanges.limitlex.pair import PUBLIC, kind_of
from bridge.exchanges.rules import BestPrices
from bridge.model import BookDelta, BookSnapshot, Channel, ControlEvent, Quote, Ticker, Trade
from tests.unit import limitlex_frames as frames
from tests.unit.core import SECOND, T0, Apart, refused
from tests.unit.core import stream as make_stream
from tests.unit.held_books import Kept

ALL = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
PAIR = "BTC-EUR"
CHANNELS = {
    "last_trade": "trades",
    "order_book": "book",
    "whole_order_book": "book",
    "best_bid_ask": "quotes",
    "change_ohlc": "ticker",
}


def make(channels=ALL, **options):
    """A session with the topics of its pair."""
    given = LimitlexOptions(**options)
    session = Apart(
        PairSession("wss://x/", PAIR, frames.PAIR_ID, frozenset(channels), changes=given.amounts == "change")
    )
    rules = Limitlex(Profile((PAIR,), frozenset(channels), options=given)).book
    return Kept(session, rules, [PAIR], channels)


def live(channels=ALL, **options):
    """A session that is past its first message."""
    session = make(channels, **options)
    session.receive(b'{"t":"hello"}', T0)
    session.actions.clear()
    return session


def book(*bids, asks=()):
    levels = [[{"price": p, "amount": a, "total": "?"} for p, a in side] for side in (bids, asks)]
    return json.dumps({"t": "whole_order_book", "bids": levels[0], "asks": levels[1]}).encode()


def change(side, price, amount):
    return json.dumps({"t": "order_book", "orderDirection": side, "amount": amount, "price": price}).encode()


def best(bid, ask):
    return json.dumps({"t": "best_bid_ask", "bid": bid, "ask": ask}).encode()


class TestSampleFrames:
    def test_ohlc(self):
        [event] = live().receive(frames.OHLC, T0)
        assert event == Ticker(
            PAIR, None, T0, "86400", "8300.00", "8300.00", "7014.80", "7997.40", "-302.60", "-3.64", "92.25116900"
        )

    def test_best_bid_ask(self):
        [event] = live().receive(frames.BEST, T0)
        assert event == Quote(PAIR, None, T0, "7014.80", "", "7997.40", "")

    def test_whole_order_book(self):
        [event] = live().receive(frames.WHOLE, T0)
        assert event == BookSnapshot(PAIR, None, T0, "", [("228.0960", "1.04426203")], [("333.0000", "0.83783784")])

    def test_order_book(self):
        [event] = live().session.receive(frames.ORDER_BOOK, T0)
        assert event == BookDelta(PAIR, None, T0, "", [], [("7997.40", "0.05341906")])

    def test_last_trade(self):
        [event] = live().receive(frames.LAST_TRADE, T0)
        assert event == Trade(PAIR, 1598516157 * SECOND, T0, "", "buy", "7997.40", "0.00010000")

    def test_the_first_message_makes_all_streams_live(self):
        first, *rest = make().receive(frames.BEST, T0), make().receive(b'{"t":"new_thing"}', T0)
        assert [(e.channel, e.event) for e in first[:4]] == [
            (channel, ControlEvent.LIVE) for channel in (Channel.BOOK, Channel.QUOTES, Channel.TICKER, Channel.TRADES)
        ]
        assert isinstance(first[4], Quote)
        assert len(rest[0]) == 4

    @pytest.mark.parametrize("channel", sorted(ALL))
    def test_only_what_was_asked_for(self, channel):
        session = live({channel})
        events = [event for frame in frames.PUBLIC.values() for event in session.receive(frame, T0)]
        assert {event.channel for event in events} == {channel}
        assert len(events) == (2 if channel is Channel.BOOK else 1)


class TestOddFrames:
    @pytest.mark.parametrize("frame", frames.NONSENSE)
    def test_nonsense_is_rejected(self, frame):
        with pytest.raises(FrameError) as caught:
            make().receive(frame, T0)
        assert caught.value.raw == frame

    @pytest.mark.parametrize("frame", frames.PUBLIC.values(), ids=frames.PUBLIC)
    def test_missing_and_wrong_fields(self, frame):
        """Whatever is done to one field, the frame is either understood or rejected."""
        fields = json.loads(frame)
        for name in fields:
            for value in (None, 5, -1, "", "x", "nan", "sNaN", "1e9", [], {}, True, "Ünïcode ₿", 10**30):
                odd = json.dumps({**fields, name: value}).encode()
                session = make()
                try:
                    session.receive(odd, T0)
                except FrameError:
                    session.rejected(T0)
                session.tick(T0 + SECOND)
                session.tick(T0 + 60 * SECOND)
            missing = json.dumps({key: value for key, value in fields.items() if key != name}).encode()
            try:
                make().receive(missing, T0)
            except FrameError:
                continue

    @pytest.mark.parametrize(
        "frame",
        [
            change("Sell", "abc", "1"),
            change("Sell", "1", "abc"),
            change("Sell", "1:2 3", "1"),
            change("Sell", "nan", "1"),
            change("Sell", "Infinity", "1"),
            change("Sell", "", "1"),
            change("Sell", "-1", "1"),
            change("sell", "1", "1"),
            change(None, "1", "1"),
            book(("1", "abc")),
            book(("abc", "1")),
            book(("nan", "1")),
            book(("1", "-1")),
            best("sNaN", "1"),
            best("1", "nan"),
            best(1.5, "2"),
            frames.LAST_TRADE.replace(b'"7997.40"', b'"much"'),
            frames.LAST_TRADE.replace(b'"7997.40"', b"null"),
            frames.LAST_TRADE.replace(b"1598516157", b"-5"),
            frames.LAST_TRADE.replace(b"1598516157", b"1598516157000000000000"),
            frames.LAST_TRADE.replace(b"1598516157", b'"1598516157"'),
            frames.LAST_TRADE.replace(b'"Buy"', b'"Hold"'),
            frames.LAST_TRADE.replace(b"7997.40", b"\xff\xfe"),
            frames.OHLC.replace(b"7014.80", b"low"),
            frames.OHLC.replace(b"-302.60", b"less"),
            frames.OHLC.replace(b"-3.64", b"less"),
        ],
    )
    def test_what_is_no_number_is_a_gap_of_its_stream_alone(self, frame):
        kind = json.loads(frame.replace(b"\xff\xfe", b"?"))["t"]
        assert refused(live(), frame) == [(CHANNELS[kind], PAIR)]

    def test_what_is_bad_only_where_nobody_looks_is_served(self):
        session = live()
        [event] = session.receive(book(("10", "1")).replace(b'"?"', b"NaN"), T0)
        assert event == BookSnapshot(PAIR, None, T0, "", [("10", "1")], [])
        assert session.actions == []

    def test_a_rejected_frame_is_a_gap_of_everything(self):
        session = live()
        session.receive(frames.WHOLE, T0)
        events = session.rejected(T0)
        assert sorted(e.channel for e in events) == sorted(ALL)
        assert {e.event for e in events} == {ControlEvent.GAP}
        assert [type(action) for action in session.actions] == [Replace]

    @given(st.binary(max_size=200))
    def test_any_bytes(self, frame):
        session = make()
        try:
            session.receive(frame, T0)
        except FrameError:
            session.rejected(T0)

    @pytest.mark.parametrize("frame", frames.PUBLIC.values(), ids=frames.PUBLIC)
    def test_a_frame_cut_short_anywhere(self, frame):
        kind = json.loads(frame)["t"]
        told = len(f'{{"t":"{kind}"')
        for end in range(told):
            with pytest.raises(FrameError):
                live().receive(frame[:end], T0)
        for end in range(told, len(frame)):
            assert refused(live(), frame[:end]) == [(CHANNELS[kind], PAIR)]

    def test_unknown_types_are_told_and_private_ones_are_not(self):
        session = make().session
        session.receive(b'{"t":"n\xc3\xa9w","x":1}', T0)
        session.receive(frames.WALLETS, T0)
        assert session.actions == [Unknown("néw")]

    def test_one_side_of_the_best_prices_may_be_missing(self):
        session = live()
        for frame in (best(None, "2"), best("", "2"), b'{"t":"best_bid_ask","ask":"2"}'):
            assert session.receive(frame, T0) == [Quote(PAIR, None, T0, "", "", "2", "")]


class TestBook:
    def test_a_snapshot_is_sorted_best_first(self):
        frame = book(("9", "1"), ("10.0", "2"), ("9.5", "3"), asks=(("12", "1"), ("11", "2")))
        [event] = live().receive(frame, T0)
        assert [p for p, _ in event.bids] == ["10.0", "9.5", "9"]
        assert [p for p, _ in event.asks] == ["11", "12"]

    def test_changes_become_absolute_sizes(self):
        session = live(amounts="change")
        session.receive(book(("10", "1.50000000")), T0)
        [grown] = session.receive(change("Buy", "10", "0.00000001"), T0)
        [shrunk] = session.receive(change("Buy", "10.00", "-0.50000001"), T0)
        [gone] = session.receive(change("Buy", "10", "-1.00000000"), T0)
        assert [e.bids[0][1] for e in (grown, shrunk, gone)] == ["1.50000001", "1.00000000", "0.00000000"]
        assert session.receive(change("Buy", "10", "1"), T0)[0].bids == [("10", "1")]

    def test_changes_are_exact(self):
        session = live(amounts="change")
        session.receive(book(("10", "100000000000000000000000000000")), T0)
        [event] = session.receive(change("Buy", "10", "0.00000001"), T0)
        assert event.bids == [("10", "100000000000000000000000000000.00000001")]

    def test_a_negative_level_is_a_gap_and_a_replacement(self):
        session = live(amounts="change")
        session.receive(book(("10", "1")), T0)
        [event] = session.receive(change("Buy", "10", "-2"), T0)
        assert (event.event, event.channel) == (ControlEvent.GAP, Channel.BOOK)
        assert "negative" in event.reason
        assert session.receive(change("Buy", "10", "1"), T0) == []
        assert [type(action) for action in session.actions] == [Replace]

    def test_a_bad_level_is_a_replacement(self):
        session = live()
        session.receive(book(("10", "1")), T0)
        assert refused(session, change("Buy", "10", "-2")) == [("book", PAIR)]
        assert [type(action) for action in session.actions] == [Reject, Replace]
        assert not session.book(PAIR).whole

    @pytest.mark.parametrize("bid", ["9", None])
    def test_a_lasting_mismatch_is_a_gap(self, bid):
        session = live(mismatch=2)
        session.receive(book(("10", "1"), asks=(("11", "1"),)), T0)
        session.receive(best(bid, "11"), T0)
        assert not session.tick(T0 + SECOND)
        assert not session.tick(T0 + 2 * SECOND)
        [event] = session.tick(T0 + 3 * SECOND)
        assert (event.event, event.channel) == (ControlEvent.GAP, Channel.BOOK)
        assert [type(action) for action in session.actions] == [Replace]
        assert not session.tick(T0 + 30 * SECOND), "said once"

    def test_a_passing_mismatch_is_none(self):
        session = live(mismatch=2)
        session.receive(book(("10", "1"), asks=(("11", "1"),)), T0)
        session.receive(best("9", "11"), T0)
        assert not session.tick(T0 + SECOND)
        session.receive(best("10.0", "11"), T0)
        assert not session.tick(T0 + 2 * SECOND)
        session.receive(best("9", "11"), T0)
        assert not session.tick(T0 + 3 * SECOND)
        assert not session.tick(T0 + 4 * SECOND)

    def test_a_crossed_book_is_a_gap(self):
        session = live(mismatch=2)
        session.receive(book(("10", "1"), asks=(("11", "1"),)), T0)
        session.receive(change("Buy", "11", "1"), T0)
        session.tick(T0)
        [event] = session.tick(T0 + 2 * SECOND)
        assert event.event is ControlEvent.GAP
        assert event.reason == "the book is crossed"

    def test_resync_replaces_the_connection(self):
        session = live().session
        session.resync(PAIR, T0, "because")
        assert session.actions == [Replace("because")]

    def test_best_prices_of_before_do_not_count(self):
        """Neither those of a frame that could not be understood, nor those of another connection."""
        session = live(mismatch=2)
        session.receive(book(("10", "1"), asks=(("11", "1"),)), T0)
        session.receive(best("10", "11"), T0)
        session.receive(change("Buy", "10.5", "1"), T0)
        session.receive(best("nan", "11"), T0)
        assert not [*session.tick(T0 + SECOND), *session.tick(T0 + 4 * SECOND)]
        session.receive(best("10", "11"), T0 + 4 * SECOND)
        session.receive(book(("10.5", "1"), ("10", "1"), asks=(("11", "1"),)), T0 + 5 * SECOND)
        assert not [*session.tick(T0 + 6 * SECOND), *session.tick(T0 + 9 * SECOND)]

    def test_with_best_prices_that_nobody_understands_a_book_is_not_compared(self):
        session = live(mismatch=2)
        session.receive(book(("10", "1"), asks=(("11", "1"),)), T0)
        session.receive(best("nan", "11"), T0)
        assert not [event for quarter in range(40) for event in session.tick(T0 + quarter * SECOND // 4)]

    def test_a_fresh_book_tells_what_the_old_one_had_wrong(self):
        session = live()
        session.receive(book(("10", "1"), ("9", "1")), T0)
        gap, fresh = session.receive(book(("10", "1"), ("9", "5")), T0 + 60 * SECOND)
        assert (gap.event, gap.channel) == (ControlEvent.GAP, Channel.BOOK)
        assert "1 level" in gap.reason
        assert fresh.bids == [("10", "1"), ("9", "5")]
        assert session.actions == [], "it is whole already"
        assert session.receive(change("Buy", "9", "6"), T0 + 61 * SECOND) != []

    def test_a_fresh_book_that_agrees_or_has_just_changed_tells_nothing(self):
        session = live()
        for at in (0, 60):
            session.receive(book(("10", "1"), ("9", "1")), T0 + at * SECOND)
        session.receive(change("Buy", "9", "3"), T0 + 60 * SECOND)
        [snapshot] = session.receive(book(("10", "1"), ("9", "1.0")), T0 + 61 * SECOND)
        assert isinstance(snapshot, BookSnapshot)
        session.receive(change("Buy", "9", "3"), T0 + 62 * SECOND)
        assert len(session.receive(book(("10", "1"), ("9", "1")), T0 + 65 * SECOND)) == 2


class TestPlan:
    def profile(self, channels=ALL):
        return Profile(("BTC-EUR", "ETH-EUR"), frozenset(channels), url="ws://127.0.0.1:1/websocket/", options=OPTIONS)

    def test_one_connection_per_pair(self):
        exchange = Limitlex(self.profile())
        plans = exchange.plan()
        assert [plan.name for plan in plans] == ["BTC-EUR", "ETH-EUR"]
        assert [{s.subject for s in plan.subscriptions} for plan in plans] == [{"BTC-EUR"}, {"ETH-EUR"}]
        assert [plan.rotate for plan in plans] == [60.0, 60.0]
        assert Limitlex(self.profile({Channel.TRADES})).plan()[0].rotate is None

    def test_the_address(self):
        session = Limitlex(self.profile()).plan()[0].session()
        with pytest.raises(StopIteration) as done:
            next(session.open(T0))
        assert done.value.value.url == f"ws://127.0.0.1:1/websocket/?p={frames.PAIR_ID}"

    def test_no_channels_no_connections(self):
        assert Limitlex(self.profile(())).plan() == []

    def test_streams_of_a_pair_are_of_one_slot(self):
        keys = {make_stream(channel).key.partition("}")[0] for channel in ALL}
        assert len(keys) == 1


OPTIONS = LimitlexOptions(pair_ids={"BTC-EUR": frames.PAIR_ID, "ETH-EUR": f"eth:{frames.EUR}"})


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [('"busy"', "busy", None), ('{"message":"no such pair","code":12}', "no such pair", 12)],
)
def test_an_error_is_said_in_the_exchange_s_words(error, message, code) -> None:
    out: list[object] = []
    frame = f'{{"t":"subscribe","error":{error}}}'.encode()
    assert kind_of(frame, frame, PUBLIC, out) == ""
    [said] = out
    assert message in str(said.error)
    assert (said.error.code, said.error.topic) == (code, "subscribe")


@pytest.mark.parametrize("channels", [ALL, ALL - {Channel.BOOK}])
def test_a_book_is_not_held_against_best_prices_that_cannot_be_read(channels) -> None:
    session = PairSession("wss://x/", PAIR, frames.PAIR_ID, channels, changes=False)
    outputs = session.receive(b'{"t":"best_bid_ask","bid":"1e","ask":"3"}', T0)
    told = [output for output in outputs if isinstance(output, BestPrices)]
    assert told == ([BestPrices(PAIR, None, T0, "", "", known=False)] if Channel.BOOK in channels else [])
