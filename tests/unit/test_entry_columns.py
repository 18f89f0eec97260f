from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.entries import decode, decode_columns, texts
from bridge.keys import StreamKey
from bridge.model import Channel

SUBJECTS = {Channel.ORDERS: "main", Channel.BALANCES: "main"}
ORDER = ["order_id", "client_id", "pair", "kind", "side", "price", "size", "filled", "status"]
FORMS = {
    "trade": (Channel.TRADES, ["id", "side", "price", "size"]),
    "delta": (Channel.BOOK, ["xseq", "bids", "asks"]),
    "snapshot": (Channel.BOOK, ["xseq", "bids", "asks"]),
    "order": (Channel.ORDERS, ORDER),
    "balance": (Channel.BALANCES, ["currency", "available", "reserved"]),
    "control": (Channel.TRADES, ["event", "reason", "count"]),
}
ODD = [
    "",
    "0",
    "-0",
    "007",
    "+5",
    " 5 ",
    "1_0",
    "1,2",
    "1]",
    "[1",
    "1.0",
    "1e3",
    "true",
    "null",
    "٣",
    "9" * 40,
    "\n",
    "é",
]
NUMBERS = st.one_of(st.integers(0, 2**63).map(str), st.sampled_from(ODD))
LEVEL = st.sampled_from(["1:2", "65083.67:0.01034361", "1:0", "1e-7:2"])
LEVELS = st.one_of(
    st.lists(LEVEL, max_size=4).map(" ".join),
    st.sampled_from(
        ["1", "1:2:3", ":", "1:", ":1", " 1:2", "1:2 ", "1:2  3:4", "1:2\n3:4", "1:2 3", "é:1", "1:2\r\n3:4"]
    ),
)
VALUES = {
    "ts": NUMBERS,
    "recv": NUMBERS,
    "count": NUMBERS,
    "bids": LEVELS,
    "asks": LEVELS,
    "event": st.sampled_from(["live", "down", "gap", "newer"]),
}
TEXT = st.one_of(st.text(max_size=4), st.sampled_from(["a\r\nb", "a\nb", "65083.67", "ü"]))


def key_of(channel: Channel) -> StreamKey:
    return StreamKey("limitlex", SUBJECTS.get(channel, "BTC-EUR"), channel)


@st.composite
def alike(draw: st.DrawFn) -> tuple[StreamKey, list[str], list[list[str]]]:
    """Entries with the same fields: a stream, the names, and the values of each entry."""
    kind = draw(st.sampled_from([*FORMS, "newer"]))
    channel, wire = FORMS.get(kind, (Channel.TRADES, ["price"]))
    names = [
        "type",
        "ts",
        "recv",
        *wire,
        *draw(st.lists(st.sampled_from(["contracts", "leg", "price", "x"]), max_size=2)),
    ]
    if draw(st.booleans()):
        channel = draw(st.sampled_from([Channel.TRADES, Channel.BOOK]))
    count = draw(st.integers(1, 4))
    clean = draw(st.booleans())
    columns = []
    for name in names[1:]:
        values = VALUES.get(name, TEXT)
        if clean:  # often enough that all of them are good
            values = {NUMBERS: st.integers(0, 2**63).map(str), LEVELS: st.lists(LEVEL).map(" ".join)}.get(values, TEXT)
            values = st.sampled_from(["live", "gap"]) if name == "event" else values
        columns.append(draw(st.lists(values, min_size=count, max_size=count)))
    return key_of(channel), names, [[kind, *row] for row in zip(*columns, strict=True)]


@given(alike())
def test_events_are_those_of_each_entry(entries):
    stream, names, rows = entries
    columns = [[value.encode() for value in column] for column in zip(*rows, strict=True)]
    found = decode_columns(stream, [name.encode() for name in names], columns)
    singly = []
    for row in rows:
        try:
            singly.append(decode(stream, [part for pair in zip(names, row, strict=True) for part in pair]))
        except ValueError:
            singly.append(None)
    assert found in (None, singly)


def columns_of(kind: str, *rows: list[str]) -> list[list[bytes]]:
    return [[value.encode() for value in column] for column in zip(*([kind, *row] for row in rows), strict=True)]


NAMES = [b"type", b"ts", b"recv"]
TRADE_NAMES = [*NAMES, b"id", b"side", b"price", b"size"]
BOOK_NAMES = [*NAMES, b"xseq", b"bids", b"asks"]


@pytest.mark.parametrize(
    ("names", "columns", "channel"),
    [
        (TRADE_NAMES, columns_of("trade", *[["1", "2", "é", "buy", "1\n", "2"]] * 3), Channel.TRADES),
        (TRADE_NAMES, columns_of("trade", *[["", "2", "", "buy", "1", "2"]] * 3), Channel.TRADES),
        ([*TRADE_NAMES, b"contracts"], columns_of("trade", *[["", "2", "", "buy", "1", "2", "7"]] * 3), Channel.TRADES),
        (BOOK_NAMES, columns_of("delta", ["1", "2", "7", "1:2 3:0", ""], ["", "2", "8", "", "4:1"]), Channel.BOOK),
        (BOOK_NAMES, columns_of("delta", *[["1", "2", "7", "", ""]] * 2), Channel.BOOK),
        ([*NAMES, b"event", b"reason", b"count"], columns_of("control", ["1", "2", "gap", "", "3"]), Channel.BOOK),
    ],
)
def test_good_entries_are_decoded_together(names, columns, channel):
    stream = key_of(channel)
    words = [name.decode() for name in names]
    rows = [[value.decode() for value in row] for row in zip(*columns, strict=True)]
    flats = [[part for pair in zip(words, row, strict=True) for part in pair] for row in rows]
    assert decode_columns(stream, names, columns) == [decode(stream, flat) for flat in flats]


def test_no_entries_of_several_types_and_no_fields_are_decoded_together():
    trade = ["1", "2", "", "buy", "1", "2"]
    columns = columns_of("trade", trade, trade)
    assert decode_columns(key_of(Channel.TRADES), TRADE_NAMES, columns)
    assert decode_columns(key_of(Channel.TRADES), TRADE_NAMES, [[b"trade", b"quote"], *columns[1:]]) is None
    assert decode_columns(key_of(Channel.TRADES), [], []) is None
    assert decode_columns(key_of(Channel.TRADES), TRADE_NAMES, columns[:-1]) is None
    assert decode_columns(key_of(Channel.BOOK), TRADE_NAMES, columns) is None


@given(st.lists(st.one_of(st.binary(max_size=5), st.sampled_from([b"a\nb", b"\xe2\x82", b"\n", b"\xff", b"1:2"]))))
@example([b""])
@example([])
def test_texts_are_those_of_each_value(values):
    assert texts(values) == [value.decode("utf-8", "backslashreplace") for value in values]
