"""An account's state that comes by REST channel by channel: what a fetch asks for, and what its failure means."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Fetch, HttpRequest, HttpResponse, Said, Session
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.polled_state import PolledState
from bridge.model import Channel, Control
from tests.unit.core import SECOND, T0

INTERVALS = {Channel.ORDERS: 300.0, Channel.FILLS: 45.0, Channel.BALANCES: 20.0}
AWAY = RestError("paper", "/balances", 503, "busy")


class Quiet(Session):
    def receive(self, frame, recv):
        raise AssertionError


class Polled:
    """A state whose conversations are one call each; the connection serves orders. It has been fetched once."""

    def __init__(self) -> None:
        self.rest: Any = SimpleNamespace(recv=0)
        syncs = {channel: (self._sync(channel), every) for channel, every in INTERVALS.items()}
        self.state = PolledState(
            Quiet(),
            "paper",
            "main",
            AccountMemory(),
            rest=self.rest,
            syncs=syncs,
            told=Channel.ORDERS,
            failed=lambda _: [],
        )
        self.now = T0
        self.outputs: list[Any] = []
        self.running: list[Any] = []
        """Conversations of which a call is to be answered."""
        self.asked: list[Channel] = []
        self.take(self.state.begin(T0))
        self.answer_all()
        self.asked.clear()

    def _sync(self, channel: Channel) -> Any:
        def sync(now: int) -> Any:
            self.asked.append(channel)
            response = yield HttpRequest("GET", f"/{channel}")
            if response.status != 200:
                raise RestError("paper", f"/{channel}", response.status, "busy")
            return self.state.refuse(channel, AWAY, now) if response.body == b"never" else []

        return sync

    def take(self, outputs: list[Any]) -> None:
        self.outputs += [output for output in outputs if not isinstance(output, Fetch)]
        for fetch in [output for output in outputs if isinstance(output, Fetch)]:
            self._go_on(fetch.flow, None)

    def answer(self, status: int = 200, body: bytes = b"{}") -> None:
        """The oldest call is answered."""
        self._go_on(self.running.pop(0), HttpResponse(status, body))

    def answer_all(self) -> None:
        while self.running:
            self.answer()

    def _go_on(self, flow: Any, response: HttpResponse | None) -> None:
        try:
            flow.send(response)
            self.running.append(flow)
        except StopIteration as stop:
            self.take(stop.value)

    def wait(self, seconds: float, *, answered: bool = True) -> list[Channel]:
        """What is asked for while time goes by."""
        before = len(self.asked)
        for _ in range(int(seconds * 4)):
            self.now += SECOND // 4
            self.take(self.state.tick(self.now))
            if answered:
                self.answer_all()
        return self.asked[before:]

    def controls(self) -> list[tuple[str, str]]:
        """Control events so far, taken out."""
        found = [(str(o.event), str(o.channel)) for o in self.outputs if isinstance(o, Control)]
        self.outputs.clear()
        return found


@pytest.fixture
def polled():
    """It may be fetched again at once."""
    found = Polled()
    assert found.wait(10) == []
    assert found.controls() == [("live", channel) for channel in INTERVALS]
    return found


def test_each_at_its_interval(polled):
    assert polled.wait(36) == [Channel.BALANCES, Channel.BALANCES, Channel.FILLS]


def test_what_was_missed_is_in_the_next_fetch_whatever_else_is_due(polled):
    polled.take(polled.state.missed(polled.now, "a hole"))
    polled.state.soon(Channel.BALANCES, polled.now)
    assert polled.wait(2)[:3] == list(INTERVALS)
    assert polled.controls() == [("gap", channel) for channel in INTERVALS]


@pytest.mark.parametrize("answered", range(3))
def test_what_is_missed_while_a_fetch_runs_is_asked_for_again(polled, answered):
    """What was answered, or asked for, before it may lack it; that something else is due then changes nothing."""
    polled.state.want(polled.now)
    polled.wait(0.25, answered=False)
    for _ in range(answered):
        polled.answer()
    polled.take(polled.state.missed(polled.now, "a hole"))
    polled.answer_all()
    polled.asked.clear()
    polled.wait(2, answered=False)
    polled.state.soon(Channel.BALANCES, polled.now)
    assert polled.wait(15)[: answered + 1] == list(INTERVALS)[: answered + 1]


def test_after_a_failure_only_what_is_lacking_is_asked_for_again(polled):
    polled.state.want(polled.now)
    polled.wait(0.25, answered=False)
    polled.answer()
    polled.answer()
    polled.answer(503)
    assert next(type(output) for output in polled.outputs) is Said
    assert polled.controls() == [("down", "balances")]
    assert polled.wait(6) == [Channel.BALANCES]
    assert polled.controls() == [("live", "balances")]


def test_what_the_connection_serves_is_not_down(polled):
    """What comes behind it in the fetch was not answered either."""
    polled.state.want(polled.now)
    polled.wait(0.25, answered=False)
    polled.answer(503)
    assert polled.controls() == [("down", "fills"), ("down", "balances")]


def test_while_a_fetch_runs_no_other_one_begins(polled):
    polled.state.want(polled.now)
    assert polled.wait(50, answered=False) == [Channel.ORDERS]
    polled.answer_all()
    assert polled.wait(0.5) == [Channel.FILLS, Channel.BALANCES]


def test_what_is_refused_is_not_asked_for_again_and_misses_nothing(polled):
    polled.state.want(polled.now)
    polled.wait(0.25, answered=False)
    polled.answer()
    polled.answer(body=b"never")
    polled.answer()
    assert polled.controls() == [("down", "fills")]
    polled.take(polled.state.missed(polled.now, "a hole"))
    assert polled.wait(50).count(Channel.FILLS) == 0
    assert polled.controls() == [("gap", "orders"), ("gap", "balances")]
    polled.state.want(polled.now)
    polled.wait(10, answered=False)
    polled.answer(503)
    assert polled.controls() == [("down", "balances")]


def test_nothing_is_older_than_what_came_before(polled):
    assert polled.state.at(T0) == T0
    polled.rest.recv = T0 + 2
    assert polled.state.at(T0) == T0 + 2
    polled.state.heard = T0 + 3
    assert polled.state.at(T0) == T0 + 3
    assert polled.state.at(T0 + 4) == T0 + 4
