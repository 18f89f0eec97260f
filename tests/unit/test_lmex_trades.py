from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import Reconnect, Reject, Unknown
from bridge.exchanges.lmex.messages import Market, market_of, old_symbol, pair_of
from bridge.model import Channel, Control, ControlEvent, Trade
from tests.unit import lmex_frames as frames
from tests.unit.core import T0, Rig, faults, refused
from tests.unit.lmex_sessions import ack, asked, said, seconds, sent, trades
from tests.unit.session_views import data


def row(ident, pair="BTC-PERP", **more):
    found = {"symbol": pair, "side": "BUY", "size": 7, "price": 5302.8, "tradeId": ident, "timestamp": 1584446020295}
    return found | more


def batch(*rows, topic="tradeHistoryApiV2:BTC-PERP"):
    return json.dumps({"topic": topic, "data": rows}).encode()


class TestNames:
    @pytest.mark.parametrize(
        ("symbol", "pair"),
        [
            ("BTC-USD", "BTC-USD"),
            ("BTC-PERP", "BTC-PERP"),
            ("BTCPFC", "BTC-PERP"),
            ("BTC-PERP-USDT", "BTC-PERP"),
            ("BTC-260626", "BTC-260626"),
            ("BTC-260626-USDT", "BTC-260626"),
        ],
    )
    def test_pair_of(self, symbol, pair):
        assert pair_of(symbol) == pair

    @pytest.mark.parametrize(
        ("pair", "market"),
        [("BTC-USD", "spot"), ("ETH-EUR", "spot"), ("BTC-PERP", "futures"), ("BTC-260626", "futures")],
    )
    def test_market_of(self, pair, market):
        assert market_of(pair) == market

    def test_old_symbol(self):
        assert (old_symbol("BTC-PERP"), old_symbol("BTC-260626")) == ("BTCPFC", "BTC-260626")


class TestSampleFrames:
    def test_spot(self):
        [event] = data(trades("BTC-USD", market=Market.SPOT).receive(frames.SPOT_TRADES, T0))
        assert event == Trade(
            "BTC-USD", 1779786372223_000_000, T0, "31626447", "sell", "76653.1", "0.0145", replay=True
        )

    def test_old_futures_topic_without_a_symbol(self):
        events = trades("BTC-PERP").receive(frames.OLD_TRADES, T0)
        assert said(events) == [("live", "trades", "BTC-PERP"), "Trade"]
        assert events[1] == Trade(
            "BTC-PERP",
            1779800209269_000_000,
            T0,
            "35993384",
            "sell",
            "77099.9",
            "0.0653",
            replay=True,
            contracts="6530",
        )

    @pytest.mark.parametrize("version", [b"V2", b"V3"])
    def test_newer_futures_topics(self, version):
        [event] = data(trades("BTC-PERP").receive(frames.V2_TRADES.replace(b"V2", version), T0))
        assert event == Trade(
            "BTC-PERP", 1584446020295_000_000, T0, "57971633", "sell", "5302.8", "0.00007", replay=True, contracts="7"
        )

    def test_numbers_keep_their_digits(self):
        frame = frames.SPOT_TRADES.replace(b"0.0145", b"0.014500").replace(b"76653.1", b"12345678901234567890.10")
        [event] = data(trades("BTC-USD", market=Market.SPOT).receive(frame, T0))
        assert (event.price, event.size) == ("12345678901234567890.10", "0.014500")

    def test_exponents_are_written_out(self):
        frame = frames.SPOT_TRADES.replace(b"0.0145", b"1.5e-7").replace(b"76653.1", b"7.66531E+4")
        [event] = data(trades("BTC-USD", market=Market.SPOT).receive(frame, T0))
        assert (event.price, event.size) == ("76653.1", "0.00000015")

    def test_a_single_object(self):
        message = json.loads(frames.V2_TRADES)
        [event] = data(trades("BTC-PERP").receive(json.dumps({**message, "data": message["data"][0]}).encode(), T0))
        assert event.id == "57971633"


class TestBatches:
    def test_the_first_batch_is_sorted_and_marked(self):
        session = trades("BTC-PERP")
        first = data(session.receive(batch(row(9), row(8), row(7)), T0))
        assert [(e.id, e.replay) for e in first] == [("7", True), ("8", True), ("9", True)]
        [next_one] = data(session.receive(batch(row(10)), T0))
        assert not next_one.replay

    def test_each_pair_has_its_first_batch(self):
        session = trades("BTC-PERP", "ETH-PERP")
        session.receive(batch(row(9)), T0)
        [event] = data(session.receive(batch(row(4, "ETH-PERP"), topic="tradeHistoryApiV2:ETH-PERP"), T0))
        assert event.replay

    def test_the_stream_has_each_trade_once_in_order(self):
        session = trades("BTC-PERP")
        rig = Rig(Channel.TRADES)
        frames_ = [
            batch(row(3), row(2), row(1)),
            batch(row(3), row(2), row(1)),
            batch(row(4)),
            batch(row(6), row(5)),
            batch(row(5)),
        ]
        for frame in frames_:
            for event in session.receive(frame, T0):
                rig.topic.control(event) if isinstance(event, Control) else rig.topic.accept(event)
        assert [event.id for event in rig.sink.data] == ["1", "2", "3", "4", "5", "6"]
        assert rig.sink.controls == ["live"]

    def test_rows_of_other_pairs_are_passed_over(self):
        session = trades("BTC-PERP")
        events = session.receive(batch(row(1, "NEW-PERP"), row(2), row(3, "BTC-USD"), topic="tradeHistoryApi"), T0)
        assert [event.id for event in data(events)] == ["2"]

    def test_an_empty_batch(self):
        assert trades("BTC-PERP").receive(batch(), T0) == []


class TestSubscribing:
    def test_spot(self):
        session = trades("BTC-USD", "ETH-EUR", market=Market.SPOT)
        session.connected(T0)
        assert sent(session) == [("subscribe", "tradeHistoryApi:BTC-USD", "tradeHistoryApi:ETH-EUR")]

    def test_futures(self):
        session = trades("BTC-PERP")
        session.connected(T0)
        assert sent(session) == [("subscribe", "tradeHistoryApiV2:BTC-PERP")]

    def test_the_ack_is_live(self):
        session = trades("BTC-USD", market=Market.SPOT)
        assert said(session.receive(frames.ACK, T0)) == [("live", "trades", "BTC-USD")]
        assert session.actions == []

    def test_what_the_ack_leaves_out_is_asked_for_in_its_older_forms(self):
        session = trades("BTC-PERP", "ETH-PERP")
        session.connected(T0)
        assert said(session.receive(ack("tradeHistoryApiV2:ETH-PERP"), T0)) == [("live", "trades", "ETH-PERP")]
        assert asked(session) == ["tradeHistoryApi:BTCPFC"]
        assert session.receive(frames.EMPTY_ACK, T0) == []
        assert asked(session) == ["tradeHistoryApi:BTC-PERP"]
        session.actions.clear()
        [down] = session.receive(frames.EMPTY_ACK, T0)
        assert (down.event, down.subject, down.reason) == (
            ControlEvent.DOWN,
            "BTC-PERP",
            "the exchange doesn't accept the topic",
        )
        why = "the exchange doesn't accept the topic"
        assert faults(session) == [("topic_left_out", None, "tradeHistoryApi:BTC-PERP", why)]

    def test_the_old_form_is_accepted(self):
        session = trades("BTC-PERP")
        session.connected(T0)
        session.receive(frames.EMPTY_ACK, T0)
        assert said(session.receive(ack("tradeHistoryApi:BTCPFC"), T0)) == [("live", "trades", "BTC-PERP")]
        session.actions.clear()
        assert session.tick(seconds(14)) == []
        assert session.actions == []

    def test_a_refused_topic_is_asked_for_again_about_every_minute(self):
        session = trades("BTC-USD", market=Market.SPOT)
        session.connected(T0)
        assert said(session.receive(frames.EMPTY_ACK, T0)) == [("down", "trades", "BTC-USD")]
        session.actions.clear()
        session.tick(seconds(47))
        assert sent(session) == []
        session.tick(seconds(73))
        assert sent(session) == [("subscribe", "tradeHistoryApi:BTC-USD")]
        assert said(session.receive(frames.ACK, T0)) == [("live", "trades", "BTC-USD")]
        session.tick(seconds(300))
        assert sent(session) == []

    def test_an_error_of_a_topic_is_down(self):
        session = trades("BTC-USD", market=Market.SPOT)
        session.connected(T0)
        rows = [{"arg": "tradeHistoryApi:BTC-USD", "error": {"code": 1000, "message": "no"}}]
        [event] = session.receive(json.dumps({"severity": "ERROR", "errors": rows}).encode(), T0)
        assert (event.event, event.reason) == (ControlEvent.DOWN, "1000: no")

    def test_no_answer(self):
        session = trades("BTC-USD", market=Market.SPOT)
        session.tick(seconds(9.9))
        assert session.actions == []
        session.tick(seconds(10.1))
        assert session.actions == [Reconnect("no answer to the subscription within 10 s")]

    def test_no_answer_about_one_pair_leaves_the_others_alone(self):
        session = trades("BTC-USD", "ETH-USD", market=Market.SPOT)
        session.connected(T0)
        session.receive(ack("tradeHistoryApi:ETH-USD"), T0)
        now = 73
        session.actions.clear()
        for told in (["down"], [], []):
            assert list(session.tick(seconds(now))) == []
            assert sent(session) == [("subscribe", "tradeHistoryApi:BTC-USD")]
            assert [what for what, *_ in said(session.tick(seconds(now + 10.5)))] == told, "once"
            assert len(faults(session)) == len(told)
            assert session.actions == [], "no new connection"
            session.tick(seconds(now + 57))
            assert sent(session) == []
            now += 84

    def test_data_is_an_answer_too(self):
        session = trades("BTC-USD", "ETH-USD", market=Market.SPOT)
        session.connected(T0)
        row = {"symbol": "BTC-USD", "side": "SELL", "size": 1, "price": 2, "tradeId": 3, "timestamp": 1779786372223}
        session.receive(json.dumps({"topic": "tradeHistoryApi:BTC-USD", "data": [row]}).encode(), T0)
        session.actions.clear()
        [down] = session.tick(seconds(10.5))
        reason = "no answer to the subscription within 10 s"
        assert (down.event, down.subject, down.reason) == (ControlEvent.DOWN, "ETH-USD", reason)
        assert faults(session) == [("topic_left_out", None, "tradeHistoryApi:ETH-USD", reason)]

    def test_one_that_is_refused_again_and_again_keeps_no_other_waiting(self):
        session = trades("BTC-USD", "ETH-USD", market=Market.SPOT)
        session.connected(T0)
        session.receive(ack("tradeHistoryApi:ETH-USD"), T0)
        no = {"arg": "tradeHistoryApi:ETH-USD", "error": {"code": 1000, "message": "no"}}
        for second in (20, 35):
            session.receive(json.dumps({"severity": "ERROR", "errors": [no]}).encode(), seconds(second))
            session.receive(ack("tradeHistoryApi:ETH-USD"), seconds(second + 1))
        session.actions.clear()
        session.tick(seconds(73))
        assert ("subscribe", "tradeHistoryApi:BTC-USD") in sent(session)

    def test_our_clock_may_be_set_back(self):
        session = trades("BTC-USD", "ETH-USD", market=Market.SPOT)
        session.connected(T0)
        session.receive(ack("tradeHistoryApi:ETH-USD"), T0)
        session.tick(seconds(-7200))
        session.actions.clear()
        session.tick(seconds(-7200 + 73))
        assert sent(session) == [("subscribe", "tradeHistoryApi:BTC-USD")]

    def test_unknown_topics_are_told(self):
        session = trades("BTC-PERP")
        session.receive(b'{"topic":"liquidations:BTC-PERP","data":[]}', T0)
        assert session.actions == [Unknown("liquidations")]


class TestGarbage:
    @pytest.mark.parametrize("frame", frames.UNREADABLE)
    def test_nonsense_is_a_gap_of_all_pairs(self, frame):
        session = trades("BTC-PERP", "ETH-PERP")
        assert refused(session, frame) == [("trades", "BTC-PERP"), ("trades", "ETH-PERP")]
        assert [type(output) for output in session.outputs[-3:]] == [Reject, Control, Control], "before the gaps"

    @pytest.mark.parametrize("frame", [frames.SPOT_TRADES, frames.OLD_TRADES, frames.V2_TRADES])
    def test_missing_and_wrong_fields(self, frame):
        message = json.loads(frame)
        for name in message["data"][0]:
            for value in (None, 5, -1, "", "x", "nan", "NaN", [], [{}], {}, True, "Ünïcode ₿", 10**30, 2**63, 1e300):
                session = trades("BTC-PERP", "BTC-USD")
                changed = {**message, "data": [{**message["data"][0], name: value}]}
                session.receive(json.dumps(changed).encode(), T0)

    @pytest.mark.parametrize(
        "frame",
        [
            frames.V2_TRADES.replace(b'"SELL"', b'"HOLD"'),
            frames.V2_TRADES.replace(b"5302.8", b"-5302.8"),
            frames.V2_TRADES.replace(b"5302.8", b'"lots"'),
            frames.V2_TRADES.replace(b"5302.8", b"null"),
            frames.V2_TRADES.replace(b'"size":7', b'"size":1e999999999'),
            frames.V2_TRADES.replace(b"1584446020295", b"-1"),
            frames.V2_TRADES.replace(b"57971633", b'"x"'),
            frames.V2_TRADES.replace(b"5302.8", b'"\xff"'),
            frames.V2_TRADES.replace(b"BTC-PERP", b"NEW-PERP"),
        ],
    )
    def test_what_is_no_number_is_a_gap_of_its_pair_alone(self, frame):
        [pair] = [pair for pair in ("BTC-PERP", "NEW-PERP") if pair.encode() in frame[:40]]
        assert refused(trades("BTC-PERP", "NEW-PERP"), frame) == [("trades", pair)]

    @pytest.mark.parametrize(
        "change",
        [
            {"side": "buy"},
            {"tradeId": "t7"},
            {"size": None},
            {"timestamp": 1_790_133_628},
            {"symbol": 7},
            {"price": "NaN"},
        ],
    )
    def test_the_good_rows_beside_a_bad_one_are_served(self, change):
        good = {
            "symbol": "BTC-PERP",
            "side": "SELL",
            "size": 7,
            "price": 5302.8,
            "tradeId": 1,
            "timestamp": 1584446020295,
        }
        rows = [good, {**good, "tradeId": 2, **change}, {**good, "tradeId": 3}]
        session = trades("BTC-PERP", "ETH-PERP")
        frame = json.dumps({"topic": "tradeHistoryApiV2:BTC-PERP", "data": rows}).replace('"NaN"', "NaN").encode()
        events = session.receive(frame, T0)
        assert [event.id for event in data(events)] == ["1", "3"]
        [gap] = [event for event in events if isinstance(event, Control) and event.event is ControlEvent.GAP]
        assert (gap.subject, gap.count) == ("BTC-PERP", 1)

    def test_a_row_without_a_pair_may_be_of_any(self):
        frame = frames.OLD_TRADES.replace(b'"BTCPFC"', b"null")
        assert refused(trades("BTC-PERP", "ETH-PERP"), frame) == [("trades", "BTC-PERP"), ("trades", "ETH-PERP")]

    def test_an_answer_that_has_a_status_of_another_type_is_one(self):
        session = trades("BTC-PERP")
        events = session.receive(b'{"event":"subscribe","channel":["tradeHistoryApiV2:BTC-PERP"],"status":"ok"}', T0)
        assert said(events) == [("live", "trades", "BTC-PERP")]


@pytest.mark.parametrize(
    ("symbol", "missed"),
    [
        ("BTC-PERP", ["BTC-PERP"]),
        ("BTCPFC", ["BTC-PERP"]),
        ("SOL-PERP", ["BTC-PERP", "ETH-PERP"]),
        (7, ["BTC-PERP", "ETH-PERP"]),
    ],
)
def test_a_row_that_cant_be_decoded_is_missed_by_the_pair_that_it_names(symbol, missed):
    rows = [{"price": 1, "size": 1, "side": "BUY", "symbol": symbol, "tradeId": "x", "timestamp": 1779800209269}]
    frame = json.dumps({"topic": "tradeHistoryApi", "data": rows}).encode()
    assert refused(trades("BTC-PERP", "ETH-PERP"), frame) == [("trades", pair) for pair in missed]
