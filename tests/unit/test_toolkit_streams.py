"""What exchanges share that count, name and say states: holes, sparse orders, standstills, errors in words, nonces."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from bridge.errors import ConfigError
from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import Credentials, HttpResponse, Pause, Warn
from bridge.exchanges.toolkit.rest.rest import NoncedRest
from bridge.exchanges.toolkit.rest.secrets import check_base64
from bridge.exchanges.toolkit.sessions.named_topics import NamedTopics
from bridge.exchanges.toolkit.sessions.standstills import Standstills
from bridge.exchanges.toolkit.sessions.wording import Wording
from bridge.exchanges.toolkit.timing.times import UtcTimes
from bridge.exchanges.toolkit.values.fields import digits, inner_rows, keyed_rows
from bridge.exchanges.toolkit.values.holes import Holes, TradeNumbers
from bridge.exchanges.toolkit.values.orders import SparseOrders
from bridge.model import Control, Order
from tests.unit.core import PAIR, SECOND, T0, order, trade

ACCOUNT = Credentials("main", "key", "c2VjcmV0")


class TestHoles:
    def test_the_first_is_a_start_and_older_ones_are_repeats(self):
        holes = Holes()
        assert [holes.before("a", number) for number in (5, 6, 9, 8, 9, 10)] == [0, 0, 2, 0, 0, 0]
        assert [holes.has("a", number) for number in (8, 10, 11)] == [True, True, False]
        assert not holes.has("b", 1)
        assert holes.before("b", 3) == 0
        holes.begin("a", 1)
        assert [holes.before("a", number) for number in (2, 4)] == [0, 1]
        holes.forget("a")
        assert holes.before("a", 50) == 0

    def test_trades(self):
        numbers = TradeNumbers()
        assert numbers.followed(trade(ident="7")) == [trade(ident="7")]
        gap, after = numbers.followed(trade(ident="10"))
        assert isinstance(gap, Control)
        assert (gap.event, gap.count, gap.reason) == ("gap", 2, "trade 10 does not follow the one before it")
        assert after == trade(ident="10")

    def test_repeats_hide_nothing_and_pairs_count_for_themselves(self):
        numbers = TradeNumbers()

        def missing(pair: str, *ids: int) -> list[int | None]:
            return [gap.count for ident in ids for gap in numbers.came(pair, ident, T0)]

        assert missing("BTC-EUR", 7, 8, 7, 8, 9) == []
        assert missing("ETH-EUR", 100, 102) == [1]
        assert missing("BTC-EUR", 10) == []
        numbers.forget("BTC-EUR")
        assert missing("BTC-EUR", 50, 52) == [1], "what was told is not told again"
        assert missing("ETH-EUR", 104) == [1]
        numbers.forget_all()
        assert missing("BTC-EUR", 90) == missing("ETH-EUR", 300) == []

    @pytest.mark.parametrize("ident", ["", "x-1", "9" * 19])
    def test_an_id_that_is_no_number_counts_nothing(self, ident):
        numbers = TradeNumbers()
        numbers.followed(trade(ident="7"))
        assert numbers.followed(trade(ident=ident)) == [trade(ident=ident)]


def placed(ident: str, status: str = "open", **more: Any) -> Order:
    return structs.replace(order(ident, status, **more), pair=PAIR)


class TestSparseOrders:
    def test_what_is_left_out_is_as_it_was(self):
        orders = SparseOrders([placed("o-1")])
        sparse = Order("main", T0, T0 + 1, "o-1", "", "", "", "", "", "", "", "open")
        assert orders.told(sparse) == placed("o-1", recv=T0 + 1)

    def test_an_open_order_of_which_something_is_filled(self):
        assert SparseOrders([]).told(placed("o-1", filled="0.1")).status == "partially_filled"
        assert SparseOrders([]).told(placed("o-1", filled="0.000")).status == "open"

    def test_one_that_is_over_is_forgotten(self):
        orders = SparseOrders([])
        orders.told(placed("o-1"))
        assert orders.told(placed("o-1", "cancelled")).status == "cancelled"
        sparse = Order("main", T0, T0 + 1, "o-1", "", "", "", "", "", "", "", "filled")
        assert orders.told(sparse) is None
        assert orders.unknown == {"o-1"}

    def test_rest_may_be_older_than_what_the_connection_tells(self):
        orders = SparseOrders([])
        orders.told(placed("o-1", filled="0.5"))
        assert orders.listed(placed("o-1", filled="0.1")).status == "partially_filled"
        sparse = Order("main", T0, T0 + 1, "o-1", "", "", "", "", "", "", "", "cancelled")
        assert orders.told(sparse).filled == "0.5"
        orders.listed(placed("o-2"))
        assert orders.told(structs.replace(sparse, order_id="o-2")).pair == PAIR


def test_standstills_are_said_once():
    states = Standstills(("maintenance",))
    assert states.told("its system", "online", T0) == []
    reason = "the exchange has its system in the state 'maintenance'"
    assert states.told("its system", "maintenance", T0) == [Pause(reason)]
    assert states.told("its system", "maintenance", T0) == []
    over, warning = states.told("its system", "post_only", T0 + 1)
    assert (over.until, isinstance(warning, Warn)) == (T0 + 1, True)
    assert states.told("its system", "online", T0) == []
    assert states.told("BTC-EUR", "maintenance", T0, ["BTC-EUR"]) == [
        Pause("the exchange has BTC-EUR in the state 'maintenance'", None, ["BTC-EUR"])
    ]


class TestWording:
    wording = Wording(
        "kraken",
        {
            ErrorKind.SESSION_EXPIRED: ["Invalid token"],
            ErrorKind.LOGIN_REFUSED: ["Invalid", "denied"],
            ErrorKind.TOO_MANY_REQUESTS: ["Rate limit"],
        },
        waits={"lockout": 900.0},
        hints={("denied", "Funds"): "the key lacks a permission", ("Invalid key", ""): "look at it"},
    )

    @pytest.mark.parametrize(
        ("words", "kind"),
        [("EAPI:Invalid token", "session_expired"), ("EAPI:Invalid key", "login_refused"), ("else", "reported")],
    )
    def test_the_first_text_counts(self, words, kind):
        assert self.wording.kind(words) == kind
        assert self.wording.reported(words, "a topic").kind == kind

    @pytest.mark.parametrize(
        ("path", "words", "kind", "wait", "said"),
        [
            ("/Funds", "denied", "rest_login_refused", 60.0, "denied: the key lacks a permission"),
            ("/Other", "denied", "rest_login_refused", 60.0, "denied"),
            ("/Other", "Invalid key", "rest_login_refused", 60.0, "Invalid key: look at it"),
            ("/Other", "denied: lockout", "rest_login_refused", 900.0, "denied: lockout"),
            ("/Other", "Rate limit", "rest_rate_limited", 15.0, "Rate limit"),
            ("/Other", "", "rest_failed", None, "no reason given"),
        ],
    )
    def test_by_rest(self, path, words, kind, wait, said):
        error = self.wording.by_rest(path, HttpResponse(200, b""), words)
        assert (error.kind, error.retry_after, error.message) == (kind, wait, said)

    def test_a_time_that_the_exchange_names(self):
        date = {"date": "Sat, 28 Nov 2026 20:00:00 GMT"}
        error = self.wording.by_rest("/a", HttpResponse(200, b"", date), "Rate limit", "1795896030")
        assert error.retry_after == 30.0


class _Rest(NoncedRest[bytes]):
    def _sign(self, account, path, nonce, body):
        return {"Sign": f"{account.name} {path} {nonce} {body}"}

    def _read(self, path, response):
        if response.body != b"good":
            raise RestError("kraken", path, response.status, response.body.decode())
        return response.body


class TestNoncedRest:
    def call(self, *answers):
        """The bodies of a call's requests, and what becomes of it."""
        flow = _Rest(1_000_000, "wrong nonce").post(ACCOUNT, "/a", T0, weight=4, x="1 2")
        request, found = next(flow), []
        for number, answer in enumerate(answers):
            found.append(request)
            try:
                request = flow.send(HttpResponse(200, answer, recv=T0 + number * SECOND))
            except StopIteration as stop:
                return found, stop.value
        raise AssertionError

    def test_a_form_that_begins_with_the_nonce(self):
        [request], answer = self.call(b"good")
        nonce = str(T0 // 1_000_000)
        assert (request.method, request.path, request.body, request.weight) == ("POST", "/a", f"nonce={nonce}&x=1+2", 4)
        assert request.headers["Sign"] == f"main /a {nonce} {request.body}"
        assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert answer == b"good"

    def test_a_nonce_that_came_too_late_is_followed_by_another(self):
        first, second = self.call(b"wrong nonce", b"good")[0]
        assert first.body < second.body

    @pytest.mark.parametrize("answers", [(b"denied",), (b"wrong nonce", b"wrong nonce")])
    def test_but_only_once(self, answers):
        with pytest.raises(RestError, match=answers[0].decode()):
            self.call(*answers)


class TestNamedTopics:
    def topics(self, **more) -> NamedTopics:
        names = ("list", "book:A", "book:B", "trade:A")
        return NamedTopics({name: (name,) for name in names}, 10, kind=lambda name: name.partition(":")[0], **more)

    def asked(self, topics):
        found = [request.topics for request in topics.requests]
        topics.requests.clear()
        return found

    def test_topics_of_one_request_are_of_one_kind(self):
        topics = self.topics()
        topics.begin(T0)
        assert self.asked(topics) == [("list",), ("book:A", "book:B"), ("trade:A",)]
        topics.accepted(topics.names, T0)
        topics.renew(["book:B", "trade:A", "book:A"], T0)
        assert [(r.op, r.topics) for r in topics.requests] == [
            (op, part) for op in ("unsubscribe", "subscribe") for part in (("book:B", "book:A"), ("trade:A",))
        ]

    def test_what_waits_for_the_first(self):
        topics = self.topics(first="list")
        topics.begin(T0)
        assert self.asked(topics) == [("list",)]
        topics.accepted(["list"], T0)
        assert not topics.settled
        topics.tick(T0 + 4 * SECOND)
        assert self.asked(topics) == []
        topics.ask_others(T0 + 4 * SECOND)
        topics.ask_others(T0 + 4 * SECOND)
        assert self.asked(topics) == [("book:A", "book:B"), ("trade:A",)]

    @pytest.mark.parametrize("refused", [True, False])
    def test_waits_neither_for_one_that_is_refused_nor_for_long(self, refused):
        topics = self.topics(first="list")
        topics.begin(T0)
        if refused:
            topics.rejected_topic("list", "no", T0)
        topics.tick(T0 + (1 if refused else 5 * SECOND))
        assert self.asked(topics)[1:] == [("book:A", "book:B"), ("trade:A",)]

    def test_which_topics_an_answer_may_be_about(self):
        topics = self.topics()
        topics.begin(T0)
        books = topics.requests[1].ident
        assert topics.meant(books, ":A") == ["book:A"]
        assert topics.meant(books, ":C") == []
        assert topics.meant("none of ours", ":A") == ["book:A", "trade:A"]
        topics.accepted(["book:A"], T0)
        assert topics.meant(books, "") == ["book:B"]


class TestFields:
    @pytest.mark.parametrize(
        ("value", "text"),
        [("0.10", "0.10"), ("1e-08", "0.00000001"), ("1.50E+3", "1500"), (7, "7"), ("", ""), ("1e999", "1e999")],
    )
    def test_digits(self, value, text):
        assert digits(value) == text

    @pytest.mark.parametrize("value", [True, None, [], {}])
    def test_what_is_no_number_looks_like_none(self, value):
        assert digits(value)[0] == "\0"

    def test_keyed_and_inner_rows(self):
        [row, bad] = keyed_rows(b'{"a":{"x":1.50,"in":[{"y":"2"}],"one":{"z":3}},"b":7}', "id")
        assert (row["id"], row["x"], inner_rows(row, "in"), inner_rows(row, "one")) == (
            "a",
            "1.50",
            [{"y": "2"}],
            [{"z": "3"}],
        )
        assert inner_rows(row, "x") == inner_rows(row, "none") == []
        assert bad["id"] == "b"


def test_times_that_may_be_missing():
    times = UtcTimes()
    assert times.known(None) is None
    assert times.known("") is None
    assert times.known("2023-09-25T07:49:37.708706Z") == 1695628177708706000
    with pytest.raises(TypeError):
        times.known(7)


def test_a_secret_that_can_not_sign():
    check_base64(ACCOUNT)
    with pytest.raises(ConfigError, match="not Base64"):
        check_base64(Credentials("main", "key", "no base64!"))
