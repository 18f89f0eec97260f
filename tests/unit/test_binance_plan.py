"""What Binance is asked for: connections, paths and requests; and the pairs that it lists."""

from __future__ import annotations

import json

import pytest

from bridge.errors import ConfigError
from bridge.exchange_errors import UnknownPairError
from bridge.exchanges.api import HttpResponse, Pause, Send
from bridge.exchanges.binance import Binance, BinanceOptions, BinanceUsdm, BinanceUsdmOptions
from bridge.model import Channel, Control
from tests.unit import binance_frames as frames
from tests.unit.binance_sessions import asked, connected, controls, spot, usdm
from tests.unit.core import T0, Apart


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

    def test_the_last_streams_that_the_exchange_takes_stay_free(self):
        """A connection takes 1,024."""
        assert len(spot(*(f"A{number}-USDT" for number in range(256))).plan()) == 2

    @pytest.mark.parametrize("status", [403, 418, 429])
    def test_who_is_refused_at_the_door_stays_away(self, status):
        assert Binance.handshake_wait(status) == 120
        assert Binance.handshake_wait(503) is None

    @pytest.mark.parametrize(("code", "wait"), [(1008, 120), (1000, None), (1001, None), (0, None)])
    def test_who_is_shown_the_door_for_its_policy_stays_away_too(self, code, wait):
        assert Binance.close_wait(code) == BinanceUsdm.close_wait(code) == wait

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

    @pytest.mark.parametrize(
        ("contract", "delivery", "named"),
        [
            ("", 4133404800000, ["AB-USDT-PERP"]),  # a few perpetuals are listed without a type
            ("", 0, []),
            ("PERPETUAL_DELIVERING", 1798185600000, ["AB-USDT-PERP"]),
            ("CURRENT_QUARTER_DELIVERING", 1798185600000, ["AB-USDT-261225"]),
            ("CURRENT_MONTH", 1798185600000, ["AB-USDT-261225"]),
            ("NEXT_DECADE", 1798185600000, []),
        ],
    )
    def test_contracts_are_never_taken_for_spot(self, contract, delivery, named):
        row = {"symbol": "ABUSDT", "baseAsset": "AB", "quoteAsset": "USDT", "status": "SETTLING"}
        rows = [row | {"contractType": contract, "deliveryDate": delivery}]
        _, found = drive(usdm().list_pairs(), {"symbols": rows})
        assert [pair.pair for pair in found] == named

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
