"""Binance's public streams and plan, spot and USD-M futures: what each message says, and what is asked for."""

from __future__ import annotations

import json

import pytest

from bridge.errors import ConfigError
from bridge.exchange_errors import ErrorKind, RestError, UnknownPairError
from bridge.exchanges.api import Fetch, HttpResponse, Pause, Profile, Replace, Send
from bridge.exchanges.binance import Binance, BinanceOptions, BinanceUsdm, BinanceUsdmOptions
from bridge.model import (
    BookDelta,
    BookSnapshot,
    Channel,
    Control,
    Funding,
    Interest,
    Liquidation,
    Mark,
    Quote,
    Ticker,
    Trade,
)
from tests.unit import binance_frames as frames
from tests.unit.core import SECOND, T0, Apart, faults, refused

ALL = frozenset({Channel.TRADES, Channel.BOOK, Channel.QUOTES, Channel.TICKER})
MS = 1_000_000


def spot(*pairs, channels=ALL, url=None, rest_url=None, **options):
    pairs = pairs or frames.SPOT_PAIRS
    return Binance(Profile(pairs, frozenset(channels), url, rest_url, None, BinanceOptions(**options)))


def usdm(*pairs, channels=ALL, url=None, **options):
    pairs = pairs or frames.USDM_PAIRS
    return BinanceUsdm(Profile(pairs, frozenset(channels), url, None, None, BinanceUsdmOptions(**options)))


def connected(exchange, place=0):
    """The session of one of its connections, which has asked for its streams."""
    session = Apart(exchange.plan()[place].session())
    session.connected(T0)
    return session


def asked(session):
    """Method and streams of what was sent, which is taken out of the actions."""
    texts = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
    session.actions[:] = [action for action in session.actions if not isinstance(action, Send)]
    return [(message["method"], *message.get("params", [])) for message in texts]


def take(session, *many, recv=T0):
    return [event for frame in many for event in session.receive(frame, recv) if not isinstance(event, Control)]


def controls(session, *many):
    found = [event for frame in many for event in session.receive(frame, T0) if isinstance(event, Control)]
    return [(str(event.event), str(event.channel), event.subject) for event in found]


class TestTrades:
    def test_each_of_spot_to_the_digit(self):
        [trade] = take(connected(spot()), frames.TRADE)
        assert trade == Trade("BNB-BTC", 1672515782136 * MS, T0, "12345", "sell", "0.001", "100")

    def test_aggregated_where_that_is_wanted(self):
        session = connected(spot(trades="aggregated"))
        assert ("nknusdt@aggTrade" in asked(session)[0], "nknusdt@trade" in asked(session)) == (True, False)
        [trade] = take(session, frames.SPOT_AGGREGATED)
        assert (trade.id, trade.side, trade.size) == ("15683430", "buy", "58.00000000")

    def test_of_futures(self):
        [trade] = take(connected(usdm(), 1), frames.AGGREGATED)
        assert trade == Trade("BTC-USDT-PERP", 1679851564486 * MS, T0, "5933014", "sell", "0.001", "100")

    def test_times_in_microseconds_are_exact(self):
        [trade] = take(connected(spot()), frames.changed(frames.TRADE, T=1672515782136789))
        assert trade.ts == 1672515782136789 * 1_000

    def test_an_id_of_another_series_is_none_of_this_one(self):
        """Until 2024 single trades had the orders' ids, and one of them is called as an aggregated trade's."""
        [trade] = take(connected(spot()), frames.changed(frames.TRADE, a=50, b=88))
        assert trade.id == "12345"

    def test_a_hole_is_a_gap_and_a_bad_one_only_one(self):
        session = connected(spot())
        take(session, frames.TRADE)
        [gap, trade] = session.receive(frames.changed(frames.TRADE, t=12349), T0)
        assert (gap.count, gap.subject, trade.id) == (3, "BNB-BTC", "12349")
        assert refused(session, frames.changed(frames.TRADE, t=12350, p="dear")) == [("trades", "BNB-BTC")]
        assert controls(session, frames.changed(frames.TRADE, t=12351)) == []

    @pytest.mark.parametrize("print_", ["INSURANCE_FUND", "ADL", "NA", ""])
    def test_prints_of_futures_that_are_no_trades(self, print_):
        session = connected(usdm(trades="each"))
        assert len(take(session, frames.USDM_TRADE)) == 1
        assert take(session, frames.changed(frames.INSURANCE, X=print_)) == []
        assert controls(session, frames.changed(frames.USDM_TRADE, t=3493102751)) == []

    def test_what_is_of_coin_m_or_of_another_symbol(self):
        session = connected(usdm(), 1)
        assert take(session, frames.changed(frames.AGGREGATED, st=2)) == []
        assert refused(session, frames.changed(frames.AGGREGATED, s="ETHUSDT")) == [("trades", "BTC-USDT-PERP")]


class TestBooks:
    def test_spot_follows_by_numbers(self):
        [delta] = take(connected(spot()), frames.DELTA)
        bids = [("0.35130000", "6195.00000000"), ("0.34750000", "5548.00000000"), ("0.34640000", "6222.00000000")]
        ts = 1633998512068 * MS
        assert delta == BookDelta("NKN-USDT", ts, T0, "499869752", bids, [], "499869749")

    def test_futures_name_the_one_before(self):
        [delta] = take(connected(usdm()), frames.USDM_DELTA)
        ts = 1679851564486 * MS
        assert delta == BookDelta("BTC-USDT-PERP", ts, T0, "160", [("0.0024", "10")], [("0.0026", "100")], "149")

    def test_by_the_other_markets_rule_both_would_be_wrong(self):
        """Numbers of futures skip: by those of spot, no message would follow the one before it."""
        session = connected(usdm())
        after = frames.changed(frames.USDM_DELTA, U=165, u=170, pu=160)
        first, second = take(session, frames.USDM_DELTA, after)
        assert second.prev == first.xseq != str(165 - 1)
        assert refused(session, frames.changed(after, pu=...)) == [("book", "BTC-USDT-PERP")]

    @pytest.mark.parametrize("wrong", [{"U": 0}, {"U": 499869754}, {"u": 2**63}, {"a": ...}, {"b": None}])
    def test_numbers_and_sides_have_to_be_there(self, wrong):
        assert refused(connected(spot()), frames.changed(frames.DELTA, **wrong)) == [("book", "NKN-USDT")]

    @pytest.mark.parametrize(("limit", "weight"), [(100, 5), (500, 25), (1000, 50), (5000, 250)])
    def test_a_snapshot_of_spot_and_what_it_costs(self, limit, weight):
        session = connected(spot(depth=limit))
        session.resync("NKN-USDT", T0, "it begins")
        session.resync("NKN-USDT", T0, "it is asked for already")
        session.resync("NO-PAIR", T0, "nobody has it")
        [fetch] = [action for action in session.actions if isinstance(action, Fetch)]
        request = next(fetch.flow)
        assert (request.path, request.weight) == (f"/api/v3/depth?symbol=NKNUSDT&limit={limit}", weight)
        with pytest.raises(StopIteration) as stop:
            fetch.flow.send(HttpResponse(200, frames.BOOK, recv=T0 + 5))
        [snapshot] = stop.value.value
        bids = [("0.35130000", "6195.00000000"), ("0.35120000", "1.00000000")]
        assert snapshot == BookSnapshot("NKN-USDT", None, T0 + 5, "499869751", bids, [("0.35140000", "431.00000000")])

    @pytest.mark.parametrize(("limit", "weight"), [(100, 5), (500, 10), (1000, 20)])
    def test_and_of_futures(self, limit, weight):
        session = connected(usdm(depth=limit))
        session.resync("BTC-USDT-PERP", T0, "it begins")
        [fetch] = [action for action in session.actions if isinstance(action, Fetch)]
        request = next(fetch.flow)
        assert (request.path, request.weight) == (f"/fapi/v1/depth?symbol=BTCUSDT&limit={limit}", weight)
        with pytest.raises(StopIteration) as stop:
            fetch.flow.send(HttpResponse(200, frames.USDM_BOOK, recv=T0))
        assert stop.value.value[0].ts == 1679851564486 * MS

    @pytest.mark.parametrize(
        ("answer", "kind", "wait"),
        [
            (HttpResponse(200, b"[]"), ErrorKind.REST_FAILED, None),
            (HttpResponse(200, b'{"lastUpdateId":0,"bids":[],"asks":[]}'), ErrorKind.REST_FAILED, None),
            (HttpResponse(429, b"", {"retry-after": "9"}), ErrorKind.REST_RATE_LIMITED, 9.0),
            (
                HttpResponse(418, b'{"code":-1003,"msg":"IP banned until 1700000030000."}', recv=T0),
                ErrorKind.REST_RATE_LIMITED,
                30.0,
            ),
        ],
    )
    def test_a_snapshot_that_is_none(self, answer, kind, wait):
        session = connected(spot())
        session.resync("NKN-USDT", T0, "it begins")
        [fetch] = [action for action in session.actions if isinstance(action, Fetch)]
        next(fetch.flow)
        with pytest.raises(RestError) as error:
            fetch.flow.send(answer)
        assert (error.value.kind, error.value.retry_after) == (kind, wait)

    def test_of_few_levels_each_message_is_all(self):
        [whole] = take(connected(spot(depth=20)), frames.FEW)
        assert whole == BookSnapshot("BNB-BTC", None, T0, "160", [("0.0024", "10")], [("0.0026", "100")])
        [whole] = take(connected(usdm(depth=20)), frames.USDM_FEW)
        assert (whole.xseq, whole.subject, whole.ts) == ("160", "BTC-USDT-PERP", 1679851564486 * MS)
        assert spot(depth=20).book.snapshot == "stream"
        assert spot(depth=100).book.snapshot == "rest"

    def test_and_another_one_is_had_by_subscribing_again(self):
        session = connected(spot("BNB-BTC", channels={Channel.BOOK}, depth=20))
        session.receive(frames.ACKNOWLEDGED, T0)
        asked(session)
        session.resync("BNB-BTC", T0, "it is crossed")
        session.tick(T0 + SECOND)
        stream = "bnbbtc@depth20@100ms"
        assert asked(session) == [("UNSUBSCRIBE", stream), ("SUBSCRIBE", stream)]


class TestQuotesAndTickers:
    def test_spot_gives_no_time(self):
        [quote] = take(connected(spot()), frames.BEST)
        best = ("25.35190000", "31.21000000", "25.36520000", "40.66000000")
        assert quote == Quote("BNB-BTC", None, T0, *best)
        [quote] = take(connected(usdm()), frames.USDM_BEST)
        assert quote == Quote("BTC-USDT-PERP", 1679851564486 * MS, T0, *best)

    def test_a_side_without_orders_is_empty(self):
        [quote] = take(connected(spot()), frames.changed(frames.BEST, b="0.00000000", B="0.00000000"))
        assert (quote.bid, quote.bid_size, quote.ask) == ("", "", "25.36520000")

    def test_the_last_day(self):
        [day] = take(connected(spot()), frames.DAY)
        values = ("0.0010", "0.0025", "0.0010", "0.0025", "0.0015", "250.00", "10000")
        assert day == Ticker("BNB-BTC", 1672515782136 * MS, T0, "86400", *values)
        [day] = take(connected(usdm(), 1), frames.USDM_DAY)
        assert (day.open, day.change, day.change_pct) == ("60", "-1.5", "-2.50")


class TestDerivatives:
    CHANNELS = frozenset({Channel.MARK, Channel.FUNDING, Channel.LIQUIDATIONS})

    def test_the_mark_price_comes_each_second_and_funding_when_it_changes(self):
        session = connected(usdm(channels=self.CHANNELS))
        mark, funding = take(session, frames.MARK)
        assert mark == Mark("BTC-USDT-PERP", 1562305380000 * MS, T0, "11794.15000000", "11784.62659091")
        assert funding == Funding("BTC-USDT-PERP", 1562305380000 * MS, T0, "0.00038167", 1562306400000 * MS, "")
        assert [type(event) for event in take(session, frames.MARK)] == [Mark]
        assert [type(event) for event in take(session, frames.changed(frames.MARK, r="-0.0001"))] == [Mark, Funding]

    def test_dated_futures_pay_no_funding(self):
        exchange = usdm("BTC-USDT-261225", channels=self.CHANNELS)
        assert {str(stream.channel) for stream in exchange.subscriptions()} == {"mark", "liquidations"}
        frame = frames.changed(frames.MARK.replace(b"btcusdt@", b"btcusdt_261225@"), s="BTCUSDT_261225", r="", T=0)
        assert [type(event) for event in take(connected(exchange), frame)] == [Mark]

    def test_liquidations_as_they_were_executed(self):
        session = connected(usdm(channels=self.CHANNELS))
        [forced] = take(session, frames.FORCED)
        assert forced == Liquidation("BTC-USDT-PERP", 1568014460891 * MS, T0, "", "sell", "9911", "0.013")
        assert refused(session, frames.FORCED.replace(b'"s":"BTC', b'"s":"ETH')) == [("liquidations", "BTC-USDT-PERP")]

    def test_open_interest_is_polled_pair_by_pair(self):
        exchange = usdm(channels={Channel.INTEREST})
        [poll] = exchange.polls()
        assert exchange.plan() == []
        flow = poll.flow(T0)
        asked_for = [next(flow).path]
        body = b'{"openInterest":"10659.509","symbol":"BTCUSDT","time":1589437530011}'
        asked_for.append(flow.send(HttpResponse(200, body)).path)
        with pytest.raises(StopIteration) as stop:
            flow.send(HttpResponse(400, b'{"code":-4108,"msg":"Symbol is on delivering or delivered or settling."}'))
        assert "-4108 Symbol is on delivering" in stop.value.value[1].reason
        assert asked_for == [f"/fapi/v1/openInterest?symbol={symbol}" for symbol in ("BTCUSDT", "ETHUSDT")]
        assert stop.value.value[0] == Interest("BTC-USDT-PERP", 1589437530011 * MS, T0, "10659.509", "")


class TestAnswers:
    def test_streams_are_asked_for_in_lower_case_and_numbers(self):
        session = connected(spot("BNB-BTC"))
        [message] = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
        names = {"bnbbtc@depth@100ms", "bnbbtc@bookTicker", "bnbbtc@ticker", "bnbbtc@trade"}
        assert (message["method"], set(message["params"]), message["id"]) == ("SUBSCRIBE", names, 1)

    @pytest.mark.parametrize("answer", [frames.ACKNOWLEDGED, b'{"result":null,"id":"1"}'])
    def test_an_id_may_be_text(self, answer):
        session = connected(spot("BNB-BTC"))
        assert {event for event, _, _ in controls(session, answer)} == {"live"}
        assert ("LIST_SUBSCRIPTIONS",) in asked(session)

    @pytest.mark.parametrize("refusal", [frames.REFUSED, frames.REFUSED_LATER])
    def test_a_refusal_is_of_the_whole_request_and_asked_again_one_by_one(self, refusal):
        session = connected(spot("BNB-BTC", channels={Channel.TRADES, Channel.QUOTES}))
        asked(session)
        assert controls(session, refusal) == []
        [(kind, code, _, _)] = faults(session)
        assert (kind, code) == ("bad_request", json.loads(refusal).get("code", 4))
        assert asked(session) == [("SUBSCRIBE", "bnbbtc@bookTicker"), ("SUBSCRIBE", "bnbbtc@trade")]
        assert controls(session, refusal.replace(b'"id":1', b'"id":3')) == [("down", "trades", "BNB-BTC")]

    def test_what_is_acknowledged_and_not_held_is_down(self):
        session = connected(spot("BNB-BTC", channels={Channel.TRADES, Channel.QUOTES}))
        session.receive(frames.ACKNOWLEDGED, T0)
        held = b'{"result":["bnbbtc@trade"],"id":0}'
        assert controls(session, held) == [("down", "quotes", "BNB-BTC")]

    @pytest.mark.parametrize("shutdown", frames.SHUTDOWNS)
    def test_a_shutdown_is_a_new_connection_first(self, shutdown):
        session = connected(spot())
        session.receive(shutdown, T0)
        assert [type(action) for action in session.actions][-1] is Replace

    def test_what_nobody_knows_is_counted(self):
        session = connected(spot())
        for frame in (b"{}", b'{"stream":"x@new","data":{}}', b'{"e":"new"}', b'{"result":7,"id":0}'):
            session.receive(frame, T0)
        kinds = [action.kind for action in session.actions if hasattr(action, "kind")]
        assert kinds == ["message without stream", "x@new", "new", "list of subscriptions"]

    def test_a_bad_frame_is_a_gap_of_its_stream(self):
        session = connected(spot())
        assert refused(session, frames.TRADE[:-5]) == [("trades", "BNB-BTC")]


class TestPlan:
    def test_spot_is_one_connection_and_asks_for_microseconds(self):
        [plan] = spot().plan()
        assert plan.name == "stream-1"
        [target] = _targets(spot())
        assert target == "wss://stream.binance.com:9443/stream?timeUnit=MICROSECOND"
        assert plan.rotate == 23 * 3600

    def test_futures_have_a_path_for_each_kind(self):
        exchange = usdm()
        assert _targets(exchange) == [f"wss://fstream.binance.com/{path}/stream" for path in ("public", "market")]
        kinds = [{str(stream.channel) for stream in plan.subscriptions} for plan in exchange.plan()]
        assert kinds == [{"book", "quotes"}, {"trades", "ticker"}]
        kinds = [{str(stream.channel) for stream in plan.subscriptions} for plan in usdm(trades="each").plan()]
        assert kinds == [{"book", "quotes", "trades"}, {"ticker"}]
        assert [plan.name for plan in usdm(channels={Channel.TICKER}).plan()] == ["market-1"]

    def test_futures_have_canaries(self):
        first = [json.loads(a.text)["params"][0] for a in connected(usdm()).actions if isinstance(a, Send)]
        second = [json.loads(a.text)["params"][0] for a in connected(usdm(), 1).actions if isinstance(a, Send)]
        assert (first, second) == (["btcusdt@depth5@500ms"], ["btcusdt@markPrice@1s"])
        session = connected(usdm(), 1)
        assert controls(session, frames.ACKNOWLEDGED) == []
        assert {event for event, *_ in controls(session, frames.MARK)} == {"live"}

    @pytest.mark.parametrize(
        ("environment", "hosts"),
        [
            ("testnet", ["wss://stream.testnet.binance.vision", "wss://ws-api.testnet.binance.vision"]),
            ("demo", ["wss://demo-stream.binance.com", "wss://demo-ws-api.binance.com"]),
        ],
    )
    def test_other_systems(self, environment, hosts):
        exchange = spot(environment=environment)
        assert exchange.bases[:2] == hosts
        assert exchange.rest_base == f"https://{environment}.binance.vision".replace("demo.", "demo-api.").replace(
            ".vision", ".com" if environment == "demo" else ".vision"
        )
        replaced = spot(environment=environment, url="wss://x.example", rest_url="https://y.example")
        assert replaced.bases == ["wss://x.example", "https://y.example"]

    def test_as_few_connections_as_their_streams_allow(self):
        pairs = [f"A{number}-USDT" for number in range(500)]
        plans = spot(*pairs).plan()
        assert [len(plan.subscriptions) for plan in plans] == [1_000, 1_000]
        session = Apart(plans[0].session())
        session.connected(T0)
        texts = [action.text for action in session.actions if isinstance(action, Send)]
        assert len(texts) == 10
        assert max(len(text) for text in texts) < 4_000

    @pytest.mark.parametrize("status", [403, 418, 429])
    def test_who_is_refused_at_the_door_stays_away(self, status):
        assert Binance.handshake_wait(status) == 120
        assert Binance.handshake_wait(503) is None

    def test_options_may_come_as_text(self):
        assert BinanceOptions.model_validate({"depth": "5000"}).depth == 5000
        with pytest.raises(ValueError, match="depth"):
            BinanceUsdmOptions.model_validate({"depth": 5000})
        with pytest.raises(ConfigError):
            spot("A" * 5_000 + "-USDT").plan()[0].session().connected(T0)


def _targets(exchange):
    found = []
    for plan in exchange.plan():
        with pytest.raises(StopIteration) as stop:
            next(plan.session().open(T0))
        found.append(stop.value.value.url)
    return found


def drive(flow, body):
    request = next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.send(HttpResponse(200, json.dumps(body).encode()))
    return request, stop.value.value


class TestListing:
    SPOT = (
        {
            "symbol": "BNBBTC",
            "status": "TRADING",
            "baseAsset": "BNB",
            "quoteAsset": "BTC",
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.0000001", "tickSize": "0.00000100"},
                {"filterType": "LOT_SIZE", "minQty": "0.00100000", "stepSize": "0.00010000"},
                7,
            ],
        },
        {"symbol": "NKNUSDT", "status": "BREAK", "baseAsset": "NKN", "quoteAsset": "USDT"},
        {"symbol": "币安人生USDT", "status": "TRADING", "baseAsset": "币安人生", "quoteAsset": "USDT"},
        {"status": "TRADING"},
    )
    USDM = (
        {"symbol": "BTCUSDT", "contractType": "PERPETUAL", "deliveryDate": 4133404800000, "status": "TRADING"},
        {"symbol": "TSLAUSDT", "contractType": "TRADIFI_PERPETUAL", "deliveryDate": 4133404800000, "status": "TRADING"},
        {
            "symbol": "BTCUSDT_261225",
            "contractType": "CURRENT_QUARTER",
            "deliveryDate": 1798185600000,
            "status": "TRADING",
        },
        {"symbol": "BTCUSDT_X", "contractType": "CURRENT_QUARTER", "deliveryDate": "soon", "status": "TRADING"},
        {"symbol": "BTCUSDT_Y", "contractType": "", "deliveryDate": 0, "status": "PENDING_TRADING"},
    )

    def test_spot_is_named_by_its_coins(self):
        request, found = drive(spot().list_pairs(), {"symbols": self.SPOT})
        assert (request.path, request.weight) == ("/api/v3/exchangeInfo?showPermissionSets=false", 20)
        assert [(pair.pair, pair.kind, pair.status) for pair in found] == [
            ("BNB-BTC", "spot", "online"),
            ("NKN-USDT", "spot", "BREAK"),
        ]
        assert [(pair.tick_size, pair.lot_size, pair.min_size) for pair in found] == [
            ("0.00000100", "0.00010000", "0.00100000"),
            ("", "", ""),
        ]

    def test_futures_by_their_kind_and_day(self):
        rows = [row | {"baseAsset": row["symbol"][: -4 if row["symbol"].endswith("T") else 3][:4]} for row in self.USDM]
        rows = [row | {"baseAsset": row["baseAsset"].removesuffix("U"), "quoteAsset": "USDT"} for row in rows]
        _, found = drive(usdm().list_pairs(), {"symbols": rows})
        assert [(pair.pair, pair.kind) for pair in found][:3] == [
            ("BTC-USDT-PERP", "perpetual"),
            ("TSLA-USDT-PERP", "perpetual"),
            ("BTC-USDT-261225", "future"),
        ]
        assert found[2].expiry == "1798185600000000000"
        assert "BTC-USDT-X" not in [pair.pair for pair in found]

    def test_a_halted_pair_is_subscribed_and_paused(self):
        exchange = spot()
        drive(exchange.discover(T0), {"symbols": self.SPOT})
        assert exchange.remarks() == ["NKN-USDT: the exchange lists the pair as BREAK"]
        session = connected(exchange)
        assert any("nknusdt@trade" in request for request in asked(session))
        session.receive(frames.ACKNOWLEDGED, T0)
        [pause] = [output for output in session.outputs if isinstance(output, Pause)]
        assert (pause.subjects, pause.until) == (["NKN-USDT"], None)
        live = [place for place, output in enumerate(session.outputs) if isinstance(output, Control)]
        assert session.outputs.index(pause) > max(live)

    def test_a_pair_that_is_not_listed(self):
        flow = spot("BNB-BTX").discover(T0)
        next(flow)
        with pytest.raises(UnknownPairError) as error:
            flow.send(HttpResponse(200, json.dumps({"symbols": self.SPOT}).encode()))
        assert error.value.known == ["BNB-BTC"]

    def test_without_rest_names_go_by_convention(self):
        exchange = usdm("BTC-USDT-PERP", "BTC-USDT-261225", url="ws://127.0.0.1:1")
        assert list(exchange.discover(T0)) == []
        names = [name for request in asked(connected(exchange)) for name in request[1:]]
        assert {"btcusdt@bookTicker", "btcusdt_261225@bookTicker"} <= set(names)
