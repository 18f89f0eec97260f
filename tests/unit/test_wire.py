from __future__ import annotations

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import Encoder, PythonRespSerializer

from bridge.entries import decode
from bridge.keys import StreamKey
from bridge.model import (
    DATA_EVENTS,
    Balance,
    BookDelta,
    BookSnapshot,
    Channel,
    Control,
    ControlEvent,
    Fill,
    Funding,
    Interest,
    Liquidation,
    Mark,
    Order,
    Position,
    Quote,
    Ticker,
    Trade,
)
from bridge.publish.wire import command, head, render
from tests.unit.core import T0

ODD = "Ünïcode ₿ \r\n$3\r\n\0 日本"
TEXT = st.text(max_size=20)
NUMBER = st.decimals(allow_nan=False, allow_infinity=False, places=8).map(str)
LEVELS = st.lists(st.tuples(NUMBER, NUMBER), max_size=5)
TIME = st.none() | st.integers(0, 2**63)


def events():
    kinds = []
    for kind in DATA_EVENTS:
        fields = {name: LEVELS if name in {"bids", "asks"} else TEXT for name in kind.WIRE}
        fields |= {name: st.none() | TEXT for name in getattr(kind, "MORE", ())}
        kinds.append(st.builds(kind, subject=TEXT, ts=TIME, recv=st.integers(0, 2**63), **fields))
    kinds.append(
        st.builds(
            Control,
            subject=TEXT,
            ts=st.none(),
            recv=st.integers(0, 2**63),
            channel=st.sampled_from(Channel),
            event=st.sampled_from(ControlEvent),
            reason=TEXT,
            count=st.none() | st.integers(0, 10**9),
        )
    )
    return st.one_of(kinds)


def fields_of(event):
    """The entry as the contract has it, by plain means."""
    fields = {"type": event.__struct_config__.tag, "ts": "" if event.ts is None else str(event.ts)}
    fields["recv"] = str(event.recv)
    for name in event.WIRE:
        value = getattr(event, name)
        if isinstance(value, list):
            value = " ".join(f"{price}:{size}" for price, size in value)
        fields[name] = "" if value is None else str(value)
    for name in getattr(event, "MORE", ()):
        if getattr(event, name) is not None:
            fields[name] = getattr(event, name)
    return fields


def by_redis_py(*words):
    packed = PythonRespSerializer(6000, Encoder("utf-8", "strict", decode_responses=False).encode).pack(*words)
    return b"".join(packed)


def entry(event, key, ident="1700000000000-1"):
    channel = None if isinstance(event, Control) else event.channel
    more = sum(getattr(event, name) is not None for name in getattr(event, "MORE", ()))
    return f"{head(key, channel, more=more)}${len(ident)}\r\n{ident}\r\n{render(event)}".encode("latin-1")


@given(events(), TEXT)
def test_an_entry_is_what_redis_py_would_send(event, key):
    flat = [text for pair in fields_of(event).items() for text in pair]
    assert entry(event, key) == by_redis_py("XADD", key, "1700000000000-1", *flat)


@pytest.mark.parametrize("kind", DATA_EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("length", [1023, 1024, 70_000])
def test_texts_of_any_length(kind, length):
    for long in (*kind.WIRE, *getattr(kind, "MORE", ())):
        values = {name: [("1", "2")] if name in {"bids", "asks"} else "1" for name in kind.WIRE}
        values[long] = [("3", "4" * (length - 2))] if long in {"bids", "asks"} else "5" * length
        event = kind("BTC-EUR", T0, T0, **values)
        flat = [text for pair in fields_of(event).items() for text in pair]
        assert entry(event, "k") == by_redis_py("XADD", "k", "1700000000000-1", *flat)


@given(events())
def test_an_entry_reads_back(event):
    parser = hiredis.Reader(encoding="utf-8")
    parser.feed(entry(event, "k"))
    xadd, _, _, *flat = parser.gets()
    assert xadd == "XADD"
    assert flat == [text for pair in fields_of(event).items() for text in pair]
    assert parser.gets() is False


EXAMPLES = [
    Trade("BTC-EUR", T0, T0, "17", "buy", "7997.40", "0.1"),
    Trade("BTC-EUR", None, T0, ODD, "buy", "7997.40", "0.1"),
    Trade("BTC-EUR", None, T0, "x" * 5000, "buy", "7997.40", "0.1"),
    BookSnapshot("BTC-EUR", None, T0, "", [], []),
    BookSnapshot("BTC-EUR", T0, T0, "5", [("10.0", "1"), ("9", "2")], [("11", "3")]),
    BookDelta("BTC-EUR", T0, T0, "6", [("10.0", "0")], [], prev="5"),
    Quote("BTC-EUR", None, T0, "1", "", "2", "3"),
    Ticker("BTC-EUR", None, T0, "86400", "1", "2", "3", "4", "-5", "-6", "7"),
    Funding("BTC-PERP", T0, T0, "-0.0001", T0 + 5, "28800"),
    Funding("BTC-PERP", None, T0, "", None, ""),
    Mark("BTC-PERP", T0, T0, "7997.40", ""),
    Interest("BTC-PERP", T0, T0, "12.5", "99967.5"),
    Interest("BTC-PERP", T0, T0, "", "", contracts="1250000"),
    Liquidation("BTC-PERP", T0, T0, "", "sell", "7900", "0.5"),
    Liquidation("BTC-PERP", T0, T0, "17", "buy", "7900", "", contracts="500"),
    Order("main", T0, T0, "o", "c", "", "limit", "buy", "1", "2", "0", "open"),
    Order("main", T0, T0, "o", "c", "", "limit", "buy", "1", "2", "0", "open", contracts="3"),
    Fill("main", T0, T0, "f", "o", "", "buy", "1", "2", "", ""),
    Fill("main", T0, T0, "f", "o", "", "buy", "1", "2", "", "", contracts="3"),
    Fill("main", T0, T0, "f", "o", "", "buy", "1", "2", "0.1", "USDT", fees="0.1:USDT -0.02:KFEE"),
    Fill("main", T0, T0, "f", "o", "", "buy", "1", "2", "0.1", "USDT", contracts="3", fees="0.1:USDT"),
    Balance("main", None, T0, ODD, "1", "0"),
    Position("main", None, T0, "BTC-PERP", "", "0", "", "", ""),
    Position("main", None, T0, "BTC-PERP", "short", "0.3", "1", "2", "-0.1", contracts="3"),
    Position("main", None, T0, "BTC-PERP", "short", "0.3", "1", "2", "-0.1", leg=""),
    Position("main", None, T0, "BTC-PERP", "short", "0.3", "1", "2", "-0.1", contracts="3", leg="short"),
    Control("BTC-EUR", None, T0, Channel.TRADES, ControlEvent.GAP, ODD, 3),
    Control("BTC-EUR", None, T0, Channel.TRADES, ControlEvent.LIVE),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_readers_get_the_event_back(event):
    parser = hiredis.Reader(encoding="utf-8")
    parser.feed(entry(event, "k"))
    got = decode(StreamKey("x", event.subject, event.channel), parser.gets()[3:])
    if isinstance(event, BookDelta):
        assert (got.xseq, got.bids, got.asks) == (event.xseq, event.bids, event.asks)
    else:
        assert got == event


@given(st.lists(TEXT | st.integers(), min_size=1, max_size=6))
def test_commands(words):
    assert command("SET", *words).encode("latin-1") == by_redis_py("SET", *words)


def test_a_server_takes_it(redis_server):
    with redis_server.client() as client:
        for number, event in enumerate(EXAMPLES, 1):
            parser = hiredis.Reader(encoding="utf-8")
            parser.feed(entry(event, f"k:{ODD}", f"1-{number}"))
            client.execute_command(*parser.gets())
        rows = client.xrange(f"k:{ODD}")
    assert [fields for _, fields in rows] == [fields_of(event) for event in EXAMPLES]
