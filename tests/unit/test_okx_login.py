"""OKX's private side: signatures, calls, and the log-in."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import RestError
from bridge.exchanges.api import HttpResponse, Reconnect
from bridge.exchanges.okx import Okx
from bridge.exchanges.okx.private import OkxRest, sign
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from tests.unit import okx_frames as frames
from tests.unit.core import SECOND, T0, faults
from tests.unit.okx_sessions import ACCOUNT, MILLISECOND, Answers, account, error, sent, subscribed
from tests.unit.session_views import controls, log_in, reconnects, wants

SAMPLE = "22582BD0CFF14C41EDBF1AB98506286D"


class TestSignatures:
    @pytest.mark.parametrize(
        ("at", "signature"),
        [
            ("1538054050", "+LdIr8lkkvhr5hoA3g9TMC0+uQJ849ftAcocA/ouu4M="),
            ("1704876947", "5/36BgGV6m/6pmdc20zdqk0mzF5ZalmzzPD2fo3wavU="),
        ],
    )
    def test_of_a_log_in(self, at, signature):
        assert sign(SAMPLE, f"{at}GET/users/self/verify") == signature

    def test_of_a_call(self):
        secret = "chNOOS4KvNXR_Xq4k4c9qsfoKWvnDecLATCRlcBwyKDYnWgO"
        text = "2020-12-08T09:08:57.715ZGET/api/v5/account/balance"
        assert sign(secret, text) == "PJ61e1nb2F2Qd7D8SPiaIcx2gjdELc+o0ygzre9z33k="

    def test_a_call_has_the_query_and_the_time_with_it(self):
        rest, answers = OkxRest(), Answers()
        rest.clock_offset = 3 * SECOND
        answers.drive(rest.get("/api/v5/trade/fills", "limit=100", T0, ACCOUNT))
        [headers] = answers.headers
        at = "2023-11-14T22:13:23.000Z"
        assert headers == {
            "OK-ACCESS-KEY": frames.KEY,
            "OK-ACCESS-SIGN": sign(frames.SECRET, f"{at}GET/api/v5/trade/fills?limit=100"),
            "OK-ACCESS-TIMESTAMP": at,
            "OK-ACCESS-PASSPHRASE": frames.PASSPHRASE,
        }

    def test_the_demo_is_named_in_every_call(self):
        answers = Answers()
        answers.drive(OkxRest(demo=True).get("/api/v5/public/instruments", "instType=SPOT"))
        assert answers.headers == [{"x-simulated-trading": "1"}]


class TestRest:
    @pytest.mark.parametrize(
        ("status", "body", "kind", "code", "wait"),
        [
            (429, {"code": "50011", "msg": "Too Many Requests"}, "rest_rate_limited", 50011, 2.0),
            (200, {"code": "50061", "msg": "Too many"}, "rest_rate_limited", 50061, 2.0),
            (401, {"code": "50111", "msg": "Invalid OK-ACCESS-KEY"}, "rest_login_refused", 50111, None),
            (200, {"code": "50119", "msg": "API key doesn't exist"}, "rest_login_refused", 50119, None),
            (200, {"code": "50120", "msg": "no permission"}, "rest_login_refused", 50120, None),
            (404, {"code": 404, "data": {}, "error_message": "Not Found"}, "rest_failed", 404, None),
            (200, {"code": "50001", "msg": "Service temporarily unavailable"}, "rest_failed", 50001, None),
            (200, {"data": []}, "rest_failed", None, None),
        ],
    )
    def test_errors_are_told_apart_whatever_their_status(self, status, body, kind, code, wait):
        answers = Answers({"/x": HttpResponse(status, json.dumps(body).encode())})
        with pytest.raises(RestError) as caught:
            answers.drive(OkxRest().get("/x"))
        assert (caught.value.kind, caught.value.code, caught.value.retry_after) == (kind, code, wait)

    def test_a_call_that_is_late_is_signed_once_more_with_the_time_of_the_answer(self):
        late = HttpResponse(401, b'{"code":"50102","msg":"late"}', {"date": "Tue, 14 Nov 2023 22:20:00 GMT"})
        given = [late, HttpResponse(200, frames.answer([]))]
        answers, rest = Answers({"/x": lambda _: given.pop(0)}), OkxRest()
        answers.drive(rest.get("/x", "", T0, ACCOUNT))
        assert [headers["OK-ACCESS-TIMESTAMP"] for headers in answers.headers] == [
            "2023-11-14T22:13:20.000Z",
            "2023-11-14T22:20:00.000Z",
        ]

    @pytest.mark.parametrize(("name", "after"), [("billId", "99"), ("ordId", "99")])
    def test_pages_go_on_after_the_last_row(self, name, after):
        def page(called):
            return [] if "after=" in called else [{name: str(number)} for number in range(100)]

        answers = Answers({"/x": page})
        rows, whole = answers.drive(OkxRest().pages("/x", "limit=100"))
        assert (len(rows), whole) == (100, True)
        assert answers.called == ["/x?limit=100", f"/x?limit=100&after={after}"]


class TestLogIn:
    def test_it_is_signed_in_seconds_by_the_exchanges_clock_and_is_a_secret(self):
        rest = OkxRest()
        rest.clock_offset = -3 * SECOND
        at = str(T0 // SECOND - 3)
        assert log_in(account(rest=rest)) == {
            "op": "login",
            "args": [
                {
                    "apiKey": frames.KEY,
                    "passphrase": frames.PASSPHRASE,
                    "timestamp": at,
                    "sign": sign(frames.SECRET, f"{at}GET/users/self/verify"),
                }
            ],
        }

    def test_nothing_else_is_sent_before_it_is_accepted(self):
        session = account()
        session.tick(T0 + 5 * SECOND)
        assert sent(session) == []
        session.receive(frames.LOGGED_IN, T0)
        [request] = sent(session)
        assert request["args"] == [
            {"channel": "orders", "instType": "ANY"},
            {"channel": "positions", "instType": "ANY", "extraParams": '{"updateInterval":"0"}'},
            {"channel": "account", "extraParams": '{"updateInterval":"0"}'},
        ]

    @pytest.mark.parametrize("code", ["60004", "60005", "60006", "60007", "60009", "60024", "60032"])
    def test_a_refusal_is_tried_once_more_with_the_clock_read_anew(self, code):
        memory, rest = AccountMemory(), OkxRest()
        session = account(memory, rest)
        session.receive(error(code, "no"), T0)
        assert reconnects(session) == [Reconnect(f"the log-in is refused: {code}: no", 0.0)]
        assert faults(session) == [("login_refused", code, "", "no")]
        again = account(memory, rest)
        answers = Answers({"/api/v5/public/time": [{"ts": str(T0 // MILLISECOND + 90_000)}]})
        answers.drive(again.open(T0))
        assert rest.clock_offset == 90 * SECOND
        again.receive(error(code, "no"), T0)
        assert reconnects(again) == [Reconnect(f"the log-in is refused: {code}: no", 60.0)]

    @pytest.mark.parametrize("code", ["63999", "64007"])
    def test_trouble_of_theirs_is_no_wrong_key(self, code):
        session = account()
        session.receive(error(code, "internal"), T0)
        assert faults(session) == [("reported", code, "", "internal")]
        assert reconnects(session) == [Reconnect(f"{code}: internal", 2.0)]

    def test_no_answer(self):
        session = account()
        session.tick(T0 + 11 * SECOND)
        assert reconnects(session) == [Reconnect("no answer to the log-in")]

    def test_the_state_is_fetched_once_all_topics_are_acknowledged(self):
        session = account()
        for frame in frames.WARM[:-1]:
            session.receive(frame, T0)
        assert wants(session) == 0
        events = session.receive(frames.WARM[-1], T0)
        assert controls(events) == [("live", "balances", "main")]
        assert wants(session) == 1
        session.tick(T0 + SECOND)
        assert wants(session) == 1

    def test_it_is_ready_once_rest_takes_the_key(self):
        session = subscribed()
        session.tick(T0)
        assert not session.ready
        Answers().drive(session.fetch(T0))
        assert session.ready
        session.tick(T0 + SECOND)
        assert session.ready

    @pytest.mark.parametrize("code", ["50120", "50111", "50105"])
    def test_a_key_that_rest_refuses_is_none_for_the_account(self, code):
        session = subscribed()
        refusal = HttpResponse(200, json.dumps({"code": code, "msg": "no"}).encode())
        Answers({"/api/v5/trade/orders-pending": refusal}).drive(session.fetch(T0))
        [reconnect] = reconnects(session)
        assert reconnect.wait == 60
        assert f"{code} no" in reconnect.reason
        assert not session.ready

    @pytest.mark.parametrize(("code", "wait"), [(4001, 60), (4007, 60), (4004, None), (4005, None)])
    def test_a_close_code_that_concerns_the_key_keeps_it_away_for_long(self, code, wait):
        assert Okx.close_wait(code) == wait

    def test_rest_that_is_away_keeps_nobody(self):
        session = subscribed()
        Answers({"/api/v5/trade/orders-pending": HttpResponse(503, b"away")}).drive(session.fetch(T0))
        assert session.ready
        assert reconnects(session) == []
