"""What is compared at the end of a chaos run, and what nobody can know."""

from __future__ import annotations

import json

from bridge.chaos.settle import without_lost_orders


def order(name: str, **more: bool) -> str:
    return json.dumps({"order_id": name, "status": "open", **more})


def test_an_unconfirmed_order_that_no_stream_knows_is_not_compared() -> None:
    wallet = {
        "order:BTC-EUR:lost": order("lost", unconfirmed=True),
        "order:BTC-EUR:known": order("known", unconfirmed=True),
        "order:BTC-EUR:certain": order("certain"),
        "balance:EUR": json.dumps({"available": "1"}),
        "state:orders": "live",
    }
    assert wallet.keys() - without_lost_orders(wallet, {"known"}).keys() == {"order:BTC-EUR:lost"}
