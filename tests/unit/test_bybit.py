"""Bybit as a whole: its hosts, its connections, and what its instruments are called."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import ListedPair, Send, Subscription
from bridge.exchanges.bybit import Bybit
from bridge.model import Channel, Order
from tests.unit import bybit_frames as frames
from tests.unit.bybit_sessions import ACCOUNT, ALL, DERIVED, Answers, bybit
from tests.unit.core import T0, Apart

LIST = "/v5/market/instruments-info"


def linear(symbol, base="BTC", quote="USDT", kind="LinearPerpetual", delivery="0"):
    return {
        "symbol": symbol,
        "contractType": kind,
        "status": "Trading",
        "baseCoin": base,
        "quoteCoin": quote,
        "settleCoin": quote,
        "deliveryTime": delivery,
    }


SPOT = [
    {"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "status": "Trading"},
    {"symbol": "1000PEPEUSDC", "baseCoin": "1000PEPE", "quoteCoin": "USDC", "status": "Trading"},
]
LINEAR = [
    linear("BTCUSDT"),
    linear("BTCPERP", quote="USDC"),
    linear("BTCUSDT-25DEC26", kind="LinearFutures", delivery="1798185600000"),
    linear("SHIB1000USDT", base="SHIB1000"),
    linear("BTCUSD", quote="USD", kind="InversePerpetual"),
    linear("BTCUSDT-XX", kind="LinearFutures", delivery=""),
    linear("BTCUSDT-YY", kind="LinearFutures", delivery="9" * 20),
    linear("币USDT", base="币"),
    {"symbol": "ODD"},
    7,
]
LISTED = {f"{LIST}?category=spot&status=Trading": SPOT, f"{LIST}?category=linear&status=Trading&limit=1000": LINEAR}


def topics(plan):
    session = Apart(plan.session())
    session.connected(T0)
    return [
        topic for action in session.actions if isinstance(action, Send) for topic in json.loads(action.text)["args"]
    ]


class TestNames:
    def test_by_coins_and_kind_and_never_by_the_symbol(self):
        listed = Answers(LISTED).drive(bybit().list_pairs())
        assert listed == [
            ListedPair("BTC-USDT", "BTC", "USDT", "spot", "online"),
            ListedPair("1000PEPE-USDC", "1000PEPE", "USDC", "spot", "online"),
            ListedPair("BTC-USDT-PERP", "BTC", "USDT", "perpetual", "online", "USDT"),
            ListedPair("BTC-USDC-PERP", "BTC", "USDC", "perpetual", "online", "USDC"),
            ListedPair("BTC-USDT-261225", "BTC", "USDT", "future", "online", "USDT", expiry="1798185600000000000"),
            ListedPair("SHIB1000-USDT-PERP", "SHIB1000", "USDT", "perpetual", "online", "USDT"),
        ]

    def test_the_figures_of_the_recorded_lists(self):
        rows = [json.loads(row) for row in (frames.LISTED_SPOT, frames.LISTED_PERPETUAL, frames.LISTED_FUTURE)]
        answers = dict(zip(LISTED, ([rows[0]], rows[1:]), strict=True))
        spot, perpetual, future = Answers(answers).drive(bybit().list_pairs())
        sizes = {"tick_size": "0.10", "lot_size": "0.001", "min_size": "0.001"}
        assert spot == ListedPair(
            "BTC-USDT", "BTC", "USDT", "spot", "online", tick_size="0.1", lot_size="0.000001", min_size="0.000001"
        )
        assert perpetual == ListedPair("BTC-USDC-PERP", "BTC", "USDC", "perpetual", "online", "USDC", **sizes)
        expiry = "1798185600000000000"
        assert future == ListedPair(
            "BTC-USDT-261225", "BTC", "USDT", "future", "online", "USDT", **sizes, expiry=expiry
        )

    @pytest.mark.parametrize("odd", [None, 7, "0.1", [], {}, {"tickSize": "dear"}, {"tickSize": -1}, {"tickSize": {}}])
    def test_figures_that_cannot_be_read_are_unknown_and_the_pair_is_listed(self, odd):
        row = json.loads(frames.LISTED_PERPETUAL) | {"priceFilter": odd}
        pairs = Answers(dict(zip(LISTED, (SPOT[:1], [row]), strict=True))).drive(bybit().list_pairs())
        assert (pairs[1].pair, pairs[1].tick_size, pairs[1].lot_size) == ("BTC-USDC-PERP", "", "0.001")

    @pytest.mark.parametrize("listed", [True, False])
    @pytest.mark.parametrize(
        ("pair", "category", "symbol"),
        [
            ("BTC-USDT", "spot", "BTCUSDT"),
            ("BTC-USDT-PERP", "linear", "BTCUSDT"),
            ("BTC-USDC-PERP", "linear", "BTCPERP"),
            ("BTC-USDT-261225", "linear", "BTCUSDT-25DEC26"),
        ],
    )
    def test_with_the_list_and_without(self, pair, category, symbol, listed):
        exchange = bybit(pair, channels={Channel.TRADES}, url=None if listed else "wss://elsewhere.example")
        answers = Answers(LISTED)
        answers.drive(exchange.discover(T0))
        assert bool(answers.called) is listed
        [plan] = exchange.plan()
        assert plan.name == f"{category}-1"
        assert topics(plan) == [f"publicTrade.{symbol}"]

    def test_a_name_without_meaning_is_its_own(self):
        [plan] = bybit("BTC-USDT-SOON", channels={Channel.TRADES}).plan()
        assert topics(plan) == ["publicTrade.BTC-USDT-SOON"]

    def test_a_misspelt_pair_is_refused_by_name(self):
        exchange = bybit("BTC-USDT", "BTC-USDT-PREP")
        with pytest.raises(UnknownPairError, match=r"no pair BTC-USDT-PREP.*did you mean BTC-USDT-PERP"):
            Answers(LISTED).drive(exchange.discover(T0))

    @pytest.mark.parametrize("empty", list(LISTED))
    def test_an_empty_list_is_the_exchanges_trouble(self, empty):
        with pytest.raises(RestError, match="is empty"):
            Answers({**LISTED, empty: []}).drive(bybit("BTC-USDT").discover(T0))

    def test_all_pages_are_read(self):
        pages = {"": (LINEAR[:1], "p2"), "p2": (LINEAR[1:], "")}
        answers = Answers(
            LISTED | {list(LISTED)[1]: lambda called: frames.answer(*pages[called.partition("&cursor=")[2]])}
        )
        answers.drive(bybit("BTC-USDC-PERP").discover(T0))
        assert len(answers.called) == 3

    def test_a_list_without_end_is_no_list(self):
        with pytest.raises(RestError, match="endless"):
            Answers({LIST: frames.answer(SPOT, "more")}).drive(bybit("BTC-USDT").discover(T0))


class TestPlan:
    def test_one_connection_per_category_and_one_for_the_account(self):
        plans = bybit("BTC-USDT", "BTC-USDT-PERP", "ETH-USDT-PERP", account=ACCOUNT).plan()
        assert [plan.name for plan in plans] == ["spot-1", "linear-1", "account:main"]
        targets = [Answers().drive(plan.session().open(T0)).url for plan in plans]
        base = "wss://stream.bybit.com/v5"
        assert targets == [f"{base}/public/spot", f"{base}/public/linear", f"{base}/private"]
        assert {stream.subject for stream in plans[1].subscriptions} == {"BTC-USDT-PERP", "ETH-USDT-PERP"}
        assert topics(plans[0]) == [
            "orderbook.200.BTCUSDT",
            "orderbook.1.BTCUSDT",
            "tickers.BTCUSDT",
            "publicTrade.BTCUSDT",
        ]

    @pytest.mark.parametrize("depth", [1, 50, 200, 1000])
    def test_depths(self, depth):
        [plan] = bybit("BTC-USDT", channels={Channel.BOOK}, depth=depth).plan()
        assert topics(plan) == [f"orderbook.{depth}.BTCUSDT"]

    @pytest.mark.parametrize("count", [1, 240, 900])
    @pytest.mark.parametrize("base", ["AB", "LONGNAMEOFACOIN"])
    def test_no_connection_has_more_text_of_topics_than_the_exchange_takes(self, base, count):
        pairs = [f"{base}{number}-USDT" for number in range(count)]
        plans = bybit(*pairs).plan()
        assert sum(len(plan.subscriptions) for plan in plans) == 4 * count
        found = [Apart(plan.session()) for plan in plans]
        for session in found:
            assert len("".join(session._topics.names)) <= 21_000
        assert len(found) <= 1 + sum(len("".join(session._topics.names)) for session in found) // 15_000

    @pytest.mark.parametrize(
        ("environment", "public", "private", "rest"),
        [
            ("live", "stream.bybit.com", "stream.bybit.com", "api.bybit.com"),
            ("testnet", "stream-testnet.bybit.com", "stream-testnet.bybit.com", "api-testnet.bybit.com"),
            ("demo", "stream.bybit.com", "stream-demo.bybit.com", "api-demo.bybit.com"),
        ],
    )
    def test_environments(self, environment, public, private, rest):
        exchange = bybit("BTC-USDT", account=ACCOUNT, environment=environment)
        hosts = [Answers().drive(plan.session().open(T0)).url.split("/")[2] for plan in exchange.plan()]
        assert hosts == [public, private]
        assert exchange.rest_base == f"https://{rest}"
        assert exchange.bases == list(dict.fromkeys([f"wss://{public}", f"wss://{private}", f"https://{rest}"]))

    def test_addresses_of_ones_own_go_before_it(self):
        exchange = bybit("BTC-USDT", account=ACCOUNT, url="ws://a:1", rest_url="http://b:2", environment="demo")
        assert exchange.bases == ["ws://a:1", "http://b:2"]
        urls = [Answers().drive(plan.session().open(T0)).url for plan in exchange.plan()]
        assert urls == ["ws://a:1/v5/public/spot", "ws://a:1/v5/private"]

    def test_only_what_is_wanted(self):
        assert bybit("BTC-USDT", channels=()).plan() == []
        assert [plan.name for plan in bybit("BTC-USDT", channels=(), account=ACCOUNT).plan()] == ["account:main"]
        assert [plan.name for plan in bybit("BTC-USDT-PERP").plan()] == ["linear-1"]

    def test_a_missing_pair_is_left_out(self):
        exchange = bybit("BTC-USDT", "NO-USDT", channels={Channel.TRADES})
        exchange.missing["NO-USDT"] = UnknownPairError("bybit", "NO-USDT", [])
        assert topics(exchange.plan()[0]) == ["publicTrade.BTCUSDT"]


@pytest.mark.parametrize(("status", "wait"), [(403, 600), (429, None), (503, None)])
def test_who_is_refused_with_403_stays_away_for_ten_minutes(status, wait):
    assert Bybit.handshake_wait(status) == wait


def test_orders_that_were_open_before_the_start_are_looked_for():
    exchange = bybit("BTC-USDT", account=ACCOUNT)
    order = Order("main", T0, T0, "o-1", "", "BTC-USDT", "limit", "buy", "10", "1", "0", "open")
    exchange.recall(Subscription(Channel.ORDERS, "main"), [order], 0)
    session = Apart(exchange.plan()[-1].session())
    session.connected(T0)
    for frame in frames.WARM:
        session.receive(frame, T0)
    answers = Answers()
    answers.drive(session.fetch(T0))
    assert "/v5/order/history?category=spot&orderId=o-1" in answers.called


def test_all_public_channels_are_offered():
    assert Bybit.channels == ALL


class TestWhatAPairHas:
    PAIRS = ("BTC-USDT", "BTC-USDT-PERP", "BTC-USDC-PERP", "BTC-USDT-261225")

    @pytest.mark.parametrize(
        ("pair", "missing"),
        [
            ("BTC-USDT", DERIVED),
            ("BTC-USDT-PERP", frozenset()),
            ("BTC-USDC-PERP", frozenset()),
            ("BTC-USDT-261225", frozenset({Channel.FUNDING})),
        ],
    )
    def test_of_derivatives(self, pair, missing):
        streams = {stream.channel for stream in bybit(*self.PAIRS).subscriptions() if stream.subject == pair}
        assert streams == ALL - missing

    def test_the_plan_feeds_what_is_said_to_be_there(self):
        exchange = bybit(*self.PAIRS, account=ACCOUNT)
        planned = [stream for plan in exchange.plan() for stream in plan.subscriptions]
        assert sorted(planned, key=str) == sorted(exchange.subscriptions(), key=str)

    def test_one_topic_is_asked_for_once(self):
        [plan] = bybit("BTC-USDT-PERP", channels=DERIVED).plan()
        assert sorted(topics(plan)) == ["allLiquidation.BTCUSDT", "tickers.BTCUSDT"]

    def test_a_pair_that_has_nothing_of_what_is_wanted_is_left_out(self):
        exchange = bybit("BTC-USDT", "ETH-USDT-PERP", channels={Channel.FUNDING})
        [plan] = exchange.plan()
        assert plan.subscriptions == (Subscription(Channel.FUNDING, "ETH-USDT-PERP"),)
        assert topics(plan) == ["tickers.ETHUSDT"]
