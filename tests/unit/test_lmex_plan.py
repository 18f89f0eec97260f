from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from bridge.exchanges import exchange_type
from bridge.exchanges.api import Exchange
from bridge.exchanges.lmex import Lmex, LmexOptions
from bridge.model import Channel
from tests.unit import lmex_frames as frames
from tests.unit.core import T0, Apart
from tests.unit.limitlex_keys import drive
from tests.unit.lmex_sessions import lmex, sent


def url(plan):
    _, target = drive(plan.session().open(T0))
    assert target.url == target.shown
    return target.url


def topics(plan):
    session = Apart(plan.session())
    session.connected(T0)
    return list(sent(session)[-1][1:])


class TestPlan:
    def test_all_there_is(self):
        plans = lmex("BTC-USD", "BTC-PERP", "ETH-PERP", with_account=True).plan()
        assert {plan.name: url(plan) for plan in plans} == {
            "spot-books-1": "wss://ws.lmex.io/ws/oss/spot",
            "spot-trades-1": "wss://ws.lmex.io/ws/spot",
            "spot-account:main": "wss://ws.lmex.io/ws/spot",
            "futures-books-1": "wss://ws.lmex.io/ws/oss/futures",
            "futures-trades-1": "wss://ws.lmex.io/ws/futures",
            "futures-account:main": "wss://ws.lmex.io/ws/futures",
        }
        streams = [stream for plan in plans for stream in plan.subscriptions]
        polled = [stream for poll in lmex("BTC-USD", "BTC-PERP", with_account=True).polls() for stream in poll.streams]
        private = {(Channel.ORDERS, "main"), (Channel.FILLS, "main")}
        assert len(streams) == len(set(streams)) + len(private), "orders and fills come over two connections"
        assert {channel for channel, _ in {(s.channel, s.subject) for s in polled}} == {
            Channel.TICKER,
            Channel.BALANCES,
        }

    @pytest.mark.parametrize(
        ("channels", "names"),
        [
            ({Channel.BOOK}, ["spot-books-1"]),
            ({Channel.QUOTES}, ["spot-books-1"]),
            ({Channel.TRADES}, ["spot-trades-1"]),
            ({Channel.TICKER}, []),
            ({Channel.BOOK, Channel.QUOTES, Channel.TRADES}, ["spot-books-1", "spot-trades-1"]),
        ],
    )
    def test_no_connection_without_need(self, channels, names):
        assert [plan.name for plan in lmex("BTC-USD", "ETH-EUR", channels=channels).plan()] == names

    @pytest.mark.parametrize(("count", "shares"), [(1, [1]), (3, [3]), (4, [2, 2]), (7, [3, 2, 2])])
    def test_topics_are_shared_out_evenly_over_as_few_connections_as_do(self, count, shares):
        pairs = [f"C{number}-USD" for number in range(count)]
        for channels in ({Channel.BOOK, Channel.QUOTES}, {Channel.TRADES}):
            plans = lmex(*pairs, channels=channels, topics_per_connection=3).plan()
            assert [len(topics(plan)) for plan in plans] == shares
            assert (
                sorted(topic.partition(":")[2].removesuffix("_0") for plan in plans for topic in topics(plan)) == pairs
            )
            assert sorted({s.subject for plan in plans for s in plan.subscriptions}) == pairs

    def test_a_hundred_topics_are_one_connection(self):
        pairs = [f"C{number}-USD" for number in range(101)]
        assert len(lmex(*pairs[:100], channels={Channel.TRADES}).plan()) == 1
        assert len(lmex(*pairs, channels={Channel.TRADES}).plan()) == 2

    def test_positions_only_where_futures_are(self):
        spot, futures = (lmex(pair, with_account=True).subscriptions() for pair in ("BTC-USD", "BTC-PERP"))
        assert not [stream for stream in spot if stream.channel is Channel.POSITIONS]
        assert [stream.subject for stream in futures if stream.channel is Channel.POSITIONS] == ["main"]

    def test_every_stream_that_a_connection_or_a_poll_feeds_is_declared(self):
        exchange = lmex("BTC-USD", "BTC-PERP", with_account=True)
        fed = {s for plan in exchange.plan() for s in plan.subscriptions} | {
            s for poll in exchange.polls() for s in poll.streams
        }
        assert fed == set(exchange.subscriptions())

    def test_the_secret_is_not_shown(self):
        exchange = lmex("BTC-USD", "BTC-PERP", with_account=True)
        assert frames.SECRET not in repr(exchange.profile) + repr(exchange.plan()) + repr(vars(exchange))


class TestExchange:
    def test_registered(self):
        assert exchange_type("lmex") is Lmex

    def test_a_refused_handshake_is_a_block_of_ten_minutes(self):
        assert Lmex.handshake_wait(400) >= 600
        assert Lmex.handshake_wait(503) is None
        assert Exchange.handshake_wait(400) is None

    def test_the_catalog_says_what_is_polled(self):
        assert "polled" in Lmex.units[Channel.TICKER]
        assert "polled" in Lmex.units[Channel.BALANCES]


class TestOptions:
    def test_contract_sizes_may_be_unquoted(self):
        options = LmexOptions(**json.loads('{"contract_sizes":{"BTC-PERP":0.00001,"ETH-PERP":1,"X-PERP":"0.10"}}'))
        assert options.contract_sizes == {"BTC-PERP": "0.00001", "ETH-PERP": "1", "X-PERP": "0.10"}

    @pytest.mark.parametrize("size", ["x", 0, "0.0", -1, "", None, "nan", [1]])
    def test_contract_sizes_that_are_none(self, size):
        with pytest.raises(ValidationError):
            LmexOptions(contract_sizes={"BTC-PERP": size})

    @pytest.mark.parametrize(
        "options",
        [
            {"topics_per_connection": 0},
            {"ticker_interval": 0.5},
            {"balances_interval": 0},
            {"login": "password"},
            {"contract_sizes": []},
        ],
    )
    def test_limits(self, options):
        with pytest.raises(ValidationError):
            LmexOptions(**options)
