"""A message of Coinbase's that is not as it should be: what can be read of it is served, and only the rest has a gap."""

from __future__ import annotations

import itertools
import json

import pytest

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Reject, Send
from bridge.exchanges.toolkit.timing.waiting import spread
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Quote, Ticker, Trade
from tests.unit.coinbase_frames import ALL, HEARTBEAT, L2, PAIRS, TICKER, TRADES, book, frame, make
from tests.unit.core import SECOND, T0

BTC, ETH = PAIRS
DELETED = "(deleted)"
BAD = [None, "NaN", "Infinity", "-Infinity", "1 2", "1:2", 1.5, True, {"a": 1}, ["1"], "x" * 100, "٣", DELETED]
"""What may stand where a number in text should be."""


def settled(channels=ALL):
    """A session that has its books, and nothing left to ask for."""
    session = make(channels)
    session.connected(T0)
    for number, pair in enumerate(PAIRS):
        session.receive(frame(book(pair=pair), number), T0)
    listed = {channel: list(PAIRS) for channel in ("level2", "market_trades", "ticker")}
    session.receive(frame({"channel": "subscriptions", "events": [{"subscriptions": listed}]}, 2), T0)
    session.actions.clear()
    return session


def spoilt(row, field, value):
    row = {**row, field: value}
    if value is DELETED:
        del row[field]
    return row


def trade(pair=BTC, **changes):
    return {**TRADES["events"][0]["trades"][0], "product_id": pair, **changes}


def ticker(pair=ETH, **changes):
    return {**TICKER["events"][0]["tickers"][0], "product_id": pair, **changes}


def trades(*rows, kind="update"):
    return {**TRADES, "events": [{"type": kind, "trades": list(rows)}]}


def tickers(*rows, kind="update"):
    return {**TICKER, "events": [{"type": kind, "tickers": list(rows)}]}


def gaps(events):
    return {(str(e.channel), e.subject) for e in events if isinstance(e, Control) and e.event is ControlEvent.GAP}


def data(events):
    return [event for event in events if not isinstance(event, Control)]


def rejected(session):
    return [action.error for action in session.actions if isinstance(action, Reject)]


def sent(session):
    found = [json.loads(action.text) for action in session.actions if hasattr(action, "text")]
    return [(m["type"], m["channel"], m["product_ids"]) for m in found]


def check_others_go_on(session, number):
    """The count goes on, and so do books, trades and tickers of both pairs."""
    assert isinstance(data(session.receive(frame(book("update", ETH), number), T0))[0], BookDelta)
    assert isinstance(data(session.receive(frame(trades(trade(ETH)), number + 1), T0))[0], Trade)
    events = session.receive(frame(tickers(ticker(BTC)), number + 2), T0)
    assert [type(event) for event in events] == [Quote, Ticker]


@pytest.mark.parametrize("value", BAD, ids=repr)
class TestBadValues:
    @pytest.mark.parametrize("field", ["price", "size"])
    def test_of_a_trade(self, field, value):
        session = settled()
        events = session.receive(frame(trades(spoilt(trade(), field, value)), 3), T0)
        assert (gaps(events), data(events)) == ({("trades", BTC)}, [])
        [error] = rejected(session)
        assert json.loads(error.raw).get("trade_id") == "1068572091"
        assert sent(session) == []
        check_others_go_on(session, 4)

    @pytest.mark.parametrize("field", ["price_percent_chg_24_h", "best_bid", "best_ask_quantity"])
    def test_of_a_ticker(self, field, value):
        if value is DELETED:
            pytest.skip("a ticker may leave out what it doesn't know")
        session = settled()
        events = session.receive(frame(tickers(spoilt(ticker(), field, value)), 3), T0)
        assert (gaps(events), data(events)) == ({("quotes", ETH), ("ticker", ETH)}, [])
        assert len(rejected(session)) == 1
        assert sent(session) == []
        check_others_go_on(session, 4)

    @pytest.mark.parametrize("field", ["price_level", "new_quantity"])
    @pytest.mark.parametrize("kind", ["update", "snapshot"])
    def test_of_a_book(self, kind, field, value):
        session = settled()
        message = book(kind)
        message["events"][0]["updates"][1] = spoilt(message["events"][0]["updates"][1], field, value)
        events = session.receive(frame(message, 3), T0)
        assert (gaps(events), data(events)) == ({("book", BTC)}, [])
        assert len(rejected(session)) == 1
        assert sent(session) == [("unsubscribe", "level2", [BTC]), ("subscribe", "level2", [BTC])]
        session.actions.clear()
        check_others_go_on(session, 4)


@pytest.mark.parametrize("word", ["", "ask", "BID", "sell", "UNKNOWN_ORDER_SIDE", None, 1, "buy"])
class TestClosedSets:
    def test_the_side_of_a_level(self, word):
        session = settled()
        events = session.receive(frame(book("update", levels=[(word, "10", "1"), ("bid", "9", "1")]), 3), T0)
        assert (gaps(events), data(events)) == ({("book", BTC)}, [])

    def test_the_side_of_a_trade(self, word):
        session = settled()
        events = session.receive(frame(trades(trade(side=word), trade(trade_id="7")), 3), T0)
        assert gaps(events) == {("trades", BTC)}
        assert [event.id for event in data(events)] == ["7"]

    @pytest.mark.parametrize("channel", ["l2_data", "market_trades", "ticker"])
    def test_the_type_of_an_event(self, word, channel):
        session = settled()
        events = session.receive(frame({"l2_data": L2, "market_trades": TRADES, "ticker": TICKER}[channel], 3), T0)
        assert data(events)
        message = json.loads(frame({"l2_data": L2, "market_trades": TRADES, "ticker": TICKER}[channel], 4))
        message["events"][0]["type"] = word
        events = session.receive(json.dumps(message).encode(), T0)
        assert not data(events)
        assert {channel for channel, _ in gaps(events)} == {
            "l2_data": {"book"},
            "market_trades": {"trades"},
            "ticker": {"quotes", "ticker"},
        }[channel]


class TestRestOfTheMessage:
    def test_an_event_of_an_unknown_type_is_a_gap_of_those_that_it_names(self):
        session = settled()
        events = session.receive(frame(trades(trade(), trade(), kind="replace"), 3), T0)
        assert gaps(events) == {("trades", BTC)}
        message = {**TICKER, "events": [{"type": 7, "tickers": [ticker()]}, *tickers(ticker(BTC))["events"]]}
        events = session.receive(frame(message, 4), T0)
        assert gaps(events) == {("quotes", ETH), ("ticker", ETH)}
        assert {event.subject for event in data(events)} == {BTC}

    def test_good_rows_are_served_in_their_order(self):
        session = settled()
        rows = [trade(ETH, trade_id="4"), trade(trade_id="3", side="?"), trade(trade_id="2"), trade(trade_id="1")]
        events = session.receive(frame(trades(*rows), 3), T0)
        assert [event.id for event in data(events)] == ["1", "2", "4"]
        assert gaps(events) == {("trades", BTC)}

    def test_the_other_books_of_a_message_are_served(self):
        session = settled()
        message = {
            **L2,
            "events": [*book("update", levels=[("?", "1", "1")])["events"], *book("update", ETH)["events"]],
        }
        events = session.receive(frame(message, 3), T0)
        assert gaps(events) == {("book", BTC)}
        assert [(type(event), event.subject) for event in data(events)] == [(BookDelta, ETH)]

    def test_a_snapshot_of_trades_stays_one(self):
        session = settled()
        events = session.receive(frame(trades(trade(side=None), trade(ETH), kind="snapshot"), 3), T0)
        assert [event.replay for event in data(events)] == [True]

    def test_a_row_of_a_pair_not_asked_for_concerns_nobody(self):
        session = settled()
        events = session.receive(frame(trades(trade("SOL-USD", side="?"), trade(ETH)), 3), T0)
        assert gaps(events) == set()
        assert len(data(events)) == 1

    @pytest.mark.parametrize("product", [None, 7, [], {}], ids=repr)
    def test_a_row_of_whichever_pair_is_a_gap_of_its_channel(self, product):
        session = settled()
        events = session.receive(frame(tickers(ticker(product)), 3), T0)
        assert gaps(events) == {(channel, pair) for channel in ("quotes", "ticker") for pair in PAIRS}
        check_others_go_on(session, 4)

    @pytest.mark.parametrize("events", [None, "x", {}, [None], [[]], [{"trades": 7}], [{}]], ids=repr)
    def test_events_that_are_none_are_a_gap_of_their_channel(self, events):
        session = settled()
        found = session.receive(frame(TRADES, 3, events=events), T0)
        assert gaps(found) == {("trades", pair) for pair in PAIRS}
        check_others_go_on(session, 4)

    def test_many_bad_rows_are_one_reject(self):
        session = settled()
        rows = [trade(side="?", trade_id=str(n)) for n in range(50)]
        events = session.receive(frame(trades(*rows), 3), T0)
        assert len([e for e in events if isinstance(e, Control)]) == 1
        [error] = rejected(session)
        assert "and 49 more" in str(error)

    def test_beyond_a_hundred_bad_rows_nobody_looks_any_further(self):
        session = settled()
        events = session.receive(frame(trades(*[trade(side="?")] * 100_000), 3), T0)
        assert gaps(events) == {("trades", BTC)}
        assert len(rejected(session)) <= 2

    def test_what_nobody_looks_at_any_more_has_a_gap_too(self):
        session = settled()
        events = session.receive(frame(trades(trade(ETH), *[trade(side="?")] * 200), 3), T0)
        assert (gaps(events), data(events)) == ({("trades", BTC), ("trades", ETH)}, [])

    def test_the_gap_comes_where_the_row_is_missing(self):
        session = settled()
        rows = [trade(trade_id="3"), trade(trade_id="2", side="?"), trade(trade_id="1")]
        session.outputs.clear()
        session.receive(frame(trades(*rows), 3), T0)
        assert [type(output) for output in session.outputs] == [Reject, Trade, Control, Trade]
        assert [output.id for output in session.outputs if isinstance(output, Trade)] == ["1", "3"]

    @pytest.mark.parametrize("ident", ["", " ", "a b", "x" * 129, "é", "\x1b[2J", "1\n2"])
    def test_ids_are_short_and_printable(self, ident):
        session = settled()
        events = session.receive(frame(trades(trade(trade_id=ident)), 3), T0)
        assert (gaps(events), data(events)) == ({("trades", BTC)}, [])

    def test_a_number_without_quotes_that_is_no_json(self):
        text = frame(tickers(ticker(), ticker(BTC)), 3).replace(b'"0.02501394006035"', b"NaN", 1)
        session = settled()
        events = session.receive(text, T0)
        assert gaps(events) == {("quotes", ETH), ("ticker", ETH)}
        assert {event.subject for event in data(events)} == {BTC}
        check_others_go_on(session, 4)

    def test_a_message_that_is_cut_is_a_gap_of_its_channel(self):
        session = settled()
        events = session.receive(frame(TRADES, 3)[:-40], T0)
        assert gaps(events) == {("trades", pair) for pair in PAIRS}
        check_others_go_on(session, 4)

    def test_a_bad_message_of_no_data_harms_nothing(self):
        session = settled()
        for number, odd in enumerate([{**HEARTBEAT, "timestamp": 5}, {"channel": "subscriptions", "events": [7]}], 3):
            assert session.receive(frame(odd, number), T0) == []
        assert len(rejected(session)) == 2
        check_others_go_on(session, 5)

    def test_a_hole_before_a_bad_message_is_declared_as_well(self):
        session = settled()
        events = session.receive(frame(trades(trade(side="?")), 5), T0)
        assert {event.count for event in events} == {2, None}

    def test_a_bad_message_that_came_before_is_dropped(self):
        session = settled()
        assert session.receive(frame(trades(trade(side="?")), 1), T0) == []
        assert rejected(session) == []

    def test_what_is_nothing_raises(self):
        with pytest.raises(FrameError):
            settled().receive(b'{"channel":"l2_data","events":[]}', T0)


class TestBooks:
    """A book with a bad row is fetched anew: at once, and ever later where that happens again and again."""

    BAD_ROW = book("update", levels=[("?", "10", "1")])

    def test_deltas_after_a_bad_one_cause_nothing_more_until_the_snapshot(self):
        session = settled()
        session.receive(frame(self.BAD_ROW, 3), T0)
        session.actions.clear()
        assert gaps(session.receive(frame(self.BAD_ROW, 4), T0)) == set()
        assert sent(session) == []
        assert len(rejected(session)) == 1
        [event] = session.receive(frame(book(), 5), T0)
        assert isinstance(event, BookSnapshot)
        assert gaps(session.receive(frame(self.BAD_ROW, 6), T0)) == {("book", BTC)}

    def test_the_gap_is_said_before_the_book_is_asked_for(self):
        session = settled()
        session.outputs.clear()
        session.receive(frame(self.BAD_ROW, 5), T0)
        missed, told = session.outputs[: 2 * len(ALL)], session.outputs[2 * len(ALL) :]
        assert {output.count for output in missed} == {2}
        unsubscribe, subscribe, reject = told
        assert (type(unsubscribe), type(subscribe), type(reject)) == (Send, Send, Reject)
        assert ("unsubscribe" in unsubscribe.text, "unsubscribe" in subscribe.text) == (True, False)

    def test_the_waits_grow_to_a_minute(self):
        session, now, asked, number = settled(), T0, [], 3
        while now < T0 + 600 * SECOND:
            now += SECOND // 2
            session.receive(frame(self.BAD_ROW if number % 2 else HEARTBEAT, number), now)
            number += 1
            session.tick(now)
            if ("subscribe", "level2", [BTC]) in sent(session):
                asked.append((now - T0) / SECOND)
                session.receive(frame(book(), number), now)
                number += 1
            session.actions.clear()
        waits = [later - earlier for earlier, later in itertools.pairwise(asked)]
        assert waits[0] < 3
        assert waits == sorted(waits) or max(waits[-3:]) <= 75
        assert 45 < waits[-1] < 80
        assert len(asked) < 20

    def test_each_wait_is_twice_the_one_before_until_there_was_calm(self):
        session, now, number = settled(), T0, 3

        def broken(wait, at):
            """The book breaks, is asked for after so many seconds and not before, and is whole again; returns when."""
            nonlocal number
            session.actions.clear()
            session.receive(frame(self.BAD_ROW, number), at)
            due = at + spread(wait * SECOND, BTC)
            if wait:
                session.tick(due - 1)
                assert sent(session) == []
                session.tick(due)
            assert sent(session) == [("unsubscribe", "level2", [BTC]), ("subscribe", "level2", [BTC])]
            session.receive(frame(book(), number + 1), due)
            number += 2
            return due

        for wait in (0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60):
            last, now = now, broken(wait, now)
        broken(60, last + 180 * SECOND)
        broken(0, last + 2 * 180 * SECOND + 1)
        broken(1, last + 2 * 180 * SECOND + 2)

    def test_a_bad_snapshot_is_asked_for_again(self):
        session = make({Channel.BOOK})
        session.connected(T0)
        session.actions.clear()
        events = session.receive(frame(book(levels=[("bid", "x", "1")]), 0), T0)
        assert gaps(events) == {("book", BTC)}
        assert sent(session) == [("unsubscribe", "level2", [BTC]), ("subscribe", "level2", [BTC])]
        [event] = session.receive(frame(book(), 1), T0)
        assert isinstance(event, BookSnapshot)


class TestUnnumbered:
    """A message that can't even be counted shows by the next one's number; unless none can be counted any more."""

    def reject(self, session, raw):
        with pytest.raises(FrameError):
            session.receive(raw, T0)
        return gaps(session.rejected(T0))

    @pytest.mark.parametrize("number", [b'"3"', b"3.0", b"null", b"-1"])
    def test_when_no_number_can_be_read_any_more_all_streams_say_so_once(self, number):
        session = settled()
        raw = frame(TRADES, 3).replace(b'"sequence_num": 3', b'"sequence_num": ' + number)
        assert number in raw
        assert self.reject(session, raw) == set()
        everything = {(str(channel), pair) for channel in ALL for pair in PAIRS}
        assert self.reject(session, raw) == everything
        sends = [action for action in session.actions if isinstance(action, Send)]
        assert len(sends) == 2, "all books are asked for anew, in one message each way"
        for _ in range(10):
            assert self.reject(session, raw) == set()

    def test_so_before_any_number_has_come(self):
        session = make({Channel.TRADES})
        session.connected(T0)
        assert [self.reject(session, b"<html>") for _ in range(3)] == [
            set(),
            {("trades", pair) for pair in PAIRS},
            set(),
        ]

    def test_one_by_itself_is_a_hole_in_the_numbers(self):
        session = settled()
        for number in range(3, 40, 2):
            assert self.reject(session, b"<html>") == set()
            assert ("trades", BTC) in gaps(session.receive(frame(HEARTBEAT, number + 1), T0))
