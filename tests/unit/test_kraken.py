"""Kraken's connections: what is asked for, how it is answered and refused, and which pairs there are."""

from __future__ import annotations

import json

import pytest

from bridge.errors import ConfigError
from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import Credentials, HttpResponse, Pause, Reconnect, Send, Unknown, Warn
from bridge.exchanges.kraken import Kraken, _listed
from bridge.model import Channel
from tests.unit import kraken_frames as frames
from tests.unit.core import SECOND, T0, faults
from tests.unit.kraken_sessions import accept, answer, connected, kraken, sent
from tests.unit.session_views import actions, controls


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

    def test_warnings_are_said_and_are_no_errors(self):
        session = connected(channels=[Channel.BOOK])
        session.receive(frames.ACCEPTED, T0)
        [warned] = actions(session, Warn)
        assert warned.message.endswith(": tick_type is deprecated")
        assert faults(session) == []

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

    @pytest.mark.parametrize(("code", "wait"), [(1008, 600), (1006, None), (1001, None)])
    def test_close_codes(self, code, wait):
        assert Kraken.close_wait(code) == wait

    def test_limits(self):
        """About 150 attempts in ten minutes, and no silence of more than about a second."""
        assert 600 / Kraken.pace <= 150
        assert Kraken.ping < Kraken.dead <= 10

    def test_figures_of_pairs(self):
        rows = {"XXBTZUSD": frames.ASSET_PAIRS["XXBTZUSD"] | {"tick_size": "0.1", "ordermin": "0.00005"}}
        [pair] = self.drive(kraken().list_pairs(), rows)
        assert (pair.tick_size, pair.lot_size, pair.min_size) == ("0.1", "0.00000001", "0.00005")

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


@pytest.mark.parametrize("wsname", ["/USD", "XBT/", "X.T/USD", "XBT/U D"])
def test_a_pair_without_two_names_of_currencies_is_none(wsname: str) -> None:
    assert _listed({"wsname": "XBT/USD"}) is not None
    assert _listed({"wsname": wsname}) is None
