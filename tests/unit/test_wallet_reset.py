"""A wallet when a stream of its account begins again, or something of it is missing."""

from __future__ import annotations

import json

import pytest

from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from consumers.items import Hole, Item, Reset, Trimmed, to_item
from consumers.wallet import Wallet

ORDERS = StreamKey("limitlex", "main", Channel.ORDERS)
ORDER = {
    "type": "order",
    "ts": "1",
    "recv": "2",
    "order_id": "a",
    "client_id": "",
    "pair": "BTC-EUR",
    "kind": "limit",
    "side": "buy",
    "price": "1",
    "size": "1",
    "filled": "0",
    "status": "open",
}


@pytest.mark.parametrize(("channel", "unconfirmed"), [(Channel.ORDERS, True), (Channel.BALANCES, False)])
def test_open_orders_of_a_stream_that_begins_again_are_unconfirmed(channel: Channel, unconfirmed: bool) -> None:
    wallet = Wallet("acct:{limitlex:main}:wallet", {})
    stream = StreamKey("limitlex", "main", Channel.ORDERS)
    flat = [word for pair in ORDER.items() for word in pair]
    wallet.take(to_item(Keys().of(stream), stream, "5-5", flat))
    other = StreamKey("limitlex", "main", channel)
    wallet.take(Reset(Keys().of(other), other, "5-5", "6-1"))
    assert json.loads(wallet.fields["order:BTC-EUR:a"]).get("unconfirmed", False) == unconfirmed
    assert wallet.fields[f"state:{channel}"].startswith("reset")


CONTROL = {"type": "control", "ts": "", "recv": "3", "reason": "why", "count": "2"}


@pytest.mark.parametrize(
    "item",
    [
        to_item("k", ORDERS, "6-6", [word for pair in {**CONTROL, "event": "lost"}.items() for word in pair]),
        to_item("k", ORDERS, "6-6", [word for pair in {**CONTROL, "event": "gap"}.items() for word in pair]),
        Hole("k", ORDERS, "6-9", 6, 9),
        Trimmed("k", ORDERS, "5-5", "6-9", 3),
        to_item("k", ORDERS, "6-6", ["type", "order"]),
    ],
    ids=lambda item: type(item).__name__,
)
def test_open_orders_are_unconfirmed_when_the_last_word_on_them_may_be_missing(item: Item) -> None:
    wallet = Wallet("acct:{limitlex:main}:wallet", {})
    flat = [word for pair in ORDER.items() for word in pair]
    wallet.take(to_item("k", ORDERS, "5-5", flat))
    wallet.take(item)
    assert json.loads(wallet.fields["order:BTC-EUR:a"])["unconfirmed"] is True
    assert wallet.fields["gaps:orders"] == "1"
    wallet.take(to_item("k", ORDERS, "7-10", flat))
    assert "unconfirmed" not in json.loads(wallet.fields["order:BTC-EUR:a"])
