"""A wallet when a stream of its account begins again."""

from __future__ import annotations

import json

import pytest

from bridge.keys import Keys, StreamKey
from bridge.model import Channel
from consumers.items import Reset, to_item
from consumers.wallet import Wallet

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
