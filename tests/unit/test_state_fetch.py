"""The fetches of an account's state: how they end, and when they are tried again."""

from __future__ import annotations

import pytest

from bridge.exchange_errors import ErrorKind, RestError
from bridge.exchanges.api import Fetch, Said, Subscription
from bridge.exchanges.toolkit.accounts.private import StateFetch
from bridge.model import Channel, Control
from tests.unit.core import SECOND, T0
from tests.unit.feeding import FakeSession

ORDERS, FILLS = Subscription(Channel.ORDERS, "main"), Subscription(Channel.FILLS, "main")
UNKNOWN = RestError("fake", "/orders", 400, "no such symbol", code=-1121)


class Account:
    """Fetches in so many steps, whose ends are ``ends``, one after the other: an error, or nothing."""

    def __init__(self, *ends, steps=1):
        self.ends = list(ends)
        self.session = FakeSession("ws://x")
        self.state = StateFetch(self.session, "main", "orders", steps=lambda: [self._step] * steps)

    def _step(self, now):
        del now
        if (end := self.ends.pop(0)) is not None:
            raise end
        return []
        yield

    def fetch_all(self, outputs):
        """Do all that was handed out, step by step; returns what has come of it beside."""
        done = []
        while fetches := [output for output in outputs if isinstance(output, Fetch)]:
            done += [output for output in outputs if not isinstance(output, Fetch)]
            outputs = self.fetch(fetches)
        return [*done, *outputs]

    def fetch(self, outputs):
        """Do what was handed out; returns what has come of it."""
        [fetch] = outputs
        assert isinstance(fetch, Fetch)
        with pytest.raises(StopIteration) as done:
            next(fetch.flow)
        return done.value.value


def test_one_that_the_exchange_refuses_is_said_and_tried_again():
    account = Account(RestError("fake", "/orders", 503, "away"), None)
    [said] = account.fetch(account.state.begin(T0))
    assert isinstance(said, Said)
    assert not account.state.idle
    assert account.fetch(account.state.tick(T0 + 60 * SECOND)) == []
    assert account.state.idle


def test_one_that_ends_with_a_mistake_of_ours_is_tried_again():
    account = Account(ZeroDivisionError(), None)
    [fetch] = account.state.begin(T0)
    with pytest.raises(ZeroDivisionError):
        next(fetch.flow)
    assert not account.state.idle
    assert account.fetch(account.state.tick(T0 + 60 * SECOND)) == []
    assert account.state.idle
    assert account.state.tried


def test_what_is_wrong_with_one_call_keeps_no_other_from_being_made():
    account = Account(UNKNOWN, None, None, steps=3)
    [said] = account.fetch_all(account.state.begin(T0))
    assert said.error is UNKNOWN
    assert account.ends == []
    assert account.state.tried
    assert not account.state.idle, "the first is wanted again"


@pytest.mark.parametrize(
    "error",
    [
        RestError("fake", "/orders", 0, "no answer"),
        RestError("fake", "/orders", 503, "away"),
        RestError("fake", "/orders", 429, "too many"),
        RestError("fake", "/orders", 400, "no such key", kind=ErrorKind.REST_LOGIN_REFUSED),
    ],
)
def test_where_the_next_call_would_fail_too_none_is_made(error):
    account = Account(error, None, steps=2)
    [said] = account.fetch_all(account.state.begin(T0))
    assert (said.error, account.ends) == (error, [None])


def test_of_several_failures_the_one_counts_that_is_of_all_calls():
    failures = []
    account = Account(UNKNOWN, RestError("fake", "/fills", 429, "too many", 120.0), None, steps=3)
    account.state._failed = lambda error: failures.append(error) or []
    account.fetch_all(account.state.begin(T0))
    assert [error.status for error in failures] == [429]
    assert account.state.tick(T0 + 119 * SECOND) == []
    assert len(account.state.tick(T0 + 120 * SECOND)) == 1


def test_the_streams_say_that_nothing_is_fetched_once_in_a_row_of_failures():
    account = Account(*[UNKNOWN] * 5, None, *[UNKNOWN] * 3)
    account.session.lively([ORDERS, FILLS], T0)
    fetched = [account.fetch_all(account.state.begin(T0 + number)) for number in range(9)]
    said = [[output.channel for output in outputs if isinstance(output, Control)] for outputs in fetched]
    assert said == [[], [], [Channel.FILLS, Channel.ORDERS], [], [], [], [], [], [Channel.FILLS, Channel.ORDERS]]
