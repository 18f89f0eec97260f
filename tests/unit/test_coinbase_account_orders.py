"""Orders of a Coinbase account: those that the channel sends without a price, and what REST says of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bridge.exchanges.api import HttpResponse, Restated
from bridge.model import Channel, Order
from tests.unit import coinbase_account_frames as frames
from tests.unit.coinbase_account_rows import bare, by_id, listed, one, orders
from tests.unit.coinbase_accounts import Account, Answers, coinbase
from tests.unit.core import SECOND, T0, Rig


class TestSnapshots:
    @pytest.mark.parametrize("count", [0, 49, 50, 120])
    @pytest.mark.parametrize("rest_is_first", [True, False])
    def test_each_open_order_is_there_once_with_its_price(self, count, rest_is_first):
        """The channel sends fifty a message, without prices; the list has them, in pages."""
        idents = [f"o{n:03}" for n in range(count)]

        def page(called: str) -> bytes:
            start = int(parse_qs(urlsplit(called).query).get("cursor", ["0"])[0].strip("="))
            end = start + 100
            rows = [listed(ident, order_configuration=terms(ident)) for ident in idents[start:end]]
            return frames.answer("orders", *rows, cursor=f"{end}=" if end < count else "")

        def terms(ident: str) -> dict[str, Any]:
            return {"limit_limit_gtc": {"base_size": "0.001", "limit_price": f"{int(ident[1:]) + 1}.50"}}

        account = Account(answers=Answers({frames.ORDERS: page})).accept()
        rig = Rig(Channel.ORDERS)

        def rest() -> None:
            account.fetch()

        def channel() -> None:
            for start in range(0, max(count, 1), 50):
                kind = "snapshot" if start == 0 else "update"
                for order in account.orders(*map(bare, idents[start : start + 50]), kind=kind):
                    rig.topic.accept(order)

        for step in (rest, channel) if rest_is_first else (channel, rest):
            step()
        account.wait(3)
        for state in account.session.outputs:
            if isinstance(state, Restated) and state.channel is Channel.ORDERS:
                rig.topic.restate(state.events, state.asked, state.asked + 1, state.covers)
            elif isinstance(state, Order):
                rig.topic.accept(state)
        found = {order.order_id: (order.price, order.size, order.status) for order in rig.sink.data}
        assert found == {ident: (f"{int(ident[1:]) + 1}.50", "0.001", "open") for ident in idents}
        assert len(rig.sink.data) == count

    def test_while_rest_is_away_orders_go_without_a_price(self):
        account = Account(answers=Answers({frames.ORDERS: HttpResponse(503, b"no")})).accept()
        assert account.orders(bare("o1"), kind="snapshot") == []
        [order] = account.fetch()
        assert (order.order_id, order.price) == ("o1", "")
        assert account.orders(bare("o1", cumulative_quantity="0.0005", leaves_quantity="0.0005"))[0].price == ""

    def test_a_new_order_without_a_price_waits_for_it(self):
        answers = Answers()
        account = Account(answers=answers).synced()
        account.wait(2)
        terms = {"limit_limit_gtc": {"base_size": "0.0010", "limit_price": "45000.00"}}
        answers.answers[frames.ORDERS] = orders(listed("o1", order_configuration=terms))
        assert account.orders(bare("o1")) == []
        found = account.wait(2)
        assert [(order.order_id, order.price) for order in found] == [("o1", "45000.00")]
        [order] = account.orders(bare("o1", cumulative_quantity="0.0005", leaves_quantity="0.0005"))
        assert (order.price, order.filled, order.status) == ("45000.00", "0.0005", "partially_filled")

    def test_one_that_has_ended_meanwhile_is_looked_up(self):
        answers = Answers()
        account = Account(answers=answers).synced()
        account.wait(2)
        answers.answers[by_id("o1")] = one(listed("o1", status="FILLED", filled_size="0.001"))
        ended = bare("o1", status="FILLED", cumulative_quantity="0.001", leaves_quantity="0")
        assert account.orders(bare("o1")) == account.orders(ended) == []
        [order] = [event for event in account.wait(2) if isinstance(event, Order)]
        assert (order.price, order.size, order.filled, order.status) == ("45000.00", "0.01", "0.001", "filled")


class TestOrders:
    def test_of_the_list(self):
        answers = Answers({frames.ORDERS: orders(frames.LISTED)})
        account = Account(answers=answers).accept()
        [order] = account.fetch()
        at = 1705312800 * SECOND
        head = ("main", at, T0, "0000-000000-000001", "11111-000000-000001", "BTC-USD", "limit", "buy")
        assert order == Order(*head, "45000.00", "0.01", "0", "open", "")

    @pytest.mark.parametrize(
        ("terms", "price", "size"),
        [
            ({"limit_limit_gtd": {"base_size": "0.01", "limit_price": "5"}}, "5", "0.01"),
            ({"sor_limit_ioc": {"quote_size": "500", "limit_price": "5"}}, "5", ""),
            ({"market_market_ioc": {"base_size": "0.02"}}, "", "0.02"),
            ({"stop_limit_stop_limit_gtc": {"base_size": "1", "limit_price": "5", "stop_price": "4"}}, "5", "1"),
            ({"something_new": {"a": 1}}, "", ""),
            ({}, "", ""),
        ],
    )
    def test_terms_of_any_kind(self, terms, price, size):
        answers = Answers({frames.ORDERS: orders({**frames.LISTED, "order_configuration": terms})})
        [order] = Account(answers=answers).accept().fetch()
        assert (order.price, order.size) == (price, size)

    def test_sizes_in_money_are_none(self):
        row = listed("o1", size_in_quote=True, order_type="MARKET", filled_size="0.004")
        account = Account(answers=Answers({frames.ORDERS: orders(row)})).accept()
        assert account.fetch()[0].size == ""
        later = bare("o1", order_type="Market", cumulative_quantity="0.005", leaves_quantity="123")
        assert account.orders(later)[0].size == ""

    def test_ended_while_nobody_listened(self):
        """One was filled, one cancelled, one has expired, of one nobody knows."""
        exchange, answers = coinbase(), Answers()
        account = Account(exchange, answers).synced()
        account.orders(*(bare(ident, limit_price="5") for ident in ("f", "c", "e", "x", "o")))
        again = Account(exchange, answers, T0 + SECOND).accept()
        answers.answers |= {
            frames.ORDERS: orders(listed("o", filled_size="0.0004")),
            by_id("f"): one(listed("f", status="FILLED", filled_size="0.001")),
            by_id("c"): one(listed("c", status="CANCELLED")),
            by_id("e"): one(listed("e", status="EXPIRED", filled_size="0.0005")),
        }
        again.fetch()
        [state] = [s for s in again.did(Restated) if s.channel is Channel.ORDERS]
        assert {order.order_id: (order.status, order.filled) for order in state.events} == {
            "f": ("filled", "0.001"),
            "c": ("cancelled", "0"),
            "e": ("cancelled", "0.0005"),
            "o": ("partially_filled", "0.0004"),
        }
        assert list(exchange._memory.open_orders) == [("BTC-USD", "o")]

    def test_one_that_waits_is_in_no_list_and_open_all_the_same(self):
        account = Account().synced()
        account.orders(bare("p", limit_price="5", status="PENDING"))
        account.rest.answers[by_id("p")] = one(listed("p", status="PENDING"))
        account.did(Restated)
        account.wait(301)
        [*_, state] = [state for state in account.did(Restated) if state.channel is Channel.ORDERS]
        assert [(order.order_id, order.status) for order in state.events] == [("p", "open")]

    def test_a_list_that_is_older_than_a_message_takes_nothing_back(self):
        account = Account().synced()
        account.orders(bare("a", limit_price="5", cumulative_quantity="0.0005", leaves_quantity="0.0005"))
        account.orders(bare("b", limit_price="5", status="CANCELLED"))
        account.rest.answers[frames.ORDERS] = orders(listed("a"), listed("b"))
        account.session.rejected(account.now)
        account.did(Restated)
        account.wait(8)
        [state] = [state for state in account.did(Restated) if state.channel is Channel.ORDERS]
        assert [(order.order_id, order.filled) for order in state.events] == [("a", "0.0005")]

    def test_one_that_is_being_changed_is_looked_at(self):
        """What becomes of its price and size, only REST says."""
        account = Account().synced()
        account.orders(bare("o", limit_price="5"))
        account.wait(3)
        account.rest.called.clear()
        account.orders(bare("o", limit_price="5", status="EDIT_QUEUED"))
        account.wait(1)
        assert account.rest.paths()[0] == "/orders/historical/batch"

    @pytest.mark.parametrize("status", ["CANCEL_QUEUED", "SOMETHING_NEW"])
    @pytest.mark.parametrize("filled", ["0", "0.0004"])
    def test_one_that_is_about_to_end_keeps_its_size(self, status, filled):
        """The channel may tell that nothing is left of it."""
        account = Account().synced()
        account.orders(bare("o", limit_price="5"))
        told = {"status": status, "cumulative_quantity": filled, "leaves_quantity": "0"}
        found = account.orders(bare("o", limit_price="5", **told))
        ended = account.orders(bare("o", limit_price="5", **told | {"status": "CANCELLED"}))
        assert {order.size for order in [*found, *ended]} == {"0.001"}

    def test_of_one_that_is_not_known_a_size_of_nothing_is_none(self):
        [order] = Account().synced().orders(bare("o", limit_price="5", status="CANCEL_QUEUED", leaves_quantity="0"))
        assert order.size == ""

    def test_one_that_was_made_smaller_is_smaller(self):
        account = Account().synced()
        account.orders(bare("o", limit_price="5"))
        [order] = account.orders(bare("o", limit_price="5", leaves_quantity="0.0006"))
        assert order.size == "0.0006"

    def test_many_that_are_missing_are_looked_up_fifty_at_a_time_and_none_looks_closed(self):
        exchange, answers = coinbase(), Answers()
        account = Account(exchange, answers).synced()
        account.orders(*(bare(f"o{n}", limit_price="5") for n in range(60)))
        again = Account(exchange, answers, T0 + SECOND).accept()
        again.rest.called.clear()
        again.fetch()
        assert sum("/o" in path.removeprefix("/orders") for path in again.rest.paths()) == 50
        [state] = [state for state in again.did(Restated) if state.channel is Channel.ORDERS]
        assert [state.covers(order) for order in exchange._memory.open_orders.values()] == [False] * 10
