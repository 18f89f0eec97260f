from __future__ import annotations

import pytest
from msgspec.structs import fields

from bridge.model import (
    BOOKS,
    CONNECTOR_CHANNELS,
    DATA_EVENTS,
    PRIVATE_CHANNELS,
    PUBLIC_CHANNELS,
    SERVICE_CHANNELS,
    Channel,
    Control,
    ControlEvent,
    Order,
    Trade,
    events_of,
)

CONTRACT = {
    "trade": "id side price size",
    "snapshot": "xseq bids asks",
    "delta": "xseq bids asks",
    "quote": "bid bid_size ask ask_size",
    "ticker": "window open high low last change change_pct volume",
    "funding": "rate next_ts interval",
    "mark": "mark index",
    "interest": "size value",
    "liquidation": "id side price size",
    "candle": "open_ts close_ts open high low close volume value count late first last state reason after upto",
    "order": "order_id client_id pair kind side price size filled status",
    "fill": "fill_id order_id pair side price size fee fee_currency",
    "balance": "currency available reserved",
    "position": "pair side size entry_price mark_price unrealised_pnl",
    "control": "event reason count",
}


def test_the_fields_are_the_contracts():
    kinds = (*DATA_EVENTS, Control)
    assert {kind.__struct_config__.tag: " ".join(kind.WIRE) for kind in kinds} == CONTRACT


@pytest.mark.parametrize("kind", [*DATA_EVENTS, Control])
def test_wire_fields_are_attributes_in_order(kind):
    names = [field.name for field in fields(kind)]
    assert [name for name in names if name in kind.WIRE] == list(kind.WIRE)
    assert names[:3] == ["subject", "ts", "recv"]


def test_channels():
    assert set(PUBLIC_CHANNELS) | set(PRIVATE_CHANNELS) == set(Channel)
    assert {kind.channel for kind in DATA_EVENTS} | BOOKS == set(Channel)
    assert set(CONNECTOR_CHANNELS) | SERVICE_CHANNELS == set(Channel)
    for kind in DATA_EVENTS:
        assert kind in events_of(kind.channel)
    assert [channel for channel in Channel if Control not in events_of(channel)] == [Channel.CANDLES]
    assert [str(event) for event in ControlEvent] == ["live", "down", "stale", "gap", "lost", "stop"]


def test_events_do_not_change():
    trade = Trade("BTC-EUR", None, 1, "", "buy", "1", "1")
    with pytest.raises(AttributeError):
        trade.price = "2"
    assert not trade.replay
    assert Order.channel is Channel.ORDERS
