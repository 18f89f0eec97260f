"""What holds for every exchange, whatever its protocol: an exchange that breaks one of these breaks the bridge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.exchange_errors import FrameError, RestError
from bridge.exchanges import exchange_type, names
from bridge.exchanges.api import Action, Flow, HttpResponse, Restated, Send, Session, Subscription
from bridge.model import PRIVATE_CHANNELS, PUBLIC_CHANNELS, BookDelta, BookSnapshot, Control, ControlEvent, Event, Trade
from bridge.publish.wire import RENDERERS
from tests.unit.core import SECOND, T0, Apart
from tests.unit.exchange_samples import ANSWERS, SAMPLES, TOKEN, Sample
from tests.unit.stream_entries import entry, mistakes

every_exchange = pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def drive(flow: Flow[Any], answer: bytes) -> Any:
    """Run a flow over one and the same answer; what it raises of our own errors is ``None``."""
    try:
        next(flow)
        while True:
            flow.send(HttpResponse(200, answer))
    except StopIteration as stop:
        return stop.value
    except RestError:
        return None


def sessions(sample: Sample) -> list[tuple[Session, set[Subscription]]]:
    """A connected session of each connection of the plan, with the streams that it feeds."""
    found = []
    for plan in sample.exchange().plan():
        session = Apart(plan.session())
        drive(session.open(T0), sample.opening)
        session.connected(T0)
        found.append((session, set(plan.subscriptions)))
    return found


def check_events(events: list[Event], streams: set[Subscription], recv: int) -> None:
    """Of streams that the plan names (or an account's sub-accounts), received when they were, with readable numbers."""
    wider = {(stream.channel, stream.subject) for stream in streams}
    for event in events:
        channel = event.channel  # type: ignore[attr-defined]
        account = event.subject.partition("/")[0] if channel in PRIVATE_CHANNELS else event.subject
        assert (channel, account) in wider, f"{channel} of {event.subject} is not of this connection"
        assert event.recv == recv
        assert event.ts is None or 0 <= event.ts < 2**63
        if type(event) in RENDERERS:  # others never leave the connector
            assert mistakes(entry(event)) == []
        if isinstance(event, Trade):
            assert event.side in ("buy", "sell")
        if isinstance(event, BookSnapshot):
            assert [float(price) for price, _ in event.bids] == sorted((float(p) for p, _ in event.bids), reverse=True)
            assert [float(price) for price, _ in event.asks] == sorted(float(p) for p, _ in event.asks)
        if isinstance(event, BookSnapshot | BookDelta):
            assert all(float(size) >= 0 for _, size in [*event.bids, *event.asks])


def check_actions(actions: list[Action], sample: Sample) -> None:
    """No message that bears a signature or the key goes into recordings."""
    for action in actions:
        if isinstance(action, Send):
            assert action.secret or not {"the-api-key", TOKEN.decode()} & set(action.text.split('"'))
        if isinstance(action, Restated):
            assert all(event.subject for event in action.events)
        assert not sample.secret or sample.secret not in repr(action)


def feed(sample: Sample, frame: bytes) -> None:
    """Let every connection of the exchange have the frame, and look at all that comes of it."""
    for session, streams in sessions(sample):
        try:
            check_events(list(session.receive(frame, T0 + 1)), streams, T0 + 1)
        except FrameError:
            told = list(session.rejected(T0 + 1))
            assert {event.event for event in told if isinstance(event, Control)} <= {ControlEvent.GAP}
            assert all(isinstance(event, Control) for event in told)
            check_events(told, streams, T0 + 1)
        check_actions(session.actions, sample)
        session.actions.clear()
        for seconds in (1, 30, 3600):
            check_events(list(session.tick(T0 + seconds * SECOND)), streams, T0 + seconds * SECOND)
        check_actions(session.actions, sample)


@pytest.mark.parametrize("name", names())
def test_what_is_sent_to_any_exchange_is_paced(name):
    assert exchange_type(name).sends_per_second in range(1, 11)


def test_every_exchange_has_a_sample():
    assert sorted(sample.name for sample in SAMPLES) == sorted(names())
    for sample in SAMPLES:
        assert bool(sample.secret) == bool(exchange_type(sample.name).private_channels)


@every_exchange
class TestPlan:
    def test_every_stream_has_one_source(self, sample):
        exchange = sample.exchange()
        wanted = exchange.subscriptions()
        fed = [stream for source in (exchange.plan()) for stream in source.subscriptions]
        polled = [stream for poll in exchange.polls() for stream in poll.streams]
        assert set(fed) | set(polled) == set(wanted)
        assert not set(fed) & set(polled)
        public = [stream for stream in fed if stream.channel in PUBLIC_CHANNELS]
        assert len(public) == len(set(public)), "two connections bring the same pair's events"

    def test_names_tell_connections_and_polls_apart(self, sample):
        exchange = sample.exchange()
        called = [plan.name for plan in exchange.plan()] + [poll.name for poll in exchange.polls()]
        assert len(called) == len(set(called))

    def test_what_is_declared_is_of_channels_that_it_has(self, sample):
        exchange = sample.exchange()
        has = exchange.channels | exchange.private_channels
        assert exchange.channels <= set(PUBLIC_CHANNELS)
        assert exchange.private_channels <= set(PRIVATE_CHANNELS)
        assert set(exchange.silence) <= has
        assert set(exchange.units) <= has
        assert set(exchange.timed) <= has - {stream.channel for poll in exchange.polls() for stream in poll.streams}
        assert exchange.ping < exchange.dead

    def test_nothing_wanted_is_nothing_connected(self, sample):
        kind = exchange_type(sample.name)
        whole = sample.exchange().profile
        profile = type(whole)(whole.pairs, frozenset(), options=whole.options)
        exchange = kind(profile)
        assert exchange.subscriptions() == []
        assert exchange.plan() == []
        assert exchange.polls() == []

    def test_the_shown_address_has_no_secret(self, sample):
        for plan in sample.exchange().plan():
            target = drive(plan.session().open(T0), sample.opening)
            assert target.url.startswith("wss://")
            assert TOKEN.decode() not in target.shown
            assert sample.secret == "" or sample.secret not in target.shown + target.url

    def test_reprs_have_no_secret(self, sample):
        assert sample.secret == "" or sample.secret not in repr(sample.exchange().profile)


@every_exchange
class TestFrames:
    def test_real_ones_are_understood_by_some_connection(self, sample):
        for frame in sample.frames:
            heard = []
            for session, _ in sessions(sample):
                try:
                    session.receive(frame, T0)
                except FrameError as error:
                    heard.append(error)
            assert len(heard) < len(sessions(sample)), f"no session of {sample.name} takes {frame[:80]!r}"

    def test_real_ones_break_no_rule(self, sample):
        for frame in sample.frames:
            feed(sample, frame)

    @given(st.binary(max_size=200))
    def test_arbitrary_bytes(self, sample, frame):
        feed(sample, frame)

    @given(JUNK)
    def test_arbitrary_json(self, sample, value):
        feed(sample, json.dumps(value).encode())

    @given(st.data())
    def test_real_ones_with_a_value_changed(self, sample, data):
        texts = [frame for frame in sample.frames if frame.startswith(b"{")]
        message = json.loads(data.draw(st.sampled_from(texts)))
        _spoil(message, data, data.draw(JUNK))
        feed(sample, json.dumps(message).encode())

    @given(st.data())
    def test_real_ones_cut_or_overwritten(self, sample, data):
        frame = bytearray(data.draw(st.sampled_from(sample.frames)))
        place = data.draw(st.integers(0, len(frame) - 1))
        if data.draw(st.booleans()):
            del frame[place:]
        else:
            frame[place] = data.draw(st.integers(0, 255))
        feed(sample, bytes(frame))

    def test_no_frame_at_all(self, sample):
        for session, streams in sessions(sample):
            for seconds in range(0, 200_000, 977):
                check_events(list(session.tick(T0 + seconds * SECOND)), streams, T0 + seconds * SECOND)
            check_actions(session.actions, sample)


@every_exchange
class TestRest:
    @pytest.mark.parametrize("answer", ANSWERS)
    def test_a_state_is_of_the_streams_of_its_connection(self, sample, answer):
        for session, streams in sessions(sample):
            for frame in sample.frames:
                try:
                    session.receive(frame, T0)
                except FrameError:
                    continue
            drive(session.fetch(T0), answer)
            for action in session.actions:
                if isinstance(action, Restated):
                    assert Subscription(action.channel, action.subject) in streams
                    assert action.asked == T0

    @given(st.binary(max_size=60) | JUNK.map(lambda value: json.dumps(value).encode()))
    def test_an_answer_may_be_anything(self, sample, answer):
        exchange = sample.exchange()
        drive(exchange.discover(T0), answer)
        for poll in exchange.polls():
            drive(poll.flow(T0), answer)
        for session, _ in sessions(sample):
            drive(session.open(T0), answer)
            drive(session.fetch(T0), answer)

    def test_resync_of_any_subject(self, sample):
        for session, _ in sessions(sample):
            for subject in (*sample.pairs, "NO-PAIR"):
                session.resync(subject, T0, "a test asks for it")
            check_actions(session.actions, sample)


def _spoil(message: Any, data: Any, junk: Any) -> None:
    """Put ``junk`` in the place of a value somewhere in the message."""
    inner = message
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = data.draw(st.sampled_from(keys))
        below = inner[key]
        if isinstance(below, dict | list) and below and data.draw(st.booleans()):
            inner = below
            continue
        inner[key] = junk
        return
