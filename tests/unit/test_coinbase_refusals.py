"""What Coinbase doesn't serve concerns that pair on that channel alone, and is asked for again."""

from __future__ import annotations

import itertools
import json
import math

import pytest

from bridge.exchanges.api import Said, Send
from bridge.exchanges.coinbase import CoinbaseSession
from bridge.exchanges.toolkit.sessions.listed_session import ListedMemory
from bridge.exchanges.toolkit.timing.waiting import spread
from bridge.model import BookDelta, BookSnapshot, Channel, Control, ControlEvent, Ticker, Trade
from tests.unit.coinbase_frames import TICKER, TRADES, book
from tests.unit.coinbase_venue import Venue, invalid
from tests.unit.core import SECOND, T0

BOOK, TRADE = Channel.BOOK, Channel.TRADES


class TestRefused:
    def test_a_refused_pair_alone_is_down_and_the_others_are_asked_for_again(self):
        venue = Venue("A-USD", "NO-USD", "B-USD")
        answered = venue.answer(invalid("NO-USD"))
        assert ("subscribe", "level2", ["A-USD", "B-USD"]) in answered
        assert len(answered) == 5
        for channel in (BOOK, TRADE):
            assert venue.controls(channel, "NO-USD") == [("down", "NO-USD is not a valid product")]
            assert venue.controls(channel, "A-USD") == venue.controls(channel, "B-USD") == [("live", "")]
        assert set(venue.data(BookSnapshot)) == {"A-USD", "B-USD"}
        assert {kind for kind, _, _ in venue.errors} == {"unknown_market"}
        assert venue.session.ready

    def test_first_the_error_then_what_follows_then_the_request_for_the_others(self):
        session = CoinbaseSession("wss://x", ("A-USD", "NO-USD"), frozenset({TRADE}))
        session.connected(T0)
        outputs = session.receive(b'{"type":"error","message":"NO-USD is not a valid product"}', T0)
        assert [type(output) for output in outputs] == [Said, Control, Send]

    def test_an_error_that_names_nobody_is_tracked_down_by_halves(self):
        pairs = [f"C{n}-USD" for n in range(16)]
        venue = Venue(*pairs, channels=(TRADE,))
        answered = venue.answer(lambda _, products: "subscription failed" if "C11-USD" in products else None)
        assert len(answered) < 12
        assert venue.controls(TRADE, "C11-USD") == [("down", "subscription failed")]
        for pair in set(pairs) - {"C11-USD"}:
            assert venue.controls(TRADE, pair) == [("live", "")]

    def test_beyond_a_limit_as_many_as_possible_are_served(self):
        venue = Venue(*(f"C{n}-USD" for n in range(32)))

        def limit(channel, products):
            full = channel == "level2" and len(venue.served.get(channel, ())) + len(products) > 20
            return "too many L2 streams requested in a single session" if full else None

        venue.answer(limit)
        assert len(set(venue.data(BookSnapshot))) == 20
        down = [e for e in venue.events if isinstance(e, Control) and e.event is ControlEvent.DOWN]
        assert len(down) == 12
        assert {(e.channel, e.reason) for e in down} == {(BOOK, "too many L2 streams requested in a single session")}

    def test_it_is_asked_for_again_about_once_a_minute_and_said_once(self):
        venue = Venue("A-USD", "NO-USD", channels=(TRADE,))
        venue.answer(invalid("NO-USD"))
        errors = len(venue.errors)
        answered = venue.wait(600, refuse=invalid("NO-USD"))
        assert {(kind, tuple(products)) for kind, _, products in answered} == {("subscribe", ("NO-USD",))}
        assert 8 <= len(answered) <= 13
        assert len(venue.errors) == errors
        assert len(venue.controls(TRADE, "NO-USD")) == 1
        assert not venue.reconnects

    def test_many_are_asked_for_again_more_rarely(self):
        """Each by itself: of 240, each after a minute, and once all of them are refused every other minute."""
        pairs = [f"C{n}-USD" for n in range(240)]
        venue = Venue(*pairs, channels=(TRADE,))
        venue.answer(lambda *_: "subscription failed")
        answered = venue.wait(112, refuse=lambda *_: "subscription failed")
        assert {len(products) for _, _, products in answered} == {1}
        assert len(answered) >= 239
        assert len(venue.wait(28, refuse=lambda *_: "subscription failed")) <= 1

    def test_it_is_live_again_by_itself(self):
        venue = Venue("A-USD", "NO-USD")
        venue.answer(invalid("NO-USD"))
        venue.wait(80, refuse=lambda *_: None)
        assert [event for event, _ in venue.controls(TRADE, "NO-USD")] == ["down", "live"]
        assert venue.data(BookSnapshot).count("NO-USD") == 1
        assert venue.session.unserved == set()

    def test_data_is_as_good_as_an_acknowledgement(self):
        venue = Venue("NO-USD", channels=(TRADE,))
        venue.answer(invalid("NO-USD"))
        row = {**TRADES["events"][0]["trades"][0], "product_id": "NO-USD"}
        venue.say({**TRADES, "events": [{"type": "update", "trades": [row]}]})
        assert venue.data(Trade) == ["NO-USD"]
        assert venue.wait(200, refuse=invalid("NO-USD")) == []

    def test_so_are_statistics(self):
        venue = Venue("NO-USD", channels=(Channel.TICKER,))
        venue.answer(invalid("NO-USD"))
        row = {**TICKER["events"][0]["tickers"][0], "product_id": "NO-USD"}
        venue.say({**TICKER, "events": [{"type": "update", "tickers": [row]}]})
        assert venue.data(Ticker) == ["NO-USD"]
        assert venue.wait(200, refuse=invalid("NO-USD")) == []

    def test_the_next_connection_asks_for_the_good_ones_together(self):
        memory = ListedMemory()
        first = Venue("A-USD", "NO-USD", memory=memory, channels=(TRADE,))
        first.answer(invalid("NO-USD"))
        second = Venue("A-USD", "NO-USD", memory=memory, channels=(TRADE,))
        assert second.asked[0] == ("subscribe", "market_trades", ["A-USD"])
        second.answer()
        assert ("subscribe", "market_trades", ["NO-USD"]) in second.wait(80, refuse=lambda *_: None)
        assert not memory.refused

    def test_one_message_too_many_is_sent_again_after_a_while(self):
        venue = Venue("A-USD", "B-USD", channels=(TRADE,))
        words = ["rate limit exceeded"]
        venue.answer(lambda *_: words.pop() if words else None)
        assert venue.controls(TRADE, "A-USD") == []
        assert not venue.session.ready
        assert venue.wait(4.75, refuse=lambda *_: None) == []
        assert venue.wait(0.25, refuse=lambda *_: None) == [("subscribe", "market_trades", ["A-USD", "B-USD"])]
        assert venue.controls(TRADE, "A-USD") == [("live", "")]
        assert [kind for kind, _, _ in venue.errors] == ["too_many_requests"]

    @pytest.mark.parametrize("reason", ["A-USD is not a valid product", "Failed to subscribe"])
    def test_an_error_may_have_its_words_in_reason(self, reason):
        venue = Venue("A-USD", channels=(TRADE,))
        message = {"type": "error", "message": "Failed to subscribe", "reason": reason}
        venue.take(venue.session.receive(json.dumps(message).encode(), venue.now))
        [(event, words)] = venue.controls(TRADE, "A-USD")
        assert (event, words) == ("down", f"Failed to subscribe: {reason}")

    def test_an_error_about_another_product_is_nobody_elses(self):
        venue = Venue("A-USD", "B-USD", channels=(TRADE,))
        venue.answer()
        venue.session._ask([("market_trades", "A-USD")], venue.now)
        venue.error("B-USD is not subscribed")
        assert [event for event, _ in venue.controls(TRADE, "A-USD")] == ["live"]
        assert [words for _, _, words in venue.errors] == ["B-USD is not subscribed"]

    def test_words_without_end_are_cut(self):
        venue = Venue("A-USD", channels=(TRADE,))
        venue.error("x" * 1_000_000)
        assert len(venue.controls(TRADE, "A-USD")[0][1]) <= 300


class TestLeftOut:
    def test_of_an_acknowledgement(self):
        venue = Venue("A-USD", "GONE-USD", "B-USD")
        venue.answer(leave_out=("GONE-USD",))
        venue.wait(3)
        assert venue.controls(TRADE, "GONE-USD") == []
        venue.wait(0.25)
        for channel in (BOOK, TRADE):
            [(event, reason)] = venue.controls(channel, "GONE-USD")
            assert (event, reason) == ("down", "the exchange left it out of its acknowledgement")
            assert venue.controls(channel, "A-USD") == [("live", "")]
        assert {kind for kind, _, _ in venue.errors} == {"topic_left_out"}
        assert venue.session.ready

    def test_all_of_them(self):
        venue = Venue("GONE-USD", channels=(TRADE,))
        venue.answer(leave_out=("GONE-USD",))
        venue.wait(10)
        assert [event for event, _ in venue.controls(TRADE, "GONE-USD")] == ["down"]

    def test_it_is_asked_for_by_itself_and_comes_back(self):
        venue = Venue("A-USD", "GONE-USD", channels=(TRADE,))
        venue.answer(leave_out=("GONE-USD",))
        answered = venue.wait(200, leave_out=("GONE-USD",))
        assert {tuple(products) for _, _, products in answered} == {("GONE-USD",)}
        assert 2 <= len(answered) <= 4
        venue.wait(80, leave_out=())
        assert [event for event, _ in venue.controls(TRADE, "GONE-USD")] == ["down", "live"]

    @pytest.mark.parametrize("channel", ["market_trades", "level2"])
    def test_one_that_is_taken_off_the_list_later_is_down_and_asked_for_again(self, channel):
        """An exchange that ends a subscription says so only by a list of those that are left."""
        venue = Venue("A-USD", "B-USD")
        venue.answer()
        venue.wait(120)
        stream = BOOK if channel == "level2" else TRADE
        del venue.served[channel]["A-USD"]
        venue.ack()
        assert venue.controls(stream, "A-USD")[1:] == [("down", "the exchange has ended the subscription")]
        for pair, other in itertools.product(("A-USD", "B-USD"), (BOOK, TRADE)):
            if (pair, other) != ("A-USD", stream):
                assert venue.controls(other, pair) == [("live", "")]
        venue.wait(80, refuse=lambda *_: None)
        assert [event for event, _ in venue.controls(stream, "A-USD")] == ["live", "down", "live"]
        assert not venue.reconnects

    def test_a_book_that_could_not_be_renewed_yet_has_not_ended(self):
        """Its renewal was one message too many: that it is off the list is our own doing."""
        venue = Venue("A-USD", "B-USD", channels=(BOOK,))
        venue.answer()
        venue.session.resync("A-USD", venue.now, "broken")
        venue.wait(1)
        assert [what for what, *_ in venue.asked] == ["unsubscribe", "subscribe"]
        venue.asked.clear()
        venue.error("rate limit exceeded")
        del venue.served["level2"]["A-USD"]
        venue.ack()
        venue.wait(10, refuse=lambda *_: None)
        assert venue.controls(BOOK, "A-USD") == [("live", "")]
        assert venue.data(BookSnapshot).count("A-USD") == 2

    def test_a_list_without_a_book_that_is_fetched_anew_ends_nothing(self):
        venue = Venue("A-USD", "B-USD")
        venue.answer()
        venue.session.resync("A-USD", venue.now, "broken")
        assert [what for what, *_ in venue.wait(2, refuse=lambda *_: None)] == ["unsubscribe", "subscribe"]
        assert venue.controls(BOOK, "A-USD") == [("live", "")]

    def test_an_answer_that_belongs_to_another_request_judges_nobody(self):
        """Each subscription is answered in turn; data may come before its answer."""
        venue = Venue("A-USD", channels=(BOOK, TRADE, Channel.TICKER))
        asked, venue.asked = venue.asked, []
        for request in asked:
            venue.wait(6)
            venue.asked.append(request)
            venue.answer()
        venue.wait(6)
        assert all(e.event is ControlEvent.LIVE for e in venue.events if isinstance(e, Control))

    def test_without_any_answer_the_connection_is_replaced(self):
        venue = Venue("A-USD", "B-USD")
        venue.wait(30)
        assert venue.reconnects == []
        venue.wait(0.25)
        assert venue.reconnects == ["no answer to the subscription within 30 s"]

    def test_without_an_answer_about_one_channel_that_is_down(self):
        venue = Venue("A-USD")
        venue.say(book(pair="A-USD"))
        venue.wait(32)
        assert venue.controls(TRADE, "A-USD") == [("down", "no answer to the subscription within 30 s")]
        assert venue.controls(BOOK, "A-USD") == []
        assert venue.reconnects == []

    def test_and_it_is_asked_for_a_minute_after_it_was_at_first(self):
        venue = Venue("A-USD")
        venue.say(book(pair="A-USD"))
        venue.wait(30.25)
        venue.asked.clear()
        ticks = math.ceil(4 * spread(30 * SECOND, "A-USD") / SECOND)
        venue.wait((ticks - 1) / 4)
        assert venue.asked == []
        venue.wait(0.25)
        assert venue.asked == [("subscribe", "market_trades", ["A-USD"])]


class TestSnapshots:
    """A pair without a snapshot is mended by itself; the connection is replaced only where no book comes at all."""

    def test_one_pair_without_a_snapshot_leaves_the_others_alone(self):
        venue = Venue("A-USD", "B-USD", channels=(BOOK,))
        venue.asked.clear()
        venue.say(book(pair="A-USD"))
        venue.wait(1000)
        requests = [products for kind, channel, products in venue.asked if (kind, channel) == ("subscribe", "level2")]
        assert set(map(tuple, requests)) == {("B-USD",)}
        assert 14 <= len(requests) <= 22, "once more at once, then about once a minute"
        assert venue.controls(BOOK, "B-USD") == [("down", "no snapshot within 30 s")]
        assert venue.reconnects == []
        assert venue.session.unserved == {"B-USD"}
        venue.say(book(pair="B-USD"))
        assert venue.data(BookSnapshot) == ["A-USD", "B-USD"]
        venue.asked.clear()
        venue.wait(1000)
        assert venue.asked == []

    def test_deltas_of_a_book_that_is_down_are_left_out(self):
        venue = Venue("A-USD", "B-USD", channels=(BOOK,))
        venue.say(book(pair="A-USD"))
        venue.wait(40)
        venue.say(book("update", pair="B-USD"))
        venue.say(book("update", pair="A-USD"))
        assert venue.data(BookDelta) == ["A-USD"]

    def test_where_no_book_comes_a_new_connection_is_tried_once(self):
        memory = ListedMemory()
        for reconnects in (1, 0):
            venue = Venue("A-USD", "B-USD", channels=(BOOK,), memory=memory)
            venue.answer(snapshots=False)
            venue.wait(100)
            assert len(venue.reconnects) == reconnects
        assert {event for event, _ in venue.controls(BOOK, "A-USD")} == {"live", "down"}

    def test_books_that_come_one_by_one_over_a_slow_line_are_waited_for(self):
        pairs = [f"C{n}-USD" for n in range(10)]
        venue = Venue(*pairs, channels=(BOOK,))
        for pair in pairs:
            venue.wait(20)
            venue.say(book(pair=pair))
        assert venue.controls(BOOK, pairs[-1]) == []
        assert venue.data(BookSnapshot) == pairs

    def test_but_for_no_longer_than_five_minutes(self):
        pairs = [f"C{n}-USD" for n in range(20)]
        venue = Venue(*pairs, channels=(BOOK,))
        venue.asked.clear()
        for pair in pairs[:15]:
            venue.wait(20)
            venue.say(book(pair=pair))
        assert venue.asked == []
        venue.wait(0.25)
        assert venue.asked == [(kind, "level2", ["C15-USD"]) for kind in ("unsubscribe", "subscribe")]

    def test_our_clock_may_be_set_back(self):
        venue = Venue("A-USD", "NO-USD", channels=(TRADE,))
        venue.answer(invalid("NO-USD"))
        venue.now -= 3600 * SECOND
        assert venue.wait(80, refuse=invalid("NO-USD"))


class TestNames:
    """The exchange serves BTC-USDC as BTC-USD; without its list, that has to do."""

    @pytest.mark.parametrize(("pair", "name"), [("BTC-USDC", "BTC-USD"), ("BTC-USD", "BTC-USDC")])
    def test_acknowledgement_and_data_come_under_the_other_name(self, pair, name):
        venue = Venue(pair)
        venue.answer(names={pair: name})
        row = {**TRADES["events"][0]["trades"][0], "product_id": name}
        venue.say({**TRADES, "events": [{"type": "update", "trades": [row]}]})
        venue.say(book("update", pair=name))
        venue.wait(100)
        assert venue.controls(BOOK, pair) == venue.controls(TRADE, pair) == [("live", "")]
        assert (venue.data(BookSnapshot), venue.data(BookDelta), venue.data(Trade)) == ([pair], [pair], [pair])

    def test_two_pairs_that_are_one_product_each_get_its_data(self):
        venue = Venue("BTC-USD", "BTC-USDC", channels=(BOOK, TRADE, Channel.TICKER))
        both = {"BTC-USD": "BTC-USD", "BTC-USDC": "BTC-USD"}
        for request in venue.asked:
            request[2][:] = [name for name in request[2] if name != "BTC-USDC"]
        venue.answer(names=both)
        venue.wait(5, names=both)
        for channel in (BOOK, TRADE, Channel.TICKER):
            assert venue.controls(channel, "BTC-USDC")[0] == ("live", "")
        assert venue.data(BookSnapshot)[-2:] == ["BTC-USD", "BTC-USDC"]
        venue.events.clear()
        row = {**TICKER["events"][0]["tickers"][0], "product_id": "BTC-USD"}
        venue.say({**TICKER, "events": [{"type": "update", "tickers": [row]}]})
        venue.say(book("update", pair="BTC-USD"))
        assert [event.subject for event in venue.events] == ["BTC-USD", "BTC-USDC"] * 2
