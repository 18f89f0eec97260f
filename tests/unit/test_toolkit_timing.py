"""When something is asked, awaited or given up: the toolkit's timers, at the limits of each."""

from __future__ import annotations

import json

import pytest

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import Credentials, Fetch, HttpRequest, HttpResponse, Reconnect, Said, Send
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.login import LogIn, refused_by_rest
from bridge.exchanges.toolkit.rest.nonces import Nonces
from bridge.exchanges.toolkit.rest.rest import TimedRest
from bridge.exchanges.toolkit.sessions.pings import Pings
from bridge.exchanges.toolkit.sessions.snapshots import SnapshotFetches
from bridge.exchanges.toolkit.timing.refresh import Refresh
from bridge.exchanges.toolkit.timing.waiting import LONG_WAIT
from tests.unit.core import SECOND, T0, snapshot
from tests.unit.limitlex_keys import drive

HOUR = 3600 * SECOND


def at(seconds):
    return T0 + int(seconds * SECOND)


class TestRefresh:
    """Seconds at which the state is fetched."""

    def fetched(self, refresh, wanted, *, seconds=300, ends="done", begin=0, retry_after=None):
        """What is fetched in so many seconds, looked at every half of one, where it is wanted when ``wanted`` says so."""
        found = []
        for half in range(2 * begin, 2 * (begin + seconds)):
            now = at(half / 2)
            if wanted(half / 2):
                refresh.want(now)
            if refresh.due(now):
                found.append(half / 2)
                refresh.done(now) if ends == "done" else refresh.failed(now, retry_after)
        return found

    def test_nothing_is_due_unasked(self):
        assert self.fetched(Refresh(), lambda _: False) == []

    def test_what_is_wanted_once_is_fetched_once_and_at_once(self):
        assert self.fetched(Refresh(), lambda second: second == 7) == [7]

    def test_what_is_wanted_again_and_again_is_fetched_ever_more_rarely(self):
        assert self.fetched(Refresh(), lambda _: True) == [0, 5, 15, 35, 75, 135, 195, 255]

    def test_what_fails_is_tried_ever_more_rarely(self):
        assert self.fetched(Refresh(), lambda second: second == 0, ends="failed") == [0, 5, 15, 35, 75, 135, 195, 255]

    @pytest.mark.parametrize(("retry_after", "second"), [(None, 5), (0.0, 5), (4.0, 5), (12.5, 12.5), (200.0, 200)])
    def test_the_exchange_may_ask_for_more_time(self, retry_after, second):
        refresh = Refresh()
        refresh.failed(at(0), retry_after)
        assert self.fetched(refresh, lambda _: False)[0] == second

    def test_one_that_nothing_called_for_puts_off_the_next_by_five_seconds_alone(self):
        refresh = Refresh()
        refresh.begun(at(0))
        refresh.done(at(0))
        assert self.fetched(refresh, lambda _: True, seconds=16) == [5, 10]

    @pytest.mark.parametrize(("calm", "apart"), [(80, 40), (80.5, 5)])
    def test_after_twice_as_long_without_a_call_it_is_as_at_first(self, calm, apart):
        """After three fetches the next is due 20 s later at the earliest, at 35, and the one after that 40 s later."""
        refresh = Refresh()
        assert self.fetched(refresh, lambda second: second <= 15, seconds=16) == [0, 5, 15]
        found = self.fetched(refresh, lambda second: second >= 35 + calm, begin=16)
        assert found[:2] == [35 + calm, 35 + calm + apart]

    def test_a_running_one_is_not_forgotten(self):
        refresh = Refresh()
        refresh.begun(at(0))
        refresh.want(at(1))
        refresh.want(at(2))
        assert [refresh.due(at(second)) for second in (4.99, 5, 5)] == [False, True, False]


class TestLogIn:
    def begun(self, *ways, memory=None):
        login = LogIn("fake", memory or AccountMemory(), lambda way, now: f"{way} {now - T0}", ways or ("",))
        return login, login.begin(T0)

    def test_the_message_is_a_secret_of_its_time(self):
        login, sent = self.begun()
        assert (sent, login.awaited) == ([Send(" 0", secret=True)], True)

    @pytest.mark.parametrize(("late", "outputs"), [(0, []), (1, [Reconnect("no answer to the log-in")])])
    def test_an_answer_may_take_ten_seconds(self, late, outputs):
        login, _ = self.begun()
        assert login.tick(at(10) + late) == outputs
        assert login.awaited == (not late)

    def test_what_is_answered_is_awaited_no_more(self):
        login, _ = self.begun()
        login.accepted()
        assert not login.awaited
        assert login.tick(T0 + HOUR) == []

    def test_after_our_clock_was_set_back_it_is_awaited_from_then_on(self):
        login, _ = self.begun()
        assert login.tick(T0 - HOUR) == []
        assert login.tick(T0 - HOUR + 10 * SECOND) == []
        assert login.tick(T0 - HOUR + 10 * SECOND + 1) == [Reconnect("no answer to the log-in")]

    def test_only_after_a_second_refusal_it_stays_away_for_long(self):
        memory = AccountMemory()
        for refused, wait in ((1, 0.0), (2, LONG_WAIT), (3, LONG_WAIT)):
            login, _ = self.begun(memory=memory)
            said, gone = login.refused("wrong key", T0, code=7)
            assert (said.error.kind, said.error.code, said.error.topic) == (ErrorKind.LOGIN_REFUSED, 7, "")
            assert gone == Reconnect("the log-in is refused: 7: wrong key", wait)
            assert (memory.refused, login.awaited) == (refused, False)
        self.begun(memory=memory)[0].accepted()
        assert memory.refused == 0

    def test_ways_are_tried_one_after_the_other(self):
        memory = AccountMemory()
        login, sent = self.begun("old", "new", "newest", memory=memory)
        assert sent == [Send("old 0", secret=True)]
        said, again = login.refused("no", at(1))
        assert (type(said), said.error.topic, again) == (Said, "old", Send(f"new {SECOND}", secret=True))
        assert (login.awaited, memory.refused) == (True, 0)
        assert login.tick(at(11) + 1) == [Send(f"newest {11 * SECOND + 1}", secret=True)]
        login.accepted()
        assert memory.way == "newest"
        assert self.begun("old", "new", "newest", memory=memory)[1] == [Send("newest 0", secret=True)]

    @pytest.mark.parametrize(("asked", "wait"), [(None, LONG_WAIT), (5.0, LONG_WAIT), (900.0, 900.0)])
    def test_a_key_that_rest_refuses_is_left_alone_for_as_long_as_the_exchange_wants(self, asked, wait):
        error = RestError("fake", "/balances", 401, "no", asked, kind=ErrorKind.REST_LOGIN_REFUSED)
        assert refused_by_rest(error) == [Reconnect(f"REST refuses the key: {error.about}", wait)]
        assert refused_by_rest(RestError("fake", "/balances", 503, "busy")) == []


class TestPings:
    def heard_of(self, pings, ticks, *, heard=lambda _: False):
        """What comes of ticks at these seconds: ``ping``, or why the connection is given up."""
        found = []
        for second in ticks:
            pings.heard = pings.heard or heard(second)
            outputs = pings.tick(at(second))
            found += [(second, "ping" if output == Send("hello") else output.reason) for output in outputs]
        return found

    def begun(self, every=20.0, limit=None, now=T0):
        pings = Pings("hello", every, limit)
        pings.begin(now)
        return pings

    def quarters(self, until, begin=0.0):
        return [begin + quarter / 4 for quarter in range(int(4 * (until - begin)) + 1)]

    def test_one_goes_every_so_many_seconds(self):
        assert self.heard_of(self.begun(), self.quarters(65)) == [(20, "ping"), (40, "ping"), (60, "ping")]

    def test_one_after_which_nothing_comes_ends_the_connection(self):
        assert self.heard_of(self.begun(limit=10), self.quarters(35)) == [
            (20, "ping"),
            (30.25, "nothing came within 10 s of a ping"),
        ]

    def test_whatever_comes_is_an_answer(self):
        pings = self.begun(limit=10)
        assert self.heard_of(pings, self.quarters(55), heard=lambda second: second in (30, 44)) == [
            (20, "ping"),
            (40, "ping"),
        ]

    def test_time_in_which_this_process_was_busy_is_not_the_exchanges_silence(self):
        pings = self.begun(60, 10)
        ticks = [*self.quarters(60), *self.quarters(85, 64)]
        assert self.heard_of(pings, ticks) == [(60, "ping"), (74.25, "nothing came within 10 s of a ping")]

    @pytest.mark.parametrize(("step", "ends"), [(3, [72]), (3.01, [])])
    def test_ticks_may_be_three_seconds_apart(self, step, ends):
        pings = self.begun(60, 10)
        self.heard_of(pings, self.quarters(60))
        found = self.heard_of(pings, [60 + number * step for number in range(1, 6)])
        assert [second for second, _ in found] == ends

    def test_after_our_clock_was_set_back_the_next_one_goes_in_time(self):
        pings = self.begun(limit=10, now=T0 + HOUR)
        assert self.heard_of(pings, self.quarters(35)) == [(20, "ping"), (30.25, "nothing came within 10 s of a ping")]


def test_nonces_are_the_time_and_rise():
    nonces = Nonces(SECOND)
    first = T0 // SECOND
    moments = (T0, T0 + SECOND - 1, T0 - HOUR, T0 + 5 * SECOND, T0 + 5 * SECOND)
    assert [int(nonces.next(now)) - first for now in moments] == [0, 1, 2, 5, 6]


ACCOUNT = Credentials("main", "key", "secret")
MS = 1_000_000


class Rest(TimedRest):
    """Answers are ``{"time": ms, "code": …, "rows": […], "more": "…"}``; a signature is the time that it is of."""

    def __init__(self):
        super().__init__(late=(5, 6))

    def _sign(self, account, at, path, query):
        return {"signed": f"{account.name} {at} {path} {query}"}

    def _read(self, path, response):
        answer = json.loads(response.body)
        self.told = answer.get("time", 0)
        if answer.get("code"):
            raise RestError("fake", path, response.status, "no", code=answer["code"])
        return answer

    def _page(self, answer):
        return answer["rows"], answer.get("more", "")


def answer(**fields):
    return HttpResponse(200, json.dumps(fields).encode())


class TestTimedRest:
    def signed(self, requests):
        return [int(request.headers["signed"].split()[1]) - T0 // MS for request in requests]

    @pytest.mark.parametrize(("query", "path"), [("", "/x"), ("a=1", "/x?a=1")])
    def test_a_public_call_has_no_signature(self, query, path):
        requests, found = drive(Rest().get("/x", query), answer(a=1))
        assert requests == [HttpRequest("GET", path)]
        assert found == {"a": 1}

    def test_a_signed_one_has_the_exchanges_time(self):
        rest = Rest()
        rest.clock_offset = 3 * SECOND
        [request], _ = drive(rest.get("/x", "a=1", T0, ACCOUNT), answer())
        assert request.headers == {"signed": f"main {T0 // MS + 3000} /x a=1"}

    @pytest.mark.parametrize("code", [5, 6])
    def test_where_our_clock_was_wrong_it_is_signed_once_more(self, code):
        rest = Rest()
        requests, found = drive(rest.get("/x", "", T0, ACCOUNT), answer(time=T0 // MS + 90_000, code=code), answer(a=1))
        assert (self.signed(requests), found) == ([0, 90_000], {"a": 1})
        assert rest.clock_offset == 90 * SECOND
        refused = answer(time=T0 // MS, code=code)
        with pytest.raises(RestError):
            drive(rest.get("/x", "", T0, ACCOUNT), refused, refused)

    @pytest.mark.parametrize("refusal", [answer(time=T0 // MS, code=4), answer(code=5)], ids=["why", "no time"])
    def test_else_it_is_not_tried_again(self, refusal):
        with pytest.raises(RestError):
            drive(Rest().get("/x", "", T0, ACCOUNT), refusal)

    def test_a_later_page_has_the_time_of_the_one_before(self):
        pages = [answer(time=T0 // MS + 7_000 * number, rows=[number], more=f"&p={number}") for number in (1, 2)]
        requests, (rows, whole) = drive(Rest().pages("/x", "a=1", T0, ACCOUNT), *pages, answer(rows=[3]))
        assert (rows, whole) == ([1, 2, 3], True)
        assert [request.path for request in requests] == ["/x?a=1", "/x?a=1&p=1", "/x?a=1&p=2"]
        assert self.signed(requests) == [0, 7_000, 14_000]

    def test_the_same_page_again_is_the_end_of_what_can_be_had(self):
        again = answer(rows=[1], more="&p=1")
        assert drive(Rest().pages("/x", ""), again, again)[1] == ([1, 1], False)

    def test_a_list_without_an_end_is_given_up(self):
        pages = [answer(rows=[number], more=f"&p={number}") for number in range(100)]
        rows, whole = drive(Rest().pages("/x", ""), *pages)[1]
        assert (len(rows), whole) == (100, False)


class TestSnapshotFetches:
    def fetch(self, pair):
        response = yield HttpRequest("GET", f"/book/{pair}")
        return snapshot(xseq=response.body.decode())

    def test_each_book_is_fetched_once_at_a_time(self):
        fetches = SnapshotFetches(self.fetch)
        [first] = fetches.begin("A-B")
        assert (type(first), first.what) == (Fetch, "the book of A-B")
        assert fetches.begin("A-B") == []
        assert len(fetches.begin("C-D")) == 1
        requests, found = drive(first.flow, HttpResponse(200, b"7"))
        assert [request.path for request in requests] == ["/book/A-B"]
        assert found == [snapshot(xseq="7")]
        [again] = fetches.begin("A-B")
        with pytest.raises(RestError):
            drive(again.flow, RestError("fake", "/book/A-B", 0, "no answer"))
        assert len(fetches.begin("A-B")) == 1, "one that failed runs no more"
