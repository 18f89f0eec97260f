"""OKX as a connector sees it: its pairs, its addresses, its plan."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import HttpResponse, Subscription
from bridge.exchanges.okx import Okx, OkxOptions
from bridge.model import Channel, Fill
from tests.unit import okx_frames as frames
from tests.unit.core import SECOND, T0
from tests.unit.okx_sessions import ACCOUNT, MARKET, Answers, okx

LISTED = {f"/api/v5/public/instruments?instType={kind}": rows for kind, rows in frames.LISTED.items()}


def discovered(*pairs, answers=None, **more):
    exchange = okx(*pairs, **more)
    table = Answers({**LISTED, **(answers or {})})
    table.drive(exchange.discover(T0))
    return exchange, table


def url(plan):
    return Answers().drive(plan.session().open(T0)).url


class TestPairs:
    def test_all_that_are_listed(self):
        found = Answers(LISTED).drive(okx().list_pairs())
        assert found[0].fields | {"min_size": "0.00001"} == found[0].fields
        assert [found[4].fields[name] for name in ("settle", "tick_size", "lot_size", "min_size", "contract_size")] == [
            "USDT",
            "0.1",
            "0.0001",
            "0.0001",
            "0.01",
        ]
        assert found[4].expiry == "1798185600000000000"
        assert [(pair.pair, pair.base, pair.quote, pair.kind, pair.status) for pair in found] == [
            ("BTC-USDT", "BTC", "USDT", "spot", "online"),
            ("ETH-USDT", "ETH", "USDT", "spot", "online"),
            ("SOL-USDC", "SOL", "USDC", "spot", "online"),
            ("BTC-USDT-PERP", "BTC", "USDT", "perpetual", "online"),
            ("BTC-USDT-261225", "BTC", "USDT", "future", "online"),
        ]

    @pytest.mark.parametrize("state", ["suspend", "preopen", "settling", "rebase", "post_only"])
    def test_one_that_is_not_traded_is_remarked_upon(self, state):
        """Its coins are empty before it opens: its name has them."""
        row = frames.SPOT_LISTED | {"state": state, "baseCcy": "", "quoteCcy": ""}
        exchange, _ = discovered("BTC-USDT", answers={"/api/v5/public/instruments?instType=SPOT": [row]})
        assert exchange.remarks() == [f"BTC-USDT: the exchange lists the pair as {state}"]

    @pytest.mark.parametrize(
        "row", [{"state": "test"}, {"instFamily": ""}, {"ctVal": "x"}, {"ctVal": ""}, {"instId": 7}]
    )
    def test_what_cannot_be_served_is_not_listed(self, row):
        answers = {"/api/v5/public/instruments?instType=SWAP": [frames.SWAP_LISTED | row]}
        with pytest.raises(UnknownPairError, match="BTC-USDT-PERP"):
            discovered("BTC-USDT-PERP", answers=answers)

    def test_an_inverse_contract_is_refused_with_the_reason_and_its_linear_sister(self):
        with pytest.raises(UnknownPairError, match=r"inverse contract.*did you mean BTC-USDT-PERP") as caught:
            discovered("BTC-USDT", "BTC-USD-PERP")
        assert caught.value.pair == "BTC-USD-PERP"

    def test_a_pair_in_dollars_that_has_given_way(self):
        with pytest.raises(UnknownPairError, match=r"replaced dollars by USDC.*did you mean SOL-USDC"):
            discovered("SOL-USD")

    def test_before_it_opens_its_book_may_be_crossed(self):
        spot = "/api/v5/public/instruments?instType=SPOT"
        exchange, table = discovered("BTC-USDT", answers={spot: [frames.SPOT_LISTED | {"state": "preopen"}]})
        assert exchange.book.may_cross("BTC-USDT")
        assert not exchange.book.may_cross("ETH-USDT")
        table.answers[spot] = [frames.SPOT_LISTED]
        table.drive(exchange.list_pairs())
        assert not exchange.book.may_cross("BTC-USDT")

    def test_a_misspelt_one_is_refused_by_name(self):
        with pytest.raises(UnknownPairError, match="did you mean BTC-USDT"):
            discovered("BTC-USTD")

    def test_a_list_without_spot_pairs_is_trouble_of_theirs(self):
        with pytest.raises(RestError, match="empty"):
            discovered("BTC-USDT", answers={"/api/v5/public/instruments?instType=SPOT": []})

    def test_a_contract_is_its_value_times_its_multiplier(self):
        exchange, _ = discovered("BTC-USDT-261225", channels={Channel.BOOK})
        session = exchange.plan()[0].session()
        session.connected(T0)
        frame = frames.SNAPSHOT_SWAP.replace(b"BTC-USDT-SWAP", b"BTC-USDT-261225")
        assert session.receive(frame, T0)[-1].bids == [("26000.1", "0.07")]

    def test_spot_streams_of_somewhere_else_need_no_list(self):
        _, table = discovered("BTC-USDT", url="ws://127.0.0.1:1")
        assert table.called == []
        _, table = discovered("BTC-USDT-PERP", url="ws://127.0.0.1:1")
        assert len(table.called) == 3


class TestPlan:
    @pytest.mark.parametrize(
        ("options", "streams", "rest"),
        [
            ({}, "wss://ws.okx.com", "https://openapi.okx.com"),
            ({"demo": True}, "wss://wspap.okx.com", "https://openapi.okx.com"),
            ({"region": "eea"}, "wss://wseea.okx.com", "https://eea.okx.com"),
            ({"region": "eea", "demo": True}, "wss://wseeapap.okx.com", "https://eea.okx.com"),
            ({"region": "us"}, "wss://wsus.okx.com", "https://us.okx.com"),
            ({"region": "us", "demo": True}, "wss://wsuspap.okx.com", "https://us.okx.com"),
        ],
    )
    def test_region_and_demo_choose_all_hosts_and_no_port(self, options, streams, rest):
        exchange = okx("BTC-USDT", account=ACCOUNT, **options)
        assert exchange.bases == [streams, rest]
        assert exchange.rest_base == rest
        assert [url(plan) for plan in exchange.plan()] == [f"{streams}/ws/v5/public", f"{streams}/ws/v5/private"]

    def test_addresses_of_the_config_go_before(self):
        exchange = okx("BTC-USDT", url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:2", region="eea")
        assert exchange.bases == ["ws://127.0.0.1:1", "http://127.0.0.1:2"]

    @pytest.mark.parametrize("options", [{"region": "mars"}, {"trades": "some"}, {"nonsense": 1}])
    def test_options_that_make_no_sense(self, options):
        with pytest.raises(ValidationError):
            OkxOptions(**options)

    def test_books_are_at_most_25_a_connection(self):
        pairs = [f"C{number}-USDT" for number in range(60)]
        plans = okx(*pairs).plan()
        assert [plan.name for plan in plans] == ["public-1", "public-2", "public-3"]
        assert [len(plan.subscriptions) for plan in plans] == [80, 80, 80]
        assert [plan.name for plan in okx(*pairs, channels={Channel.TICKER}).plan()] == ["public-1"]

    def test_single_trades_are_elsewhere(self):
        plans = okx("BTC-USDT", channels=MARKET, trades="all").plan()
        assert {plan.name: url(plan).rpartition("/")[2] for plan in plans} == {
            "public-1": "public",
            "business-1": "business",
        }
        assert plans[1].subscriptions == (Subscription(Channel.TRADES, "BTC-USDT"),)

    def test_each_pair_has_what_its_kind_has(self):
        exchange = okx("BTC-USDT", "BTC-USDT-PERP", "BTC-USDT-261225", channels=Okx.channels)
        assert set(exchange.subscriptions()) == {stream for plan in exchange.plan() for stream in plan.subscriptions}
        funded = {stream.subject for stream in exchange.subscriptions() if stream.channel is Channel.FUNDING}
        marked = {stream.subject for stream in exchange.subscriptions() if stream.channel is Channel.MARK}
        assert (funded, marked) == ({"BTC-USDT-PERP"}, {"BTC-USDT-PERP", "BTC-USDT-261225"})
        assert okx("BTC-USDT", channels={Channel.FUNDING}).plan() == []

    def test_liquidations_are_asked_for_by_type(self):
        exchange, _ = discovered("BTC-USDT-PERP", "BTC-USDT-261225", channels={Channel.LIQUIDATIONS})
        session = exchange.plan()[0].session()
        [sending] = session.connected(T0)
        assert '"instType":"SWAP"' in sending.text
        assert '"instType":"FUTURES"' in sending.text

    def test_the_clock_is_used_for_what_is_signed_and_for_announcements(self):
        exchange = okx("BTC-USDT", account=ACCOUNT)
        reading = Answers({"/api/v5/public/time": [{"ts": "1597026383085"}]}).drive(exchange.clock())
        assert (reading.at, reading.resolution) == (1597026383085000000, 1_000_000)
        exchange.clock_known(7 * SECOND)
        [login] = exchange.plan()[-1].session().connected(T0)
        assert f'"timestamp":"{T0 // SECOND + 7}"' in login.text

    def test_a_clock_that_cannot_be_read(self):
        with pytest.raises(RestError):
            Answers({"/api/v5/public/time": HttpResponse(200, b'{"code":"0","data":[]}')}).drive(okx().clock())

    def test_fills_go_on_where_the_stream_ends(self):
        exchange = okx(account=ACCOUNT)
        at = T0 - 3600 * SECOND
        fill = Fill("main", at, at, "1", "o", "BTC-USDT", "buy", "1", "1", "", "")
        exchange.recall(Subscription(Channel.FILLS, "main"), [fill], 0)
        session = exchange.plan()[0].session()
        table = Answers()
        session.connected(T0)
        for frame in frames.WARM:
            outputs = session.receive(frame, T0)
        fetch = outputs[-1]
        while fetch:
            found = table.drive(fetch.flow)
            fetch = next((output for output in found if hasattr(output, "flow")), None)
        assert f"/api/v5/trade/fills?begin={(at - 60 * SECOND) // 1_000_000}&limit=100" in table.called
