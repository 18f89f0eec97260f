from __future__ import annotations

from random import Random

import msgspec
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import LogCapture

from bridge.entries import textual
from bridge.exchanges.api import ClockReading
from bridge.feed.latency import FeedLatency
from bridge.latency import EDGES, NEVER, Histogram
from bridge.model import Channel, Trade
from bridge.sequencer import topic_type
from tests.unit.core import SECOND, T0, ListSink, balance, fill, order, snapshot, stream, trade

MS = 1_000_000


class TestHistogram:
    @given(
        st.lists(st.integers(-(10**10), 2 * 10**12), min_size=1, max_size=500),
        st.integers(-(10**10), 10**10),
        st.sampled_from([0.01, 0.5, 0.99, 1.0]),
    )
    def test_a_percentile_is_at_most_a_tenth_too_long(self, durations, shift, share):
        histogram = Histogram()
        histogram.add(durations, shift)
        ordered = sorted(duration + shift for duration in durations)
        true = next(value for place, value in enumerate(ordered, 1) if place >= share * len(ordered))
        found = histogram.percentile(share)
        assert true <= found <= max(true * 1.1 + 1, EDGES[0]) or true > EDGES[-1]
        assert (histogram.count, histogram.most) == (len(durations), ordered[-1])
        assert histogram.total == sum(ordered)

    @given(st.lists(st.integers(0, 10**12), min_size=1, max_size=600), st.integers(1, 599))
    def test_in_parts_as_in_one(self, durations, cut):
        whole, one, two = Histogram(), Histogram(), Histogram()
        whole.add(durations)
        one.add(durations[:cut])
        two.add(durations[cut:])
        one.merge(two)
        assert (one.counts, one.count, one.total, one.most) == (whole.counts, whole.count, whole.total, whole.most)

    @pytest.mark.parametrize("number", [1999, 2000, 2001, 54_321])
    def test_a_sample_of_very_many(self, number):
        durations = [10 * MS + place * 1000 for place in range(number)]
        durations[7] = 10**11
        Random(5).shuffle(durations)
        histogram = Histogram()
        histogram.add(durations)
        assert histogram.count == sum(histogram.counts) == number
        assert (histogram.most, histogram.total) == (10**11, sum(durations))
        assert histogram.percentile(0.5) == pytest.approx(sorted(durations)[number // 2], rel=0.12)

    def test_buckets_for_a_metrics_exporter(self):
        histogram = Histogram()
        histogram.add([1 * MS] * 3 + [50 * MS] * 2 + [10**13])
        assert histogram.cumulative([100_000, 2 * MS, SECOND, 10**14]) == [0, 3, 5, 5]
        assert histogram.count == 6

    def test_nothing(self):
        histogram = Histogram()
        histogram.add([])
        assert (histogram.percentile(0.5), histogram.most, histogram.cumulative([SECOND])) == (None, None, [0])


class Rig:
    """Latency over a window of 60 s, with a clock of the test's own."""

    def __init__(self, *, limit=2.0, offset=0, known=True, resolution=MS):
        self.seconds = 0.0
        self.logs = LogCapture()
        log = structlog.wrap_logger(None, processors=[self.logs])
        self.latency = FeedLatency(
            {Channel.TRADES: resolution},
            log,
            limit=limit,
            window=60.0,
            now=lambda: T0 + int(self.seconds * SECOND),
            monotonic=lambda: self.seconds,
        )
        self.offset = offset
        if known:
            self.read()
        self.topic = topic_type(Channel.TRADES)(stream(Channel.TRADES), ListSink(), lambda *_: None)
        self.latency.opened(Channel.TRADES, self.topic, T0)
        self.number = 0

    @property
    def now(self):
        return T0 + int(self.seconds * SECOND)

    def read(self):
        self.latency.clock.add(self.now, self.now, ClockReading(self.now + self.offset, 1))

    def trade(self, late, **more):
        """A trade that comes ``late`` seconds after it was done."""
        self.number += 1
        ts = self.now + self.offset - int(late * SECOND)
        self.topic.accept(Trade("BTC-EUR", ts, self.now, str(self.number), "buy", "1", "1", **more))

    def go(self, seconds, late=None, every=0.5):
        """Let time pass, with a trade each ``every`` seconds."""
        until = self.seconds + seconds
        while self.seconds < until:
            self.seconds += every
            if int(self.seconds / every) % 60 == 0:
                self.read()
            if late is not None:
                self.trade(late(self.seconds) if callable(late) else late)
            self.latency.look()

    @property
    def said(self):
        return [entry["event"] for entry in self.logs.entries]

    @property
    def figures(self):
        return self.latency.figures().get("trades", {})


class TestWhatCounts:
    def test_receipt_less_the_exchanges_time_by_its_clock(self):
        rig = Rig(offset=-90 * SECOND)
        rig.go(5, late=0.25)
        assert rig.figures["p50_ms"] == pytest.approx(250, rel=0.1)
        assert rig.figures["count"] == 10
        beat = rig.latency.heartbeat()
        assert beat["clock_offset_ms"] == -90_000.0
        assert msgspec.json.decode(beat["latency"]) == {"trades": textual(rig.figures)}

    def test_before_anything_is_known_the_heartbeat_is_empty(self):
        rig = Rig(known=False)
        assert rig.latency.heartbeat() == {"clock_offset_ms": "", "clock_error_ms": "", "latency": ""}

    def test_nothing_counts_until_the_clock_was_asked_for(self):
        rig = Rig(known=False)
        rig.seconds += 1
        rig.trade(0.1)
        rig.latency.clock.settled = True
        rig.latency.look()
        assert rig.figures == {}
        rig.seconds += 1
        rig.trade(0.1)
        rig.latency.look()
        assert rig.figures["count"] == 1, "without its clock, by ours"

    @pytest.mark.parametrize("offset", [0, 3600 * SECOND, -3600 * SECOND])
    def test_history_doesnt(self, offset):
        rig = Rig(offset=offset)
        rig.seconds = 3.0
        rig.trade(3.5)
        rig.trade(2.5, replay=True)
        rig.trade(2.5)
        rig.latency.look()
        assert (rig.figures["count"], rig.figures["max_ms"]) == (1, pytest.approx(2500, abs=2))

    def test_nor_do_repeats(self):
        rig = Rig()
        rig.seconds = 3.0
        rig.trade(0.1)
        rig.number -= 1
        rig.seconds = 9.0
        rig.trade(6.1)
        rig.latency.look()
        assert rig.figures["max_ms"] == pytest.approx(100, abs=1)

    def test_nor_what_rest_tells(self):
        for channel, event in ((Channel.FILLS, fill("f1")), (Channel.ORDERS, order("o1"))):
            topic = topic_type(channel)(stream(channel), ListSink(), lambda *_: None)
            topic.lags, topic.lags_from = [], 0
            topic.restate([event], T0, T0 + SECOND)
            assert topic.lags == []
            assert topic.lags_from == 0
            topic.accept(msgspec.structs.replace(event, ts=T0 - 7, recv=T0, **{channel.value[:-1] + "_id": "other"}))
            assert topic.lags == [7]

    def test_nor_what_has_no_time(self):
        for channel, event in ((Channel.BALANCES, balance("EUR", "1")), (Channel.BOOK, snapshot())):
            topic = topic_type(channel)(stream(channel), ListSink(), lambda *_: None)
            topic.lags, topic.lags_from = [], 0
            topic.accept(event)
            assert topic.lags == []

    def test_a_book_does(self):
        topic = topic_type(Channel.BOOK)(stream(Channel.BOOK), ListSink(), lambda *_: None)
        topic.lags, topic.lags_from = [], 0
        topic.accept(msgspec.structs.replace(snapshot(), xseq="1", ts=T0 - 5))
        assert topic.lags == [5]

    def test_but_not_a_snapshot_that_says_again_what_stands(self):
        """Of a quiet book that was asked for again, the time is that of its last change, for all that is known."""
        topic = topic_type(Channel.BOOK)(stream(Channel.BOOK), ListSink(), lambda *_: None)
        topic.lags, topic.lags_from = [], 0
        for xseq, late in (("1", 5), ("1", 20 * SECOND), ("2", 6)):
            topic.accept(msgspec.structs.replace(snapshot(), xseq=xseq, ts=T0 - late))
        assert topic.lags == [5, 6]

    def test_topics_of_other_channels_never_do(self):
        rig = Rig()
        topic = topic_type(Channel.FILLS)(stream(Channel.FILLS), ListSink(), lambda *_: None)
        rig.latency.opened(Channel.FILLS, topic, T0)
        topic.accept(fill("f1"))
        assert topic.lags_from == NEVER
        assert not topic.lags

    def test_what_waits_is_bounded(self):
        rig = Rig()
        rig.seconds = 1.0
        for _ in range(70_000):
            rig.latency.channels[Channel.TRADES].waiting.append(5)
        rig.latency.look()
        assert rig.figures["count"] == 65_536


class TestWindow:
    def test_what_is_older_than_a_minute_is_forgotten_but_in_the_total(self):
        rig = Rig()
        rig.go(20, late=1.0)
        rig.go(75, late=0.1)
        assert rig.figures["max_ms"] == pytest.approx(100, abs=1)
        assert rig.latency.channels[Channel.TRADES].total.most == pytest.approx(SECOND, abs=MS)

    def test_it_is_empty_when_nothing_comes(self):
        rig = Rig()
        rig.go(5, late=0.1)
        rig.go(75)
        assert rig.figures == {}


class TestWarnings:
    def test_lasting_latency_is_said_once_and_its_end(self):
        rig = Rig()
        rig.go(60, late=0.1)
        rig.go(120, late=2.6)
        [high] = rig.logs.entries
        assert (high["event"], high["log_level"], high["channel"]) == ("latency_high", "warning", "trades")
        assert high["limit_ms"] == 2000.0
        assert high["p50_ms"] == pytest.approx(2600, rel=0.1)
        rig.go(100, late=0.1)
        assert rig.said == ["latency_high", "latency_normal"]
        assert rig.logs.entries[1]["log_level"] == "info"

    def test_it_may_creep(self):
        rig = Rig()
        rig.go(600, late=lambda seconds: 0.1 + seconds * 0.005)
        assert rig.said == ["latency_high"]
        assert 380 < rig.latency.channels[Channel.TRADES].high_since < 480

    def test_it_is_said_again_now_and_then(self):
        rig = Rig()
        rig.go(700, late=3.0)
        assert rig.said == ["latency_high"] * 3
        assert rig.logs.entries[-1]["seconds"] == pytest.approx(600, abs=20)

    @pytest.mark.parametrize("rate", [0.5, 10.0])
    def test_a_burst_isnt_worth_a_word(self, rate):
        """Not even where nothing else comes for minutes."""
        rig = Rig()
        rig.go(60, late=0.1, every=rate)
        for _ in range(1000):
            rig.trade(5.0)
        rig.go(9, late=5.0, every=0.1)
        rig.go(120, late=0.1, every=rate)
        assert rig.said == []

    def test_a_quiet_channel_is_heard(self):
        rig = Rig()
        rig.go(300, late=3.0, every=30.0)
        assert rig.said[0] == "latency_high"

    def test_near_the_limit_it_doesnt_flap(self):
        rig = Rig()
        rig.go(120, late=2.4)
        for _ in range(5):
            rig.go(60, late=1.8)
            rig.go(60, late=2.4)
        assert "latency_normal" not in rig.said

    def test_what_the_clock_may_be_off_is_taken_off(self):
        rig = Rig(known=False)
        rig.latency.clock.add(rig.now, rig.now + 4 * SECOND, ClockReading(rig.now + 2 * SECOND, 1))
        rig.read = lambda: None
        rig.go(120, late=3.5)
        assert rig.said == []
        rig.go(120, late=4.6)
        assert rig.said == ["latency_high"]

    def test_and_the_resolution_of_the_times(self):
        rig = Rig(resolution=SECOND)
        rig.go(120, late=2.7)
        assert rig.said == []

    def test_nobody_warns_while_the_clock_is_unknown_or_the_limit_off(self):
        unknown, off = Rig(known=False), Rig(limit=None)
        unknown.latency.clock.settled = True
        unknown.read = lambda: None
        for rig in (unknown, off):
            rig.go(120, late=9.0)
            assert rig.said == []
            assert rig.figures["p50_ms"] > 8000


def test_a_trade_of_the_replay_isnt_late():
    topic = topic_type(Channel.TRADES)(stream(Channel.TRADES), ListSink(), lambda *_: None)
    topic.lags, topic.lags_from = [], 0
    topic.accept(msgspec.structs.replace(trade(1, "a"), replay=True))
    topic.accept(trade(2, "b"))
    assert topic.lags == [0]


def test_whole_seconds_are_no_latency_that_is_shown():
    channels = {Channel.TRADES: SECOND, Channel.BOOK: SECOND - 1}
    latency = FeedLatency(channels, None, limit=None, window=60.0)
    for channel in latency.channels.values():
        channel.waiting.append(700 * MS)
    latency.look()
    assert [name for name, channel in latency.channels.items() if channel.telling] == [Channel.BOOK]
    assert set(latency.figures()) == {"book"}
    assert latency.channels[Channel.TRADES].total.count == 1, "it still counts, for the limit"
