"""Coinbase's product list: what is unknown, halted or another pair under a second name, and how pairs are shared out."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import RestError
from bridge.exchanges.api import HttpResponse, ListedPair, Profile, Said, Send
from bridge.exchanges.coinbase import Coinbase
from bridge.model import BookSnapshot, Channel, Control, Trade
from tests.unit.coinbase_frames import ALL, HEARTBEAT, TRADES, book, frame
from tests.unit.core import SECOND, T0, Apart

PATH = "/api/v3/brokerage/market/products"
ONLINE = {"status": "online", "trading_disabled": False, "is_disabled": False, "cancel_only": False, "alias": ""}


def product(name, **changes):
    """A row as the list has it, shortened."""
    return {"product_id": name, "price": "65086.18", "product_type": "SPOT", **ONLINE, **changes}


LISTED = [
    product("BTC-USD", alias_to=["BTC-USDC"]),
    product("BTC-USDC", alias="BTC-USD", alias_to=[]),
    product("ETH-USD"),
    product("MKR-USD", status="delisted", trading_disabled=True),
]


def page(rows, cursor=""):
    pagination = {"prev_cursor": "", "next_cursor": cursor, "has_next": bool(cursor), "has_prev": False}
    return json.dumps({"products": rows, "num_products": len(rows), "pagination": pagination}).encode()


class Rest:
    """Answers a flow, and keeps what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def drive(self, flow):
        try:
            request = next(flow)
            while True:
                self.asked.append(request.path)
                answer = self.answers.pop(0)
                if isinstance(answer, RestError):
                    request = flow.throw(answer)
                else:
                    request = flow.send(answer if isinstance(answer, HttpResponse) else HttpResponse(200, answer))
        except StopIteration as stop:
            return stop.value


def coinbase(*pairs, rows=LISTED, channels=ALL, **profile):
    """An exchange that has read its list, where ``rows`` are given."""
    exchange = Coinbase(Profile(pairs, frozenset(channels), **profile))
    if rows is not None:
        Rest(page(rows)).drive(exchange.discover(T0))
    return exchange


def opened(exchange, number=0):
    session = Apart(exchange.plan()[number].session())
    session.connected(T0)
    return session


def sent(session):
    found = [json.loads(action.text) for action in session.actions if isinstance(action, Send)]
    session.actions.clear()
    return [(m["type"], m["channel"], m["product_ids"]) for m in found if "product_ids" in m]


def controls(events):
    return {(str(e.channel), e.subject, str(e.event), e.reason) for e in events if isinstance(e, Control)}


class TestReading:
    def test_one_call_without_parameters(self):
        rest = Rest(page(LISTED))
        rest.drive(Coinbase(Profile(("BTC-USD",), ALL)).discover(T0))
        assert rest.asked == [PATH]

    def test_what_is_listed(self):
        rows = [
            product("BTC-USD", base_currency_id="BTC", quote_currency_id="USD"),
            product("XBT-USD", base_currency_id="BTC", quote_currency_id="USDC"),
            product("BIT-28NOV25-CDE", product_type="FUTURE"),
            product("OLD-USD", status="x" * 50, trading_disabled=True),
            product("A-USD", cancel_only=True),
            product("B-USD", is_disabled=True),
            product("C-USD", trading_disabled=True, product_type=None, status=None),
            product("D-USD", status="", product_type=""),
        ]
        assert Rest(page(rows)).drive(Coinbase(Profile(("BTC-USD",), ALL)).list_pairs()) == [
            ListedPair("BTC-USD", "BTC", "USD", "spot", "online"),
            ListedPair("XBT-USD", "BTC", "USDC", "spot", "online"),
            ListedPair("BIT-28NOV25-CDE", "BIT-28NOV25", "CDE", "future", "online"),
            ListedPair("OLD-USD", "OLD", "USD", "spot", "x" * 40),
            ListedPair("A-USD", "A", "USD", "spot", "cancel_only"),
            ListedPair("B-USD", "B", "USD", "spot", "is_disabled"),
            ListedPair("C-USD", "C", "USD", "spot", "trading_disabled"),
            ListedPair("D-USD", "D", "USD", "spot", ""),
        ]

    @pytest.mark.parametrize("status", [400, 429])
    def test_a_refused_call_is_an_error_with_the_time_to_wait(self, status):
        answer = HttpResponse(status, page(LISTED), {"retry-after": "7"})
        with pytest.raises(RestError) as caught:
            Rest(answer).drive(Coinbase(Profile(("BTC-USD",), ALL)).list_pairs())
        assert (caught.value.status, caught.value.retry_after) == (status, 7.0)

    def test_in_parts(self):
        rest = Rest(page(LISTED[:2], "next one"), page(LISTED[2:]))
        exchange = Coinbase(Profile(("ETH-USD", "NO-USD"), ALL))
        rest.drive(exchange.discover(T0))
        assert rest.asked == [PATH, f"{PATH}?cursor=next%20one"]
        assert [error.pair for error in exchange.unlisted()] == ["NO-USD"]

    def test_pages_that_go_round_in_a_circle_come_to_an_end(self):
        rest = Rest(*[page(LISTED, "again")] * 60)
        rest.drive(Coinbase(Profile(("ETH-USD",), ALL)).discover(T0))
        assert len(rest.asked) == 2

    def test_pages_that_say_nothing_new_are_the_end(self):
        rest = Rest(*(page(LISTED, f"page {number}") for number in range(60)))
        rest.drive(Coinbase(Profile(("ETH-USD",), ALL)).discover(T0))
        assert len(rest.asked) == 2

    @pytest.mark.parametrize(
        "answer", [b"", b"[]", b'{"products":[]}', b'{"products":7}', HttpResponse(500, b"no"), HttpResponse(429, b"")]
    )
    def test_without_a_list_everything_is_asked_for(self, answer):
        exchange = coinbase("BTC-USD", "NO-USD", "MKR-USD", rows=None)
        Rest(answer).drive(exchange.discover(T0))
        assert exchange.unlisted() == exchange.remarks() == []
        assert sent(opened(exchange))[0] == ("subscribe", "level2", ["BTC-USD", "NO-USD", "MKR-USD"])

    def test_rows_that_cant_be_read_concern_themselves_alone(self):
        rows = [7, None, {}, {"product_id": None}, product("ETH-USD", status=None, alias=None, cancel_only=None)]
        exchange = coinbase("ETH-USD", "BTC-USD", rows=[*LISTED[:2], *rows])
        assert exchange.unlisted() == exchange.remarks() == []

    def test_where_only_the_websocket_is_replaced_rest_is_another_exchanges(self):
        exchange = Coinbase(Profile(("BTC-USD",), ALL, url="ws://127.0.0.1:1"))
        rest = Rest()
        rest.drive(exchange.discover(T0))
        assert rest.asked == []
        assert exchange.polls() == []
        assert Coinbase(Profile(("BTC-USD",), ALL, url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1")).polls()

    def test_what_check_says_of_it(self):
        exchange = coinbase("BTC-USDC", "MKR-USD", "ETH-USC", "ETH-USD")
        assert exchange.remarks() == [
            "BTC-USDC is served as BTC-USD",
            "MKR-USD: the exchange lists the pair as halted (delisted)",
        ]
        [error] = exchange.unlisted()
        assert str(error).startswith("coinbase: no pair ETH-USC at this exchange; did you mean ETH-USD")
        assert error.exit_code == 1


class TestPairsInTrouble:
    def test_they_are_down_and_are_left_out_of_the_others_request(self):
        session = opened(coinbase("BTC-USD", "MKR-USD", "ETH-USC"))
        assert {tuple(products) for _, _, products in sent(session)} == {("BTC-USD",)}
        events = session.tick(T0 + SECOND)
        halted = "the exchange lists the pair as halted (delisted)"
        unknown = "the exchange lists no pair ETH-USC; the nearest are ETH-USD, BTC-USDC, BTC-USD"
        assert controls(events) == {
            (channel, pair, "down", reason)
            for channel in ("book", "quotes", "ticker", "trades")
            for pair, reason in (("MKR-USD", halted), ("ETH-USC", unknown))
        }
        errors = [action.error for action in session.actions if isinstance(action, Said)]
        assert {error.kind for error in errors} == {"reported", "unknown_market"}
        assert session.unserved == {"MKR-USD", "ETH-USC"}

    @pytest.mark.parametrize(
        "trouble", [{"status": "offline"}, {"trading_disabled": True}, {"is_disabled": True}, {"cancel_only": True}]
    )
    def test_halted_while_it_runs_and_back_again(self, trouble):
        exchange = coinbase("BTC-USD", "ETH-USD")
        session = opened(exchange)
        for number, pair in enumerate(("BTC-USD", "ETH-USD")):
            session.receive(frame(book(pair=pair), number), T0)
        assert session.tick(T0 + SECOND) == []
        session.actions.clear()
        [poll] = exchange.polls()
        later = T0 + 601 * SECOND
        Rest(page([LISTED[0], product("ETH-USD", **trouble)])).drive(poll.flow(later))
        events = session.tick(T0 + 2 * SECOND)
        assert {(channel, pair, event) for channel, pair, event, _ in controls(events)} == {
            (channel, "ETH-USD", "down") for channel in ("book", "quotes", "ticker", "trades")
        }
        rest = Rest(page([product("ETH-USD")]))
        rest.drive(poll.flow(later + 60 * SECOND))
        assert rest.asked == [f"{PATH}?product_ids=ETH-USD"]
        session.actions.clear()
        for tick in range(8):
            session.tick(T0 + (3 + tick) * SECOND)
        assert ("subscribe", "level2", ["ETH-USD"]) in sent(session)
        [event] = session.receive(frame(book(pair="ETH-USD"), 2), T0)
        assert isinstance(event, BookSnapshot)

    def test_a_list_that_comes_late_takes_nothing_from_pairs_that_are_served(self):
        exchange = coinbase("NEW-USD", channels=(Channel.TRADES,), rows=None)
        session = opened(exchange)
        ack = {"channel": "subscriptions", "events": [{"subscriptions": {"market_trades": ["NEW-USD"]}}]}
        session.receive(frame(ack, 0), T0)
        [poll] = exchange.polls()
        Rest(page(LISTED)).drive(poll.flow(T0))
        assert session.tick(T0 + SECOND) == []

    def test_an_unknown_one_is_asked_for_all_the_same(self):
        session = opened(coinbase("BTC-USD", "NEW-USD", channels=(Channel.TRADES,)))
        sent(session)
        for second in range(1, 80):
            session.receive(frame(HEARTBEAT, second - 1), T0 + second * SECOND)
            session.tick(T0 + second * SECOND)
        assert ("subscribe", "market_trades", ["NEW-USD"]) in sent(session)


class TestPoll:
    def test_it_is_cheap(self):
        """The whole list while there is none, then only pairs in trouble, and all that are configured now and then."""
        exchange = coinbase("BTC-USDC", "ETH-USD", "MKR-USD", rows=None)
        [poll] = exchange.polls()
        rest = Rest(HttpResponse(500, b""), page(LISTED), page(LISTED[3:]), page(LISTED))
        with pytest.raises(RestError):
            rest.drive(poll.flow(T0))
        for minutes in (1, 2, 12):
            rest.drive(poll.flow(T0 + minutes * 60 * SECOND))
        assert rest.asked == [
            PATH,
            PATH,
            f"{PATH}?product_ids=MKR-USD",
            f"{PATH}?product_ids=BTC-USD&product_ids=ETH-USD&product_ids=MKR-USD",
        ]

    def test_a_look_at_all_of_them_that_failed_is_made_up_for_by_the_next(self):
        exchange = coinbase("BTC-USD", "ETH-USD")
        [poll] = exchange.polls()
        rest = Rest(HttpResponse(500, b""), page(LISTED))
        with pytest.raises(RestError):
            rest.drive(poll.flow(T0 + 601 * SECOND))
        rest.drive(poll.flow(T0 + 661 * SECOND))
        assert rest.asked == [f"{PATH}?product_ids=BTC-USD&product_ids=ETH-USD"] * 2

    @pytest.mark.parametrize(
        ("after", "asked"), [(600 * SECOND, 0), (600 * SECOND + 1, 1), (-600 * SECOND, 0), (-600 * SECOND - 1, 1)]
    )
    def test_all_that_are_configured_are_looked_at_every_ten_minutes_by_whatever_clock(self, after, asked):
        exchange = coinbase("BTC-USD", "ETH-USD")
        [poll] = exchange.polls()
        rest = Rest(page(LISTED))
        for _ in range(2):
            rest.drive(poll.flow(T0 + after))
        assert rest.asked == [f"{PATH}?product_ids=BTC-USD&product_ids=ETH-USD"] * asked

    def test_fifty_products_are_asked_for_in_one_call(self):
        names = [f"C{number}-USD" for number in range(101)]
        rows = [product(name) for name in names]
        exchange = coinbase(*names, rows=rows)
        [poll] = exchange.polls()
        rest = Rest(*(page(rows[start : start + 50]) for start in (0, 50, 100)))
        rest.drive(poll.flow(T0 + 601 * SECOND))
        assert [path.count("product_ids=") for path in rest.asked] == [50, 50, 1]
        assert exchange.unlisted() == []

    def test_without_trouble_it_asks_for_nothing(self):
        exchange = coinbase("BTC-USD")
        [poll] = exchange.polls()
        rest = Rest()
        for minutes in range(1, 9):
            assert rest.drive(poll.flow(T0 + minutes * 60 * SECOND)) == []
        assert rest.asked == []


class TestSecondNames:
    def test_an_alias_is_asked_for_under_the_name_that_is_served(self):
        session = opened(coinbase("BTC-USDC"))
        assert {tuple(products) for _, _, products in sent(session)} == {("BTC-USD",)}

    @pytest.mark.parametrize("name", ["BTC-USD", "BTC-USDC"])
    def test_its_data_may_come_under_either(self, name):
        session = opened(coinbase("BTC-USDC"))
        row = {**TRADES["events"][0]["trades"][0], "product_id": name}
        events = [
            *session.receive(frame(book(pair=name), 0), T0),
            *session.receive(frame({**TRADES, "events": [{"type": "update", "trades": [row]}]}, 1), T0),
        ]
        assert [(type(event), event.subject) for event in events] == [(BookSnapshot, "BTC-USDC"), (Trade, "BTC-USDC")]

    def test_both_names_are_one_request_and_two_streams(self):
        session = opened(coinbase("BTC-USDC", "BTC-USD", channels=(Channel.BOOK,)))
        assert sent(session) == [("subscribe", "level2", ["BTC-USD"])]
        events = session.receive(frame(book(), 0), T0)
        assert [event.subject for event in events] == ["BTC-USDC", "BTC-USD"]


class TestSharing:
    def pairs(self, exchange):
        return [list(dict.fromkeys(stream.subject for stream in plan.subscriptions)) for plan in exchange.plan()]

    def test_sixteen_books_to_a_connection(self):
        names = tuple(f"C{n}-USD" for n in range(40))
        exchange = coinbase(*names, rows=None)
        assert [plan.name for plan in exchange.plan()] == ["market", "market-2", "market-3"]
        assert [len(pairs) for pairs in self.pairs(exchange)] == [16, 16, 8]
        for number, pairs in enumerate(self.pairs(exchange)):
            assert sent(opened(exchange, number))[0] == ("subscribe", "level2", pairs)

    def test_a_pair_more_moves_no_other(self):
        names = tuple(f"C{n}-USD" for n in range(33))
        fewer, more = self.pairs(coinbase(*names[:32], rows=None)), self.pairs(coinbase(*names, rows=None))
        assert more[:2] == fewer

    def test_what_the_list_says_moves_no_pair(self):
        names = ("BTC-USD", "BTC-USDC", "MKR-USD", *(f"C{n}-USD" for n in range(30)))
        assert self.pairs(coinbase(*names)) == self.pairs(coinbase(*names, rows=None))

    def test_without_books_there_is_no_such_limit(self):
        names = tuple(f"C{n}-USD" for n in range(40))
        assert len(coinbase(*names, channels=(Channel.TRADES,), rows=None).plan()) == 1


def test_the_figures_of_a_pair():
    """As recorded in August 2026; a future counts contracts, whose size the list does not have in a form that is known."""
    figures = {"price_increment": "0.01", "quote_increment": "0.01", "base_increment": "0.00000001"}
    rows = [
        product("BTC-USD", **figures, base_min_size="0.00000001"),
        product("OLD-USD", quote_increment="0.1", base_min_size="dear"),
        product("BIT-28AUG26-CDE", product_type="FUTURE", **{**figures, "base_increment": "1"}, base_min_size="1"),
        product("MKR-USD", **figures, status="delisted"),
    ]
    btc, old, future, mkr = Rest(page(rows)).drive(coinbase("BTC-USD", rows=[]).list_pairs())
    assert (btc.base, btc.quote, btc.kind, btc.status) == ("BTC", "USD", "spot", "online")
    assert (btc.tick_size, btc.lot_size, btc.min_size) == ("0.01", "0.00000001", "0.00000001")
    assert (old.tick_size, old.lot_size, old.min_size) == ("0.1", "", "")
    assert (future.kind, future.tick_size, future.lot_size, future.min_size) == ("future", "0.01", "", "")
    assert (mkr.status, mkr.tick_size) == ("delisted", "0.01")
