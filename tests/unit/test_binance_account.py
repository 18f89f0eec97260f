"""Binance's accounts: what each event and row says of orders, fills, balances and positions; keys and their ends."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import Fetch, HttpResponse, Reconnect, Replace, Send, Unknown
from bridge.exchanges.binance import Binance
from bridge.model import Channel, Fill, Order, Position
from tests.unit import binance_frames as frames
from tests.unit.binance_accounts import Accounts, positions, report, spot, update, usdm
from tests.unit.core import SECOND, T0, faults, refused

MS = 1_000_000


class TestOrders:
    def test_a_fill_is_the_order_and_itself(self):
        order, fill = spot().take(frames.REPORT)
        ts = 1499405658657 * MS
        ids = ("4293153", "mUvoqJxFIILMdfAW5iGSOW", "BNB-BTC", "limit", "buy")
        assert order == Order("main", ts, T0, *ids, "0.10264410", "1.00000000", "0.50000000", "partially_filled")
        amounts = ("0.10264400", "0.40000000", "0.00010000", "BNB")
        assert fill == Fill("main", ts, T0, "28457", "4293153", "BNB-BTC", "buy", *amounts)

    @pytest.mark.parametrize(
        ("word", "status"),
        [
            ("NEW", "open"),
            ("PENDING_NEW", "open"),
            ("PENDING_CANCEL", "open"),
            ("NEW_INSURANCE", "open"),
            ("NEW_ADL", "open"),
            ("PARTIALLY_FILLED", "partially_filled"),
            ("FILLED", "filled"),
            ("CANCELED", "cancelled"),
            ("EXPIRED", "cancelled"),
            ("EXPIRED_IN_MATCH", "cancelled"),
            ("REJECTED", "rejected"),
        ],
    )
    def test_every_status(self, word, status):
        [order] = spot().take(report(x="NEW", X=word))
        assert order.status == status
        [order] = usdm().take(update(x="NEW", X=word))
        assert order.status == status

    @pytest.mark.parametrize("spoiled", [{"X": "UNHEARD_OF"}, {"x": "UNHEARD_OF"}])
    def test_an_unknown_word_leaves_the_order_as_it_was_and_is_looked_up(self, spoiled):
        accounts = spot()
        accounts.session.actions.clear()
        assert accounts.session.receive(report(**spoiled), T0) == []
        assert [type(action) for action in accounts.session.actions] == [Unknown]
        accounts.session.tick(T0 + 20 * SECOND)
        assert any(isinstance(action, Fetch) for action in accounts.session.actions)

    @pytest.mark.parametrize("done", ["NEW", "CANCELED", "REPLACED", "REJECTED", "EXPIRED", "TRADE_PREVENTION"])
    def test_what_is_no_fill(self, done):
        assert [type(event) for event in spot().take(report(x=done))] == [Order]

    def test_a_cancel_has_an_id_of_its_own(self):
        [order] = spot().take(report(x="CANCELED", X="CANCELED", c="the-cancels", C="the-orders"))
        assert order.client_id == "the-orders"

    def test_market_orders_have_no_price_and_those_for_an_amount_of_quote_no_size(self):
        [order] = spot().take(report(x="NEW", o="MARKET", p="0.00000000", q="0.00000000", Q="10.0"))
        assert (order.kind, order.price, order.size, order.filled) == ("market", "", "", "0.50000000")

    @pytest.mark.parametrize(("kind", "word"), [("LIMIT_MAKER", "limit"), ("STOP_LOSS_LIMIT", "stop_loss_limit")])
    def test_kinds(self, kind, word):
        [order] = spot().take(report(x="NEW", o=kind))
        assert order.kind == word

    def test_the_group_of_a_prevented_trade_is_no_time(self):
        """Newer reports have it as ``u``."""
        order, _ = spot().take(report(u=1))
        assert order.ts == 1499405658657 * MS

    def test_without_its_own_price_a_fill_has_none(self):
        message = json.loads(frames.REPORT)
        del message["event"]["L"]
        [order, gap] = spot().session.receive(json.dumps(message).encode(), T0)
        assert (order.price, gap.channel) == ("0.10264410", Channel.FILLS)

    def test_a_bad_part_harms_itself_alone(self):
        session = spot().session
        [order, gap] = session.receive(report(t="{"), T0)
        assert (order.status, gap.channel) == ("partially_filled", Channel.FILLS)

    def test_liquidations_fill_too(self):
        order, fill = usdm().take(update(x="CALCULATED", c="autoclose-1", n=None, N=None))
        assert (order.client_id, fill.fee, fill.fee_currency) == ("autoclose-1", "", "")
        assert [type(event) for event in usdm().take(update(x="CALCULATED", l="0"))] == [Order]

    @pytest.mark.parametrize("frame", [frames.LITE, b'{"e":"ALGO_UPDATE","o":{"aid":1}}', b'{"e":"MARGIN_CALL"}'])
    def test_what_has_no_entry(self, frame):
        accounts = usdm()
        accounts.session.actions.clear()
        assert accounts.session.receive(frame, T0) == []
        assert accounts.session.actions == []

    def test_orders_of_coin_m_are_left_out(self):
        assert usdm().take(update(s="BTCUSD_PERP"), json.dumps(json.loads(frames.UPDATE) | {"st": 2}).encode()) == []


class TestBalancesAndPositions:
    def test_balances_of_spot(self):
        [balance] = spot().take(frames.POSITIONS)
        assert (balance.currency, balance.available, balance.reserved) == ("ETH", "10000.000000", "0.500000")
        assert balance.ts == 1564034571073 * MS

    @pytest.mark.parametrize("kind", ["balanceUpdate", "externalLockUpdate"])
    def test_changes_are_not_added_up(self, kind):
        accounts = spot()
        accounts.answer({})
        accounts.session.actions.clear()
        assert accounts.take(frames.DEPOSIT.replace(b"balanceUpdate", kind.encode())) == []
        accounts.session.tick(T0 + 20 * SECOND)
        assert any(isinstance(action, Fetch) for action in accounts.session.actions)

    def test_positions_in_both_modes(self):
        [position] = usdm().take(frames.ACCOUNT)
        values = ("BTC-USDT-PERP", "short", "10", "6563.86000", "", "-1423.15600")
        assert position == Position("main", 1564745798938 * MS, T0, *values, None, "")
        legs = usdm().take(positions({"ps": "LONG", "pa": "2"}, {"ps": "SHORT", "pa": "-3"}))
        assert [(leg.leg, leg.side, leg.size) for leg in legs] == [("long", "long", "2"), ("short", "short", "3")]
        [flat] = usdm().take(positions({"pa": "0.000"}))
        assert (flat.side, flat.size, flat.entry_price) == ("", "0", "")

    def test_a_funding_fee_has_no_position_and_the_wallets_are_fetched(self):
        accounts = usdm()
        [poll] = accounts.exchange.polls()
        assert accounts.session.receive(positions(), T0) == []
        assert poll.wanted

    def test_positions_of_coin_m_are_left_out(self):
        assert usdm().take(positions({"s": "BTCUSD_PERP"}, {"s": "BTCUSD_261225"})) == []

    @pytest.mark.parametrize("part", ["a", "P"])
    def test_a_part_that_is_not_there_is_a_gap(self, part):
        message = json.loads(frames.ACCOUNT)
        (message if part == "a" else message["a"])[part] = "x"
        assert refused(usdm().session, json.dumps(message).encode()) == [("positions", "main")]

    @pytest.mark.parametrize(("free", "held"), [("23.5", "76.5"), ("100", "0"), ("120", "")])
    def test_wallets_of_futures(self, free, held):
        [poll] = usdm().exchange.polls()
        flow = poll.flow(T0)
        request = next(flow)
        assert request.path.startswith("/fapi/v3/balance?recvWindow=10000&timestamp=1700000000000&signature=")
        rows = [frames.USDM_BALANCE | {"balance": "100", "availableBalance": free}]
        with pytest.raises(StopIteration) as stop:
            flow.send(HttpResponse(200, json.dumps(rows).encode()))
        [balance] = stop.value.value
        assert (balance.available, balance.reserved) == (free, held)


class TestConnection:
    def test_the_subscription_is_signed_and_secret(self):
        accounts = Accounts(Binance, "BNB-BTC")
        [send] = [action for action in accounts.session.actions if isinstance(action, Send)]
        message = json.loads(send.text)
        params = message["params"]
        text = f"apiKey={frames.KEY}&recvWindow=10000&timestamp={T0 // MS}"
        signer = accounts.session._rest.signer
        assert (message["method"], params["signature"]) == ("userDataStream.subscribe.signature", signer.sign(text))
        assert send.secret
        assert accounts.session.receive(frames.SUBSCRIBED, T0) != []

    def test_nothing_is_live_before_the_answer_and_already_subscribed_is_one(self):
        accounts = Accounts(Binance, "BNB-BTC")
        assert accounts.session.tick(T0 + SECOND) == []
        answer = b'{"id":1,"status":400,"error":{"code":-2035,"msg":"Subscription is active already."}}'
        assert [str(event.event) for event in accounts.session.receive(answer, T0)] == ["live"] * 3

    @pytest.mark.parametrize(
        ("code", "hint"),
        [
            (-2014, "this is no key of the exchange's"),
            (-1022, "the secret is not the key's"),
            (-1002, "the key lacks the permission"),
        ],
    )
    def test_a_refusal_says_what_is_wrong(self, code, hint):
        accounts = Accounts(Binance, "BNB-BTC")
        answer = json.dumps({"id": 1, "status": 400, "error": {"code": code, "msg": "No."}}).encode()
        accounts.session.receive(answer, T0)
        [(kind, told, _, words)] = faults(accounts.session)
        assert (kind, told) == ("login_refused", code)
        assert hint in words
        assert [action.wait for action in accounts.session.actions if isinstance(action, Reconnect)] == [0.0]

    @pytest.mark.parametrize(("status", "code"), [(503, -1008), (500, -1000), (408, -1007)])
    def test_an_exchange_that_is_overloaded_refuses_no_key(self, status, code):
        accounts = Accounts(Binance, "BNB-BTC")
        answer = json.dumps({"id": 1, "status": status, "error": {"code": code, "msg": "Busy."}}).encode()
        for _ in range(3):
            accounts.session.receive(answer, T0)
        assert {(kind, told) for kind, told, _, _ in faults(accounts.session)} == {("reported", code)}
        ends = [action for action in accounts.session.actions if isinstance(action, Reconnect)]
        assert ends == [Reconnect(f"{code}: Busy.")] * 3
        assert accounts.exchange._account.memory.refused == 0

    @pytest.mark.parametrize(("status", "code"), [(400, -1021), (401, -9999)])
    def test_a_time_that_is_not_taken_and_what_is_unauthorised_are_refusals(self, status, code):
        accounts = Accounts(Binance, "BNB-BTC")
        answer = json.dumps({"id": 1, "status": status, "error": {"code": code, "msg": "No."}}).encode()
        accounts.session.receive(answer, T0)
        assert [(kind, told) for kind, told, _, _ in faults(accounts.session)] == [("login_refused", code)]
        assert accounts.exchange._account.memory.refused == 1

    def test_a_ban_is_waited_for(self):
        accounts = Accounts(Binance, "BNB-BTC")
        accounts.session.receive(frames.BANNED, T0)
        [end] = [action for action in accounts.session.actions if isinstance(action, Reconnect)]
        assert end.wait == pytest.approx(3492.469)

    def test_a_revoked_key(self):
        session = spot().session
        session.receive(frames.REVOKED, T0)
        [end] = [action for action in session.actions if isinstance(action, Reconnect)]
        assert (end.wait, "-2015: Invalid API-key" in end.reason) == (60.0, True)

    def test_a_subscription_that_ends_is_a_gap_and_another_one(self):
        session = spot().session
        session.actions.clear()
        events = session.receive(frames.TERMINATED, T0)
        assert [(str(event.event), str(event.channel)) for event in events] == [
            ("gap", "orders"),
            ("gap", "fills"),
            ("gap", "balances"),
        ]
        assert [type(action) for action in session.actions] == [Send]
        assert session.receive(frames.SUBSCRIBED, T0) == []
        assert isinstance(session.actions[-1], Fetch)

    def test_a_shutdown_and_what_nobody_knows(self):
        session = spot().session
        session.actions.clear()
        session.receive(frames.SHUTDOWN, T0)
        assert [type(action) for action in session.actions] == [Replace]
        for frame in (b'{"event":{"e":"new"}}', b'{"event":{}}', b"{}", b'{"id":9,"status":200}'):
            session.receive(frame, T0)
        assert [type(action) for action in session.actions[1:]] == [Unknown] * 4
        for junk in (b"[]", b"x", b'{"event":'):
            with pytest.raises(FrameError):
                session.receive(junk, T0)

    def test_a_listen_key_is_fetched_hidden_and_may_expire(self):
        session = usdm().session
        flow = session.open(T0)
        request = next(flow)
        assert (request.method, request.path, request.headers) == (
            "POST",
            "/fapi/v1/listenKey",
            {"X-MBX-APIKEY": frames.KEY},
        )
        with pytest.raises(StopIteration) as stop:
            flow.send(HttpResponse(200, b'{"listenKey":"pqia91ma19a5s61cv6a81va65sdf19v8a65a1"}'))
        target = stop.value.value
        assert target.url == "wss://fstream.binance.com/private/ws/pqia91ma19a5s61cv6a81va65sdf19v8a65a1"
        assert target.shown == "wss://fstream.binance.com/private/ws/***"
        session.actions.clear()
        session.receive(frames.EXPIRED, T0)
        assert session.actions == [Reconnect("the listen key has expired")]

    def test_it_is_renewed_every_half_hour(self):
        session = usdm().session
        session.actions.clear()
        session.tick(T0 + 1_799 * SECOND)
        assert session.actions == []
        session.tick(T0 + 1_800 * SECOND)
        [fetch] = session.actions
        request = next(fetch.flow)
        assert (request.method, request.path) == ("PUT", "/fapi/v1/listenKey")
