"""Kraken's market data: its messages, answers and refusals, and the checksums of its books."""

from __future__ import annotations

import json

import pytest

from bridge.book import RankedBook
from bridge.errors import ConfigError
from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import Credentials, HttpResponse, Pause, Profile, Reconnect, Send, Unknown
from bridge.exchanges.kraken import Kraken, KrakenOptions
from bridge.model import BookSnapshot, Channel, Control, Quote, Ticker, Trade
from tests.unit import kraken_frames as frames
from tests.unit.core import SECOND, T0, Apart, faults, refused
from tests.unit.held_books import Kept

ALL = Kraken.channels


def kraken(*pairs, channels=ALL, account=None, url=None, rest_url=None, **options):
    return Kraken(Profile(pairs or frames.PAIRS, frozenset(channels), url, rest_url, account, KrakenOptions(**options)))


def connected(exchange=None, channels=ALL, *, warm=True):
    """A session, with the list of instruments; what it has sent is still among its actions."""
    exchange = exchange or kraken(channels=channels)
    session = Apart(exchange.plan()[0].session())
    session.connected(T0)
    if warm:
        session.receive(frames.INSTRUMENTS, T0)
    return session


def sent(session):
    """What was sent but for pings; it is taken out of the actions."""
    texts = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
    session.actions[:] = [action for action in session.actions if not isinstance(action, Send)]
    return [message for message in texts if message["method"] != "ping"]


def answer(request, of="", error=None, **more):
    """An answer to a request, for one of its symbols."""
    params = request["params"]
    message = {"method": request["method"], "req_id": request["req_id"], "success": error is None, **more}
    if error is None:
        message["result"] = {"channel": params["channel"], **({"symbol": of} if of else {})}
    else:
        message["error"] = error
    return json.dumps(message).encode()


def accept(session):
    """Acknowledge all that it has asked for; returns the events."""
    events = []
    while requests := sent(session):
        for request in requests:
            for symbol in request["params"].get("symbol", [""]):
                events += session.receive(answer(request, symbol), T0)
    return events


def controls(events):
    return [(str(e.event), str(e.channel), e.subject) for e in events if isinstance(e, Control)]


def data(events):
    return [event for event in events if not isinstance(event, Control)]


class TestRequests:
    def test_books_wait_for_the_precisions(self):
        session = connected(warm=False)
        assert [request["params"] for request in sent(session)] == [{"channel": "instrument"}]
        session.receive(frames.INSTRUMENTS, T0)
        symbols = ["BTC/USD", "MATIC/USD", "ALGO/USD"]
        requests = sent(session)
        assert [request["params"] for request in requests] == [
            {"channel": "book", "symbol": symbols, "depth": 100},
            {"channel": "ticker", "symbol": symbols, "event_trigger": "bbo"},
            {"channel": "trade", "symbol": symbols, "snapshot": True},
        ]
        assert len({request["req_id"] for request in requests}) == 3

    def test_but_not_for_long(self):
        session = connected(warm=False)
        session.receive(answer(sent(session)[0], error="EService:Unavailable"), T0)
        session.tick(T0 + 1)
        assert {request["params"]["channel"] for request in sent(session)} == {"book", "ticker", "trade"}

    def test_a_second_connection_knows_them(self):
        exchange = kraken()
        connected(exchange)
        assert len(sent(connected(exchange, warm=False))) == 4

    def test_without_books_nothing_waits_and_tickers_are_told_by_trades(self):
        session = connected(channels=[Channel.TICKER], warm=False)
        assert [request["params"].get("event_trigger") for request in sent(session)] == [None, "trades"]

    def test_pairs_are_shared_out(self):
        exchange = kraken("A-USD", "B-USD", "C-USD", pairs_per_connection=2)
        assert [(plan.name, {s.subject for s in plan.subscriptions}) for plan in exchange.plan()] == [
            ("public-1", {"A-USD", "C-USD"}),
            ("public-2", {"B-USD"}),
        ]

    def test_a_request_names_no_more_than_fifty_symbols(self):
        session = connected(kraken(*(f"A{number}-USD" for number in range(120)), channels=[Channel.TRADES]), warm=False)
        assert [len(request["params"].get("symbol", ())) for request in sent(session)] == [0, 50, 50, 20]


class TestAnswers:
    def test_each_symbol_is_acknowledged_for_itself(self):
        session = connected(channels=[Channel.TRADES])
        [_, request] = sent(session)
        assert controls(session.receive(answer(request, "MATIC/USD"), T0)) == [("live", "trades", "MATIC-USD")]
        assert controls(session.receive(answer(request, "BTC/USD"), T0)) == [("live", "trades", "BTC-USD")]

    @pytest.mark.parametrize("more", [{"symbol": "MATIC/USD"}, {}, {"success": "no"}, {"success": None}])
    def test_a_refusal_may_name_nothing_but_its_request(self, more):
        session = connected(channels=[Channel.TRADES, Channel.BOOK])
        _, _, request = sent(session)
        frame = answer(request, error="Currency pair not supported MATIC/USD", **more)
        assert controls(session.receive(frame, T0)) == [("down", "trades", "MATIC-USD")]
        assert faults(session) == [("unknown_market", None, "trade:MATIC/USD", "Currency pair not supported MATIC/USD")]
        session.tick(T0 + 80 * SECOND)
        again = [request["params"]["symbol"] for request in sent(session) if request["params"]["channel"] == "trade"]
        assert again == [["MATIC/USD"]]

    def test_a_refusal_of_a_request_for_one_symbol_may_say_nothing_at_all(self):
        session = connected(kraken("BTC-USD", channels=[Channel.TRADES]))
        [_, request] = sent(session)
        frame = json.dumps({"method": "subscribe", "req_id": request["req_id"], "success": False}).encode()
        [down] = session.receive(frame, T0)
        assert (down.event, down.reason) == ("down", "no reason given")

    def test_where_nobody_can_tell_which_is_meant_each_is_asked_for_by_itself(self):
        session = connected(channels=[Channel.TRADES])
        [_, request] = sent(session)
        assert session.receive(answer(request, error="EGeneral:Invalid arguments"), T0) == []
        assert faults(session)[0][0] == "bad_request"
        assert [request["params"]["symbol"] for request in sent(session)] == [["BTC/USD"], ["MATIC/USD"], ["ALGO/USD"]]

    def test_warnings_are_said(self):
        session = connected(channels=[Channel.BOOK])
        session.receive(frames.ACCEPTED, T0)
        assert [error[3] for error in faults(session)] == ["tick_type is deprecated"]

    def test_a_subscription_that_stands_is_as_good_as_a_new_one(self):
        session = connected(channels=[Channel.TRADES])
        [_, request] = sent(session)
        frame = answer(request, error="Already subscribed", symbol="BTC/USD")
        assert controls(session.receive(frame, T0)) == [("live", "trades", "BTC-USD")]

    def test_a_resync_gives_the_book_back_with_its_depth(self):
        session = connected(channels=[Channel.BOOK])
        accept(session)
        session.resync("MATIC-USD", T0, "a test")
        session.resync("NO-PAIR", T0, "a test")
        session.tick(T0)
        params = {"channel": "book", "symbol": ["MATIC/USD"], "depth": 100}
        assert [(request["method"], request["params"]) for request in sent(session)] == [
            ("unsubscribe", params),
            ("subscribe", params),
        ]

    def test_an_unsubscription_that_fails_is_said(self):
        session = connected()
        refusal = {"method": "unsubscribe", "error": "Subscription Not Found", "success": False, "req_id": 99}
        assert session.receive(json.dumps(refusal).encode(), T0) == []
        assert [error[3] for error in faults(session)] == ["Subscription Not Found"]

    def test_no_answer_at_all(self):
        session = connected(warm=False)
        session.tick(T0 + 11 * SECOND)
        assert isinstance(session.actions[-1], Reconnect)

    def test_what_is_not_known_is_counted(self):
        session = connected()
        session.actions.clear()
        for message in (
            {"channel": "ohlc"},
            {"method": "batch"},
            {},
            {"channel": "trade", "data": [{"symbol": "X/Y"}]},
        ):
            assert session.receive(json.dumps(message).encode(), T0) == []
        assert [action.kind for action in session.actions if isinstance(action, Unknown)] == [
            "ohlc",
            "batch",
            "message without channel",
            "trade",
        ]


class TestLife:
    def test_pings_and_their_answers(self):
        session = connected()
        for second in range(25):
            session.tick(T0 + second * SECOND)
        assert Send('{"method":"ping"}') in session.actions
        session.receive(frames.PONG, T0 + 25 * SECOND)
        for second in range(26, 36):
            session.tick(T0 + second * SECOND)
        assert not [action for action in session.actions if isinstance(action, Reconnect)]

    def test_the_states_of_the_system(self):
        session = connected()
        session.actions.clear()
        for state in ("online", "maintenance", "maintenance", "online", "post_only", "cancel_only", "online"):
            session.receive(frames.STATUS.replace(b"online", state.encode()), T0)
        pauses = [action for action in session.actions if isinstance(action, Pause)]
        assert [pause.until for pause in pauses] == [None, T0, None, T0]
        assert all(pause.subjects is None for pause in pauses)

    def test_a_pair_stands_still(self):
        session = connected()
        session.actions.clear()
        session.receive(frames.INSTRUMENT_UPDATE, T0)
        session.receive(frames.INSTRUMENT_UPDATE.replace(b"cancel_only", b"online"), T0 + 1)
        pauses = [action for action in session.actions if isinstance(action, Pause)]
        assert [(pause.until, pause.subjects) for pause in pauses] == [(None, ["ALGO-USD"]), (T0 + 1, ["ALGO-USD"])]


class TestMessages:
    def test_a_trade(self):
        [trade] = data(connected().receive(frames.TRADE, T0))
        ts = 1695628177708706000
        assert trade == Trade("MATIC-USD", ts, T0, "4665906", "sell", "0.5117", "40.0")

    def test_a_snapshot_of_trades_is_a_replay_oldest_first(self):
        message = json.loads(frames.TRADES)
        message["data"].reverse()
        trades = data(connected().receive(json.dumps(message).encode(), T0))
        assert [(trade.id, trade.replay) for trade in trades] == [("4665846", True), ("4665847", True)]

    def test_trades_that_are_missing_are_counted_over_connections(self):
        exchange = kraken()
        session = connected(exchange)
        session.receive(frames.TRADES, T0)
        [gap] = [e for e in session.receive(frames.TRADE, T0) if isinstance(e, Control) and e.event == "gap"]
        assert (gap.count, gap.subject) == (4665906 - 4665848, "MATIC-USD")
        again = connected(exchange)
        assert controls(again.receive(frames.TRADE, T0)) == [("live", "trades", "MATIC-USD")]
        [gap] = [e for e in again.receive(frames.changed(frames.TRADE, trade_id=4665909), T0) if isinstance(e, Control)]
        assert gap.count == 2

    def test_a_bad_trade_is_one_gap(self):
        session = connected(channels=[Channel.TRADES])
        accept(session)
        message = json.loads(frames.TRADES)
        rows = [message["data"][0] | {"trade_id": number} for number in (1, 2, 3)]
        rows[1]["price"] = "x"
        events = session.receive(json.dumps(message | {"data": rows}).encode(), T0)
        assert [getattr(event, "id", "gap") for event in events] == ["1", "gap", "3"]
        assert session.receive(json.dumps(message | {"data": [rows[0] | {"trade_id": 4}]}).encode(), T0)[0].id == "4"

    def test_numbers_keep_their_digits(self):
        frame = frames.changed(frames.TRADE, price=frames.number("1.2e-07"), qty="0.10")
        [trade] = data(connected().receive(frame, T0))
        assert (trade.price, trade.size) == ("0.00000012", "0.10")

    def test_best_prices_and_the_last_day(self):
        session = connected()
        quote, ticker = data(session.receive(frames.TICKER, T0))
        ts = 1695632671742648000
        assert quote == Quote("ALGO-USD", ts, T0, "0.10025", "740.0", "0.10035", "740.0")
        day = ("86400", "", "0.10285", "0.09979", "0.10035", "-0.00017", "-0.17", "997038.98383185")
        assert ticker == Ticker("ALGO-USD", ts, T0, *day)
        assert session.receive(frames.TICKER, T0) == []
        [quote] = session.receive(frames.changed(frames.TICKER, bid=frames.number("0.10026")), T0)
        assert quote.bid == "0.10026"

    @pytest.mark.parametrize("gone", [{"bid": 0, "bid_qty": 0}, {"bid": None, "bid_qty": None}, {"bid": "0.0"}])
    def test_a_side_without_orders(self, gone):
        quote = connected().receive(frames.changed(frames.TICKER, **gone), T0)[-2]
        assert (quote.bid, quote.bid_size, quote.ask) == ("", "", "0.10035")

    def test_after_a_bad_ticker_the_next_is_news(self):
        session = connected(channels=[Channel.TICKER])
        session.receive(frames.TICKER, T0)
        assert refused(session, frames.changed(frames.TICKER, last="x")) == [("ticker", "ALGO-USD")]
        assert len(session.receive(frames.TICKER, T0)) == 1

    def test_a_frame_of_which_no_pair_can_be_read_may_be_of_any(self):
        session = connected(channels=[Channel.TRADES, Channel.BOOK])
        accept(session)
        pairs = sorted(("trades", pair) for pair in frames.PAIRS)
        assert refused(session, b'{"channel":"trade","type":"update","data":[{"side":"buy"}]}') == pairs
        assert refused(session, b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD",') == [
            ("trades", "BTC-USD")
        ]


class TestBooks:
    def kept(self, channels=(Channel.BOOK,)):
        exchange = kraken("MATIC-USD", channels=channels, depth=10)
        session = connected(exchange)
        accept(session)
        return Kept(session, exchange.book, ["MATIC-USD"], channels)

    def test_the_vector_of_the_guide(self):
        """Its numbers are written in full; without the trailing zeros the pair's precision brings them back."""
        for bare in (False, True):
            book, exchange = RankedBook(), kraken("BTC-USD")
            connected(exchange)
            levels = [
                [(price, size.rstrip("0") if bare else size) for price, size in side]
                for side in (frames.GUIDE_BIDS, frames.GUIDE_ASKS)
            ]
            book.replace(*levels)
            assert exchange.book.checksum("BTC-USD", book) == frames.GUIDE_CHECKSUM

    def test_the_documents_frames(self):
        kept = self.kept()
        assert [type(e).__name__ for e in kept.receive(frames.SNAPSHOT, T0)] == ["Control", "BookSnapshot"]
        [delta] = kept.receive(frames.UPDATE, T0)
        assert (delta.bids, delta.checksum) == ([("0.5657", "1098.3947558")], 2114181697)
        assert kept.sink.controls == ["live"]

    def test_a_wrong_checksum_asks_for_the_book_again(self):
        kept = self.kept()
        kept.receive(frames.SNAPSHOT, T0)
        assert controls(kept.receive(frames.UPDATE.replace(b"2114181697", b"7"), T0)) == [("gap", "book", "MATIC-USD")]
        assert [request["method"] for request in sent(kept.session)] == ["unsubscribe", "subscribe"]
        kept.receive(frames.UPDATE, T0)
        assert [str(e.event) for e in kept.receive(frames.SNAPSHOT, T0) if isinstance(e, Control)] == ["lost"]

    def test_an_update_before_its_snapshot(self):
        kept = self.kept()
        assert controls(kept.receive(frames.UPDATE, T0)) == [
            ("live", "book", "MATIC-USD"),
            ("gap", "book", "MATIC-USD"),
        ]

    def test_best_first_and_a_time_that_may_be_missing(self):
        message = json.loads(frames.SNAPSHOT)
        row = message["data"][0]
        row["bids"].reverse()
        del row["timestamp"], row["checksum"]
        [snapshot] = data(connected().receive(json.dumps(message).encode(), T0))
        assert isinstance(snapshot, BookSnapshot)
        assert (snapshot.bids[0][0], snapshot.asks[0][0], snapshot.ts) == ("0.5666", "0.5668", None)

    def test_an_empty_side_is_a_book(self):
        message = json.loads(frames.SNAPSHOT)
        message["data"][0] |= {"bids": [], "checksum": None}
        [snapshot] = data(connected().receive(json.dumps(message).encode(), T0))
        assert snapshot.bids == []

    @pytest.mark.parametrize("depth", [10, "25", 1000])
    def test_depths(self, depth):
        assert kraken(depth=depth).book.depth == int(depth)

    def test_other_depths_are_refused(self):
        with pytest.raises(ValueError, match="depth"):
            KrakenOptions(depth=50)


class TestListing:
    def drive(self, flow, result=frames.ASSET_PAIRS, *errors):
        next(flow)
        try:
            flow.send(HttpResponse(200, frames.rest(result, *errors)))
        except StopIteration as stop:
            return stop.value
        raise AssertionError

    def test_names_by_the_first_version_s_or_by_the_currencies(self):
        found = self.drive(kraken().list_pairs())
        assert [(pair.pair, pair.status) for pair in found] == [
            ("BTC-USD", "online"),
            ("MATIC-USD", "online"),
            ("ALGO-USD", ""),
            ("XRP-BTC", "cancel_only"),
            ("DOGE-USD", ""),
        ]

    def test_a_wrong_pair(self):
        self.drive(kraken("BTC-USD", "DOGE-USD").discover(T0))
        with pytest.raises(UnknownPairError, match="did you mean BTC-USD"):
            self.drive(kraken("XBT-USD").discover(T0))

    def test_a_server_of_ones_own_is_not_asked_for_pairs_unless_it_has_rest(self):
        assert list(kraken(url="ws://127.0.0.1:1").discover(T0)) == []

    @pytest.mark.parametrize("body", [b"x", b"[]", b'{"error":[],"result":[]}', b'{"error":["EService:Busy"]}'])
    def test_no_list(self, body):
        flow = kraken().list_pairs()
        next(flow)
        with pytest.raises(RestError):
            flow.send(HttpResponse(200, body))

    def test_the_clock(self):
        reading = self.drive(kraken().clock(), {"unixtime": 1616336594, "rfc1123": "Sun, 21 Mar 21 14:23:14 +0000"})
        assert (reading.at, reading.resolution) == (1616336594 * SECOND, SECOND)

    @pytest.mark.parametrize(("status", "wait"), [(429, 600), (403, 600), (401, 600), (503, None), (500, None)])
    def test_refused_handshakes(self, status, wait):
        assert Kraken.handshake_wait(status) == wait

    def test_addresses(self):
        account = Credentials("main", frames.KEY, frames.SECRET)
        assert kraken(account=account).bases == [
            "wss://ws.kraken.com",
            "wss://ws-auth.kraken.com",
            "https://api.kraken.com",
        ]
        kraken(account=account).check()
        with pytest.raises(ConfigError, match="Base64"):
            kraken(account=Credentials("main", frames.KEY, "no secret")).check()
