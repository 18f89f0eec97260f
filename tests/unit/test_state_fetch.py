"""The fetches of an account's state: how they end, and when they are tried again."""

from __future__ import annotations

import pytest

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Fetch, Said
from bridge.exchanges.toolkit.accounts.private import StateFetch
from tests.unit.core import SECOND, T0
from tests.unit.feeding import FakeSession


class Account:
    """Fetches in one step, whose ends are ``ends``, one after the other: an error, or nothing."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.state = StateFetch(FakeSession("ws://x"), "main", "orders", steps=lambda: [self._step])

    def _step(self, now):
        del now
        if (end := self.ends.pop(0)) is not None:
            raise end
        return []
        yield

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
