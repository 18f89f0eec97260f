"""Bybit's REST: signatures, its own errors, how long it wants to be left alone, lists of many pages."""

from __future__ import annotations

import json
from itertools import count

import pytest

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import ClockReading, Credentials, HttpResponse
from bridge.exchanges.bybit.private import BybitRest, sign
from tests.unit import bybit_frames as frames
from tests.unit.bybit_sessions import ACCOUNT, Answers, bybit
from tests.unit.core import SECOND, T0, Apart

MILLISECOND = 1_000_000
NOW = 1662350400000 * MILLISECOND
PATH = "/v5/order/realtime"


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("GET/realtime1662350400000", "e5afa359fdaabfeeae6a8755687997f43c4696196a957502edf608dcd3c83caa"),
        (
            "1662350400000bybit-test-key5000category=linear&settleCoin=USDT&limit=50",
            "bf6a5c1ced49baabc0ea6129ee8aec629aea1c4443fff47a4ab3071aed9af6f2",
        ),
        (
            "1662350400000bybit-test-key5000accountType=UNIFIED",
            "225d52c068da0cd1c54f68b9820527fa522e5db81165d26b8a160227d65c1954",
        ),
        (
            '1662350400000bybit-test-key5000{"category":"linear"}',
            "7775f91ed75ca194e659a1493ba9a1ebe8592370b0fa67407be8b05c67aef268",
        ),
    ],
)
def test_signatures(text, signature):
    assert sign(frames.SECRET, text) == signature


def call(answers, rest=None, now=NOW, query="category=linear&settleCoin=USDT&limit=50"):
    return answers.drive((rest or BybitRest()).get(PATH, query, now, ACCOUNT))


def failure(response, rest=None):
    with pytest.raises(RestError) as caught:
        call(Answers({f"{PATH}?": response}), rest)
    return caught.value


def refusal(code, words="no", status=200, time=1662350400000, **headers):
    body = json.dumps({"retCode": code, "retMsg": words, "result": {}, "time": time}).encode()
    return HttpResponse(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def test_a_signed_call():
    answers = Answers()
    key = Credentials("main", "bybit-test-key", frames.SECRET)
    answers.drive(BybitRest().get(PATH, "category=linear&settleCoin=USDT&limit=50", NOW, key))
    assert answers.called == [f"{PATH}?category=linear&settleCoin=USDT&limit=50"]
    assert answers.headers == [
        {
            "X-BAPI-API-KEY": "bybit-test-key",
            "X-BAPI-TIMESTAMP": "1662350400000",
            "X-BAPI-RECV-WINDOW": "5000",
            "X-BAPI-SIGN": "bf6a5c1ced49baabc0ea6129ee8aec629aea1c4443fff47a4ab3071aed9af6f2",
        }
    ]


def test_a_call_has_no_body():
    """Not even an empty object: the exchange answers that with 403."""
    request = next(BybitRest().get(PATH, "", NOW, ACCOUNT))
    assert (request.method, request.body, request.path) == ("GET", "", PATH)


@pytest.mark.parametrize("off", [-90_000, -3_000, 3_000, 90_000], ids="{}ms".format)
def test_a_wrong_clock_is_put_right_once(off):
    """The exchange takes what is at most 5 s old, and 1 s ahead."""
    rest = BybitRest()
    stamps = []

    def answer(called):
        del called
        stamps.append(int(answers.headers[-1]["X-BAPI-TIMESTAMP"]) - 1662350400000)
        return frames.answer([]) if -5_000 <= stamps[-1] < 1_000 else refusal(10002, "invalid request")

    answers = Answers({PATH: answer})
    call(answers, rest, now=NOW + off * MILLISECOND)
    assert stamps == ([off] if off == -3_000 else [off, 0])
    assert rest.clock_offset == (0 if off == -3_000 else -off * MILLISECOND)


def test_a_clock_that_cannot_be_put_right_is_an_error():
    answers = Answers({PATH: refusal(10002, "invalid request")})
    with pytest.raises(RestError, match="10002"):
        call(answers)
    assert len(answers.called) == 2


def test_without_the_exchanges_time_there_is_nothing_to_put_it_right_by():
    answers = Answers({PATH: refusal(10002, "invalid request", time=0)})
    with pytest.raises(RestError, match="10002"):
        call(answers)
    assert len(answers.called) == 1


@pytest.mark.parametrize("code", [10003, 10004, 10005, 10028, 33004, 100028])
def test_what_is_wrong_with_the_key(code):
    error = failure(refusal(code, "API key is invalid"))
    assert error.kind is ErrorKind.REST_LOGIN_REFUSED
    assert (error.code, error.message) == (code, f"{code} API key is invalid")


def test_http_401_is_the_keys_too():
    assert failure(HttpResponse(401, b"")).kind is ErrorKind.REST_LOGIN_REFUSED


@pytest.mark.parametrize(("reset", "wait"), [("1662350402500", 2.5), ("1662350399000", 0), ("", None), ("soon", None)])
def test_too_many_calls_of_an_account(reset, wait):
    error = failure(refusal(10006, "Too many visits", x_bapi_limit_reset_timestamp=reset))
    assert error.kind is ErrorKind.REST_RATE_LIMITED
    assert error.retry_after == wait


def test_http_429():
    error = failure(HttpResponse(429, b"slow down", {"retry-after": "7"}))
    assert (error.kind, error.retry_after) == (ErrorKind.REST_RATE_LIMITED, 7)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (HttpResponse(403, b"<html>access too frequent</html>"), ErrorKind.REST_RATE_LIMITED),
        (refusal(10009, "IP is blocked", 403), ErrorKind.REST_RATE_LIMITED),
        (refusal(10010, "Unmatched IP", 403), ErrorKind.REST_LOGIN_REFUSED),
    ],
)
def test_http_403_is_ten_minutes(response, kind):
    error = failure(response)
    assert (error.kind, error.retry_after) == (kind, 600)


@pytest.mark.parametrize("response", [HttpResponse(200, b"<html>"), HttpResponse(200, b"[]"), HttpResponse(502, b"")])
def test_what_is_no_answer(response):
    assert failure(response).message == "not an answer of this API"


def test_another_error_is_one_though_the_status_is_200():
    error = failure(refusal(10001, "params error"))
    assert (type(error), error.status, error.message) == (RestError, 200, "10001 params error")


class TestPages:
    def test_they_are_followed_with_the_exchanges_own_cursor(self):
        pages = {"": "1%3A0%2C2%3D", "1%3A0%2C2%3D": "odd one&x=#", "odd%20one%26x=%23": ""}

        def answer(called):
            cursor = called.partition("&cursor=")[2]
            return frames.answer([{"n": cursor}], pages[cursor])

        answers = Answers({PATH: answer})
        rows, whole = answers.drive(BybitRest().pages(PATH, "category=linear", NOW, ACCOUNT))
        assert ([row["n"] for row in rows], whole) == (list(pages), True)

    def test_a_list_without_end(self):
        cursors = count()
        answers = Answers({PATH: lambda _: frames.answer([{}], f"more{next(cursors)}")})
        rows, whole = answers.drive(BybitRest().pages(PATH, "category=linear", NOW, ACCOUNT))
        assert (len(rows), whole) == (100, False)

    def test_a_page_that_leads_to_itself(self):
        answers = Answers({PATH: frames.answer([{}], "more")})
        _, whole = answers.drive(BybitRest().pages(PATH, "category=linear", NOW, ACCOUNT))
        assert (len(answers.called), whole) == (2, False)

    def test_later_pages_are_signed_with_the_exchanges_time(self):
        """A hundred pages take longer than a signature counts."""
        moments = iter(range(1662350401000, 1662350500000, 3_000))

        def answer(called):
            del called
            at = next(moments)
            return json.dumps(
                {"retCode": 0, "time": at, "result": {"nextPageCursor": f"x{at}" if at < 1662350410000 else ""}}
            )

        answers = Answers({PATH: lambda called: answer(called).encode()})
        answers.drive(BybitRest().pages(PATH, "category=linear", NOW, ACCOUNT))
        stamps = [int(headers["X-BAPI-TIMESTAMP"]) - 1662350400000 for headers in answers.headers]
        assert stamps == [0, 1_000, 4_000, 7_000]

    @pytest.mark.parametrize("cursor", ["null", "7", "{}"])
    def test_a_cursor_that_is_none(self, cursor):
        body = b'{"retCode":0,"result":{"list":[{"n":1}],"nextPageCursor":%s}}' % cursor.encode()
        assert Answers({PATH: body}).drive(BybitRest().pages(PATH, "", NOW)) == ([{"n": "1"}], True)


class TestClock:
    def test_it_is_read(self):
        body = (
            b'{"retCode":0,"result":{"timeSecond":"1688639403","timeNano":"1688639403423213947"},"time":1688639403423}'
        )
        reading = Answers({"/v5/market/time": body}).drive(bybit("BTC-USDT").clock())
        assert reading == ClockReading(1688639403423 * MILLISECOND, MILLISECOND)

    @pytest.mark.parametrize(
        "body", [b'{"retCode":0}', b'{"retCode":0,"time":7}', b"x", b'{"retCode":10016,"time":1688639403423}']
    )
    def test_or_not(self, body):
        with pytest.raises(RestError):
            Answers({"/v5/market/time": body}).drive(bybit("BTC-USDT").clock())

    def test_when_it_is_blocked_it_is_left_alone_for_ten_minutes(self):
        with pytest.raises(RestError) as caught:
            Answers({"/v5/market/time": HttpResponse(403, b"")}).drive(bybit("BTC-USDT").clock())
        assert caught.value.retry_after == 600

    def test_what_is_signed_goes_by_it(self):
        exchange = bybit("BTC-USDT", account=ACCOUNT)
        exchange.clock_known(-7 * SECOND)
        session = Apart(exchange.plan()[-1].session())
        session.connected(T0)
        assert json.loads(session.actions[0].text)["args"][1] == (T0 - 7 * SECOND) // MILLISECOND + 10_000
