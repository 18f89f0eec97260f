"""One bad row of a REST listing harms no other row, and makes nothing look closed that may be open; in every exchange."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from bridge.exchange_errors import RestError
from bridge.exchanges.api import Flow, HttpResponse, Reject, Restated
from bridge.model import Channel, Control, ControlEvent, Event
from tests.unit.core import SECOND, T0, Rig
from tests.unit.exchange_samples import SAMPLES, Sample
from tests.unit.test_exchange_rows import BAD, check_data, content, encode, leaves, prepared, spoiled

LISTINGS = [(sample.name, path) for sample in SAMPLES for path in sample.listings]
EMPTY = {
    "binance": b"[]",
    "binance-usdm": b"[]",
    "bybit": b'{"retCode":0,"result":{"list":[]}}',
    "coinbase": b'{"orders":[],"fills":[],"accounts":[],"positions":[]}',
    "limitlex": b'{"result":{"data":[]}}',
    "lmex": b"[]",
    "okx": b'{"code":"0","data":[]}',
}


def drive(flow: Flow[Any], answers: dict[str, bytes], otherwise: bytes) -> Any:
    try:
        request = next(flow)
        while True:
            called = request.path
            answer = next((answer for path, answer in answers.items() if called.startswith(path)), otherwise)
            request = flow.send(HttpResponse(200, answer))
    except StopIteration as stop:
        return stop.value


def listed(sample: Sample, path: str, answer: bytes) -> tuple[list[Restated], list[Event], list[Any]]:
    """What the connections' sessions and the polls make of an answer: states, control events and more, rejects."""
    exchange = sample.exchange()
    states: list[Restated] = []
    events: list[Event] = []
    rejects: list[Any] = []
    for place in range(len(exchange.plan())):
        session = prepared(sample, place, 0)
        events += drive(session.fetch(T0 + 1), {path: answer}, EMPTY[sample.name])
        states += [action for action in session.actions if isinstance(action, Restated) and action.events]
        rejects += [action.error for action in session.actions if isinstance(action, Reject)]
        gone = [action for action in session.actions if isinstance(action, Restated) and not action.events]
        states += gone
        events += session.tick(T0 + SECOND)
    for poll in exchange.polls():
        try:
            events += drive(poll.flow(T0), {path: answer}, EMPTY[sample.name])
        except RestError:
            continue
        rejects += poll.rejects
    return states, events, rejects


def data_of(states: list[Restated], events: list[Event]) -> list[Event]:
    found = [event for state in states for event in state.events]
    return found + [event for event in events if not isinstance(event, Control)]


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "path"), LISTINGS)
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_value_harms_its_row_alone(name: str, path: str, kind: str) -> None:
    [sample] = [sample for sample in SAMPLES if sample.name == name]
    answer = json.loads(sample.listings[path])
    states, events, rejects = listed(sample, path, encode(answer))
    assert rejects == []
    rows = _rows_of(answer)
    good = sorted(data_of(states, events), key=lambda event: f"'{getattr(event, 'fill_id', '')}'" in str(rows[1]))
    assert len(good) == 2
    for way in leaves(rows[0]):
        if _is_fine(rows[0], way, kind):
            continue
        bad = spoiled(rows[0], way, BAD[kind])
        body = copy.deepcopy(answer)
        _rows_of(body)[:] = [bad, rows[1]]
        states, events, rejects = listed(sample, path, encode(body))
        found = data_of(states, events)
        for event in found:
            check_data(event)
        served = {content(event) for event in found}
        assert content(good[1]) in served, f"{way}: the good row is missing"
        if content(good[0]) not in served and len(found) < 2:
            assert rejects, f"{way}: nobody is told"
            assert any(isinstance(event, Control) and event.event is ControlEvent.GAP for event in events), way
        nothing_closed(good, states, rejects)


def _rows_of(answer: Any) -> list[Any]:
    """The rows of an answer, wherever the exchange has them."""
    if isinstance(answer, list):
        return answer
    if "balances" in answer:
        return list(answer["balances"])
    result = answer.get("result", answer)
    return next(rows for rows in result.values() if isinstance(rows, list))


def _is_fine(row: Any, way: tuple[Any, ...], kind: str) -> bool:
    """A shorter list is a list, a position of nothing is none, and those numbers are statuses of orders that are over."""
    value = row
    for step in way:
        value = value[step]
    shorter = (kind == "a list" and isinstance(value, list)) or (kind == "missing" and isinstance(way[-1], int))
    nothing_held = way == ("positionAmt",) and kind == "zero"
    return shorter or nothing_held or (way == ("status",) and kind in ("a number", "negative", "negative text"))


def nothing_closed(known: list[Event], states: list[Restated], rejects: list[Any]) -> None:
    """Where a row was refused, no order and no position that is known may be told to be over."""
    if not rejects:
        return
    channel: Channel = known[0].channel  # type: ignore[attr-defined]
    if channel not in (Channel.ORDERS, Channel.POSITIONS):
        return
    rig = Rig(channel)
    for event in known:
        rig.topic.accept(event)
    rig.sink.entries.clear()
    for state in states:
        if state.channel is channel:
            rig.topic.restate(state.events, T0 + 2, T0 + 3, state.covers)
    for event in rig.sink.data:
        assert getattr(event, "status", "open") != ""
        assert getattr(event, "side", "x") != ""
