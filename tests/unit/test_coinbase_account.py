"""A Coinbase account's connection: tokens, the subscription, orders and what they call for."""

from __future__ import annotations

import json

import pytest

from bridge.errors import ConfigError
from bridge.exchange_errors import ErrorKind, FrameError, RestError
from bridge.exchanges.api import (
    ClockReading,
    Credentials,
    HttpResponse,
    Profile,
    Reconnect,
    Reject,
    Said,
    Unknown,
    Warn,
)
from bridge.exchanges.coinbase import Coinbase
from bridge.model import Channel, Order, Position
from tests.unit import coinbase_account_frames as frames
from tests.unit.coinbase_account_rows import bare
from tests.unit.coinbase_accounts import PERMISSIONS, Account, Answers, coinbase, parts
from tests.unit.core import SECOND, T0

BARE, ORDER = frames.BARE, frames.ORDER
OPEN = {**ORDER, "status": "OPEN", "cumulative_quantity": "0", "leaves_quantity": "0.01"}


class TestTokens:
    def test_each_message_and_call_has_its_own(self):
        account = Account().synced()
        account.wait(1)
        messages = account.sent()
        assert [message["channel"] for message in messages] == ["heartbeats", "user", "futures_balance_summary"]
        assert all(set(message) == {"type", "channel", "jwt"} for message in messages)
        tokens = [message["jwt"] for message in messages]
        for token in tokens:
            header, claims = parts(token)
            assert (header["alg"], header["kid"], header["typ"]) == ("EdDSA", frames.KEY, "JWT")
            assert claims == {"sub": frames.KEY, "iss": "cdp", "nbf": claims["nbf"], "exp": claims["nbf"] + 120}
            assert 0 <= T0 // SECOND - claims["nbf"] <= 2
        tokens += account.rest.tokens
        nonces = [parts(token)[0]["nonce"] for token in tokens]
        assert len(set(nonces)) == len(nonces) == 3 + len(account.rest.called)
        assert all(len(nonce) == 32 for nonce in nonces)

    def test_of_a_call_it_names_the_path_without_the_query(self):
        rest = Account().synced().rest
        for called, token in zip(rest.called, rest.tokens, strict=True):
            assert parts(token)[1]["uri"] == f"GET api.coinbase.com{called.partition('?')[0]}"
        assert any("?" in called for called in rest.called)

    def test_by_the_exchanges_clock(self):
        exchange = coinbase()
        exchange.clock_known(-600 * SECOND)
        account = Account(exchange).accept()
        for token in [*account.rest.tokens, *(message["jwt"] for message in account.sent())]:
            assert 0 <= T0 // SECOND - 600 - parts(token)[1]["nbf"] <= 2

    def test_the_time_of_a_refusal_sets_the_clock_and_the_call_is_made_again(self):
        answers = [
            HttpResponse(401, b"Unauthorized\n", {"date": "Tue, 14 Nov 2023 22:23:20 GMT"}),
            HttpResponse(200, json.dumps(PERMISSIONS).encode()),
        ]
        account = Account(answers=Answers({frames.PERMISSIONS: lambda _: answers.pop(0)}))
        first, second = (parts(token)[1]["nbf"] for token in account.rest.tokens)
        assert second - first == 600

    @pytest.mark.parametrize("secret", ["", "a passphrase", "-----BEGIN EC PRIVATE KEY-----\nx\n"])
    def test_a_secret_that_is_no_key_is_a_mistake_of_the_config(self, secret):
        with pytest.raises(ConfigError, match=r"accounts\.main: the api_secret is no private key"):
            coinbase(account=Credentials("main", frames.KEY, secret)).check()

    def test_an_ec_key_signs_as_es256(self):
        account = Account(coinbase(account=Credentials("main", "a-uuid", frames.PEM.replace("\n", "\\n"))))
        header, claims = parts(account.sent()[0]["jwt"])
        assert (header["alg"], header["kid"], claims["sub"]) == ("ES256", "a-uuid", "a-uuid")


class TestPlan:
    def test_an_account_has_a_connection_of_its_own_to_its_own_host(self):
        exchange = coinbase("BTC-USD")
        plans = exchange.plan()
        assert [plan.name for plan in plans] == ["account:main"]
        assert {stream.channel for stream in plans[0].subscriptions} == exchange.private_channels
        assert plans[0].rotate is None
        assert Account(exchange).target.url == "wss://advanced-trade-ws-user.coinbase.com"

    def test_it_never_asks_to_be_replaced_beside_another(self):
        assert Account().synced().session.expires is None

    def test_where_its_host_serves_nobody_the_other_one_does(self):
        exchange = coinbase()
        hosts = [Account(exchange).target.url for _ in range(6)]
        own, other = "wss://advanced-trade-ws-user.coinbase.com", "wss://advanced-trade-ws.coinbase.com"
        assert hosts == [own, own, other, other, own, own]
        Account(exchange).accept()
        assert Account(exchange).target.url == own

    def test_pairs_of_international_derivatives_are_refused(self):
        with pytest.raises(ConfigError, match="BTC-PERP-INTX: international derivatives have left"):
            Coinbase(Profile(("BTC-USD", "BTC-PERP-INTX"), frozenset({Channel.TRADES}))).check()


class TestKey:
    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (HttpResponse(401, b"Unauthorized\n"), "401: Unauthorized"),
            (
                HttpResponse(403, b'{"error":"PERMISSION_DENIED","error_details":"Missing required scopes"}'),
                "403: PERMISSION_DENIED: Missing required scopes",
            ),
            ({**PERMISSIONS, "can_view": False}, "the key lacks the permission to view"),
            ({**PERMISSIONS, "portfolio_uuid": "other"}, "the key is of the portfolio other, not of portfolio-001"),
        ],
    )
    def test_one_that_is_refused_is_told_why_and_left_for_a_minute(self, answer, words):
        with pytest.raises(RestError) as refused:
            Account(coinbase(portfolio="portfolio-001"), Answers({frames.PERMISSIONS: answer}))
        assert words in str(refused.value)
        assert (refused.value.kind, refused.value.exit_code) == (ErrorKind.REST_LOGIN_REFUSED, 1)
        assert refused.value.retry_after == 60

    @pytest.mark.parametrize("answer", [HttpResponse(503, b"no"), HttpResponse(200, b"[]"), {"can_view": True}])
    def test_where_rest_is_away_the_connection_is_tried_all_the_same(self, answer):
        assert Account(answers=Answers({frames.PERMISSIONS: answer})).target

    def test_check_says_which_portfolio_it_sees(self):
        exchange = coinbase()
        Answers().drive(exchange.discover(T0))
        assert exchange.remarks() == ["account main: its key sees the portfolio portfolio-001 (DEFAULT)"]


class TestSubscription:
    def test_orders_are_live_with_the_answer_that_names_the_channel(self):
        account = Account()
        account.say("subscriptions", {"subscriptions": {"heartbeats": ["heartbeats"]}})
        assert (account.controls(), account.session.ready) == ([], False)
        account.say("subscriptions", {"subscriptions": {"heartbeats": ["heartbeats"], "user": []}})
        assert account.controls() == [("live", "orders", "")]
        assert account.session.ready

    def test_or_with_the_snapshot_and_the_others_once_rest_has_answered(self):
        account = Account()
        account.orders(OPEN, kind="snapshot")
        assert account.controls() == [("live", "orders", "")]
        account.fetch()
        assert account.controls() == [("live", "fills", ""), ("live", "balances", ""), ("live", "positions", "")]

    def test_heartbeats_alone_dont_make_it_live(self):
        account = Account()
        account.wait(10)
        assert (account.controls(), account.did(Reconnect)) == ([], [])
        account.wait(1)
        assert account.did(Reconnect) == [Reconnect("no answer to the log-in")]

    def test_refused_it_is_tried_once_more_with_the_exchanges_time_and_then_left_for_a_minute(self):
        exchange = coinbase()
        for wait in (0.0, 60.0, 60.0):
            account = Account(exchange, Answers({f"{frames.API}/time": {"epochMillis": str(T0 // 10**6 + 600_000)}}))
            assert ("/time" in account.rest.paths()) == (wait > 0)
            account.session.receive(frames.REFUSED, T0)
            [said] = account.did(Said)
            assert said.error.kind is ErrorKind.LOGIN_REFUSED
            assert account.did(Reconnect) == [Reconnect("the log-in is refused: authentication failure", wait)]
        assert parts(account.sent()[-1]["jwt"])[1]["nbf"] - T0 // SECOND in (598, 599, 600)
        account = Account(exchange).accept()
        assert Account(exchange).rest.paths() == ["/key_permissions"]

    def test_too_many_attempts_are_no_refusal_of_the_key(self):
        account = Account()
        account.session.receive(b'{"type":"error","message":"rate limit exceeded"}', T0)
        [said] = account.did(Said)
        assert said.error.kind is ErrorKind.TOO_MANY_REQUESTS
        assert account.did(Reconnect)[0].wait == 60

    def test_an_error_later_on_is_said(self):
        account = Account().synced()
        account.session.receive(b'{"type":"error","message":"channel is not supported"}', T0)
        assert [said.error.message for said in account.did(Said)] == ["channel is not supported"]
        assert account.did(Reconnect) == []

    def test_one_that_has_ended_ends_the_connection(self):
        account = Account().synced()
        account.say("subscriptions", {"subscriptions": {"heartbeats": ["heartbeats"]}})
        assert account.did(Reconnect) == [Reconnect("the exchange has ended the subscription of user")]

    def test_a_connection_goes_on_after_its_tokens_have_ended(self):
        account = Account().synced()
        account.wait(150)
        assert (account.did(Reconnect), account.orders(OPEN)[0].status) == ([], "open")

    def test_without_its_heartbeats_a_connection_is_of_no_use(self):
        account = Account().synced()
        account.wait(30, beat=False)
        assert account.did(Reconnect) == []
        account.session.tick(account.now + SECOND)
        assert account.did(Reconnect) == [Reconnect("no heartbeat for 30 s")]


class TestOrders:
    def test_of_the_documents(self):
        [order] = Account().synced().orders(ORDER, kind="snapshot")
        head = ("main", frames.NS, T0, "YYY", "XXX", "BTC-USD", "limit", "buy")
        assert order == Order(*head, "50000", "0.01", "0.01", "filled", "")

    def test_of_spring_2026_without_a_price_or_a_client_id_of_the_message(self):
        frame = json.loads(frames.user(0, {**BARE, "limit_price": "68.9"}))
        del frame["client_id"]
        account = Account()
        [order] = account.take(account.session.receive(json.dumps(frame).encode(), T0))
        assert (order.order_id, order.price, order.size, order.status) == (BARE["order_id"], "68.9", "0.001", "open")

    def test_the_pair_is_the_one_that_the_order_names(self):
        """Market data of this one is served under the name of another."""
        [order] = Account().synced().orders({**OPEN, "product_id": "BTC-USDC"})
        assert order.pair == "BTC-USDC"

    @pytest.mark.parametrize(
        ("status", "filled", "expected"),
        [
            ("PENDING", "0", "open"),
            ("QUEUED", "0", "open"),
            ("OPEN", "0", "open"),
            ("OPEN", "0.004", "partially_filled"),
            ("FILLED", "0.01", "filled"),
            ("CANCELLED", "0", "cancelled"),
            ("CANCELLED", "0.004", "cancelled"),
            ("EXPIRED", "0", "cancelled"),
            ("FAILED", "0", "rejected"),
            ("FAILED", "0.004", "cancelled"),
            ("CANCEL_QUEUED", "0", "open"),
            ("EDIT_QUEUED", "0.004", "partially_filled"),
            ("SOMETHING_NEW", "0", "open"),
        ],
    )
    def test_each_status(self, status, filled, expected):
        row = {**OPEN, "status": status, "cumulative_quantity": filled}
        [order] = Account().synced().orders(row)
        assert (order.status, order.filled) == (expected, filled)

    @pytest.mark.parametrize("status", ["CANCEL_QUEUED", "EDIT_QUEUED", "UNKNOWN_ORDER_STATUS"])
    def test_one_that_says_nothing_new_leaves_it_as_it_was(self, status):
        account = Account().synced()
        account.orders({**OPEN, "cumulative_quantity": "0.004", "leaves_quantity": "0.006"})
        row = {**OPEN, "cumulative_quantity": "0.004", "leaves_quantity": "0.006", "status": status}
        assert account.orders(row) == []
        assert len(account.did(Warn)) == (status == "UNKNOWN_ORDER_STATUS")

    def test_nothing_goes_back(self):
        account = Account().synced()
        part = {**OPEN, "cumulative_quantity": "0.004", "leaves_quantity": "0.006"}
        assert len(account.orders(part)) == 1
        assert account.orders(OPEN, part, {**part, "cumulative_quantity": "0.0040"}) == []
        [ended] = account.orders({**part, "status": "CANCELLED", "leaves_quantity": "0"})
        assert (ended.status, ended.size, ended.filled) == ("cancelled", "0.01", "0.004")
        assert account.orders(part, ORDER) == []

    def test_what_is_left_says_nothing_once_it_has_ended(self):
        account = Account().synced()
        [order] = account.orders({**OPEN, "status": "CANCELLED", "leaves_quantity": "0"})
        assert (order.size, order.filled, order.status) == ("", "0", "cancelled")

    def test_of_a_market_order_to_buy_it_may_be_money(self):
        account = Account().synced()
        row = {**OPEN, "order_type": "Market", "limit_price": "", "leaves_quantity": "500"}
        [order] = account.orders(row)
        assert (order.kind, order.price, order.size) == ("market", "", "")

    def test_why_one_has_failed_goes_to_the_log(self):
        account = Account().synced()
        account.orders({**OPEN, "status": "FAILED", "reject_Reason": "INSUFFICIENT_FUND", "reject_reason": ""})
        assert "INSUFFICIENT_FUND" in account.did(Warn)[0].message

    @pytest.mark.parametrize("decimals", ["", ".6", ".609931463"])
    def test_times_of_any_length(self, decimals):
        account = Account().synced()
        [order] = account.say("user", {"type": "update", "orders": [OPEN]}, timestamp=f"2023-02-09T20:33:57{decimals}Z")
        assert order.ts == 1675974837 * SECOND + int(f"0{decimals}".partition(".")[2].ljust(9, "0"))

    def test_of_a_future_sizes_are_contracts(self):
        answers = Answers({frames.POSITIONS: frames.answer("positions", frames.POSITION)})
        account = Account(answers=answers).synced()
        row = {**OPEN, "product_id": "BIP-20DEC30-CDE", "product_type": "FUTURE"}
        [order] = account.orders({**row, "cumulative_quantity": "1", "leaves_quantity": "2"})
        assert (order.size, order.filled, order.contracts) == ("0.03", "0.01", "3")
        [unknown] = account.orders({**row, "product_id": "ET-24APR26-CDE", "order_id": "e", "leaves_quantity": "2"})
        assert (unknown.size, unknown.contracts) == ("", "2")

    def test_a_bad_row_harms_no_other_and_everything_is_fetched(self):
        account = Account().synced()
        account.controls()
        account.rest.called.clear()
        found = account.orders(
            {**OPEN, "order_id": "a"}, {**OPEN, "cumulative_quantity": "-"}, {**OPEN, "order_id": "b"}
        )
        assert [order.order_id for order in found] == ["a", "b"]
        assert account.controls() == [("gap", "orders", "a frame could not be understood")]
        assert len(account.did(Reject)) == 1
        account.wait(6)
        assert {"/orders/historical/batch", "/orders/historical/fills", "/accounts"} <= set(account.rest.paths())

    @pytest.mark.parametrize("frame", [b"", b"[]", b"{}", b'{"channel":"user"}', b'{"channel":"heartbeats","x":1}'])
    def test_what_is_no_message(self, frame):
        with pytest.raises(FrameError):
            Account().session.receive(frame, T0)

    def test_other_channels_are_counted(self):
        account = Account().synced()
        account.say("candles")
        assert account.did(Unknown) == [Unknown("candles")]
        assert account.say("heartbeats") == []
        assert account.controls()[-1][0] == "live"


class TestFutures:
    def test_a_summary_that_has_changed_has_positions_asked_for(self):
        account = Account(answers=Answers({frames.POSITIONS: frames.answer("positions", frames.POSITION)})).synced()
        account.wait(2)
        account.rest.called.clear()
        account.say("futures_balance_summary", frames.SUMMARY)
        found = account.wait(2)
        assert account.rest.paths() == ["/cfm/positions"]
        head = ("main", None, found[0].recv, "BIP-20DEC30-CDE", "long", "0.02")
        assert found == [Position(*head, "49000.00", "50000.00", "20.00", "2")]
        account.say("futures_balance_summary", frames.SUMMARY)
        account.wait(2)
        assert account.rest.paths() == ["/cfm/positions"]

    def test_so_has_a_position_that_the_channel_names(self):
        account = Account().synced()
        account.wait(2)
        account.rest.called.clear()
        held = {"product_id": "BIP-20DEC30-CDE", "side": "LONG", "number_of_contracts": "2"}
        account.say("user", {"type": "update", "positions": {"expiring_futures_positions": [held]}})
        account.wait(2)
        assert account.rest.paths() == ["/cfm/positions"]
        assert account.did(Reject) == []

    def test_so_has_an_order_of_a_future(self):
        account = Account().synced()
        account.wait(3)
        account.rest.called.clear()
        account.orders(bare("o", limit_price="5", product_id="BIP-20DEC30-CDE"))
        account.wait(2)
        assert "/cfm/positions" in account.rest.paths()

    def test_too_many_calls_are_no_reason_to_give_positions_up(self):
        account = Account(answers=Answers({frames.POSITIONS: HttpResponse(429, b"", {"retry-after": "5"})})).synced()
        account.rest.answers[frames.POSITIONS] = frames.answer("positions", frames.POSITION)
        assert [event.pair for event in account.wait(8) if isinstance(event, Position)] == ["BIP-20DEC30-CDE"]


class TestHoles:
    def test_one_is_a_gap_of_each_stream_and_one_look_at_everything(self):
        account = Account().synced()
        account.wait(10)
        account.controls()
        account.rest.called.clear()
        account.number += 3
        account.say("heartbeats")
        reason = f"sequence_num {account.number - 4} expected, {account.number - 1} came"
        assert account.controls() == [
            ("gap", channel, reason) for channel in ("orders", "fills", "balances", "positions")
        ]
        account.wait(3)
        assert account.rest.paths() == [
            "/orders/historical/batch",
            "/orders/historical/fills",
            "/accounts",
            "/cfm/positions",
        ]

    def test_a_repeated_message_is_dropped(self):
        account = Account().synced()
        account.number -= 1
        assert account.orders(OPEN) == []

    def test_the_clock_is_read_of_the_exchange(self):
        answers = Answers({f"{frames.API}/time": {"epochMillis": "1786309548228"}})
        reading = answers.drive(coinbase().clock())
        assert reading == ClockReading(1786309548228 * 10**6, 10**6)
