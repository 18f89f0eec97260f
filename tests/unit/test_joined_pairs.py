"""Pairs that join later, and the account: its rows of them have their names, and REST is asked for them, too."""

from __future__ import annotations

import json

import pytest

from bridge.exchanges.api import Credentials, HttpResponse, Profile, Replace, Restated
from bridge.exchanges.binance import Binance
from bridge.exchanges.bybit import Bybit
from bridge.exchanges.kraken import Kraken
from bridge.exchanges.limitlex import Limitlex, LimitlexOptions
from bridge.exchanges.okx import Okx
from bridge.model import PUBLIC_CHANNELS, Channel
from tests.unit import (
    binance_frames,
    bybit_frames,
    bybit_sessions,
    coinbase_account_frames,
    kraken_frames,
    kraken_sessions,
    limitlex_frames,
    limitlex_keys,
    lmex_frames,
    lmex_sessions,
    okx_frames,
    okx_sessions,
)
from tests.unit.coinbase_account_rows import fills, part
from tests.unit.coinbase_accounts import Account, Answers, coinbase
from tests.unit.core import SECOND, T0, Apart
from tests.unit.exchange_samples import SAMPLES

TRADES = frozenset({Channel.TRADES})


def driven(flow, answer):
    """What a conversation ends in; ``answer`` makes the body of each answer. Returns what was asked, too."""
    asked = []
    try:
        request = next(flow)
        while True:
            asked.append(request.path)
            request = flow.send(HttpResponse(200, answer(request.path), recv=T0 + SECOND))
    except StopIteration as stop:
        return stop.value, asked


def events(session, channel):
    """What REST has said of a channel, taken out of the session's actions."""
    [state] = [found for found in session.actions if isinstance(found, Restated) and found.channel is channel]
    session.actions.clear()
    return state.events


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
class TestEveryExchange:
    def test_what_joins_brings_its_own_streams_and_no_account(self, sample):
        exchange = sample.exchange()
        before = [plan.subscriptions for plan in exchange.plan()], exchange.subscriptions()
        joined = exchange.beside(sample.pairs)
        own = joined.subscriptions()
        assert {stream.channel for stream in own} <= set(PUBLIC_CHANNELS)
        fed = [stream for plan in joined.plan() for stream in plan.subscriptions]
        fed += [stream for poll in joined.polls() for stream in poll.streams]
        assert sorted(map(str, fed)) == sorted(map(str, own))
        assert ([plan.subscriptions for plan in exchange.plan()], exchange.subscriptions()) == before

    def test_what_is_missing_of_it_is_missing_of_it_alone(self, sample):
        exchange = sample.exchange()
        joined = exchange.beside(["SOL-EUR", "ADA-EUR"])
        joined.missing["SOL-EUR"] = RuntimeError()
        assert (joined.pairs, exchange.pairs) == (("ADA-EUR",), sample.pairs)
        exchange.joined = [joined]
        assert exchange.all_pairs == (*sample.pairs, "ADA-EUR")


def test_kraken_learns_the_names_of_new_listings():
    """REST's name of a pair follows from no rule."""
    rest = kraken_sessions.Rest(TradesHistory={"trades": {"f": kraken_frames.TRADE_ROW | {"pair": "XSOLZUSD"}}})
    exchange = Kraken(Profile(("BTC-USD",), TRADES, account=kraken_sessions.ACCOUNT))
    session = kraken_sessions.account(rest, exchange)
    rest.results["AssetPairs"] = kraken_frames.ASSET_PAIRS | {"XSOLZUSD": {"wsname": "SOL/USD"}}
    rest.drive(exchange.beside(["SOL-USD"]).discover(T0))
    rest.drive(session.fetch(kraken_sessions.NOW))
    [fill] = events(session, Channel.FILLS)
    assert (fill.pair, fill.fee_currency) == ("SOL-USD", "USD")


def test_bybit_names_them_by_convention_without_a_list():
    """Where REST is another exchange's than the streams, no list is read."""
    exchange = Bybit(Profile(("BTC-USDT",), TRADES, "wss://x", account=bybit_sessions.ACCOUNT))
    session = Apart(exchange.plan()[-1].session())
    session.connected(T0)
    session.receive(bybit_frames.LOGGED_IN, T0)
    bybit_sessions.accept(session)
    execution = bybit_frames.EXECUTION.replace(b'"symbol":"BTCUSDT"', b'"symbol":"SOLUSDT"')
    exchange.beside(["SOL-USDT-PERP"])
    [fill] = [event for event in session.receive(execution, T0) if getattr(event, "fill_id", "")]
    assert fill.pair == "SOL-USDT-PERP"


def test_a_convention_overrules_no_list():
    exchange = Bybit(Profile(("BTC-USDT",), TRADES, account=bybit_sessions.ACCOUNT))
    exchange._names.learn("linear", "SOLUSDT", "SOL-USDT-PERP")
    exchange._names.learn("linear", "1000SOLUSDT", "1000SOL-USDT-PERP")
    exchange.beside(["SO-LUSDT-PERP", "1000SOL-USDT-PERP"])
    assert exchange._names.pair("linear", "SOLUSDT") == "SOL-USDT-PERP"
    assert exchange._names.symbol("1000SOL-USDT-PERP") == ("linear", "1000SOLUSDT")


def test_okx_learns_what_their_contracts_are_worth():
    exchange = Okx(Profile(("BTC-USDT",), TRADES, account=okx_sessions.ACCOUNT))
    session = Apart(exchange.plan()[-1].session())
    session.connected(T0)
    session.receive(okx_frames.LOGGED_IN, T0)
    okx_sessions.accept(session)
    listed = {"SWAP": okx_frames.SWAP_LISTED | {"instId": "SOL-USDT-SWAP", "instFamily": "SOL-USDT", "ctValCcy": "SOL"}}

    def answer(called):
        rows = [row for kind, row in listed.items() if f"instType={kind}" in called]
        return okx_frames.answer(rows or ([okx_frames.SPOT_LISTED] if "instType=SPOT" in called else []))

    driven(exchange.beside(["SOL-USDT-PERP"]).discover(T0), answer)
    found = session.receive(okx_frames.FILLED.replace(b"BTC-USDT-SWAP", b"SOL-USDT-SWAP"), T0)
    fill = next(event for event in found if getattr(event, "fill_id", ""))
    assert (fill.pair, fill.size, fill.contracts) == ("SOL-USDT-PERP", "0.04", "4")


def test_binance_asks_for_the_fills_of_those_that_are_read_at_present():
    """Its history wants a symbol."""
    account = Credentials("main", binance_frames.KEY, binance_frames.SECRET)
    exchange = Binance(Profile(("BNB-BTC",), TRADES, account=account))
    session = Apart(exchange.plan()[-1].session())
    session.connected(T0)
    session.receive(binance_frames.SUBSCRIBED, T0)
    session.actions.clear()

    def symbols():
        _, asked = driven(session.fetch(T0 + SECOND), lambda call: b'{"balances":[]}' if "account" in call else b"[]")
        session.actions.clear()
        return {call.partition("symbol=")[2].partition("&")[0] for call in asked if "myTrades" in call}

    joined = exchange.beside(["SOL-USDT"])
    assert symbols() == {"BNBBTC"}
    exchange.joined = [joined]
    assert symbols() == {"BNBBTC", "SOLUSDT"}
    exchange.joined = []
    assert symbols() == {"BNBBTC"}


def test_lmex_asks_for_them_and_knows_their_contracts():
    exchange = lmex_sessions.lmex("BTC-PERP", with_account=True)
    [plan] = [plan for plan in exchange.plan() if plan.name.startswith("futures-account")]
    session = Apart(plan.session())
    session.connected(T0)
    session.receive(lmex_frames.LOGGED_IN, T0)
    session.receive(lmex_sessions.ack(*lmex_sessions.asked(session)), T0)
    session.actions.clear()
    joined = exchange.beside(["SOL-PERP", "SOL-USD"])
    summary = json.dumps([{"symbol": "SOL-PERP", "contractSize": 0.5}, {"symbol": "SOL-USD"}]).encode()
    driven(joined.discover(T0), lambda _: summary)
    exchange.joined = [joined]
    asked = []
    flow = session.fetch(T0)
    try:
        request = next(flow)
        while True:
            asked.append(request.path)
            wants = "symbol=" not in request.path and "positions" not in request.path
            words = b'{"status":400,"errorCode":-2,"message":"symbol is missing"}'
            request = flow.send(HttpResponse(400, words) if wants else HttpResponse(200, b"[]"))
    except StopIteration:
        pass
    named = [call.partition("symbol=")[2].partition("&")[0] for call in asked if "symbol=" in call]
    assert named == ["BTC-PERP", "SOL-PERP"] * 2
    found = session.receive(lmex_sessions.changed(lmex_frames.FILL, symbol="SOL-PERP"), T0)
    fill = next(event for event in found if getattr(event, "fill_id", ""))
    assert fill.pair == "SOL-PERP"
    assert float(fill.size) == float(fill.contracts) / 2


def limitlex_account():
    """An exchange with an account and one of two known pairs, and REST's answer with a token."""
    options = LimitlexOptions(pair_ids={"BTC-EUR": limitlex_frames.PAIR_ID, "ETH-EUR": "eth:eur"})
    account = Credentials("main", "the-key-id", limitlex_keys.SECRET)
    token = json.dumps({"result": {"token": limitlex_keys.jwt({"sub": "me"})}}).encode()
    return Limitlex(Profile(("BTC-EUR",), TRADES, account=account, options=options)), token


def test_limitlex_names_them_in_the_address_of_another_connection():
    exchange, token = limitlex_account()
    session = Apart(exchange.plan()[-1].session())
    driven(session.open(T0), lambda _: token)
    session.tick(T0 + SECOND)
    assert session.actions == []
    exchange.joined = [exchange.beside(["ETH-EUR"])]
    session.tick(T0 + 2 * SECOND)
    assert session.actions == [Replace("a pair has joined")]
    replacement = Apart(exchange.plan()[-1].session())
    target, _ = driven(replacement.open(T0), lambda _: token)
    assert f"?p={limitlex_frames.PAIR_ID},eth:eur&" in target.url
    exchange.joined = []
    replacement.tick(T0 + 3 * SECOND)
    assert replacement.actions == []


def test_limitlex_names_those_that_join_before_it_connects():
    """The address is made then, and no other connection is needed."""
    exchange, token = limitlex_account()
    session = Apart(exchange.plan()[-1].session())
    exchange.joined = [exchange.beside(["ETH-EUR"])]
    target, _ = driven(session.open(T0), lambda _: token)
    assert f"?p={limitlex_frames.PAIR_ID},eth:eur&" in target.url
    session.tick(T0 + SECOND)
    assert session.actions == []


def test_coinbase_knows_what_new_futures_are():
    products = f"{coinbase_account_frames.API}/market/products"
    spot = {"product_id": "BTC-USD", "quote_currency_id": "USD"}
    future = {
        "product_id": "BIP-20DEC30-CDE",
        "product_type": "FUTURE",
        "quote_currency_id": "USD",
        "future_product_details": {"contract_size": "0.01"},
    }
    exchange, answers = coinbase("BTC-USD"), Answers({products: {"products": [spot]}})
    answers.drive(exchange.discover(T0))
    account = Account(exchange, answers).synced()
    answers.answers |= {
        products: {"products": [spot, future]},
        coinbase_account_frames.FILLS: fills(part("f", "o", "2", product_id="BIP-20DEC30-CDE")),
    }
    joined = exchange.beside(["BIP-20DEC30-CDE"])
    joined.profile = type(joined.profile)(joined.profile.pairs, TRADES)
    answers.drive(joined.discover(T0))
    [fill] = account.wait(46)
    assert (fill.size, fill.contracts, fill.fee_currency) == ("0.02", "2", "USD")
