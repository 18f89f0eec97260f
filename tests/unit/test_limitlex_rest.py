from __future__ import annotations

import base64
import json

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.exchange_errors import RestError, UnknownPairError
from bridge.exchanges.api import Credentials, HttpRequest, HttpResponse, ListedPair, Reject, Restated
from bridge.exchanges.limitlex import AccountSession
from bridge.exchanges.limitlex.rest import LimitlexRest, sign, token_expiry
from bridge.model import Order
from tests.unit.core import SECOND, T0, Apart
from tests.unit.limitlex_keys import KEY, SECRET, drive, jwt, pem

ACCOUNT = Credentials("main", "the-key-id", SECRET)
CURRENCIES = [{"id": "u1", "code": "BTC"}, {"id": "u2", "code": "EUR"}, {"id": "u3", "code": "usdt"}]
PAIRS = [
    {"id": "u1:u2", "currency_id_1": "u1", "currency_id_2": "u2", "decimals": 8},
    {"id": "u1:u3", "currency_id_1": "u1", "currency_id_2": "u3", "decimals": 8},
]
LISTS = ({"result": {"data": CURRENCIES}}, {"result": {"data": PAIRS}})
MAPS = (
    {"result": {row["id"]: {"code": row["code"]} for row in CURRENCIES}},
    {"result": {row["id"]: {"decimals": 8} for row in PAIRS}},
)


def answer(value, status=200, headers=None):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return HttpResponse(status, body, headers or {})


class TestResolve:
    @pytest.mark.parametrize(
        "answers", [LISTS, MAPS, ({"result": CURRENCIES}, {"result": PAIRS})], ids=["data", "map", "list"]
    )
    def test_names_become_ids(self, answers):
        rest = LimitlexRest({})
        requests, _ = drive(rest.resolve(["BTC-EUR", "BTC-USDT"]), *map(answer, answers))
        assert [(r.method, r.path) for r in requests] == [("GET", "/public/currencies"), ("GET", "/public/pairs")]
        assert (rest.pair_id("BTC-EUR"), rest.pair_id("BTC-USDT")) == ("u1:u2", "u1:u3")
        assert (rest.currency("u2"), rest.currency("elsewhere")) == ("EUR", "elsewhere")

    def test_a_pair_of_one_currency_is_none(self):
        rows = [*PAIRS, {"id": "u1:"}, {"id": ":u2"}, {"currency_id_1": "u1"}, {"currency_id_2": "u2"}, {"id": "u2:u3"}]
        _, found = drive(LimitlexRest({}).list_pairs(), answer({"result": CURRENCIES}), answer({"result": rows}))
        assert found == [
            ListedPair("BTC-EUR", "BTC", "EUR"),
            ListedPair("BTC-USDT", "BTC", "USDT"),
            ListedPair("EUR-USDT", "EUR", "USDT"),
        ]

    def test_an_unknown_pair_comes_with_the_nearest_names(self):
        with pytest.raises(UnknownPairError, match="did you mean BTC-EUR") as caught:
            drive(LimitlexRest({}).resolve(["BTC-EURO"]), *map(answer, LISTS))
        assert caught.value.exit_code == 1

    def test_an_empty_list_is_the_exchanges_trouble(self):
        with pytest.raises(RestError, match="lists no pairs"):
            drive(LimitlexRest({}).resolve(["BTC-EUR"]), answer({"result": {"data": []}}), answer({"result": []}))

    def test_ids_of_the_config_do_while_rest_is_away(self):
        rest = LimitlexRest({"BTC-EUR": "x1:x2"})
        away = RestError("limitlex", "/public/currencies", 0, "no answer")
        drive(rest.resolve(["BTC-EUR"]), away)
        assert rest.pair_id("BTC-EUR") == "x1:x2"
        assert (rest.currency("x1"), rest.currency("x2")) == ("BTC", "EUR")
        with pytest.raises(RestError):
            drive(rest.resolve(["BTC-EUR", "ETH-EUR"]), away)

    def test_ids_of_the_config_come_first(self):
        rest = LimitlexRest({"BTC-EUR": "x1:x2"})
        drive(rest.resolve(["BTC-EUR"]), *map(answer, LISTS))
        assert rest.pair_id("BTC-EUR") == "x1:x2"

    @pytest.mark.parametrize(
        ("response", "message"),
        [
            (answer({"error": {"message": "too many requests"}}, 429, {"retry-after": "7"}), "too many requests"),
            (answer({"error": "maintenance"}), "maintenance"),
            (answer({"error": {"code": 5}}), ""),
            (answer(b"<html>Bad gateway</html>", 502), "not an answer of this API: '<html>Bad gateway"),
            (answer(b"\xff\xfe", 200), "not an answer"),
            (answer(b'"\xff"', 200), "not an answer"),
            (answer(b"", 200), "not an answer"),
            (answer({"result": []}, 500), "not an answer"),
        ],
    )
    def test_errors(self, response, message):
        with pytest.raises(RestError) as caught:
            drive(LimitlexRest({}).resolve(["BTC-EUR"]), response)
        assert caught.value.status == response.status
        assert message in caught.value.message
        assert caught.value.retry_after == (7.0 if response.status == 429 else None)

    @pytest.mark.parametrize("header", ["soon", "²", "-1", "1.5"])
    def test_an_odd_retry_after_is_none(self, header):
        with pytest.raises(RestError) as caught:
            drive(LimitlexRest({}).resolve(["BTC-EUR"]), answer({"error": "no"}, 503, {"retry-after": header}))
        assert caught.value.retry_after is None


KEYS = [
    *("result", "data", "id", "code", "currency_id_1", "currency_id_2", "error", "message", "token", "exp"),
    *("order_id", "price", "amount_initial", "amount_completed", "created_at", "order_direction"),
    *("currency_id", "amount_available", "amount_reserved"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner),
    max_leaves=12,
)
DOCUMENT = st.one_of(JSON, st.builds(lambda value: {"result": {"data": [value]}}, JSON))


@given(DOCUMENT, DOCUMENT)
def test_whatever_rest_answers_ends_in_an_error_of_ours(first, second):
    rest = LimitlexRest({})
    session = Apart(AccountSession("wss://x/", list, ACCOUNT, rest))
    for flow in (
        rest.resolve(["BTC-EUR"]),
        rest.token(ACCOUNT, T0),
        session.fetch(T0),
    ):
        answers = [answer(first), answer(second)]
        try:
            request = next(flow)
            while answers:
                assert isinstance(request, HttpRequest)
                request = flow.send(answers.pop(0))
        except (StopIteration, RestError, UnknownPairError):
            continue


class TestSigning:
    def verify(self, request, key=KEY):
        signature = base64.b64decode(request.headers["API-Sign"])
        key.public_key().verify(signature, (request.path + request.body).encode(), ec.ECDSA(hashes.SHA512()))

    def test_the_signature_is_over_path_and_body(self):
        requests, _ = drive(LimitlexRest({}).rows(ACCOUNT, "/private/balance", T0), answer({"result": []}))
        [request] = requests
        assert (request.method, request.path) == ("POST", "/private/balance")
        assert request.body == f"nonce={T0 // 1_000_000}"
        assert request.headers["API-Key"] == "the-key-id"
        assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
        self.verify(request)
        with pytest.raises(InvalidSignature):
            self.verify(HttpRequest("POST", request.path, request.body + "0", request.headers))

    @pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda c: c.name)
    def test_whatever_curve_the_key_is_of(self, curve):
        key = ec.generate_private_key(curve)
        signature = base64.b64decode(sign(Credentials("main", "", pem(key)), "/private/x", "nonce=1"))
        key.public_key().verify(signature, b"/private/xnonce=1", ec.ECDSA(hashes.SHA512()))

    @pytest.mark.parametrize(
        "secret",
        ["", "s3cret", SECRET[:80], pem(ed25519.Ed25519PrivateKey.generate()), "ü"],
        ids=["empty", "text", "cut off", "another kind of key", "not ascii"],  # keys differ from process to process
    )
    def test_a_bad_secret_is_the_users_mistake_and_is_not_shown(self, secret):
        account = Credentials("main", "the-key-id", secret)
        with pytest.raises(ConfigError) as caught:
            next(LimitlexRest({}).rows(account, "/private/balance", T0))
        assert "accounts.main" in str(caught.value)
        assert not secret or secret not in str(caught.value)
        another = secret.startswith("-----BEGIN") and secret != SECRET[:80]
        assert ("not of an elliptic curve" if another else "not a private key in PEM") in str(caught.value)

    def test_nonces_rise_within_a_millisecond(self):
        rest = LimitlexRest({})
        bodies = [next(rest.rows(ACCOUNT, "/private/balance", T0)).body for _ in range(3)]
        first = T0 // 1_000_000
        assert bodies == [f"nonce={first}", f"nonce={first + 1}", f"nonce={first + 2}"]

    def test_a_refused_nonce_goes_again_in_seconds(self):
        rest = LimitlexRest({})
        refused = answer({"error": {"message": "Invalid Nonce"}}, 400)
        requests, _ = drive(rest.rows(ACCOUNT, "/private/balance", T0), refused, answer({"result": []}))
        assert [r.body for r in requests] == [f"nonce={T0 // 1_000_000}", f"nonce={T0 // SECOND}"]
        self.verify(requests[1])
        # What did goes first from now on, and rises too.
        requests, _ = drive(rest.rows(ACCOUNT, "/private/balance", T0), answer({"result": []}))
        assert [r.body for r in requests] == [f"nonce={T0 // SECOND + 1}"]

    def test_it_goes_back_to_milliseconds_where_seconds_are_refused(self):
        rest = LimitlexRest({})
        refused, good = answer({"error": {"message": "Invalid Nonce"}}, 400), answer({"result": []})
        drive(rest.rows(ACCOUNT, "/private/balance", T0), refused, good)
        requests, _ = drive(rest.rows(ACCOUNT, "/private/balance", T0), refused, good)
        assert [r.body for r in requests] == [f"nonce={T0 // SECOND + 1}", f"nonce={T0 // 1_000_000 + 1}"]

    def test_a_nonce_refused_twice_is_an_error(self):
        refused = answer({"error": {"message": "bad nonce"}})
        with pytest.raises(RestError, match="bad nonce"):
            drive(LimitlexRest({}).rows(ACCOUNT, "/private/balance", T0), refused, refused)

    def test_another_error_is_not_tried_again(self):
        with pytest.raises(RestError, match="permission"):
            drive(
                LimitlexRest({}).rows(ACCOUNT, "/private/balance", T0), answer({"error": {"message": "no permission"}})
            )


class TestToken:
    @pytest.mark.parametrize(
        "shape",
        [
            lambda token: {"result": token},
            lambda token: {"result": {"token": token}},
            lambda token: {"result": {"data": {"websocket_token": token}}},
            lambda token: {"result": {"data": [{"token": token}]}},
            lambda token: {"token": token},
            lambda token: {"result": {"message": "Hello, this is v1.2. Enjoy.", "token": token}},
            lambda token: token,
        ],
    )
    def test_response_shapes(self, shape):
        token = jwt({"exp": 1_700_000_600})
        _, result = drive(LimitlexRest({}).token(ACCOUNT, T0), answer(shape(token)))
        assert result == (token, 1_700_000_600 * SECOND)

    @pytest.mark.parametrize(
        "value", [{}, {"result": {}}, {"result": "none"}, {"result": "a.b .c"}, {"result": "a.b&t.c"}]
    )
    def test_an_answer_without_a_token(self, value):
        with pytest.raises(RestError, match="holds no token"):
            drive(LimitlexRest({}).token(ACCOUNT, T0), answer(value))

    @pytest.mark.parametrize(
        ("token", "expiry"),
        [
            (jwt({"exp": 1_600_000_000}), 1_600_000_000 * SECOND),
            (jwt({"exp": "1600000000"}), 1_600_000_000 * SECOND),
            (jwt({"exp": 1600000000.9}), 1_600_000_000 * SECOND),
            (jwt({"exp": 0}), 0),
            (jwt({"exp": -1}), None),
            (jwt({"exp": 9223372035}), 9_223_372_035 * SECOND),
            (jwt({"exp": 9223372036}), None),
            (jwt({}), None),
            (jwt({"exp": None}), None),
            (jwt({"exp": "1e1000000000"}), None),
            (jwt({"exp": 10**30}), None),
            (jwt({"exp": -5}), None),
            (jwt({"exp": "NaN"}), None),
            (jwt({"exp": "soon"}), None),
            (jwt([1]), None),
            (jwt("x"), None),
            ("a.b.c", None),
            ("..", None),
            ("", None),
            ("ü.ü.ü", None),
        ],
    )
    def test_exp(self, token, expiry):
        assert token_expiry(token) == expiry


def restated(orders=None, balances=None, rejects=None):
    """What a fetch of the state has found: of the orders, or else of the balances."""
    session = Apart(AccountSession("wss://x/", list, ACCOUNT, LimitlexRest({})))
    empty = answer({"result": []})
    drive(session.fetch(T0), orders or empty, balances or empty)
    if rejects is not None:
        rejects += [action for action in session.actions if isinstance(action, Reject)]
    return [action for action in session.actions if isinstance(action, Restated)][0 if orders else 1]


def known(ident):
    return Order("main", None, T0, ident, "", "", "limit", "buy", "1", "1", "0", "open")


class TestState:
    def test_open_orders(self):
        row = {
            "order_id": "o1",
            "order_direction": "sell",
            "order_trade_type": "Limit",
            "price": "1.50",
            "amount_initial": "2.00",
            "amount_completed": "0.50",
            "created_at": 1598530122,
        }
        [event] = restated(answer({"result": {"data": [row]}})).events
        assert (event.ts, event.status, event.filled, event.side) == (
            1598530122 * SECOND,
            "partially_filled",
            "0.50",
            "sell",
        )

    @pytest.mark.parametrize(
        ("created", "times"),
        [
            (1598530122, [1598530122 * SECOND]),
            ("1598530122", [1598530122 * SECOND]),
            ("15985301220", [None]),
            ("soon", [None]),
            ("", [None]),
            (None, [None]),
            ("999999999", []),
        ],
    )
    def test_the_time_of_an_order_may_be_unknown_and_may_not_be_wrong(self, created, times):
        row = {"order_id": "o1", "price": "1", "amount_initial": "1", "created_at": created}
        assert [event.ts for event in restated(answer({"result": [row]})).events] == times

    def test_orders_as_a_map_keyed_by_id(self):
        rows = {"o1": {"order_id": "o1", "price": "1", "amount_initial": "1"}}
        [event] = restated(answer({"result": rows})).events
        assert event.order_id == "o1"

    def test_rows_that_make_no_sense_are_left_out(self):
        rows = [{}, {"order_id": "x", "price": "much"}, {"order_id": ["y"]}, 7, {"order_id": "z", "created_at": "²"}]
        rejects: list[Reject] = []
        orders = restated(answer({"result": rows}), rejects=rejects)
        assert [(event.order_id, event.ts) for event in orders.events] == [("z", None)]
        assert len(rejects) == 4
        assert not orders.covers(known("other")), "not even the id could be read of one"
        balances = [{"currency_id": "u", "amount_available": {}}, {"currency_id": "v", "amount_available": "x"}]
        assert restated(balances=answer({"result": balances})).events == []

    def test_of_a_row_whose_id_can_be_read_only_that_order_is_in_doubt(self):
        orders = restated(answer({"result": [{"order_id": "x", "price": "much"}]}))
        assert [orders.covers(known(ident)) for ident in ("x", "y")] == [False, True]

    @pytest.mark.parametrize("result", [None, 7, "none", {"data": None}, {"data": "none"}])
    def test_what_is_no_list_is_not_an_empty_one(self, result):
        """Else every order that is known would look closed."""
        with pytest.raises(RestError, match="not a"):
            drive(LimitlexRest({}).rows(ACCOUNT, "/private/open_orders", T0), answer({"result": result}))

    def test_every_digit_of_a_json_number_stays(self):
        body = b'{"result":[{"currency_id":"u","amount_available":1234567.123456789012,"amount_reserved":0.00000001}]}'
        listing = restated(balances=HttpResponse(200, body))
        [event] = listing.events
        assert (event.available, event.reserved) == ("1234567.123456789012", "0.00000001")

    def test_a_number_that_is_none_harms_its_row_alone(self):
        body = b'[{"currency_id":"u","amount_available":NaN},{"currency_id":"v","amount_available":1E-9}]'
        listing = restated(balances=HttpResponse(200, body))
        assert [(event.currency, event.available) for event in listing.events] == [("v", "0.000000001")]


def test_secrets_are_in_no_repr():
    assert SECRET not in repr(ACCOUNT)
    assert "the-key-id" not in repr(ACCOUNT)
    assert repr(ACCOUNT) == "Credentials('main')"
