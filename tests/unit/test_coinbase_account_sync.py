"""What a Coinbase account's connection learns by REST: fills, wallets, positions, and what fails."""

from __future__ import annotations

from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.exchange_errors import ErrorKind
from bridge.exchanges.api import HttpResponse, Reconnect, Reject, Said, Subscription, Warn
from bridge.model import Balance, Channel, Control, Fill, Order, Position
from tests.unit import coinbase_account_frames as frames
from tests.unit.coinbase_account_rows import bare, fills, listed, orders, part
from tests.unit.coinbase_accounts import Account, Answers, coinbase
from tests.unit.core import SECOND, T0

FILL = frames.FILL
DAY = 24 * 3600 * SECOND


class TestFills:
    def test_of_the_documents(self):
        account = Account(answers=Answers({frames.FILLS: fills(FILL)})).accept()
        [fill] = account.fetch()
        head = ("main", 1705314600 * SECOND, T0, "22222-2222222-22222222", "0000-000000-000000", "BTC-USD", "buy")
        assert fill == Fill(*head, "45123.45", "0.005", "1.14", "USD", "")

    def test_they_go_on_a_minute_before_where_the_stream_ends(self):
        exchange = coinbase()
        known = Fill("main", T0 - DAY, T0 - DAY, "f", "o", "BTC-USD", "buy", "1", "1", "", "", "")
        exchange.recall(Subscription(Channel.FILLS, "main"), [known], 0)
        account = Account(exchange).synced()
        [called] = [called for called in account.rest.called if called.startswith(frames.FILLS)]
        assert parse_qs(urlsplit(called).query) == {
            "limit": ["100"],
            "start_sequence_timestamp": ["2023-11-13T22:12:20Z"],
        }

    def test_pages_oldest_first(self):
        def page(called: str) -> bytes:
            if "cursor" not in called:
                rows = [part("c", "o", "1", trade_time="2024-01-15T10:30:00.5Z"), part("b", "o", "1")]
                return frames.answer("fills", *rows, cursor="next=+/")
            assert "cursor=next%3D%2B%2F" in called
            return fills(part("a", "o", "1", trade_time="2024-01-15T10:29:59.999999999Z"))

        account = Account(answers=Answers({frames.FILLS: page})).accept()
        assert [fill.fill_id for fill in account.fetch()] == ["a", "b", "c"]

    def test_more_than_can_be_listed_are_a_gap(self):
        def page(called: str) -> bytes:
            number = int(parse_qs(urlsplit(called).query).get("cursor", ["0"])[0])
            return frames.answer("fills", part(f"f{number}", "o", "1"), cursor=str(number + 1))

        account = Account(answers=Answers({frames.FILLS: page})).accept()
        assert len(account.fetch()) == 100
        assert ("gap", "fills", "the exchange does not list all fills since the last one known") in account.controls()

    def test_they_are_asked_for_soon_after_a_message(self):
        account = Account().synced()
        account.wait(3)
        account.rest.called.clear()
        account.orders(bare("o", limit_price="5", cumulative_quantity="0.0005", leaves_quantity="0.0005"))
        account.rest.answers[frames.FILLS] = fills(part("f", "o", "0.0005"))
        [fill] = account.wait(0.5)
        assert fill.fill_id == "f"
        assert account.rest.paths() == ["/orders/historical/fills", "/accounts"]

    def test_late_ones_are_asked_for_until_they_are_there(self):
        account = Account().synced()
        account.wait(3)
        account.rest.called.clear()
        account.orders(bare("o", limit_price="5", cumulative_quantity="0.001", leaves_quantity="0", status="FILLED"))
        begun = account.now
        account.wait(5.5)
        account.rest.answers[frames.FILLS] = fills(part("f", "o", "0.001"))
        [fill] = account.wait(6)
        assert (fill.fill_id, account.did(Warn)) == ("f", [])
        assert account.rest.paths().count("/orders/historical/fills") == 4
        assert account.now - begun < 12 * SECOND
        assert account.wait(20) == [] or all(isinstance(event, Fill) for event in account.wait(1))

    def test_those_that_never_come_are_told_once(self):
        account = Account().synced()
        account.wait(3)
        account.orders(bare("o", limit_price="5", cumulative_quantity="0.001", leaves_quantity="0", status="FILLED"))
        account.wait(60)
        [warning] = account.did(Warn)
        assert warning.message == "REST shows too few fills of these orders: 'o'"

    def test_fills_of_one_moment_come_oldest_first_as_they_happened(self):
        rows = [part(ident, "o", "1") for ident in ("c", "b", "a")]
        account = Account(answers=Answers({frames.FILLS: fills(*rows)})).accept()
        assert [fill.fill_id for fill in account.fetch()] == ["a", "b", "c"]

    @pytest.mark.parametrize("kind", ["REVERSAL", "CORRECTION", "SYNTHETIC"])
    def test_adjustments_are_none(self, kind):
        rows = [part("a", "o", "1", trade_type=kind), part("b", "o", "1")]
        account = Account(answers=Answers({frames.FILLS: fills(*rows)})).accept()
        assert [fill.fill_id for fill in account.fetch()] == ["b"]
        assert [warning.message for warning in account.did(Warn)] == [f"a {kind} of a fill is left out"]
        assert account.did(Reject) == []

    def test_what_has_no_known_type_is_rejected(self):
        account = Account(answers=Answers({frames.FILLS: fills(part("a", "o", "1", trade_type="NEW"))})).accept()
        assert account.fetch() == []
        assert len(account.did(Reject)) == 1

    @pytest.mark.parametrize("filled", ["16.66666633", "16.66666634"])
    def test_a_size_in_money_is_that_of_its_order_if_it_is_the_only_one(self, filled):
        """Its coins are 16.666666333…: the exchange may have rounded them up."""
        row = part("f", "o", "49.999999", size_in_quote=True, price="3")
        order = listed("o", status="OPEN", size_in_quote=True, order_type="MARKET", filled_size=filled)
        account = Account(answers=Answers({frames.FILLS: fills(row), frames.ORDERS: orders(order)})).accept()
        [fill] = [event for event in account.fetch() if isinstance(event, Fill)]
        assert fill.size == filled

    def test_so_many_orders_in_money_are_remembered(self):
        exchange = coinbase()
        rows = [part(f"f{n}", f"o{n}", "1", size_in_quote=True) for n in range(1_001)]
        Account(exchange, Answers({frames.FILLS: fills(*rows)})).synced()
        assert len(exchange._memory.in_money) == 1_000

    def test_else_it_is_rounded_to_the_pairs_step(self):
        products = f"{frames.API}/market/products"
        exchange, answers = coinbase("BTC-USD"), Answers()
        answers.answers |= {
            products: {"products": [{"product_id": "BTC-USD", "quote_currency_id": "USD", "base_increment": "0.0001"}]},
            frames.FILLS: fills(part("f", "o", "100", size_in_quote=True, price="3")),
        }
        answers.drive(exchange.discover(T0))
        [fill] = Account(exchange, answers).accept().fetch()
        assert fill.size == "33.3333"

    def test_where_the_law_wants_a_proof_there_are_none(self):
        refusal = HttpResponse(403, b'{"error":"proof_token_required","message":"SCA"}')
        account = Account(answers=Answers({frames.FILLS: refusal})).synced()
        [said] = account.did(Said)
        assert "proof_token_required" in said.error.message
        [reason] = [reason for event, channel, reason in account.controls() if (event, channel) == ("down", "fills")]
        assert "proof_token_required" in reason
        account.wait(100)
        assert (account.did(Said), account.did(Reconnect)) == ([], [])
        assert account.rest.paths().count("/orders/historical/fills") == 1


class TestWallets:
    def test_of_the_documents(self):
        account = Account(answers=Answers({frames.WALLETS: frames.answer("accounts", frames.WALLET)})).accept()
        assert account.fetch() == [Balance("main", None, T0, "BTC", "1.23456789", "0.00500000")]

    def test_of_the_keys_portfolio_those_that_are_active_added_up(self):
        rows = [
            frames.wallet("BTC", "1.5", "0.25"),
            frames.wallet("BTC", "2.25", "1", type="VAULT"),
            frames.wallet("BTC", "100", active=False),
            frames.wallet("BTC", "1000", retail_portfolio_id="other"),
            frames.wallet("USD", "7.10", retail_portfolio_id=""),
        ]
        account = Account(answers=Answers({frames.WALLETS: frames.answer("accounts", *rows)})).accept()
        found = {event.currency: (event.available, event.reserved) for event in account.fetch()}
        assert found == {"BTC": ("3.75", "1.25"), "USD": ("7.10", "0")}
        assert [warning.message for warning in account.did(Warn)] == [
            "several wallets of a currency are added up: 'BTC'"
        ]

    def test_pages(self):
        def page(called: str) -> bytes:
            if "cursor" not in called:
                return frames.answer("accounts", frames.wallet("BTC", "1"), cursor="more")
            return frames.answer("accounts", frames.wallet("ETH", "2"))

        account = Account(answers=Answers({frames.WALLETS: page})).accept()
        assert [event.currency for event in account.fetch()] == ["BTC", "ETH"]

    def test_a_currency_that_is_gone_is_zero(self):
        account = Account(answers=Answers({frames.WALLETS: frames.answer("accounts", frames.wallet("BTC", "1"))}))
        account.synced()
        account.rest.answers[frames.WALLETS] = frames.answer("accounts", frames.wallet("ETH", "1"))
        assert [(event.currency, event.available) for event in account.wait(21)] == [("ETH", "1"), ("BTC", "0")]

    def test_at_the_interval_of_the_options(self):
        account = Account(coinbase(balances_interval=5)).synced()
        account.wait(21)
        assert account.rest.paths().count("/accounts") == 5


class TestPositions:
    def test_one_that_is_gone_is_flat(self):
        account = Account(answers=Answers({frames.POSITIONS: frames.answer("positions", frames.POSITION)})).synced()
        short = {**frames.POSITION, "product_id": "BIT-24APR26-CDE", "side": "SHORT", "number_of_contracts": "3"}
        account.rest.answers[frames.POSITIONS] = frames.answer("positions", short)
        found = {event.pair: event for event in account.wait(31) if isinstance(event, Position)}
        assert (found["BIT-24APR26-CDE"].side, found["BIT-24APR26-CDE"].size) == ("short", "0.03")
        gone = found["BIP-20DEC30-CDE"]
        assert (gone.side, gone.size, gone.contracts) == ("", "0", "0")

    def test_one_without_contracts_is_flat(self):
        row = {**frames.POSITION, "number_of_contracts": "0", "side": ""}
        account = Account(answers=Answers({frames.POSITIONS: frames.answer("positions", row)})).accept()
        [position] = account.fetch()
        assert (position.side, position.size, position.entry_price) == ("", "0", "")

    def test_without_a_size_of_the_contract_only_contracts_are_told(self):
        row = {name: value for name, value in frames.POSITION.items() if name != "contract_size"}
        account = Account(answers=Answers({frames.POSITIONS: frames.answer("positions", row)})).accept()
        [position] = account.fetch()
        assert (position.side, position.size, position.contracts) == ("long", "", "2")

    def test_the_list_of_products_has_that_size_too(self):
        future = {"product_id": "BIP-20DEC30-CDE", "product_type": "FUTURE", "quote_currency_id": "USD"}
        future["future_product_details"] = {"contract_size": "0.01"}
        exchange, answers = coinbase("BTC-USD"), Answers()
        answers.answers |= {
            f"{frames.API}/market/products": {"products": [future]},
            frames.FILLS: fills(part("f", "o", "2", product_id="BIP-20DEC30-CDE")),
        }
        answers.drive(exchange.discover(T0))
        [fill] = Account(exchange, answers).accept().fetch()
        assert (fill.size, fill.contracts, fill.fee_currency) == ("0.02", "2", "USD")


class TestFailures:
    def test_what_only_rest_has_is_down_until_it_answers_again(self):
        account = Account().synced()
        account.controls()
        account.rest.answers[frames.WALLETS] = HttpResponse(503, b"busy")
        account.wait(22)
        reason = "coinbase: REST /api/v3/brokerage/accounts: 503: busy"
        assert account.controls() == [("down", "balances", reason)]
        del account.rest.answers[frames.WALLETS]
        account.wait(12)
        assert account.controls() == [("live", "balances", "")]
        assert account.did(Reconnect) == []

    def test_one_call_that_fails_for_long_keeps_no_other_back(self):
        account = Account().synced()
        account.rest.answers[frames.WALLETS] = HttpResponse(503, b"busy")
        account.wait(300)
        account.rest.called.clear()
        account.wait(120)
        paths = account.rest.paths()
        assert paths.count("/accounts") == 2
        assert paths.count("/orders/historical/fills") >= 2
        assert account.did(Reconnect) == []

    def test_too_many_calls_wait_until_the_exchange_counts_anew(self):
        limited = HttpResponse(
            429,
            b'{"errors":[{"id":"rate_limit_exceeded","message":"Too many requests"}]}',
            {"x-ratelimit-reset": "17"},
        )
        account = Account(answers=Answers({frames.ORDERS: limited})).synced()
        [said] = account.did(Said)
        assert (said.error.kind, said.error.retry_after) == (ErrorKind.REST_RATE_LIMITED, 17)
        assert said.error.message == "rate_limit_exceeded: Too many requests"
        account.rest.called.clear()
        account.wait(16)
        assert account.rest.called == []
        account.rest.answers[frames.ORDERS] = orders()
        account.wait(2)
        assert account.rest.paths()[0] == "/orders/historical/batch"

    @pytest.mark.parametrize(("headers", "wait"), [({}, 60), ({"retry-after": "5"}, 5)])
    def test_without_that_a_minute(self, headers, wait):
        account = Account(answers=Answers({frames.ORDERS: HttpResponse(429, b"", headers)})).synced()
        assert account.did(Said)[0].error.retry_after == wait

    def test_a_key_that_is_refused_later_on_ends_the_connection(self):
        account = Account().synced()
        account.rest.answers[frames.WALLETS] = HttpResponse(401, b"Unauthorized")
        account.wait(21)
        [reconnect] = account.did(Reconnect)
        assert reconnect.wait == 60
        assert reconnect.reason == "REST refuses the key: REST /api/v3/brokerage/accounts: 401: Unauthorized"

    def test_an_account_without_derivatives_has_no_positions(self):
        account = Account(answers=Answers({frames.POSITIONS: HttpResponse(403, b'{"error":"no futures account"}')}))
        account.synced()
        [reason] = [
            reason for event, channel, reason in account.controls() if (event, channel) == ("down", "positions")
        ]
        assert reason == "coinbase: REST /api/v3/brokerage/cfm/positions: 403: no futures account"
        account.wait(90)
        assert account.rest.paths().count("/cfm/positions") == 1
        assert len(account.did(Said)) == 1
        account.number += 1
        account.say("heartbeats")
        assert {channel for event, channel, _ in account.controls() if event == "gap"} == {
            "orders",
            "fills",
            "balances",
        }

    def test_times_never_go_back_within_a_stream(self):
        answers = Answers({frames.ORDERS: lambda _: HttpResponse(200, orders(), {}, T0 + 5 * SECOND)})
        account = Account(answers=answers).accept()
        account.orders(bare("o"))
        account.fetch()
        received = [event.recv for event in account.events if isinstance(event, Control | Order)]
        assert all(one <= other for one, other in pairwise(received))
        assert received[-1] == T0 + 5 * SECOND
