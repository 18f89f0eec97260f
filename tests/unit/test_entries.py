from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.entries import decode, format_levels, parse_levels
from bridge.keys import StreamKey
from bridge.model import BookDelta, Channel, Control, ControlEvent, Quote, Trade

TRADES = StreamKey("limitlex", "BTC-EUR", Channel.TRADES)
BOOK = StreamKey("limitlex", "BTC-EUR", Channel.BOOK)
TRADE = {"type": "trade", "ts": "5", "recv": "6", "id": "", "side": "buy", "price": "1.50", "size": "2"}


def flat(fields):
    return [text for pair in fields.items() for text in pair]


def test_a_trade():
    assert decode(TRADES, flat(TRADE)) == Trade("BTC-EUR", 5, 6, "", "buy", "1.50", "2")
    assert decode(TRADES, flat({**TRADE, "ts": ""})).ts is None


def test_further_fields_and_another_order_are_passed_over():
    more = {**TRADE, "liquidation": "yes"}
    assert decode(TRADES, flat(more)) == decode(TRADES, flat(TRADE))
    assert decode(TRADES, flat(dict(reversed(more.items())))) == decode(TRADES, flat(TRADE))


def test_contracts_are_taken_where_they_stand():
    assert decode(TRADES, flat({**TRADE, "contracts": "7"})).contracts == "7"
    assert decode(TRADES, flat(TRADE)).contracts is None


def test_levels():
    fields = {"type": "delta", "ts": "", "recv": "6", "xseq": "9", "bids": "1:2 3:0", "asks": ""}
    assert decode(BOOK, flat(fields)) == BookDelta("BTC-EUR", None, 6, "9", [("1", "2"), ("3", "0")], [])
    assert format_levels([("1", "2"), ("3", "0")]) == "1:2 3:0"
    for text in ("1", "1:2:3", ":", "1:2 3"):
        if text == ":":
            assert parse_levels(text) == [("", "")]
        else:
            with pytest.raises(ValueError, match="values to unpack"):
                parse_levels(text)


def test_a_control_entry_is_of_its_streams_channel():
    fields = {"type": "control", "ts": "", "recv": "6", "event": "gap", "reason": "why", "count": "3"}
    got = decode(BOOK, flat(fields))
    assert got == Control("BTC-EUR", None, 6, Channel.BOOK, ControlEvent.GAP, "why", 3)
    assert decode(TRADES, flat({**fields, "count": ""})).count is None


@pytest.mark.parametrize(
    ("stream", "fields", "message"),
    [
        (TRADES, {}, "no field 'type'"),
        (TRADES, {"type": "dividend"}, "unknown type 'dividend'"),
        (TRADES, {"type": "trade", "ts": "", "recv": "1"}, "no field 'id', 'side', 'price', 'size'"),
        (BOOK, TRADE, "a trade does not belong in a stream of book"),
        (TRADES, {**TRADE, "recv": "now"}, "invalid literal"),
        (TRADES, {"type": "control", "ts": "", "recv": "1", "event": "party", "reason": "", "count": ""}, "party"),
    ],
)
def test_what_is_no_entry(stream, fields, message):
    with pytest.raises(ValueError, match=message):
        decode(stream, flat(fields))


@given(st.lists(st.text(max_size=5), max_size=12).filter(lambda texts: len(texts) % 2 == 0))
def test_any_fields(texts):
    try:
        decode(TRADES, texts)
    except ValueError:
        return


def test_quotes_read_back():
    fields = {"type": "quote", "ts": "", "recv": "1", "bid": "1", "bid_size": "", "ask": "2", "ask_size": "3"}
    stream = StreamKey("x", "BTC-EUR", Channel.QUOTES)
    assert decode(stream, flat(fields)) == Quote("BTC-EUR", None, 1, "1", "", "2", "3")
