"""A Kraken account's state by REST: what was open, what was missed, what there is."""

from __future__ import annotations

import json

import pytest
from msgspec import structs

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Fetch, HttpResponse, Profile, Reject, Said
from bridge.exchanges.kraken import Kraken
from bridge.exchanges.kraken.private import CODES, KrakenRest, currency
from bridge.exchanges.toolkit.pairs.told_names import ToldNames
from bridge.model import Balance, Channel, Fill, Order
from tests.unit import kraken_frames as frames
from tests.unit.core import SECOND, T0, fill
from tests.unit.kraken_sessions import ACCOUNT, NOW, ORDER, STREAMS, Rest, account, gaps, synced
from tests.unit.session_views import states

WHOLE_ORDER = ("", "BTC-USD", "limit", "buy", "20000", "0.01", "0", "open")


class TestRest:
    def test_what_is_open(self):
        session = synced(Rest(OpenOrders={"open": {"o-1": frames.ORDER_ROW}}))
        [order] = states(session)[Channel.ORDERS].events
        words = ("o-1", "mine-1", "BTC-USD", "limit", "buy", "20000.0", "0.01000000", "0.00000000", "open")
        assert order == Order("main", None, NOW, *words)

    @pytest.mark.parametrize(
        ("descr", "price"),
        [
            ({"ordertype": "market", "price": "0"}, ""),
            ({"ordertype": "stop-loss-limit", "price": "1", "price2": "2"}, "2"),
            ({"ordertype": "take-profit-limit", "price": "1", "price2": "2"}, "2"),
            ({"ordertype": "iceberg", "price": "3", "price2": "0"}, "3"),
            ({"ordertype": "stop-loss", "price": "1", "price2": "0"}, ""),
            ({"ordertype": "trailing-stop", "price": "+15.0000%", "price2": "0"}, ""),
            ({"ordertype": "trailing-stop-limit", "price": "+15.0", "price2": "-2.5"}, ""),
            ({"ordertype": "stop-loss-limit", "price": "1", "price2": "#0.5%"}, ""),
        ],
    )
    def test_a_price_is_a_limit_and_nothing_else(self, descr, price):
        """What triggers an order is none, and neither is a limit told as a distance: no row is refused for that."""
        row = frames.ORDER_ROW | {"descr": frames.ORDER_ROW["descr"] | descr}
        session = synced(Rest(OpenOrders={"open": {"o-1": row}}))
        [order] = states(session)[Channel.ORDERS].events
        assert (order.kind, order.price) == (descr["ordertype"], price)

    @pytest.mark.parametrize(("flags", "size"), [("fciq", "0.01000000"), ("fciq,viqc", "")])
    def test_a_volume_in_the_quote_currency_is_no_size(self, flags, size):
        session = synced(Rest(OpenOrders={"open": {"o-1": frames.ORDER_ROW | {"oflags": flags}}}))
        assert states(session)[Channel.ORDERS].events[0].size == size

    def test_what_has_become_of_those_that_were(self):
        """One that was just placed may be missing: nothing is said of it."""
        rest = Rest(QueryOrders={"o-old": frames.ORDER_ROW | {"status": "closed", "vol_exec": "0.01000000"}})
        exchange = Kraken(Profile(("BTC-USD",), frozenset(), account=ACCOUNT))
        old = [Order("main", None, NOW - 3600 * SECOND, ident, *WHOLE_ORDER) for ident in ("o-old", "o-gone")]
        exchange.recall(STREAMS[Channel.ORDERS], old, 0)
        session = synced(rest, exchange)
        state = states(session)[Channel.ORDERS]
        assert [(order.order_id, order.status) for order in state.events] == [("o-old", "filled")]
        assert sorted(rest.forms[rest.called.index("QueryOrders")]["txid"].split(",")) == [
            "OK4GJX-KSTLS-7DZZO4",
            "o-gone",
            "o-old",
        ]
        assert state.covers is not None
        assert state.covers(old[1])
        assert not state.covers(Order("main", None, NOW - 9 * SECOND, "o-new", *WHOLE_ORDER))

    def test_one_that_was_just_placed_is_asked_for_again(self):
        """REST may not know of it yet."""
        rest = Rest()
        session = synced(rest)
        session.receive(frames.PENDING.replace(b'"sequence":8', b'"sequence":2'), NOW + SECOND)
        for later, asked in ((5, True), (20, True), (40, False)):
            rest.forms.clear()
            rest.drive(session.fetch(NOW + later * SECOND))
            assert any(ORDER in form.get("txid", "").split(",") for form in rest.forms) is asked

    def test_all_that_are_missing_are_asked_for_fifty_at_a_time(self):
        ended = frames.ORDER_ROW | {"status": "canceled"}
        rest = Rest(QueryOrders=lambda form: dict.fromkeys(form["txid"].split(","), ended))
        exchange = Kraken(Profile(("BTC-USD",), frozenset(), account=ACCOUNT))
        old = [Order("main", None, NOW - 3600 * SECOND, f"o-{n}", *WHOLE_ORDER) for n in range(120)]
        exchange.recall(STREAMS[Channel.ORDERS], old, 0)
        session = synced(rest, exchange)
        assert [len(form["txid"].split(",")) for form in rest.forms if "txid" in form] == [50, 50, 21]
        assert {order.status for order in states(session)[Channel.ORDERS].events} == {"cancelled"}
        assert len(states(session)[Channel.ORDERS].events) == 121

    def test_a_page_of_the_history_weighs_more(self):
        rest = Rest()
        synced(rest)
        weights = dict(zip(rest.called, rest.weights, strict=True))
        assert weights.pop("TradesHistory") == 4
        assert weights.pop("AssetPairs") == 0, "the limit is one of signed calls"
        assert set(weights.values()) == {1}

    def test_a_warning_is_no_error(self):
        answer = {"error": ["WGeneral:Deprecated"], "result": frames.ASSET_PAIRS}
        flow = Kraken(Profile((), frozenset())).list_pairs()
        next(flow)
        with pytest.raises(StopIteration) as ended:
            flow.send(HttpResponse(200, json.dumps(answer).encode()))
        assert "BTC-USD" in [pair.pair for pair in ended.value.value]

    def test_a_nonce_that_was_overtaken_is_made_anew_once(self):
        flow = KrakenRest().post(ACCOUNT, "/0/private/OpenOrders", NOW)
        refusal = HttpResponse(200, frames.rest({}, "EAPI:Invalid nonce"), recv=NOW + 7 * SECOND)
        nonces = [next(flow).body, flow.send(refusal).body]
        assert nonces == [f"nonce={NOW // 1_000_000}", f"nonce={(NOW + 7 * SECOND) // 1_000_000}"]
        with pytest.raises(RestError):
            flow.send(refusal)

    def test_fills_page_by_page_oldest_first(self):
        rows = {f"f-{n}": frames.TRADE_ROW | {"time": 1695390000 + n / 4} for n in range(119, -1, -1)}

        def page(form):
            begin = int(form["ofs"])
            return {"trades": dict(list(rows.items())[begin : begin + 50]), "count": len(rows)}

        rest = Rest(TradesHistory=page)
        session = synced(rest)
        found = states(session)[Channel.FILLS].events
        assert [event.fill_id for event in found] == [f"f-{n}" for n in range(120)]
        assert (found[0].ts, found[0].fee, found[0].fees, found[0].pair) == (
            1695390000 * SECOND,
            "0.15606",
            "0.15606:USD",
            "BTC-USD",
        )
        forms = [form for form in rest.forms if "ofs" in form]
        assert [form["ofs"] for form in forms] == ["0", "50", "100"]
        assert {form["consolidate_taker"] for form in forms} == {"false"}
        assert int(forms[0]["start"]) == (NOW - 24 * 3600 * SECOND) // SECOND - 60

    def test_more_fills_than_are_asked_for(self):
        page = {f"f-{n}": frames.TRADE_ROW for n in range(50)}
        session = account()
        events = Rest(TradesHistory={"trades": page, "count": 9999}).drive(session.fetch(NOW))
        assert [channel for channel, _ in gaps(events)] == [Channel.FILLS]

    def test_the_history_goes_on_where_the_stream_ends(self):
        exchange = Kraken(Profile(("BTC-USD",), frozenset(), account=ACCOUNT))
        exchange.recall(STREAMS[Channel.FILLS], [fill("f-1", NOW)], 0)
        rest = Rest()
        synced(rest, exchange)
        [form] = [form for form in rest.forms if "ofs" in form]
        assert int(form["start"]) == T0 // SECOND - 60 or int(form["start"]) == NOW // SECOND - 60

    def test_balances(self):
        row = {"balance": "100.50", "credit": "10", "credit_used": "1.5", "hold_trade": "20.25"}
        session = synced(Rest(BalanceEx={"ZUSD": row, "XXBT": {"balance": "0.1"}, "XBT.F": {"balance": "7"}}))
        assert states(session)[Channel.BALANCES].events == [
            Balance("main", None, NOW, "USD", "88.75", "20.25"),
            Balance("main", None, NOW, "BTC", "0.1", "0"),
            Balance("main", None, NOW, "BTC.F", "7", "0"),
        ]

    @pytest.mark.parametrize(
        ("method", "result", "channel"),
        [
            ("OpenOrders", {"open": {"o-1": frames.ORDER_ROW, "o-2": frames.ORDER_ROW | {"vol": "x"}}}, Channel.ORDERS),
            ("TradesHistory", {"trades": {"f-1": frames.TRADE_ROW, "f-2": {"pair": 7}}}, Channel.FILLS),
            ("BalanceEx", {"ZUSD": frames.BALANCE_ROW, "XXBT": 7}, Channel.BALANCES),
        ],
    )
    def test_a_bad_row_harms_itself_alone(self, method, result, channel):
        session = account()
        events = Rest(**{method: result}).drive(session.fetch(NOW))
        assert len(states(session)[channel].events) == 1
        assert [found for found, _ in gaps(events)] == [channel]
        assert [action for action in session.actions if isinstance(action, Reject)]

    @pytest.mark.parametrize("result", [[], 7, {"open": 7}, {}])
    def test_an_answer_of_another_shape_is_none(self, result):
        session = synced(Rest(OpenOrders=result))
        assert any(isinstance(action, Said) for action in session.actions)
        assert states(session).keys() == {Channel.FILLS, Channel.BALANCES}

    @pytest.mark.parametrize("frame", [frames.BALANCE, frames.PENDING])
    def test_what_moves_balances_has_them_fetched(self, frame):
        session = synced(Rest())
        session.receive(frame, NOW + SECOND)
        session.actions.clear()
        for second in range(2, 12):
            session.tick(NOW + second * SECOND)
        assert "balances" in [action.what for action in session.actions if isinstance(action, Fetch)]


OLD_PAIR = "XICNXXBT"
"""Of a pair that no list has, and whose currencies the name doesn't tell; the WebSocket has ICN/BTC."""
OLD_ORDER = frames.ORDER_ROW | {"descr": frames.ORDER_ROW["descr"] | {"pair": OLD_PAIR}}
OLD_FILL = frames.TRADE_ROW | {"pair": OLD_PAIR, "ordertxid": ORDER}


def _numbered(frame, number, **fields):
    return frames.dumps(json.loads(frames.changed(frame, **fields)) | {"sequence": number})


class TestPairsThatNoListHas:
    def test_an_order_and_its_fill_have_the_pair_that_the_connection_says(self):
        rest = Rest(OpenOrders={"open": {ORDER: OLD_ORDER}}, TradesHistory={"trades": {"f-1": OLD_FILL}})
        session = account(rest)
        session.receive(_numbered(frames.PENDING, 2, symbol="ICN/BTC"), NOW)
        rest.drive(session.fetch(NOW))
        [order], [found] = (states(session)[channel].events for channel in (Channel.ORDERS, Channel.FILLS))
        assert (order.pair, found.pair) == ("ICN-BTC", "ICN-BTC")
        assert (found.fee, found.fee_currency) == ("0.15606", "BTC")

    def test_a_fill_keeps_its_pair_over_connections_and_shows_what_others_are_of(self):
        exchange = Kraken(Profile(("BTC-USD",), frozenset(), account=ACCOUNT))
        traded = _numbered(frames.TRADED, 2, symbol="ICN/BTC", exec_id="f-1", order_id="o-1")
        account(exchange=exchange).receive(traded, NOW)
        found = {"f-1": OLD_FILL | {"ordertxid": "o-1"}, "f-2": OLD_FILL | {"time": 1695390000.5}}
        session = synced(Rest(TradesHistory={"trades": found}), exchange)
        assert [event.pair for event in states(session)[Channel.FILLS].events] == ["ICN-BTC"] * 2

    @pytest.mark.parametrize("known", [Order("main", None, T0, ORDER, "", "ICN-BTC", *WHOLE_ORDER[2:]), None])
    def test_what_was_known_before_the_start_keeps_its_pair(self, known):
        exchange = Kraken(Profile(("BTC-USD",), frozenset(), account=ACCOUNT))
        before = [known] if known else [structs.replace(fill("f-1", NOW), order_id=ORDER, pair="ICN-BTC")]
        exchange.recall(STREAMS[Channel.ORDERS if known else Channel.FILLS], before, 0)
        session = synced(Rest(TradesHistory={"trades": {"f-1": OLD_FILL}}), exchange)
        assert [event.pair for event in states(session)[Channel.FILLS].events] == ["ICN-BTC"]

    def test_an_order_that_rest_tells_of_first_does_not_get_a_second_pair(self):
        rest = Rest(QueryOrders={ORDER: OLD_ORDER})
        session = synced(rest)
        session.receive(_numbered(frames.NEW, 2), NOW)
        rest.drive(session.fetch(NOW + 10 * SECOND))
        events = session.receive(_numbered(frames.TRADED, 3, symbol="ICN/BTC"), NOW + 11 * SECOND)
        assert [event.pair for event in events if isinstance(event, Order | Fill)] == [OLD_PAIR] * 2

    @pytest.mark.parametrize(
        ("name", "pair", "currency"),
        [
            ("AAPLxUSD", "AAPLx-USD", "USD"),
            ("XXLMZEUR", "XLM-EUR", "EUR"),
            (OLD_PAIR, OLD_PAIR, ""),
            ("USD", "USD", ""),
        ],
    )
    def test_without_a_word_of_the_connection_the_ending_tells_the_quote_currency(self, name, pair, currency):
        session = synced(Rest(TradesHistory={"trades": {"f-1": OLD_FILL | {"pair": name}}}))
        [found] = states(session)[Channel.FILLS].events
        assert (found.pair, found.fee_currency) == (pair, currency)

    def test_only_so_much_is_remembered(self):
        names = ToldNames(currency, CODES)
        for number in range(12_000):
            names.kept("ICN-BTC", str(number))
        assert [names.by_rest("?", str(number)) for number in (1_999, 2_000)] == ["?", "ICN-BTC"]

    def test_the_connections_name_of_a_listed_pair_is_the_lists(self):
        listed = {"AAPLxUSD": {"altname": "AAPLxUSD", "wsname": "AAPLx/USD", "base": "AAPLx", "quote": "ZUSD"}}
        session = account(Rest(AssetPairs=frames.ASSET_PAIRS | listed))
        [order] = session.receive(_numbered(frames.PENDING, 2, symbol="AAPLx/USD"), NOW)
        assert order.pair == "AAPLX-USD"
