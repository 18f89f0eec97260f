"""One bad value harms its own stream, in every exchange and every message: whatever the field, whatever stands there."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from bridge.exchange_errors import FrameError
from bridge.exchanges.api import BestPrices, Reconnect, Reject, Replace, Session, Subscription
from bridge.model import (
    DATA_EVENTS,
    SERVICE_CHANNELS,
    Balance,
    BookDelta,
    BookSnapshot,
    Channel,
    Control,
    ControlEvent,
    Event,
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
from tests.unit.core import T0, Apart
from tests.unit.exchange_samples import SAMPLES, Sample

LONGEST = 256
"""Characters of a number; a product of two may have as many as both."""
MISSING = object()
LITERAL = "literal:"
"""Before what is written into the frame without quotes."""
BAD: dict[str, Any] = {
    "null": None,
    "NaN": f"{LITERAL}NaN",
    "infinite": f"{LITERAL}-Infinity",
    "beyond a float": f"{LITERAL}1e999",
    "a number": 7,
    "a text": "x",
    "missing": MISSING,
    "unknown word": "SIDEWAYS",
    "yes": True,
    "empty": "",
    "an object": {},
    "a fuller object": {"a": [1]},
    "a list": [],
    "a list of objects": [{}],
    "huge": 10**30,
    "zero": 0,
    "negative": -1,
    "negative text": "-1",
    "text NaN": "NaN",
    "spaces": "1 2",
    "long": "9" * 70_000,
    "hundreds of digits": f"{LITERAL}{'1' * 300}.5",
    "text of hundreds of digits": f"0.{'1' * 300}",
    "a huge exponent": f"{LITERAL}1e1000000000",
    "text with a huge exponent": "1e1000000000",
    "cut exponent": "7997.40e",
    "before 1970": "1969-07-20T20:17:40Z",
    "beyond 63 bits": "9999-12-31T23:59:59.999Z",
    "no date": "2026-99-99T99:99:99Z",
    "escapes": "\x1b[31m\r\n",
}
WITHOUT_AMOUNTS = {BookSnapshot, BookDelta}
"""Their levels are looked at one by one."""
CONFORMING = [sample.name for sample in SAMPLES]
AMOUNTS = {
    Trade: ("price", "size"),
    Quote: ("bid", "bid_size", "ask", "ask_size"),
    Ticker: ("window", "open", "high", "low", "last", "volume"),
    Funding: (),
    Mark: ("mark", "index"),
    Interest: ("size", "value", "contracts"),
    Liquidation: ("price", "size", "contracts"),
    Order: ("price", "size", "filled", "contracts"),
    Fill: ("price", "size", "contracts"),
    Balance: (),
    Position: ("size", "entry_price", "mark_price", "contracts"),
}
"""Fields that are numbers of at least zero, or empty."""
VALUES = {
    Ticker: ("change", "change_pct"),
    Funding: ("rate", "interval"),
    Fill: ("fee",),
    Balance: ("available", "reserved"),
    Position: ("unrealised_pnl",),
}
"""Fields that are numbers of any sign, or empty."""
NEEDED = {
    Trade: ("price", "size"),
    Liquidation: ("side", "size"),
    Fill: ("price", "size"),
    Ticker: ("window",),
    Order: ("order_id",),
}
WORDS = {
    "side": ("buy", "sell", "long", "short", ""),
    "status": ("open", "partially_filled", "filled", "cancelled", "rejected"),
}


def test_what_is_looked_at_is_named_for_every_kind_of_event() -> None:
    of_exchanges = {event for event in DATA_EVENTS if event.channel not in SERVICE_CHANNELS}
    assert set(AMOUNTS) == of_exchanges - WITHOUT_AMOUNTS, "say in AMOUNTS which fields are numbers"


def check_data(event: Event) -> None:
    """All that a data event says is of the form that readers rely on."""
    kind: Any = type(event)
    assert event.ts is None or 10**18 <= event.ts < 2**63
    if isinstance(event, BookSnapshot | BookDelta):
        assert event.xseq == "" or (event.xseq.isdecimal() and int(event.xseq) < 2**63)
        for price, size in [*event.bids, *event.asks]:
            assert Decimal(price) >= 0
            assert Decimal(size) >= 0
            assert max(len(price), len(size)) < LONGEST
        return
    for name in AMOUNTS[kind]:
        text = getattr(event, name)
        assert text in ("", None) or Decimal(text) >= 0, name
        assert len(text or "") < LONGEST, name
    for name in VALUES.get(kind, ()):
        text = getattr(event, name)
        assert text == "" or Decimal(text).is_finite(), name
        assert len(text) < LONGEST, name
    in_contracts = getattr(event, "contracts", "")  # which are all that is told of inverse ones
    assert all(getattr(event, name) or (name == "size" and in_contracts) for name in NEEDED.get(kind, ()))
    assert kind is not Ticker or Decimal(event.window) > 0  # type: ignore[attr-defined]
    assert kind is not Funding or event.next_ts is None or 10**18 <= event.next_ts < 2**63  # type: ignore[attr-defined]
    for name in set(kind.WIRE) - {"next_ts"}:
        text = getattr(event, name)
        assert text in WORDS.get(name, (text,)), name
        if name not in (*AMOUNTS[kind], *VALUES.get(kind, ())):
            assert len(text) <= 128, name
            assert text.isprintable(), name
            assert "{" not in text, name


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a message, objects and lists included."""
    if path:
        yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from leaves(inner, (*path, step))


def spoiled(message: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The message with another value there; the rows beside a spoiled one stay good: one before and one after it."""
    found = copy.deepcopy(message)
    inner = found
    rows = None
    for step in path[:-1]:
        if isinstance(inner, list) and isinstance(inner[step], dict):
            rows = inner
        inner = inner[step]
    if value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    if rows is not None:
        original = message
        for step in path[: next(n for n in range(len(path)) if _at(found, path[:n]) is rows)]:
            original = original[step]
        rows[:] = [*copy.deepcopy(original), *rows, *copy.deepcopy(original)]
    return found


def _at(message: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        message = message[step]
    return message


LITERALS = {
    json.dumps(value): value.removeprefix(LITERAL)
    for value in BAD.values()
    if isinstance(value, str) and value.startswith(LITERAL)
}


def encode(message: Any) -> bytes:
    """JSON, but for the literals."""
    text = json.dumps(message)
    if LITERAL in text:
        for written, meant in LITERALS.items():
            text = text.replace(written, meant)
    return text.encode()


def subscriptions(sample: Sample, place: int) -> set[Subscription]:
    return set(sample.exchange().plan()[place].subscriptions)


def receive(session: Session, frame: bytes) -> list[Event]:
    """What concerns streams: not the best prices that are only for the book to be held against."""
    try:
        events = session.receive(frame, T0)
    except FrameError:
        events = session.rejected(T0)
    return [event for event in events if not isinstance(event, BestPrices)]


def prepared(sample: Sample, place: int, number: int) -> Apart:
    """A session of one of the plan's connections, to which all has been sent that comes before a frame."""
    session = Apart(sample.exchange().plan()[place].session())
    session.connected(T0)
    for frame in (*sample.warm, *sample.frames[:number]):
        receive(session, frame)
    session.actions.clear()
    return session


def stream_of(event: Any) -> tuple[Channel, str]:
    return event.channel, event.subject


def content(event: Event) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(event, recv=0))


def cases(sample: Sample) -> list[tuple[int, int, Any, list[Event], list[Event]]]:
    """Connection, number of the frame, its message, its events, and those of the frames after it; for frames with data."""
    if sample.name not in _cases:
        _cases[sample.name] = [*_find_cases(sample)]
    return _cases[sample.name]


_cases: dict[str, list[tuple[int, int, Any, list[Event], list[Event]]]] = {}


def _find_cases(sample: Sample) -> Iterator[tuple[int, int, Any, list[Event], list[Event]]]:
    for place in range(len(sample.exchange().plan())):
        for number, frame in enumerate(sample.frames):
            session = prepared(sample, place, number)
            events = receive(session, frame)
            after = [event for later in sample.frames[number + 1 :] for event in receive(session, later)]
            if frame.startswith(b"{") and any(not isinstance(event, Control) for event in events):
                yield place, number, json.loads(frame), events, after


def check(
    sample: Sample, place: int, number: int, frame: bytes, *, allowed: set[Any], before: set[bytes]
) -> list[Event]:
    """Feed a spoiled frame, and those after it: nobody beside the ``allowed`` has any other control entry than ``before``."""
    session = prepared(sample, place, number)
    events = receive(session, frame)
    later = [event for after in sample.frames[number + 1 :] for event in receive(session, after)]
    for event in [*events, *later]:
        if not isinstance(event, Control):
            check_data(event)
        elif event.event is not ControlEvent.LIVE and content(event) not in before:
            assert stream_of(event) in allowed, f"{event.channel} of {event.subject}: {event.event} {event.reason}"
    return events


def fed(sample: Sample, events: list[Event]) -> set[Any]:
    """The streams that a frame is for."""
    found = {stream_of(event) for event in events if not isinstance(event, Control)}
    books = {subject for channel, subject in found if channel is Channel.BOOK and sample.quotes_from_books}
    orders = {subject for channel, subject in found if channel is Channel.ORDERS and sample.fills_in_orders}
    return found | {(Channel.QUOTES, subject) for subject in books} | {(Channel.FILLS, subject) for subject in orders}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CONFORMING)
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_value_harms_its_stream_alone(name: str, kind: str) -> None:
    [sample] = [sample for sample in SAMPLES if sample.name == name]
    for place, number, message, events, after in cases(sample):
        streams = subscriptions(sample, place)
        before = {content(event) for event in [*events, *after] if isinstance(event, Control)}
        own = fed(sample, events)
        for path in leaves(message):
            if path[0] in sample.routing:
                continue
            frame = encode(spoiled(message, path, BAD[kind]))
            names_no_pair = {(s.channel, s.subject) for s in streams if s.channel in {channel for channel, _ in own}}
            allowed = names_no_pair if _identifies(message, path, own) else own
            found = check(sample, place, number, frame, allowed=allowed, before=before)
            parts = own & {(Channel.BOOK, s) for _, s in own} or sample.levels & set(path)
            if any(isinstance(step, int) for step in path[:-1]) and not parts:
                good = {content(event) for event in events if not isinstance(event, Control)}
                assert good <= {content(event) for event in found}, f"{frame[:300]!r}: a good row is missing"


def _identifies(message: Any, path: tuple[Any, ...], own: set[Any]) -> bool:
    """Whether the value says which pair or account a row is of, or holds what does: then it may be any of them."""
    inside = json.dumps(_at(message, path))
    spelled = {
        name for _, subject in own for name in (subject, subject.replace("-PERP", "PFC"), subject.replace("-", "/"))
    }
    return any(name in inside for name in spelled)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CONFORMING)
@pytest.mark.parametrize("kind", BAD)
def test_where_nothing_can_be_told_all_may_have_missed_it(name: str, kind: str) -> None:
    """Without the field that says what a message is, it is of no use; what comes is still well formed."""
    [sample] = [sample for sample in SAMPLES if sample.name == name]
    for place, number, message, _, _ in cases(sample):
        wider = {(stream.channel, stream.subject) for stream in subscriptions(sample, place)}
        for field in sample.routing & set(message):
            session = prepared(sample, place, number)
            for event in receive(session, encode(spoiled(message, (field,), BAD[kind]))):
                account = event.subject.partition("/")[0]
                assert (event.channel, account) in wider  # type: ignore[attr-defined]
                if not isinstance(event, Control):
                    check_data(event)


@pytest.mark.parametrize("name", CONFORMING)
def test_a_frame_that_a_mistake_of_ours_cuts_short_is_said_to_be_missed(name: str) -> None:
    """However much of it the session has taken in: what came of it never gets to the streams."""
    [sample] = [sample for sample in SAMPLES if sample.name == name]
    for place, number, message, events, _ in cases(sample):
        session = prepared(sample, place, number)
        session.receive(json.dumps(message).encode(), T0)
        session.actions.clear()
        missed = {stream_of(event) for event in session.failed(T0) if event.event is ControlEvent.GAP}
        again = {type(action) for action in session.actions}
        wanted = {stream_of(event) for event in events if not isinstance(event, Control)}
        assert wanted <= missed or again & {Reconnect, Replace}, f"{message}: {wanted - missed}"


@pytest.mark.parametrize("name", CONFORMING)
def test_what_is_refused_goes_to_the_rejects(name: str) -> None:
    """A gap that a bad value leaves has its reject, with the frame or its row."""
    [sample] = [sample for sample in SAMPLES if sample.name == name]
    refused = 0
    for place, number, message, _, _ in cases(sample):
        for path in leaves(message):
            if path[0] in sample.routing or isinstance(_at(message, path), dict | list):
                continue
            session = prepared(sample, place, number)
            frame = encode(spoiled(message, path, BAD["a fuller object"]))
            try:
                events = session.receive(frame, T0)
            except FrameError:
                refused += 1
                continue
            rejects = [action for action in session.actions if isinstance(action, Reject)]
            if any(isinstance(event, Control) and event.event is ControlEvent.GAP for event in events):
                assert rejects
                assert all(reject.error.raw in frame for reject in rejects), "the frame, or the row of it that is bad"
                refused += 1
    assert refused
