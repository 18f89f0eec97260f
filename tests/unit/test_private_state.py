"""An account's state by REST, whose lists may lag behind what the connection has told."""

from __future__ import annotations

import pytest
from msgspec import structs

from bridge.exchanges.api import Restated
from bridge.exchanges.toolkit.accounts.history import AccountMemory
from bridge.exchanges.toolkit.accounts.private import PrivateState
from bridge.model import Channel
from tests.unit.core import SECOND, T0, order
from tests.unit.feeding import FakeSession


@pytest.mark.parametrize(
    ("told", "listed", "handed_on"),
    [
        (("filled", "1"), ("open", "0"), None),
        (("cancelled", "0.5"), ("partially_filled", "0.5"), None),
        (("partially_filled", "0.5"), ("open", "0"), ("partially_filled", "0.5")),
        (("open", "0"), ("partially_filled", "0.5"), ("partially_filled", "0.5")),
        (("open", "0"), ("filled", "1"), ("filled", "1")),
    ],
)
def test_a_list_that_lags_takes_no_order_back(told, listed, handed_on):
    memory = AccountMemory()
    state = PrivateState(FakeSession("ws://x"), "fake", "main", memory, steps=list)
    state.news([order("o1", told[0], filled=told[1])])
    row = structs.replace(order("o1", listed[0], filled=listed[1]), recv=T0 + SECOND)
    [restated] = state.restate(Channel.ORDERS, [{"id": "o1"}], lambda _: [row], T0 + SECOND)
    assert isinstance(restated, Restated)
    assert [(one.status, one.filled) for one in restated.events] == ([handed_on] if handed_on else [])
    assert list(memory.open_orders) == ([("", "o1")] if handed_on and handed_on[0] != "filled" else [])
